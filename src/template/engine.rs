//! The two Handlebars registries (escaping for HTML, and for what a channel reads as formatting), and the bounded
//! output.

use std::io;
use std::sync::LazyLock;

use handlebars::{Context, Handlebars, Output, RenderContext, RenderError, Renderable, Template};

use super::format::FORMATTERS;
use super::partials::LAYOUT as LAYOUT_NAME;
use super::{formatting, markup, meter};

/// Registry for subjects and every text: values stay as they are, but for the channel's own formatting.
static TEXT: LazyLock<Handlebars<'static>> = LazyLock::new(|| {
    let mut registry = registry();
    registry.register_escape_fn(|value| {
        escape(value, |value| formatting::plain(value, meter::setting().formatting, meter::in_address()))
    });
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
    registry.register_escape_fn(|value| escape(value, handlebars::html_escape));
    let ready = markup::inlined(LAYOUT, None).ok().flatten().expect("the shipped layout is tested");
    let layout = Template::compile_with_name(ready, LAYOUT_NAME.to_owned()).expect("the shipped layout is tested");
    registry.register_template(LAYOUT_NAME, layout);
    registry
});

/// Every value passes here on its way into the text: what is too much is left out, and the rendering ends soon after.
fn escape(value: &str, write: fn(&str) -> String) -> String {
    if meter::produced(value.len()) { write(value) } else { String::new() }
}

/// The page frame that ships with the program.
pub(super) fn layout() -> &'static Template {
    HTML.get_template(LAYOUT_NAME).expect("it was just put there")
}

pub(super) fn registry_for(html: bool) -> &'static Handlebars<'static> {
    if html { &HTML } else { &TEXT }
}

/// Helpers of Handlebars itself that templates may use.
const NATIVE: &[&str] =
    &["if", "unless", "each", "with", "lookup", "eq", "ne", "gt", "gte", "lt", "lte", "and", "or", "not", "len"];

pub(super) fn is_helper(name: &str) -> bool {
    helpers().any(|known| known == name)
}

/// One of Handlebars' own, which is never a variable.
pub(super) fn is_native(name: &str) -> bool {
    NATIVE.contains(&name)
}

/// The names of all helpers.
pub(super) fn helpers() -> impl Iterator<Item = &'static str> {
    NATIVE.iter().copied().chain(FORMATTERS.iter().map(|formatter| formatter.name))
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
    registry.register_helper(meter::STEP, Box::new(meter::Step));
    registry.register_helper(meter::RAW, Box::new(meter::Raw));
    registry.register_helper(meter::BLOCK, Box::new(meter::Block));
    registry
}

/// Renders into at most `limit` bytes.
pub(super) fn render(
    template: &Template,
    registry: &Handlebars<'static>,
    context: &Context,
    limit: usize,
) -> Result<String, Failed> {
    let mut out = Bounded { text: String::with_capacity(limit.min(512)), limit, full: false };
    let mut state = RenderContext::new(template.name.as_ref());
    meter::written(&out.text);
    let done = template.render(registry, context, &mut state, &mut out);
    match (done, meter::over()) {
        (_, Some(limit)) => Err(Failed::Limit(limit)),
        (Ok(()), None) => Ok(out.text),
        (Err(_), None) if out.full => Err(Failed::TooLong),
        (Err(error), None) => Err(Failed::Render(error)),
    }
}

pub(super) enum Failed {
    TooLong,
    Limit(meter::Limit),
    Render(RenderError),
}

struct Bounded {
    text: String,
    limit: usize,
    full: bool,
}

impl Output for Bounded {
    fn write(&mut self, part: &str) -> Result<(), io::Error> {
        self.full = self.text.len() + part.len() > self.limit;
        if self.full || !meter::produced(part.len()) {
            return Err(io::Error::other("output limit reached"));
        }
        self.text.push_str(part);
        meter::written(&self.text);
        Ok(())
    }
}
