//! What a name means to one branch: templates of the branch, of the tenant, of the program, the innermost first. The
//! words of a message (text and HTML) are of one level, the first that has any for its channel in a language that fits;
//! a subject it lacks comes from the next.

use std::sync::Arc;

use handlebars::Context;
use plugin_api::ApprovedForm;
use serde_json::{Map, Value};

use super::format::Setting;
use super::meter::{self, Rendering};
use super::parts::{Part, Template};
use super::{Parts, Rendered, TemplateError, plain};
use crate::pool;

/// The templates of one name, the innermost level first.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    levels: [Option<&'a Arc<Template>>; 3],
}

/// A part, and the template it belongs to.
#[derive(Clone, Copy)]
pub(super) struct Piece<'a> {
    pub template: &'a Template,
    pub part: &'a Part,
}

pub(super) struct Chosen<'a> {
    /// None: it is made of the HTML.
    pub text: Option<Piece<'a>>,
    pub subject: Option<Piece<'a>>,
    pub html: Option<Piece<'a>>,
}

impl<'a> Chosen<'a> {
    pub fn iter(&self) -> impl Iterator<Item = Piece<'a>> {
        [self.text, self.subject, self.html].into_iter().flatten()
    }
}

impl<'a> Found<'a> {
    pub fn one(template: &'a Arc<Template>) -> Self {
        Self { levels: [Some(template), None, None] }
    }

    /// None when no level has it.
    pub(super) fn of(levels: [Option<&'a Arc<Template>>; 3]) -> Option<Self> {
        levels.iter().any(Option::is_some).then_some(Self { levels })
    }

    /// The levels that have it, the innermost first.
    pub fn levels(&self) -> impl Iterator<Item = &'a Arc<Template>> {
        self.levels.into_iter().flatten()
    }

    /// Every level is the program's own.
    fn is_trusted(&self) -> bool {
        self.levels().all(|template| template.home.is_trusted())
    }

    /// Names every variable that rendering would need and `data` lacks.
    pub async fn missing(&self, locale: &str, parts: Parts<'_>, data: &Value) -> Result<Vec<String>, TemplateError> {
        // Compiling what a tenant wrote needs room; after that, this is looking things up.
        if self.is_trusted() || self.levels().all(|template| template.is_compiled()) {
            return self.missing_here(locale, parts, data);
        }
        self.apart(locale, parts, data, |found, locale, parts, data| found.missing_here(locale, parts, data)).await
    }

    pub async fn render(&self, locale: &str, parts: Parts<'_>, data: &Value) -> Result<Rendered, TemplateError> {
        if self.is_trusted() {
            return self.render_here(locale, parts, data);
        }
        self.apart(locale, parts, data, |found, locale, parts, data| found.render_here(locale, parts, data)).await
    }

    /// The form a provider approved for this message, in the nearest language, filled in.
    pub async fn form(
        &self,
        locale: &str,
        parts: Parts<'_>,
        data: &Value,
    ) -> Result<Option<ApprovedForm>, TemplateError> {
        if self.is_trusted() || self.levels().all(|template| template.forms.is_empty()) {
            return self.form_here(locale, parts, data);
        }
        self.apart(locale, parts, data, |found, locale, parts, data| found.form_here(locale, parts, data)).await
    }

    /// On a thread that has room for what tenants write.
    async fn apart<T: Send + 'static>(
        &self,
        locale: &str,
        parts: Parts<'_>,
        data: &Value,
        work: impl FnOnce(Found<'_>, &str, Parts<'_>, &Value) -> Result<T, TemplateError> + Send + 'static,
    ) -> Result<T, TemplateError> {
        let levels = self.levels.map(Option::<&Arc<Template>>::cloned);
        let (locale, data) = (locale.to_owned(), data.clone());
        let [channel, country] = [parts.channel, parts.country].map(str::to_owned);
        let fallback = parts.fallback.map(str::to_owned);
        let Parts { subject, html, formatting, zone, now, whose, .. } = parts;
        let done = pool::run(whose, move || {
            let found = Found { levels: levels.each_ref().map(Option::as_ref) };
            let fallback = fallback.as_deref();
            let (channel, country) = (&*channel, &*country);
            let parts = Parts { channel, subject, html, formatting, fallback, zone, now, country, whose: "" };
            work(found, &locale, parts, &data)
        });
        done.await.unwrap_or_else(|pool::Panicked| {
            Err(TemplateError::whole("template_limit", self.name(), "it made the renderer fail".to_owned()))
        })
    }

    fn name(&self) -> &'a str {
        self.levels().next().map_or("", |template| template.name())
    }

    pub(super) fn missing_here(
        &self,
        locale: &str,
        parts: Parts<'_>,
        data: &Value,
    ) -> Result<Vec<String>, TemplateError> {
        let mut missing = Vec::new();
        let chosen = self.choose(locale, parts)?;
        if !self.is_trusted() {
            self.weigh(data)?;
        }
        for piece in chosen.iter() {
            piece.template.compiled(piece.part)?.needs.missing(data, &mut missing);
            for (name, _) in piece.template.variables.iter().filter(|(_, variable)| variable.required == Some(true)) {
                let value = name.split('.').try_fold(data, |value, field| value.get(field));
                if value.is_none_or(Value::is_null) && !missing.contains(name) {
                    missing.push(name.clone());
                }
            }
        }
        Ok(missing)
    }

    /// On this thread, whose stack should be large when a tenant's words are among them.
    pub fn render_here(&self, locale: &str, parts: Parts<'_>, data: &Value) -> Result<Rendered, TemplateError> {
        let chosen = self.choose(locale, parts)?;
        // Compiled before the time counts.
        for piece in chosen.iter() {
            piece.template.compiled(piece.part)?;
        }
        let _rendering = self.begin(data, setting(locale, parts))?;
        self.render_chosen(&chosen, locale, parts, data)
    }

    /// As part of a rendering that has begun.
    pub(super) fn render_within(
        &self,
        locale: &str,
        parts: Parts<'_>,
        data: &Value,
    ) -> Result<Rendered, TemplateError> {
        self.render_chosen(&self.choose(locale, parts)?, locale, parts, data)
    }

    fn render_chosen(
        &self,
        chosen: &Chosen<'a>,
        locale: &str,
        parts: Parts<'_>,
        data: &Value,
    ) -> Result<Rendered, TemplateError> {
        let setting = setting(locale, parts);
        let context = context(chosen.iter(), data)?;
        let render = |piece: Piece<'a>, render: &dyn Fn(Piece<'a>) -> Result<String, TemplateError>| {
            meter::in_language(spoken(setting, locale, parts, piece.part));
            render(piece)
        };
        let subject =
            chosen.subject.map(|p| render(p, &|p| p.template.render_subject(p.part, &context))).transpose()?;
        let html = chosen.html.map(|p| render(p, &|p| p.template.render_html(p.part, &context))).transpose()?;
        let text = match (chosen.text, chosen.html, &html) {
            (Some(p), ..) => render(p, &|p| p.template.render_text(p.part, parts.channel, &context))?,
            (None, Some(p), Some(html)) => plain::text_of(html).ok_or_else(|| {
                let detail = "its elements are nested too deep to make a text of them: add email.text".to_owned();
                p.template.error("template_limit", p.part, detail)
            })?,
            _ => return Err(self.no_text(parts.channel)),
        };
        Ok(Rendered { subject, text, html })
    }

    pub(super) fn form_here(
        &self,
        locale: &str,
        parts: Parts<'_>,
        data: &Value,
    ) -> Result<Option<ApprovedForm>, TemplateError> {
        let mut levels = self.levels();
        let Some((template, form)) = levels.find_map(|t| Some((t, t.form_in(locale, parts.fallback)?))) else {
            return Ok(None);
        };
        // Its values are a provider's parameters, not a text.
        let _rendering = self.begin(data, setting(locale, parts.formatted(None)))?;
        form.render(&template.home, data).map(Some).map_err(|detail| template.form_error(form, detail))
    }

    /// Bounds hold for a tenant's words, and for the program's within a tenant's frame.
    fn begin(&self, data: &Value, setting: Setting) -> Result<Rendering, TemplateError> {
        if self.is_trusted() { Ok(Rendering::trusted(setting)) } else { self.begin_bounded(data, setting) }
    }

    pub(super) fn begin_bounded(&self, data: &Value, setting: Setting) -> Result<Rendering, TemplateError> {
        Ok(Rendering::bounded(self.weigh(data)?, setting))
    }

    /// How many values the data has, unless one of its lists is too long.
    fn weigh(&self, data: &Value) -> Result<usize, TemplateError> {
        meter::weigh(data).map_err(|detail| TemplateError::whole("template_limit", self.name(), detail))
    }

    pub(super) fn choose(&self, locale: &str, parts: Parts<'_>) -> Result<Chosen<'a>, TemplateError> {
        let specific = if parts.channel == "email" { "email.text" } else { parts.channel };
        for (n, template) in self.levels().enumerate() {
            let template: &'a Template = template;
            let find =
                |kinds: &[&str]| template.find(kinds, locale, parts.fallback).map(|part| Piece { template, part });
            let text = find(&[specific, "text"]);
            let html = parts.html.then(|| find(&["email.mjml", "email.html"])).flatten();
            let Some(words) = html.or(text) else { continue };
            let subject = parts.subject.then(|| {
                // Of the next level in the words' own language, not in the reader's.
                let locale = match words.part.locale.as_str() {
                    "" => parts.fallback.unwrap_or(locale),
                    spoken => spoken,
                };
                find(&["email.subject"]).or_else(|| {
                    self.levels().skip(n + 1).find_map(|template| {
                        let part = template.find(&["email.subject"], locale, parts.fallback)?;
                        Some(Piece { template, part })
                    })
                })
            });
            return Ok(Chosen { text, subject: subject.flatten(), html });
        }
        Err(self.no_text(parts.channel))
    }

    fn no_text(&self, channel: &str) -> TemplateError {
        TemplateError::whole("template_part", self.name(), format!("it has no text for channel {channel}"))
    }
}

pub(super) fn setting(locale: &str, parts: Parts<'_>) -> Setting {
    Setting::new(locale, parts.zone, parts.now, parts.country).formatted(parts.formatting)
}

/// Dates and numbers are written in the language of the words around them, as the reader's region has it when that is
/// also theirs.
pub(super) fn spoken(setting: Setting, locale: &str, parts: Parts<'_>, part: &Part) -> Setting {
    fn language(tag: &str) -> &str {
        tag.split(['-', '_']).next().unwrap_or_default()
    }
    let own = if part.locale.is_empty() { parts.fallback.unwrap_or(locale) } else { &part.locale };
    let is_own = |tag: &str| language(tag).eq_ignore_ascii_case(language(own));
    if is_own(locale) {
        return setting;
    }
    let regional = parts.fallback.filter(|fallback| is_own(fallback));
    setting.in_language(regional.unwrap_or(own))
}

pub(super) fn context<'a>(pieces: impl Iterator<Item = Piece<'a>>, data: &Value) -> Result<Context, TemplateError> {
    let mut copy = Map::new();
    if let Value::Object(all) = data {
        for piece in pieces {
            piece.template.copy_read(piece.part, all, &mut copy)?;
        }
    }
    Ok(Context::from(Value::Object(copy)))
}
