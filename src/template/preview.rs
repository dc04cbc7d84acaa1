//! What a template looks like with some data: every part that can be shown, what is wrong with the others, and what its
//! author should know before it is sent.

use std::collections::BTreeMap;

use handlebars::Context;
use plugin_api::gsm7;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::found::{Found, Piece, context, setting, spoken};
use super::partials::Home;
use super::{Parts, Rendered, Template, TemplateError, meter};
use crate::settings::Level;
use crate::sms;

/// One part, as it would be sent.
#[derive(Debug, Serialize, ToSchema)]
pub struct Shown {
    /// Whose words these are.
    pub level: Level,
    /// The language the part is written in; null for the tenant's own.
    pub locale: Option<String>,
    pub output: String,
    /// What it costs as SMS, where it would be sent as one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sms: Option<sms::Segments>,
}

/// Something its author should know.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct Warning {
    /// Empty when the template as a whole is meant.
    pub part: String,
    /// `missing_variable`, `sms_segments`, `long_button`, `form_parameter`, `unescaped_html` or `subject_line_break`.
    pub code: &'static str,
    pub detail: String,
}

#[derive(Debug)]
pub struct Preview {
    pub parts: BTreeMap<String, Shown>,
    /// What is wrong with the parts that are not shown.
    pub flaws: Vec<TemplateError>,
    /// The message of the channel that was asked for.
    pub message: Option<Rendered>,
    /// Variables that a part can't do without and the data lacks; they show as `[name]`.
    pub missing: Vec<String>,
    pub warnings: Vec<Warning>,
    /// Turns of loops and partials, helpers and pieces of text.
    pub operations: u32,
    /// Turns of loops and partials alone.
    pub loops: u32,
}

/// How to show a template.
#[derive(Debug, Clone, Copy)]
pub struct Show<'a> {
    pub locale: &'a str,
    /// Only what this channel takes.
    pub channel: Option<&'a str>,
    /// Absent: the template's own sample.
    pub data: Option<&'a Value>,
    /// The channel of [`Show::channel`] is not looked at.
    pub parts: Parts<'a>,
}

impl<'a> Found<'a> {
    /// Renders all there is to see. Blocks the thread: for those with large stacks.
    pub fn preview(&self, show: Show<'_>) -> Preview {
        let mut preview = Preview {
            parts: BTreeMap::new(),
            flaws: Vec::new(),
            message: None,
            missing: Vec::new(),
            warnings: Vec::new(),
            operations: 0,
            loops: 0,
        };
        let pieces = match show.channel {
            None => self.pieces(show),
            Some(channel) => match self.choose(show.locale, Parts::of(channel).like(show.parts)) {
                Ok(chosen) => chosen.iter().collect(),
                Err(flaw) => {
                    preview.flaws.push(flaw);
                    return preview;
                }
            },
        };
        let mut data = self.data(show);
        for piece in &pieces {
            match piece.template.compiled(piece.part) {
                Ok(compiled) => compiled.needs.missing(&data, &mut preview.missing),
                Err(flaw) => preview.flaws.push(flaw),
            }
        }
        for name in &preview.missing {
            let detail = format!("{name} is not in the data; it is shown as [{name}]");
            preview.warnings.push(Warning { part: String::new(), code: "missing_variable", detail });
            set(&mut data, name, Value::String(format!("[{name}]")));
        }
        let setting = setting(show.locale, show.parts);
        let rendering = match self.begin_bounded(&data, setting) {
            Ok(rendering) => rendering,
            Err(flaw) => {
                preview.flaws.push(flaw);
                return preview;
            }
        };
        for piece in pieces.iter().filter(|piece| piece.template.compiled(piece.part).is_ok()) {
            meter::in_language(spoken(setting, show.locale, show.parts, piece.part));
            preview.show(*piece, show, &data);
        }
        meter::in_language(setting.formatted(None));
        self.preview_form(show, &data, &mut preview);
        if let Some(channel) = show.channel
            && preview.flaws.is_empty()
        {
            let parts = Parts::of(channel).like(show.parts);
            match self.render_within(show.locale, parts, &data) {
                Ok(message) => preview.message = Some(message),
                Err(flaw) => preview.flaws.push(flaw),
            }
        }
        let used = meter::used();
        (preview.operations, preview.loops) = (used.operations, used.steps);
        drop(rendering);
        preview
    }

    /// For each kind, the part that would be taken.
    fn pieces(&self, show: Show<'_>) -> Vec<Piece<'a>> {
        let mut pieces: Vec<Piece<'a>> = Vec::new();
        for template in self.levels() {
            let template: &'a Template = template;
            for kind in template.kinds() {
                let part = template.find(&[&kind], show.locale, show.parts.fallback);
                if let Some(part) = part.filter(|part| pieces.iter().all(|p| p.part.kind != part.kind)) {
                    pieces.push(Piece { template, part });
                }
            }
            // The words are of one level; what an outer one has besides would not be sent with them.
            if pieces.iter().any(|piece| piece.part.kind != "email.subject") {
                break;
            }
        }
        pieces
    }

    /// What was given, else the sample and what the author wrote as examples.
    fn data(&self, show: Show<'_>) -> Value {
        if let Some(data) = show.data {
            return data.clone();
        }
        let mut fields = Map::new();
        for template in self.levels().collect::<Vec<_>>().into_iter().rev() {
            if let Value::Object(sample) = template.sample(show.locale) {
                fields.clone_from(sample);
            }
        }
        let mut data = Value::Object(fields);
        for template in self.levels() {
            for (name, example) in template.variables.iter().filter_map(|(n, v)| Some((n, v.example.as_ref()?))) {
                set(&mut data, name, example.clone());
            }
        }
        data
    }

    fn preview_form(&self, show: Show<'_>, data: &Value, preview: &mut Preview) {
        if show.channel.is_some_and(|channel| channel != "whatsapp") {
            return;
        }
        let found = self.levels().find_map(|t| Some((t, t.form_in(show.locale, show.parts.fallback)?)));
        let Some((template, form)) = found else { return };
        let filled = match form.render(&template.home, data) {
            Ok(filled) => filled,
            Err(detail) => {
                preview.flaws.push(template.form_error(form, detail));
                return;
            }
        };
        let part = "whatsapp.template.json".to_owned();
        for (n, value) in filled.body.iter().enumerate() {
            if value.text.contains(['\n', '\t']) || value.text.contains("     ") {
                let detail = format!("value {} has a line break, a tab or more than four spaces in a row", n + 1);
                preview.warnings.push(Warning { part: part.clone(), code: "form_parameter", detail });
            }
        }
        for button in &filled.buttons {
            // The texts of a button's value, whatever kind it is.
            let value = serde_json::to_value(&button.value).unwrap_or_default();
            for (kind, text) in value.as_object().into_iter().flatten() {
                let most = if kind == "payload" {
                    128
                } else if kind.contains("ode") {
                    15
                } else {
                    2000
                };
                let length = text.as_str().map_or(0, |text| text.chars().count());
                if length > most {
                    let detail = format!("button {}: {length} characters; WhatsApp takes {most}", button.index);
                    preview.warnings.push(Warning { part: part.clone(), code: "long_button", detail });
                }
            }
        }
        let output = serde_json::to_string_pretty(&filled).unwrap_or_default();
        preview.parts.insert(part, Shown { level: level(template), locale: spelt(&form.locale), output, sms: None });
    }
}

impl Preview {
    fn show(&mut self, piece: Piece<'_>, show: Show<'_>, data: &Value) {
        let Piece { template, part } = piece;
        let rendered = context([piece].into_iter(), data).and_then(|context: Context| match part.kind.as_str() {
            "email.subject" => template.render_subject(part, &context),
            _ if part.is_html() => template.render_html(part, &context),
            "email.text" => template.render_text(part, "email", &context),
            "text" => template.render_text(part, show.channel.unwrap_or("chat"), &context),
            channel => template.render_text(part, channel, &context),
        });
        let output = match rendered {
            Ok(output) => output,
            Err(flaw) => {
                if flaw.code == "control_characters" {
                    let (part, detail) = (part.kind.clone(), flaw.detail.clone());
                    self.warnings.push(Warning { part, code: "subject_line_break", detail });
                }
                self.flaws.push(flaw);
                return;
            }
        };
        let by_sms = part.kind == "sms" || show.channel == Some("sms");
        let cost = by_sms.then(|| sms::segments(&output));
        if let Some(cost) = cost.filter(|cost| cost.segments > 1) {
            self.warnings.push(Warning {
                part: part.kind.clone(),
                code: "sms_segments",
                detail: explain(&output, cost),
            });
        }
        if part.is_html() && template.compiled(part).is_ok_and(|compiled| compiled.needs.unescaped) {
            let detail = "it writes values into the HTML as they are: whoever fills the data can put markup there";
            self.warnings.push(Warning { part: part.kind.clone(), code: "unescaped_html", detail: detail.to_owned() });
        }
        let shown = Shown { level: level(template), locale: spelt(&part.locale), output, sms: cost };
        self.parts.insert(part.kind.clone(), shown);
    }
}

/// Titles that WhatsApp would cut or refuse.
pub fn long_titles<'t>(titles: impl ExactSizeIterator<Item = &'t str>) -> Vec<Warning> {
    // Up to three are buttons, more are the rows of a list.
    let most = if titles.len() <= 3 { 20 } else { 24 };
    let long = titles.filter(|title| title.chars().count() > most);
    long.map(|title| {
        let detail = format!("{title:?} has {} characters; WhatsApp shows {most}", title.chars().count());
        Warning { part: String::new(), code: "long_button", detail }
    })
    .collect()
}

fn explain(text: &str, cost: sms::Segments) -> String {
    let mut culprits: Vec<char> = text.chars().filter(|c| gsm7::septets(*c).is_none()).collect();
    culprits.sort_unstable();
    culprits.dedup();
    let because = if culprits.is_empty() {
        String::new()
    } else {
        format!(", because of {}", culprits.iter().take(8).map(char::to_string).collect::<Vec<_>>().join(" "))
    };
    format!("costs {} SMS segments as {}{because}", cost.segments, cost.encoding)
}

fn level(template: &Template) -> Level {
    match &template.home {
        Home::Program => Level::Platform,
        Home::Tenant { .. } if !template.locale.is_empty() => Level::Platform,
        Home::Tenant { branch, .. } if branch.is_empty() => Level::Tenant,
        Home::Tenant { .. } => Level::Branch,
    }
}

fn spelt(locale: &str) -> Option<String> {
    (!locale.is_empty()).then(|| locale.to_owned())
}

/// Sets what is absent or null.
fn set(data: &mut Value, path: &str, value: Value) {
    let mut at = data;
    for field in path.split('.') {
        if at.is_null() {
            *at = Value::Object(Map::new());
        }
        let Value::Object(map) = at else { return };
        at = map.entry(field).or_insert(Value::Null);
    }
    if at.is_null() {
        *at = value;
    }
}
