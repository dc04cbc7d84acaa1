//! What Infobip's refusals mean, in the status of a message and in the two shapes of an error. Its sentences are not
//! quoted; the names of its codes and of the fields at fault are.

use plugin_api::http::Answer;
use plugin_api::{Failure, Hint, SendError, State};
use serde::Deserialize;
use serde_json::Value;

/// Page "Message status codes".
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    #[serde(default = "unknown")]
    group_id: u32,
    #[serde(default)]
    pub(super) id: u32,
    #[serde(default)]
    name: String,
}

/// Why a message failed, in a report.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Cause {
    #[serde(default)]
    id: u32,
    #[serde(default)]
    name: String,
    #[serde(default)]
    permanent: bool,
}

/// Version 3 in its own fields, older endpoints below `requestError`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Body {
    error_code: Option<String>,
    violations: Vec<Violation>,
    request_error: Option<RequestError>,
}

#[derive(Deserialize)]
struct Violation {
    property: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestError {
    service_exception: ServiceException,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceException {
    message_id: Option<String>,
    #[serde(default)]
    validation_errors: Value,
}

/// A group of which the documentation does not know.
fn unknown() -> u32 {
    u32::MAX
}

/// `Ok` for a 2xx that is no error in disguise, else the decision.
pub(super) fn judge(answer: &Answer) -> Result<(), SendError> {
    let body: Body = answer.json().unwrap_or_default();
    let code = body.code();
    let error = match (answer.outcome(), code.as_deref()) {
        (Ok(()), None) => return Ok(()),
        (Err(usual), _) if usual.failure != Failure::Rejected || (300..=399).contains(&answer.status) => usual,
        (Err(_), _) if matches!(answer.status, 401 | 403) => unauthorized(),
        (_, Some("E401" | "E403" | "UNAUTHORIZED" | "FORBIDDEN")) => unauthorized(),
        (Ok(()), Some("E429" | "TOO_MANY_REQUESTS")) => {
            SendError::throttled(answer.retry_after(), "rate_limited", "too many calls")
        }
        _ => at_fault(&body.properties()),
    };
    let detail = named([code.as_deref().unwrap_or_default(), ""], &error.detail);
    Err(SendError { detail, ..error }.status(answer.status))
}

/// Whether an error is in one of Infobip's shapes.
pub(super) fn is_infobips(answer: &Answer) -> bool {
    answer.json::<Body>().is_some_and(|body| body.code().is_some())
}

fn unauthorized() -> SendError {
    let detail = "the API key is wrong, or may not send SMS; correct apiKey and baseUrl, which belong together";
    SendError::rejected("unauthorized", detail).hint(Hint::Misconfigured)
}

/// A refused request, by the field that was found wrong.
fn at_fault(properties: &[String]) -> SendError {
    let named = |words: &[&str]| properties.iter().any(|p| words.iter().any(|word| p.ends_with(word)));
    if named(&["to", "destinations"]) {
        SendError::rejected("invalid_phone", "Infobip does not take the phone number")
    } else if named(&["sender", "from"]) {
        SendError::rejected("sender_not_allowed", "Infobip does not take the sender; correct from")
            .hint(Hint::Misconfigured)
    } else if named(&["text", "content"]) {
        SendError::rejected("invalid_text", "Infobip does not take the text")
    } else if properties.is_empty() {
        SendError::rejected("refused", "Infobip refused the request")
    } else {
        SendError::rejected("invalid_request", format!("Infobip does not take {}", properties.join(", ")))
    }
}

impl Body {
    fn code(&self) -> Option<String> {
        let older = self.request_error.as_ref().and_then(|e| e.service_exception.message_id.as_ref());
        self.error_code.as_ref().or(older).filter(|code| is_name(code)).cloned()
    }

    fn properties(&self) -> Vec<String> {
        let older = self.request_error.as_ref().and_then(|e| e.service_exception.validation_errors.as_object());
        let older = older.into_iter().flat_map(|fields| fields.keys());
        self.violations.iter().map(|v| &v.property).chain(older).filter(|path| is_name(path)).take(4).cloned().collect()
    }
}

impl Status {
    /// Of a group that the documentation has.
    pub(super) fn is_known(&self) -> bool {
        self.group_id <= 5
    }

    /// The message was not taken.
    pub(super) fn is_rejected(&self) -> bool {
        self.group_id == 5
    }

    /// Of a message just handed over.
    pub(super) fn judge(&self, http_status: u16) -> Result<(), SendError> {
        let error = match self.group_id {
            2 | 4 | 5 => match self.refusal() {
                (_, _, None) if self.id == 21 => {
                    SendError::throttled(None, "provider_error", "an internal error at Infobip")
                }
                // An earlier attempt of ours was taken, or only seen: the logs know.
                (_, _, None) if self.id == 23 => {
                    SendError::unknown("duplicate_message_id", "an earlier attempt had the same id")
                }
                (reason, said, None) => SendError::rejected(reason, said),
                (reason, said, Some(hint)) => SendError::rejected(reason, said).hint(hint),
            },
            // Pending, delivered, and what is still to be invented.
            _ => return Ok(()),
        };
        let detail = named([&self.name, ""], &error.detail);
        Err(SendError { detail, ..error }.status(http_status))
    }

    /// Of a message taken before; `None` for a state that tells nothing new.
    pub(super) fn report(&self, cause: &Cause) -> Option<State> {
        match (self.group_id, self.id) {
            // With the operator: not with the person yet.
            (3, 2) | (1, 3 | 7) => Some(State::Sent),
            (3, _) => Some(State::Delivered),
            // Nobody ever reported: it may have arrived.
            (4, 29) => None,
            (2 | 4 | 5, _) => Some(self.failed(cause)),
            _ => None,
        }
    }

    fn failed(&self, cause: &Cause) -> State {
        let (reason, said, hint) = match (self.group_id, cause.id) {
            // EC_UNKNOWN_SUBSCRIBER.
            (_, 1) if cause.permanent => ("invalid_phone", "nobody has this phone number", Some(Hint::SuppressAddress)),
            (5, _) => self.refusal(),
            (4, _) => ("expired", "it was not delivered in time", None),
            (_, _) if cause.permanent => ("undeliverable", "it can never be delivered", None),
            (_, _) => ("unreachable", "it could not be delivered now", None),
        };
        State::Failed { reason: reason.into(), detail: named([&self.name, &cause.name], said), hint }
    }

    /// By the id of the status.
    fn refusal(&self) -> (&'static str, &'static str, Option<Hint>) {
        match self.id {
            12 => ("no_credit", "the Infobip account has no credit left; top it up", Some(Hint::Misconfigured)),
            17 => ("no_credit", "the prepaid package has expired; top it up", Some(Hint::Misconfigured)),
            11 | 13 => ("sender_not_allowed", "the sender is not allowed; correct from", Some(Hint::Misconfigured)),
            18 => ("trial_account", "the account reaches its registered numbers only; ask Infobip", None),
            6 | 8 | 16 => ("unroutable", "the number's network is not known or not covered", None),
            19 => ("unroutable", "the account has no route there; ask Infobip", None),
            10 => ("opted_out", "the number is on a do-not-disturb list", None),
            14 => ("blocked", "the number is on a block list", None),
            20 => ("flooding", "too many messages to this number in an hour", None),
            25 => ("too_long", "the text is longer than Infobip takes", None),
            51 | 52 => ("invalid_phone", "nobody has this phone number", Some(Hint::SuppressAddress)),
            _ => ("refused", "it was refused", None),
        }
    }
}

/// A sentence with the names of codes before it, as far as they are such names.
fn named(names: [&str; 2], said: &str) -> String {
    let names: Vec<_> = names.into_iter().filter(|text| is_name(text)).collect();
    if names.is_empty() { format!("Infobip: {said}") } else { format!("Infobip {}: {said}", names.join(", ")) }
}

/// The name of a code or a field, and nothing else that might be in its place: numbers have more digits.
fn is_name(text: &str) -> bool {
    let plausible = text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.len() <= 64;
    let few_digits = text.bytes().filter(u8::is_ascii_digit).count() < 5;
    plausible && few_digits && text.chars().all(|c| c.is_ascii_alphanumeric() || "[]._".contains(c))
}
