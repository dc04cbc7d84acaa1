//! What Twilio's error codes mean on WhatsApp, the same in an answer and in a status callback. Codes that are not in
//! the table go by the HTTP status, or are a failure like any other.
//!
//! [`Hint::Misconfigured`] goes only to what stops every message of the account.

use std::time::Duration;

use plugin_api::http::Answer;
use plugin_api::{Hint, SendError, State, quotable};
use serde::Deserialize;

use crate::OUTSIDE_WINDOW;

#[derive(Clone, Copy)]
enum Class {
    /// Nothing passes until somebody cures it.
    Account,
    /// This message would be refused again.
    Refused,
    /// The person does not want to be written to by this sender.
    Stopped,
    /// Certainly not taken, later it may be, not before so many seconds.
    Later(u64),
    /// Something broke on Twilio's side, and nobody knows before or after what.
    Unclear,
}

/// `Ok` for an acceptance.
pub(crate) fn judge(answer: &Answer) -> Result<(), SendError> {
    #[derive(Deserialize)]
    struct Told {
        code: Option<u32>,
        message: Option<String>,
    }
    let Err(by_status) = answer.outcome() else { return Ok(()) };
    let Some(Told { code: Some(code), message }) = answer.json().filter(|_| answer.status >= 400) else {
        return Err(by_status);
    };
    let Some((reason, detail, class)) = meaning(code) else {
        let detail = format!("Twilio refused it with error {code}: {}", quotable(&message.unwrap_or_default()));
        return Err(SendError { detail, ..by_status });
    };
    let detail = format!("{detail} (error {code})");
    let error = match class {
        Class::Account => SendError::rejected(reason, detail).hint(Hint::Misconfigured),
        Class::Refused => SendError::rejected(reason, detail),
        Class::Stopped => SendError::rejected(reason, detail).hint(Hint::SuppressAddress),
        Class::Later(seconds) => {
            let floor = Duration::from_secs(seconds);
            SendError::throttled(Some(answer.retry_after().unwrap_or(floor).max(floor)), reason, detail)
        }
        Class::Unclear => SendError { detail, ..by_status },
    };
    Err(error.status(answer.status))
}

/// What a failed status says.
pub(crate) fn failed(code: Option<u32>) -> State {
    let Some(code) = code else {
        let detail = "Twilio could not deliver it and gave no reason".to_owned();
        return State::Failed { reason: "undeliverable".into(), detail, hint: None };
    };
    let unlisted = ("refused", "Twilio could not deliver it", Class::Refused);
    let (reason, detail, class) = meaning(code).unwrap_or(unlisted);
    let hint = match class {
        Class::Account => Some(Hint::Misconfigured),
        Class::Stopped => Some(Hint::SuppressAddress),
        Class::Refused | Class::Later(_) | Class::Unclear => None,
    };
    State::Failed { reason: reason.into(), detail: format!("{detail} (error {code})"), hint }
}

/// Reason, sentence and class.
fn meaning(code: u32) -> Option<(&'static str, &'static str, Class)> {
    use Class::{Account, Later, Refused, Stopped, Unclear};
    Some(match code {
        20_003 => ("unauthorized", "Twilio does not accept accountSid and authToken; copy both again", Account),
        20_404 => ("unknown_account", "Twilio knows no such account; compare accountSid", Account),
        20_429 => ("rate_limited", "too many requests to Twilio at once", Later(1)),
        20_500 | 20_503 => ("provider_error", "Twilio's service failed", Unclear),
        21_211 | 63_024 => ("invalid_recipient", "the recipient is no number that WhatsApp takes", Refused),
        21_212 | 21_601 | 21_606 | 63_007 => {
            ("unknown_sender", "the sender is no WhatsApp sender of this Twilio account; compare from", Account)
        }
        21_214 | 21_612 | 21_614 | 21_635 | 30_005 | 30_006 | 63_003 => {
            ("undeliverable", "the number has no WhatsApp, or cannot be reached", Refused)
        }
        21_408 => ("country_not_enabled", "this country is not permitted in the Twilio account's settings", Refused),
        21_602 | 21_604 | 21_619 => ("invalid_message", "the message has no text or no recipient", Refused),
        21_603 | 21_703..=21_705 => {
            ("unknown_sender", "the messaging service has no usable sender; compare messagingServiceSid", Account)
        }
        21_608 => ("recipient_not_allowed", "a trial account writes to verified numbers only", Refused),
        21_609 => ("invalid_callback", "Twilio does not take the server's public address for its callbacks", Account),
        21_610 => ("opted_out", "the person answered STOP to this sender", Stopped),
        21_611 => ("queue_full", "the sender's queue at Twilio is full", Later(60)),
        30_001 => ("queue_full", "the sender's queue at Twilio overflowed", Later(60)),
        21_617 => ("too_long", "the text has more than 1600 characters", Refused),
        21_620 | 21_623 | 63_019 => ("media_failed", "the header's file could not be fetched; check its link", Refused),
        21_654 | 21_655 => ("unknown_form", "there is no content with this id in the Twilio account", Refused),
        21_656 | 63_028 => ("form_values", "the values differ from what the content expects", Refused),
        63_027 => ("unknown_form", "there is no approved form of this content in this language", Refused),
        30_002 => ("account_suspended", "the Twilio account is suspended", Account),
        30_003 => ("unreachable", "the phone is off or out of reach", Refused),
        30_004 | 63_014 | 63_033 => ("blocked", "the person blocks the sender or has opted out", Refused),
        30_007 => ("filtered", "the message was filtered for its content or sender", Refused),
        30_008 => ("undeliverable", "the message was not delivered, for an unknown reason", Refused),
        30_034 => ("unknown_sender", "the sender is not registered for this country", Account),
        30_410 => ("provider_error", "WhatsApp did not answer Twilio in time", Refused),
        63_015 => ("recipient_not_allowed", "the recipient has not joined the WhatsApp sandbox", Refused),
        63_016 => (
            OUTSIDE_WINDOW,
            "the person has not written in the last 24 hours, and WhatsApp then takes approved forms only",
            Refused,
        ),
        63_018 => ("rate_limited", "WhatsApp's rate limit was reached", Later(60)),
        63_032 => ("experiment", "the person is in an experiment of WhatsApp's and gets no such messages", Refused),
        63_038 => ("daily_limit", "the account has reached its messages of this day", Later(3600)),
        63_049 => ("marketing_limited", "Meta chose not to deliver another marketing message to this person", Refused),
        63_051 => ("account_locked", "WhatsApp has locked the business account; see Twilio's console", Account),
        _ => return None,
    })
}
