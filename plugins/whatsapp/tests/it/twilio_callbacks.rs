//! Signatures, statuses, and what people write through Twilio.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method};
use plugin_api::{Callback, Event, OptOut, Refused, State};
use plugin_whatsapp::double::{TwilioDouble, deliver};
use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn a_message_is_followed_to_the_reader() {
    let (double, channel) = twilio_open().await;
    let sid = channel.send(&message("Hola")).await.unwrap().message_id.unwrap();
    double.reads(&sid);
    let mut states = Vec::new();
    for callback in double.pending() {
        let events = heard(&channel, &callback).await;
        let told = status(&events);
        assert_eq!((&told.message_id, told.reference.as_deref()), (&sid, Some("0198-d1")));
        states.push(told.state.clone());
    }
    assert_eq!(states, [State::Sent, State::Delivered, State::Read]);
}

#[tokio::test]
async fn a_closed_window_is_reported_afterwards() {
    let (double, channel) = twilio_open().await;
    double.advance(Duration::from_hours(24));
    channel.send(&message("Hola")).await.unwrap();
    let events = heard(&channel, &double.pending()[0]).await;
    assert!(matches!(&status(&events).state, State::Failed { reason, .. } if reason == "outside_whatsapp_window"));
}

#[tokio::test]
async fn a_repeated_callback_says_the_same() {
    let (double, channel) = twilio_open().await;
    channel.send(&message("Hola")).await.unwrap();
    let [sent, delivered] = &*double.pending() else { panic!("two statuses") };
    let late = heard(&channel, delivered).await;
    assert_eq!(status(&heard(&channel, sent).await).state, State::Sent);
    assert_eq!(heard(&channel, delivered).await, late);
}

#[tokio::test]
async fn every_word_for_a_status_is_known() {
    let (double, channel) = twilio_open().await;
    for (word, heard_as) in [
        ("accepted", None),
        ("scheduled", None),
        ("queued", None),
        ("sending", None),
        ("partially_delivered", None),
        ("sent", Some("Sent")),
        ("delivered", Some("Delivered")),
        ("read", Some("Read")),
        ("undelivered", Some("Failed")),
        ("failed", Some("Failed")),
        ("canceled", Some("Failed")),
    ] {
        let fields = [("MessageSid", "SM1"), ("MessageStatus", word), ("AccountSid", TwilioDouble::ACCOUNT_SID)];
        let fields = fields.map(|(n, v)| (n.to_owned(), v.to_owned()));
        let events = heard(&channel, &double.signed(HOOK, &fields)).await;
        let state = events.first().map(|_| format!("{:?}", status(&events).state));
        assert!(state.as_deref().map(|s| s.split([' ', '{']).next().unwrap()) == heard_as, "{word}: {state:?}");
    }
}

#[tokio::test]
async fn a_text_is_heard_and_answered_with_nothing() {
    let (double, channel) = twilio().await;
    let callback = double.writes(&format!("+{ANA_WA_ID}"), HOOK, &[("Body", "Sí, ahí estaré")]);
    let received = channel.receive(&callback).await.unwrap();
    assert_eq!((&*received.answer.content_type, &received.answer.body[..]), ("text/xml", &b"<Response/>"[..]));
    let told = inbound(&received.events);
    assert_eq!((told.from.as_str(), told.text.as_str(), told.name.as_deref()), (ANA, "Sí, ahí estaré", Some("Ana")));
    assert_eq!((&told.action, &told.in_reply_to, told.at), (&None, &None, None));
    assert!(told.id.starts_with("SM"));
}

#[tokio::test]
async fn a_choice_carries_its_value_and_the_message_it_answers() {
    let (double, channel) = twilio().await;
    let answered = ("OriginalRepliedMessageSid", "SMfedcba9876543210fedcba9876543210");
    let button = [
        ("MessageType", "button"),
        ("ButtonText", "Confirmar"),
        ("ButtonPayload", "confirm:apt-1"),
        ("Body", "Confirmar"),
        answered,
    ];
    let list =
        [("MessageType", "interactive"), ("ListTitle", "10:00"), ("ListId", "slot:10"), ("Body", "10:00"), answered];
    for (fields, text, action) in [(button, "Confirmar", "confirm:apt-1"), (list, "10:00", "slot:10")] {
        let events = heard(&channel, &double.writes(ANA, HOOK, &fields)).await;
        let told = inbound(&events);
        assert_eq!((told.text.as_str(), told.action.as_deref()), (text, Some(action)));
        assert_eq!(told.in_reply_to.as_deref(), Some(answered.1));
    }
}

#[tokio::test]
async fn a_picture_and_a_place_have_no_text() {
    let (double, channel) = twilio().await;
    let picture = [("Body", ""), ("NumMedia", "1"), ("MediaUrl0", "https://api.example/1"), ("MessageType", "image")];
    let place = [("Body", ""), ("Latitude", "20.67"), ("Longitude", "-103.35")];
    for fields in [&picture[..], &place] {
        let events = heard(&channel, &double.writes(ANA, HOOK, fields)).await;
        assert_eq!(inbound(&events).text, "");
    }
}

#[tokio::test]
async fn a_stop_that_twilio_took_is_an_opt_out_too() {
    let (double, channel) = twilio().await;
    let callback = double.writes(&format!("+{ANA_WA_ID}"), HOOK, &[("Body", "BAJA"), ("OptOutType", "STOP")]);
    let events = heard(&channel, &callback).await;
    assert_eq!(inbound(&events[..1]).text, "BAJA");
    let expected = OptOut { address: ANA.into(), reason: "unsubscribed".into(), marketing_only: false };
    assert_eq!(events[1..], [Event::OptOut(expected)]);
    let start = heard(&channel, &double.writes(ANA, HOOK, &[("OptOutType", "START")])).await;
    assert_eq!(start.len(), 1);
}

#[tokio::test]
async fn a_hidden_number_is_replaced_by_what_stands_for_it() {
    let (double, channel) = twilio().await;
    let callback = double.writes(ANA, HOOK, &[("From", "whatsapp:MX.1A2B3C"), ("WaId", "")]);
    assert_eq!(inbound(&heard(&channel, &callback).await).from, "MX.1A2B3C");
}

#[tokio::test]
async fn other_senders_accounts_and_channels_are_left_alone() {
    let (double, channel) = twilio_open().await;
    for other in [
        ("To", "whatsapp:+12025550123"),
        ("AccountSid", "ACffffffffffffffffffffffffffffffff"),
        ("From", "+523331234567"),
    ] {
        assert!(heard(&channel, &double.writes(ANA, HOOK, &[other])).await.is_empty(), "{other:?}");
    }
}

#[tokio::test]
async fn a_messaging_service_hears_for_all_its_senders() {
    let (double, _) = twilio().await;
    let service = "MG0123456789abcdef0123456789abcdef";
    let settings = with(TwilioDouble::settings(double.http.address()), "from", serde_json::Value::Null);
    let channel = open_twilio(&with(settings, "messagingServiceSid", json!(service)));
    let to = ("To", "whatsapp:+12025550123");
    for (sid, count) in [(service, 1), ("MGffffffffffffffffffffffffffffffff", 0)] {
        let callback = double.writes(ANA, HOOK, &[to, ("MessagingServiceSid", sid)]);
        assert_eq!(heard(&channel, &callback).await.len(), count);
    }
}

#[tokio::test]
async fn only_what_twilio_signed_is_heard() {
    let (double, channel) = twilio().await;
    let good = double.writes(ANA, HOOK, &[("Body", "¿Mañana?"), ("New", "field")]);
    assert_eq!(heard(&channel, &good).await.len(), 1);

    let mut wrong = good.clone();
    wrong.headers.insert("x-twilio-signature", HeaderValue::from_static("AAAAAAAAAAAAAAAAAAAAAAAAAAA="));
    let forged = [
        Callback { headers: HeaderMap::new(), ..good.clone() },
        Callback { url: format!("{HOOK}?message=forged"), ..good.clone() },
        Callback { body: [&good.body[..], b"&Body=Forged"].concat().into(), ..good.clone() },
        Callback { body: vec![].into(), ..good.clone() },
        wrong,
    ];
    for forgery in forged {
        assert!(matches!(refused(&channel, &forgery).await, Refused::Unverified(_)));
    }
}

#[tokio::test]
async fn two_auth_tokens_are_valid_while_one_is_replaced() {
    let (double, _) = twilio().await;
    let callback = double.writes(ANA, HOOK, &[]);
    for (tokens, good) in [("newToken authTokenMadeUp", true), ("newToken olderToken", false)] {
        let settings = with(TwilioDouble::settings(double.http.address()), "authToken", json!(tokens));
        assert_eq!(open_twilio(&settings).receive(&callback).await.is_ok(), good, "{tokens}");
    }
}

#[tokio::test]
async fn a_get_carries_its_fields_in_the_address() {
    let (double, channel) = twilio().await;
    let fields = [("MessageSid", "SM1"), ("AccountSid", TwilioDouble::ACCOUNT_SID), ("MessageStatus", "read")];
    let query: Vec<_> = fields.iter().map(|(n, v)| format!("{n}={v}")).collect();
    let signed = double.signed_fields(&format!("{HOOK}?{}", query.join("&")), &[]);
    let get = Callback { method: Method::GET, ..signed };
    assert_eq!(status(&heard(&channel, &get).await).state, State::Read);
}

#[tokio::test]
async fn signed_nonsense_is_malformed() {
    let (double, channel) = twilio().await;
    let callback = double.signed_fields(HOOK, &[("Body".to_owned(), "Hola".to_owned())]);
    assert!(matches!(refused(&channel, &callback).await, Refused::Malformed(_)));
}

#[tokio::test]
async fn a_callback_reaches_whoever_listens_with_its_signature() {
    let (double, channel) = twilio().await;
    let listener = plugin_api::conformance::HttpDouble::start().await;
    let callback = double.writes(ANA, &listener.url("/hooks/whatsapp/1"), &[("Body", "Mañana")]);
    assert_eq!(deliver(&callback).await, 200);
    let seen = &listener.seen()[0];
    let headers = seen.headers.iter().map(|(n, v)| (n.parse::<http::HeaderName>().unwrap(), v.parse().unwrap()));
    let arrived = Callback { headers: headers.collect(), body: seen.body.clone().into(), ..callback };
    assert_eq!(inbound(&heard(&channel, &arrived).await).text, "Mañana");
}
