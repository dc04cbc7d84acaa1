//! The connection test: it learns everything and sends nothing.

use plugin_api::conformance::Authority;
use serde_json::json;

use crate::sink::{Act, Encryption, Sink};
use crate::support::{open, open_plain, open_trusting};

#[tokio::test]
async fn a_check_signs_in_names_the_server_and_its_tls_and_sends_nothing() {
    let authority = Authority::new();
    let encryption = Encryption::StartTls(authority.leaf("127.0.0.1").config);
    let sink = Sink::start(encryption, &["AUTH PLAIN", "PIPELINING"], &[]).await;
    let login = json!({"port": sink.port(), "username": "u", "password": "pw"});
    let says = open_trusting(&authority, login).check().await.unwrap();
    let expected =
        format!("127.0.0.1:{} takes mail from this sender (TLS 1.3, certificate verified, signed in)", sink.port());
    assert_eq!(says, expected);
    assert_eq!((sink.count("AUTH"), sink.count("RCPT"), sink.count("DATA"), sink.count("QUIT")), (1, 0, 0, 1));
}

#[tokio::test]
async fn a_check_that_fails_says_what_would_cure_it() {
    let sink = Sink::start(Encryption::None, &["AUTH PLAIN"], &[("AUTH", Act::Say("535 5.7.8 wrong"))]).await;
    let settings = json!({"port": sink.port(), "security": "none", "username": "u", "password": "pw"});
    let says = open(settings).check().await.unwrap_err();
    assert!(says.contains("535 5.7.8") && says.contains("check username and password"), "{says}");

    let sink = Sink::plain(&[("MAIL", Act::Say("553 5.1.8 not yours"))]).await;
    let says = open_plain(sink.port()).check().await.unwrap_err();
    assert!(says.contains("use a from address"), "{says}");

    let sink = Sink::plain(&[]).await;
    let says = open(json!({"port": sink.port()})).check().await.unwrap_err();
    assert!(says.contains("STARTTLS") && says.contains("465"), "{says}");

    let says = open(json!({"port": sink.port(), "security": "tls"})).check().await.unwrap_err();
    assert!(says.contains("it did not speak TLS"), "{says}");
}

#[tokio::test]
async fn a_certificate_nobody_vouches_for_is_named_as_the_cause() {
    let leaf = Authority::new().leaf("127.0.0.1");
    let sink = Sink::start(Encryption::Implicit(leaf.config), &[], &[]).await;
    let says = open(json!({"port": sink.port(), "security": "tls"})).check().await.unwrap_err();
    assert!(says.contains("not signed by a known authority"), "{says}");
}
