//! What `/metrics` says, of a process that nobody else counts in.

use std::time::Duration;

use serde_json::json;

use crate::support::{House, Server, Shop, Sink, eventually, note, time_passes};

const HOUR: Duration = Duration::from_secs(3600);

async fn oldest_due(server: &Server) -> f64 {
    let metrics = server.operator().get("/metrics").await.expect(200);
    let text = metrics.as_str().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("recado_queue_oldest_due_seconds "));
    line.unwrap_or_else(|| panic!("it is not among {text}")).parse().unwrap()
}

on_each_store!(p2_the_age_of_the_oldest_due_work_is_shown_until_it_is_done, async |store: TestStore| {
    let sink = Sink::start().await;
    let house = House::new(store, &[]);
    let server = house.start().await;
    let shop = Shop::open(&server, &sink.url()).await;
    for hours in [1, 2] {
        let mut later = note("Hola");
        later["sendAt"] = json!((chrono::Utc::now() + HOUR * hours).to_rfc3339());
        shop.api.post("/v1/notify", &later).await.expect(202);
    }
    assert!(oldest_due(&server).await <= 0.0, "what is scheduled is not due");
    server.stop().await;

    // Nothing is sent on a channel that is switched off.
    time_passes(&house.store.url, HOUR + HOUR / 4).await;
    let server = house.start_with(&[("RECADO_CHANNELS__WEBHOOK__ENABLED", "false")]).await;
    let age = oldest_due(&server).await;
    assert!((900.0..1000.0).contains(&age), "{age} s, after a quarter of an hour");
    assert_eq!(sink.total(), 0);
    server.stop().await;

    let server = house.start().await;
    sink.has(1, Duration::from_secs(20)).await;
    eventually("nothing is due", Duration::from_secs(20), || async { oldest_due(&server).await == 0.0 }).await;
    server.stop().await;
    house.remove().await;
});
