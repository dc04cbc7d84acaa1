//! What an account may be, where it may lead, and how it signs in.

use std::net::IpAddr;
use std::sync::Arc;

use plugin_api::net::{Guard, Names};
use plugin_api::{Failure, Hint};
use serde_json::json;

use crate::sink::{Act, Encryption, Sink};
use crate::support::{host, host_allowing, open, outcome, send, try_open};

#[tokio::test]
async fn a_wrong_password_is_the_accounts_fault() {
    let sink = Sink::start(Encryption::None, &["AUTH PLAIN LOGIN"], &[("AUTH", Act::Say("535 5.7.8 no"))]).await;
    let settings = json!({"port": sink.port(), "security": "none", "username": "u", "password": "secret-word"});
    let error = send(&open(settings), "m1").await.unwrap_err();
    assert_eq!((error.failure, error.hint), (Failure::Rejected, Some(Hint::Misconfigured)));
    assert_eq!(error.reason, "auth_failed");
    assert!(!format!("{error:?}").contains("secret-word"));
}

#[tokio::test]
async fn sign_in_uses_plain_or_else_login() {
    for (offer, lines) in
        [("AUTH PLAIN LOGIN", vec!["AUTH PLAIN AHUAcHc="]), ("AUTH=LOGIN", vec!["AUTH LOGIN", "dQ==", "cHc="])]
    {
        let sink = Sink::start(Encryption::None, &[offer], &[]).await;
        let settings = json!({"port": sink.port(), "security": "none", "username": "u", "password": "pw"});
        send(&open(settings), "m1").await.unwrap();
        let told: Vec<_> = sink.commands.lock().unwrap().iter().map(|(_, line)| line.clone()).collect();
        assert_eq!(told[1..=lines.len()], lines);
    }
}

#[tokio::test]
async fn a_server_without_sign_in_is_not_given_the_password() {
    let sink = Sink::start(Encryption::None, &["AUTH XOAUTH2"], &[]).await;
    let settings = json!({"port": sink.port(), "security": "none", "username": "u", "password": "pw"});
    assert_eq!(outcome(send(&open(settings), "m1").await), (Some(Failure::Rejected), "auth_not_offered".into()));
    assert_eq!((sink.count("AUTH"), sink.count("MAIL")), (0, 0));
}

#[tokio::test]
async fn plain_text_goes_only_where_the_operator_opened_a_network() {
    let sink = Sink::plain(&[]).await;
    let closed = host_allowing(&["10.0.0.0/8"]);
    let settings = json!({"port": sink.port(), "security": "none"});
    let refused = try_open(plugin_email::plugin().as_ref(), &closed, settings).err().unwrap();
    assert_eq!((refused.setting.as_str(), refused.code), ("security", "plaintext_not_allowed"));
    let open = try_open(plugin_email::plugin().as_ref(), &host(), json!({"port": 0})).err().unwrap();
    assert_eq!((open.setting.as_str(), open.code), ("port", "out_of_range"));
    assert_eq!(sink.connections(), 0);
}

#[tokio::test]
async fn accounts_are_judged_by_every_setting() {
    let plugin = plugin_email::plugin();
    for (settings, setting) in [
        (json!({"username": "u"}), "password"),
        (json!({"password": "p"}), "username"),
        (json!({"from": "nobody"}), "from"),
        (json!({"from": "a@x.example\r\nBcc: b@x.example"}), "from"),
        (json!({"replyTo": "a b@x.example"}), "replyTo"),
        (json!({"host": "smtp.example.com/x y"}), "host"),
        (json!({"port": 70000}), "port"),
        (json!({"security": "maybe"}), "security"),
    ] {
        let error = try_open(plugin.as_ref(), &host(), settings).err().unwrap();
        assert_eq!(error.setting, setting, "{error}");
    }
}

/// A send to a name that means `address`, from a gateway that allows 10.0.0.0/8.
async fn sent_to(address: &str, security: &str) -> (Option<Failure>, String) {
    let address: IpAddr = address.parse().unwrap();
    let names = Names::from_fn(move |_| vec![address]);
    let mut host = host();
    host.guard = Arc::new(Guard { allow: vec!["10.0.0.0/8".parse().unwrap()], names, ..Guard::default() });
    let settings = json!({"host": "mail.example.test", "security": security});
    outcome(send(&try_open(plugin_email::plugin().as_ref(), &host, settings).unwrap(), "m1").await)
}

#[tokio::test]
async fn a_name_is_judged_by_the_address_it_means_now() {
    let not_sent = |reason: &str| (Some(Failure::NotSent), reason.to_owned());
    assert_eq!(sent_to("127.0.0.1", "starttls").await, not_sent("blocked_address"));
    assert_eq!(sent_to("::ffff:127.0.0.1", "tls").await, not_sent("blocked_address"));
    assert_eq!(sent_to("93.184.215.14", "none").await, not_sent("plaintext_not_allowed"));
}
