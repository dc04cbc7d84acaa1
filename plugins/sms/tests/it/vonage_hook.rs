//! What Vonage tells by itself, in each encoding and signed in each way, and who only pretends to be Vonage.

use std::time::Duration;

use plugin_api::Hint::SuppressAddress;
use plugin_api::{Callback, Hint, Received, Refused, State};
use plugin_sms::double::{Encoding, Vonage};
use serde_json::{Value, json};

use crate::support::*;

async fn one_message() -> (Vonage, String) {
    let double = Vonage::start().await;
    let receipt = open("vonage", &double.settings()).send(&message("Hola")).await.unwrap();
    (double, receipt.message_id.unwrap())
}

fn unverified(received: Result<Received, Refused>) {
    assert!(matches!(received, Err(Refused::Unverified(_))), "{received:?}");
}

#[tokio::test]
async fn every_state_is_told_with_the_message_and_its_reference() {
    let (double, id) = one_message().await;
    let channel = open("vonage", &double.settings());
    let at = now();
    for (word, expected) in [
        ("accepted", Some(State::Sent)),
        ("buffered", Some(State::Sent)),
        ("delivered", Some(State::Delivered)),
        ("unknown", None),
        ("teleported", None),
    ] {
        let received = channel.receive(&double.report(&id, word, "0", at)).await.unwrap();
        match expected {
            None => assert_eq!(received.events, [], "{word}"),
            Some(state) => {
                let status = status(&received.events);
                assert_eq!((&status.message_id, &status.state), (&id, &state), "{word}");
                assert_eq!(status.reference.as_deref(), Some(&*message("").id));
                assert!(at.duration_since(status.at.unwrap()).unwrap() < Duration::from_secs(1));
            }
        }
    }
    let rows: [(&str, &str, &str, Option<Hint>); 20] = [
        ("expired", "", "expired", None),
        ("expired", "2", "unreachable", None),
        ("rejected", "0", "undelivered", None),
        ("failed", "1", "undelivered", None),
        ("failed", "2", "unreachable", None),
        ("failed", "3", "invalid_phone", Some(SuppressAddress)),
        ("failed", "4", "blocked", None),
        ("failed", "5", "unroutable", None),
        ("rejected", "6", "filtered", None),
        ("failed", "7", "unreachable", None),
        ("failed", "8", "carrier_error", None),
        ("rejected", "9", "opted_out", Some(SuppressAddress)),
        ("failed", "10", "invalid_request", None),
        ("failed", "11", "unroutable", None),
        ("failed", "12", "unroutable", None),
        ("rejected", "13", "age_restricted", None),
        ("rejected", "14", "blocked", None),
        ("failed", "15", "no_credit", None),
        ("failed", "99", "undelivered", None),
        ("failed", "+523331234567", "undelivered", None),
    ];
    for (word, code, reason, hint) in rows {
        let received = channel.receive(&double.report(&id, word, code, at)).await.unwrap();
        assert_eq!(failure(&status(&received.events).state), (reason, hint), "{word} {code}");
    }
}

#[tokio::test]
async fn every_encoding_and_way_of_signing_is_read() {
    let (double, id) = one_message().await;
    for method in ["md5hash", "md5", "sha1", "sha256", "sha512"] {
        let channel = open("vonage", &with(double.settings(), json!({"signatureMethod": method})));
        for encoding in [Encoding::Query, Encoding::Form, Encoding::Json] {
            double.set_webhooks(Vonage::SIGNATURE_SECRET, method, encoding);
            let report = double.report(&id, "delivered", "0", now());
            let first = channel.receive(&report).await.unwrap();
            assert_eq!(status(&first.events).state, State::Delivered, "{method} {encoding:?}");
            assert_eq!(channel.receive(&report).await.unwrap(), first, "the same again gives the same");
            let reply = double.inbound(HOOK, "523331234567", "BAJA & = más ñ", now());
            let received = channel.receive(&reply).await.unwrap();
            assert_eq!(inbound(&received.events).text, "BAJA & = más ñ");
            assert_eq!(received.answer, plugin_api::Answer::default());
        }
    }
}

#[tokio::test]
async fn a_reply_carries_its_id_and_the_number_with_its_plus() {
    let double = Vonage::start().await;
    let channel = open("vonage", &double.settings());
    let received = channel.receive(&double.inbound(HOOK, "523331234567", "ALTO", now())).await.unwrap();
    let inbound = inbound(&received.events);
    assert_eq!((&*inbound.from, &*inbound.text, inbound.id.len()), (ANA, "ALTO", 16));
    assert!(inbound.at.is_some());
    for from in ["Telcel", "25252"] {
        assert_eq!(channel.receive(&double.inbound(HOOK, from, "Hola", now())).await.unwrap().events, []);
    }
}

#[tokio::test]
async fn an_old_or_early_signature_is_refused() {
    let (double, id) = one_message().await;
    let channel = open("vonage", &double.settings());
    let at = now();
    let report = double.report(&id, "delivered", "0", at);
    let seen = |callback: &Callback, received_at| Callback { received_at, ..callback.clone() };
    let whole = at.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let signed = std::time::UNIX_EPOCH + Duration::from_secs(whole);
    for apart in [0, 299, 300] {
        let apart = Duration::from_secs(apart);
        assert!(channel.receive(&seen(&report, signed + apart)).await.is_ok());
        assert!(channel.receive(&seen(&report, signed - apart)).await.is_ok());
    }
    let apart = Duration::from_secs(301);
    for at in [signed + apart, signed - apart] {
        assert!(matches!(channel.receive(&seen(&report, at)).await, Err(Refused::Stale(_))));
    }
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let (double, id) = one_message().await;
    let channel = open("vonage", &double.settings());
    let good = double.report(&id, "delivered", "0", now());
    let edited = |edit: &dyn Fn(&mut Value)| {
        let mut body: Value = serde_json::from_slice(&good.body).unwrap();
        edit(&mut body);
        Callback { body: body.to_string().into(), ..good.clone() }
    };
    for callback in [
        edited(&|body| drop(body.as_object_mut().unwrap().remove("sig"))),
        edited(&|body| body["sig"] = "".into()),
        edited(&|body| body["sig"] = "zz".into()),
        edited(&|body| body["sig"] = "00".repeat(32).into()),
        edited(&|body| body["status"] = "failed".into()),
        edited(&|body| body["timestamp"] = "1".into()),
        edited(&|body| body["new"] = 1.into()),
        Callback { body: "not json".into(), ..good.clone() },
        Callback { body: "[]".into(), ..good.clone() },
        Callback { body: "".into(), ..good.clone() },
    ] {
        unverified(channel.receive(&callback).await);
    }
    let other_way = open("vonage", &with(double.settings(), json!({"signatureMethod": "sha512"})));
    unverified(other_way.receive(&good).await);
    // The same fields in another order and with other blanks: they are signed by name, not as JSON.
    let body: Value = serde_json::from_slice(&good.body).unwrap();
    let pretty = Callback { body: serde_json::to_vec_pretty(&body).unwrap().into(), ..good.clone() };
    assert_eq!(channel.receive(&pretty).await.unwrap(), channel.receive(&good).await.unwrap());
}

#[tokio::test]
async fn both_secrets_hold_while_one_is_replaced() {
    let (double, id) = one_message().await;
    let both = format!("a-new-signature-secret {}", Vonage::SIGNATURE_SECRET);
    let channel = open("vonage", &with(double.settings(), json!({"signatureSecret": both})));
    assert!(channel.receive(&double.report(&id, "delivered", "0", now())).await.is_ok());
    double.set_webhooks("a-new-signature-secret", "sha256", Encoding::Json);
    let report = double.report(&id, "delivered", "0", now());
    assert!(channel.receive(&report).await.is_ok());
    unverified(open("vonage", &double.settings()).receive(&report).await);
}

#[tokio::test]
async fn without_a_secret_nothing_is_heard() {
    let (double, id) = one_message().await;
    let deaf = open("vonage", &with(double.settings(), json!({"signatureSecret": null})));
    let received = deaf.receive(&double.report(&id, "delivered", "0", now())).await;
    assert!(matches!(received, Err(Refused::Unsupported(_))), "{received:?}");
}
