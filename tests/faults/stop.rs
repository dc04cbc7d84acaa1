//! F7: an orderly stop, whoever holds on to the server.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{House, Load, Server, Shop, Sink, audit, drained, eventually};

const SECOND: Duration = Duration::from_secs(1);

fn connect(server: &Server, say: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(say).unwrap();
    stream
}

on_each_store!(f7_a_stop_under_load_ends_well_in_time_and_leaves_nothing_unknown, async |store: TestStore| {
    let sink = Sink::start().await;
    sink.slow_down(Duration::from_millis(100));
    let house = House::new(store, &[]);
    let mut server = house.start().await;
    let load = Load::start(8, Duration::from_millis(5), 4);
    for _ in 0..4 {
        load.ledger.add_shop(Shop::open(&server, &sink.url()).await);
    }
    load.call_at(&[server.address]);
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(connect(&server, b""));
        held.push(connect(&server, b"POST /v1/notify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"ty"));
    }
    let document = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200);
    for _ in 0..5 {
        // Asks for much and reads nothing of it.
        held.push(connect(&server, document.as_bytes()));
    }
    let ledger = &load.ledger;
    eventually("there is something to stop", 30 * SECOND, || async { ledger.len() > 300 && sink.total() > 100 }).await;
    let began = Instant::now();
    server.signal(Signal::TERM);
    let status = server.ended(35 * SECOND).await;
    let took = began.elapsed();
    assert_eq!(status.code(), Some(0), "{:?}", server.log());
    let server = house.start().await;
    load.call_at(&[server.address]);
    let (ledger, ..) = load.stop().await;
    drained(&house.store.url, 90 * SECOND).await;
    let counts = audit(&server, &ledger, &sink).await;
    eprintln!("stopped in {took:?}: {counts}");
    counts.are_honest();
    assert_eq!((counts.sent, counts.unknown, counts.dup), (counts.accepted, 0, 0));
    drop(held);
    server.stop().await;
    house.remove().await;
});
