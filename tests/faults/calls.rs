//! F10, F11, F12, F14, F17 through the process: what comes of a call that breaks, and that it is made good.

use std::time::Duration;

use plugin_api::conformance::{Cut, Fault, Proxy, Then};
use serde_json::{Value, json};

use crate::support::{House, Shop, Sink, eventually, note};

const SECOND: Duration = Duration::from_secs(1);

fn outcomes(found: &Value) -> Vec<&str> {
    found["attempts"].as_array().unwrap().iter().map(|a| a["outcome"].as_str().unwrap_or("open")).collect()
}

/// Waits for so many finished attempts.
async fn after_attempts(shop: &Shop, id: &str, attempts: usize) -> Value {
    eventually("the attempt has its outcome", 30 * SECOND, || async {
        let found = shop.api.find(id).await;
        outcomes(&found).iter().filter(|o| **o != "open").count() >= attempts
    })
    .await;
    shop.api.find(id).await
}

on_each_store!(f10_f11_f14_f17_a_broken_call_is_unknown_and_repeated_under_the_same_id, async |store: TestStore| {
    let sink = Sink::start().await;
    let proxy = Proxy::start(sink.address).await;
    let house = House::new(store, &[("RECADO_DELIVERY__CALL_TIMEOUT", "1s")]);
    let server = house.start().await;
    let error = |status: u16| {
        let first = format!("HTTP/1.1 {status} Error\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").into_bytes();
        Fault::Say { first, then: Then::Close }
    };
    for (fault, taken) in [
        (Fault::CutAfterRequest(Cut::Reset), 1),
        (Fault::CutAfterRequest(Cut::Close), 1),
        (Fault::CutInside(Cut::Reset), 0),
        (Fault::Swallow, 1),
        (error(500), 0),
        (error(502), 0),
        (error(504), 0),
    ] {
        // A shop of its own, so that nothing of the circuit of the one before is left.
        let shop = Shop::open(&server, &proxy.url("/in")).await;
        // The second one goes over a connection that was used before.
        for text in ["fresh", "reused"] {
            proxy.set(fault.clone());
            let id = shop.send(&note(text)).await;
            let found = after_attempts(&shop, &id, 1).await;
            assert_eq!(outcomes(&found)[0], "unknown", "{fault:?} {text}: {found}");
            proxy.set(Fault::Pass);
            let found = after_attempts(&shop, &id, 2).await;
            assert_eq!(
                (&found["status"], outcomes(&found)),
                (&json!("sent"), vec!["unknown", "accepted"]),
                "{fault:?} {text}: {found}"
            );
            assert_eq!(sink.taken(&id), taken + 1, "{fault:?} {text}: each attempt is one call");
        }
    }
    server.stop().await;
    house.remove().await;
});

on_each_store!(f12_without_a_connection_nothing_is_sent_until_there_is_one_and_then_once, async |store: TestStore| {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let house = House::new(store, &[]);
    let server = house.start().await;
    let shop = Shop::open(&server, &format!("http://{nobody}/in")).await;
    let id = shop.send(&note("Hola")).await;
    let found = after_attempts(&shop, &id, 1).await;
    assert_eq!(outcomes(&found)[0], "not_sent", "{found}");
    let sink = Sink::start_at(nobody).await;
    eventually("it is sent", 60 * SECOND, || async { shop.api.find(&id).await["status"] == "sent" }).await;
    let found = shop.api.find(&id).await;
    let (last, before) = outcomes(&found)
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>()
        .split_last()
        .map(|(l, b)| (l.clone(), b.to_vec()))
        .unwrap();
    assert!(last == "accepted" && before.iter().all(|o| o == "not_sent"), "{found}");
    assert_eq!((sink.taken(&id), sink.total()), (1, 1));
    server.stop().await;
    house.remove().await;
});
