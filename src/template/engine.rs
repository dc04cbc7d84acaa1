//! The two Handlebars registries (escaping for HTML, none for text), our helpers, and the bounded output.

use std::io;
use std::sync::LazyLock;

use handlebars::{
    Context, Handlebars, Helper, HelperDef, JsonRender, JsonTruthy, Output, PathAndJson, RenderContext, RenderError,
    RenderErrorReason, Renderable, ScopedJson, Template,
};
use serde_json::Value;

use super::markup;

/// Registry for subjects and every plain text: nothing is escaped.
static TEXT: LazyLock<Handlebars<'static>> = LazyLock::new(|| {
    let mut registry = registry();
    registry.register_escape_fn(handlebars::no_escape);
    registry
});

const LAYOUT: &str = include_str!("../../templates/default/_layout/email.html.hbs");

/// The style sheet of the page frame, for what is put into it.
pub(super) fn layout_styles() -> &'static str {
    static STYLES: LazyLock<String> = LazyLock::new(|| markup::styles(LAYOUT));
    &STYLES
}

/// Registry for HTML; holds the shared page frame as the partial `layout`.
static HTML: LazyLock<Handlebars<'static>> = LazyLock::new(|| {
    let mut registry = registry();
    let ready = markup::inlined(LAYOUT, None).ok().flatten().expect("the shipped layout is tested");
    let layout = Template::compile_with_name(ready, "layout".to_owned()).expect("the shipped layout is tested");
    registry.register_template("layout", layout);
    registry
});

pub(super) fn registry_for(html: bool) -> &'static Handlebars<'static> {
    if html { &HTML } else { &TEXT }
}

/// Helpers of Handlebars itself that templates may use.
const NATIVE: &[&str] =
    &["if", "unless", "each", "with", "lookup", "eq", "ne", "gt", "gte", "lt", "lte", "and", "or", "not", "len"];

pub(super) fn is_helper(name: &str) -> bool {
    NATIVE.contains(&name) || FORMATTERS.iter().any(|formatter| formatter.name == name)
}

fn registry() -> Handlebars<'static> {
    let mut registry = Handlebars::new();
    registry.set_strict_mode(true);
    for unwanted in ["log", "raw"] {
        registry.unregister_helper(unwanted);
    }
    for formatter in FORMATTERS {
        registry.register_helper(formatter.name, Box::new(*formatter));
    }
    registry
}

/// Renders into at most `limit` bytes.
pub(super) fn render(template: &Template, html: bool, context: &Context, limit: usize) -> Result<String, Failed> {
    let mut out = Bounded { text: String::with_capacity(limit.min(512)), limit, full: false };
    let mut state = RenderContext::new(template.name.as_ref());
    match template.render(registry_for(html), context, &mut state, &mut out) {
        Ok(()) => Ok(out.text),
        Err(_) if out.full => Err(Failed::TooLong),
        Err(error) => Err(Failed::Render(error)),
    }
}

pub(super) enum Failed {
    TooLong,
    Render(RenderError),
}

struct Bounded {
    text: String,
    limit: usize,
    full: bool,
}

impl Output for Bounded {
    fn write(&mut self, part: &str) -> Result<(), io::Error> {
        if self.text.len() + part.len() > self.limit {
            self.full = true;
            return Err(io::Error::other("output limit reached"));
        }
        self.text.push_str(part);
        Ok(())
    }
}

/// A helper that makes one value of its parameters; HTML escaping follows as for any value.
#[derive(Clone, Copy)]
struct Formatter {
    name: &'static str,
    /// Missing parameters count as null instead of being an error.
    lenient: bool,
    make: fn(&[&Value]) -> Value,
}

const FORMATTERS: &[Formatter] = &[
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
        Ok(ScopedJson::Derived((self.make)(&params)))
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
