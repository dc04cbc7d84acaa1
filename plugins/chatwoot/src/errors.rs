//! What Chatwoot's refusals mean. Permission problems are 401, three JSON shapes carry the text, and a 429 says
//! nothing about when to come back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use plugin_api::http::Answer;
use plugin_api::{Failure, Hint, SendError, quotable};
use serde_json::Value;

/// `Ok` for 2xx, else the decision. A 5xx is `unknown` here; [`before_the_message`] is for requests that make none.
pub(crate) fn judge(answer: &Answer) -> Result<(), SendError> {
    let text = text(answer);
    let error = match answer.status {
        401 => unauthorized(&text),
        403 => SendError::rejected(
            "api_not_in_plan",
            "the Chatwoot account's plan has no API access; change the plan, or use a server of your own",
        )
        .hint(Hint::Misconfigured),
        404 => SendError::rejected(
            "not_found",
            "Chatwoot knows no such record; compare baseUrl, accountId and inboxId with the dashboard's address",
        )
        .hint(Hint::Misconfigured),
        422 => unprocessable(&text, answer),
        429 => SendError::throttled(Some(pause(answer)), "rate_limited", "too many requests to the Chatwoot server"),
        _ => return answer.outcome(),
    };
    Err(error.status(answer.status))
}

/// For requests that cannot make a message: what would be uncertain is certain, nothing was sent.
pub(crate) fn before_the_message(mut error: SendError) -> SendError {
    if error.failure == Failure::Unknown {
        error.failure = Failure::NotSent;
        error.detail = format!("while looking up the recipient in Chatwoot: {}", error.detail);
    }
    error
}

/// A 2xx whose body is not what was asked for, on a request that makes no message.
pub(crate) fn unreadable(answer: &Answer) -> SendError {
    SendError::not_sent("unreadable_answer", "the answer to a look-up is not Chatwoot's; compare baseUrl")
        .status(answer.status)
}

fn unauthorized(text: &str) -> SendError {
    let (reason, detail) = if text.contains("sign in") {
        (
            "token_not_received",
            "Chatwoot received no access token: a proxy before it drops header names with underscores \
             (nginx: underscores_in_headers on)",
        )
    } else if text.contains("Invalid Access Token") {
        ("invalid_token", "Chatwoot does not know the access token; copy it again from the user's profile settings")
    } else if text.contains("access this account") {
        ("no_account_access", "the token's user is not a member of the account; compare accountId or invite the user")
    } else if text.contains("do this action") {
        ("not_permitted", "the token's user may not use this inbox; add the user to the inbox's collaborators")
    } else if text.contains("bots") {
        ("bot_token", "an agent bot's token cannot look up contacts; use the token of an agent or administrator")
    } else if text.contains("suspended") {
        ("account_suspended", "the Chatwoot account is suspended")
    } else {
        ("unauthorized", "Chatwoot refused the access token")
    };
    SendError::rejected(reason, detail).hint(Hint::Misconfigured)
}

fn unprocessable(text: &str, answer: &Answer) -> SendError {
    if text.contains("Too many messages") {
        let detail = "the conversation has had its 200 messages of this minute";
        return SendError::throttled(Some(pause(answer)), "conversation_rate_limited", detail);
    }
    let (reason, detail) = if text.contains("already been taken") {
        ("taken", "another contact has one of these addresses or the identifier".to_owned())
    } else if text.contains("invalid source id") {
        (
            "invalid_source_id",
            "the contact's address does not fit the inbox; correct the contact in Chatwoot".to_owned(),
        )
    } else if text.contains("e164") {
        ("invalid_phone", "Chatwoot does not accept the phone number".to_owned())
    } else if text.contains("Invalid email") {
        ("invalid_email", "Chatwoot does not accept the e-mail address".to_owned())
    } else if text.contains("too long") {
        ("too_long", "the text is longer than Chatwoot takes".to_owned())
    } else {
        ("invalid_message", format!("Chatwoot refused it: {}", quotable(text)))
    };
    SendError::rejected(reason, detail)
}

/// The text of any of the three error shapes; empty for pages and plain text.
fn text(answer: &Answer) -> String {
    let body: Value = answer.json().unwrap_or_default();
    [&body["error"], &body["errors"][0], &body["message"]].into_iter().find_map(Value::as_str).unwrap_or("").to_owned()
}

/// Chatwoot's windows are whole minutes of the clock. A `Retry-After` can only come from a proxy and is believed.
#[expect(clippy::disallowed_methods, reason = "the server's windows follow the real time")]
fn pause(answer: &Answer) -> Duration {
    answer.retry_after().unwrap_or_else(|| to_next_minute(SystemTime::now()))
}

/// One second more than needed, for clocks that are not quite alike.
fn to_next_minute(now: SystemTime) -> Duration {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Duration::from_secs(61 - seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_ends_just_after_the_next_full_minute() {
        let at = |second: u64| to_next_minute(UNIX_EPOCH + Duration::from_secs(1_753_900_020 + second)).as_secs();
        assert_eq!((at(0), at(1), at(59)), (61, 60, 2));
    }
}
