//! What a script reads in a provider's callback.

use std::time::{Duration, UNIX_EPOCH};

use plugin_api::{Answer, Event, Inbound, OptOut, Received, Refused, State, Status};
use serde_json::{Map, Value};

use super::outcome::{hint, names, only, optional_text, reason, text_of};

const STATES: [&str; 4] = ["sent", "delivered", "read", "failed"];
const KINDS: [&str; 6] = ["sent", "delivered", "read", "failed", "inbound", "optOut"];

/// Events of one callback; more are a mistake, or an attack.
const MOST: usize = 1000;

/// Reads what `receive` returned. The outer error says what is wrong with it.
pub(super) fn read(value: Value) -> Result<Result<Received, Refused>, String> {
    let mut fields = match value {
        Value::Array(events) => return many(events).map(|events| Ok(Received::events(events))),
        Value::Null => return Ok(Ok(Received::default())),
        Value::Object(fields) => fields,
        _ => return Err("must return a list of events".to_owned()),
    };
    for (name, refused) in [
        ("unverified", Refused::Unverified as fn(String) -> Refused),
        ("stale", Refused::Stale),
        ("malformed", Refused::Malformed),
    ] {
        if let Some(why) = optional_text(&mut fields, name)? {
            return only(names(&fields), &[]).map(|()| Err(refused(why)));
        }
    }
    only(names(&fields), &["events", "answer", "contentType", "unread", "unverified", "stale", "malformed"])?;
    let events = match fields.remove("events") {
        None | Some(Value::Null) => vec![],
        Some(Value::Array(events)) => many(events)?,
        Some(_) => return Err("events: must be a list".to_owned()),
    };
    let body = match fields.remove("answer") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text,
        Some(_) => return Err("answer: must be a text".to_owned()),
    };
    let content_type = match optional_text(&mut fields, "contentType")? {
        Some(kind) if http::HeaderValue::from_str(&kind).is_err() => return Err("contentType: is none".to_owned()),
        Some(kind) => kind.into(),
        None if body.is_empty() => "".into(),
        None => "text/plain; charset=utf-8".into(),
    };
    let unread = optional_text(&mut fields, "unread")?;
    Ok(Ok(Received { events, answer: Answer { content_type, body: body.into() }, unread: unread.map(Into::into) }))
}

fn many(events: Vec<Value>) -> Result<Vec<Event>, String> {
    if events.len() > MOST {
        return Err(format!("more than {MOST} events"));
    }
    events.into_iter().enumerate().map(|(n, event)| one(event).map_err(|e| format!("event {n}: {e}"))).collect()
}

fn one(event: Value) -> Result<Event, String> {
    let Value::Object(mut fields) = event else { return Err("must be a map, such as #{delivered: id}".to_owned()) };
    let given: Vec<_> = KINDS.into_iter().filter(|kind| fields.contains_key(*kind)).collect();
    let [kind] = given[..] else { return Err(format!("must have one of {}", KINDS.join(", "))) };
    let subject = fields.remove(kind).as_ref().and_then(text_of).filter(|id| !id.is_empty());
    let subject = subject.ok_or_else(|| format!("{kind}: must be a text"))?;
    let at = match fields.remove("at") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let seconds = value.as_f64().filter(|s| (0.0..=1e11).contains(s));
            Some(UNIX_EPOCH + Duration::from_secs_f64(seconds.ok_or("at: must be Unix seconds")?))
        }
    };
    if STATES.contains(&kind) {
        let state = match kind {
            "sent" => State::Sent,
            "delivered" => State::Delivered,
            "read" => State::Read,
            _ => failed(&mut fields)?,
        };
        let reference = optional_text(&mut fields, "reference")?;
        only(names(&fields), &["reference", "at", "reason", "detail", "hint"][..if kind == "failed" { 5 } else { 2 }])?;
        return Ok(Event::Status(Status { message_id: subject, reference, state, at }));
    }
    if kind == "optOut" {
        let reason = reason("reason", &fields.remove("reason").unwrap_or_else(|| "unsubscribed".into()))?;
        let marketing_only = fields.remove("marketingOnly").and_then(|v| v.as_bool()).unwrap_or(false);
        only(names(&fields), &["reason", "marketingOnly"])?;
        return Ok(Event::OptOut(OptOut { address: subject, reason: reason.into(), marketing_only }));
    }
    let inbound = Inbound {
        id: subject,
        from: text(&mut fields, "from")?.ok_or("from: is missing: a phone with its plus, or an e-mail address")?,
        name: text(&mut fields, "name")?,
        text: text(&mut fields, "text")?.unwrap_or_default(),
        action: text(&mut fields, "action")?,
        in_reply_to: text(&mut fields, "inReplyTo")?,
        at,
    };
    only(names(&fields), &["from", "name", "text", "action", "inReplyTo", "at"])?;
    Ok(Event::Inbound(inbound))
}

fn failed(fields: &mut Map<String, Value>) -> Result<State, String> {
    Ok(State::Failed {
        reason: reason("reason", &fields.remove("reason").unwrap_or_default())?.into(),
        detail: optional_text(fields, "detail")?.unwrap_or_else(|| "the provider gave no reason".to_owned()),
        hint: hint(fields)?,
    })
}

/// As it was written, line breaks and all.
fn text(fields: &mut Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => text_of(&value).map(Some).ok_or_else(|| format!("{name}: must be a text")),
    }
}
