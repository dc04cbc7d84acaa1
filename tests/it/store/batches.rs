//! Batches: rows of several kinds in one commit, alike on both databases whatever their number.

use recado::status::Outcome;
use recado::store::batch::outcome_number;
use recado::store::notifications::{self, Asked};
use sqlx::Executor;

use super::*;

fn key(name: &str, request: &str) -> [Value; 6] {
    [json!("a"), json!(name), json!("hash"), json!(request), json!("{}"), json!(NOW.0)]
}

async fn commit(db: &Db, batch: Batch) -> StoreResult<recado::store::batch::Changed> {
    let mut conn = db.connect().await.unwrap();
    Batches::new(db).commit(&mut conn, batch, false).await
}

on_each_db!(any_number_of_rows_is_written_whole, async |db: &Db| {
    let mut conn = db.connect().await.unwrap();
    let mut batches = Batches::new(db);
    let mut total = 0;
    for (round, count) in [1_usize, 2, 4, 5, 16, 17, 48, 49, 128, 129, 512, 513, 3, 1].into_iter().enumerate() {
        let mut batch = Batch::default();
        assert!(batch.is_empty());
        for n in 0..count {
            batch.push(Kind::Notification, notification(&format!("{round:02}-{n:04}"), &json!({})).each_ref().map(val));
        }
        assert_eq!(batch.count(Kind::Notification), count);
        let changed = batches.commit(&mut conn, batch, false).await.unwrap();
        assert_eq!((changed.count(Kind::Notification), changed.count(Kind::Finish)), (count as u64, 0), "{count} rows");
        total += count as i64;
    }
    let stored: i64 = sqlx::query_scalar("select count(*) from notifications").fetch_one(&db.pool).await.unwrap();
    assert_eq!(stored, total);
});

on_each_db!(sqlite_takes_the_next_batch_before_the_last_is_written, async |db: &Db| {
    let mut batches = Batches::new(db);
    let batch = |id: &str| {
        let mut batch = Batch::default();
        batch.push(Kind::Key, key("k", id).each_ref().map(val));
        batch.push(Kind::Notification, notification(id, &json!({"k": "k"})).each_ref().map(val));
        batch
    };
    if db.engine == Engine::Postgres {
        assert!(batches.launch(batch("first")).await.is_err());
        return;
    }
    let (first, second) =
        (batches.launch(batch("first")).await.unwrap(), batches.launch(batch("second")).await.unwrap());
    // In order, whoever is asked first.
    let (second, first) = (second.await.unwrap(), first.await.unwrap());
    assert_eq!((first.count(Kind::Notification), second.count(Kind::Notification)), (1, 0));
});

on_each_db!(what_came_under_a_used_key_is_not_stored, async |db: &Db| {
    let batch = |request: &str, name: &str| {
        let mut batch = Batch::default();
        batch.push(Kind::Key, key(name, request).each_ref().map(val));
        let row = notification(request, &json!({"k": name, "content": null}));
        batch.push(Kind::Notification, row.each_ref().map(val));
        let content = [json!("a"), json!(request), json!(CONTENT), json!(name)];
        batch.push(Kind::Content, content.each_ref().map(val));
        let event = ["a", request, request, "routed", "the plain order was taken"].map(|text| json!(text));
        let event = event.into_iter().chain([json!(NOW.0), json!(request), json!(name)]).collect::<Vec<_>>();
        batch.push(Kind::Event, <[Value; 8]>::try_from(event).unwrap().each_ref().map(val));
        batch
    };
    let kinds = [Kind::Key, Kind::Notification, Kind::Content, Kind::Event];
    let first = commit(db, batch("r1", "k")).await.unwrap();
    assert_eq!(kinds.map(|kind| first.count(kind)), [1; 4]);
    let again = commit(db, batch("r2", "k")).await.unwrap();
    assert_eq!(kinds.map(|kind| again.count(kind)), [0; 4]);
    assert!(
        notifications::events(&db.pool, &"a".into(), "r2").await.unwrap().is_empty(),
        "of what nobody can see, nothing is told"
    );
    let other = commit(db, batch("r3", "k2")).await.unwrap();
    assert_eq!(other.count(Kind::Notification), 1);
    let asked = json!(["r1", "r2", "r3"].map(|id| json!({"t": "a", "id": id})));
    let present = Asked::new(db.engine).present(&db.pool, &asked).await.unwrap();
    assert_eq!(present, ["r1".to_owned(), "r3".to_owned()].into());
    assert!(notifications::find_shared_content(&db.pool, &"a".into(), "r2").await.unwrap().is_none());
    // In one batch with others that have no key, or a free one, they are none the worse.
    let mut mixed = batch("r4", "k");
    mixed.push(Kind::Notification, notification("free", &json!({})).each_ref().map(val));
    let mixed = commit(db, mixed).await.unwrap();
    assert_eq!((mixed.count(Kind::Notification), mixed.count(Kind::Key)), (1, 0));
    assert!(notifications::find(&db.pool, &"a".into(), "free").await.unwrap().is_some());
});

on_each_db!(every_kind_fits_into_one_batch, async |db: &Db| {
    for id in ["f", "s", "r", "m"] {
        insert(db, id, json!({"lease_token": "token", "due_at": later(9).0})).await;
    }
    let mut batch = Batch::default();
    let now = json!(NOW.0);
    let none = Value::Null;
    batch.push(
        Kind::Event,
        [json!("a"), json!("f"), json!("e1"), json!("held"), none.clone(), now.clone(), none.clone(), none.clone()]
            .each_ref()
            .map(val),
    );
    batch.push(Kind::Release, [json!("a"), json!("r"), json!("token"), now.clone()].each_ref().map(val));
    batch.push(Kind::Start, [json!("a"), json!("s"), json!("token"), now.clone(), now.clone()].each_ref().map(val));
    batch.push(Kind::Memory, [json!("a"), json!("acc"), json!("+521"), json!("{}"), now.clone()].each_ref().map(val));
    let sent = json!(status_number(Status::Sent));
    let finish = [json!("a"), json!("f"), json!("token"), sent, none.clone(), json!("m"), none.clone(), now.clone()];
    batch.push(Kind::Finish, finish.each_ref().map(val));
    let attempt = [
        json!("a"),
        json!("f"),
        json!(1),
        json!("sms"),
        json!("x"),
        json!(outcome_number(Outcome::Accepted)),
        now.clone(),
        now.clone(),
        none.clone(),
        none.clone(),
        none.clone(),
        none.clone(),
    ];
    batch.push(Kind::Attempt, attempt.each_ref().map(val));
    let captured = [
        json!("a"),
        json!("c1"),
        json!("f"),
        json!("sms"),
        json!("{}"),
        none.clone(),
        json!("Hola"),
        none.clone(),
        json!("[]"),
        now.clone(),
    ];
    batch.push(Kind::Captured, captured.each_ref().map(val));
    let advance = [
        json!("a"),
        json!("m"),
        json!("token"),
        json!(status_number(Status::Queued)),
        none.clone(),
        now.clone(),
        now.clone(),
        json!(1),
        json!("email"),
        none.clone(),
        json!("email"),
    ];
    batch.push(Kind::Advance, advance.each_ref().map(val));
    batch.push(Kind::Key, key("k", "n").each_ref().map(val));
    batch.push(Kind::Notification, notification("n", &json!({"k": "k"})).each_ref().map(val));
    batch.push(Kind::Content, [json!("a"), json!("n"), json!(CONTENT), none].each_ref().map(val));
    let changed = commit(db, batch).await.unwrap();
    let kinds = [
        Kind::Key,
        Kind::Notification,
        Kind::Content,
        Kind::Attempt,
        Kind::Finish,
        Kind::Advance,
        Kind::Start,
        Kind::Release,
        Kind::Memory,
        Kind::Captured,
        Kind::Event,
    ];
    for kind in kinds {
        assert_eq!(changed.count(kind), 1, "{kind:?}");
    }
    let status = async |id: &str| find(db, id).await.status.as_str();
    assert_eq!(
        [status("f").await, status("s").await, status("r").await, status("n").await],
        ["sent", "sending", "queued", "queued"]
    );
});

on_each_db!(one_bad_row_leaves_nothing_of_its_batch_and_the_connection_usable, async |db: &Db| {
    let mut conn = db.connect().await.unwrap();
    let mut batches = Batches::new(db);
    for open in [false, true] {
        let mut batch = Batch::default();
        batch.push(Kind::Notification, notification("good", &json!({})).each_ref().map(val));
        batch.push(Kind::Notification, notification("bad", &json!({"status": 99})).each_ref().map(val));
        if open {
            conn.execute("begin").await.unwrap();
        }
        assert!(batches.commit(&mut conn, batch, open).await.is_err());
        if open {
            // SQLite's part of it ends with the failed statement.
            let _ = conn.execute("rollback").await;
        }
        assert!(notifications::find(&db.pool, &"a".into(), "good").await.unwrap().is_none(), "open: {open}");
    }
    let mut batch = Batch::default();
    batch.push(Kind::Notification, notification("good", &json!({})).each_ref().map(val));
    conn.execute("begin").await.unwrap();
    assert_eq!(batches.commit(&mut conn, batch, true).await.unwrap().count(Kind::Notification), 1);
    assert!(
        notifications::find(&db.pool, &"a".into(), "good").await.unwrap().is_some(),
        "seen from another connection"
    );
});
