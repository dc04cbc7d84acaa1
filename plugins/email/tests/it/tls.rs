//! Encryption is a condition, not a wish: where it fails nothing is said that an eavesdropper could use.

use plugin_api::Failure;
use plugin_api::conformance::{Authority, Leaf};
use serde_json::json;

use crate::sink::{Act, Encryption, Sink};
use crate::support::{open_trusting, outcome, send};

const LOGIN: [&str; 2] = ["PIPELINING", "AUTH PLAIN"];

fn settings(port: u16, security: &str) -> serde_json::Value {
    json!({"port": port, "security": security, "username": "u", "password": "pw"})
}

/// The same certificate under both modes must fail in the same way, with no command after the greeting's.
async fn refuses(authority: &Authority, leaf: Leaf) {
    for security in ["tls", "starttls"] {
        let encryption = match security {
            "tls" => Encryption::Implicit(leaf.config.clone()),
            _ => Encryption::StartTls(leaf.config.clone()),
        };
        let sink = Sink::start(encryption, &LOGIN, &[]).await;
        let channel = open_trusting(authority, settings(sink.port(), security));
        assert_eq!(outcome(send(&channel, "m1").await), (Some(Failure::NotSent), "tls_failed".into()));
        assert_eq!((sink.count("AUTH"), sink.count("MAIL"), sink.mails().len()), (0, 0, 0));
    }
}

#[tokio::test]
async fn mail_goes_over_implicit_tls_and_over_starttls() {
    let authority = Authority::new();
    let leaf = authority.leaf("127.0.0.1");
    for (security, encryption) in
        [("tls", Encryption::Implicit(leaf.config.clone())), ("starttls", Encryption::StartTls(leaf.config))]
    {
        let sink = Sink::start(encryption, &LOGIN, &[]).await;
        let channel = open_trusting(&authority, settings(sink.port(), security));
        send(&channel, "m1").await.unwrap();
        send(&channel, "m2").await.unwrap();
        let commands = sink.commands.lock().unwrap();
        let in_clear: Vec<_> = commands.iter().filter(|(tls, _)| !tls).map(|(_, line)| line.as_str()).collect();
        let allowed = ["EHLO gateway.example.test", "STARTTLS"];
        assert_eq!(in_clear, if security == "tls" { &[][..] } else { &allowed[..] });
        assert_eq!((sink.connections(), sink.mails().len()), (1, 2));
    }
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let authority = Authority::new();
    let leaf = authority.leaf_until("127.0.0.1", 2020);
    refuses(&authority, leaf).await;
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    let leaf = authority.leaf("other.example");
    refuses(&authority, leaf).await;
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    refuses(&Authority::new(), Authority::new().leaf("127.0.0.1")).await;
}

#[tokio::test]
async fn starttls_stripped_from_the_offer_ends_the_attempt() {
    let authority = Authority::new();
    let sink = Sink::start(Encryption::None, &LOGIN, &[]).await;
    let channel = open_trusting(&authority, settings(sink.port(), "starttls"));
    assert_eq!(outcome(send(&channel, "m1").await), (Some(Failure::NotSent), "starttls_not_offered".into()));
    assert_eq!((sink.count("AUTH"), sink.count("MAIL")), (0, 0));
}

#[tokio::test]
async fn starttls_refused_or_answered_with_rubbish_ends_the_attempt() {
    let authority = Authority::new();
    let leaf = authority.leaf("127.0.0.1");
    for (act, failure) in [
        (Act::Say("502 5.5.1 not implemented"), Failure::NotSent),
        (Act::Last("220 go, and then silence"), Failure::NotSent),
        (Act::Say("454 4.7.0 not now"), Failure::Throttled),
    ] {
        let sink = Sink::start(Encryption::StartTls(leaf.config.clone()), &LOGIN, &[("STARTTLS", act)]).await;
        let channel = open_trusting(&authority, settings(sink.port(), "starttls"));
        assert_eq!(outcome(send(&channel, "m1").await).0, Some(failure));
        assert_eq!((sink.count("AUTH"), sink.count("MAIL")), (0, 0));
    }
}

#[tokio::test]
async fn answers_slipped_in_before_the_handshake_are_not_believed() {
    let authority = Authority::new();
    let leaf = authority.leaf("127.0.0.1");
    let slipped = Act::Say("220 go\r\n250-evil\r\n250 AUTH PLAIN\r\n535 5.7.8 no");
    let sink = Sink::start(Encryption::StartTls(leaf.config), &LOGIN, &[("STARTTLS", slipped)]).await;
    let channel = open_trusting(&authority, settings(sink.port(), "starttls"));
    let told = outcome(send(&channel, "m1").await);
    // Read with the agreed reply they are dropped; arriving later they break the handshake. Neither signs us out.
    assert!(matches!(told.0, None | Some(Failure::NotSent)), "{told:?}");
}

#[tokio::test]
async fn tls_to_a_server_that_speaks_none_is_not_sent() {
    let sink = Sink::start(Encryption::None, &LOGIN, &[]).await;
    let channel = open_trusting(&Authority::new(), settings(sink.port(), "tls"));
    assert_eq!(outcome(send(&channel, "m1").await), (Some(Failure::NotSent), "tls_failed".into()));
}
