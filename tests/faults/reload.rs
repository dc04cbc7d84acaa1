//! The configuration changes while messages are under way.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::{House, Load, Server, Shop, Sink, audit, drained, eventually, pause};

const SECOND: Duration = Duration::from_secs(1);
const OFF: &str = "[channels.webhook]\nenabled = false\n";

/// Waits until the receiver has heard nothing for a second.
async fn goes_quiet(sink: &Sink) {
    eventually("nothing more is sent", 10 * SECOND, || async {
        let before = sink.total();
        pause(SECOND).await;
        sink.total() == before
    })
    .await;
}

async fn has_reloaded(server: &Server, times: usize) {
    let patience = Duration::from_secs(5);
    eventually("the change is in force", patience, || async { server.times_said("configuration reloaded") >= times })
        .await;
}

on_each_store!(switching_a_channel_off_under_load_holds_messages_back_and_loses_none, async |store: TestStore| {
    let sink = Sink::start().await;
    // Slow enough that much waits when the switch is turned.
    sink.slow_down(Duration::from_millis(200));
    let house = House::new(store, &[("RECADO_CHANNELS__WEBHOOK__MAX_CONCURRENCY", "4")]);
    let mut command = house.command();
    command.args(["serve", "--config"]).arg(house.config_file());
    let server = Server::spawn(command).await;
    let load = Load::start(4, Duration::from_millis(10), 2);
    for _ in 0..2 {
        load.ledger.add_shop(Shop::open(&server, &sink.url()).await);
    }
    load.call_at(&[server.address]);
    for (round, by_signal) in [(1, false), (3, true)] {
        let ledger = std::sync::Arc::clone(&load.ledger);
        let before = ledger.len();
        eventually("there is much to do", 30 * SECOND, || async { ledger.len() > before + 40 }).await;
        // What is asked for now is refused, so the callers rest.
        load.rest().await;
        let sent_before = sink.total();
        house.write_config(OFF);
        if by_signal {
            server.signal(Signal::HUP);
        }
        has_reloaded(&server, round).await;
        goes_quiet(&sink).await;
        let shop = &ledger.entries()[0].0;
        let refused = shop.api.post("/v1/notify", &crate::support::note("Hola")).await;
        assert_eq!((refused.status, refused.body["type"].as_str()), (422, Some("/problems/channel-unavailable")));
        assert!(sink.total() < ledger.len(), "nothing waited: {sent_before} of {} had been sent", ledger.len());
        house.write_config("");
        if by_signal {
            server.signal(Signal::HUP);
        }
        has_reloaded(&server, round + 1).await;
        load.call_at(&[server.address]);
        let held = sink.total();
        sink.has(held + 20, 30 * SECOND).await;
    }
    sink.slow_down(Duration::ZERO);
    let (ledger, ..) = load.stop().await;
    drained(&house.store.url, 90 * SECOND).await;
    let counts = audit(&server, &ledger, &sink).await;
    eprintln!("switched off and on: {counts}");
    counts.are_honest();
    assert_eq!((counts.sent, counts.dup, counts.unknown), (counts.accepted, 0, 0));
    server.stop().await;
    house.remove().await;
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_change_is_named_in_the_log_and_changes_nothing() {
    let sink = Sink::start().await;
    let house = House::new(crate::support::TestStore::sqlite(), &[]);
    let server = house.start().await;
    let shop = Shop::open(&server, &sink.url()).await;
    house.write_config("[channels.webhook]\nenabld = false\n");
    eventually("it is in the log", 5 * SECOND, || async { server.said("configuration not reloaded").is_some() }).await;
    let said = server.said("configuration not reloaded").unwrap();
    assert!(said["error"].as_str().unwrap().contains("config.toml:2: channels.webhook.enabld"), "{said}");
    let id = shop.send(&crate::support::note("Hola")).await;
    sink.has(1, 20 * SECOND).await;
    assert_eq!(sink.taken(&id), 1);
    server.stop().await;
    house.remove().await;
}
