//! Text, buttons and lists inside the window, and what does not fit them.

use plugin_api::{Action, Failure, Message};
use serde_json::{Value, json};

use crate::support::*;

/// What Meta was sent, without what every message has.
async fn sent(message: &Message) -> Value {
    let (double, channel) = meta_open().await;
    let receipt = channel.send(message).await.unwrap();
    let [sent] = &*double.sent() else { panic!("one message") };
    assert_eq!(receipt.message_id.as_deref(), sent["id"].as_str());
    assert_eq!((receipt.http_status, receipt.note, receipt.remember), (Some(200), None, None));
    assert_eq!((&sent["to"], &sent["biz_opaque_callback_data"]), (&json!("523331234567"), &json!("0198-d1")));
    let kind = sent["type"].as_str().unwrap();
    json!({ kind: sent[kind] })
}

async fn as_text(message: &Message) -> String {
    let sent = sent(message).await;
    sent["text"]["body"].as_str().unwrap_or_else(|| panic!("not a text: {sent}")).to_owned()
}

#[tokio::test]
async fn a_text_is_a_text() {
    assert_eq!(sent(&message("Hola Ana")).await, json!({"text": {"body": "Hola Ana", "preview_url": false}}));
}

#[tokio::test]
async fn up_to_three_actions_are_buttons() {
    let three = Message { actions: actions(&["Confirmar", "Cambiar", "Veinte caracteres ya"]), ..message("¿Vienes?") };
    let expected = json!({"type": "button", "body": {"text": "¿Vienes?"}, "action": {"buttons": [
        {"type": "reply", "reply": {"id": "choice:0", "title": "Confirmar"}},
        {"type": "reply", "reply": {"id": "choice:1", "title": "Cambiar"}},
        {"type": "reply", "reply": {"id": "choice:2", "title": "Veinte caracteres ya"}}]}});
    assert_eq!(sent(&three).await, json!({"interactive": expected}));
    let one = Message { actions: actions(&["Confirmar"]), ..message("¿Vienes?") };
    assert_eq!(sent(&one).await["interactive"]["type"], "button");
}

#[tokio::test]
async fn four_to_ten_actions_are_a_list() {
    let titles = ["9", "10", "11", "12", "13", "16", "17", "18", "19", "Veinticuatro caracteres."];
    for count in [4, 10] {
        let many = Message { actions: actions(&titles[10 - count..]), ..message("Elige un horario") };
        let list = sent(&many).await["interactive"].clone();
        assert_eq!((&list["type"], &list["action"]["button"]), (&json!("list"), &json!("Opciones")));
        let rows = list["action"]["sections"][0]["rows"].as_array().unwrap();
        assert_eq!(rows.len(), count);
        assert_eq!(rows[count - 1]["title"], "Veinticuatro caracteres.");
        assert_eq!(rows[0]["id"], "choice:0");
    }
}

#[tokio::test]
async fn the_lists_label_is_a_setting() {
    let (double, _) = meta_open().await;
    let settings = plugin_whatsapp::double::MetaDouble::settings(double.http.address());
    let channel = open_meta(&with(settings, "listLabel", json!("Ver horarios")));
    let four = Message { actions: actions(&["a", "b", "c", "d"]), ..message("Elige") };
    channel.send(&four).await.unwrap();
    assert_eq!(double.sent()[0]["interactive"]["action"]["button"], "Ver horarios");
}

#[tokio::test]
async fn what_fits_no_button_becomes_a_numbered_list() {
    let action = |title: &str, value: &str| Action { title: title.into(), value: value.into() };
    let titles_of_a_list = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"];
    let unfit = [
        actions(&["Confirmar", "Veintiún caracteres ya"]),
        actions(&["Sí", "Sí"]),
        actions(&["Sí", " "]),
        vec![action("Sí", "same"), action("No", "same")],
        vec![action("Sí", "")],
        vec![action("Sí", &"x".repeat(257))],
        actions(&["a", "b", "c", "Veinticinco caracteres ya"]),
        vec![action("a", "1"), action("b", "2"), action("c", "3"), action("d", &"x".repeat(201))],
        actions(&titles_of_a_list),
    ];
    for actions in unfit {
        let message = Message { actions, ..message("¿Vienes?") };
        assert_eq!(as_text(&message).await, message.text_with_actions());
    }
}

#[tokio::test]
async fn a_long_text_keeps_its_actions_as_a_numbered_list() {
    let exact = Message { actions: actions(&["Sí"]), ..message(&"ñ".repeat(1024)) };
    assert!(sent(&exact).await["interactive"].is_object());
    let longer = Message { actions: actions(&["Sí"]), ..message(&"ñ".repeat(1025)) };
    assert!(as_text(&longer).await.ends_with("ñ\n\n1. Sí"));
}

#[tokio::test]
async fn a_text_beyond_the_limit_is_refused_before_it_is_sent() {
    let (double, channel) = meta_open().await;
    channel.send(&message(&"ñ".repeat(4096))).await.unwrap();
    for long in [message(&"ñ".repeat(4097)), Message { actions: actions(&["Sí"]), ..message(&"ñ".repeat(4092)) }] {
        let error = channel.send(&long).await.unwrap_err();
        assert_eq!((error.failure, error.reason.as_ref()), (Failure::Rejected, "too_long"));
    }
    assert_eq!(double.http.calls(), 1);
}

#[tokio::test]
async fn nobody_is_written_to_without_a_number() {
    let (double, channel) = meta_open().await;
    let mut message = message("Hola");
    message.recipient.phone = None;
    let error = channel.send(&message).await.unwrap_err();
    assert_eq!((error.failure, error.reason.as_ref()), (Failure::Rejected, "no_address"));
    assert_eq!(double.http.calls(), 0);
}
