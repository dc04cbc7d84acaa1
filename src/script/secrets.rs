//! Secrets that a script handles without seeing them. It holds placeholders; the values are put in afterwards, where
//! the host decides. A placeholder carries a number made for the one call, so none can be forged: not from data, not
//! from an earlier call.

use std::fmt;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::integrations::COVERED;

/// Placeholders that a script may make of others in one call.
const MOST: usize = 32;

/// A value this short is no secret worth hiding from a text, but would tear it apart.
const SHORTEST: usize = 6;

const OPENING: &str = "{{secret:";
const CLOSING: &str = "}}";

/// The secrets lent to one call.
#[derive(Default)]
pub struct Secrets {
    nonce: String,
    /// Those lent, and after them what was made of them.
    entries: Vec<(String, Arc<SecretString>)>,
    lent: usize,
}

impl Secrets {
    /// Lends these, by name, under a fresh number.
    pub fn lend<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a Arc<SecretString>)>) -> Self {
        let mut all = Self { nonce: Uuid::new_v4().simple().to_string(), entries: vec![], lent: 0 };
        for (name, value) in secrets {
            all.entries.push((all.placeholder(name), Arc::clone(value)));
        }
        all.lent = all.entries.len();
        all
    }

    /// What stands for a secret in this call.
    pub fn placeholder(&self, name: &str) -> String {
        [OPENING, name, ":", &self.nonce, CLOSING].concat()
    }

    pub fn is_in(&self, text: &str) -> bool {
        // Most texts hold no brace, which is seen at once.
        !self.nonce.is_empty() && text.contains('{') && text.contains(&self.nonce)
    }

    /// The text with values in place of placeholders, each value passed through `encode`.
    pub fn reveal_as(&self, text: &str, encode: impl Fn(&str) -> String) -> String {
        if !self.is_in(text) {
            return text.to_owned();
        }
        let mut revealed = text.to_owned();
        for (placeholder, value) in &self.entries {
            if revealed.contains(placeholder.as_str()) {
                revealed = revealed.replace(placeholder.as_str(), &encode(value.expose_secret()));
            }
        }
        revealed
    }

    pub fn reveal(&self, text: &str) -> String {
        self.reveal_as(text, str::to_owned)
    }

    /// As [`Secrets::reveal`], of a text that is no longer needed: most hold no placeholder.
    pub fn revealed(&self, text: String) -> String {
        if self.is_in(&text) { self.reveal(&text) } else { text }
    }

    /// A value at the very beginning of a text, and what follows.
    pub fn first<'a>(&'a self, text: &'a str) -> Option<(&'a str, &'a str)> {
        self.entries
            .iter()
            .find_map(|(p, value)| text.strip_prefix(p.as_str()).map(|rest| (value.expose_secret(), rest)))
    }

    /// Puts placeholders in the place of values: what the outside says about a secret is kept from the script.
    pub fn hide(&self, text: &mut String) {
        for (placeholder, value) in &self.entries {
            let value = value.expose_secret();
            if value.len() >= SHORTEST && text.contains(value) {
                *text = text.replace(value, placeholder);
            }
        }
    }

    /// The text with neither values nor placeholders, of this call or another, for people to read.
    pub fn cover(&self, text: &str) -> String {
        self.entries.iter().fold(without_placeholders(text), |mut text, (_, value)| {
            // A setting may hold several secrets with spaces between them.
            for hidden in value.expose_secret().split_whitespace().filter(|v| v.len() >= 4) {
                if text.contains(hidden) {
                    text = text.replace(hidden, COVERED);
                }
            }
            text
        })
    }

    /// As they were before the call.
    pub(super) fn into_lent(mut self) -> Self {
        self.entries.truncate(self.lent);
        self
    }

    /// What `make` makes of a text, as a placeholder again if a secret went into it. None when too many were made.
    pub(super) fn derive(&mut self, text: &str, make: impl Fn(&str) -> String) -> Option<String> {
        if !self.is_in(text) {
            return Some(make(text));
        }
        if self.entries.len() >= MOST {
            return None;
        }
        let value = make(&self.reveal(text));
        let placeholder = self.placeholder(&format!("made-{}", self.entries.len()));
        self.entries.push((placeholder.clone(), Arc::new(value.into())));
        Some(placeholder)
    }
}

fn without_placeholders(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from)) = rest.split_once(OPENING)
        && let Some((_, after)) = from.split_once(CLOSING)
    {
        plain.extend([before, COVERED]);
        rest = after;
    }
    plain + rest
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.entries.len())
    }
}
