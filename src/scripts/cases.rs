//! `<name>.cases.json`: what a script is expected to decide, tried without a store.
//!
//! ```json
//! {"now": "2026-03-02T15:00:00Z", "timezone": "America/Mexico_City", "cases": [
//!   {"name": "ten appointments", "contact": {"appointments": {"count": 10}}, "include": true},
//!   {"name": "in the evening", "now": "…", "notification": {"category": "marketing"}, "channels": ["sms", "email"],
//!    "route": ["email"]}]}
//! ```
//!
//! What is expected stands under the function's name. `contact` says only what matters to the case.

use chrono_tz::Tz;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Kind, Subject, check_result, read_hops};
use crate::clock::Timestamp;
use crate::json;
use crate::plugins::CaseResult;
use crate::script::{Argument, Moment, Person, Script, Secrets};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    now: Option<Timestamp>,
    timezone: Option<Tz>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    now: Option<Timestamp>,
    #[serde(default)]
    contact: Subject,
    #[serde(default)]
    notification: Map<String, Value>,
    #[serde(default)]
    channels: Vec<String>,
    /// What each function is expected to return.
    #[serde(flatten)]
    expected: Map<String, Value>,
}

/// Some day at nine in the morning in Mexico.
const SOME_DAY: Timestamp = Timestamp(1_772_463_600_000);

/// Runs the cases of a script.
pub async fn run_cases(kind: Kind, script: &Script, text: &str) -> Result<Vec<CaseResult>, String> {
    let file: File = json::parse(text.as_bytes()).map_err(|e| e.to_string())?;
    let mut results = Vec::with_capacity(file.cases.len());
    for case in file.cases {
        let zone = file.timezone.unwrap_or(Tz::UTC);
        let now = Moment::new(case.now.or(file.now).unwrap_or(SOME_DAY), zone);
        results.push(run(kind, script, case, now).await);
    }
    Ok(results)
}

async fn run(kind: Kind, script: &Script, case: Case, now: Moment) -> CaseResult {
    let mut result = CaseResult { name: case.name, faults: vec![], printed: vec![] };
    let person = Person::new(case.contact.into_facts(now.at), now);
    if case.expected.is_empty() {
        let names: Vec<_> = kind.functions().iter().map(|(name, _)| format!("\"{name}\": …")).collect();
        result.faults.push(format!("says nothing of what is expected; one of {}", names.join(", ")));
    }
    for (function, expected) in case.expected {
        let Some((function, _)) = kind.functions().iter().find(|(name, _)| *name == function) else {
            result.faults.push(format!("there is no function `{function}` in a {}", kind.as_str()));
            continue;
        };
        if !script.has(function) {
            result.faults.push(format!("the script has no function `{function}`"));
            continue;
        }
        let mut arguments = vec![Argument::Contact(person.clone()), Argument::Moment(now)];
        if kind == Kind::Route {
            let channels = Value::from(case.channels.clone());
            arguments.insert(0, Value::Object(case.notification.clone()).into());
            arguments.insert(2, channels.into());
        }
        let ran = script.call(function, arguments, Secrets::default()).await;
        result.printed.extend(ran.log);
        match ran.result.and_then(|value| check_result(function, &value).map(|()| value)) {
            Err(e) => result.faults.push(e.to_string()),
            Ok(value) if alike(kind, &value, &expected) => {}
            Ok(value) => {
                result.faults.push(format!("{function} is expected to return {expected}, but it returned {value}"));
            }
        }
    }
    result
}

fn alike(kind: Kind, value: &Value, expected: &Value) -> bool {
    match kind {
        Kind::Route => read_hops(value).is_ok_and(|hops| read_hops(expected).is_ok_and(|wanted| hops == wanted)),
        Kind::Segment | Kind::Campaign => value == expected,
    }
}
