//! The helpers that make one value of their parameters. HTML escaping follows as for any value.

use chrono_tz::Tz;
use handlebars::{
    Context, Handlebars, Helper, HelperDef, JsonRender, JsonTruthy, PathAndJson, RenderContext, RenderError,
    RenderErrorReason, ScopedJson,
};
use serde_json::Value;

use super::meter;
use crate::clock::Timestamp;

/// Where and when a text is for. Small enough to be copied about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Setting {
    locale: [u8; 16],
    pub zone: Tz,
    pub now: Timestamp,
    /// ISO 3166 alpha-2; zeros when unknown.
    country: [u8; 2],
}

#[allow(dead_code, reason = "the helpers for dates and amounts read them")]
impl Setting {
    pub const NONE: Self = Self { locale: [0; 16], zone: Tz::UTC, now: Timestamp(0), country: [0; 2] };

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

    pub fn locale(&self) -> &str {
        std::str::from_utf8(&self.locale).unwrap_or_default().trim_end_matches('\0')
    }

    pub fn country(&self) -> &str {
        std::str::from_utf8(&self.country).unwrap_or_default().trim_end_matches('\0')
    }
}

#[derive(Clone, Copy)]
pub(super) struct Formatter {
    pub name: &'static str,
    /// Missing parameters count as null instead of being an error.
    lenient: bool,
    make: fn(&[&Value]) -> Value,
}

pub(super) const FORMATTERS: &[Formatter] = &[
    Formatter { name: "default", lenient: true, make: default },
    Formatter { name: "upper", lenient: false, make: |p| Value::String(text(p, 0).to_uppercase()) },
    Formatter { name: "lower", lenient: false, make: |p| Value::String(text(p, 0).to_lowercase()) },
    Formatter { name: "truncate", lenient: false, make: truncate },
    Formatter { name: "join", lenient: false, make: join },
    Formatter { name: "urlencode", lenient: false, make: |p| Value::String(urlencode(&text(p, 0))) },
];

impl HelperDef for Formatter {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        if helper.params().is_empty() {
            return Err(RenderErrorReason::ParamNotFoundForIndex(self.name, 0).into());
        }
        if !self.lenient
            && let Some(missing) = helper.params().iter().find(|param| param.is_value_missing())
        {
            return Err(RenderErrorReason::MissingVariable(missing.relative_path().cloned()).into());
        }
        let params: Vec<&Value> = helper.params().iter().map(PathAndJson::value).collect();
        let made = (self.make)(&params);
        let bytes = made.as_str().map_or(0, str::len);
        if !meter::produced(bytes) {
            return Err(RenderErrorReason::Other("a limit was reached".to_owned()).into());
        }
        Ok(ScopedJson::Derived(made))
    }
}

fn text(params: &[&Value], index: usize) -> String {
    params.get(index).map(|value| value.render()).unwrap_or_default()
}

/// The first parameter that holds something, else the last.
fn default(params: &[&Value]) -> Value {
    let found = params.iter().find(|value| value.is_truthy(true)).or(params.last());
    found.map_or(Value::Null, |value| (*value).clone())
}

/// At most so many characters. Three dots, not the ellipsis: that one would turn an SMS into UCS-2.
fn truncate(params: &[&Value]) -> Value {
    let text = text(params, 0);
    let longest = params.get(1).and_then(|value| value.as_u64()).unwrap_or(100) as usize;
    if text.chars().nth(longest).is_none() {
        return Value::String(text);
    }
    let mut cut: String = text.chars().take(longest.saturating_sub(3)).collect();
    cut.truncate(cut.trim_end().len());
    cut.push_str(&"..."[..longest.min(3)]);
    Value::String(cut)
}

fn join(params: &[&Value]) -> Value {
    let separator = if params.len() > 1 { text(params, 1) } else { ", ".to_owned() };
    let joined = match params.first() {
        Some(Value::Array(items)) => items.iter().map(JsonRender::render).collect::<Vec<_>>().join(&separator),
        _ => text(params, 0),
    };
    Value::String(joined)
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
