//! What a route script returns: channels in the order in which they are tried.

use std::time::Duration;

use serde_json::Value;

use crate::config::read_duration;
use crate::content::Hop;
use crate::script::ScriptError;

/// More than there are channels: what a script was given it may return.
const MOST: usize = 50;
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Reads `["sms", #{channel: "whatsapp", after: "10m"}]`; a name alone is a list of one.
pub fn read_hops(result: &Value) -> Result<Vec<Hop>, ScriptError> {
    let items = match result {
        Value::Array(items) => items.as_slice(),
        one @ Value::String(_) => std::slice::from_ref(one),
        other => {
            return Err(ScriptError::result(format!("route must return a list of channels, but it returned {other}")));
        }
    };
    if items.len() > MOST {
        return Err(ScriptError::result(format!("route must return at most {MOST} channels")));
    }
    let mut hops: Vec<Hop> = Vec::with_capacity(items.len());
    for item in items {
        let hop = read(item).map_err(|what| ScriptError::result(format!("route returned {item}: {what}")))?;
        if hops.iter().any(|h| h.channel == hop.channel) {
            return Err(ScriptError::result(format!("route returned {} twice", hop.channel)));
        }
        hops.push(hop);
    }
    Ok(hops)
}

fn read(item: &Value) -> Result<Hop, String> {
    match item {
        Value::String(channel) => Ok(Hop { channel: channel.clone(), after: None }),
        Value::Object(fields) => {
            if let Some(unknown) = fields.keys().find(|name| !["channel", "after"].contains(&name.as_str())) {
                return Err(format!("there is no field `{unknown}`; there are: channel, after"));
            }
            let channel = fields.get("channel").and_then(Value::as_str).ok_or("`channel` must be a name")?.to_owned();
            let after = match fields.get("after") {
                None | Some(Value::Null) => None,
                Some(Value::String(text)) => Some(delay(text)?),
                Some(_) => return Err("`after` must be a duration such as \"10m\"".into()),
            };
            Ok(Hop { channel, after })
        }
        _ => Err("must be a channel's name or #{channel: …, after: …}".into()),
    }
}

fn delay(text: &str) -> Result<u32, String> {
    let after = read_duration(text)?;
    if (SHORTEST..=LONGEST).contains(&after) {
        return u32::try_from(after.as_secs()).map_err(|e| e.to_string());
    }
    Err("`after` must be from 1 minute to 7 days".into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn names_and_delays_are_read_and_anything_else_is_named() {
        let read = read_hops(&json!(["sms", {"channel": "whatsapp", "after": "10m"}])).unwrap();
        let hop = |channel: &str, after| Hop { channel: channel.into(), after };
        assert_eq!(read, [hop("sms", None), hop("whatsapp", Some(600))]);
        assert_eq!(read_hops(&json!("email")).unwrap(), [hop("email", None)]);
        assert_eq!(read_hops(&json!([])).unwrap(), []);
        for (wrong, said) in [
            (json!(5), "list of channels"),
            (json!(null), "list of channels"),
            (json!([5]), "channel's name"),
            (json!(["sms", "sms"]), "twice"),
            (json!([{"chanel": "sms"}]), "`chanel`"),
            (json!([{"after": "5m"}]), "`channel`"),
            (json!([{"channel": "sms", "after": "5"}]), "not a duration"),
            (json!([{"channel": "sms", "after": 5}]), "duration"),
            (json!([{"channel": "sms", "after": "1s"}]), "1 minute"),
            (json!([{"channel": "sms", "after": "8d"}]), "7 days"),
            (json!(vec!["a"; 51]), "at most 50"),
        ] {
            let error = read_hops(&wrong).unwrap_err();
            assert_eq!(error.code, "script_result", "{wrong}");
            assert!(error.detail.contains(said), "{wrong}: {error}");
        }
    }
}
