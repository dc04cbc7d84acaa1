//! What Meta's error codes mean, the same in an answer and in a status callback. The code decides: titles change,
//! subcodes are deprecated and the HTTP status is not reliable (Meta, "Error codes", 2026-05-15).
//!
//! [`Hint::Misconfigured`] goes only to what stops every message of the account. A missing form or a test number's
//! unlisted recipient is a matter of settings too, but the other messages pass.

use std::time::Duration;

use plugin_api::http::Answer;
use plugin_api::{Hint, SendError, State, quotable};
use serde::Deserialize;
use serde_json::Value;

use crate::OUTSIDE_WINDOW;

/// As Meta writes it, in an answer's `error` and in a callback's `errors`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct MetaError {
    pub(crate) code: i64,
    #[serde(default)]
    error_subcode: Option<i64>,
    #[serde(default)]
    error_data: Option<ErrorData>,
}

#[derive(Debug, Deserialize)]
struct ErrorData {
    details: Option<String>,
}

struct Meaning {
    reason: &'static str,
    detail: &'static str,
    class: Class,
    /// Meta's own words say which part is at fault.
    quote: bool,
}

#[derive(Clone, Copy)]
enum Class {
    /// Nothing passes until somebody cures it.
    Account,
    /// This message would be refused again.
    Refused,
    /// Certainly not taken, later it may be.
    Later(Pause),
    /// Something broke on Meta's side, and nobody knows before or after what.
    Unclear,
}

#[derive(Clone, Copy)]
enum Pause {
    /// The application's or the business account's calls; a header says when they are free again.
    Calls,
    /// The number's throughput, a matter of seconds.
    Throughput,
    /// One person's share.
    Pair,
    /// Meta will not show this person more of it today.
    Person,
}

/// `Ok` for an acceptance.
pub(crate) fn judge(answer: &Answer, attempt: u32) -> Result<(), SendError> {
    let Some(error) = told(answer) else { return answer.outcome() };
    Err(match meaning(&error) {
        Some(meaning) => meaning.failure(&error, answer, attempt),
        None => unheard_of(&error, answer),
    }
    .status(answer.status))
}

/// What a failed status says.
pub(crate) fn failed(error: Option<&MetaError>) -> State {
    let Some(error) = error else {
        let detail = "Meta could not deliver it and gave no reason".to_owned();
        return State::Failed { reason: "undeliverable".into(), detail, hint: None };
    };
    match meaning(error) {
        Some(m) => {
            let hint = match m.class {
                Class::Account => Some(Hint::Misconfigured),
                Class::Later(Pause::Pair | Pause::Person) => Some(Hint::OnlyThisRecipient),
                _ => None,
            };
            State::Failed { reason: m.reason.into(), detail: m.sentence(error), hint }
        }
        None => State::Failed { reason: "refused".into(), detail: error.unlisted(), hint: None },
    }
}

fn told(answer: &Answer) -> Option<MetaError> {
    #[derive(Deserialize)]
    struct Told {
        error: MetaError,
    }
    if (300..400).contains(&answer.status) {
        return None;
    }
    answer.json::<Told>().map(|told| told.error)
}

impl MetaError {
    fn unlisted(&self) -> String {
        format!("Meta refused it with error {}: {}", self.code, quotable(self.details()))
    }

    fn details(&self) -> &str {
        self.error_data.as_ref().and_then(|data| data.details.as_deref()).unwrap_or_default()
    }
}

impl Meaning {
    fn sentence(&self, error: &MetaError) -> String {
        let (code, detail) = (error.code, self.detail);
        if self.quote && !error.details().is_empty() {
            return format!("{detail} (error {code}: {})", quotable(error.details()));
        }
        format!("{detail} (error {code})")
    }

    fn failure(&self, error: &MetaError, answer: &Answer, attempt: u32) -> SendError {
        let sentence = self.sentence(error);
        match self.class {
            Class::Account => SendError::rejected(self.reason, sentence).hint(Hint::Misconfigured),
            Class::Refused => SendError::rejected(self.reason, sentence),
            Class::Unclear => match answer.outcome() {
                Err(e) if answer.status >= 500 => SendError { detail: sentence, ..e },
                _ => SendError::unknown(self.reason, sentence),
            },
            Class::Later(pause) => {
                let after = pause.length(answer, attempt).max(answer.retry_after().unwrap_or_default());
                let throttled = SendError::throttled(Some(after), self.reason, sentence);
                match pause {
                    Pause::Pair | Pause::Person => throttled.hint(Hint::OnlyThisRecipient),
                    Pause::Calls | Pause::Throughput => throttled,
                }
            }
        }
    }
}

impl Pause {
    fn length(self, answer: &Answer, attempt: u32) -> Duration {
        match self {
            Self::Calls => regained(answer).unwrap_or(Duration::from_secs(60)),
            Self::Throughput => Duration::from_secs(2),
            // A message every 6 seconds; a burst of 45 takes 270 to be made up for.
            Self::Pair => Duration::from_secs((6 << (2 * attempt.saturating_sub(1).min(3))).min(270)),
            Self::Person => Duration::from_secs(24 * 3600),
        }
    }
}

/// The longest wait that the usage headers speak of, at most a day.
fn regained(answer: &Answer) -> Option<Duration> {
    let headers = ["x-business-use-case-usage", "x-app-usage"];
    let told = headers.iter().filter_map(|name| answer.headers.get(*name)?.to_str().ok());
    let minutes = told.filter_map(|text| serde_json::from_str(text).ok()).filter_map(|usage| longest(&usage)).max()?;
    (minutes > 0).then(|| Duration::from_secs(minutes.min(24 * 60) * 60))
}

fn longest(usage: &Value) -> Option<u64> {
    match usage {
        Value::Object(map) => {
            let own = map.get("estimated_time_to_regain_access").and_then(Value::as_u64);
            own.into_iter().chain(map.values().filter_map(longest)).max()
        }
        Value::Array(items) => items.iter().filter_map(longest).max(),
        _ => None,
    }
}

/// A code that is not in the table: the status decides, but a 2xx with an error in it is no acceptance.
fn unheard_of(error: &MetaError, answer: &Answer) -> SendError {
    match answer.outcome() {
        Err(e) => SendError { detail: error.unlisted(), ..e },
        Ok(()) => SendError::unknown("provider_error", error.unlisted()),
    }
}

fn meaning(error: &MetaError) -> Option<Meaning> {
    use Class::{Account, Later, Refused, Unclear};
    let (reason, detail, class) = match (error.code, error.error_subcode) {
        (190, Some(463)) => ("invalid_token", "the access token has expired; make a new system user token", Account),
        (0 | 190, _) => {
            ("invalid_token", "Meta does not accept the access token; make a new system user token", Account)
        }
        (104, _) => ("invalid_token", "Meta received no access token; set accessToken", Account),
        (3 | 10 | 200..=299, _) => (
            "not_permitted",
            "the access token lacks a permission; give it whatsapp_business_messaging for this business account",
            Account,
        ),
        (33, _) | (100, Some(33)) => (
            "unknown_sender",
            "Meta knows no number with this phoneNumberId, or the token may not use it; compare both",
            Account,
        ),
        (100, _) => ("invalid_parameter", "Meta does not accept a part of the request", Refused),
        (1 | 2 | 131_000 | 131_016, _) => ("provider_error", "Meta's service failed", Unclear),
        (4, _) => ("app_rate_limited", "the Meta app has made too many calls", Later(Pause::Calls)),
        (80_007, _) => ("account_rate_limited", "the business account has reached its limit", Later(Pause::Calls)),
        (130_429, _) => ("rate_limited", "the number has reached its throughput", Later(Pause::Throughput)),
        (131_056, _) => ("pair_rate_limited", "too many messages to this person in a short time", Later(Pause::Pair)),
        (131_049, _) => (
            "marketing_limited",
            "Meta chose not to deliver another marketing message to this person for now",
            Later(Pause::Person),
        ),
        (131_048, _) => (
            "spam_restricted",
            "too many people blocked or reported the number; look at its quality in WhatsApp Manager",
            Account,
        ),
        (130_472, _) => {
            ("experiment", "the person is in an experiment of Meta's and gets no marketing messages", Refused)
        }
        (131_008, _) => ("missing_parameter", "a part that Meta requires is missing", Refused),
        (131_009, _) => ("invalid_value", "Meta does not accept a value", Refused),
        (131_021, _) => ("same_number", "sender and recipient are the same number", Refused),
        (131_026, _) => (
            "undeliverable",
            "the number has no WhatsApp, or an old one, has not accepted its terms, or blocks the sender",
            Refused,
        ),
        (131_030, _) => (
            "recipient_not_allowed",
            "a test number writes only to listed recipients; add this one in the app dashboard, or use a real number",
            Refused,
        ),
        (131_031 | 368, _) => {
            ("account_locked", "Meta has locked or restricted the business account; see Business Support Home", Account)
        }
        (131_042, _) => (
            "payment_problem",
            "the business account's payment method does not work; set it in WhatsApp Manager",
            Account,
        ),
        (131_047, _) => (
            OUTSIDE_WINDOW,
            "the person has not written in the last 24 hours, and WhatsApp then takes approved forms only",
            Refused,
        ),
        (131_050, _) => ("opted_out", "the person wants no marketing messages from this number", Refused),
        (131_051, _) => ("unsupported_type", "Meta does not support this type of message", Refused),
        (131_052 | 131_053, _) => ("media_failed", "Meta could not fetch the header's file; check its link", Refused),
        (132_000, _) => ("form_values", "the number of values differs from the approved form's", Refused),
        (132_001, _) => ("unknown_form", "there is no approved form of this name in this language", Refused),
        (132_005, _) => ("form_too_long", "the approved form is too long with these values in it", Refused),
        (132_007, _) => ("form_policy", "the approved form with these values breaks a policy of WhatsApp's", Refused),
        (132_012, _) => ("form_values", "a value is not of the kind that the approved form has there", Refused),
        (132_015, _) => ("form_paused", "Meta has paused the approved form for its low quality; edit it", Refused),
        (132_016, _) => ("form_disabled", "Meta has disabled the approved form; make another", Refused),
        (133_010, _) => {
            ("number_not_registered", "the number is not registered with the Cloud API; register it", Account)
        }
        _ => return None,
    };
    let quote = matches!(error.code, 100 | 131_008 | 131_009 | 132_000 | 132_001 | 132_012);
    Some(Meaning { reason, detail, class, quote })
}
