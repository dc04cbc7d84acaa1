//! A message, an answer and a callback as scripts see them.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use plugin_api::http::Answer;
use plugin_api::{Action, AddressKind, Callback, Message, Recipient};
use serde_json::{Map, Value, json};

use super::named::Named;
use crate::script::{Made, Secrets};

/// The fields that are read of something, made for a script.
struct Shown<'a> {
    made: Made,
    read: &'a Named,
}

impl<'a> Shown<'a> {
    fn new(read: &'a Named) -> Self {
        Self { made: Made::map([]), read }
    }

    fn field<T: Into<Made>>(self, name: &str, value: impl FnOnce() -> T) -> Self {
        let made = if self.read.has(name) { self.made.with(name, value().into()) } else { self.made };
        Self { made, ..self }
    }
}

/// A message as scripts see it, `now` in Unix seconds.
pub(super) fn message(message: &Message, now: i64, read: &Named) -> Made {
    let to = &message.recipient;
    let recipient = || {
        Made::map([
            ("contactId", to.contact_id.as_ref().into()),
            ("externalId", to.external_id.as_ref().into()),
            ("name", to.name.as_ref().into()),
            ("phone", to.phone.as_ref().into()),
            ("email", to.email.as_ref().into()),
        ])
    };
    let action = |a: &Action| Made::map([("title", Made::from(&a.title)), ("value", Made::from(&a.value))]);
    let shown = Shown::new(read)
        .field("id", || &message.id)
        .field("type", || &message.kind)
        .field("channel", || &message.channel)
        .field("recipient", recipient)
        .field("subject", || message.subject.as_ref())
        .field("text", || &message.text)
        .field("textWithActions", || message.text_with_actions())
        .field("html", || message.html.as_ref())
        .field("actions", || Made::list(message.actions.iter().map(action)))
        .field("data", || &*message.data)
        .field("attempt", || i64::from(message.attempt))
        .field("memory", || message.memory.as_ref())
        .field("now", || now);
    shown.made
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

/// An answer as the script sees it: what it repeats of a secret is covered.
pub(super) fn response(answer: &Answer, secrets: &Secrets, read: &Named) -> Made {
    let covered = |mut text: String| {
        secrets.hide(&mut text);
        Made::from(text)
    };
    let json = || {
        let mut json = if answer.complete { answer.json::<Value>().unwrap_or_default() } else { Value::Null };
        hide(&mut json, secrets);
        Made::from(&json)
    };
    let readable = answer.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let shown = Shown::new(read)
        .field("status", || i64::from(answer.status))
        .field("headers", || Made::map(readable.map(|(name, value)| (name, covered(value.to_owned())))))
        .field("json", json)
        .field("body", || covered(String::from_utf8_lossy(&answer.body).into_owned()));
    shown.made
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
pub(super) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64
}
