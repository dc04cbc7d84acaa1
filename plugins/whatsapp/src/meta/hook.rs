//! What Meta sends to the account's hook: the verification of the URL, statuses, and what people write. The URL is one
//! per Meta app, so several numbers' events may come; those of other numbers are left alone.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::Hmac;
use http::Method;
use plugin_api::{Answer, Callback, Event, Inbound, OptOut, Received, Refused, State, Status};
use serde_json::Value;
use sha2::Sha256;

use super::account::Account;
use super::errors::{self, MetaError};
use crate::phone;

pub(crate) fn receive(account: &Account, callback: &Callback) -> Result<Received, Refused> {
    if callback.method == Method::GET {
        return verification(account, callback);
    }
    if account.app_secret.is_empty() {
        let detail = "set appSecret: without it Meta's callbacks cannot be verified";
        return Err(Refused::Unsupported(detail.to_owned()));
    }
    let signature = callback.header("x-hub-signature-256").and_then(|v| v.strip_prefix("sha256="));
    let Some(signature) = signature else {
        return Err(Refused::Unverified("X-Hub-Signature-256 is missing: this did not come from Meta".to_owned()));
    };
    let signed = hex::decode(signature).is_ok_and(|s| account.app_secret.signed::<Hmac<Sha256>>(&callback.body, &s));
    if !signed {
        let sentence = "X-Hub-Signature-256 does not fit; compare appSecret with App settings > Basic";
        return Err(Refused::Unverified(sentence.to_owned()));
    }
    let body: Value = serde_json::from_slice(&callback.body)
        .map_err(|_| Refused::Malformed("the body is not JSON, although Meta signed it".to_owned()))?;
    Ok(Received::events(ours(account, &body).flat_map(events).collect()).unread(unread(account, &body)))
}

/// Meta asks once, when the URL is entered in its dashboard.
fn verification(account: &Account, callback: &Callback) -> Result<Received, Refused> {
    if account.verify_token.is_empty() {
        let detail = "set verifyToken to the word entered beside the callback URL at Meta";
        return Err(Refused::Unsupported(detail.to_owned()));
    }
    let (mode, given) = (callback.query("hub.mode"), callback.query("hub.verify_token").unwrap_or_default());
    let challenge = callback.query("hub.challenge");
    match challenge {
        Some(challenge) if mode == Some("subscribe") && account.verify_token.contain(given.as_bytes()) => {
            let body = challenge.to_owned().into();
            let answer = Answer { content_type: Cow::Borrowed("text/plain"), body };
            Ok(Received { answer, ..Received::default() })
        }
        _ => Err(Refused::Unverified("hub.verify_token is not this account's verifyToken".to_owned())),
    }
}

/// What says nothing to us. Other numbers' events are theirs to understand.
fn unread(account: &Account, body: &Value) -> Option<&'static str> {
    let mut changes = list(&body["entry"]).flat_map(|entry| list(&entry["changes"])).peekable();
    if changes.peek().is_none() {
        return Some("no list of changes");
    }
    if changes.any(|change| change["field"] != "messages") {
        return Some("a field other than messages");
    }
    let known =
        |told: &Value| matches!(text(&told["status"]), Some("sent" | "delivered" | "read" | "played" | "failed"));
    let odd = ours(account, body).any(|value| !list(&value["statuses"]).all(known));
    odd.then_some("a status that is not known")
}

/// The `value` of each change that concerns our number.
fn ours<'a>(account: &'a Account, body: &'a Value) -> impl Iterator<Item = &'a Value> {
    let changes = list(&body["entry"]).flat_map(|entry| list(&entry["changes"]));
    let values = changes.filter(|change| change["field"] == "messages").map(|change| &change["value"]);
    values.filter(|value| value["metadata"]["phone_number_id"] == account.phone_number_id.as_str())
}

fn events(value: &Value) -> Vec<Event> {
    let inbound = list(&value["messages"]).filter_map(|m| inbound(value, m)).map(Event::Inbound);
    let statuses = list(&value["statuses"]).flat_map(|s| [opt_out(s), status(s).map(Event::Status)]);
    inbound.chain(statuses.flatten()).collect()
}

fn status(told: &Value) -> Option<Status> {
    let state = match text(&told["status"])? {
        "sent" => State::Sent,
        "delivered" => State::Delivered,
        // A voice message that was played was read.
        "read" | "played" => State::Read,
        "failed" => errors::failed(first_error(told).as_ref()),
        _ => return None,
    };
    Some(Status {
        message_id: text(&told["id"])?.to_owned(),
        reference: text(&told["biz_opaque_callback_data"]).map(str::to_owned),
        state,
        at: moment(told),
    })
}

/// A person who stopped marketing messages in WhatsApp itself is only heard of by the failure of the next one.
fn opt_out(told: &Value) -> Option<Event> {
    let stopped = first_error(told).is_some_and(|e| e.code == 131_050);
    let address = text(&told["recipient_id"]).and_then(phone::e164).filter(|_| stopped)?;
    Some(Event::OptOut(OptOut { address, reason: Cow::Borrowed("unsubscribed"), marketing_only: true }))
}

fn first_error(told: &Value) -> Option<MetaError> {
    serde_json::from_value(told["errors"].get(0)?.clone()).ok()
}

fn inbound(value: &Value, m: &Value) -> Option<Inbound> {
    let kind = text(&m["type"])?;
    // Not from the person: that their number changed, that they opened the chat.
    if matches!(kind, "system" | "request_welcome") {
        return None;
    }
    let contact = contact(value, m);
    let (said, action) = said(kind, &m[kind]);
    Some(Inbound {
        id: text(&m["id"])?.to_owned(),
        from: from(m, contact)?,
        name: contact.and_then(|c| text(&c["profile"]["name"])).map(str::to_owned),
        text: said.unwrap_or_default().to_owned(),
        action: action.map(str::to_owned),
        in_reply_to: text(&m["context"]["id"]).or_else(|| text(&m["reaction"]["message_id"])).map(str::to_owned),
        at: moment(m),
    })
}

/// What was written, and what was chosen. A form's quick reply comes as `button`, one of ours as `interactive`.
fn said<'a>(kind: &str, content: &'a Value) -> (Option<&'a str>, Option<&'a str>) {
    match kind {
        "text" => (text(&content["body"]), None),
        "button" => (text(&content["text"]), text(&content["payload"])),
        "interactive" => {
            let reply = text(&content["type"]).map_or(&Value::Null, |kind| &content[kind]);
            (text(&reply["title"]).or_else(|| text(&reply["body"])), text(&reply["id"]))
        }
        "reaction" => (text(&content["emoji"]), None),
        _ => (text(&content["caption"]), None),
    }
}

/// Who wrote. People may hide their number; then all there is is an id that Meta made for them and us, which at least
/// tells one person from another.
fn from(m: &Value, contact: Option<&Value>) -> Option<String> {
    let contact = contact.unwrap_or(&Value::Null);
    let number = text(&m["from"]).or_else(|| text(&contact["wa_id"])).and_then(phone::e164);
    let id = || [&m["from_user_id"], &contact["user_id"], &m["from"]].into_iter().find_map(text).map(str::to_owned);
    number.or_else(id)
}

fn contact<'a>(value: &'a Value, m: &Value) -> Option<&'a Value> {
    let mut contacts = list(&value["contacts"]);
    let all = contacts.clone();
    contacts
        .find(|c| c["wa_id"].is_string() && c["wa_id"] == m["from"])
        .or_else(|| all.clone().next().filter(|_| all.count() == 1))
}

/// `timestamp` is Unix seconds as a text.
fn moment(told: &Value) -> Option<SystemTime> {
    let seconds = text(&told["timestamp"])?.parse().ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn list(value: &Value) -> std::slice::Iter<'_, Value> {
    value.as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}
