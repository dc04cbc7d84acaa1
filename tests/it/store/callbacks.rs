//! Reports and inbound messages.

use plugin_api::Hint;
use recado::store::callbacks::{self, InboundRow, Report};
use recado::store::notifications;
use recado::writer::NextStep;

use super::*;

fn report(message: &str, state: Status) -> Report {
    Report {
        tenant: "a".into(),
        account: "sms#default".into(),
        message_id: message.into(),
        reference: None,
        state,
        reason: Some("why".into()),
        detail: Some("in a sentence".into()),
        hint: Some(Hint::SuppressAddress),
        happened_at: later(1),
        received_at: later(2),
    }
}

async fn sent(db: &Db, id: &str, message: &str) {
    insert(db, id, json!({"status": "sent", "message_id": message, "due_at": null})).await;
}

on_each_db!(reports_are_kept_once_and_dropped_one_by_one, async |db: &Db| {
    for state in [Status::Delivered, Status::Read, Status::Delivered] {
        callbacks::keep_report(&db.pool, &report("m1", state)).await.unwrap();
    }
    assert!(
        callbacks::ripe_reports_any_tenant(&db.pool, later(2), 10).await.unwrap().is_empty(),
        "nobody knows the message"
    );
    let kept = callbacks::ripe_reports_any_tenant(&db.pool, later(3), 10).await.unwrap();
    assert_eq!(kept.len(), 2);
    let first = kept.iter().find(|r| r.state == Status::Delivered).unwrap();
    assert_eq!(
        (first.reason.as_deref(), first.hint, first.happened_at),
        (Some("why"), Some(Hint::SuppressAddress), later(1))
    );
    callbacks::move_reports_any_tenant(&db.pool, 1000).await.unwrap();
    assert!(
        callbacks::ripe_reports_any_tenant(&db.pool, later(1002), 10).await.unwrap().is_empty(),
        "they came later, by the clock"
    );
    callbacks::move_reports_any_tenant(&db.pool, -1000).await.unwrap();
    callbacks::drop_report(&db.pool, first).await.unwrap();
    sent(db, "n1", "m1").await;
    let left = callbacks::ripe_reports_any_tenant(&db.pool, later(2), 10).await.unwrap();
    assert_eq!(left.iter().map(|r| r.state).collect::<Vec<_>>(), [Status::Read]);
    assert!(callbacks::ripe_reports_any_tenant(&db.pool, later(3), 0).await.unwrap().is_empty());
});

on_each_db!(a_report_finds_its_notification_by_our_id_or_the_providers, async |db: &Db| {
    sent(db, "n1", "m1").await;
    let mut conn = db.connect().await.unwrap();
    let mut found = async |r: &Report| callbacks::find_reported(&mut conn, r).await.unwrap().map(|d| d.id.to_string());
    assert_eq!(found(&report("m1", Status::Delivered)).await.as_deref(), Some("n1"));
    assert_eq!(found(&report("m2", Status::Delivered)).await, None);
    let referring = |reference: &str| Report { reference: Some(reference.into()), ..report("m9", Status::Read) };
    assert_eq!(found(&referring("n1")).await.as_deref(), Some("n1"));
    assert_eq!(found(&referring("n1.1")).await, None, "it is another channel's turn");
    assert_eq!(found(&Report { tenant: "b".into(), ..report("m1", Status::Read) }).await, None);
    assert_eq!(callbacks::find_by_message(&db.pool, &"a".into(), "m1").await.unwrap().as_deref(), Some("n1"));
    assert_eq!(callbacks::find_by_message(&db.pool, &"b".into(), "m1").await.unwrap(), None);
});

on_each_db!(a_report_moves_only_the_state_it_was_judged_by, async |db: &Db| {
    sent(db, "n1", "m1").await;
    let mut conn = db.connect().await.unwrap();
    let judged = callbacks::find_reported(&mut conn, &report("m1", Status::Delivered)).await.unwrap().unwrap();
    callbacks::apply_report(&db.pool, &judged, &report("m1", Status::Delivered), later(3)).await.unwrap();
    assert_eq!(find(db, "n1").await.status, Status::Delivered);
    // Judged while it was still `sent`: too late.
    callbacks::apply_report(&db.pool, &judged, &report("m1", Status::Failed), later(4)).await.unwrap();
    let next = NextStep { step: 1, channel: "email".into(), address: Some("a@x".into()), lane: "email".into() };
    callbacks::advance_reported(&db.pool, &judged, &next, Some("why"), later(4)).await.unwrap();
    assert_eq!(find(db, "n1").await.status, Status::Delivered);
    sent(db, "n2", "m2").await;
    let judged = callbacks::find_reported(&mut conn, &report("m2", Status::Failed)).await.unwrap().unwrap();
    callbacks::advance_reported(&db.pool, &judged, &next, Some("why"), later(4)).await.unwrap();
    let row = find(db, "n2").await;
    assert_eq!((row.status, row.channel.as_str(), row.due_at), (Status::Queued, "email", Some(later(4))));
    for _ in 0..2 {
        callbacks::insert_event(&db.pool, &judged, "m2:failed", "fell_back", Some("sms: why"), later(5)).await.unwrap();
        callbacks::insert_reply(&db.pool, (&"a".into(), "n2"), "i1:replied", Some("yes"), later(6)).await.unwrap();
    }
    let told = notifications::events(&db.pool, &"a".into(), "n2").await.unwrap();
    assert_eq!(told.iter().map(|e| e.event.as_str()).collect::<Vec<_>>(), ["fell_back", "replied"]);
});

on_each_db!(what_a_person_wrote_is_stored_once_and_tells_when, async |db: &Db| {
    let message = |id: &str, at: Timestamp| InboundRow {
        opts_out: false,
        tenant: "a".into(),
        account: "whatsapp#default".into(),
        message_id: id.into(),
        channel: "whatsapp".into(),
        sender: "+521".into(),
        name: Some("Ana".into()),
        body: "Hola".into(),
        action: None,
        notification_id: None,
        happened_at: at,
        received_at: at,
    };
    assert!(callbacks::insert_inbound(&db.pool, &message("i1", later(1))).await.unwrap());
    assert!(!callbacks::insert_inbound(&db.pool, &message("i1", later(9))).await.unwrap());
    assert!(callbacks::insert_inbound(&db.pool, &message("i2", later(5))).await.unwrap());
    let last = async |tenant: &str, channel: &str, sender: &str| {
        callbacks::last_inbound(&db.pool, &tenant.into(), channel, sender).await.unwrap()
    };
    assert_eq!(last("a", "whatsapp", "+521").await, Some(later(5)));
    for (tenant, channel, sender) in [("b", "whatsapp", "+521"), ("a", "sms", "+521"), ("a", "whatsapp", "+522")] {
        assert_eq!(last(tenant, channel, sender).await, None);
    }
});
