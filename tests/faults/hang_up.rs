//! F32: callers that hang up.

use std::time::Duration;

use futures_util::StreamExt;
use rand::RngExt;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{House, Server, Shop, Sink, drained, note, number};

fn requests() -> usize {
    std::env::var("RECADO_HANG_UPS").ok().and_then(|n| n.parse().ok()).unwrap_or(2000)
}

/// Posts and hangs up after so long; the answer, if it was all there by then.
async fn post_and_hang_up(server: &Server, shop: &Shop, key: usize, after: Duration) -> Option<Value> {
    let body = note("Hola").to_string();
    let request = format!(
        "POST /v1/notify HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nIdempotency-Key: key-{key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        shop.api.key,
        body.len()
    );
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(after, async {
        while whole(&answer).is_none() && stream.read_buf(&mut answer).await.is_ok_and(|n| n > 0) {}
    })
    .await;
    whole(&answer)
}

fn whole(answer: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    assert!(head.starts_with("HTTP/1.1 202"), "{text}");
    serde_json::from_str(body).ok()
}

on_each_store!(f32_a_caller_that_hangs_up_neither_undoes_nor_half_does_a_write, async |store: TestStore| {
    let application = format!("f32_{}", uuid::Uuid::new_v4().simple());
    let postgres = store.url.starts_with("postgres");
    let url = if postgres { format!("{}&application_name={application}", store.url) } else { store.url.clone() };
    let sink = Sink::start().await;
    let house = House::new(store, &[("RECADO_STORE__URL", &url)]);
    let server = house.start().await;
    let shop = Shop::open(&server, &sink.url()).await;
    // One connection that stays open sees what is committed, and nothing else.
    sqlx::any::install_default_drivers();
    let looking = sqlx::any::AnyPoolOptions::new().max_connections(1).connect(&house.store.url).await.unwrap();
    let accepted = futures_util::stream::iter(0..requests())
        .map(|key| {
            let (server, shop, looking) = (&server, &shop, &looking);
            async move {
                // Most hang up within two milliseconds, some wait a little longer, and a few see their answer however
                // busy the machine is.
                let after = match key {
                    _ if key % 100 == 0 => Duration::from_secs(30),
                    _ if key % 4 == 0 => Duration::from_micros(rand::rng().random_range(0..40_000)),
                    _ => Duration::from_micros(rand::rng().random_range(0..2_000)),
                };
                let answer = post_and_hang_up(server, shop, key, after).await?;
                let id = answer["notifications"][0]["id"].as_str().unwrap().to_owned();
                let sql = "select count(*) from notifications where notification_id = $1";
                let seen: i64 = sqlx::query_scalar(sql).bind(&id).fetch_one(looking).await.unwrap();
                assert_eq!(seen, 1, "{id} was accepted and is not there");
                Some(id)
            }
        })
        .buffer_unordered(8)
        .filter_map(std::future::ready)
        .collect::<Vec<_>>()
        .await;
    looking.close().await;
    drained(&house.store.url, Duration::from_secs(90)).await;
    let rows = number(&house.store.url, "select count(*) from notifications").await;
    let keys = number(&house.store.url, "select count(*) from idempotency_keys").await;
    let pairs = "select count(*) from idempotency_keys k join notifications n on n.tenant_id = k.tenant_id and n.request_id = k.request_id";
    assert_eq!(
        (rows, number(&house.store.url, pairs).await),
        (keys, keys),
        "a key and its notification belong together"
    );
    let (all, answered, taken) = (requests(), accepted.len(), sink.total());
    eprintln!("{all} posted: {answered} saw their answer, {rows} were stored, {taken} taken");
    assert!(!accepted.is_empty(), "nobody saw an answer, so nothing was tried");
    assert_eq!(sink.total() as i64, rows, "each was sent once");
    assert!(accepted.iter().all(|id| sink.taken(id) == 1));
    if postgres {
        let stuck = format!(
            "select count(*) from pg_stat_activity where application_name = '{application}' and state like 'idle in transaction%'"
        );
        assert_eq!(number(&house.store.url, &stuck).await, 0);
    }
    server.stop().await;
    house.remove().await;
});
