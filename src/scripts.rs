//! Scripts that decide: whom a segment means, what a campaign tells each, by which channels a notification goes.
//!
//! ```text
//! segment   fn include(contact, now)                        true or false
//! campaign  fn include(contact, now)                        true or false; left out: everybody
//!           fn message(contact, now)                        #{template | message, channel(s), data, variant}; () tells nothing
//!           fn sendAt(contact, now)                         a moment, or () for at once
//! route     fn route(notification, contact, channels, now)  channels in order: "sms", or #{channel: "whatsapp", after: "10m"}
//! ```
//!
//! `contact` has `id`, `externalId`, `name`, `phone`, `email`, `locale`, `timezone`, `createdAt`, `tags`, `preferences`,
//! `consents`; `attributes`, where what is missing is `()`; and `appointments` with `count`, `completed`, `cancelled`,
//! `noShows`, `lastAt`, `nextAt`, `daysSinceLast`. `now` and the other times are moments in the branch's zone: `year`,
//! `month`, `day`, `weekday` (Monday is 1), `hour`, `minute`, `date`, `time`, `unix`, comparable, with `days_since`,
//! `hours_since`, `plus("2h")`, `minus("7d")`; `moment(text)` reads one. What is not known is `()`.

mod cases;
mod hop;
mod shipped;
mod subject;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::ids::TenantId;
use crate::script::{self, Script, ScriptError};

pub use cases::run_cases;
pub use hop::read_hops;
pub use shipped::{Scripts, Shipped};
pub use subject::Subject;

/// What a script decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Segment,
    Campaign,
    Route,
}

/// A script as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Written {
    pub kind: Kind,
    pub source: String,
}

/// The name under which a script of kind `route` is asked about notifications.
pub const ROUTE: &str = "route";

/// A tenant's scripts at most.
pub const MOST: i64 = 100;

impl Kind {
    pub const ALL: [Self; 3] = [Self::Segment, Self::Campaign, Self::Route];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Segment => "segment",
            Self::Campaign => "campaign",
            Self::Route => "route",
        }
    }

    /// Where its files lie.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Segment => "segments",
            Self::Campaign => "campaigns",
            Self::Route => "routes",
        }
    }

    /// Its functions, and what they are given.
    pub fn functions(self) -> &'static [(&'static str, &'static [&'static str])] {
        const PERSON: &[&str] = &["contact", "now"];
        match self {
            Self::Segment => &[("include", PERSON)],
            Self::Campaign => &[("include", PERSON), ("message", PERSON), ("sendAt", PERSON)],
            Self::Route => &[("route", &["notification", "contact", "channels", "now"])],
        }
    }

    fn engine(self) -> script::Kind {
        match self {
            Self::Segment => script::Kind::Predicate,
            Self::Campaign | Self::Route => script::Kind::Rule,
        }
    }

    /// Compiles, and sees that the functions are there. In a request, [`Kind::compile_for`].
    pub fn compile(self, source: &str) -> Result<Script, ScriptError> {
        self.check(Script::compile(self.engine(), source)?)
    }

    /// As [`Kind::compile`], waiting for a thread.
    pub async fn compile_in_turn(self, source: &str) -> Result<Script, ScriptError> {
        self.check(Script::compile_in_turn(self.engine(), source, "").await?)
    }

    /// As [`Kind::compile_in_turn`], what a tenant wrote.
    pub async fn compile_for(self, tenant: &TenantId, source: &str) -> Result<Script, ScriptError> {
        self.check(Script::compile_in_turn(self.engine(), source, tenant.as_str()).await?)
    }

    fn check(self, script: Script) -> Result<Script, ScriptError> {
        for (name, parameters) in self.functions() {
            let other = script.functions().find(|(n, given)| n == name && *given != parameters.len());
            if other.is_some() {
                let detail = format!("`{name}` must take {}: {}", parameters.len(), shape(name, parameters));
                return Err(ScriptError::invalid(detail));
            }
        }
        if self.functions().iter().any(|(name, _)| script.has(name)) {
            return Ok(script);
        }
        let shapes: Vec<_> = self.functions().iter().map(|(name, parameters)| shape(name, parameters)).collect();
        let near = self.functions().iter().find_map(|(name, _)| {
            crate::suggest::nearest(name, script.functions().map(|(n, _)| n)).map(|n| format!(" (is it `{n}`?)"))
        });
        let detail = format!("a {} needs {}{}", self.as_str(), shapes.join(", or "), near.unwrap_or_default());
        Err(ScriptError::invalid(detail))
    }

    /// What kind a script must be, by the functions it has; for files that lie in no folder of a kind.
    pub fn by_functions(source: &str) -> Self {
        if source.contains("fn route(") {
            Self::Route
        } else if source.contains("fn message(") || source.contains("fn sendAt(") {
            Self::Campaign
        } else {
            Self::Segment
        }
    }
}

fn shape(name: &str, parameters: &[&str]) -> String {
    format!("fn {name}({})", parameters.join(", "))
}

/// What `message` may say.
const MESSAGE_FIELDS: [&str; 6] = ["template", "message", "channel", "channels", "data", "variant"];

/// Whether a function's result means anything.
pub fn check_result(function: &str, result: &Value) -> Result<(), ScriptError> {
    let wrong =
        |what: &str| Err(ScriptError::result(format!("{function} must return {what}, but it returned {result}")));
    match function {
        "include" if result.is_boolean() => Ok(()),
        "include" => wrong("true or false"),
        "message" => match result {
            Value::Null => Ok(()),
            Value::Object(fields) => match fields.keys().find(|name| !MESSAGE_FIELDS.contains(&name.as_str())) {
                Some(unknown) => Err(ScriptError::result(format!(
                    "message returned a field `{unknown}`; there are: {}",
                    MESSAGE_FIELDS.join(", ")
                ))),
                None => Ok(()),
            },
            _ => wrong("#{template: …} or ()"),
        },
        "sendAt" => match result {
            Value::Null => Ok(()),
            Value::String(text) if Timestamp::parse(text).is_some() => Ok(()),
            _ => wrong("a moment or ()"),
        },
        _ => read_hops(result).map(drop),
    }
}
