//! What became of a call. Each value is a decision the core acts on, not a description for people.

use std::borrow::Cow;
use std::time::Duration;

/// The provider took the message (2xx status line, SMTP 250 after DATA).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Receipt {
    /// The provider's id of the message, by which later callbacks are matched.
    pub message_id: Option<String>,
    pub http_status: Option<u16>,
    /// Replaces what is remembered about this recipient on this account; comes back as `Message::memory`.
    pub remember: Option<serde_json::Value>,
    /// Something odd worth a line in the log: the answer was cut, or held no id.
    pub note: Option<String>,
}

/// The provider did not take the message, or nobody can say.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct SendError {
    pub failure: Failure,
    /// A stable word for filters and tests, e.g. `redirect_not_followed`, `invalid_token`.
    pub reason: Cow<'static, str>,
    /// One sentence for people; never holds secrets, addresses or content.
    pub detail: String,
    pub http_status: Option<u16>,
    /// How long the provider asked us to stay away; only with [`Failure::Throttled`].
    pub retry_after: Option<Duration>,
    pub hint: Option<Hint>,
    /// As [`Receipt::remember`]: what was learnt before the failure. `Some(Null)` forgets.
    pub remember: Option<serde_json::Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No byte of the message was written: name, connect or TLS failure, or refused by our own checks.
    NotSent,
    /// A permanent refusal: the same message would be refused again.
    Rejected,
    /// Certainly not accepted, but later it may be: 429, 503 with Retry-After, SMTP 4yz.
    Throttled,
    /// A byte was written and no trustworthy answer came: time-out, reset, any other 5xx, broken answer head.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// This address does not exist: never write to it again.
    SuppressAddress,
    /// The account is at fault, not the message: credentials, plan, sender. Nothing will pass until it is cured.
    Misconfigured,
    /// Only this recipient is concerned, by a limit on messages to one person: others may be written to meanwhile.
    OnlyThisRecipient,
}

impl Hint {
    pub const ALL: [Self; 3] = [Self::SuppressAddress, Self::Misconfigured, Self::OnlyThisRecipient];

    /// The word for it, as scripts and the store have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SuppressAddress => "suppress_address",
            Self::Misconfigured => "misconfigured",
            Self::OnlyThisRecipient => "only_this_recipient",
        }
    }

    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hint| hint.as_str() == word)
    }
}

/// The answer of [`crate::Channel::lookup`].
#[derive(Debug, Clone, PartialEq)]
pub enum Lookup {
    /// It was taken.
    Found { message_id: Option<String> },
    /// It certainly was not.
    NotFound,
    /// The provider cannot say.
    Undecided,
}

impl SendError {
    fn new(failure: Failure, reason: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self {
            failure,
            reason: reason.into(),
            detail: detail.into(),
            http_status: None,
            retry_after: None,
            hint: None,
            remember: None,
        }
    }

    pub fn not_sent(reason: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self::new(Failure::NotSent, reason, detail)
    }

    pub fn rejected(reason: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self::new(Failure::Rejected, reason, detail)
    }

    pub fn throttled(after: Option<Duration>, reason: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self { retry_after: after, ..Self::new(Failure::Throttled, reason, detail) }
    }

    pub fn unknown(reason: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self::new(Failure::Unknown, reason, detail)
    }

    #[must_use]
    pub fn status(mut self, http_status: u16) -> Self {
        self.http_status = Some(http_status);
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: Hint) -> Self {
        self.hint = Some(hint);
        self
    }

    #[must_use]
    pub fn remember(mut self, memory: serde_json::Value) -> Self {
        self.remember = Some(memory);
        self
    }
}

/// A provider's sentence as far as a [`SendError::detail`] can show it: words that could be an address, a secret or
/// content are left out, and it stays short.
pub fn quotable(text: &str) -> String {
    let harmless =
        |word: &&str| word.len() <= 24 && !word.contains('@') && word.bytes().filter(u8::is_ascii_digit).count() < 5;
    let mut out: Vec<_> = text.split_whitespace().take(16).map(|w| if harmless(&w) { w } else { "…" }).collect();
    if out.is_empty() {
        out.push("(no reason given)");
    }
    out.join(" ")
}

#[cfg(test)]
mod tests {
    use super::quotable;

    #[test]
    fn what_is_quoted_holds_no_address_and_no_token() {
        let text = "Validation failed: Content +523331234567 of ana@example.com tokenMadeUp00000000000001 is bad";
        assert_eq!(quotable(text), "Validation failed: Content … of … … is bad");
        assert_eq!(quotable(""), "(no reason given)");
    }
}
