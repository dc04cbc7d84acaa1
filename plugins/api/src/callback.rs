//! What a provider tells us by itself: delivery reports, replies, opt-outs.

use std::borrow::Cow;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::outcome::Hint;

/// A request that a provider made to an account's hook, exactly as it came.
#[derive(Debug, Clone)]
pub struct Callback {
    pub method: Method,
    /// The address as the provider knows it, query included: some sign it.
    pub url: String,
    /// The query's pairs, decoded, in their order.
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    /// Raw: signatures are made over these bytes.
    pub body: Bytes,
    /// The moment it came, to judge a signed time by.
    pub received_at: SystemTime,
}

impl Callback {
    /// The first value of a query parameter.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// A header's value, when it is readable text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }
}

/// What a callback meant. The core stores every event before the answer is sent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Received {
    /// In the order they came; none for what a plugin knows but has no use for.
    pub events: Vec<Event>,
    pub answer: Answer,
    /// What in it was not understood, as one sentence without what it held: the callback is set aside for people to read.
    pub unread: Option<Cow<'static, str>>,
}

impl Received {
    /// These events, and the plainest answer.
    pub fn events(events: Vec<Event>) -> Self {
        Self { events, ..Self::default() }
    }

    /// With something in it that was not understood.
    #[must_use]
    pub fn unread(self, what: Option<impl Into<Cow<'static, str>>>) -> Self {
        Self { unread: what.map(Into::into), ..self }
    }
}

/// The body of our 200, where the provider wants to read something: the challenge of a verification, or TwiML.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// A media type; empty with an empty body.
    pub content_type: Cow<'static, str>,
    pub body: Bytes,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Status(Status),
    Inbound(Inbound),
    /// A person does not want to be written to any more, or an address turned out to be dead, without a message of
    /// ours being named: a spam complaint, a one-click unsubscription.
    OptOut(OptOut),
}

/// What became of a message of ours.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// As in [`crate::Receipt::message_id`].
    pub message_id: String,
    /// `Message::id`, where the provider echoes it: found even if the receipt was lost.
    pub reference: Option<String>,
    pub state: State,
    /// When it happened, by the provider's clock.
    pub at: Option<SystemTime>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Handed on: to the carrier, to the next mail server.
    Sent,
    Delivered,
    Read,
    /// It will not arrive; the next channel of the chain may be tried.
    Failed {
        /// A stable word, as in [`crate::SendError::reason`].
        reason: Cow<'static, str>,
        /// One sentence for people; never holds addresses or content.
        detail: String,
        hint: Option<Hint>,
    },
}

/// A message that a person sent to us.
#[derive(Debug, Clone, PartialEq)]
pub struct Inbound {
    /// The provider's id: the same for a repeated callback, so it takes effect once.
    pub id: String,
    /// Who wrote: a phone in E.164 with the plus, or an e-mail address.
    pub from: String,
    /// Their name, where the provider tells.
    pub name: Option<String>,
    /// What they wrote, or the title of the button they chose; empty for a picture and the like.
    pub text: String,
    /// The chosen button's [`crate::Action::value`].
    pub action: Option<String>,
    /// Our message that they answered, as in [`crate::Receipt::message_id`].
    pub in_reply_to: Option<String>,
    pub at: Option<SystemTime>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct OptOut {
    /// A phone in E.164 with the plus, or an e-mail address.
    pub address: String,
    /// A stable word: `complaint`, `unsubscribed`, `hard_bounce`.
    pub reason: Cow<'static, str>,
    /// Only marketing is meant; else nothing at all may be sent there again.
    pub marketing_only: bool,
}

/// Why a callback has no effect.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refused {
    /// The account's provider has nothing to tell, or its callbacks are not set up. Answered 404.
    #[error("{0}")]
    Unsupported(String),
    /// The signature is missing or wrong. Answered 401, a request for verification (GET) 403; the sentence names what to
    /// set up.
    #[error("{0}")]
    Unverified(String),
    /// The signature is right, the time it was made at more than five minutes off. Answered 401.
    #[error("{0}")]
    Stale(String),
    /// Verified, yet unreadable. Answered 200, counted and set aside for people to read: anything else would come back for
    /// a week.
    #[error("{0}")]
    Malformed(String),
}
