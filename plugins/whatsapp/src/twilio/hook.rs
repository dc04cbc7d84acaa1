//! What Twilio sends to the account's hook: statuses, and what people write.

use std::borrow::Cow;

use http::Method;
use plugin_api::{Answer, Callback, Event, Inbound, OptOut, Received, Refused, State, Status};
use url::form_urlencoded;

use super::account::{Account, Sender};
use super::{REFERENCE, address, errors, signature};
use crate::phone;

struct Form(Vec<(String, String)>);

impl Form {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    fn own(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }
}

pub(crate) fn receive(account: &Account, callback: &Callback) -> Result<Received, Refused> {
    let form: Vec<_> = form_urlencoded::parse(&callback.body).into_owned().collect();
    let signature = callback.header("x-twilio-signature").ok_or_else(|| {
        Refused::Unverified("X-Twilio-Signature is missing: this did not come from Twilio".to_owned())
    })?;
    if !signature::verifies(&account.tokens, &callback.url, &form, signature) {
        let sentence = "X-Twilio-Signature does not fit; compare authToken with Twilio's console, and the server's \
                        public address with the URL set there";
        return Err(Refused::Unverified(sentence.to_owned()));
    }
    // A GET carries the parameters in its address.
    let form = Form(if callback.method == Method::GET { callback.query.clone() } else { form });
    if form.get("MessageSid").is_none() {
        return Err(Refused::Malformed("the callback names no MessageSid".to_owned()));
    }
    let received = if form.get("AccountSid") != Some(&account.sid) {
        Received::default()
    } else if let Some(word) = form.get("MessageStatus") {
        let unread = (!is_known(word)).then_some("a MessageStatus that is not known");
        Received::events(status(&form, callback).map(Event::Status).into_iter().collect()).unread(unread)
    } else {
        Received::events(inbound(account, &form))
    };
    // Read as "no reply"; a plain text would be sent to the person.
    let answer = Answer { content_type: Cow::Borrowed("text/xml"), body: "<Response/>".into() };
    Ok(Received { answer, ..received })
}

/// Whether a status says something, if only that the message is on its way.
fn is_known(status: &str) -> bool {
    const ON_ITS_WAY: [&str; 6] = ["accepted", "scheduled", "queued", "sending", "receiving", "received"];
    const SAYS_MORE: [&str; 6] = ["sent", "delivered", "read", "failed", "undelivered", "canceled"];
    ON_ITS_WAY.contains(&status) || SAYS_MORE.contains(&status)
}

fn status(form: &Form, callback: &Callback) -> Option<Status> {
    let state = match form.get("MessageStatus")? {
        "sent" => State::Sent,
        "delivered" => State::Delivered,
        "read" => State::Read,
        "failed" | "undelivered" => errors::failed(form.get("ErrorCode").and_then(|code| code.parse().ok())),
        "canceled" => State::Failed {
            reason: "cancelled".into(),
            detail: "the message was cancelled at Twilio".to_owned(),
            hint: None,
        },
        // On its way.
        _ => return None,
    };
    let reference = callback.query(REFERENCE).map(str::to_owned);
    Some(Status { message_id: form.own("MessageSid")?, reference, state, at: None })
}

fn inbound(account: &Account, form: &Form) -> Vec<Event> {
    let from = form.get("From").filter(|from| from.starts_with("whatsapp:"));
    let to_us = match &account.sender {
        Sender::Number(number) => form.get("To") == Some(&address(number)),
        Sender::Service(service) => form.get("MessagingServiceSid").is_none_or(|sid| sid == service),
    };
    let (Some(from), true) = (from, to_us) else { return vec![] };
    // People may hide their number; what stands there instead at least tells one from another.
    let number = phone::e164(from).or_else(|| form.get("WaId").and_then(phone::e164));
    let inbound = Inbound {
        id: form.own("MessageSid").unwrap_or_default(),
        from: number.clone().unwrap_or_else(|| from.trim_start_matches("whatsapp:").to_owned()),
        name: form.own("ProfileName"),
        text: form.own("ButtonText").or_else(|| form.own("ListTitle")).or_else(|| form.own("Body")).unwrap_or_default(),
        action: form.own("ButtonPayload").or_else(|| form.own("ListId")),
        in_reply_to: form.own("OriginalRepliedMessageSid"),
        at: None,
    };
    // Twilio itself takes the word for it and refuses this sender's messages from now on (21610).
    let stopped = number.filter(|_| form.get("OptOutType").is_some_and(|kind| kind.eq_ignore_ascii_case("stop")));
    let opt_out =
        stopped.map(|address| OptOut { address, reason: Cow::Borrowed("unsubscribed"), marketing_only: false });
    [Event::Inbound(inbound)].into_iter().chain(opt_out.map(Event::OptOut)).collect()
}
