//! Lanes: who works which queue, and until when.

use recado::store::lanes::{self, LaneRow, Statements, Touch};

use super::*;

const LEASE: i64 = 15_000;

async fn touch(db: &Db, node: &str, wakes: &[(&str, i64)], now: Timestamp) -> Vec<LaneRow> {
    let touches: Vec<Touch<'_>> = wakes.iter().map(|(lane, wake)| Touch { t: "a", lane, wake: *wake }).collect();
    let text = serde_json::to_string(&touches).unwrap();
    let end = Timestamp(now.0 + LEASE);
    let mut rows = Statements::new(db.engine).touch(&db.pool, &text, node, now, end).await.unwrap();
    rows.sort_by(|a, b| a.lane.cmp(&b.lane));
    rows
}

async fn acquire(db: &Db, node: &str, now: Timestamp, limit: usize) -> Vec<String> {
    let end = Timestamp(now.0 + LEASE);
    let rows = Statements::new(db.engine).acquire_due_any_tenant(&db.pool, node, now, end, limit).await.unwrap();
    let mut names: Vec<String> = rows.into_iter().map(|r| r.lane).collect();
    names.sort();
    names
}

async fn owned(db: &Db, node: &str, now: Timestamp) -> Vec<(String, i64)> {
    let rows = lanes::owned_any_tenant(&db.pool, node, now).await.unwrap();
    let mut names: Vec<(String, i64)> = rows.into_iter().map(|r| (r.lane, r.version)).collect();
    names.sort();
    names
}

on_each_db!(who_adds_work_first_owns_the_lane_until_its_lease_ends, async |db: &Db| {
    let first = touch(db, "n1", &[("sms", NOW.0), ("email", later(60_000).0)], NOW).await;
    assert_eq!(
        first.iter().map(|l| (l.lane.as_str(), l.version, l.owner.as_deref())).collect::<Vec<_>>(),
        [("email", 1, Some("n1")), ("sms", 1, Some("n1"))]
    );
    let other = touch(db, "n2", &[("sms", NOW.0)], later(1)).await;
    assert_eq!((other[0].version, other[0].owner.as_deref()), (2, Some("n1")), "work is added, the owner stays");
    assert_eq!(owned(db, "n1", later(2)).await, [("sms".to_owned(), 2)], "and sees by the version that there is more");
    assert_eq!(owned(db, "n2", later(2)).await, []);
    assert_eq!(lanes::version(&db.pool, &"a".into(), "sms").await.unwrap(), Some(2));
    assert_eq!(lanes::version(&db.pool, &"a".into(), "fax").await.unwrap(), None);
    let taken = touch(db, "n2", &[("sms", NOW.0)], later(LEASE)).await;
    assert_eq!(taken[0].owner.as_deref(), Some("n2"), "a lease that ran out is nobody's");
});

on_each_db!(lanes_with_due_work_are_taken_once, async |db: &Db| {
    touch(db, "n1", &[("sms", NOW.0), ("email", later(60_000).0), ("fax", later(5).0)], NOW).await;
    assert_eq!(acquire(db, "n2", later(10), 9).await, [""; 0], "they have an owner");
    let after = later(LEASE + 1);
    assert_eq!(acquire(db, "n2", after, 1).await, ["sms"], "the one that waits longest");
    assert_eq!(acquire(db, "n3", after, 9).await, ["fax"]);
    assert_eq!(acquire(db, "n3", after, 9).await, [""; 0]);
    assert_eq!(acquire(db, "n3", later(60_000), 9).await, ["email", "fax", "sms"]);
});

on_each_db!(a_lease_is_renewed_given_up_and_voided, async |db: &Db| {
    touch(db, "n1", &[("sms", NOW.0)], NOW).await;
    touch(db, "n2", &[("fax", NOW.0)], NOW).await;
    lanes::renew_any_tenant(&db.pool, "n1", later(1000), later(100_000)).await.unwrap();
    assert_eq!(acquire(db, "n3", later(50_000), 9).await, ["fax"]);
    // What has run out is not renewed.
    lanes::renew_any_tenant(&db.pool, "n1", later(100_000), later(200_000)).await.unwrap();
    assert_eq!(owned(db, "n1", later(100_001)).await, []);
    lanes::give_up_all_any_tenant(&db.pool, "n3").await.unwrap();
    assert_eq!(acquire(db, "n4", later(50_001), 9).await, ["fax"], "n1's own is not touched");
    lanes::void_owners_any_tenant(&db.pool).await.unwrap();
    assert_eq!(acquire(db, "n5", later(50_002), 9).await, ["fax", "sms"]);
});

on_each_db!(a_lane_sleeps_until_its_next_work_unless_somebody_added_some, async |db: &Db| {
    let a = TenantId::from("a");
    touch(db, "n1", &[("sms", NOW.0)], NOW).await;
    insert(db, "x1", json!({"lane": "sms", "due_at": later(500).0})).await;
    insert(db, "x2", json!({"lane": "sms", "due_at": later(400).0, "priority": 1})).await;
    assert!(!lanes::settle(&db.pool, &a, "sms", "n1", 7).await.unwrap(), "somebody added work");
    assert!(!lanes::settle(&db.pool, &a, "sms", "n2", 1).await.unwrap(), "it is not theirs");
    assert!(lanes::settle(&db.pool, &a, "sms", "n1", 1).await.unwrap());
    assert_eq!(acquire(db, "n2", later(399), 9).await, [""; 0]);
    assert_eq!(acquire(db, "n2", later(400), 9).await, ["sms"]);
});

on_each_db!(when_the_clock_was_set_every_lane_with_work_is_looked_at, async |db: &Db| {
    touch(db, "n1", &[("sms", later(60_000).0), ("email", NOW.0)], NOW).await;
    lanes::give_up_all_any_tenant(&db.pool, "n1").await.unwrap();
    sqlx::query("update lanes set wake_at = null where lane = 'email'").execute(&db.pool).await.unwrap();
    lanes::wake_all_any_tenant(&db.pool, later(5)).await.unwrap();
    assert_eq!(acquire(db, "n1", later(5), 9).await, ["sms"], "a lane that sleeps for good goes on sleeping");
});
