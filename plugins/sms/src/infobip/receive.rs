//! Delivery reports and inbound messages: JSON with a list of results, told apart by `status`.

use plugin_api::{Callback, Event, Inbound, Received, Refused, Status};
use serde::Deserialize;
use serde_json::Value;

use super::{errors, hook::Passwords};
use crate::{phone, time};

#[derive(Deserialize)]
struct Body {
    results: Vec<Value>,
}

/// Of a report, and of an inbound message.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    message_id: String,
    status: Option<errors::Status>,
    error: Option<errors::Cause>,
    done_at: Option<String>,
    from: Option<String>,
    text: Option<String>,
    received_at: Option<String>,
}

pub(super) fn receive(passwords: &Passwords, callback: &Callback) -> Result<Received, Refused> {
    if passwords.is_empty() {
        return Err(Refused::Unsupported("Infobip's requests cannot be verified; set webhookPassword".into()));
    }
    passwords.verify(callback)?;
    let malformed = |_| Refused::Malformed("the body is no JSON object with a list of results".into());
    let body: Body = serde_json::from_slice(&callback.body).map_err(malformed)?;
    let given = body.results.len();
    // One result that cannot be read does not take the others with it.
    let items: Vec<Item> = body.results.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect();
    let odd = items.len() < given || items.iter().any(|i| i.status.as_ref().is_some_and(|s| !s.is_known()));
    let unread = odd.then_some("a result that is neither a message nor a report of a known status");
    Ok(Received::events(items.into_iter().filter_map(event).collect()).unread(unread))
}

/// `None` for a state that tells nothing new, and for what no person's number sent.
fn event(item: Item) -> Option<Event> {
    let Some(status) = item.status else {
        return Some(Event::Inbound(Inbound {
            from: phone::e164(&item.from?)?,
            id: item.message_id,
            name: None,
            text: item.text.unwrap_or_default(),
            action: None,
            in_reply_to: None,
            at: item.received_at.as_deref().and_then(time::iso),
        }));
    };
    Some(Event::Status(Status {
        state: status.report(&item.error.unwrap_or_default())?,
        // We chose it ourselves.
        reference: Some(item.message_id.clone()),
        message_id: item.message_id,
        at: item.done_at.as_deref().and_then(time::iso),
    }))
}
