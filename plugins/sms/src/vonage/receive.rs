//! Delivery receipts and inbound messages: parameters in the query, a form or JSON, as the account is set up; told
//! apart by `status`. Signed alike.

use std::time::SystemTime;

use http::Method;
use plugin_api::{Callback, Event, Inbound, Received, Refused, State, Status};
use serde_json::Value;

use super::{errors, signature::Keys};
use crate::form::{self, field};
use crate::{phone, time};

type Parameters = Vec<(String, String)>;

pub(super) fn receive(keys: &Keys, callback: &Callback) -> Result<Received, Refused> {
    if keys.is_empty() {
        let detail =
            "Vonage's receipts and replies cannot be verified; set signatureSecret and switch on signed webhooks";
        return Err(Refused::Unsupported(detail.into()));
    }
    let parameters = parameters(callback)?;
    keys.verify(&parameters, callback.received_at)?;
    let status = field(&parameters, "status");
    let event = match status {
        Some(status) => receipt(&parameters, status)?.map(Event::Status),
        None => inbound(&parameters)?.map(Event::Inbound),
    };
    let unread =
        (event.is_none() && status.is_some_and(|word| word != "unknown")).then_some("a status that is not known");
    Ok(Received::events(event.into_iter().collect()).unread(unread))
}

fn parameters(callback: &Callback) -> Result<Parameters, Refused> {
    if callback.method == Method::GET {
        return Ok(callback.query.clone());
    }
    if !form::is_json(callback) {
        return Ok(form::pairs(&callback.body));
    }
    // The signature is inside, so what cannot be read cannot be verified either.
    let unreadable = || Refused::Unverified("the body is no JSON object, so it holds no signature".into());
    let object: serde_json::Map<String, Value> = serde_json::from_slice(&callback.body).map_err(|_| unreadable())?;
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    Ok(object.into_iter().map(|(name, value)| (name, text(value))).collect())
}

/// `None` for `unknown`: the carrier said nothing that means anything; and for words that are not known.
fn receipt(parameters: &Parameters, status: &str) -> Result<Option<Status>, Refused> {
    let state = match status {
        "accepted" | "buffered" => State::Sent,
        "delivered" => State::Delivered,
        "expired" | "failed" | "rejected" => errors::failed(status, field(parameters, "err-code")),
        _ => return Ok(None),
    };
    let id = field(parameters, "messageId").or_else(|| field(parameters, "message-id"));
    let id = id.ok_or_else(|| Refused::Malformed("a receipt without a messageId".into()))?;
    Ok(Some(Status {
        message_id: id.to_owned(),
        reference: field(parameters, "client-ref").map(str::to_owned),
        state,
        at: at(parameters),
    }))
}

/// `None` for what no person's number sent. A long text comes in parts, each with an id of its own.
fn inbound(parameters: &Parameters) -> Result<Option<Inbound>, Refused> {
    let id = field(parameters, "messageId");
    let id = id.ok_or_else(|| Refused::Malformed("neither a receipt nor a message: there is no messageId".into()))?;
    let from = field(parameters, "msisdn").and_then(phone::e164);
    let message = |from| Inbound {
        id: id.to_owned(),
        from,
        name: None,
        text: field(parameters, "text").unwrap_or_default().to_owned(),
        action: None,
        in_reply_to: None,
        at: at(parameters),
    };
    Ok(from.map(message))
}

fn at(parameters: &Parameters) -> Option<SystemTime> {
    field(parameters, "message-timestamp").and_then(time::utc)
}
