//! Templates: which part of which language a message is made of, what data it needs, and its rendering.
//!
//! A `Template` is a value that compiles its parts at first use and keeps them; rendering takes no lock. `Templates`
//! holds those of the program, `OwnTemplates` a tenant's, and `Found` is what a name means to one branch: its own
//! words first. What tenants wrote is judged before the parser sees it and rendered within bounds, on threads of its own.

mod bounds;
mod builtin;
mod engine;
mod form;
mod format;
mod formatting;
mod found;
mod markup;
mod meter;
mod needs;
mod own;
mod partials;
mod parts;
mod plain;
mod preview;
mod scan;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono_tz::Tz;
use plugin_api::{ApprovedForm, Formatting};
use serde_json::Value;

use crate::clock::Timestamp;

pub use bounds::LONGEST as LONGEST_SOURCE;
pub(crate) use builtin::LOCALE;
pub use builtin::OverlayError;
pub use found::Found;
pub use own::{Body, Own, OwnTemplates, TenantTemplates, Variable};
pub use partials::PREFIX;
pub use parts::Template;
pub(crate) use parts::split_locale;
pub use preview::{Preview, Show, Shown, Warning, long_titles};

/// Characters of a chat message.
const CHAT: usize = 4096;
/// Segments of an SMS.
const SMS: usize = 10;

/// What a channel takes, the language to prefer after the recipient's own, and when and where it is.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    pub channel: &'a str,
    pub subject: bool,
    pub html: bool,
    /// What the channel reads as formatting.
    pub formatting: Option<Formatting>,
    /// The tenant's locale.
    pub fallback: Option<&'a str>,
    pub zone: Tz,
    pub now: Timestamp,
    /// ISO 3166 alpha-2, or empty.
    pub country: &'a str,
    /// The tenant in whose turns it is rendered.
    pub whose: &'a str,
}

impl<'a> Parts<'a> {
    pub fn of(channel: &'a str) -> Self {
        Self {
            channel,
            subject: matches!(channel, "email" | "webhook"),
            html: channel == "email",
            formatting: None,
            fallback: None,
            zone: Tz::UTC,
            now: Timestamp(0),
            country: "",
            whose: "",
        }
    }

    #[must_use]
    pub fn or_locale(mut self, fallback: &'a str) -> Self {
        self.fallback = Some(fallback);
        self
    }

    /// On a channel that reads this as formatting.
    #[must_use]
    pub fn formatted(self, formatting: Option<Formatting>) -> Self {
        Self { formatting, ..self }
    }

    /// In this tenant's turns at the threads.
    #[must_use]
    pub fn for_whom(self, whose: &'a str) -> Self {
        Self { whose, ..self }
    }

    /// The same place and time, for another channel.
    fn like(self, other: Parts<'a>) -> Self {
        let Parts { formatting, fallback, .. } = other;
        Self { formatting, fallback, ..self.at(other.now, other.zone, other.country) }
    }

    /// The zone and country of the branch it is for.
    #[must_use]
    pub fn at(self, now: Timestamp, zone: Tz, country: &'a str) -> Self {
        Self { zone, now, country, ..self }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    pub subject: Option<String>,
    pub text: String,
    pub html: Option<String>,
}

/// What is wrong with a template or its data. Codes: `unknown_template`, `template_part`, `template_invalid`,
/// `template_data`, `template_limit`, `control_characters`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template {template}{}: {detail}", place(part, locale, *line, *column))]
pub struct TemplateError {
    pub code: &'static str,
    /// For `template_invalid`: which rule is broken, e.g. `unknown_helper`; else empty.
    pub rule: &'static str,
    pub template: String,
    /// The file name of the part without language and `.hbs`; empty when the template as a whole is meant.
    pub part: String,
    pub locale: String,
    pub line: Option<usize>,
    pub column: Option<usize>,
    pub detail: String,
}

fn place(part: &str, locale: &str, line: Option<usize>, column: Option<usize>) -> String {
    let mut place = if part.is_empty() { String::new() } else { format!(" {part}") };
    if !locale.is_empty() {
        place = format!("{place}.{locale}");
    }
    match (line, column) {
        (Some(line), Some(column)) => format!("{place} line {line} column {column}"),
        (Some(line), None) => format!("{place} line {line}"),
        _ => place,
    }
}

impl TemplateError {
    fn unknown(name: &str) -> Self {
        Self::whole("unknown_template", name, "there is no such template".to_owned())
    }

    /// About no part in particular.
    fn whole(code: &'static str, template: &str, detail: String) -> Self {
        let (template, part, locale) = (template.to_owned(), String::new(), String::new());
        Self { code, rule: "", template, part, locale, line: None, column: None, detail }
    }
}

/// The templates of the program, by name.
#[derive(Debug, Clone, Default)]
pub struct Templates {
    by_name: BTreeMap<String, Arc<Template>>,
}

impl Templates {
    /// Those compiled in.
    pub fn builtin() -> Self {
        builtin::load()
    }

    /// Those compiled in, with an operator's folder (`paths.templates`) laid over them file by file.
    pub fn with_overlay(folder: &std::path::Path) -> Result<Self, OverlayError> {
        builtin::load_over(folder)
    }

    /// Adds or replaces one.
    pub fn insert(&mut self, template: Template) {
        self.by_name.insert(template.name.clone(), Arc::new(template));
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    pub fn get(&self, name: &str) -> Option<&Arc<Template>> {
        self.by_name.get(name)
    }

    /// Names every variable that rendering would need and `data` lacks.
    pub fn missing(&self, name: &str, locale: &str, parts: Parts, data: &Value) -> Result<Vec<String>, TemplateError> {
        self.known(name)?.missing_here(locale, parts, data)
    }

    pub fn render(&self, name: &str, locale: &str, parts: Parts, data: &Value) -> Result<Rendered, TemplateError> {
        self.known(name)?.render_here(locale, parts, data)
    }

    /// The approved form of a template, if it has one.
    pub fn form(
        &self,
        name: &str,
        locale: &str,
        parts: Parts,
        data: &Value,
    ) -> Result<Option<ApprovedForm>, TemplateError> {
        self.known(name)?.form_here(locale, parts, data)
    }

    fn known(&self, name: &str) -> Result<Found<'_>, TemplateError> {
        self.get(name).map(Found::one).ok_or_else(|| TemplateError::unknown(name))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod mail_tests;
#[cfg(test)]
mod room_tests;
#[cfg(test)]
mod tests;
