//! What became of a message, whatever the server does.

use std::sync::Arc;

use plugin_api::{Failure, Hint};
use serde_json::json;

use crate::sink::{Act, Encryption, Sink};
use crate::support::{message, open, open_plain, outcome, send, try_open};

/// Sends one message to a server that plays `script`, with and without PIPELINING: the outcome must be the same.
async fn played(script: &[(&'static str, Act)]) -> (Option<Failure>, String) {
    let pipelining = Sink::plain(script).await;
    let told = outcome(send(&open_plain(pipelining.port()), "m1").await);
    let in_turn = Sink::start(Encryption::None, &[], script).await;
    assert_eq!(outcome(send(&open_plain(in_turn.port()), "m1").await), told, "without PIPELINING");
    for sink in [pipelining, in_turn] {
        assert!(sink.count("MAIL") <= 1 && sink.connections() == 1, "one attempt made more than one call");
        assert!(sink.mails().is_empty() || told.0 != Some(Failure::NotSent));
    }
    told
}

async fn plays(script: &[(&'static str, Act)], failure: Failure, reason: &str) {
    assert_eq!(played(script).await, (Some(failure), reason.to_owned()), "{script:?}");
}

#[tokio::test]
async fn a_250_after_the_message_is_acceptance_and_the_receipt_names_the_message_id() {
    let sink = Sink::plain(&[]).await;
    let receipt = send(&open_plain(sink.port()), "0198c0de").await.unwrap();
    assert_eq!(receipt.message_id.as_deref(), Some("<0198c0de@example.test>"));
    assert_eq!(receipt.http_status, None);
    assert_eq!(sink.mails().len(), 1);
}

#[tokio::test]
async fn a_confirmation_cut_off_is_unknown() {
    plays(&[(".", Act::Close)], Failure::Unknown, "connection_lost").await;
    plays(&[("reset", Act::Close), (".", Act::Close)], Failure::Unknown, "connection_lost").await;
    plays(&[(".", Act::Last("250-2.0.0 que"))], Failure::Unknown, "connection_lost").await;
}

#[tokio::test]
async fn a_confirmation_cut_off_on_a_reused_connection_is_unknown() {
    for script in [&[][..], &[("reset", Act::Close)]] {
        let sink = Sink::plain(script).await;
        let channel = open_plain(sink.port());
        send(&channel, "m1").await.unwrap();
        sink.add(".", Act::Close);
        assert_eq!(outcome(send(&channel, "m2").await), (Some(Failure::Unknown), "connection_lost".into()));
        assert_eq!((sink.connections(), sink.mails().len()), (1, 2));
    }
}

#[tokio::test]
async fn a_reused_connection_cut_before_the_message_is_certainly_not_accepted() {
    for stage in ["MAIL", "RCPT", "DATA"] {
        let sink = Sink::plain(&[("reset", Act::Close)]).await;
        let channel = open_plain(sink.port());
        send(&channel, "m1").await.unwrap();
        sink.add(stage, Act::Close);
        assert_eq!(outcome(send(&channel, "m2").await), (Some(Failure::NotSent), "connection_lost".into()));
        assert_eq!((sink.connections(), sink.mails().len()), (1, 1));
    }
}

#[tokio::test]
async fn a_confirmation_that_never_comes_is_unknown_in_the_end() {
    let sink = Sink::plain(&[(".", Act::Hang)]).await;
    let channel = open_plain(sink.port());
    let sending = tokio::spawn(async move { send(&channel, "m1").await });
    sink.hanging.notified().await;
    // From here on only the clock can end it, so it may jump: to the end of the long wait.
    tokio::time::pause();
    assert_eq!(outcome(sending.await.unwrap()), (Some(Failure::Unknown), "timeout".into()));
}

#[tokio::test]
async fn silence_before_the_message_is_not_sent() {
    for stage in ["greeting", "EHLO", "MAIL", "RCPT", "DATA"] {
        let sink = Sink::plain(&[(stage, Act::Hang)]).await;
        let channel = open_plain(sink.port());
        let sending = tokio::spawn(async move { send(&channel, "m1").await });
        sink.hanging.notified().await;
        tokio::time::pause();
        assert_eq!(outcome(sending.await.unwrap()), (Some(Failure::NotSent), "timeout".into()), "{stage}");
        tokio::time::resume();
    }
}

#[tokio::test]
async fn a_cut_inside_the_message_is_unknown() {
    plays(&[("content", Act::Close)], Failure::Unknown, "connection_lost").await;
}

#[tokio::test]
async fn a_cut_before_the_message_is_certainly_not_accepted() {
    for stage in ["greeting", "EHLO", "MAIL", "RCPT", "DATA"] {
        plays(&[(stage, Act::Close)], Failure::NotSent, "connection_lost").await;
    }
}

#[tokio::test]
async fn a_421_at_any_stage_is_throttled() {
    for stage in ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "."] {
        plays(&[(stage, Act::Last("421 4.3.2 closing"))], Failure::Throttled, "server_closing").await;
    }
}

#[tokio::test]
async fn greylisting_is_throttled() {
    plays(&[("RCPT", Act::Say("450 4.2.1 greylisted"))], Failure::Throttled, "greylisted").await;
    plays(&[("RCPT", Act::Say("451 4.7.1 greylisted"))], Failure::Throttled, "greylisted").await;
    plays(&[(".", Act::Say("452 4.3.1 no room"))], Failure::Throttled, "server_full").await;
}

#[tokio::test]
async fn an_unknown_user_is_rejected_and_suppressed_and_a_policy_is_not() {
    let say = [("RCPT", Act::Say("550 5.1.1 <ana@example.com> unknown")), ("RCPT", Act::Say("550 5.7.1 blocked"))];
    let sink = Sink::plain(&say).await;
    let channel = open_plain(sink.port());
    let error = send(&channel, "m1").await.unwrap_err();
    assert_eq!((error.failure, error.hint), (Failure::Rejected, Some(Hint::SuppressAddress)));
    assert_eq!(error.reason, "no_such_user");
    assert!(!error.detail.contains("ana"), "{}", error.detail);
    let error = send(&channel, "m2").await.unwrap_err();
    assert_eq!((error.failure, error.hint, error.reason.as_ref()), (Failure::Rejected, None, "policy_refused"));
}

#[tokio::test]
async fn one_of_three_recipients_refused_leaves_the_others_sent() {
    let sink = Sink::plain(&[]).await;
    let channel = open_plain(sink.port());
    assert!(send(&channel, "m1").await.is_ok());
    sink.add("RCPT", Act::Say("550 5.1.1 who"));
    assert_eq!(outcome(send(&channel, "m2").await).0, Some(Failure::Rejected));
    assert!(send(&channel, "m3").await.is_ok());
    assert_eq!((sink.mails().len(), sink.connections(), sink.count("RSET")), (2, 1, 1));
}

#[tokio::test]
async fn a_go_ahead_in_spite_of_a_refused_recipient_sends_nothing() {
    let script = [("RCPT", Act::Say("550 5.1.1 who")), ("DATA", Act::Say("354 go on"))];
    let sink = Sink::plain(&script).await;
    let channel = open_plain(sink.port());
    assert_eq!(outcome(send(&channel, "m1").await), (Some(Failure::Rejected), "no_such_user".into()));
    assert!(send(&channel, "m2").await.is_ok());
    assert_eq!((sink.mails().len(), sink.connections()), (1, 2));
}

#[tokio::test]
async fn answers_that_are_no_smtp_are_not_taken_for_acceptance() {
    plays(&[("greeting", Act::Say("HTTP/1.1 400 Bad Request"))], Failure::NotSent, "broken_answer").await;
    plays(&[(".", Act::Say("okay"))], Failure::Unknown, "broken_answer").await;
    plays(&[(".", Act::Say("354 more"))], Failure::Unknown, "broken_answer").await;
}

#[tokio::test]
async fn a_message_over_the_servers_limit_is_refused_before_it_is_sent() {
    let sink = Sink::plain(&[]).await;
    let mut big = message("m1");
    big.text = "word ".repeat(40_000);
    let error = open_plain(sink.port()).send(&big).await.unwrap_err();
    assert_eq!((error.failure, error.reason.as_ref()), (Failure::Rejected, "message_too_big"));
    assert_eq!(sink.count("MAIL"), 0);
    plays(&[(".", Act::Say("552 5.3.4 too big"))], Failure::Rejected, "message_too_big").await;
}

#[tokio::test]
async fn no_connection_is_not_sent() {
    let closed = Sink::plain(&[]).await.port();
    let refused = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    assert_ne!(closed, refused);
    assert_eq!(outcome(send(&open_plain(refused), "m1").await), (Some(Failure::NotSent), "connect_failed".into()));
    let nowhere = open(json!({"host": "mail.nowhere.invalid"}));
    assert_eq!(outcome(send(&nowhere, "m1").await).0, Some(Failure::NotSent));
}

/// 192.0.2.0/24 leads nowhere. Depending on the network that is an error at once or silence until the time-out.
#[tokio::test]
async fn a_blackholed_address_is_not_sent() {
    let mut host = crate::support::host_allowing(&["192.0.2.0/24"]);
    host.timeout = std::time::Duration::from_millis(300);
    let settings = json!({"host": "192.0.2.1", "security": "none"});
    let channel = try_open(plugin_email::plugin().as_ref(), &host, settings).unwrap();
    assert_eq!(outcome(send(&channel, "m1").await).0, Some(Failure::NotSent));
}

#[tokio::test]
async fn what_cannot_be_mail_is_rejected_without_a_connection() {
    let sink = Sink::plain(&[]).await;
    let channel = open_plain(sink.port());
    let with = |change: fn(&mut plugin_api::Message)| {
        let mut message = message("m1");
        change(&mut message);
        let channel = Arc::clone(&channel);
        async move { outcome(channel.send(&message).await) }
    };
    let rejected = |reason: &str| (Some(Failure::Rejected), reason.to_owned());
    assert_eq!(with(|m| m.recipient.email = None).await, rejected("no_address"));
    assert_eq!(with(|m| m.recipient.email = Some("josé@example.com".into())).await, rejected("address_not_ascii"));
    assert_eq!(with(|m| m.recipient.email = Some("a b@c".into())).await, rejected("invalid_address"));
    let broken = "x\r\nBcc: e@x.example";
    assert_eq!(with(|m| m.subject = Some("a\0b".into())).await, rejected("control_characters"));
    assert_eq!(with(|m| m.headers = vec![("Bcc".into(), "e@x.example".into())]).await, rejected("header_not_allowed"));
    assert_eq!(with(|m| m.headers = vec![("X-A\r\nBcc".into(), "e".into())]).await, rejected("header_not_allowed"));
    assert_eq!(with(|m| m.headers = vec![("From".into(), "e@x.example".into())]).await, rejected("header_not_allowed"));
    for change in [
        (|m, v| m.subject = Some(v)) as fn(&mut plugin_api::Message, String),
        |m, v| m.recipient.name = Some(v),
        |m, v| m.recipient.email = Some(v),
        |m, v| m.headers = vec![("X-A".into(), v)],
        |m, v| m.attachments = vec![file(v, "text/plain")],
        |m, v| m.attachments = vec![file("a".into(), &v)],
    ] {
        let mut message = message("m1");
        change(&mut message, broken.to_owned());
        assert_eq!(outcome(channel.send(&message).await), rejected("control_characters"));
    }
    assert_eq!(sink.connections(), 0);
}

fn file(filename: String, content_type: &str) -> plugin_api::Attachment {
    plugin_api::Attachment { filename, content_type: content_type.into(), content: "x".into() }
}
