//! F1: killed again and again while it works.

use std::time::Duration;

use crate::support::{House, Load, Shop, Sink, audit, drained, pause};

/// So that what a crash leaves open stays within the budget for retries.
const NARROW: &[(&str, &str)] = &[("RECADO_CHANNELS__WEBHOOK__MAX_CONCURRENCY", "8")];

fn cycles() -> usize {
    std::env::var("RECADO_CRASH_CYCLES").ok().and_then(|n| n.parse().ok()).unwrap_or(20)
}

on_each_store!(f1_nothing_is_lost_and_nothing_is_unexplained_after_many_crashes, async |store: TestStore| {
    let sink = Sink::start().await;
    let house = House::new(store, NARROW);
    let load = Load::start(8, Duration::from_millis(10), 3);
    let mut slowest_start = Duration::ZERO;
    for cycle in 0..cycles() {
        let server = house.start().await;
        slowest_start = slowest_start.max(server.started_in);
        // A lane of a dead node is its own until the lease ends, so each life has a shop that nobody owned before.
        load.ledger.add_shop(Shop::open(&server, &sink.url()).await);
        load.call_at(&[server.address]);
        pause(Duration::from_millis(300 + (cycle as u64 * 137) % 500)).await;
        server.kill();
    }
    let server = house.start().await;
    load.call_at(&[server.address]);
    let (ledger, repeats, replayed) = load.stop().await;
    drained(&house.store.url, Duration::from_mins(2)).await;
    let counts = audit(&server, &ledger, &sink).await;
    eprintln!(
        "{} crashes: {counts}; {repeats} requests repeated, {replayed} answered as before; slowest start {slowest_start:?}",
        cycles()
    );
    counts.are_honest();
    assert_eq!(counts.sent, counts.accepted);
    assert!(counts.accepted > cycles() * 10, "too little happened: {counts}");
    assert!(slowest_start < Duration::from_secs(5));
    server.stop().await;
    house.remove().await;
});
