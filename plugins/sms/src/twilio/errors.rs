//! What Twilio's refusals mean: the code in the body decides, the status only where there is none. Its sentences are
//! never quoted, because most of them hold the recipient's number.

use std::borrow::Cow;

use plugin_api::http::Answer;
use plugin_api::{Hint, SendError, State};
use serde::Deserialize;

/// Both shapes, the API's own and RFC 9457's, have the code at the same place.
#[derive(Deserialize)]
struct Body {
    code: Option<u32>,
}

/// How a code is to be taken.
enum Kind {
    /// This message, or this person through this sender.
    Permanent,
    /// Nobody has this number, or its owner wants nothing more from this sender.
    Suppress,
    /// The account.
    Misconfigured,
    /// Not taken, but later it may be.
    Later,
}

use Kind::{Later, Misconfigured, Permanent, Suppress};

/// `Ok` for 2xx, else the decision.
pub(super) fn judge(answer: &Answer) -> Result<(), SendError> {
    let Err(usual) = answer.outcome() else { return Ok(()) };
    if !(400..=499).contains(&answer.status) {
        return Err(usual);
    }
    let code = answer.json::<Body>().and_then(|body| body.code);
    let error = match code.and_then(synchronous) {
        Some((kind, reason, detail)) => {
            let detail = format!("Twilio error {}: {detail}", code.unwrap_or_default());
            match kind {
                Later => SendError::throttled(answer.retry_after(), reason, detail),
                Permanent => SendError::rejected(reason, detail),
                Suppress => SendError::rejected(reason, detail).hint(Hint::SuppressAddress),
                Misconfigured => SendError::rejected(reason, detail).hint(Hint::Misconfigured),
            }
        }
        None => match code {
            Some(code) => SendError { detail: unknown_code(code), ..usual },
            None => usual,
        },
    };
    Err(error.status(answer.status))
}

fn unknown_code(code: u32) -> String {
    format!("Twilio error {code}; see https://www.twilio.com/docs/errors/{code}")
}

/// Codes with which a request is refused.
fn synchronous(code: u32) -> Option<(Kind, &'static str, &'static str)> {
    Some(match code {
        20003 => (
            Misconfigured,
            "unauthorized",
            "the account SID, token or key is wrong, or the key may not send; correct accountSid, authToken or the API key",
        ),
        20404 => (Misconfigured, "not_found", "there is no such account; correct accountSid"),
        20429 => (Later, "rate_limited", "too many calls at the same time"),
        21211 => (Suppress, "invalid_phone", "nobody has this phone number"),
        21212 | 21601 | 21606 => (
            Misconfigured,
            "sender_not_allowed",
            "the sender does not belong to the account or cannot send SMS there; correct from",
        ),
        21214 | 21612 => (Permanent, "unroutable", "this sender cannot reach the number"),
        21408 => (
            Misconfigured,
            "country_not_enabled",
            "the country is switched off; enable it under Messaging, Settings, Geo permissions in the Twilio console",
        ),
        21602 | 21619 => (Permanent, "empty_text", "a message needs a text"),
        21603 => (Misconfigured, "sender_missing", "a sender is missing; set from or messagingServiceSid"),
        21604 => (Permanent, "no_address", "the request named no recipient"),
        21608 => (Permanent, "trial_account", "a trial account reaches verified numbers only; upgrade it"),
        21609 => (
            Misconfigured,
            "callback_refused",
            "the address for reports is not one Twilio calls; correct the server's public_url",
        ),
        21610 => (Suppress, "opted_out", "the person replied STOP to this sender"),
        21611 => (Later, "queue_full", "this sender's queue at Twilio is full"),
        21614 => (Permanent, "not_mobile", "the number is not a mobile phone's"),
        21635 => (Permanent, "landline", "the number is a landline, where Twilio does not try"),
        21617 => (Permanent, "too_long", "the text has more than 1600 characters"),
        21620 | 21623 => (Permanent, "invalid_media", "a link to an attachment is bad, or there are more than 10"),
        21654..=21656 => (Permanent, "invalid_form", "the content template or its values are missing or invalid"),
        21703..=21705 => (
            Misconfigured,
            "service_unusable",
            "the messaging service is unknown or has no numbers; correct messagingServiceSid or add a number to it",
        ),
        63007 => (Misconfigured, "sender_not_allowed", "there is no such channel sender; correct from"),
        _ => return None,
    })
}

/// What a report's `ErrorCode` says about a message that failed later.
pub(super) fn failed(status: &str, code: Option<&str>) -> State {
    let number = code.and_then(|code| code.parse::<u32>().ok());
    let known = number.and_then(asynchronous);
    let (reason, detail, hint): (Cow<'static, str>, String, Option<Hint>) = match (known, number) {
        (Some((reason, detail, hint)), Some(code)) => (reason.into(), format!("Twilio error {code}: {detail}"), hint),
        (_, Some(code)) if code > 0 => ("undelivered".into(), unknown_code(code), None),
        _ if status == "canceled" => ("cancelled".into(), "it was cancelled at Twilio".into(), None),
        _ => ("undelivered".into(), "Twilio could not deliver it and gave no reason".into(), None),
    };
    State::Failed { reason, detail, hint }
}

fn asynchronous(code: u32) -> Option<(&'static str, &'static str, Option<Hint>)> {
    let (reason, detail) = match code {
        30001 => ("queue_overflow", "the sender's queue overflowed"),
        30002 => ("account_suspended", "the Twilio account is suspended; see the Twilio console"),
        30003 => ("unreachable", "the phone is off or out of coverage"),
        30004 => ("blocked", "the person or the carrier blocks such messages"),
        30005 => ("invalid_phone", "nobody has this phone number"),
        30006 => ("landline", "a landline, or a carrier that cannot be reached"),
        30007 => ("filtered", "the carrier filtered it because of its content or sender"),
        30008 => ("undelivered", "the carrier gave no reason"),
        30034 => ("sender_not_registered", "the US number is not registered for A2P 10DLC; register it at Twilio"),
        30410 => ("provider_timeout", "the carrier did not answer Twilio in time"),
        63003 | 63024 => ("invalid_recipient", "the recipient cannot be reached through this channel"),
        63014 | 63033 => ("opted_out", "the person blocked this sender"),
        63015 => ("sandbox", "the recipient has not joined Twilio's sandbox"),
        63016 => ("outside_whatsapp_window", "free text outside the 24-hour window; an approved form is needed"),
        63018 => ("rate_limited", "the channel takes no more for now"),
        63019 => ("invalid_media", "an attachment could not be fetched"),
        63027 | 63028 => ("invalid_form", "the approved form is missing in this language, or has other values"),
        63032 => ("excluded", "WhatsApp keeps this person out of such messages for an experiment"),
        63038 => ("daily_limit", "the account's messages of this day are used up"),
        63049 => ("withheld", "Meta chose not to deliver a marketing message"),
        63051 => ("account_locked", "the WhatsApp business account is locked"),
        _ => return None,
    };
    let hint = match code {
        30005 => Some(Hint::SuppressAddress),
        30002 | 30034 | 63051 => Some(Hint::Misconfigured),
        _ => None,
    };
    Some((reason, detail, hint))
}
