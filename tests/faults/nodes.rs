//! F8, F9: two processes on one PostgreSQL.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::support::{House, Ledger, Load, Shop, Sink, TestStore, audit, drained, eventually, note};

const SECOND: Duration = Duration::from_secs(1);
/// A lane belongs to its node no longer than this after the node's death; a row of the dead, with the leases of a
/// [`House`], even less.
const LANE_LEASE: Duration = Duration::from_secs(15);
/// What a survivor needs beside: it looks for free lanes up to every 0.7 s, on a machine that does other things as well.
const MARGIN: Duration = Duration::from_secs(3);
const SHOPS: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f9_two_nodes_that_race_for_the_same_rows_claim_each_once() {
    let Some(store) = TestStore::postgres().await else { return };
    let rows: usize = std::env::var("RECADO_RACE_ROWS").ok().and_then(|n| n.parse().ok()).unwrap_or(2000);
    let shops = 40;
    let sink = Sink::start().await;
    let house = House::new(store, &[]);
    let server = house.start().await;
    let ledger = Ledger::default();
    // Lanes fall due one after the other, so that for each there is a race of its own.
    let begin = Utc::now() + Duration::from_secs(20);
    for n in 0..shops {
        let shop = Shop::open(&server, &sink.url()).await;
        let at = begin + Duration::from_millis(100) * n;
        let to: Vec<Value> = (0..rows / shops as usize).map(|p| json!({"externalId": format!("p-{p}")})).collect();
        let mut body = note("Hola");
        body["to"] = json!(to);
        body["sendAt"] = json!(at.to_rfc3339_opts(SecondsFormat::Millis, true));
        let answer = shop.api.post("/v1/notify", &body).await.expect(202);
        let at = ledger.add_shop(shop);
        for sent in answer["notifications"].as_array().unwrap() {
            assert_eq!(sent["status"], "scheduled");
            ledger.accepted(at, sent["id"].as_str().unwrap().to_owned());
        }
    }
    // Its lanes are free for whoever comes first.
    server.stop().await;
    assert!(Utc::now() < begin, "setting up took too long");
    assert_eq!(sink.total(), 0);
    let (one, two) = tokio::join!(house.start(), house.start());
    sink.has(ledger.len(), 120 * SECOND).await;
    drained(&house.store.url, 60 * SECOND).await;
    let counts = audit(&one, &ledger, &sink).await;
    let mut shares = Vec::new();
    for node in [&one, &two] {
        let metrics = node.operator().get("/metrics").await;
        let text = metrics.body.as_str().unwrap_or_default().to_owned();
        let line = text.lines().find(|l| l.starts_with("recado_deliveries_total") && l.contains("accepted"));
        shares.push(line.and_then(|l| l.rsplit(' ').next()?.parse::<usize>().ok()).unwrap_or_default());
    }
    eprintln!("a race for {} rows: {counts}; calls of each node: {shares:?}", ledger.len());
    counts.are_honest();
    assert_eq!((counts.sent, sink.total()), (ledger.len(), ledger.len()), "each row was taken exactly once");
    assert_eq!(shares.iter().sum::<usize>(), ledger.len());
    assert!(shares.iter().all(|share| *share > 0), "one of them had no part in it");
    one.stop().await;
    two.stop().await;
    house.remove().await;
}

/// How many messages of each shop were taken.
fn taken_by_shop(ledger: &Ledger, sink: &Sink) -> HashMap<String, usize> {
    let mut taken = HashMap::new();
    for (shop, id) in ledger.entries() {
        *taken.entry(shop.id).or_default() += sink.taken(&id);
    }
    taken
}

/// Waits until more is taken of every shop than before.
async fn every_lane_goes_on(ledger: &Ledger, sink: &Sink, before: &HashMap<String, usize>) {
    eventually("every lane goes on", 4 * LANE_LEASE, || async {
        let now = taken_by_shop(ledger, sink);
        let more = |shop: &String| now[shop] > before.get(shop).copied().unwrap_or_default();
        now.len() == SHOPS && now.keys().all(more)
    })
    .await;
}

/// Waits until so many more are accepted.
async fn work_comes_in(ledger: &Ledger, more: usize) {
    let enough = ledger.len() + more;
    eventually("work comes in", 20 * SECOND, || async { ledger.len() >= enough }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f8_when_either_node_dies_the_other_goes_on() {
    let Some(store) = TestStore::postgres().await else { return };
    let sink = Sink::start().await;
    let house = House::new(store, &[("RECADO_CHANNELS__WEBHOOK__MAX_CONCURRENCY", "8")]);
    // A kill meets calls under way.
    sink.slow_down(Duration::from_millis(15));
    let mut nodes = vec![house.start().await, house.start().await];
    let load = Load::start(6, Duration::from_millis(10), SHOPS);
    for _ in 0..SHOPS {
        load.ledger.add_shop(Shop::open(&nodes[0], &sink.url()).await);
    }
    load.call_at(&[nodes[0].address, nodes[1].address]);
    every_lane_goes_on(&load.ledger, &sink, &HashMap::new()).await;
    sink.longest_pause();
    // One at a time, and both that had work, one after the other.
    let mut stalls = Vec::new();
    for deaths in [1, 3, 1, 3] {
        let mut since = Instant::now();
        for _ in 0..deaths {
            work_comes_in(&load.ledger, 100).await;
            load.call_at(&[nodes[1].address]);
            nodes.remove(0).kill();
            since = Instant::now();
            nodes.push(house.start().await);
            load.call_at(&[nodes[0].address, nodes[1].address]);
        }
        // By now nothing comes any more that the dead had called.
        every_lane_goes_on(&load.ledger, &sink, &taken_by_shop(&load.ledger, &sink)).await;
        stalls.push(since.elapsed());
    }
    let pause = sink.longest_pause();
    let (ledger, ..) = load.stop().await;
    drained(&house.store.url, 120 * SECOND).await;
    let counts = audit(&nodes[0], &ledger, &sink).await;
    eprintln!("two nodes, 8 kills: {counts}; lanes stood still for {stalls:?}, all of them for {pause:?}");
    counts.are_honest();
    assert_eq!(counts.sent, counts.accepted);
    let longest = stalls.iter().max().unwrap();
    assert!(*longest > SECOND, "no death met a lane at work: this proves nothing");
    assert!(*longest < LANE_LEASE + MARGIN, "a lane stood still for {stalls:?}");
    assert!(pause < LANE_LEASE + MARGIN, "the queue was idle for {pause:?}");
    for node in nodes {
        node.stop().await;
    }
    house.remove().await;
}
