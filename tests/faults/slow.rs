//! F42: callers who hardly get on, in the head or in the body of what they ask.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::{House, Shop, Sink, TestStore, drained, note, pause};

const SLOW: usize = 200;

/// Says this at once, then a byte now and then; returns everything that was answered until the server hung up.
async fn dribble(server: SocketAddr, at_once: String, then: &'static str) -> String {
    let (mut answers, mut asks) = TcpStream::connect(server).await.unwrap().into_split();
    let ask = async {
        // Fails when the server has hung up, which is for the reader to see.
        asks.write_all(at_once.as_bytes()).await?;
        for byte in then.bytes().cycle() {
            pause(Duration::from_millis(100)).await;
            asks.write_all(&[byte]).await?;
        }
        std::io::Result::Ok(())
    };
    let mut said = Vec::new();
    let mut read = std::pin::pin!(answers.read_to_end(&mut said));
    tokio::select! {
        _ = &mut read => {}
        _ = ask => drop(read.await),
    }
    String::from_utf8(said).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f42_slow_callers_are_sent_away_and_keep_nobody_waiting() {
    let sink = Sink::start().await;
    let house = House::new(TestStore::sqlite(), &[("RECADO_SERVER__REQUEST_TIMEOUT", "2s")]);
    let server = house.start().await;
    let shop = Shop::open(&server, &sink.url()).await;
    let head = "POST /v1/notify HTTP/1.1\r\nHost: x\r\nX-Long: ".to_owned();
    let body = format!(
        "POST /v1/notify HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: 1000\r\n\r\n{{",
        shop.api.key
    );
    for (part, at_once, then) in [("head", head, "x"), ("body", body, " ")] {
        let mut slow = JoinSet::new();
        for _ in 0..SLOW {
            slow.spawn(dribble(server.address, at_once.clone(), then));
        }
        let mut sent_away = 0;
        while sent_away < SLOW {
            shop.send(&note("Hola")).await;
            while let Some(answer) = slow.try_join_next() {
                let answer = answer.unwrap();
                assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{part}: {answer:?}");
                assert!(answer.contains("connection: close\r\n"), "{part}: {answer:?}");
                assert!(answer.contains("/problems/request-timeout"), "{part}: {answer:?}");
                assert!(answer.contains(&format!("the {part} must arrive within 2 s")), "{part}: {answer:?}");
                sent_away += 1;
            }
        }
    }
    drained(&house.store.url, Duration::from_mins(1)).await;

    // Slow, but not too slow.
    let answer = dribble(server.address, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r".into(), "\n\r\n");
    assert!(answer.await.starts_with("HTTP/1.1 200 OK\r\n"));
    // Who asks for nothing, or for nothing more, is told nothing.
    let silent = async |first: &str| {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(first.as_bytes()).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        said
    };
    let (never, no_more) = tokio::join!(silent(""), silent("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_eq!((never.as_str(), no_more.matches("HTTP/1.1 ").count()), ("", 1), "{no_more}");

    // B5: who announces too much is refused before it comes.
    let large = "POST /v1/notify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2097152\r\n";
    let answer = silent(&format!("{large}Authorization: Bearer {}\r\n\r\n{{", shop.api.key)).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("connection: close\r\n"), "{answer}");
    server.stop().await;
    house.remove().await;
}
