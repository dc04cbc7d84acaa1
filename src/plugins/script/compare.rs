//! What a case expects beside what came of it, and every difference by its path.

use std::time::UNIX_EPOCH;

use plugin_api::{Event, Failure, Hint, Receipt, Received, SendError, State};
use serde_json::{Map, Value, json};

use super::account::Asked;

/// A map into a map, field by field.
pub(super) fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

pub(super) fn differ_request(mut expected: Value, asked: Asked, what: &str, faults: &mut Vec<String>) {
    match asked {
        Asked::Request(request) => {
            if let Value::Object(fields) = &mut expected {
                fields.entry("method").or_insert_with(|| "POST".into());
                if let Some(Value::Object(headers)) = fields.get_mut("headers") {
                    *headers = std::mem::take(headers).into_iter().map(|(n, v)| (n.to_lowercase(), v)).collect();
                }
            }
            differ(&expected, &request.to_value(), what, faults);
        }
        Asked::Refused(e) => differ_loosely(&expected, &outcome(Err(e)), what, faults),
    }
}

pub(super) fn outcome(judged: Result<Receipt, SendError>) -> Value {
    let mut said = Map::new();
    match judged {
        Ok(receipt) => {
            said.insert("accepted".into(), receipt.message_id.map_or(true.into(), Value::from));
            said.extend(receipt.note.map(|note| ("note".to_owned(), note.into())));
            said.extend(receipt.remember.map(|memory| ("remember".to_owned(), memory)));
        }
        Err(e) => {
            let verdict = match e.failure {
                Failure::Rejected => "rejected",
                Failure::Throttled => "throttled",
                Failure::Unknown => "unknown",
                Failure::NotSent => "not_sent",
            };
            said.insert(verdict.into(), e.reason.into());
            said.insert("detail".into(), e.detail.into());
            said.extend(e.hint.map(|hint| ("hint".to_owned(), hint.as_str().into())));
            said.extend(e.retry_after.map(|after| ("after".to_owned(), after.as_secs().into())));
            said.extend(e.remember.map(|memory| ("remember".to_owned(), memory)));
        }
    }
    said.into()
}

pub(super) fn events(received: Received) -> Value {
    received.events.into_iter().map(event).collect()
}

fn event(event: Event) -> Value {
    let seconds =
        |at: Option<std::time::SystemTime>| at.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map(|at| at.as_secs());
    let mut shown = match event {
        Event::Status(status) => {
            let (state, beside) = match status.state {
                State::Sent => ("sent", json!({})),
                State::Delivered => ("delivered", json!({})),
                State::Read => ("read", json!({})),
                State::Failed { reason, detail, hint } => {
                    ("failed", json!({"reason": reason, "detail": detail, "hint": hint.map(Hint::as_str)}))
                }
            };
            let mut shown = json!({state: status.message_id, "reference": status.reference, "at": seconds(status.at)});
            merge(&mut shown, beside);
            shown
        }
        Event::Inbound(i) => json!({"inbound": i.id, "from": i.from, "name": i.name, "text": i.text,
            "action": i.action, "inReplyTo": i.in_reply_to, "at": seconds(i.at)}),
        Event::OptOut(o) => json!({"optOut": o.address, "reason": o.reason, "marketingOnly": o.marketing_only}),
    };
    if let Value::Object(fields) = &mut shown {
        fields.retain(|_, value| !value.is_null());
    }
    shown
}

pub(super) fn differ_events(expected: &Value, got: &Value, faults: &mut Vec<String>) {
    let (Value::Array(expected), Value::Array(got)) = (expected, got) else {
        faults.push("events: must be a list".to_owned());
        return;
    };
    if expected.len() != got.len() {
        faults.push(format!("events: expected {}, got {}: {}", expected.len(), got.len(), Value::from(got.clone())));
        return;
    }
    for (n, (expected, got)) in expected.iter().zip(got).enumerate() {
        differ_loosely(expected, got, &format!("events[{n}]"), faults);
    }
}

/// Words for people are compared only where they are given.
pub(super) fn differ_loosely(expected: &Value, got: &Value, path: &str, faults: &mut Vec<String>) {
    let mut got = got.clone();
    if let (Value::Object(expected), Value::Object(got)) = (expected, &mut got) {
        for words in ["detail", "note"] {
            if !expected.contains_key(words) {
                got.remove(words);
            }
        }
    }
    differ(expected, &got, path, faults);
}

/// Every place where two values differ, by its path.
pub(super) fn differ(expected: &Value, got: &Value, path: &str, faults: &mut Vec<String>) {
    match (expected, got) {
        (Value::Object(expected), Value::Object(got)) => {
            for (name, expected) in expected {
                match got.get(name) {
                    Some(got) => differ(expected, got, &format!("{path}.{name}"), faults),
                    None => faults.push(format!("{path}.{name}: expected {expected}, got nothing")),
                }
            }
            let odd = got.iter().filter(|(name, _)| !expected.contains_key(*name));
            faults.extend(odd.map(|(name, got)| format!("{path}.{name}: not expected, got {got}")));
        }
        (Value::Array(expected), Value::Array(got)) if expected.len() == got.len() => {
            for (n, (expected, got)) in expected.iter().zip(got).enumerate() {
                differ(expected, got, &format!("{path}[{n}]"), faults);
            }
        }
        _ if expected == got || same_number(expected, got) => {}
        _ => faults.push(format!("{path}: expected {expected}, got {got}")),
    }
}

/// `1` and `1.0` are one number in JSON.
fn same_number(a: &Value, b: &Value) -> bool {
    a.is_number() && a.as_f64() == b.as_f64()
}
