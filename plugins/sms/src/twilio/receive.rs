//! Status callbacks and inbound messages: forms at one address, told apart by `MessageStatus`.

use bytes::Bytes;
use plugin_api::{Answer, Callback, Event, Inbound, OptOut, Received, Refused, State, Status};

use super::{errors, signature::Keys};
use crate::form::{self, field};
use crate::phone;

/// TwiML that replies nothing; a plain text would be sent to the person.
const NO_REPLY: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response/>";

pub(super) fn receive(keys: &Keys, callback: &Callback) -> Result<Received, Refused> {
    if keys.is_empty() {
        let detail = "Twilio signs its requests with the auth token; set authToken beside the API key";
        return Err(Refused::Unsupported(detail.into()));
    }
    keys.verify(callback)?;
    // Of what Twilio sends as JSON nothing concerns a message.
    if form::is_json(callback) {
        return Ok(Received::default().unread(Some("JSON, where Twilio reports in forms")));
    }
    // A number may be set up to call with GET: then the fields are in the query.
    let fields = if callback.body.is_empty() { callback.query.clone() } else { form::pairs(&callback.body) };
    if field(&fields, "MessageStatus").is_some() {
        return status(&fields);
    }
    let sid = field(&fields, "MessageSid").or_else(|| field(&fields, "SmsSid"));
    let Some(sid) = sid else {
        return Err(Refused::Malformed("neither a status nor a message: there is no MessageSid".into()));
    };
    let answer = Answer { content_type: "text/xml".into(), body: Bytes::from_static(NO_REPLY.as_bytes()) };
    Ok(Received { answer, ..Received::events(inbound(&fields, sid)) })
}

/// No event for a state that says no more than the answer to the request did.
fn status(fields: &[(String, String)]) -> Result<Received, Refused> {
    let word = field(fields, "MessageStatus").unwrap_or_default();
    let state = match word {
        "sent" | "partially_delivered" => State::Sent,
        "delivered" => State::Delivered,
        "read" => State::Read,
        "failed" | "undelivered" | "canceled" => errors::failed(word, field(fields, "ErrorCode")),
        "accepted" | "scheduled" | "queued" | "sending" | "receiving" | "received" => return Ok(Received::default()),
        _ => return Ok(Received::default().unread(Some("a MessageStatus that is not known"))),
    };
    let sid = field(fields, "MessageSid").or_else(|| field(fields, "SmsSid"));
    let sid = sid.ok_or_else(|| Refused::Malformed("a status without a MessageSid".into()))?;
    // The only time that comes, RawDlrDoneDate, has no zone.
    let status = Status { message_id: sid.to_owned(), reference: None, state, at: None };
    Ok(Received::events(vec![Event::Status(status)]))
}

/// Nothing for what no person's number sent. What Twilio took for STOP is said beside the text, whatever its words.
fn inbound(fields: &[(String, String)], sid: &str) -> Vec<Event> {
    let Some(from) = field(fields, "From").and_then(phone::e164) else { return vec![] };
    let mut events = Vec::new();
    if field(fields, "OptOutType") == Some("STOP") {
        let reason = "unsubscribed".into();
        events.push(Event::OptOut(OptOut { address: from.clone(), reason, marketing_only: false }));
    }
    events.push(Event::Inbound(Inbound {
        id: sid.to_owned(),
        from,
        name: field(fields, "ProfileName").map(str::to_owned),
        text: field(fields, "Body").unwrap_or_default().to_owned(),
        action: None,
        in_reply_to: None,
        at: None,
    }));
    events
}
