//! Verification, signatures and statuses.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::HeaderValue;
use plugin_api::{Callback, Event, OptOut, Refused, State};
use plugin_whatsapp::double::MetaDouble;
use serde_json::{Value, json};

use crate::support::*;

#[tokio::test]
async fn the_address_is_verified_by_echoing_the_challenge() {
    let (double, channel) = meta().await;
    let asked = double.verification(HOOK, MetaDouble::VERIFY_TOKEN, "1158201444");
    let received = channel.receive(&asked).await.unwrap();
    assert_eq!((received.answer.content_type.as_ref(), &received.answer.body[..]), ("text/plain", &b"1158201444"[..]));
    assert!(received.events.is_empty());
}

#[tokio::test]
async fn a_wrong_verification_is_refused() {
    let (double, channel) = meta().await;
    let good = double.verification(HOOK, MetaDouble::VERIFY_TOKEN, "1");
    let without = |name: &str| Callback {
        query: good.query.iter().filter(|(n, _)| n != name).cloned().collect(),
        ..good.clone()
    };
    let mut unsubscribe = good.clone();
    unsubscribe.query[0].1 = "unsubscribe".into();
    let wrong = [
        double.verification(HOOK, "another", "1"),
        double.verification(HOOK, "", "1"),
        without("hub.mode"),
        without("hub.challenge"),
        without("hub.verify_token"),
        unsubscribe,
    ];
    for asked in wrong {
        assert!(matches!(refused(&channel, &asked).await, Refused::Unverified(_)), "{:?}", asked.query);
    }
}

#[tokio::test]
async fn callbacks_that_are_not_set_up_name_the_missing_setting() {
    let (double, _) = meta().await;
    let settings = || MetaDouble::settings(double.http.address());
    let channel = open_meta(&with(settings(), "verifyToken", Value::Null));
    let asked = double.verification(HOOK, MetaDouble::VERIFY_TOKEN, "1");
    assert!(matches!(refused(&channel, &asked).await, Refused::Unsupported(s) if s.contains("verifyToken")));
    let channel = open_meta(&with(settings(), "appSecret", Value::Null));
    let callback = double.callback(HOOK, &[]);
    assert!(matches!(refused(&channel, &callback).await, Refused::Unsupported(s) if s.contains("appSecret")));
}

#[tokio::test]
async fn only_what_meta_signed_is_heard() {
    let (double, channel) = meta_open().await;
    let good = double.callback(HOOK, &[double.writes(ANA, text("Mañana sí"))]);
    assert_eq!(heard(&channel, &good).await.len(), 1);

    let unsigned = Callback { headers: http::HeaderMap::new(), ..good.clone() };
    let longer = Callback { body: Bytes::from([&good.body[..], b" "].concat()), ..good.clone() };
    // The same JSON, but not the same bytes: Meta escapes what is not ASCII.
    let value: Value = serde_json::from_slice(&good.body).unwrap();
    let rewritten = Callback { body: value.to_string().into(), ..good.clone() };
    assert_ne!(rewritten.body, good.body);
    let mut forged = vec![unsigned, longer, rewritten];
    let signature = good.headers["x-hub-signature-256"].to_str().unwrap().to_owned();
    let (_, hex) = signature.split_once('=').unwrap();
    for bad in [hex.to_owned(), format!("sha1={hex}"), format!("sha256={}", "0".repeat(64)), "sha256=".into()] {
        let mut forgery = good.clone();
        forgery.headers.insert("x-hub-signature-256", HeaderValue::from_str(&bad).unwrap());
        forged.push(forgery);
    }
    for forgery in forged {
        assert!(matches!(refused(&channel, &forgery).await, Refused::Unverified(_)));
    }
}

#[tokio::test]
async fn two_app_secrets_are_valid_while_one_is_replaced() {
    let (double, _) = meta().await;
    let callback = double.callback(HOOK, &[double.writes(ANA, text("Hola"))]);
    for (secrets, good) in [
        ("newSecret appSecretMadeUp", true),
        ("appSecretMadeUp newSecret", true),
        ("newSecret olderSecret", false),
        ("newSecretappSecretMadeUp", false),
    ] {
        let settings = with(MetaDouble::settings(double.http.address()), "appSecret", json!(secrets));
        assert_eq!(open_meta(&settings).receive(&callback).await.is_ok(), good, "{secrets}");
    }
}

#[tokio::test]
async fn each_status_is_told_with_our_reference_and_its_time() {
    let (double, channel) = meta_open().await;
    let id = channel.send(&message("Hola")).await.unwrap().message_id.unwrap();
    double.advance(Duration::from_secs(102));
    for (word, state) in
        [("sent", State::Sent), ("delivered", State::Delivered), ("read", State::Read), ("played", State::Read)]
    {
        let events = heard(&channel, &double.callback(HOOK, &[double.status(&id, word)])).await;
        let told = status(&events);
        assert_eq!((&told.message_id, told.reference.as_deref()), (&id, Some("0198-d1")));
        assert_eq!(told.state, state);
        assert_eq!(told.at, Some(UNIX_EPOCH + Duration::from_secs(1_753_900_102)));
    }
}

#[tokio::test]
async fn a_lost_answer_is_made_up_for_by_the_reference() {
    let (double, channel) = meta_open().await;
    double.http.behave(plugin_api::conformance::Behaviour::CutHead);
    assert_eq!(channel.send(&message("Hola")).await.unwrap_err().failure, plugin_api::Failure::Unknown);
    let id = double.sent()[0]["id"].as_str().unwrap().to_owned();
    let events = heard(&channel, &double.callback(HOOK, &[double.status(&id, "delivered")])).await;
    assert_eq!(status(&events).reference.as_deref(), Some("0198-d1"));
}

#[tokio::test]
async fn a_callback_says_the_same_however_often_and_in_whatever_order_it_comes() {
    let (double, channel) = meta_open().await;
    let id = channel.send(&message("Hola")).await.unwrap().message_id.unwrap();
    let read = double.callback(HOOK, &[double.status(&id, "read")]);
    let delivered = double.callback(HOOK, &[double.status(&id, "delivered")]);
    let first = heard(&channel, &read).await;
    assert_eq!(status(&heard(&channel, &delivered).await).state, State::Delivered);
    for _ in 0..3 {
        assert_eq!(heard(&channel, &read).await, first);
    }
}

#[tokio::test]
async fn one_delivery_may_hold_many_entries() {
    let (double, channel) = meta_open().await;
    let id = channel.send(&message("Hola")).await.unwrap().message_id.unwrap();
    let mut both = double.writes(ANA, text("uno"));
    both["statuses"] = json!([double.status(&id, "sent")["statuses"][0], double.status(&id, "read")["statuses"][0]]);
    both["messages"].as_array_mut().unwrap().push(double.writes(ANA, text("dos"))["messages"][0].clone());
    let events = heard(&channel, &double.callback(HOOK, &[both, double.writes(ANA, text("tres"))])).await;
    let said = events.iter().filter_map(|e| if let Event::Inbound(i) = e { Some(&*i.text) } else { None });
    assert_eq!(said.collect::<Vec<_>>(), ["uno", "dos", "tres"]);
    assert_eq!(events.len(), 5);
}

#[tokio::test]
async fn other_numbers_and_unknown_things_are_left_alone() {
    let (double, channel) = meta_open().await;
    let id = channel.send(&message("Hola")).await.unwrap().message_id.unwrap();
    let mut elsewhere = double.writes(ANA, text("Hola"));
    elsewhere["metadata"]["phone_number_id"] = json!("555");
    let odd_status = double.status(&id, "deleted");
    let mut new_status = odd_status.clone();
    new_status["statuses"][0]["status"] = json!("beamed");
    let account_wide = json!({"messaging_product": "whatsapp", "metadata": elsewhere["metadata"],
        "errors": [{"code": 130_429, "title": "Rate limit hit"}]});
    assert!(heard(&channel, &double.callback(HOOK, &[elsewhere, odd_status, account_wide])).await.is_empty());

    // Newer than the contract.
    let change = json!({"field": "messages", "value": new_status});
    let body = json!({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [change]}]});
    assert!(heard(&channel, &double.signed_bytes(HOOK, body.to_string().into())).await.is_empty());

    let known = double.writes(ANA, text("Hola"));
    let other_field = json!({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [
        {"field": "message_template_status_update", "value": {"event": "APPROVED"}},
        {"field": "messages", "value": known, "later": {"addition": true}}]}]});
    assert_eq!(heard(&channel, &double.signed(HOOK, &other_field)).await.len(), 1);
}

#[tokio::test]
async fn what_is_missing_in_one_status_does_not_lose_the_others() {
    let (double, channel) = meta_open().await;
    let id = channel.send(&message("Hola")).await.unwrap().message_id.unwrap();
    let mut value = double.status(&id, "sent");
    let mut bare = value["statuses"][0].clone();
    for name in ["recipient_id", "biz_opaque_callback_data", "pricing"] {
        bare.as_object_mut().unwrap().remove(name);
    }
    bare["timestamp"] = json!("99999999999999999999");
    value["statuses"] = json!([{"id": "", "status": "sent", "timestamp": "1"}, bare]);
    let events = heard(&channel, &double.callback(HOOK, &[value])).await;
    let told = status(&events);
    assert_eq!((told.reference.as_ref(), told.at), (None, None));
}

#[tokio::test]
async fn a_person_who_stopped_marketing_is_reported() {
    let (double, channel) = meta_open().await;
    double.spell(ANA, ANA_WA_ID);
    let id = channel.send(&message("Promo")).await.unwrap().message_id.unwrap();
    let events = heard(&channel, &double.callback(HOOK, &[double.failure(&id, 131_050)])).await;
    let expected = OptOut { address: ANA.into(), reason: "unsubscribed".into(), marketing_only: true };
    assert_eq!(events[0], Event::OptOut(expected));
    assert!(
        matches!(&events[1], Event::Status(s) if matches!(&s.state, State::Failed { reason, .. } if reason == "opted_out"))
    );
}

#[tokio::test]
async fn signed_nonsense_is_malformed_and_signed_emptiness_is_not() {
    let (double, channel) = meta().await;
    assert!(heard(&channel, &double.callback(HOOK, &[])).await.is_empty());
    for body in [&b"{not json"[..], b"", b"\xff\xfe"] {
        let callback = double.signed_bytes(HOOK, body.to_vec());
        assert!(matches!(refused(&channel, &callback).await, Refused::Malformed(_)));
    }
    for body in
        ["null", "[]", "7", r#"{"object":"page","entry":[{"changes":7}]}"#, r#"{"entry":[null,{"changes":[null]}]}"#]
    {
        assert!(heard(&channel, &double.signed_bytes(HOOK, body.into())).await.is_empty(), "{body}");
    }
}

#[tokio::test]
async fn a_delivery_reaches_whoever_listens_with_its_signature() {
    let (double, channel) = meta_open().await;
    let listener = plugin_api::conformance::HttpDouble::start().await;
    let callback = double.callback(&listener.url("/hooks/whatsapp/1"), &[double.writes(ANA, text("Mañana"))]);
    assert_eq!(plugin_whatsapp::double::deliver(&callback).await, 200);
    let seen = &listener.seen()[0];
    let arrived = Callback {
        headers: seen
            .headers
            .iter()
            .map(|(n, v)| (n.parse::<http::HeaderName>().unwrap(), v.parse().unwrap()))
            .collect(),
        body: seen.body.clone().into(),
        ..callback
    };
    assert_eq!(inbound(&heard(&channel, &arrived).await).text, "Mañana");
}
