//! Sending through Vonage, which answers 200 whatever became of a message.

use std::time::Duration;

use plugin_api::Failure::{Rejected, Throttled, Unknown};
use plugin_api::Hint::{Misconfigured, SuppressAddress};
use plugin_api::Lookup;
use plugin_sms::double::{Fault, Vonage};
use serde_json::json;

use crate::support::*;

const SECRETS: [&str; 3] = [Vonage::KEY, Vonage::SECRET, Vonage::SIGNATURE_SECRET];

#[tokio::test]
async fn a_message_goes_out_without_the_plus_and_with_where_to_report() {
    let double = Vonage::start().await;
    let receipt = open("vonage", &double.settings()).send(&message("Hola Ana")).await.unwrap();
    let sent = &double.sent()[0];
    assert_eq!(receipt.message_id.as_ref(), Some(&sent.id));
    assert_eq!((receipt.http_status, receipt.note), (Some(200), None));
    assert_eq!((&*sent.to, &*sent.from, &*sent.text), ("523331234567", "SalonUno", "Hola Ana"));
    assert_eq!(sent.callback.as_deref(), Some(HOOK));
    assert_eq!(sent.reference.as_deref(), Some(&*message("").id));
    let body = String::from_utf8(double.http().seen()[0].body.clone()).unwrap();
    assert!(!SECRETS.iter().any(|secret| body.contains(secret)), "credentials go in a header");
}

/// The double fails the test when a text's type does not fit it.
#[tokio::test]
async fn the_type_follows_the_text() {
    let double = Vonage::start().await;
    let settings = with(double.settings(), json!({"from": "+52 33 0000 0000"}));
    let channel = open("vonage", &settings);
    for text in ["¿Mañana es el café?", "Lunes: café €5 [ok]", "tu cita es mañana, ¿sí?", "🙂"] {
        channel.send(&with_actions(text)).await.unwrap();
        assert_eq!(double.sent().last().unwrap().from, "523300000000");
    }
}

#[tokio::test]
async fn receipts_are_only_asked_for_where_they_can_come_and_be_verified() {
    let double = Vonage::start().await;
    let long = format!("https://gateway.example.test/hooks/sms/{}", "t".repeat(62));
    assert_eq!(long.len(), 101);
    let unsigned = with(double.settings(), json!({"signatureSecret": null}));
    for (settings, hook, why) in [
        (double.settings(), None, None),
        (double.settings(), Some(&*long), Some("100 characters")),
        (unsigned, Some(HOOK), Some("signatureSecret")),
    ] {
        let channel = plugin_sms::plugin().open("vonage", &settings, &host(hook)).unwrap();
        channel.send(&message("Hola")).await.unwrap();
        assert_eq!(double.sent().last().unwrap().callback, None);
        let said = channel.check().await.unwrap();
        assert!(why.is_none_or(|why| said.contains(why)), "{said}");
    }
    let just = plugin_sms::plugin().open("vonage", &double.settings(), &host(Some(&long[..100]))).unwrap();
    just.send(&message("Hola")).await.unwrap();
    assert_eq!(double.sent().last().unwrap().callback.as_deref(), Some(&long[..100]));
}

#[tokio::test]
async fn every_refusal_is_told_apart_by_its_status() {
    let double = Vonage::start().await;
    let channel = open("vonage", &double.settings());
    let rows: [(&'static str, Decision); 20] = [
        ("1", (Throttled, "rate_limited", None)),
        ("5", (Throttled, "provider_error", None)),
        ("10", (Throttled, "rate_limited", None)),
        ("2", (Rejected, "invalid_request", None)),
        ("3", (Rejected, "invalid_request", None)),
        ("12", (Rejected, "too_long", None)),
        ("22", (Rejected, "invalid_request", None)),
        ("23", (Rejected, "callback_refused", None)),
        ("6", (Rejected, "unroutable", None)),
        ("7", (Rejected, "blocked", None)),
        ("33", (Rejected, "invalid_phone", Some(SuppressAddress))),
        ("4", (Rejected, "unauthorized", Some(Misconfigured))),
        ("8", (Rejected, "account_suspended", Some(Misconfigured))),
        ("9", (Rejected, "no_credit", Some(Misconfigured))),
        ("11", (Rejected, "not_enabled", Some(Misconfigured))),
        ("14", (Rejected, "invalid_signature", Some(Misconfigured))),
        ("15", (Rejected, "sender_not_allowed", Some(Misconfigured))),
        ("29", (Rejected, "trial_account", Some(Misconfigured))),
        ("32", (Rejected, "invalid_signature", Some(Misconfigured))),
        ("77", (Rejected, "refused", None)),
    ];
    for (status, decision) in rows {
        double.answer_next(&[status]);
        let error = channel.send(&message("Hola")).await.unwrap_err();
        assert_eq!(decided(&error), decision, "{status}");
        assert!(error.detail.starts_with(&format!("Vonage status {status}:")), "{}", error.detail);
        assert_eq!(error.http_status, Some(200));
        is_discreet(&error, &SECRETS);
    }
    assert!(double.sent().is_empty());
}

#[tokio::test]
async fn the_server_itself_refuses_what_vonage_refuses() {
    let double = Vonage::start().await;
    let wrong = with(double.settings(), json!({"apiSecret": "another"}));
    let error = open("vonage", &wrong).send(&message("Hola")).await.unwrap_err();
    assert_eq!((&*error.reason, error.hint), ("unauthorized", Some(Misconfigured)));
    assert!(open("vonage", &wrong).check().await.unwrap_err().contains("apiSecret"));
    let error = open("vonage", &double.settings()).send(&message_to("+52333")).await.unwrap_err();
    assert_eq!(error.reason, "invalid_request");
}

#[tokio::test]
async fn a_message_taken_in_part_is_not_sent_again() {
    let double = Vonage::start().await;
    let channel = open("vonage", &double.settings());
    double.answer_next(&["0", "1", "0"]);
    let receipt = channel.send(&message(&"a".repeat(400))).await.unwrap();
    assert_eq!(double.sent().len(), 2);
    assert_eq!(receipt.message_id.as_ref(), Some(&double.sent()[0].id));
    assert!(receipt.note.unwrap().starts_with("1 of 3 parts were refused (rate_limited)"));
    double.answer_next(&["1", "0", "0"]);
    let receipt = channel.send(&message(&"a".repeat(400))).await.unwrap();
    assert_eq!(receipt.message_id.as_ref(), Some(&double.sent()[2].id), "the id of a part that was taken");
    double.answer_next(&["9"]);
    assert_eq!(channel.send(&message(&"a".repeat(400))).await.unwrap_err().reason, "no_credit");
}

#[tokio::test]
async fn an_unreadable_acceptance_is_one_and_an_error_page_is_not() {
    let double = Vonage::start().await;
    let channel = open("vonage", &double.settings());
    for odd in [json!({}), json!({"messages": []}), json!({"messages": "?"}), json!([])] {
        double.fail_next(Fault::Answer(200, odd));
        let receipt = channel.send(&message("Hola")).await.unwrap();
        assert!(receipt.message_id.is_none() && receipt.note.is_some());
    }
    double.fail_next(Fault::TakeThen(502, json!({})));
    assert_eq!(channel.send(&message("Hola")).await.unwrap_err().failure, Unknown);
    let manifest = plugin_sms::plugin();
    let policy = manifest.manifest().provider("vonage").unwrap().unknown;
    assert_eq!((policy.wait(), policy.lookup), (Duration::from_secs(300), false));
    assert_eq!(channel.lookup(&message("Hola"), now()).await, Lookup::Undecided);
}

#[tokio::test]
async fn check_names_the_balance_and_a_wrong_address() {
    let double = Vonage::start().await;
    let said = open("vonage", &double.settings()).check().await.unwrap();
    assert!(said.starts_with("the key is good, the balance is 15.53 EUR; sends as \"SalonUno\""), "{said}");
    let plain = plugin_api::conformance::HttpDouble::start().await;
    let elsewhere = with(double.settings(), json!({"baseUrl": plain.url("")}));
    assert!(open("vonage", &elsewhere).check().await.unwrap_err().contains("baseUrl"));
}
