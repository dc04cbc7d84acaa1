//! Free text or the approved form. The core says whether the person's window is open by what it has heard; Meta knows
//! better, and when it refuses free text although we thought the window open, there may be no second request in the
//! same call. So that refusal is remembered and the message tried once more: its next attempt uses the form.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use plugin_api::{ApprovedForm, Failure, Hint, Message, SendError};
use serde_json::{Value, json};

use crate::OUTSIDE_WINDOW;

/// How long a refusal is believed. Long enough for the next attempt, and short because nobody tells us here when the
/// person writes again; meanwhile forms are sent, which Meta takes at any time.
const BELIEVED: Duration = Duration::from_secs(3600);

pub(crate) enum Way<'a> {
    /// Anything.
    Free,
    Form(&'a ApprovedForm),
}

pub(crate) fn way(message: &Message, now: SystemTime) -> Result<Way<'_>, SendError> {
    match &message.form {
        Some(form) if !message.window_open || found_closed(message.memory.as_ref(), now) => Ok(Way::Form(form)),
        None if !message.window_open => Err(closed()),
        _ => Ok(Way::Free),
    }
}

/// Without a form nothing can pass.
fn closed() -> SendError {
    SendError::rejected(
        OUTSIDE_WINDOW,
        "the person has not written in the last 24 hours; declare an approved form beside the template",
    )
}

/// Makes a later attempt of what Meta refused only for its window.
pub(crate) fn learn(error: SendError, message: &Message, now: SystemTime) -> SendError {
    let sent_free = matches!(way(message, now), Ok(Way::Free));
    if error.failure != Failure::Rejected || error.reason != OUTSIDE_WINDOW || message.form.is_none() || !sent_free {
        return error;
    }
    let later = SendError::throttled(None, OUTSIDE_WINDOW, "the window is closed; the approved form is sent next");
    SendError { http_status: error.http_status, ..later.hint(Hint::OnlyThisRecipient).remember(memory(now)) }
}

fn memory(now: SystemTime) -> Value {
    json!({"windowClosedAt": now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()})
}

fn found_closed(memory: Option<&Value>, now: SystemTime) -> bool {
    let at = memory.and_then(|memory| memory["windowClosedAt"].as_u64());
    let at = at.and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
    // A time ahead of ours comes from a clock that was set back, and is no reason for doubt.
    at.is_some_and(|at| now.duration_since(at).unwrap_or_default() < BELIEVED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_believed_for_an_hour() {
        let then = UNIX_EPOCH + Duration::from_secs(1_753_900_000);
        let memory = memory(then);
        let after = |seconds| found_closed(Some(&memory), then + Duration::from_secs(seconds));
        assert!(after(0) && after(3599) && !after(3600));
        assert!(found_closed(Some(&memory), then - Duration::from_secs(60)));
        assert!(!found_closed(None, then) && !found_closed(Some(&json!({"windowClosedAt": "x"})), then));
        assert!(!found_closed(Some(&json!({"windowClosedAt": 0})), then));
    }
}
