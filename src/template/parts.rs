//! One template: its parts in every language, each compiled at first use.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use handlebars::{Context, Handlebars, RenderErrorReason};
use serde_json::{Map, Value};

use super::engine::{self, Failed};
use super::form::{self, Form};
use super::needs::{Flaw, Needs};
use super::own::Variable;
use super::partials::{Home, Included};
use super::{CHAT, SMS, TemplateError, bounds, markup, meter};

/// One template: its parts in every language, and sample data to show it with.
#[derive(Debug)]
pub struct Template {
    pub(super) name: String,
    /// The language of files without a suffix, and the last resort; empty for a tenant's own, whatever that is.
    pub(super) locale: String,
    pub(super) home: Home,
    pub(super) parts: Vec<Part>,
    pub(super) forms: Vec<Form>,
    pub(super) samples: Vec<(String, Value)>,
    /// What its author said about its variables.
    pub(super) variables: BTreeMap<String, Variable>,
}

#[derive(Debug)]
pub(super) struct Part {
    /// As the file is called: `text`, `sms`, `email.html`.
    pub kind: String,
    pub locale: String,
    source: Cow<'static, str>,
    compiled: OnceLock<Result<Compiled, TemplateError>>,
}

#[derive(Debug)]
pub(super) struct Compiled {
    tree: handlebars::Template,
    pub needs: Needs,
    /// With the tenant's partials; absent: the shared one will do.
    registry: Option<Box<Handlebars<'static>>>,
}

impl Template {
    /// Takes files as they lie in a template's folder (`text.hbs`, `email.html.en.hbs`, `sample.json`); others are
    /// ignored. `locale` is the language of those without a suffix.
    pub fn new<'f>(name: &str, locale: &str, files: impl IntoIterator<Item = (&'f str, Cow<'static, str>)>) -> Self {
        let mut template = Self {
            name: name.to_owned(),
            locale: locale.to_owned(),
            home: Home::Program,
            parts: Vec::new(),
            forms: Vec::new(),
            samples: Vec::new(),
            variables: BTreeMap::new(),
        };
        for (file, source) in files {
            if let Some(stem) = file.strip_suffix(".hbs") {
                let (kind, suffix) = split_locale(stem);
                template.add(kind, suffix.unwrap_or(locale), source);
            } else if let Some(stem) = file.strip_suffix(".json")
                && let (form::KIND, suffix) = split_locale(stem)
            {
                template.add("whatsapp.template.json", suffix.unwrap_or(locale), source);
            } else if let Some(stem) = file.strip_suffix(".json")
                && let ("sample", suffix) = split_locale(stem)
            {
                let sample = serde_json::from_str(&source).unwrap_or(Value::Null);
                template.samples.push((suffix.unwrap_or(locale).to_owned(), sample));
            }
        }
        template
    }

    pub(super) fn add(&mut self, kind: &str, locale: &str, source: Cow<'static, str>) {
        if kind.strip_suffix(".json") == Some(form::KIND) {
            self.forms.push(Form::new(locale, source));
        } else {
            let (kind, locale) = (kind.to_owned(), locale.to_owned());
            self.parts.push(Part { kind, locale, source, compiled: OnceLock::new() });
        }
    }

    /// The same template in a tenant's house: with its frame.
    pub(super) fn framed(&self, home: Home) -> Self {
        let mut framed = Self::new(&self.name, &self.locale, []);
        framed.home = home;
        for part in &self.parts {
            framed.add(&part.kind, &part.locale, part.source.clone());
        }
        framed.forms = self.forms.iter().map(|form| Form::new(&form.locale, form.source.clone())).collect();
        framed.samples.clone_from(&self.samples);
        framed
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Compiles every part now and answers the first flaw.
    pub fn check(&self) -> Result<(), TemplateError> {
        self.flaws().into_iter().next().map_or(Ok(()), Err)
    }

    /// Compiles every part now and answers the first flaw of each.
    pub fn flaws(&self) -> Vec<TemplateError> {
        let parts = self.parts.iter().filter_map(|part| self.compiled(part).err());
        let forms = self.forms.iter().filter_map(|form| {
            let (rule, detail) = form.compiled(&self.home).err()?;
            Some(TemplateError { rule, ..self.form_error(form, detail) })
        });
        parts.chain(forms).collect()
    }

    /// One of its parts holds a partial, as far as its text shows.
    pub(super) fn includes(&self) -> bool {
        self.parts.iter().any(|part| bounds::check(&part.source).is_ok_and(|seen| seen.includes))
    }

    /// Nothing is left to compile.
    pub(super) fn is_compiled(&self) -> bool {
        self.parts.iter().all(|part| part.compiled.get().is_some())
    }

    /// Every variable its parts may use, and whether one of them can't do without.
    pub fn variables(&self) -> Result<BTreeMap<String, bool>, TemplateError> {
        let mut all = BTreeMap::new();
        for part in &self.parts {
            self.compiled(part)?.needs.variables(&mut all);
        }
        for form in &self.forms {
            let compiled = form.compiled(&self.home).map_err(|(_, detail)| self.form_error(form, detail))?;
            compiled.needs.iter().for_each(|needs| needs.variables(&mut all));
        }
        Ok(all)
    }

    /// The sources of one language, by part.
    pub fn sources(&self, locale: &str) -> BTreeMap<String, String> {
        let mut tags = self.tags(locale, None);
        let spoken = |tag: &&str| {
            self.parts.iter().any(|part| part.locale.eq_ignore_ascii_case(tag))
                || self.forms.iter().any(|form| form.locale.eq_ignore_ascii_case(tag))
        };
        let Some(tag) = tags.find(spoken) else { return BTreeMap::new() };
        let parts = self.parts.iter().filter(|part| part.locale.eq_ignore_ascii_case(tag));
        let forms = self.forms.iter().filter(|form| form.locale.eq_ignore_ascii_case(tag));
        parts
            .map(|part| (part.kind.clone(), part.source.to_string()))
            .chain(forms.map(|form| (format!("{}.json", form::KIND), form.source.to_string())))
            .collect()
    }

    /// The kinds of parts it has, in any language.
    pub fn kinds(&self) -> Vec<String> {
        let forms = self.forms.iter().map(|_| format!("{}.json", form::KIND));
        let mut kinds: Vec<_> = self.parts.iter().map(|part| part.kind.clone()).chain(forms).collect();
        kinds.sort();
        kinds.dedup();
        kinds
    }

    pub(super) fn form_in(&self, locale: &str, fallback: Option<&str>) -> Option<&Form> {
        let mut tags = self.tags(locale, fallback);
        tags.find_map(|tag| self.forms.iter().find(|form| form.locale.eq_ignore_ascii_case(tag)))
    }

    pub(super) fn form_error(&self, form: &Form, detail: String) -> TemplateError {
        let part = format!("{}.json", form::KIND);
        let template = self.name.clone();
        let locale = form.locale.clone();
        TemplateError { code: "template_invalid", rule: "", template, part, locale, line: None, column: None, detail }
    }

    /// Data to show the template with, in the nearest language; null when it brings none.
    pub fn sample(&self, locale: &str) -> &Value {
        static NONE: Value = Value::Null;
        let mut tags = self.tags(locale, None);
        let found = tags.find_map(|tag| self.samples.iter().find(|(locale, _)| locale.eq_ignore_ascii_case(tag)));
        found.map_or(&NONE, |(_, sample)| sample)
    }

    /// The language counts before the channel: a general text one can read beats a special one that one cannot.
    pub(super) fn find(&self, kinds: &[&str], locale: &str, fallback: Option<&str>) -> Option<&Part> {
        self.tags(locale, fallback).find_map(|tag| {
            kinds.iter().find_map(|kind| {
                self.parts.iter().find(|part| part.locale.eq_ignore_ascii_case(tag) && part.kind == *kind)
            })
        })
    }

    /// Locales to try in order: as asked, its language, the tenant's, its language, the template's own.
    fn tags<'a>(&'a self, locale: &'a str, fallback: Option<&'a str>) -> impl Iterator<Item = &'a str> {
        let both = |tag: &'a str| [tag, tag.split(['-', '_']).next().unwrap_or_default()];
        both(locale).into_iter().chain(fallback.into_iter().flat_map(both)).chain([self.locale.as_str()])
    }

    pub(super) fn render_subject(&self, part: &Part, context: &Context) -> Result<String, TemplateError> {
        let subject = self.render_part(part, SUBJECT, context)?;
        if subject.chars().any(crate::address::breaks_a_line) {
            let detail = "the subject has line breaks or other control characters".to_owned();
            return Err(self.error("control_characters", part, detail));
        }
        Ok(subject.trim().to_owned())
    }

    pub(super) fn render_html(&self, part: &Part, context: &Context) -> Result<String, TemplateError> {
        self.render_part(part, MAIL, context).map(without_controls)
    }

    pub(super) fn render_text(&self, part: &Part, channel: &str, context: &Context) -> Result<String, TemplateError> {
        let bytes = if matches!(channel, "email" | "webhook") { MAIL } else { CHAT * 4 };
        let mut text = without_controls(self.render_part(part, bytes, context)?);
        text.truncate(text.trim_end_matches(['\n', ' ']).len());
        match channel {
            "email" | "webhook" => Ok(text),
            "sms" if crate::sms::segments(&text).segments > SMS => {
                Err(self.error("template_limit", part, format!("longer than {SMS} SMS segments")))
            }
            _ if text.len() > CHAT && text.chars().nth(CHAT).is_some() => {
                Err(self.error("template_limit", part, format!("longer than {CHAT} characters")))
            }
            _ => Ok(text),
        }
    }

    fn render_part(&self, part: &Part, limit: usize, context: &Context) -> Result<String, TemplateError> {
        let compiled = self.compiled(part)?;
        let registry = compiled.registry.as_deref().unwrap_or_else(|| engine::registry_for(part.is_html()));
        engine::render(&compiled.tree, registry, context, limit).map_err(|failed| match failed {
            Failed::TooLong => self.error("template_limit", part, format!("its output is longer than {limit} bytes")),
            Failed::Limit(limit) => self.error("template_limit", part, limit.to_string()),
            Failed::Render(error) => {
                let (code, detail) = match error.reason() {
                    RenderErrorReason::MissingVariable(Some(name)) => ("template_data", format!("{name} is missing")),
                    RenderErrorReason::MissingVariable(None) => ("template_data", "a value is missing".to_owned()),
                    RenderErrorReason::Other(detail) => ("template_data", detail.clone()),
                    reason => ("template_invalid", reason.to_string()),
                };
                let (line, column) = (error.line_no, error.column_no);
                TemplateError { line, column, ..self.error(code, part, detail) }
            }
        })
    }

    /// Only what the parts read is copied: data may carry far more than a template shows.
    pub(super) fn copy_read(
        &self,
        part: &Part,
        all: &Map<String, Value>,
        copy: &mut Map<String, Value>,
    ) -> Result<(), TemplateError> {
        let take = |name: &String| {
            if let Some(value) = all.get(name)
                && !copy.contains_key(name)
            {
                copy.insert(name.clone(), value.clone());
            }
        };
        match &self.compiled(part)?.needs.names {
            Some(names) => names.iter().for_each(take),
            None => all.keys().for_each(take),
        }
        Ok(())
    }

    pub(super) fn compiled<'a>(&'a self, part: &'a Part) -> Result<&'a Compiled, TemplateError> {
        part.compiled.get_or_init(|| self.compile(part)).as_ref().map_err(Clone::clone)
    }

    fn compile(&self, part: &Part) -> Result<Compiled, TemplateError> {
        // Files end in a line break, messages do not.
        let source = part.source.trim_end_matches(['\n', '\r']);
        let flawed = |flaw: Flaw| {
            let (line, column) = (Some(flaw.line), Some(flaw.column));
            TemplateError { rule: flaw.code, line, column, ..self.error("template_invalid", part, flaw.detail) }
        };
        let reading = bounds::check(source).map_err(flawed)?.reading;
        let mut tree = handlebars::Template::compile(source).map_err(|error| {
            let (line, column) = error.pos().unzip();
            let error = self.error("template_invalid", part, error.reason().to_string());
            TemplateError { rule: "syntax", line, column, ..error }
        })?;
        let mut included = Included::new(&self.home, &part.kind, &part.locale, part.is_html(), reading);
        let needs = Needs::of(&tree, &mut included).map_err(flawed)?;
        // Judged as it was written, rendered as it was made ready.
        if let Some(ready) = self.made_ready(part, source, included.styles())? {
            if bounds::reading(&ready) > bounds::READING {
                let detail =
                    "becomes HTML with too many tags for its length: shorten it, or loop with #each".to_owned();
                return Err(TemplateError { rule: "too_long", ..self.error("template_invalid", part, detail) });
            }
            tree = handlebars::Template::compile(&ready).map_err(|error| {
                let detail = format!("its blocks and its elements do not fit into each other: {}", error.reason());
                TemplateError { rule: "markup", ..self.error("template_invalid", part, detail) }
            })?;
        }
        tree.name = Some(format!("{}/{}", self.name, part.label()));
        if !self.home.is_trusted() {
            meter::instrument(&mut tree);
        }
        Ok(Compiled { tree, needs, registry: included.registry() })
    }

    /// MJML as HTML, and styles in their places; `None` where there is nothing to do. `around`: the style sheet of the
    /// frame it stands in.
    fn made_ready(&self, part: &Part, source: &str, around: Option<String>) -> Result<Option<String>, TemplateError> {
        match part.kind.as_str() {
            "email.mjml" => markup::from_mjml(source).map(Some).map_err(|flaw| {
                let error = self.error("template_invalid", part, flaw.detail);
                TemplateError { rule: "markup", line: flaw.line, ..error }
            }),
            // HTML of any kind may be sent; what cannot be made ready goes out as it was written.
            "email.html" => Ok(markup::inlined(source, around.as_deref()).unwrap_or_default()),
            _ => Ok(None),
        }
    }

    pub(super) fn error(&self, code: &'static str, part: &Part, detail: String) -> TemplateError {
        TemplateError {
            code,
            rule: "",
            template: self.name.clone(),
            part: part.kind.clone(),
            locale: part.locale.clone(),
            line: None,
            column: None,
            detail,
        }
    }
}

/// Bytes of an e-mail's text or HTML.
const MAIL: usize = 256 * 1024;
/// RFC 5322's longest line.
const SUBJECT: usize = 998;

impl Part {
    pub fn is_html(&self) -> bool {
        matches!(self.kind.as_str(), "email.html" | "email.mjml")
    }

    fn label(&self) -> String {
        if self.locale.is_empty() { self.kind.clone() } else { format!("{}.{}", self.kind, self.locale) }
    }
}

/// `email.html.en` is the part `email.html` in `en`; the last piece is a locale when it looks like one.
pub(crate) fn split_locale(stem: &str) -> (&str, Option<&str>) {
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
    if !holds_controls(text.as_bytes()) {
        return text;
    }
    text.replace(|c: char| c.is_control() && !matches!(c, '\n' | '\t'), "")
}

/// Looked for in bytes, all at once and without a way out: hardly any text holds one. Those above ASCII are U+0080 to
/// U+009F.
fn holds_controls(utf8: &[u8]) -> bool {
    let ascii = |byte: u8| (byte < 0x20 && byte != b'\n' && byte != b'\t') || byte == 0x7f;
    let above = |(first, second): (&u8, &u8)| *first == 0xc2 && *second < 0xa0;
    let any = utf8.iter().fold(false, |any, byte| any | ascii(*byte));
    utf8.iter().zip(utf8.get(1..).unwrap_or_default()).fold(any, |any, pair| any | above(pair))
}

#[cfg(test)]
mod tests {
    use super::holds_controls;

    #[test]
    fn bytes_tell_of_the_same_control_characters_as_characters() {
        for c in '\0'..=char::MAX {
            let unwanted = c.is_control() && !matches!(c, '\n' | '\t');
            assert_eq!(holds_controls(format!("é{c}¡").as_bytes()), unwanted, "{c:?}");
        }
    }
}
