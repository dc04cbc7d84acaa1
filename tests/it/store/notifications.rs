//! Notifications: born, claimed, started, finished; and what is read of them.

use std::collections::HashMap;
use std::sync::Arc;

use recado::status::Outcome;
use recado::store::batch::outcome_number;
use recado::store::notifications::{self, Asked, Claim, Delivery, Filter};
use recado::store::sandbox;

use super::*;

async fn claim(db: &Db, now: Timestamp, limit: usize) -> Vec<StoreResult<Delivery>> {
    let tenant = "a".into();
    let claim = Claim {
        tenant: &tenant,
        lane: "sms",
        now,
        lease_end: Timestamp(now.0 + 60_000),
        token: "token".into(),
        limit,
        only_chains: false,
    };
    let mut conn = db.connect().await.unwrap();
    Asked::new(db.engine).claim(&mut conn, &claim).await.unwrap()
}

/// F9: two nodes of 16 workers each, let loose on 10,000 rows at one moment.
#[tokio::test(flavor = "multi_thread")]
async fn f9_of_all_who_race_for_a_row_one_claims_it() {
    const ROWS: usize = 10_000;
    let Some(mut store) = TestStore::postgres_alone().await else { return };
    let nodes = [store.open().await, store.open().await];
    for thousand in 0..ROWS / 1000 {
        let rows = (0..1000).map(|n| notification(&format!("n{thousand}-{n}"), &json!({})));
        write(&nodes[0], Kind::Notification, &rows.collect::<Vec<_>>()).await.unwrap();
    }
    let start = Arc::new(tokio::sync::Barrier::new(32));
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..32 {
        let (db, start) = (nodes[worker % 2].clone(), Arc::clone(&start));
        workers.spawn(async move {
            let (mut conn, asked, mine) = (db.connect().await.unwrap(), Asked::new(db.engine), TenantId::from("a"));
            let token: Arc<str> = format!("worker-{worker}").into();
            let mut claimed = Vec::new();
            start.wait().await;
            loop {
                let token = Arc::clone(&token);
                let lease_end = later(60_000);
                let claim =
                    Claim { tenant: &mine, lane: "sms", now: NOW, lease_end, token, limit: 64, only_chains: false };
                let rows = asked.claim(&mut conn, &claim).await.unwrap();
                if rows.is_empty() {
                    break;
                }
                claimed.extend(rows.into_iter().map(|row| row.unwrap().id.to_string()));
            }
            (token, claimed)
        });
    }
    let mut owners = HashMap::new();
    let mut had_a_share = 0;
    while let Some(done) = workers.join_next().await {
        let (token, claimed) = done.unwrap();
        had_a_share += usize::from(!claimed.is_empty());
        for id in claimed {
            let other = owners.insert(id.clone(), Arc::clone(&token));
            assert!(other.is_none(), "{id} was claimed by {other:?} and {token}");
        }
    }
    let left = sqlx::query_scalar("select count(*) from notifications where due_at <= $1").bind(NOW.0);
    let left: i64 = left.fetch_one(&nodes[0].pool).await.unwrap();
    assert_eq!((owners.len(), left), (ROWS, 0));
    assert!(had_a_share > 1, "nobody raced");
    for db in nodes {
        db.pool.close().await;
    }
    store.remove().await;
}

fn finish(id: &str, token: &str, status: Status, due: Option<i64>) -> [Value; 8] {
    let (status, now) = (status_number(status), later(5).0);
    [json!("a"), json!(id), json!(token), json!(status), json!("why"), json!("m1"), json!(due), json!(now)]
}

on_each_db!(a_row_is_read_as_it_was_written, async |db: &Db| {
    let changes = json!({
        "request_id": "r1", "branch_id": "b1", "contact_id": "c1", "appointment_id": "p1", "category": "marketing",
        "priority": 1, "send_at": later(1).0, "expires_at": later(2).0, "status": "scheduled", "due_at": later(1).0,
    });
    insert(db, "n1", changes).await;
    let row = find(db, "n1").await;
    assert_eq!(
        (row.request_id.as_str(), row.branch_id.as_deref(), row.appointment_id.as_deref()),
        ("r1", Some("b1"), Some("p1"))
    );
    assert_eq!(
        (row.status, row.category.as_str(), row.chain),
        (Status::Scheduled, "marketing", vec!["sms".to_owned()])
    );
    assert_eq!(
        (row.send_at, row.expires_at, row.due_at, row.created_at),
        (Some(later(1)), Some(later(2)), Some(later(1)), NOW)
    );
    assert_eq!(row.content.as_deref(), Some(r#"{"message":"Hola ñ \" ✓"}"#));
    assert_eq!(row.recipient.phone.as_deref(), Some("+521"));
    assert!(notifications::find(&db.pool, &"b".into(), "n1").await.unwrap().is_none());
    // The same id twice is refused, and with it the whole batch.
    let twice = [notification("n2", &json!({})), notification("n1", &json!({}))];
    assert!(write(db, Kind::Notification, &twice).await.is_err());
    assert!(notifications::find(&db.pool, &"a".into(), "n2").await.unwrap().is_none());
});

on_each_db!(due_rows_are_claimed_once_and_the_urgent_first, async |db: &Db| {
    insert(db, "m1", json!({"category": "marketing", "priority": 1, "due_at": later(-9).0})).await;
    insert(db, "n2", json!({"due_at": later(-1).0})).await;
    insert(db, "n1", json!({"due_at": later(-5).0})).await;
    insert(db, "later", json!({"status": "scheduled", "due_at": later(100).0})).await;
    insert(db, "other", json!({"lane": "email"})).await;
    insert(db, "done", json!({"status": "sent", "due_at": null})).await;
    let ids = |claimed: Vec<StoreResult<Delivery>>| -> Vec<String> {
        claimed.into_iter().map(|d| d.unwrap().id.to_string()).collect()
    };
    let mut first = ids(claim(db, NOW, 2).await);
    first.sort();
    assert_eq!(first, ["n1", "n2"]);
    assert_eq!(ids(claim(db, NOW, 9).await), ["m1"]);
    assert!(claim(db, NOW, 9).await.is_empty());
    assert_eq!(notifications::next_due(&db.pool, &"a".into(), "sms").await.unwrap(), Some(later(100)));
    let scheduled = claim(db, later(100), 9).await.remove(0).unwrap();
    assert_eq!((scheduled.id.as_str(), scheduled.status, &*scheduled.lease), ("later", Status::Queued, "token"));
    assert_eq!(scheduled.content.unwrap().body_text(), "Hola ñ \" ✓");
    assert_eq!(claim(db, later(60_001), 9).await.len(), 3, "a lease that ran out is claimed anew");
});

on_each_db!(an_unreadable_row_does_not_take_the_others_along, async |db: &Db| {
    insert(db, "n1", json!({"content": "not json", "due_at": later(-2).0})).await;
    insert(db, "n2", json!({"recipient": "[1", "due_at": later(-1).0})).await;
    insert(db, "n3", json!({})).await;
    let claimed = claim(db, NOW, 9).await;
    assert_eq!(claimed.iter().filter(|c| c.is_err()).count(), 2);
    assert_eq!(claimed.into_iter().flatten().map(|d| d.id.to_string()).collect::<Vec<_>>(), ["n3"]);
});

on_each_db!(an_attempt_starts_only_under_its_lease, async |db: &Db| {
    for id in ["n1", "n2", "n3"] {
        insert(db, id, json!({"lease_token": "token", "due_at": later(60_000).0})).await;
    }
    assert!(notifications::cancel(&db.pool, &"a".into(), "n2", later(1)).await.unwrap());
    let start = |id, token| [json!("a"), json!(id), json!(token), json!(later(2).0), json!(later(9).0)];
    let starts = [start("n1", "token"), start("n2", "token"), start("n3", "another")];
    assert_eq!(write(db, Kind::Start, &starts).await.unwrap(), 1);
    assert_eq!(write(db, Kind::Start, &starts).await.unwrap(), 0, "it is open already");
    let asked = json!([{"t": "a", "id": "n1", "token": "token"}, {"t": "a", "id": "n2", "token": "token"},
        {"t": "a", "id": "n3", "token": "another"}, {"t": "b", "id": "n1", "token": "token"}]);
    assert_eq!(Asked::new(db.engine).started(&db.pool, &asked).await.unwrap(), ["n1".to_owned()].into());
    let row = find(db, "n1").await;
    assert_eq!(
        (row.status, row.attempts, row.attempt_began_at, row.due_at),
        (Status::Sending, 1, Some(later(2)), Some(later(9)))
    );
    assert!(!notifications::cancel(&db.pool, &"a".into(), "n1", later(3)).await.unwrap(), "too late");
    let release = |id, token| [json!("a"), json!(id), json!(token), json!(later(7).0)];
    assert_eq!(write(db, Kind::Release, &[release("n1", "token"), release("n3", "another")]).await.unwrap(), 1);
    let row = find(db, "n1").await;
    assert_eq!((row.status, row.attempts, row.due_at), (Status::Queued, 0, Some(later(7))), "as if it had never begun");
    assert_eq!(find(db, "n3").await.due_at, Some(later(60_000)), "not under somebody else's token");
    let again = claim(db, later(7), 9).await.remove(0).unwrap();
    assert_eq!((again.id.as_str(), again.attempts, again.step_attempts), ("n1", 0, 0));
});

on_each_db!(an_outcome_moves_the_row_only_under_its_lease, async |db: &Db| {
    for id in ["n1", "n2"] {
        insert(db, id, json!({"status": "sending", "lease_token": "token", "attempts": 1, "due_at": later(60_000).0}))
            .await;
    }
    let outcomes = [finish("n1", "token", Status::Queued, Some(later(50).0)), finish("n2", "late", Status::Sent, None)];
    assert_eq!(write(db, Kind::Finish, &outcomes).await.unwrap(), 1);
    let (moved, kept) = (find(db, "n1").await, find(db, "n2").await);
    assert_eq!(
        (moved.status, moved.reason.as_deref(), moved.message_id.as_deref()),
        (Status::Queued, Some("why"), Some("m1"))
    );
    assert_eq!((moved.due_at, kept.status), (Some(later(50)), Status::Sending));
    let end = [finish("n2", "token", Status::Sent, None)];
    assert_eq!(write(db, Kind::Finish, &end).await.unwrap(), 1);
    assert_eq!(write(db, Kind::Finish, &end).await.unwrap(), 0, "an end is an end");
    assert_eq!((find(db, "n2").await.status, find(db, "n2").await.due_at), (Status::Sent, None));
});

on_each_db!(a_notification_moves_to_its_next_channel_and_begins_anew, async |db: &Db| {
    let open = json!({"status": "sending", "lease_token": "token", "attempts": 3, "step_attempts": 3, "step_began_at": NOW.0,
        "chain": r#"["sms","email"]"#, "due_at": later(60_000).0});
    insert(db, "n1", open).await;
    let advance = |token: &str| {
        [
            json!("a"),
            json!("n1"),
            json!(token),
            json!(status_number(Status::Queued)),
            json!("refused"),
            json!(later(5).0),
            json!(later(5).0),
            json!(1),
            json!("email"),
            json!("ana@x.example"),
            json!("sms"),
        ]
    };
    assert_eq!(write(db, Kind::Advance, &[advance("late")]).await.unwrap(), 0);
    assert_eq!(write(db, Kind::Advance, &[advance("token")]).await.unwrap(), 1);
    let claimed = claim(db, later(5), 9).await.remove(0).unwrap();
    assert_eq!((claimed.step, &*claimed.channel, claimed.address.as_deref()), (1, "email", Some("ana@x.example")));
    assert_eq!((claimed.attempts, claimed.step_attempts, claimed.step_began_at), (3, 0, None));
});

on_each_db!(the_journal_takes_a_late_result_once, async |db: &Db| {
    let row = |n, outcome, error: Option<&str>| {
        [
            json!("a"),
            json!("n1"),
            json!(n),
            json!("sms"),
            json!("twilio"),
            json!(outcome_number(outcome)),
            json!(NOW.0),
            json!(later(3).0),
            json!(503),
            json!("m"),
            json!("interrupted"),
            json!(error),
        ]
    };
    let first = [row(1, Outcome::Unknown, None), row(2, Outcome::Rejected, Some("no"))];
    assert_eq!(write(db, Kind::Attempt, &first).await.unwrap(), 2);
    let second = [row(1, Outcome::Accepted, Some("late")), row(2, Outcome::Accepted, Some("later"))];
    assert_eq!(write(db, Kind::Attempt, &second).await.unwrap(), 1);
    let found = notifications::attempts(&db.pool, &"a".into(), "n1").await.unwrap();
    assert_eq!(
        found.iter().map(|a| (a.number, a.outcome)).collect::<Vec<_>>(),
        [(1, Outcome::Accepted), (2, Outcome::Rejected)]
    );
    assert_eq!((found[0].reason.as_deref(), found[0].error.as_deref()), (Some("late_result"), Some("late")));
    assert_eq!(
        (found[1].http_status, found[1].message_id.as_deref(), found[1].finished_at),
        (Some(503), Some("m"), later(3))
    );
    assert!(notifications::attempts(&db.pool, &"b".into(), "n1").await.unwrap().is_empty());
});

on_each_db!(events_come_in_their_order, async |db: &Db| {
    let event = |event_id, event| {
        let none = Value::Null;
        [json!("a"), json!("n1"), json!(event_id), json!(event), json!("ñ"), json!(NOW.0), none.clone(), none]
    };
    write(db, Kind::Event, &[event("2", "second"), event("1", "first")]).await.unwrap();
    let found = notifications::events(&db.pool, &"a".into(), "n1").await.unwrap();
    assert_eq!(found.iter().map(|e| e.event.as_str()).collect::<Vec<_>>(), ["first", "second"]);
    assert_eq!((found[0].detail.as_deref(), found[0].at), (Some("ñ"), NOW));
    assert!(notifications::events(&db.pool, &"b".into(), "n1").await.unwrap().is_empty());
});

on_each_db!(an_idempotency_key_is_taken_once_a_day, async |db: &Db| {
    let (pool, a) = (&db.pool, TenantId::from("a"));
    let take = async |tenant: &str, at: Timestamp| {
        let row = [json!(tenant), json!("key"), json!("hash"), json!("r1"), Value::Null, json!(at.0)];
        write(db, Kind::Key, &[row]).await.unwrap()
    };
    assert_eq!((take("a", NOW).await, take("a", later(1)).await, take("b", later(1)).await), (1, 0, 1));
    let first = |at| notifications::find_first_answer(pool, &a, "key", at);
    let found = first(later(86_400_000)).await.unwrap().unwrap();
    assert_eq!(
        (found.body_hash.as_str(), found.request_id.as_str(), found.status, found.response),
        ("hash", "r1", 202, None)
    );
    assert!(first(later(86_400_001)).await.unwrap().is_none());
    assert!(notifications::find_first_answer(pool, &a, "another", NOW).await.unwrap().is_none());
    notifications::update_first_answer(pool, &a, "key", 200, r#"{"now": "ñ"}"#).await.unwrap();
    let found = first(NOW).await.unwrap().unwrap();
    assert_eq!((found.status, found.response.as_deref()), (200, Some(r#"{"now": "ñ"}"#)));
    assert_eq!((take("a", later(86_400_000)).await, take("a", later(86_400_001)).await), (0, 1));
});

on_each_db!(a_dedupe_key_is_taken_once_a_day_for_each_recipient, async |db: &Db| {
    let (pool, a) = (&db.pool, TenantId::from("a"));
    let take = async |id: &str, recipient: &str, at: Timestamp| -> Vec<String> {
        let row = json!([{"t": "a", "k": "key", "r": recipient, "id": id, "now": at.0}]);
        Asked::new(db.engine).take_dedupe_keys(pool, &row).await.unwrap().into_iter().collect()
    };
    assert_eq!(take("n1", "+521", NOW).await, ["n1"]);
    assert!(take("n2", "+521", later(1)).await.is_empty());
    assert_eq!(take("n3", "+522", later(1)).await, ["n3"]);
    assert_eq!(notifications::find_dedupe_owner(pool, &a, "key", "+521").await.unwrap().as_deref(), Some("n1"));
    assert_eq!(notifications::find_dedupe_owner(pool, &"b".into(), "key", "+521").await.unwrap(), None);
    assert_eq!(take("n4", "+521", later(86_400_001)).await, ["n4"]);
});

on_each_db!(content_of_many_is_kept_once, async |db: &Db| {
    let row = |request, content| [json!("a"), json!(request), json!(content), Value::Null];
    let contents = [row("r1", r#"{"template":"welcome","data":{"x":1}}"#), row("r2", "rubbish")];
    write(db, Kind::Content, &contents).await.unwrap();
    let find =
        async |tenant: &str, request: &str| notifications::find_shared_content(&db.pool, &tenant.into(), request).await;
    assert_eq!(find("a", "r1").await.unwrap().unwrap().data["x"], 1);
    assert!(find("a", "r2").await.is_err());
    assert!(find("b", "r1").await.unwrap().is_none() && find("a", "r3").await.unwrap().is_none());
});

on_each_db!(the_sandbox_lists_what_it_took_newest_first, async |db: &Db| {
    let message = |sid: &str, channel: &str| {
        [
            json!("a"),
            json!(sid),
            json!("n1"),
            json!(channel),
            json!(r#"{"phone":"+521"}"#),
            Value::Null,
            json!("Hola"),
            Value::Null,
            json!(r#"[{"title":"Sí","value":"yes"}]"#),
            json!(NOW.0),
        ]
    };
    let all = [message("s1", "sms"), message("s2", "email"), message("s3", "sms")];
    write(db, Kind::Captured, &all).await.unwrap();
    let ids = async |tenant: &str, channel: Option<&str>, before: Option<&str>, limit: usize| -> Vec<String> {
        let listed = sandbox::list(&db.pool, &tenant.into(), channel, before, limit).await.unwrap();
        listed.into_iter().map(|m| m.id).collect()
    };
    assert_eq!(ids("a", None, None, 2).await, ["s3", "s2"]);
    assert_eq!(ids("a", None, Some("s2"), 2).await, ["s1"]);
    assert_eq!(ids("a", Some("sms"), None, 9).await, ["s3", "s1"]);
    assert_eq!(ids("b", None, None, 9).await, [""; 0]);
    let first = sandbox::list(&db.pool, &"a".into(), None, None, 1).await.unwrap().remove(0);
    assert_eq!((first.actions[0].title.as_str(), first.recipient.phone.as_deref()), ("Sí", Some("+521")));
});

on_each_db!(only_the_failed_are_revived_and_only_the_waiting_cancelled, async |db: &Db| {
    let (pool, a) = (&db.pool, TenantId::from("a"));
    for status in Status::ALL {
        insert(
            db,
            status.as_str(),
            json!({"status": status.as_str(), "due_at": null, "attempts": u8::from(status == Status::Sending)}),
        )
        .await;
    }
    for status in Status::ALL {
        let revived = notifications::retry(pool, &a, status.as_str(), NOW).await.unwrap();
        assert_eq!(revived.as_deref(), (status == Status::Failed).then_some("sms"), "{status}");
    }
    assert_eq!((find(db, "failed").await.status, find(db, "failed").await.due_at), (Status::Queued, Some(NOW)));
    assert!(notifications::retry(pool, &"b".into(), "failed", NOW).await.unwrap().is_none());
    assert!(!notifications::cancel(pool, &"b".into(), "queued", NOW).await.unwrap(), "it is another's");
    for status in Status::ALL {
        let waits = matches!(status, Status::Queued | Status::Scheduled | Status::Failed);
        assert_eq!(notifications::cancel(pool, &a, status.as_str(), NOW).await.unwrap(), waits, "{status}");
    }
    insert(db, "tried", json!({"attempts": 1})).await;
    assert!(!notifications::cancel(pool, &a, "tried", NOW).await.unwrap(), "it was handed over once");
});

on_each_db!(leases_of_a_dead_process_are_void, async |db: &Db| {
    insert(db, "n1", json!({"lease_token": "dead", "due_at": later(60_000).0})).await;
    insert(db, "n2", json!({"status": "scheduled", "due_at": later(60_000).0})).await;
    assert_eq!(notifications::void_leases_any_tenant(&db.pool, NOW).await.unwrap(), 1);
    assert_eq!((find(db, "n1").await.due_at, find(db, "n2").await.due_at), (Some(NOW), Some(later(60_000))));
});

on_each_db!(the_oldest_due_work_is_known, async |db: &Db| {
    assert_eq!(notifications::oldest_due_any_tenant(&db.pool, NOW).await.unwrap(), None);
    let touches = |wake: i64| format!(r#"[{{"t": "a", "lane": "l{wake}", "wake": {wake}}}]"#);
    for wake in [later(-5).0, later(-9).0, later(1).0] {
        let lanes = recado::store::lanes::Statements::new(db.engine);
        lanes.touch(&db.pool, &touches(wake), "n1", NOW, later(9)).await.unwrap();
    }
    // A lane may be looked at earlier than anything in it falls due.
    assert_eq!(notifications::oldest_due_any_tenant(&db.pool, NOW).await.unwrap(), None);
    for (id, lane, due) in
        [("n5", later(-5).0, later(-5).0), ("n9", later(-9).0, later(-9).0), ("n1", later(-5).0, later(1).0)]
    {
        insert(db, id, json!({"lane": format!("l{lane}"), "due_at": due})).await;
    }
    assert_eq!(notifications::oldest_due_any_tenant(&db.pool, NOW).await.unwrap(), Some(later(-9)));
});

on_each_db!(the_list_is_the_tenants_own_and_as_narrow_as_asked, async |db: &Db| {
    for n in 1..=5 {
        insert(db, &format!("n{n}"), json!({"kind": format!("kind{n}"), "created_at": later(n).0})).await;
    }
    insert(db, "x1", json!({"tenant_id": "b"})).await;
    let odd = r#"{"phone":"+521","name":"Zoë 50%_\\ \"Q\""}"#;
    insert(
        db,
        "n6",
        json!({"recipient": odd, "address": null, "status": "failed", "channel": "email", "category": "marketing",
        "contact_id": "c1", "appointment_id": "p1", "branch_id": "b1", "request_id": "r1", "created_at": later(6).0}),
    )
    .await;
    let ids = async |filter: Filter, limit: usize| -> Vec<String> {
        let listed = notifications::list(&db.pool, &"a".into(), &filter, limit).await.unwrap();
        listed.into_iter().map(|r| r.id).collect()
    };
    let some = |text: &str| Some(text.to_owned());
    let all = Filter::default;
    assert_eq!(ids(all(), 3).await, ["n6", "n5", "n4"]);
    assert_eq!(ids(Filter { before: some("n3"), ..all() }, 9).await, ["n2", "n1"]);
    assert_eq!(ids(Filter { from: Some(later(2)), to: Some(later(4)), ..all() }, 9).await, ["n3", "n2"]);
    assert_eq!(ids(Filter { kind: some("kind2"), ..all() }, 9).await, ["n2"]);
    assert_eq!(
        ids(Filter { recipient: some("+521"), ..all() }, 9).await.len(),
        6,
        "also where another address is written to"
    );
    assert_eq!(ids(Filter { recipient: some("+52"), ..all() }, 9).await, [""; 0]);
    for filter in [
        Filter { status: some("failed"), ..all() },
        Filter { channel: some("email"), ..all() },
        Filter { category: some("marketing"), ..all() },
        Filter { contact_id: some("c1"), ..all() },
        Filter { appointment_id: some("p1"), ..all() },
        Filter { branch_id: some("b1"), ..all() },
        Filter { log_id: some("r1"), ..all() },
        Filter { q: some("50%_"), ..all() },
    ] {
        assert_eq!(ids(filter.clone(), 9).await, ["n6"], "{filter:?}");
    }
    assert_eq!(ids(Filter { q: some("KIND4"), ..all() }, 9).await, ["n4"]);
    assert_eq!(ids(Filter { q: some("'; drop table notifications; --"), ..all() }, 9).await, [""; 0]);
});

/// What a message says, for comparing.
trait BodyText {
    fn body_text(&self) -> &str;
}

impl BodyText for Arc<recado::content::Content> {
    fn body_text(&self) -> &str {
        match &self.body {
            recado::content::Body::Message(text) => text,
            other => panic!("{other:?}"),
        }
    }
}

on_each_db!(what_waits_for_a_while_is_moved_with_the_clock_and_what_waits_for_a_moment_is_not, async |db: &Db| {
    const HOUR: i64 = 3_600_000;
    let times = json!({"due_at": later(5).0, "step_began_at": NOW.0, "attempt_began_at": NOW.0, "attempts": 1});
    for (id, status) in [("n1", "queued"), ("n2", "sending"), ("n3", "scheduled")] {
        let mut row = times.clone();
        row["status"] = json!(status);
        insert(db, id, row).await;
    }
    insert(db, "n4", json!({"due_at": later(-5).0})).await;
    insert(db, "n5", json!({"status": "sent", "due_at": null})).await;
    let due = async |id: &str| find(db, id).await.due_at;
    assert_eq!(notifications::move_due_any_tenant(&db.pool, HOUR, later(HOUR)).await.unwrap(), 2);
    for id in ["n1", "n2"] {
        assert_eq!((due(id).await, find(db, id).await.attempt_began_at), (Some(later(HOUR + 5)), Some(later(HOUR))));
    }
    assert_eq!((due("n3").await, due("n4").await, due("n5").await), (Some(later(5)), Some(later(-5)), None));
    // Back again: what was due by the clock that went ahead is due now.
    notifications::move_due_any_tenant(&db.pool, -HOUR, NOW).await.unwrap();
    assert_eq!((due("n1").await, due("n3").await), (Some(later(5)), Some(later(5))));
    let began = find(db, "n2").await.attempt_began_at;
    assert_eq!(began, Some(NOW));
});
