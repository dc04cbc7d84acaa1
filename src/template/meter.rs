//! What the rendering under way on this thread may still use, and where it is: its languages, zone and time. Rendering
//! is one call on one thread from beginning to end; helpers, loops, partials and the output all ask here.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use handlebars::template::{HelperTemplate, Parameter, Subexpression, TemplateElement};
use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, RenderContext, RenderErrorReason, Renderable,
    Template,
};

use super::format::Setting;
use super::formatting;

/// Turns of loops and partials in one rendering of all parts.
const STEPS: u32 = 10_000;
const TIME: Duration = Duration::from_millis(200);
/// Bytes of all that is produced on the way, including what a partial's block is rendered to first.
const BYTES: usize = 2 * 1024 * 1024;
/// Values that partials are given: each gets a copy of its surroundings.
const COPIES: usize = 1_000_000;
/// Items of a list in the data.
pub(super) const LONGEST_LIST: usize = 1000;

/// What a rendering used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    Steps,
    Time,
    Output,
    Copies,
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Steps => write!(f, "more than {STEPS} turns of loops and partials"),
            Self::Time => write!(f, "takes longer than {} ms", TIME.as_millis()),
            Self::Output => write!(f, "produces more than {BYTES} bytes on the way"),
            Self::Copies => write!(f, "its partials copy too much data"),
        }
    }
}

/// How much was used.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Used {
    /// Turns of loops and partials, helpers called, pieces written.
    pub operations: u32,
    /// Turns of loops and partials alone.
    pub steps: u32,
}

#[derive(Clone, Copy)]
struct Meter {
    /// None: the program's own templates, whose loops are known.
    deadline: Option<Instant>,
    used: Used,
    bytes: usize,
    copies: usize,
    /// Values in the data.
    weight: usize,
    over: Option<Limit>,
}

const IDLE: Meter =
    Meter { deadline: None, used: Used { operations: 0, steps: 0 }, bytes: 0, copies: 0, weight: 0, over: None };

thread_local! {
    static METER: RefCell<Meter> = const { RefCell::new(IDLE) };
    static SETTING: Cell<Setting> = const { Cell::new(Setting::NONE) };
    static IN_ADDRESS: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, what is rendered on this thread is one rendering; one within another is part of it.
pub(super) struct Rendering {
    before: Option<(Meter, Setting)>,
}

impl Rendering {
    /// Without bounds: for the program's own templates.
    pub fn trusted(setting: Setting) -> Self {
        Self::begin(None, 0, setting)
    }

    /// `weight`: how many values the data has.
    pub fn bounded(weight: usize, setting: Setting) -> Self {
        Self::begin(Some(Instant::now() + TIME), weight, setting)
    }

    fn begin(deadline: Option<Instant>, weight: usize, setting: Setting) -> Self {
        let before = (METER.replace(Meter { deadline, weight, ..IDLE }), SETTING.replace(setting));
        Self { before: Some(before) }
    }
}

impl Drop for Rendering {
    fn drop(&mut self) {
        if let Some((meter, setting)) = self.before.take() {
            METER.set(meter);
            SETTING.set(setting);
        }
    }
}

pub(super) fn setting() -> Setting {
    SETTING.get()
}

/// The part that is rendered next is in this language.
pub(super) fn in_language(setting: Setting) {
    SETTING.set(setting);
}

/// All that was written so far: what comes next may belong to an address that has begun in it.
pub(super) fn written(text: &str) {
    IN_ADDRESS.set(setting().formatting.is_some() && formatting::ends_in_address(text));
}

pub(super) fn in_address() -> bool {
    IN_ADDRESS.get()
}

pub(super) fn used() -> Used {
    METER.with_borrow(|meter| meter.used)
}

/// Which bound the rendering ran into.
pub(super) fn over() -> Option<Limit> {
    METER.with_borrow(|meter| meter.over)
}

fn change(f: impl FnOnce(&mut Meter, Instant)) -> Result<(), Limit> {
    METER.with_borrow_mut(|meter| {
        let Some(deadline) = meter.deadline else { return Ok(()) };
        meter.used.operations += 1;
        f(meter, deadline);
        meter.over.map_or(Ok(()), Err)
    })
}

/// Something was produced: a value, a piece of output. False when that was too much.
pub(super) fn produced(bytes: usize) -> bool {
    let counted = change(|meter, deadline| {
        meter.bytes += bytes;
        if meter.bytes > BYTES {
            meter.over.get_or_insert(Limit::Output);
        // Asking for the time costs more than most of what happens in between.
        } else if (bytes > 1024 || meter.used.operations.is_multiple_of(32)) && Instant::now() > deadline {
            meter.over.get_or_insert(Limit::Time);
        }
    });
    counted.is_ok()
}

/// Whether something of so many bytes may be made at all. It is counted when it is there; but what is far too much must
/// not even be begun.
pub(super) fn has_room(bytes: usize) -> bool {
    METER.with_borrow_mut(|meter| {
        let fits = meter.deadline.is_none() || meter.bytes.saturating_add(bytes) <= BYTES;
        if !fits {
            meter.over.get_or_insert(Limit::Output);
        }
        fits
    })
}

/// A turn of a loop or a partial begins, with so much text of its own.
fn step(text: usize, is_partial: bool) -> Result<(), Limit> {
    change(|meter, deadline| {
        meter.used.steps += 1;
        meter.bytes += text;
        meter.copies += if is_partial { meter.weight } else { 0 };
        let limit = if meter.used.steps > STEPS {
            Limit::Steps
        } else if meter.bytes > BYTES {
            Limit::Output
        } else if meter.copies > COPIES {
            Limit::Copies
        } else if Instant::now() > deadline {
            Limit::Time
        } else {
            return;
        };
        meter.over.get_or_insert(limit);
    })
}

/// The helper that counts; tenants can't name it.
pub(super) const STEP: &str = "recado:step";

#[derive(Clone, Copy)]
pub(super) struct Step;

impl HelperDef for Step {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        _: &mut dyn Output,
    ) -> HelperResult {
        let text = helper.param(0).and_then(|p| p.value().as_u64()).unwrap_or_default();
        let is_partial = helper.param(1).is_some();
        step(text as usize, is_partial).map_err(|limit| RenderErrorReason::Other(limit.to_string()).into())
    }
}

/// The helper that writes a value as it is, and counts it; tenants can't name it either.
pub(super) const RAW: &str = "recado:raw";

#[derive(Clone, Copy)]
pub(super) struct Raw;

impl HelperDef for Raw {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let value = helper.param(0).filter(|value| !value.is_value_missing());
        let value = value.ok_or_else(|| {
            RenderErrorReason::MissingVariable(helper.param(0).and_then(|value| value.relative_path().cloned()))
        })?;
        let text = value.render();
        if !produced(text.len()) {
            return Err(RenderErrorReason::Other("a limit was reached".to_owned()).into());
        }
        Ok(out.write(&text)?)
    }
}

/// An unescaped value as a call of that helper: by itself it would pass by the escape function, where values are counted,
/// into a partial's block, which is rendered before it comes to any output.
fn raw(call: &HelperTemplate) -> TemplateElement {
    let mut counted = call.clone();
    let (params, hash) = (std::mem::take(&mut counted.params), std::mem::take(&mut counted.hash));
    let name = std::mem::replace(&mut counted.name, Parameter::Name(RAW.to_owned()));
    let value = if params.is_empty() && hash.is_empty() {
        name
    } else {
        Parameter::Subexpression(Subexpression::new(name, params, hash))
    };
    counted.params = vec![value];
    TemplateElement::Expression(Box::new(counted))
}

/// The helper around what a partial is given as its block: that is rendered by itself before it comes to any output, and
/// an address in it begins there.
pub(super) const BLOCK: &str = "recado:block";

#[derive(Clone, Copy)]
pub(super) struct Block;

impl HelperDef for Block {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        state: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let Some(body) = helper.template() else { return Ok(()) };
        if setting().formatting.is_none() {
            return body.render(registry, context, state, out);
        }
        let before = IN_ADDRESS.replace(false);
        let done = body.render(registry, context, state, &mut Apart { text: String::new(), out });
        IN_ADDRESS.set(before);
        done
    }
}

/// An output of its own, on its way to another.
struct Apart<'a> {
    text: String,
    out: &'a mut dyn Output,
}

impl Output for Apart<'_> {
    fn write(&mut self, part: &str) -> Result<(), std::io::Error> {
        self.out.write(part)?;
        self.text.push_str(part);
        written(&self.text);
        Ok(())
    }
}

fn apart(body: &mut Template) {
    if let Ok(mut around) = Template::compile(&format!("{{{{#{BLOCK}}}}}{{{{/{BLOCK}}}}}"))
        && let Some(TemplateElement::HelperBlock(block)) = around.elements.first_mut()
    {
        let name = body.name.clone();
        block.template = Some(std::mem::take(body));
        around.name = name;
        *body = around;
    }
}

/// Puts counters where a template's turns begin and where values pass by the escape function, and takes out what could
/// not be counted: the indentation of partials.
pub(super) fn instrument(tree: &mut Template) {
    for element in &mut tree.elements {
        match element {
            TemplateElement::HelperBlock(block) => {
                let turns = block.name.as_name() == Some("each");
                for inner in [&mut block.template, &mut block.inverse].into_iter().flatten() {
                    instrument(inner);
                }
                if turns && let Some(body) = &mut block.template {
                    count(body, false);
                }
            }
            TemplateElement::PartialExpression(partial) | TemplateElement::PartialBlock(partial) => {
                partial.indent = None;
                if let Some(body) = &mut partial.template {
                    instrument(body);
                    count(body, false);
                    // What stands in for a block that was not given is written where it stands.
                    if partial.name.as_name() != Some("@partial-block") {
                        apart(body);
                    }
                }
            }
            TemplateElement::HtmlExpression(call) => *element = raw(call),
            _ => {}
        }
    }
}

/// A partial's own tree: each use of it is a turn.
pub(super) fn instrument_partial(tree: &mut Template) {
    instrument(tree);
    count(tree, true);
}

fn count(body: &mut Template, is_partial: bool) {
    let second = if is_partial { " 1" } else { "" };
    let counter = Template::compile(&format!("{{{{{STEP} {}{second}}}}}", own_text(body)));
    if let Ok(mut counter) = counter
        && let (Some(element), Some(mapping)) = (counter.elements.pop(), counter.mapping.pop())
    {
        body.elements.insert(0, element);
        body.mapping.insert(0, mapping);
    }
}

/// Bytes of plain text that one turn may write, without the loops inside it, which count for themselves.
fn own_text(tree: &Template) -> usize {
    let of = |inner: &Option<Template>| inner.as_ref().map_or(0, own_text);
    let element = |element: &TemplateElement| match element {
        TemplateElement::RawString(text) => text.len(),
        TemplateElement::HelperBlock(block) if !matches!(&block.name, n if is_each(n)) => {
            of(&block.template) + of(&block.inverse)
        }
        _ => 0,
    };
    tree.elements.iter().map(element).sum()
}

fn is_each(name: &Parameter) -> bool {
    name.as_name() == Some("each")
}

/// How many values the data has; an error names the list that is too long.
pub(super) fn weigh(data: &serde_json::Value) -> Result<usize, String> {
    use serde_json::Value;
    match data {
        Value::Array(items) if items.len() > LONGEST_LIST => {
            Err(format!("a list in the data has {} items; at most {LONGEST_LIST} are allowed", items.len()))
        }
        Value::Array(items) => items.iter().try_fold(1, |sum, item| Ok(sum + weigh(item)?)),
        Value::Object(fields) => fields.values().try_fold(1, |sum, value| Ok(sum + weigh(value)?)),
        _ => Ok(1),
    }
}
