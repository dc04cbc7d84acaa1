//! The helpers that make one value of their parameters, in the reader's language and the branch's zone. HTML escaping
//! follows as for any value.

mod amount;
mod when;

use chrono_tz::Tz;
use handlebars::{
    Context, Handlebars, Helper, HelperDef, JsonRender, JsonTruthy, PathAndJson, RenderContext, RenderError,
    RenderErrorReason, ScopedJson,
};
use plugin_api::Formatting;
use serde_json::Value;

use super::meter;
use crate::clock::Timestamp;

/// Where and when a text is for. Small enough to be copied about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Setting {
    locale: [u8; 16],
    pub zone: Tz,
    pub now: Timestamp,
    /// What the channel would make of a value's signs.
    pub formatting: Option<Formatting>,
    /// ISO 3166 alpha-2; zeros when unknown.
    country: [u8; 2],
}

impl Setting {
    pub const NONE: Self =
        Self { locale: [0; 16], zone: Tz::UTC, now: Timestamp(0), formatting: None, country: [0; 2] };

    pub fn new(locale: &str, zone: Tz, now: Timestamp, country: &str) -> Self {
        let mut setting = Self { zone, now, ..Self::NONE }.in_language(locale);
        if let [a, b] = country.as_bytes() {
            setting.country = [*a, *b];
        }
        setting
    }

    pub fn in_language(mut self, locale: &str) -> Self {
        self.locale = [0; 16];
        // A tag that is longer says less than its beginning.
        let locale = if locale.len() <= 16 { locale } else { locale.get(..2).unwrap_or_default() };
        self.locale[..locale.len()].copy_from_slice(locale.as_bytes());
        self
    }

    pub fn formatted(self, formatting: Option<Formatting>) -> Self {
        Self { formatting, ..self }
    }

    fn locale(&self) -> &str {
        std::str::from_utf8(&self.locale).unwrap_or_default().trim_end_matches('\0')
    }

    /// The branch's country.
    fn country(&self) -> &str {
        std::str::from_utf8(&self.country).unwrap_or_default().trim_end_matches('\0')
    }

    /// In small letters.
    fn language(&self) -> &str {
        self.locale().split(['-', '_']).next().unwrap_or_default()
    }

    /// The region of the language tag, in capitals; empty when it names none.
    fn region(&self) -> &str {
        let mut pieces = self.locale().split(['-', '_']).skip(1);
        pieces.find(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_uppercase())).unwrap_or_default()
    }

    /// Spanish where the tag means nothing.
    fn icu(&self) -> icu_locale_core::Locale {
        let tag = self.locale().replace('_', "-");
        let known = if tag.is_empty() { None } else { tag.parse().ok() };
        known.unwrap_or(icu_locale_core::locale!("es"))
    }
}

/// The narrow and unbreakable spaces of the tables would make an SMS cost twice as much.
fn plain_spaces(text: String) -> String {
    let odd = ['\u{a0}', '\u{202f}', '\u{2009}'];
    if text.contains(odd) { text.replace(odd, " ") } else { text }
}

/// What a helper was given.
struct Given<'a> {
    setting: Setting,
    params: Vec<&'a Value>,
    helper: &'a Helper<'a>,
}

impl<'a> Given<'a> {
    fn text(&self, index: usize) -> String {
        self.params.get(index).map(|value| value.render()).unwrap_or_default()
    }

    /// A parameter that says how: a text.
    fn how(&self, index: usize) -> Option<&'a str> {
        self.params.get(index).and_then(|value| value.as_str())
    }

    fn named(&self, name: &str) -> Option<&'a Value> {
        self.helper.hash_get(name).map(PathAndJson::value)
    }
}

type Made = Result<Value, String>;

#[derive(Clone, Copy)]
pub(super) struct Formatter {
    pub name: &'static str,
    /// Missing parameters count as null instead of being an error.
    lenient: bool,
    make: fn(&Given<'_>) -> Made,
}

const fn strict(name: &'static str, make: fn(&Given<'_>) -> Made) -> Formatter {
    Formatter { name, lenient: false, make }
}

pub(super) const FORMATTERS: &[Formatter] = &[
    Formatter { name: "default", lenient: true, make: default },
    strict("upper", |g| Ok(Value::String(g.text(0).to_uppercase()))),
    strict("lower", |g| Ok(Value::String(g.text(0).to_lowercase()))),
    strict("title", |g| Ok(Value::String(title(&g.text(0))))),
    strict("truncate", truncate),
    strict("join", join),
    strict("urlencode", |g| Ok(Value::String(urlencode(&g.text(0))))),
    strict("url-encode", |g| Ok(Value::String(urlencode(&g.text(0))))),
    strict("date", |g| when::date(&g.setting, g.params[0], g.how(1)).map(Value::String)),
    strict("time", |g| when::time(&g.setting, g.params[0], g.how(1)).map(Value::String)),
    strict("relative", |g| when::relative(&g.setting, g.params[0], g.how(1)).map(Value::String)),
    strict("number", |g| {
        let decimals = g.params.get(1).and_then(|value| value.as_u64());
        amount::number(&g.setting, g.params[0], decimals).map(Value::String)
    }),
    strict("currency", |g| amount::currency(&g.setting, g.params[0], g.how(1)).map(Value::String)),
    strict("plural", |g| amount::plural(&g.setting, g.params[0], &g.params[1..], |name| g.named(name))),
    strict("list", |g| amount::list(&g.setting, &items(g.params[0]), g.how(1)).map(Value::String)),
    strict("phone", |g| Ok(Value::String(phone(&g.text(0), g.setting.country())))),
];

impl HelperDef for Formatter {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        context: &'rc Context,
        render: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        if helper.params().is_empty() {
            // By itself the name is that of a variable: `{{date}}`, `{{phone}}`, `{{title}}`.
            let value = render.evaluate(context, self.name)?;
            if matches!(value, ScopedJson::Missing) {
                return Err(RenderErrorReason::MissingVariable(Some(self.name.to_owned())).into());
            }
            return Ok(value);
        }
        if !self.lenient
            && let Some(missing) = helper.params().iter().find(|param| param.is_value_missing())
        {
            return Err(RenderErrorReason::MissingVariable(missing.relative_path().cloned()).into());
        }
        let params = helper.params().iter().map(PathAndJson::value).collect();
        let made = (self.make)(&Given { setting: meter::setting(), params, helper });
        let made = made.map_err(|why| RenderErrorReason::Other(format!("{}: {why}", self.name)))?;
        let bytes = made.as_str().map_or(0, str::len);
        if !meter::produced(bytes) {
            return Err(RenderErrorReason::Other("a limit was reached".to_owned()).into());
        }
        Ok(ScopedJson::Derived(made))
    }
}

/// The first parameter that holds something, else the last.
#[expect(clippy::unnecessary_wraps, reason = "as every helper")]
fn default(given: &Given<'_>) -> Made {
    let found = given.params.iter().find(|value| value.is_truthy(true)).or(given.params.last());
    Ok(found.map_or(Value::Null, |value| (*value).clone()))
}

/// At most so many characters. Three dots, not the ellipsis: that one would turn an SMS into UCS-2.
#[expect(clippy::unnecessary_wraps, reason = "as every helper")]
fn truncate(given: &Given<'_>) -> Made {
    let text = given.text(0);
    let longest = given.params.get(1).and_then(|value| value.as_u64()).unwrap_or(100) as usize;
    if text.chars().nth(longest).is_none() {
        return Ok(Value::String(text));
    }
    let mut cut: String = text.chars().take(longest.saturating_sub(3)).collect();
    cut.truncate(cut.trim_end().len());
    cut.push_str(&"..."[..longest.min(3)]);
    Ok(Value::String(cut))
}

fn items(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().map(JsonRender::render).collect(),
        other => vec![other.render()],
    }
}

fn join(given: &Given<'_>) -> Made {
    let separator = if given.params.len() > 1 { given.text(1) } else { ", ".to_owned() };
    let items = items(given.params[0]);
    // The one helper whose result can be a thousand times what it is given.
    let between = items.len().saturating_sub(1).saturating_mul(separator.len());
    if !meter::has_room(items.iter().map(String::len).sum::<usize>().saturating_add(between)) {
        return Err("a limit was reached".to_owned());
    }
    Ok(Value::String(items.join(&separator)))
}

/// Words that stay small within a name or a title.
const SMALL: [&str; 16] =
    ["a", "al", "and", "de", "del", "e", "el", "en", "la", "las", "los", "of", "o", "the", "u", "y"];

fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (n, word) in text.split(' ').enumerate() {
        if n > 0 {
            out.push(' ');
        }
        let lower = word.to_lowercase();
        if n > 0 && SMALL.contains(&lower.as_str()) {
            out.push_str(&lower);
            continue;
        }
        let mut chars = lower.chars();
        out.extend(chars.next().into_iter().flat_map(char::to_uppercase));
        out.push_str(chars.as_str());
    }
    out
}

/// As it is dialled in the branch's country, or from abroad; what is no phone stays as it is.
fn phone(text: &str, country: &str) -> String {
    let Ok(e164) = crate::address::phone(text, Some(country).filter(|c| !c.is_empty())) else {
        return text.to_owned();
    };
    let Ok(number) = phonenumber::parse(None, &e164) else { return e164 };
    let home = number.country().id().is_some_and(|id| id.as_ref() == country);
    let mode = if home { phonenumber::Mode::National } else { phonenumber::Mode::International };
    plain_spaces(number.format().mode(mode).to_string())
}

fn urlencode(text: &str) -> String {
    use std::fmt::Write;

    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
