//! What a compiled template asks of its data: found once by walking the tree, answered per request without rendering.

use std::collections::BTreeMap;

use handlebars::template::{HelperTemplate, Parameter, TemplateElement, TemplateMapping};
use handlebars::{JsonTruthy, Path, PathSeg, Template};
use serde_json::Value;

use super::bounds::DEEPEST;
use super::partials::Included;

/// The text outside of all blocks is one, too.
const LEVELS: usize = DEEPEST + 1;

/// A problem in the template itself, with line and column.
#[derive(Debug)]
pub(super) struct Flaw {
    /// Which rule it breaks, e.g. `unknown_helper`.
    pub(super) code: &'static str,
    pub(super) detail: String,
    pub(super) line: usize,
    pub(super) column: usize,
}

#[derive(Debug, Default)]
pub(super) struct Needs {
    wants: Vec<Want>,
    /// Top-level names the template reads; `None` when it may read any (`this`, `../x`).
    pub(super) names: Option<Vec<String>>,
    /// It or one of its partials writes values as they are.
    pub(super) unescaped: bool,
}

#[derive(Debug)]
enum Want {
    Value(Vec<String>),
    When(Condition, Vec<Want>, Vec<Want>),
}

#[derive(Debug)]
enum Condition {
    Value(Vec<String>),
    Constant(bool),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
    /// Only rendering can tell; what stands behind it is not asked for beforehand.
    Unknown,
}

impl Needs {
    pub(super) fn of(template: &Template, included: &mut Included<'_>) -> Result<Self, Flaw> {
        let names = Some(Vec::new());
        let mut walk = Walk { included, names, unescaped: false, bound: Vec::new(), scoped: 0, depth: 0 };
        let wants = walk.template(template)?;
        Ok(Self { wants, names: walk.names, unescaped: walk.unescaped })
    }

    /// Adds every variable it may use, and whether it can't do without.
    pub(super) fn variables(&self, all: &mut BTreeMap<String, bool>) {
        wanted(&self.wants, true, all);
        for name in self.names.iter().flatten() {
            let within =
                |path: &String| path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
            if !all.keys().any(within) {
                all.insert(name.clone(), false);
            }
        }
    }

    /// Adds the names of all variables that `data` should have and has not.
    pub(super) fn missing(&self, data: &Value, missing: &mut Vec<String>) {
        collect(&self.wants, data, missing);
    }
}

fn wanted(wants: &[Want], always: bool, all: &mut BTreeMap<String, bool>) {
    for want in wants {
        match want {
            Want::Value(path) => *all.entry(path.join(".")).or_default() |= always,
            Want::When(_, then, otherwise) => {
                wanted(then, false, all);
                wanted(otherwise, false, all);
            }
        }
    }
}

fn collect(wants: &[Want], data: &Value, missing: &mut Vec<String>) {
    for want in wants {
        match want {
            Want::Value(path) => {
                let name = || path.join(".");
                if find(data, path).is_none_or(Value::is_null) && !missing.contains(&name()) {
                    missing.push(name());
                }
            }
            Want::When(condition, then, otherwise) => match holds(condition, data) {
                Some(true) => collect(then, data, missing),
                Some(false) => collect(otherwise, data, missing),
                None => {}
            },
        }
    }
}

fn find<'a>(data: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(data, |value, name| match value {
        Value::Object(map) => map.get(name),
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        _ => None,
    })
}

/// `None`: not decidable from the data alone.
fn holds(condition: &Condition, data: &Value) -> Option<bool> {
    match condition {
        Condition::Value(path) => Some(find(data, path).is_some_and(|value| value.is_truthy(false))),
        Condition::Constant(value) => Some(*value),
        Condition::Not(inner) => holds(inner, data).map(|value| !value),
        Condition::All(all) => all.iter().try_fold(true, |sum, one| Some(sum & holds(one, data)?)),
        Condition::Any(any) => any.iter().try_fold(false, |sum, one| Some(sum | holds(one, data)?)),
        Condition::Unknown => None,
    }
}

struct Walk<'a, 'b> {
    included: &'a mut Included<'b>,
    names: Option<Vec<String>>,
    unescaped: bool,
    /// Names given to a partial at its call: always there.
    bound: Vec<String>,
    /// Inside `each` and `with`, plain names belong to the item.
    scoped: usize,
    depth: usize,
}

impl Walk<'_, '_> {
    fn template(&mut self, template: &Template) -> Result<Vec<Want>, Flaw> {
        let mut wants = Vec::new();
        self.depth += 1;
        for (index, element) in template.elements.iter().enumerate() {
            let found = if self.depth > LEVELS {
                Err(problem("too_deep", format!("nested deeper than {DEEPEST} blocks")))
            } else {
                self.element(element, &mut wants)
            };
            found.map_err(|problem| problem.at(template.mapping.get(index)))?;
        }
        self.depth -= 1;
        Ok(wants)
    }

    fn element(&mut self, element: &TemplateElement, wants: &mut Vec<Want>) -> Result<(), Problem> {
        match element {
            TemplateElement::RawString(_) | TemplateElement::Comment(_) => Ok(()),
            TemplateElement::HtmlExpression(call) if self.included.escapes() => {
                let name = call.name.as_name().unwrap_or("(…)");
                let cure = "write it with two braces; only the operator can allow this";
                Err(problem("unescaped_output", format!("{name} would go into the HTML unescaped: {cure}")))
            }
            TemplateElement::Expression(call) | TemplateElement::HtmlExpression(call) => {
                self.unescaped |= matches!(element, TemplateElement::HtmlExpression(_));
                let name_only = call.params.is_empty() && call.hash.is_empty();
                match &call.name {
                    Parameter::Path(path) if name_only && !Self::is_native(&call.name) => {
                        self.value(path, true, wants);
                        Ok(())
                    }
                    _ => self.call(call, wants),
                }
            }
            TemplateElement::HelperBlock(block) => self.block(block, wants),
            TemplateElement::PartialExpression(partial) | TemplateElement::PartialBlock(partial) => {
                for parameter in partial.params.iter().chain(partial.hash.values()) {
                    self.parameter(parameter, true, wants)?;
                }
                if let Some(inner) = &partial.template {
                    wants.extend(self.template(inner)?);
                }
                let keys = partial.hash.keys().cloned().collect();
                let name = partial.name.as_name().ok_or_else(|| {
                    problem("unknown_partial", "a partial's name must stand there as it is, not be computed")
                })?;
                self.partial(name, keys, !partial.params.is_empty(), wants)
            }
            TemplateElement::DecoratorBlock(_) => {
                Err(problem("recursive_partial", "inline partials are not supported: they can include themselves"))
            }
            _ => Err(problem("unknown_helper", "decorators are not supported")),
        }
    }

    fn partial(&mut self, name: &str, keys: Vec<String>, scoped: bool, wants: &mut Vec<Want>) -> Result<(), Problem> {
        if name == "@partial-block" {
            return Ok(());
        }
        let (template, again) = self.included.enter(name).map_err(|(code, detail)| problem(code, detail))?;
        if again {
            // It was read before, and so often that reading it anew would tell nothing for much work.
            self.names = None;
            return Ok(());
        }
        let outer = std::mem::take(&mut self.depth);
        let before = std::mem::replace(&mut self.bound, keys);
        self.scoped += usize::from(scoped);
        let inner = self.template(&template);
        self.scoped -= usize::from(scoped);
        self.bound = before;
        self.depth = outer;
        self.included.leave();
        wants.extend(inner.map_err(|flaw| {
            problem(
                flaw.code,
                format!("in the partial {name}, line {} column {}: {}", flaw.line, flaw.column, flaw.detail),
            )
        })?);
        Ok(())
    }

    fn block(&mut self, block: &HelperTemplate, wants: &mut Vec<Want>) -> Result<(), Problem> {
        let name = block.name.as_name().unwrap_or_default();
        match name {
            "if" | "unless" => {
                let condition = block.params.first().map_or(Condition::Unknown, |p| self.condition(p));
                for parameter in &block.params {
                    self.parameter(parameter, false, wants)?;
                }
                let mut then = self.optional(block.template.as_ref())?;
                let mut otherwise = self.optional(block.inverse.as_ref())?;
                if name == "unless" {
                    std::mem::swap(&mut then, &mut otherwise);
                }
                if !(then.is_empty() && otherwise.is_empty()) {
                    wants.push(Want::When(condition, then, otherwise));
                }
            }
            "each" | "with" => {
                for parameter in &block.params {
                    self.parameter(parameter, block.inverse.is_none(), wants)?;
                }
                self.scoped += 1;
                wants.extend(self.optional(block.template.as_ref())?);
                self.scoped -= 1;
                self.optional(block.inverse.as_ref())?;
            }
            // What has no variables of its own, in a block, is a helper that nobody knows.
            _ => {
                self.call(block, wants)?;
                let then = self.optional(block.template.as_ref())?;
                let otherwise = self.optional(block.inverse.as_ref())?;
                wants.push(Want::When(Condition::Unknown, then, otherwise));
            }
        }
        Ok(())
    }

    fn optional(&mut self, template: Option<&Template>) -> Result<Vec<Want>, Problem> {
        template.map_or(Ok(Vec::new()), |template| self.template(template).map_err(Problem::Placed))
    }

    fn call(&mut self, call: &HelperTemplate, wants: &mut Vec<Want>) -> Result<(), Problem> {
        let name = call.name.as_name().unwrap_or_default();
        if !Self::is_helper(&call.name) {
            let nearest = crate::suggest::nearest(name, super::engine::helpers());
            let hint = nearest.map(|n| format!(" (did you mean {n:?}?)")).unwrap_or_default();
            return Err(problem("unknown_helper", format!("there is no helper {name:?}{hint}")));
        }
        let required = !matches!(name, "default" | "and" | "or" | "not");
        for parameter in call.params.iter().chain(call.hash.values()) {
            self.parameter(parameter, required, wants)?;
        }
        Ok(())
    }

    fn parameter(&mut self, parameter: &Parameter, required: bool, wants: &mut Vec<Want>) -> Result<(), Problem> {
        match parameter {
            Parameter::Path(path) => self.value(path, required, wants),
            Parameter::Subexpression(inner) => {
                self.depth += 1;
                if self.depth > LEVELS {
                    return Err(problem("too_deep", format!("nested deeper than {DEEPEST} expressions")));
                }
                if let TemplateElement::Expression(call) = inner.as_element() {
                    self.call(call, wants)?;
                }
                self.depth -= 1;
            }
            _ => {}
        }
        Ok(())
    }

    fn condition(&self, parameter: &Parameter) -> Condition {
        match parameter {
            Parameter::Path(path) => self.names_of(path).map_or(Condition::Unknown, Condition::Value),
            Parameter::Literal(value) => Condition::Constant(value.is_truthy(false)),
            Parameter::Subexpression(inner) => {
                let parts = || inner.params().into_iter().flatten().map(|p| self.condition(p)).collect::<Vec<_>>();
                match inner.name() {
                    "and" => Condition::All(parts()),
                    "or" => Condition::Any(parts()),
                    "not" => parts().pop().map_or(Condition::Unknown, |inner| Condition::Not(Box::new(inner))),
                    _ => Condition::Unknown,
                }
            }
            _ => Condition::Unknown,
        }
    }

    fn value(&mut self, path: &Path, required: bool, wants: &mut Vec<Want>) {
        if let Path::Relative((segments, raw)) = path {
            let named = segments.iter().find_map(|s| if let PathSeg::Named(name) = s { Some(name) } else { None });
            let climbs = raw.starts_with("..") || raw.contains("/..");
            match (named, &mut self.names) {
                (Some(name), Some(names)) if !climbs => {
                    if !names.contains(name) {
                        names.push(name.clone());
                    }
                }
                _ => self.names = None,
            }
        }
        if required && let Some(names) = self.names_of(path) {
            wants.push(Want::Value(names));
        }
    }

    /// The path from the top of the data, when it is known to start there.
    fn names_of(&self, path: &Path) -> Option<Vec<String>> {
        let Path::Relative((segments, raw)) = path else { return None };
        let rooted = raw.starts_with("@root");
        let names: Option<Vec<String>> = segments
            .iter()
            .skip(usize::from(rooted))
            .map(|segment| if let PathSeg::Named(name) = segment { Some(name.clone()) } else { None })
            .collect();
        let names = names.filter(|names| !names.is_empty())?;
        (rooted || (self.scoped == 0 && !self.bound.contains(&names[0]))).then_some(names)
    }

    /// By itself, the name of one of our own helpers is that of a variable.
    fn is_native(name: &Parameter) -> bool {
        name.as_name().is_some_and(super::engine::is_native)
    }

    fn is_helper(name: &Parameter) -> bool {
        name.as_name().is_some_and(super::engine::is_helper)
    }
}

enum Problem {
    Here(&'static str, String),
    Placed(Flaw),
}

fn problem(code: &'static str, detail: impl Into<String>) -> Problem {
    Problem::Here(code, detail.into())
}

impl From<Flaw> for Problem {
    fn from(flaw: Flaw) -> Self {
        Self::Placed(flaw)
    }
}

impl Problem {
    fn at(self, mapping: Option<&TemplateMapping>) -> Flaw {
        match self {
            Self::Placed(flaw) => flaw,
            Self::Here(code, detail) => {
                let (line, column) = mapping.map_or((1, 1), |mapping| (mapping.0, mapping.1));
                Flaw { code, detail, line, column }
            }
        }
    }
}
