//! A message, an answer and a callback as scripts see them.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use plugin_api::http::Answer;
use plugin_api::{AddressKind, Callback, Message, Recipient};
use serde_json::{Map, Value, json};

use crate::script::Secrets;

/// A message as scripts see it.
pub(super) fn message(message: &Message) -> Value {
    let to = &message.recipient;
    json!({
        "id": message.id,
        "type": message.kind,
        "channel": message.channel,
        "recipient": {
            "contactId": to.contact_id, "externalId": to.external_id, "name": to.name, "phone": to.phone,
            "email": to.email,
        },
        "subject": message.subject,
        "text": message.text,
        "textWithActions": message.text_with_actions(),
        "html": message.html,
        "actions": message.actions,
        "data": message.data,
        "attempt": message.attempt,
        "memory": message.memory,
        "now": now(),
    })
}

/// A message for nobody, to see where messages would go.
pub(super) fn nobody(channel: &str, address: AddressKind) -> Message {
    let phone = matches!(address, AddressKind::Phone | AddressKind::PhoneOrEmail).then(|| "+10000000000".to_owned());
    let email = matches!(address, AddressKind::Email).then(|| "nobody@example.invalid".to_owned());
    Message {
        id: "00000000-0000-7000-8000-000000000000".to_owned(),
        kind: "check".to_owned(),
        channel: channel.to_owned(),
        recipient: Recipient { phone, email, ..Recipient::default() },
        subject: None,
        text: "check".to_owned(),
        html: None,
        headers: vec![],
        actions: vec![],
        attachments: vec![],
        data: Arc::new(json!({})),
        attempt: 1,
        memory: None,
        window_open: true,
        form: None,
        unsubscribe_url: None,
        began_at: UNIX_EPOCH,
    }
}

pub(super) fn response(answer: &Answer) -> Value {
    let body = String::from_utf8_lossy(&answer.body);
    json!({
        "status": answer.status,
        "headers": headers(&answer.headers),
        "json": if answer.complete { answer.json::<Value>() } else { None },
        "body": body,
    })
}

pub(super) fn callback(callback: &Callback) -> Value {
    let query: Map<String, Value> =
        callback.query.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    json!({
        "method": callback.method.as_str(),
        "url": callback.url,
        "query": query,
        "headers": headers(&callback.headers),
        "body": String::from_utf8_lossy(&callback.body),
        "json": serde_json::from_slice::<Value>(&callback.body).unwrap_or_default(),
        "receivedAt": callback.received_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
    })
}

fn headers(headers: &http::HeaderMap) -> Value {
    let readable = headers.iter().filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.into())));
    readable.collect::<Map<String, Value>>().into()
}

/// Puts placeholders in the place of secrets.
pub(super) fn hide(value: &mut Value, secrets: &Secrets) {
    match value {
        Value::String(text) => secrets.hide(text),
        Value::Array(items) => items.iter_mut().for_each(|item| hide(item, secrets)),
        Value::Object(fields) => fields.values_mut().for_each(|field| hide(field, secrets)),
        _ => {}
    }
}

/// Every text in a value.
pub(super) fn leaves<'a>(value: &'a Value, into: &mut Vec<&'a String>) {
    match value {
        Value::String(text) => into.push(text),
        Value::Array(items) => items.iter().for_each(|item| leaves(item, into)),
        Value::Object(fields) => fields.values().for_each(|field| leaves(field, into)),
        _ => {}
    }
}

#[expect(clippy::disallowed_methods, reason = "signatures carry the real time of the call")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
