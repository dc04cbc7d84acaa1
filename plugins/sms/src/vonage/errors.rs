//! What a part's `status` means, and the `err-code` of a receipt. Vonage's own sentences are not quoted.

use plugin_api::http::Answer;
use plugin_api::{Hint, SendError, State};

/// `Ok` for a part that was taken.
pub(super) fn judge(status: &str, answer: &Answer) -> Result<(), SendError> {
    let later = |reason: &'static str, said: &str| SendError::throttled(answer.retry_after(), reason, said);
    let refused = |reason: &'static str, said: &str| SendError::rejected(reason, said);
    let account = |reason: &'static str, said: &str| SendError::rejected(reason, said).hint(Hint::Misconfigured);
    let mut error = match status {
        "0" => return Ok(()),
        "1" => later("rate_limited", "too many messages a second"),
        "5" => later("provider_error", "an internal error at Vonage"),
        "10" => later("rate_limited", "too many connections at the same time"),
        "2" => refused("invalid_request", "a parameter is missing"),
        "3" => refused("invalid_request", "a parameter has a value Vonage does not take"),
        "12" => refused("too_long", "the text is longer than Vonage takes"),
        "22" => refused("invalid_request", "the network code does not fit"),
        "23" => refused("callback_refused", "Vonage does not take the address for receipts; correct the public_url"),
        "6" => refused("unroutable", "Vonage cannot process it; its prefix may be unknown"),
        "7" => refused("blocked", "the number is barred at Vonage"),
        "33" => refused("invalid_phone", "the number is deactivated").hint(Hint::SuppressAddress),
        "4" => account("unauthorized", "the key is wrong or disabled; correct apiKey and apiSecret"),
        "8" => account("account_suspended", "the Vonage account is barred; ask Vonage's support"),
        "9" => account("no_credit", "the Vonage account has no credit left; top it up"),
        "11" => account("not_enabled", "the Vonage account may not use the SMS API; ask Vonage's support"),
        "14" => account("invalid_signature", "Vonage expects signed requests; allow unsigned ones in its dashboard"),
        "15" => account("sender_not_allowed", "this sender is not allowed there; correct from"),
        "29" => account("trial_account", "a demo account reaches its listed numbers only; top it up"),
        "32" => account("invalid_signature", "Vonage expects either a signature or the secret, not both"),
        _ => refused("refused", "Vonage refused it"),
    };
    let number: String = status.chars().filter(char::is_ascii_digit).take(6).collect();
    error.detail = format!("Vonage status {number}: {}", error.detail);
    Err(error.status(answer.status))
}

/// A receipt with the status `expired`, `failed` or `rejected`.
pub(super) fn failed(status: &str, err_code: Option<&str>) -> State {
    let code = err_code.unwrap_or_default();
    let (reason, detail, hint) = match code {
        "2" => ("unreachable", "the phone is off or out of coverage", None),
        "3" => ("invalid_phone", "the number is no longer in use", Some(Hint::SuppressAddress)),
        "4" => ("blocked", "the person had such messages barred", None),
        "5" => ("unroutable", "the number's carrier could not be determined", None),
        "6" => ("filtered", "the carrier filtered it as spam", None),
        "7" => ("unreachable", "the phone was busy", None),
        "8" => ("carrier_error", "an error in the carrier's network", None),
        "9" => ("opted_out", "the person wants no messages of this service", Some(Hint::SuppressAddress)),
        "10" => ("invalid_request", "the carrier found the message malformed", None),
        "11" => ("unroutable", "there is no route to the number", None),
        "12" => ("unroutable", "the number cannot be reached; check it", None),
        "13" => ("age_restricted", "the person is too young for such messages", None),
        "14" => ("blocked", "the carrier does not let SMS through to this number", None),
        "15" => ("no_credit", "the person's prepaid plan cannot receive it", None),
        _ if status == "expired" => ("expired", "the carrier gave up trying", None),
        _ => ("undelivered", "it could not be delivered and no reason was given", None),
    };
    let number: String = code.chars().filter(char::is_ascii_digit).take(6).collect();
    let detail = if number.is_empty() { detail.to_owned() } else { format!("Vonage error {number}: {detail}") };
    State::Failed { reason: reason.into(), detail, hint }
}
