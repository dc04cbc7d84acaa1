//! What is in force and where it came from, without secrets: `config print`, and which changes a running server cannot
//! take up.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde::Serialize;
use sha2::{Digest, Sha256};
use toml::Value;

use super::Config;
use super::layers::{Leaf, SCHEMA, SECRETS};
use super::values::without_password;

/// The layer that had the last word on a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    /// `config.toml:12`
    File(String),
    /// The variable's name.
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(place) => f.write_str(place),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// One key in force; a secret's value is covered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setting {
    pub key: String,
    pub value: Value,
    pub origin: Origin,
    /// Tells two values apart without keeping a secret a second time.
    #[serde(skip)]
    fingerprint: [u8; 32],
}

#[derive(Debug, Clone, Default)]
pub(super) struct Effective(BTreeMap<String, Setting>);

impl Effective {
    /// The defaults, overlaid by `leaves` in their order.
    pub(super) fn new(leaves: Vec<Leaf>) -> Self {
        let mut defaults = vec![];
        collect("", &SCHEMA, &mut defaults);
        let settings = defaults.into_iter().chain(leaves).map(|leaf| (leaf.key.clone(), Setting::from(leaf)));
        Self(settings.collect())
    }

    pub(super) fn origin(&self, key: &str) -> Option<&Origin> {
        self.0.get(key).map(|setting| &setting.origin)
    }
}

fn collect(key: &str, value: &Value, into: &mut Vec<Leaf>) {
    let Value::Table(table) = value else {
        into.push(Leaf { key: key.to_owned(), value: value.clone(), origin: Origin::Default });
        return;
    };
    for (name, value) in table {
        let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
        collect(&key, value, into);
    }
}

impl From<Leaf> for Setting {
    fn from(leaf: Leaf) -> Self {
        let fingerprint = Sha256::digest(leaf.value.to_string()).into();
        let value = match (&leaf.value, leaf.key.as_str()) {
            (Value::String(text), key) if SECRETS.contains(&key) && !text.is_empty() => "********".into(),
            (Value::String(text), "store.url") => without_password(text).into(),
            _ => leaf.value,
        };
        Self { key: leaf.key, value, origin: leaf.origin, fingerprint }
    }
}

impl Config {
    /// Every setting in force, by key.
    pub fn settings(&self) -> impl Iterator<Item = &Setting> {
        self.effective.0.values()
    }

    /// The settings in force as TOML, each with the layer it came from as a comment.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        let mut open = "";
        for setting in self.settings() {
            let (section, name) = setting.key.rsplit_once('.').unwrap_or(("", &setting.key));
            if section != open {
                let gap = if text.is_empty() { "" } else { "\n" };
                let _ = writeln!(text, "{gap}[{section}]");
                open = section;
            }
            let line = format!("{name} = {}", setting.value);
            let _ = writeln!(text, "{line:<48} # {}", setting.origin);
        }
        text
    }
}

/// The keys that differ and that a running server cannot take up: all but `channels.*`, `paths.plugins` and
/// `log.level`.
pub fn reloadable(old: &Config, new: &Config) -> Vec<String> {
    // Both hold the key of every default, and keys beside those exist only under `channels`.
    old.settings()
        .filter(|was| !was.key.starts_with("channels.") && !["log.level", "paths.plugins"].contains(&was.key.as_str()))
        .filter(|was| new.effective.0.get(&was.key).is_none_or(|is| is.fingerprint != was.fingerprint))
        .map(|was| was.key.clone())
        .collect()
}
