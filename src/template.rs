//! Templates: which part of which language a message is made of, what data it needs, and its rendering.
//!
//! A [`Template`] is a value that compiles its parts at first use and keeps them; rendering takes no lock. [`Templates`]
//! holds those compiled into the program.

mod builtin;
mod engine;
mod form;
mod markup;
mod needs;
mod plain;
mod scan;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use handlebars::{Context, RenderErrorReason};
use plugin_api::ApprovedForm;
use serde_json::{Map, Value};

pub use builtin::OverlayError;
use engine::Failed;
use form::Form;
use needs::Needs;

/// What a channel takes, and the language to prefer after the recipient's own.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    pub channel: &'a str,
    pub subject: bool,
    pub html: bool,
    /// The tenant's locale.
    pub fallback: Option<&'a str>,
}

impl<'a> Parts<'a> {
    pub fn of(channel: &'a str) -> Self {
        Self { channel, subject: matches!(channel, "email" | "webhook"), html: channel == "email", fallback: None }
    }

    #[must_use]
    pub fn or_locale(mut self, fallback: &'a str) -> Self {
        self.fallback = Some(fallback);
        self
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
#[error("template {template}{}: {detail}", place(part, *line, *column))]
pub struct TemplateError {
    pub code: &'static str,
    pub template: String,
    /// The file name of the part without `.hbs`; empty when the template as a whole is meant.
    pub part: String,
    pub line: Option<usize>,
    pub column: Option<usize>,
    pub detail: String,
}

fn place(part: &str, line: Option<usize>, column: Option<usize>) -> String {
    let part = if part.is_empty() { String::new() } else { format!(" {part}") };
    match (line, column) {
        (Some(line), Some(column)) => format!("{part} line {line} column {column}"),
        (Some(line), None) => format!("{part} line {line}"),
        _ => part,
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

    pub fn exists(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    pub fn get(&self, name: &str) -> Option<&Arc<Template>> {
        self.by_name.get(name)
    }

    /// Names every variable that rendering would need and `data` lacks.
    pub fn missing(&self, name: &str, locale: &str, parts: Parts, data: &Value) -> Result<Vec<String>, TemplateError> {
        self.known(name)?.missing(locale, parts, data)
    }

    pub fn render(&self, name: &str, locale: &str, parts: Parts, data: &Value) -> Result<Rendered, TemplateError> {
        self.known(name)?.render(locale, parts, data)
    }

    /// The approved form of a template, if it has one.
    pub fn form(
        &self,
        name: &str,
        locale: &str,
        fallback: Option<&str>,
        data: &Value,
    ) -> Result<Option<ApprovedForm>, TemplateError> {
        self.known(name)?.form(locale, fallback, data)
    }

    fn known(&self, name: &str) -> Result<&Arc<Template>, TemplateError> {
        self.get(name).ok_or_else(|| TemplateError {
            code: "unknown_template",
            template: name.to_owned(),
            part: String::new(),
            line: None,
            column: None,
            detail: "there is no such template".to_owned(),
        })
    }
}

/// One template: its parts in every language, and sample data to show it with.
#[derive(Debug)]
pub struct Template {
    name: String,
    /// The language of files without a suffix, and the last resort.
    locale: String,
    parts: Vec<Part>,
    forms: Vec<Form>,
    samples: Vec<(String, Value)>,
}

#[derive(Debug)]
struct Part {
    /// As the file is called: `text`, `sms`, `email.html`.
    kind: String,
    locale: String,
    source: Cow<'static, str>,
    compiled: OnceLock<Result<Compiled, TemplateError>>,
}

#[derive(Debug)]
struct Compiled {
    tree: handlebars::Template,
    needs: Needs,
}

/// Longest source of one part.
const LONGEST_SOURCE: usize = 64 * 1024;

impl Template {
    /// Takes files as they lie in a template's folder (`text.hbs`, `email.html.en.hbs`, `sample.json`); others are
    /// ignored. `locale` is the language of those without a suffix.
    pub fn new<'f>(name: &str, locale: &str, files: impl IntoIterator<Item = (&'f str, Cow<'static, str>)>) -> Self {
        let mut template = Self {
            name: name.to_owned(),
            locale: locale.to_owned(),
            parts: Vec::new(),
            forms: Vec::new(),
            samples: Vec::new(),
        };
        for (file, source) in files {
            if let Some(stem) = file.strip_suffix(".hbs") {
                let (kind, suffix) = split_locale(stem);
                let locale = suffix.unwrap_or(locale).to_owned();
                let compiled = OnceLock::new();
                template.parts.push(Part { kind: kind.to_owned(), locale, source, compiled });
            } else if let Some(stem) = file.strip_suffix(".json")
                && let (form::KIND, suffix) = split_locale(stem)
            {
                template.forms.push(Form::new(suffix.unwrap_or(locale), source));
            } else if let Some(stem) = file.strip_suffix(".json")
                && let ("sample", suffix) = split_locale(stem)
            {
                let sample = serde_json::from_str(&source).unwrap_or(Value::Null);
                template.samples.push((suffix.unwrap_or(locale).to_owned(), sample));
            }
        }
        template
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Compiles every part now and answers the first flaw.
    pub fn check(&self) -> Result<(), TemplateError> {
        self.parts.iter().try_for_each(|part| self.compiled(part).map(|_| ()))?;
        self.forms.iter().try_for_each(|form| form.check().map_err(|detail| self.form_error(form, detail)))
    }

    /// The form a provider approved for this message, in the nearest language, filled in.
    pub fn form(
        &self,
        locale: &str,
        fallback: Option<&str>,
        data: &Value,
    ) -> Result<Option<ApprovedForm>, TemplateError> {
        let mut tags = self.tags(locale, fallback);
        let found = tags.find_map(|tag| self.forms.iter().find(|form| form.locale.eq_ignore_ascii_case(tag)));
        found.map(|form| form.render(data).map_err(|detail| self.form_error(form, detail))).transpose()
    }

    fn form_error(&self, form: &Form, detail: String) -> TemplateError {
        let part = format!("{}.{}", form::KIND, form.locale);
        let template = self.name.clone();
        TemplateError { code: "template_invalid", template, part, line: None, column: None, detail }
    }

    /// Data to show the template with, in the nearest language; null when it brings none.
    pub fn sample(&self, locale: &str) -> &Value {
        static NONE: Value = Value::Null;
        let mut tags = self.tags(locale, None);
        let found = tags.find_map(|tag| self.samples.iter().find(|(locale, _)| locale.eq_ignore_ascii_case(tag)));
        found.map_or(&NONE, |(_, sample)| sample)
    }

    /// Names every variable that rendering would need and `data` lacks.
    pub fn missing(&self, locale: &str, parts: Parts, data: &Value) -> Result<Vec<String>, TemplateError> {
        let mut missing = Vec::new();
        let chosen = self.choose(locale, parts)?;
        for part in chosen.iter() {
            self.compiled(part)?.needs.missing(data, &mut missing);
        }
        Ok(missing)
    }

    pub fn render(&self, locale: &str, parts: Parts, data: &Value) -> Result<Rendered, TemplateError> {
        let chosen = self.choose(locale, parts)?;
        let context = self.context(&chosen, data)?;
        let subject = chosen.subject.map(|part| self.render_subject(part, &context)).transpose()?;
        let html = chosen.html.map(|part| self.render_part(part, MAIL, &context)).transpose()?.map(without_controls);
        let text = match (chosen.text, chosen.html, &html) {
            (Some(part), ..) => self.render_text(part, parts.channel, &context)?,
            (None, Some(part), Some(html)) => plain::text_of(html).ok_or_else(|| {
                let detail = "its elements are nested too deep to make a text of them: add email.text".to_owned();
                self.error("template_limit", part, detail)
            })?,
            _ => return Err(self.no_text(parts.channel)),
        };
        Ok(Rendered { subject, text, html })
    }

    fn render_subject(&self, part: &Part, context: &Context) -> Result<String, TemplateError> {
        let subject = self.render_part(part, SUBJECT, context)?;
        if subject.chars().any(crate::address::breaks_a_line) {
            let detail = "the subject has line breaks or other control characters".to_owned();
            return Err(self.error("control_characters", part, detail));
        }
        Ok(subject.trim().to_owned())
    }

    fn render_text(&self, part: &Part, channel: &str, context: &Context) -> Result<String, TemplateError> {
        let bytes = if matches!(channel, "email" | "webhook") { MAIL } else { CHAT * 4 };
        let mut text = without_controls(self.render_part(part, bytes, context)?);
        text.truncate(text.trim_end_matches(['\n', ' ']).len());
        match channel {
            "email" | "webhook" => Ok(text),
            "sms" if crate::sms::segments(&text).segments > SMS => {
                Err(self.error("template_limit", part, format!("longer than {SMS} SMS segments")))
            }
            _ if text.chars().nth(CHAT).is_some() => {
                Err(self.error("template_limit", part, format!("longer than {CHAT} characters")))
            }
            _ => Ok(text),
        }
    }

    fn render_part(&self, part: &Part, limit: usize, context: &Context) -> Result<String, TemplateError> {
        let compiled = self.compiled(part)?;
        engine::render(&compiled.tree, part.is_html(), context, limit).map_err(|failed| match failed {
            Failed::TooLong => self.error("template_limit", part, format!("its output is longer than {limit} bytes")),
            Failed::Render(error) => {
                let (code, detail) = match error.reason() {
                    RenderErrorReason::MissingVariable(Some(name)) => ("template_data", format!("{name} is missing")),
                    RenderErrorReason::MissingVariable(None) => ("template_data", "a value is missing".to_owned()),
                    reason => ("template_invalid", reason.to_string()),
                };
                let (line, column) = (error.line_no, error.column_no);
                TemplateError { line, column, ..self.error(code, part, detail) }
            }
        })
    }

    /// Only what the parts read is copied: data may carry far more than a template shows.
    fn context(&self, chosen: &Chosen, data: &Value) -> Result<Context, TemplateError> {
        let Value::Object(all) = data else { return Ok(Context::from(Value::Object(Map::new()))) };
        let mut copy = Map::new();
        for part in chosen.iter() {
            let Some(names) = &self.compiled(part)?.needs.names else { return Ok(Context::from(data.clone())) };
            for name in names {
                if let Some(value) = all.get(name)
                    && !copy.contains_key(name)
                {
                    copy.insert(name.clone(), value.clone());
                }
            }
        }
        Ok(Context::from(Value::Object(copy)))
    }

    fn choose(&self, locale: &str, parts: Parts) -> Result<Chosen<'_>, TemplateError> {
        let specific = if parts.channel == "email" { "email.text" } else { parts.channel };
        let find = |kinds: &[&str]| self.find(kinds, locale, parts.fallback);
        let text = find(&[specific, "text"]);
        let subject = parts.subject.then(|| find(&["email.subject"])).flatten();
        let html = parts.html.then(|| find(&["email.mjml", "email.html"])).flatten();
        if text.is_none() && html.is_none() {
            return Err(self.no_text(parts.channel));
        }
        Ok(Chosen { text, subject, html })
    }

    fn no_text(&self, channel: &str) -> TemplateError {
        TemplateError {
            code: "template_part",
            template: self.name.clone(),
            part: String::new(),
            line: None,
            column: None,
            detail: format!("it has no text for channel {channel}"),
        }
    }

    /// The language counts before the channel: a general text one can read beats a special one that one cannot.
    fn find(&self, kinds: &[&str], locale: &str, fallback: Option<&str>) -> Option<&Part> {
        self.tags(locale, fallback).find_map(|tag| {
            kinds.iter().find_map(|kind| {
                self.parts.iter().find(|part| part.kind == *kind && part.locale.eq_ignore_ascii_case(tag))
            })
        })
    }

    /// Locales to try in order: as asked, its language, the tenant's, its language, the template's own.
    fn tags<'a>(&'a self, locale: &'a str, fallback: Option<&'a str>) -> impl Iterator<Item = &'a str> {
        let both = |tag: &'a str| [tag, tag.split(['-', '_']).next().unwrap_or_default()];
        both(locale).into_iter().chain(fallback.into_iter().flat_map(both)).chain([self.locale.as_str()])
    }

    fn compiled<'a>(&'a self, part: &'a Part) -> Result<&'a Compiled, TemplateError> {
        part.compiled.get_or_init(|| self.compile(part)).as_ref().map_err(Clone::clone)
    }

    fn compile(&self, part: &Part) -> Result<Compiled, TemplateError> {
        if part.source.len() > LONGEST_SOURCE {
            return Err(self.error("template_invalid", part, format!("longer than {LONGEST_SOURCE} bytes")));
        }
        // Files end in a line break, messages do not.
        let source = part.source.trim_end_matches(['\n', '\r']);
        let mut tree = handlebars::Template::compile(source).map_err(|error| {
            let (line, column) = error.pos().unzip();
            TemplateError { line, column, ..self.error("template_invalid", part, error.reason().to_string()) }
        })?;
        tree.name = Some(format!("{}/{}", self.name, part.label()));
        let needs = Needs::of(&tree, engine::registry_for(part.is_html())).map_err(|flaw| {
            let (line, column) = (Some(flaw.line), Some(flaw.column));
            TemplateError { line, column, ..self.error("template_invalid", part, flaw.detail) }
        })?;
        // Judged as it was written, rendered as it was made ready.
        if let Some(ready) = self.made_ready(part, source)? {
            tree = handlebars::Template::compile(&ready).map_err(|error| {
                let detail = format!("its blocks and its elements do not fit into each other: {}", error.reason());
                self.error("template_invalid", part, detail)
            })?;
            tree.name = Some(format!("{}/{}", self.name, part.label()));
        }
        Ok(Compiled { tree, needs })
    }

    /// MJML as HTML, and styles in their places; `None` where there is nothing to do.
    fn made_ready(&self, part: &Part, source: &str) -> Result<Option<String>, TemplateError> {
        match part.kind.as_str() {
            "email.mjml" => markup::from_mjml(source)
                .map(Some)
                .map_err(|flaw| TemplateError { line: flaw.line, ..self.error("template_invalid", part, flaw.detail) }),
            // HTML of any kind may be sent; what cannot be made ready goes out as it was written.
            "email.html" => {
                let around = source.contains("> layout").then(engine::layout_styles);
                Ok(markup::inlined(source, around).unwrap_or_default())
            }
            _ => Ok(None),
        }
    }

    fn error(&self, code: &'static str, part: &Part, detail: String) -> TemplateError {
        TemplateError { code, template: self.name.clone(), part: part.label(), line: None, column: None, detail }
    }
}

/// Bytes of an e-mail's text or HTML.
const MAIL: usize = 256 * 1024;
/// RFC 5322's longest line.
const SUBJECT: usize = 998;
/// Characters of a chat message.
const CHAT: usize = 4096;
/// Segments of an SMS.
const SMS: usize = 10;

impl Part {
    fn is_html(&self) -> bool {
        matches!(self.kind.as_str(), "email.html" | "email.mjml")
    }

    fn label(&self) -> String {
        format!("{}.{}", self.kind, self.locale)
    }
}

struct Chosen<'a> {
    /// None: it is made of the HTML.
    text: Option<&'a Part>,
    subject: Option<&'a Part>,
    html: Option<&'a Part>,
}

impl<'a> Chosen<'a> {
    fn iter(&self) -> impl Iterator<Item = &'a Part> {
        [self.text, self.subject, self.html].into_iter().flatten()
    }
}

/// `email.html.en` is the part `email.html` in `en`; the last piece is a locale when it looks like one.
fn split_locale(stem: &str) -> (&str, Option<&str>) {
    match stem.rsplit_once('.') {
        Some((kind, tag)) if is_locale(tag) => (kind, Some(tag)),
        _ => (stem, None),
    }
}

fn is_locale(tag: &str) -> bool {
    let mut pieces = tag.split('-');
    pieces.next().is_some_and(|language| language.len() == 2 && language.bytes().all(|b| b.is_ascii_lowercase()))
        && pieces.all(|piece| (2..=8).contains(&piece.len()) && piece.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// Line breaks and tabs stay; other control characters have no place in a message.
fn without_controls(text: String) -> String {
    let unwanted = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.contains(unwanted) { text.replace(unwanted, "") } else { text }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod mail_tests;
#[cfg(test)]
mod tests;
