//! What Twilio tells by itself, and who only pretends to be Twilio.

use http::{HeaderValue, Method};
use plugin_api::Hint::{Misconfigured, SuppressAddress};
use plugin_api::{Callback, Event, Hint, OptOut, Received, Refused, State};
use plugin_sms::double::Twilio;
use serde_json::json;

use crate::support::*;

/// A double, and a message it took.
async fn one_message() -> (Twilio, String) {
    let double = Twilio::start().await;
    let receipt = open("twilio", &double.settings()).send(&message("Hola")).await.unwrap();
    (double, receipt.message_id.unwrap())
}

fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn unverified(received: Result<Received, Refused>) {
    assert!(matches!(received, Err(Refused::Unverified(_))), "{received:?}");
}

#[tokio::test]
async fn every_state_is_told() {
    let (double, id) = one_message().await;
    let channel = open("twilio", &double.settings());
    for (word, expected) in [
        ("accepted", None),
        ("scheduled", None),
        ("queued", None),
        ("sending", None),
        ("sent", Some(State::Sent)),
        ("partially_delivered", Some(State::Sent)),
        ("delivered", Some(State::Delivered)),
        ("read", Some(State::Read)),
    ] {
        let received = channel.receive(&double.report(&id, word, None)).await.unwrap();
        assert_eq!(received.answer, plugin_api::Answer::default());
        match expected {
            None => assert_eq!(received.events, [], "{word}"),
            Some(state) => {
                let status = status(&received.events);
                assert_eq!((&status.message_id, &status.state), (&id, &state), "{word}");
                assert_eq!((&status.reference, status.at), (&None, None));
            }
        }
    }
    for word in ["failed", "undelivered"] {
        let received = channel.receive(&double.report(&id, word, None)).await.unwrap();
        assert_eq!(failure(&status(&received.events).state), ("undelivered", None));
    }
    let cancelled = channel.receive(&double.report(&id, "canceled", None)).await.unwrap();
    assert_eq!(failure(&status(&cancelled.events).state), ("cancelled", None));
}

#[tokio::test]
async fn every_late_failure_is_told_apart_by_its_code() {
    let (double, id) = one_message().await;
    let channel = open("twilio", &double.settings());
    let rows: [(u32, &str, Option<Hint>); 29] = [
        (30001, "queue_overflow", None),
        (30002, "account_suspended", Some(Misconfigured)),
        (30003, "unreachable", None),
        (30004, "blocked", None),
        (30005, "invalid_phone", Some(SuppressAddress)),
        (30006, "landline", None),
        (30007, "filtered", None),
        (30008, "undelivered", None),
        (30034, "sender_not_registered", Some(Misconfigured)),
        (30410, "provider_timeout", None),
        (63003, "invalid_recipient", None),
        (63014, "opted_out", None),
        (63015, "sandbox", None),
        (63016, "outside_whatsapp_window", None),
        (63018, "rate_limited", None),
        (63019, "invalid_media", None),
        (63024, "invalid_recipient", None),
        (63027, "invalid_form", None),
        (63028, "invalid_form", None),
        (63032, "excluded", None),
        (63033, "opted_out", None),
        (63038, "daily_limit", None),
        (63049, "withheld", None),
        (63051, "account_locked", Some(Misconfigured)),
        (12345, "undelivered", None),
        (0, "undelivered", None),
        (1, "undelivered", None),
        (30009, "undelivered", None),
        (99999, "undelivered", None),
    ];
    for (code, reason, hint) in rows {
        let received = channel.receive(&double.report(&id, "undelivered", Some(code))).await.unwrap();
        assert_eq!(failure(&status(&received.events).state), (reason, hint), "{code}");
    }
}

#[tokio::test]
async fn the_same_report_gives_the_same_events() {
    let (double, id) = one_message().await;
    let channel = open("twilio", &double.settings());
    let report = double.report(&id, "undelivered", Some(30003));
    let first = channel.receive(&report).await.unwrap();
    assert_eq!(channel.receive(&report).await.unwrap(), first);
    let inbound = double.inbound(HOOK, ANA, "BAJA");
    assert_eq!(channel.receive(&inbound).await.unwrap(), channel.receive(&inbound).await.unwrap());
}

#[tokio::test]
async fn a_reply_is_answered_with_an_empty_twiml() {
    let double = Twilio::start().await;
    let channel = open("twilio", &double.settings());
    for text in ["Sí, confirmo", "BAJA", "ALTO", "STOPALL"] {
        let received = channel.receive(&double.inbound(HOOK, ANA, text)).await.unwrap();
        assert_eq!(received.events.len(), 1);
        let inbound = inbound(&received.events);
        assert_eq!((&*inbound.from, &*inbound.text), (ANA, text));
        assert!(inbound.id.starts_with("SM"));
        assert_eq!(received.answer.content_type, "text/xml");
        assert!(received.answer.body.ends_with(b"<Response/>"));
    }
}

#[tokio::test]
async fn what_twilio_took_for_stop_is_an_opt_out_beside_the_text() {
    let double = Twilio::start().await;
    let channel = open("twilio", &double.settings());
    let received = channel.receive(&double.inbound(HOOK, ANA, "STOP")).await.unwrap();
    let out = OptOut { address: ANA.into(), reason: "unsubscribed".into(), marketing_only: false };
    assert_eq!(received.events[0], Event::OptOut(out));
    assert_eq!(inbound(&received.events).text, "STOP");
    let received = channel.receive(&double.inbound(HOOK, ANA, "START")).await.unwrap();
    assert_eq!(received.events.len(), 1);
}

#[tokio::test]
async fn whatever_is_no_persons_number_is_left_alone() {
    let double = Twilio::start().await;
    let channel = open("twilio", &double.settings());
    for from in ["25252", "Telcel", "whatsapp:+523331234567"] {
        let received = channel.receive(&double.inbound(HOOK, from, "Hola")).await.unwrap();
        assert_eq!(received.events, [], "{from}");
    }
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let (double, id) = one_message().await;
    let channel = open("twilio", &double.settings());
    let good = double.report(&id, "delivered", None);
    let forged = |change: &dyn Fn(&mut Callback)| {
        let mut callback = good.clone();
        change(&mut callback);
        callback
    };
    let header = |value: &'static str| {
        move |callback: &mut Callback| {
            callback.headers.insert("x-twilio-signature", HeaderValue::from_static(value));
        }
    };
    for callback in [
        forged(&|c| drop(c.headers.remove("x-twilio-signature"))),
        forged(&header("")),
        forged(&header("not base64!")),
        forged(&header("AAAAAAAAAAAAAAAAAAAAAAAAAAA=")),
        forged(&|c| c.url.push_str("?x=1")),
        forged(&|c| c.url = c.url.replace("t-1", "t-2")),
        forged(&|c| c.body = [&c.body[..], b"&New=1"].concat().into()),
        forged(&|c| c.body = String::from_utf8_lossy(&c.body).replace("delivered", "read").into()),
        forged(&|c| {
            c.headers.insert("content-type", HeaderValue::from_static("application/json"));
        }),
        // Made over the fields as JSON would order and write them.
        Twilio::signed("someone-elses-token", HOOK, &fields(&[("MessageSid", &id), ("MessageStatus", "read")])),
    ] {
        unverified(channel.receive(&callback).await);
    }
    assert!(channel.receive(&good).await.is_ok());
}

#[tokio::test]
async fn an_unknown_field_is_part_of_the_signature() {
    let double = Twilio::start().await;
    let channel = open("twilio", &double.settings());
    let report = [("MessageSid", "SM1"), ("MessageStatus", "sent"), ("Zebra", "ñ & = +"), ("Zebra", "b"), ("A", "")];
    let callback = Twilio::signed(Twilio::TOKEN, HOOK, &fields(&report));
    assert_eq!(status(&channel.receive(&callback).await.unwrap().events).state, State::Sent);
}

#[tokio::test]
async fn both_tokens_hold_while_one_is_replaced() {
    let (double, id) = one_message().await;
    let both = with(double.settings(), json!({"authToken": format!("new-token {}", Twilio::TOKEN)}));
    let channel = open("twilio", &both);
    assert!(channel.receive(&double.report(&id, "sent", None)).await.is_ok());
    assert!(channel.send(&message("Hola")).await.is_err(), "the first one sends");
    double.replace_token("new-token");
    assert!(channel.receive(&double.report(&id, "delivered", None)).await.is_ok());
    assert!(channel.send(&message("Hola")).await.is_ok());
    let old_only = open("twilio", &double.settings());
    unverified(old_only.receive(&double.report(&id, "delivered", None)).await);
}

#[tokio::test]
async fn the_usual_port_may_be_signed_or_not() {
    let double = Twilio::start().await;
    let channel = open("twilio", &double.settings());
    let report = fields(&[("MessageSid", "SM1"), ("MessageStatus", "sent")]);
    for signed in ["https://gateway.example.test/hooks/sms/t-1", "https://gateway.example.test:443/hooks/sms/t-1"] {
        for seen in ["https://gateway.example.test/hooks/sms/t-1", "https://gateway.example.test:443/hooks/sms/t-1"] {
            let mut callback = Twilio::signed(Twilio::TOKEN, signed, &report);
            callback.url = seen.into();
            assert!(channel.receive(&callback).await.is_ok(), "{signed} seen as {seen}");
        }
    }
}

#[tokio::test]
async fn a_shared_key_signs_in_the_newer_way() {
    let double = Twilio::start().await;
    let keys = json!({"webhookKeys": "KEY1:shared-secret-1 KEY2:shared-secret-2"});
    let channel = open("twilio", &with(double.settings(), keys));
    let report = fields(&[("MessageSid", "SM1"), ("MessageStatus", "sent")]);
    let signed = |id, secret| Twilio::signed_with_shared_key(id, secret, HOOK, &report);
    assert!(channel.receive(&signed("KEY1", "shared-secret-1")).await.is_ok());
    assert!(channel.receive(&signed("KEY2", "shared-secret-2")).await.is_ok());
    unverified(channel.receive(&signed("KEY1", "shared-secret-2")).await);
    unverified(channel.receive(&signed("KEY3", "shared-secret-1")).await);
    unverified(channel.receive(&signed("KEY1", Twilio::TOKEN)).await);
    // Without an algorithm it is the token after all.
    let mut by_token = Twilio::signed(Twilio::TOKEN, HOOK, &report);
    by_token.headers.insert("x-twilio-webhooks-signature-settings", HeaderValue::from_static("key=KEY1"));
    assert!(channel.receive(&by_token).await.is_ok());
}

#[tokio::test]
async fn a_json_body_is_covered_by_its_hash() {
    let double = Twilio::start().await;
    let channel = open("twilio", &double.settings());
    let good = Twilio::signed_json(Twilio::TOKEN, HOOK, &json!({"type": "something new"}));
    let received = channel.receive(&good).await.unwrap();
    assert!(received.events.is_empty() && received.unread.is_some(), "{received:?}");
    let reserialised = Callback { body: "{ \"type\": \"something new\" }".into(), ..good.clone() };
    unverified(channel.receive(&reserialised).await);
    let unhashed = Callback { query: vec![], ..good };
    unverified(channel.receive(&unhashed).await);
}

#[tokio::test]
async fn a_number_may_call_with_get() {
    let double = Twilio::start().await;
    let channel = open("twilio", &double.settings());
    let query = [("MessageSid", "SM7"), ("From", ANA), ("Body", "Hola"), ("SmsStatus", "received")];
    let url = format!("{HOOK}?MessageSid=SM7&From=%2B523331234567&Body=Hola&SmsStatus=received");
    let mut callback = Twilio::signed(Twilio::TOKEN, &url, &[]);
    callback.method = Method::GET;
    assert_eq!(callback.query, fields(&query));
    assert_eq!(inbound(&channel.receive(&callback).await.unwrap().events).id, "SM7");
}

#[tokio::test]
async fn verified_but_meaningless_is_malformed_and_without_a_token_nothing_is_heard() {
    let double = Twilio::start().await;
    let channel = open("twilio", &double.settings());
    for meaningless in [vec![], fields(&[("MessageStatus", "sent")]), fields(&[("Body", "Hola")])] {
        let received = channel.receive(&Twilio::signed(Twilio::TOKEN, HOOK, &meaningless)).await;
        assert!(matches!(received, Err(Refused::Malformed(_))), "{received:?}");
    }
    let unknown = fields(&[("MessageSid", "SM1"), ("MessageStatus", "teleported")]);
    let received = channel.receive(&Twilio::signed(Twilio::TOKEN, HOOK, &unknown)).await.unwrap();
    assert_eq!(received.events, []);
    let key = json!({"authToken": null, "apiKeySid": Twilio::KEY, "apiKeySecret": Twilio::KEY_SECRET});
    let deaf = open("twilio", &with(double.settings(), key));
    let received = deaf.receive(&double.inbound(HOOK, ANA, "Hola")).await;
    assert!(matches!(received, Err(Refused::Unsupported(_))), "{received:?}");
}
