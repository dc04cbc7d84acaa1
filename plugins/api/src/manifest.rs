//! `plugin.toml` as a type: everything about a channel that is data.

mod faults;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::settings::{Settings, SettingsError};

pub use faults::manifest_faults;

/// A plugin folder's `plugin.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manifest {
    /// The channel's name, as callers write it: `email`.
    pub channel: String,
    /// For people: `E-mail`.
    pub title: String,
    /// Which of a recipient's addresses it needs.
    pub address: AddressKind,
    /// What it reads as formatting in a text; absent: nothing.
    #[serde(default)]
    pub formatting: Option<Formatting>,
    /// For a channel that a script describes: the hosts it may call, `*.example.com` for all below one. Those of its
    /// `url` settings are allowed beside them.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// At least one; the first is the default.
    #[serde(rename = "provider")]
    pub providers: Vec<Provider>,
}

/// How the words of a template may be set off on a channel, and so what may not happen to a value in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Formatting {
    /// Markdown, in which a backslash makes a sign plain.
    Markdown,
    /// `*bold*`, `_italic_`, `~struck~` and the like; no sign can be made plain.
    Signs,
    /// The one or the other, depending on where it goes from there.
    Either,
}

/// Which address of a recipient a channel writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressKind {
    Phone,
    Email,
    /// Phone, else e-mail.
    PhoneOrEmail,
    /// None: the account itself is the destination.
    None,
}

/// One outside service that can carry the channel.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Provider {
    pub name: String,
    /// Has a subject line.
    #[serde(default)]
    pub subject: bool,
    /// Takes HTML beside text.
    #[serde(default)]
    pub html: bool,
    /// Shows `actions` as buttons; elsewhere they become a numbered list.
    #[serde(default)]
    pub buttons: bool,
    #[serde(default)]
    pub attachments: bool,
    /// Longest text in characters, after which the provider refuses or cuts.
    pub max_length: Option<usize>,
    /// Returns something to remember about a recipient, so `Message::memory` is worth a look-up.
    #[serde(default)]
    pub remembers: bool,
    /// Reports what became of a message ([`crate::Event::Status`]): `sent` is not the last word.
    #[serde(default)]
    pub callbacks: bool,
    /// Hands on what people answer ([`crate::Event::Inbound`]).
    #[serde(default)]
    pub inbound: bool,
    /// Free text only this long after a person's last message; outside it only an approved form
    /// ([`crate::Message::form`]).
    pub window_hours: Option<u32>,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub unknown: Unknown,
    #[serde(default)]
    pub idempotency: Option<Idempotency>,
    #[serde(default)]
    pub settings: Vec<Setting>,
}

/// What one account bears; tenant settings and `config.toml` may lower it.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Limits {
    /// Calls at the same time.
    pub concurrency: u32,
    pub rate_per_minute: Option<u32>,
    /// How long one call may last where that is longer than the operator's `delivery.call_timeout` (SMTP waits ten
    /// minutes for the last word). Until then the attempt counts as running.
    pub call_seconds: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { concurrency: 8, rate_per_minute: None, call_seconds: None }
    }
}

/// What may be done when nobody knows whether the provider took a message.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Unknown {
    /// Seconds to wait before the look-up or the one retry.
    pub wait_seconds: u64,
    /// [`crate::Channel::lookup`] is implemented.
    pub lookup: bool,
}

impl Default for Unknown {
    fn default() -> Self {
        Self { wait_seconds: 300, lookup: false }
    }
}

impl Unknown {
    pub fn wait(self) -> Duration {
        Duration::from_secs(self.wait_seconds)
    }
}

/// The provider drops a second message that carries the same `Message::id`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Idempotency {
    /// For how long; absent: for ever.
    pub window_seconds: Option<u64>,
}

/// One setting of an account.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Setting {
    /// camelCase, as callers write it; dotted where they write an object: `dkim.domain` is `{"dkim": {"domain": …}}`.
    pub name: String,
    pub kind: SettingKind,
    #[serde(default)]
    pub required: bool,
    /// Used when absent.
    pub default: Option<Value>,
    /// For `kind = "choice"`.
    #[serde(default)]
    pub choices: Vec<String>,
    /// One sentence for people.
    pub help: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SettingKind {
    Text,
    /// Encrypted at rest, never shown again.
    Secret,
    /// Checked against the outbound rules when it is saved.
    Url,
    /// A host name, checked like a URL's host.
    Host,
    Email,
    Phone,
    Integer,
    Boolean,
    Choice,
    /// A flat object of texts, e.g. extra HTTP headers.
    Map,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ManifestError(pub String);

impl Manifest {
    /// Reads a `plugin.toml`. `path` is only named in errors.
    pub fn parse(path: &str, text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = toml::from_str(text).map_err(|e| ManifestError(format!("{path}: {e}")))?;
        if manifest.providers.is_empty() {
            return Err(ManifestError(format!("{path}: a channel needs at least one [[provider]]")));
        }
        for provider in &manifest.providers {
            for setting in &provider.settings {
                if setting.kind == SettingKind::Choice && setting.choices.is_empty() {
                    return Err(ManifestError(format!("{path}: setting \"{}\" needs \"choices\"", setting.name)));
                }
            }
        }
        Ok(manifest)
    }

    pub fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.iter().find(|p| p.name == name)
    }
}

impl Provider {
    pub fn is_secret(&self, setting: &str) -> bool {
        self.settings.iter().any(|s| s.name == setting && s.kind == SettingKind::Secret)
    }

    /// What a caller sent, with one name for each setting: what the schema has dotted names for comes as an object.
    pub fn flatten(&self, settings: Settings) -> Result<Settings, Vec<SettingsError>> {
        let (mut flat, mut errors) = (Map::new(), Vec::new());
        for (name, value) in settings.0 {
            let inner = self.settings.iter().filter_map(|s| s.name.split_once('.')).filter(|(outer, _)| *outer == name);
            let inner: Vec<&str> = inner.map(|(_, inner)| inner).collect();
            match value {
                _ if name.contains('.') => {
                    errors.push(SettingsError::new(name, "unknown_field", "unknown setting; a dot stands in no name"));
                }
                Value::Object(fields) if !inner.is_empty() => {
                    flat.extend(fields.into_iter().map(|(field, value)| (format!("{name}.{field}"), value)));
                }
                Value::Null if !inner.is_empty() => {}
                _ if !inner.is_empty() => {
                    let detail = format!("must be an object: {}", inner.join(", "));
                    errors.push(SettingsError::new(name, "wrong_type", detail));
                }
                value => {
                    flat.insert(name, value);
                }
            }
        }
        if errors.is_empty() { Ok(Settings(flat)) } else { Err(errors) }
    }

    /// Checks settings, flat, against the schema and fills in defaults. All faults at once. Whether a URL may be reached is
    /// not judged here: that needs the network guard.
    pub fn validate(&self, mut settings: Settings) -> Result<Settings, Vec<SettingsError>> {
        let mut errors = Vec::new();
        for name in settings.0.keys() {
            if !self.settings.iter().any(|s| s.name == *name) {
                let known: Vec<_> = self.settings.iter().map(|s| s.name.as_str()).collect();
                let detail = format!("unknown setting; \"{}\" has: {}", self.name, known.join(", "));
                errors.push(SettingsError::new(name, "unknown_field", detail));
            }
        }
        for setting in &self.settings {
            match settings.0.get(&setting.name) {
                None | Some(Value::Null) => {
                    if let Some(default) = &setting.default {
                        settings.0.insert(setting.name.clone(), default.clone());
                    } else if setting.required {
                        let detail = format!("is required: {}", setting.help);
                        errors.push(SettingsError::new(&setting.name, "required", detail));
                    } else {
                        settings.0.remove(&setting.name);
                    }
                }
                Some(value) => {
                    if let Err((code, detail)) = setting.accepts(value) {
                        errors.push(SettingsError::new(&setting.name, code, detail));
                    }
                }
            }
        }
        if errors.is_empty() { Ok(settings) } else { Err(errors) }
    }
}

impl Setting {
    fn accepts(&self, value: &Value) -> Result<(), (&'static str, String)> {
        let wrong = |what: &str| Err(("wrong_type", format!("must be {what}")));
        match (self.kind, value) {
            (SettingKind::Integer, Value::Number(n)) if n.is_i64() => Ok(()),
            (SettingKind::Integer, _) => wrong("a whole number"),
            (SettingKind::Boolean, Value::Bool(_)) => Ok(()),
            (SettingKind::Boolean, _) => wrong("true or false"),
            (SettingKind::Map, Value::Object(map)) if map.values().all(Value::is_string) => Ok(()),
            (SettingKind::Map, _) => wrong("an object of texts"),
            (SettingKind::Choice, Value::String(s)) if self.choices.contains(s) => Ok(()),
            (SettingKind::Choice, Value::String(_)) => {
                Err(("out_of_range", format!("must be one of: {}", self.choices.join(", "))))
            }
            (_, Value::String(s)) if s.is_empty() && self.required => Err(("required", "must not be empty".into())),
            (_, Value::String(s)) if s.len() > 8192 => Err(("too_long", "must have at most 8192 bytes".into())),
            // Secrets may hold anything; of addresses the outbound rules say more exactly what is wrong.
            (SettingKind::Secret | SettingKind::Url, Value::String(_)) => Ok(()),
            (_, Value::String(s)) if s.chars().any(char::is_control) => {
                Err(("control_characters", "must not hold control characters".into()))
            }
            (_, Value::String(_)) => Ok(()),
            _ => wrong("a text"),
        }
    }
}
