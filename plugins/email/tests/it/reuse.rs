//! Connections that are kept between messages.

use std::sync::Arc;
use std::time::Duration;

use plugin_api::conformance::Authority;
use serde_json::json;

use crate::sink::{Act, Encryption, Sink};
use crate::support::{open_plain, open_trusting, send};

#[tokio::test]
async fn one_connection_carries_message_after_message() {
    let sink = Sink::plain(&[]).await;
    let channel = open_plain(sink.port());
    for n in 0..5 {
        send(&channel, &format!("m{n}")).await.unwrap();
    }
    assert_eq!((sink.connections(), sink.mails().len(), sink.count("EHLO")), (1, 5, 1));
    assert_eq!((sink.count("NOOP"), sink.count("RSET")), (0, 0), "no round trip beside the message's own");
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_noticed_before_it_is_used() {
    for act in [Act::Last("250 2.0.0 queued"), Act::Last("250 2.0.0 queued\r\n421 4.4.2 idle too long")] {
        let sink = Sink::plain(&[(".", act)]).await;
        let channel = open_plain(sink.port());
        send(&channel, "m1").await.unwrap();
        send(&channel, "m2").await.unwrap();
        assert_eq!((sink.connections(), sink.mails().len()), (2, 2));
    }
}

#[tokio::test]
async fn the_same_holds_under_tls() {
    let authority = Authority::new();
    let encryption = Encryption::Implicit(authority.leaf("127.0.0.1").config);
    let sink = Sink::start(encryption, &["PIPELINING"], &[]).await;
    let channel = open_trusting(&authority, json!({"port": sink.port(), "security": "tls"}));
    send(&channel, "m1").await.unwrap();
    send(&channel, "m2").await.unwrap();
    assert_eq!(sink.connections(), 1, "a session ticket is no farewell");
    sink.add(".", Act::Last("250 2.0.0 queued"));
    send(&channel, "m3").await.unwrap();
    send(&channel, "m4").await.unwrap();
    assert_eq!((sink.connections(), sink.mails().len()), (2, 4));
}

#[tokio::test]
async fn a_connection_is_not_kept_for_ever() {
    let sink = Sink::plain(&[]).await;
    let channel = open_plain(sink.port());
    send(&channel, "m1").await.unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    send(&channel, "m2").await.unwrap();
    assert_eq!(sink.connections(), 2);
    for n in 0..150 {
        send(&channel, &format!("n{n}")).await.unwrap();
    }
    assert_eq!(sink.connections(), 3, "a hundred messages are enough for one connection");
}

#[tokio::test]
async fn messages_at_the_same_time_have_a_connection_each() {
    let sink = Sink::plain(&[]).await;
    let channel = open_plain(sink.port());
    for _ in 0..2 {
        let sends: Vec<_> = (0..8)
            .map(|n| {
                let channel = Arc::clone(&channel);
                tokio::spawn(async move { send(&channel, &format!("m{n}")).await.unwrap() })
            })
            .collect();
        for done in sends {
            done.await.unwrap();
        }
    }
    assert!(sink.connections() <= 8, "{}", sink.connections());
    assert_eq!(sink.mails().len(), 16);
}

#[tokio::test]
async fn a_send_that_is_dropped_takes_its_connection_along() {
    let sink = Sink::plain(&[]).await;
    let channel = open_plain(sink.port());
    send(&channel, "m1").await.unwrap();
    sink.add("DATA", Act::Hang);
    let dropped = Arc::clone(&channel);
    let task = tokio::spawn(async move { send(&dropped, "m2").await });
    sink.hanging.notified().await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    send(&channel, "m3").await.unwrap();
    assert_eq!((sink.connections(), sink.mails().len()), (2, 2));
}
