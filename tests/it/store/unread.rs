//! Callbacks that were set aside.

use recado::store::unread::{self, KEPT_FOR, MOST, UnreadRow};

use super::*;

fn row(tenant: &str, channel: &str, n: usize) -> UnreadRow {
    UnreadRow {
        id: format!("{n:04}"),
        tenant: tenant.into(),
        channel: channel.into(),
        account: "default".into(),
        problem: "a status that is not known".into(),
        method: "POST".into(),
        query: String::new(),
        content_type: "text/plain".into(),
        body: format!("number {n}"),
        bytes: n,
        received_at: later(n as i64),
    }
}

on_each_db!(of_each_tenants_channel_the_newest_are_kept_for_a_while, async |db: &Db| {
    let mut conn = db.connect().await.unwrap();
    for (tenant, channel) in [("a", "sms"), ("a", "email"), ("b", "sms")] {
        unread::insert(&mut conn, &row(tenant, channel, 1)).await.unwrap();
    }
    for n in 2..=MOST + 3 {
        unread::insert(&mut conn, &row("a", "sms", n)).await.unwrap();
    }
    let ids = async |tenant: &str, channel: &str, before: Option<&str>, now| {
        let rows = unread::list(&db.pool, &tenant.into(), channel, before, 1000, now).await.unwrap();
        rows.into_iter().map(|row| row.bytes).collect::<Vec<_>>()
    };
    assert_eq!(ids("a", "sms", None, later(0)).await, (4..=MOST + 3).rev().collect::<Vec<_>>());
    assert_eq!(ids("a", "sms", Some("0006"), later(0)).await, [5, 4]);
    assert_eq!((ids("a", "email", None, later(0)).await, ids("b", "sms", None, later(0)).await), (vec![1], vec![1]));
    let after = later(6).plus(KEPT_FOR);
    assert_eq!(ids("a", "sms", Some("0008"), after).await, [7, 6], "the rest is too old to be shown");
    unread::expire_any_tenant(&db.pool, after).await.unwrap();
    assert_eq!(ids("a", "sms", Some("0008"), later(0)).await, [7, 6], "and gone");
    assert_eq!(ids("b", "sms", None, later(0)).await, Vec::<usize>::new());
});

on_each_db!(who_is_named_is_forgotten_and_nobody_else, async |db: &Db| {
    let mut conn = db.connect().await.unwrap();
    let mut add = async |n: usize, body: &str, query: &str, problem: &str| {
        let row = UnreadRow { body: body.into(), query: query.into(), problem: problem.into(), ..row("a", "sms", n) };
        unread::insert(&mut conn, &row).await.unwrap();
    };
    add(1, "about 6834002", "", "p").await;
    add(2, "2 of 12", "", "p").await;
    add(3, "", "from=Ana_L%40example.com", "p").await;
    add(4, "", "from=anaxl%40example.com", "p").await;
    add(5, "", "", "about 0000-id").await;
    let forget = async |person: [Option<&str>; 3]| {
        let mut conn = db.connect().await.unwrap();
        unread::erase(&mut conn, &"a".into(), person).await.unwrap();
        let left = unread::list(&db.pool, &"a".into(), "sms", None, 100, later(0)).await.unwrap();
        left.iter().map(|row| row.bytes).collect::<Vec<_>>()
    };
    // A number of Niue, four digits behind the country's.
    assert_eq!(forget([None, Some("+6834002"), None]).await, [5, 4, 3, 2]);
    assert_eq!(forget([None, None, Some("ana_l@example.com")]).await, [5, 4, 2]);
    assert_eq!(forget([Some("0000-id"), None, None]).await, [4, 2]);
    assert_eq!(forget([None, None, None]).await, [4, 2]);
});
