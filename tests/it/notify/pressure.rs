//! More than fits: into memory, where the rest waits in the store, and into the queue before the store, where it is
//! refused.

use std::future::IntoFuture;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use recado::store::Engine;
use recado::writer::Op;
use sqlx::{query, query_scalar};
use tokio::sync::oneshot;

use super::*;
use crate::support::Gate;

const LITTLE_MEMORY: &[(&str, &str)] = &[
    ("RECADO_DELIVERY__MAX_IN_MEMORY", "4"),
    ("RECADO_DELIVERY__CALL_TIMEOUT", "20s"),
    ("RECADO_CHANNELS__WEBHOOK__MAX_CONCURRENCY", "2"),
];
/// Rows of one lane that are fetched ahead at most, whatever waits behind them.
const FETCHED_AHEAD: usize = 128;
const ACCEPTED: usize = 200;

on_each_store!(p30_what_memory_has_no_room_for_waits_in_the_store_and_is_sent, LITTLE_MEMORY, async |app: TestApp| {
    let gate =
        Gate::start(200, |body| serde_json::from_str::<Value>(body).ok()?["id"].as_str().map(str::to_owned)).await;
    let shop = Shop::bare(&app, "Salón Uno").await;
    let settings = json!({"url": gate.url("/in"), "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"});
    shop.set("webhook", json!({"provider": "webhook", "settings": settings})).await;
    let mut ids = Vec::new();
    for n in 0..ACCEPTED {
        let to = json!({"phone": format!("+5233123{:05}", 45_000 + n)});
        ids.push(shop.send(&with(json!({"channel": "webhook", "to": to}))).await);
    }
    gate.holds(2).await;
    app.app.engine.writer.flush().await;
    let (waiting, calls, _) = app.app.engine.figures();
    assert!(waiting <= FETCHED_AHEAD && calls == 2, "{waiting} wait in memory beside {calls} calls");
    // What is in memory is leased, and so not due.
    let unclaimed = "select count(*) from notifications where status = 'queued' and due_at <= $1";
    let unclaimed: i64 = query_scalar(unclaimed).bind(app.now().0).fetch_one(&app.app.db.pool).await.unwrap();
    assert!(unclaimed as usize >= ACCEPTED - FETCHED_AHEAD - 2, "only {unclaimed} wait in the store");
    gate.open();
    app.deliver_due().await;
    for id in ids {
        assert_eq!((shop.status(&id).await.as_str(), gate.calls(&id).total), ("sent", 1));
    }
});

/// Nothing can be written to the store until this connection lets go.
async fn hold(app: &TestApp) -> sqlx::AnyConnection {
    let mut conn = app.app.db.connect().await.unwrap();
    let texts: &[&str] = match app.app.db.engine {
        Engine::Sqlite => &["begin immediate"],
        Engine::Postgres => &["begin", "lock table notifications, lanes in exclusive mode"],
    };
    for text in texts {
        query(*text).execute(&mut conn).await.unwrap();
    }
    conn
}

async fn stored(app: &TestApp) -> usize {
    let count: i64 = query_scalar("select count(*) from notifications").fetch_one(&app.app.db.pool).await.unwrap();
    count as usize
}

on_each_store!(p29_what_there_is_no_room_for_is_refused_and_can_be_sent_again, async |app: TestApp| {
    const REQUESTS: usize = 300;
    let shop = app.shop().await;
    let send = |n: usize| shop.post("/v1/notify", &hello()).header("idempotency-key", format!("k{n}")).into_future();
    send(REQUESTS).await.expect(202);
    app.deliver_due().await;
    let mut held = hold(&app).await;
    // Behind the first of the requests the queue fills up, and stays so.
    let filling = tokio::spawn({
        let writer = app.app.engine.writer.clone();
        async move {
            loop {
                writer.send(Op::Flush(oneshot::channel().0)).await;
            }
        }
    });
    let mut answers: FuturesUnordered<_> = (0..REQUESTS).map(|n| async move { (n, send(n).await) }).collect();
    // Who was let in is not answered yet.
    let (first, answer) = answers.next().await.unwrap();
    // First of all let go, or a failure below would wait for ever.
    query("rollback").execute(&mut held).await.unwrap();
    filling.abort();
    answer.is_problem(503, "overloaded");
    assert_eq!(answer.header("retry-after"), Some("1"));
    let mut refused = vec![first];
    let mut accepted = 0;
    while let Some((n, answer)) = answers.next().await {
        if answer.status == 202 {
            accepted += 1;
        } else {
            answer.is_problem(503, "overloaded");
            refused.push(n);
        }
    }
    assert!(accepted > 0, "nobody was let in, so nobody was refused for those who were");
    assert_eq!(stored(&app).await, 1 + accepted, "a refused request left something behind");
    for answer in join_all(refused.into_iter().map(send)).await {
        let replayed = answer.header("idempotency-replayed").map(str::to_owned);
        answer.expect(202);
        assert_eq!(replayed, None, "a refusal is no answer to be repeated");
    }
    app.deliver_due().await;
    assert_eq!(stored(&app).await, 1 + REQUESTS);
    let sent: i64 = query_scalar("select count(*) from notifications where status = 'sent'")
        .fetch_one(&app.app.db.pool)
        .await
        .unwrap();
    assert_eq!(sent as usize, 1 + REQUESTS);
});
