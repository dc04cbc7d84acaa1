//! What a script says became of a message.

use std::time::Duration;

use plugin_api::{Failure, Hint, SendError};
use serde_json::{Map, Value};

use crate::script::Fields;
use crate::suggest::nearest;

/// A `Retry-After` beyond this is taken as this.
const LONGEST_WAIT: f64 = 24.0 * 3600.0;

/// Characters of a detail or a note.
const LONGEST: usize = 300;

/// A script's word.
#[derive(Debug)]
pub(super) enum Said {
    /// The status decides.
    ByStatus,
    Accepted {
        id: Option<String>,
        note: Option<String>,
        remember: Option<Value>,
    },
    Failed(SendError),
}

const VERDICTS: [&str; 5] = ["accepted", "rejected", "throttled", "unknown", "not_sent"];
const BESIDE: [&str; 5] = ["detail", "hint", "after", "remember", "note"];

/// True for a map that is an outcome rather than a request.
pub(super) fn is_verdict(fields: &Fields) -> bool {
    VERDICTS.iter().any(|verdict| fields.has(verdict))
}

impl Said {
    /// Reads what `outcome` returned (`sent`: a call was made), or `request` instead of a request.
    pub(super) fn read(value: Value, sent: bool) -> Result<Self, String> {
        let Value::Object(mut fields) = value else {
            return if value.is_null() {
                Ok(Self::ByStatus)
            } else {
                Err("must return (), #{accepted: id} or #{rejected: \"reason\"}".to_owned())
            };
        };
        let known: Vec<_> = VERDICTS.into_iter().chain(BESIDE).collect();
        only(names(&fields), &known)?;
        let given: Vec<_> = VERDICTS.into_iter().filter(|v| fields.contains_key(*v)).collect();
        let [verdict] = given[..] else {
            return Err(format!("must have one of {}", VERDICTS.join(", ")));
        };
        let word = fields.remove(verdict).unwrap_or_default();
        if verdict == "accepted" {
            return if sent { accepted(&word, fields) } else { Err("accepted: nothing was sent yet".to_owned()) };
        }
        let failure = match verdict {
            "rejected" => Failure::Rejected,
            "throttled" => Failure::Throttled,
            "unknown" if sent => Failure::Unknown,
            "not_sent" if !sent => Failure::NotSent,
            "unknown" => return Err("unknown: nothing was sent yet; use rejected or not_sent".to_owned()),
            _ => return Err("not_sent: something was sent; use throttled if it certainly was not taken".to_owned()),
        };
        failed(failure, verdict, &word, fields).map(Self::Failed)
    }
}

fn accepted(id: &Value, mut fields: Map<String, Value>) -> Result<Said, String> {
    let (id, note) = match id {
        Value::Bool(true) => (None, None),
        Value::Null => (None, Some("the answer held no id of the message".to_owned())),
        Value::String(id) if id.is_empty() => (None, Some("the answer held no id of the message".to_owned())),
        other => {
            let id =
                text_of(other).filter(|id| id.len() <= 255).ok_or("accepted: must be the message's id, or true")?;
            (Some(id), None)
        }
    };
    if let Some(odd) = ["hint", "after", "detail"].into_iter().find(|name| fields.contains_key(*name)) {
        return Err(format!("{odd}: means nothing beside accepted"));
    }
    let said = optional_text(&mut fields, "note")?;
    Ok(Said::Accepted { id, note: said.or(note), remember: fields.remove("remember").filter(|m| !m.is_null()) })
}

fn failed(failure: Failure, verdict: &str, word: &Value, mut fields: Map<String, Value>) -> Result<SendError, String> {
    let reason = reason(verdict, word)?;
    let detail = optional_text(&mut fields, "detail")?;
    let hint = hint(&mut fields)?;
    let after = match fields.remove("after") {
        None | Some(Value::Null) => None,
        Some(_) if failure != Failure::Throttled => {
            return Err("after: means something beside throttled only".to_owned());
        }
        Some(value) => {
            let seconds = value.as_f64().filter(|s| s.is_finite()).ok_or("after: must be a number of seconds")?;
            Some(Duration::from_secs(seconds.clamp(0.0, LONGEST_WAIT).ceil() as u64))
        }
    };
    if fields.contains_key("note") {
        return Err("note: means something beside accepted only".to_owned());
    }
    Ok(SendError {
        failure,
        detail: detail.unwrap_or_else(|| "the provider gave no reason".to_owned()),
        reason: reason.into(),
        http_status: None,
        retry_after: after,
        hint,
        remember: fields.remove("remember").filter(|m| !m.is_null()),
    })
}

/// A word for filters: `chat_not_found`.
pub(super) fn reason(verdict: &str, word: &Value) -> Result<String, String> {
    let fine = |w: &&str| {
        (1..=64).contains(&w.len()) && w.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let reason = word.as_str().filter(fine);
    reason
        .map(str::to_owned)
        .ok_or_else(|| format!("{verdict}: must be a word of a-z, 0-9 and _, such as \"chat_not_found\""))
}

pub(super) fn hint(fields: &mut Map<String, Value>) -> Result<Option<Hint>, String> {
    let Some(word) = optional_text(fields, "hint")? else { return Ok(None) };
    let unknown = || "hint: must be \"suppress_address\", \"misconfigured\" or \"only_this_recipient\"".to_owned();
    Hint::of(&word).map(Some).ok_or_else(unknown)
}

/// A text for people, cut to a bearable length, on one line.
pub(super) fn optional_text(fields: &mut Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
            Ok(Some(line.take(LONGEST).collect()))
        }
        Some(_) => Err(format!("{name}: must be a text")),
    }
}

/// A text or number as a text.
pub(super) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        _ => None,
    }
}

pub(super) fn names(fields: &Map<String, Value>) -> impl Iterator<Item = &str> {
    fields.keys().map(String::as_str)
}

/// Refuses fields that mean nothing, naming the one that was probably meant.
pub(super) fn only<'a>(mut fields: impl Iterator<Item = &'a str>, known: &[&str]) -> Result<(), String> {
    let Some(odd) = fields.find(|name| !known.contains(name)) else { return Ok(()) };
    let near = nearest(odd, known.iter().copied()).map(|n| format!(" (did you mean \"{n}\"?)")).unwrap_or_default();
    Err(format!("{odd}: there is no such field{near}; there are {}", known.join(", ")))
}
