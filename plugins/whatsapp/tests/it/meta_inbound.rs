//! Every shape in which people's messages come from Meta.

use std::time::{Duration, UNIX_EPOCH};

use plugin_api::Inbound;
use plugin_whatsapp::double::MetaDouble;
use serde_json::{Value, json};

use crate::support::*;

/// What becomes of a message of Ana's.
async fn heard_from_ana(message: Value) -> Inbound {
    let (double, channel) = meta().await;
    double.spell(ANA, ANA_WA_ID);
    let value = double.writes(ANA, message);
    let events = heard(&channel, &double.callback(HOOK, &[value])).await;
    let inbound = inbound(&events).clone();
    assert_eq!((inbound.id.as_str(), inbound.from.as_str()), ("wamid.IN1", ANA));
    assert_eq!(inbound.name.as_deref(), Some("Ana"));
    assert_eq!(inbound.at, Some(UNIX_EPOCH + Duration::from_secs(1_753_900_000)));
    inbound
}

/// Text, chosen value and the message that was answered.
fn gist(inbound: &Inbound) -> (&str, Option<&str>, Option<&str>) {
    (&inbound.text, inbound.action.as_deref(), inbound.in_reply_to.as_deref())
}

fn answering(mut message: Value) -> Value {
    message["context"] = json!({"from": "523330000000", "id": "wamid.OUT7"});
    message
}

#[tokio::test]
async fn a_text() {
    assert_eq!(gist(&heard_from_ana(text("Sí, ahí estaré 👍")).await), ("Sí, ahí estaré 👍", None, None));
    let quoting = heard_from_ana(answering(text("Ok"))).await;
    assert_eq!(gist(&quoting), ("Ok", None, Some("wamid.OUT7")));
}

#[tokio::test]
async fn a_forms_quick_reply() {
    let button = answering(json!({"type": "button", "button": {"payload": "confirm:apt-1", "text": "Confirmar"}}));
    let chosen = heard_from_ana(button).await;
    assert_eq!(gist(&chosen), ("Confirmar", Some("confirm:apt-1"), Some("wamid.OUT7")));
}

#[tokio::test]
async fn a_reply_button_and_a_lists_row() {
    let reply = json!({"id": "confirm:apt-1", "title": "Confirmar"});
    let button = json!({"type": "interactive", "interactive": {"type": "button_reply", "button_reply": reply}});
    let chosen = heard_from_ana(answering(button)).await;
    assert_eq!(gist(&chosen), ("Confirmar", Some("confirm:apt-1"), Some("wamid.OUT7")));

    let reply = json!({"id": "slot:10", "title": "10:00", "description": "Con Carlos"});
    let row = json!({"type": "interactive", "interactive": {"type": "list_reply", "list_reply": reply}});
    let chosen = heard_from_ana(answering(row)).await;
    assert_eq!(gist(&chosen), ("10:00", Some("slot:10"), Some("wamid.OUT7")));
}

#[tokio::test]
async fn a_flows_answer_is_no_choice() {
    let answer = json!({"name": "flow", "body": "Sent", "response_json": "{}"});
    let flow = json!({"type": "interactive", "interactive": {"type": "nfm_reply", "nfm_reply": answer}});
    assert_eq!(gist(&heard_from_ana(flow).await), ("Sent", None, None));
}

#[tokio::test]
async fn media_keep_their_caption() {
    for kind in ["image", "video", "document"] {
        let with = json!({"type": kind, kind: {"id": "1", "mime_type": "x/y", "caption": "Mi corte"}});
        assert_eq!(gist(&heard_from_ana(with).await), ("Mi corte", None, None));
    }
    for kind in ["image", "audio", "sticker"] {
        let without = json!({"type": kind, kind: {"id": "1", "mime_type": "x/y"}});
        assert_eq!(gist(&heard_from_ana(without).await), ("", None, None));
    }
}

#[tokio::test]
async fn everything_else_a_person_sends_is_heard_without_text() {
    for (kind, content) in [
        ("location", json!({"latitude": 20.67, "longitude": -103.35})),
        ("contacts", json!([{"name": {"formatted_name": "Carlos"}}])),
        ("order", json!({"catalog_id": "1"})),
        ("holograms", json!(7)),
    ] {
        let message = json!({"type": kind, kind: content});
        assert_eq!(gist(&heard_from_ana(message).await), ("", None, None), "{kind}");
    }
    let error = json!({"code": 131_051, "title": "Message type unknown"});
    let unsupported = json!({"type": "unsupported", "errors": [error]});
    assert_eq!(gist(&heard_from_ana(unsupported).await), ("", None, None));
}

#[tokio::test]
async fn a_reaction_answers_the_message_it_is_on() {
    let reaction = json!({"type": "reaction", "reaction": {"message_id": "wamid.OUT7", "emoji": "👍"}});
    assert_eq!(gist(&heard_from_ana(reaction).await), ("👍", None, Some("wamid.OUT7")));
}

#[tokio::test]
async fn what_whatsapp_itself_reports_is_no_message() {
    let (double, channel) = meta().await;
    for kind in ["system", "request_welcome"] {
        let body = json!({"body": "Ana changed her number", "type": "user_changed_number"});
        let value = double.writes(ANA, json!({"type": kind, kind: body}));
        assert!(heard(&channel, &double.callback(HOOK, &[value])).await.is_empty(), "{kind}");
    }
}

#[tokio::test]
async fn numbers_come_in_the_spelling_that_is_stored() {
    let (double, channel) = meta().await;
    for (wa_id, stored) in [
        ("5213331234567", "+523331234567"),
        ("523331234567", "+523331234567"),
        ("5491123456789", "+541123456789"),
        ("551187654321", "+5511987654321"),
        ("34600123456", "+34600123456"),
    ] {
        double.spell(stored, wa_id);
        let value = double.writes(stored, text("Hola"));
        assert_eq!(value["messages"][0]["from"], wa_id);
        let events = heard(&channel, &double.callback(HOOK, &[value])).await;
        assert_eq!(inbound(&events).from, stored);
    }
}

#[tokio::test]
async fn a_hidden_number_is_replaced_by_the_id_that_stands_for_it() {
    let (double, channel) = meta().await;
    let mut value = double.writes(ANA, text("Hola"));
    value["messages"][0].as_object_mut().unwrap().remove("from");
    value["messages"][0]["from_user_id"] = json!("MX.1A2B3C");
    value["contacts"] = json!([{"profile": {"name": "Ana"}, "user_id": "MX.1A2B3C"}]);
    let events = heard(&channel, &double.callback(HOOK, &[value.clone()])).await;
    assert_eq!((inbound(&events).from.as_str(), inbound(&events).name.as_deref()), ("MX.1A2B3C", Some("Ana")));
    // With nothing at all to tell who it was, there is nobody to answer.
    value["messages"][0].as_object_mut().unwrap().remove("from_user_id");
    value["contacts"] = json!([]);
    assert!(heard(&channel, &double.callback(HOOK, &[value])).await.is_empty());
}

#[tokio::test]
async fn each_message_has_its_own_senders_name() {
    let (double, channel) = meta().await;
    let mut value = double.writes(ANA, text("uno"));
    let other = double.writes("+34600123456", text("dos"));
    value["messages"].as_array_mut().unwrap().push(other["messages"][0].clone());
    value["contacts"] = json!([{"profile": {"name": "Luz"}, "wa_id": "34600123456"},
        {"profile": {"name": "Ana"}, "wa_id": "523331234567"}]);
    let events = heard(&channel, &double.callback(HOOK, &[value])).await;
    let names: Vec<_> = events.iter().map(|e| inbound(std::slice::from_ref(e)).name.clone().unwrap()).collect();
    assert_eq!(names, ["Ana", "Luz"]);
}

#[tokio::test]
async fn a_broken_message_does_not_lose_the_next() {
    let (double, channel) = meta().await;
    let mut value = double.writes(ANA, text("Hola"));
    let good = value["messages"][0].clone();
    value["messages"] = json!([{"id": "", "type": "text", "timestamp": "1"}, good]);
    let events = heard(&channel, &double.callback(HOOK, &[value])).await;
    assert_eq!(inbound(&events).text, "Hola");
    drop::<MetaDouble>(double);
}
