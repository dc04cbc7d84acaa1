//! What `{{> name}}` means in a part: `layout` is the page frame that ships with the program, unless the tenant wrote a
//! template `_layout`; every other name is the tenant's own template of that name with an underscore.

use std::collections::BTreeMap;
use std::sync::Arc;

use handlebars::{Handlebars, Template};

use super::{bounds, engine, markup, meter};

/// The template whose parts are partials begin with it; they are not sent by themselves.
pub const PREFIX: char = '_';

pub(super) const LAYOUT: &str = "layout";

/// How often one part's partials are read anew to find out what they need.
const READ: usize = 200;

/// What a tenant wrote to be included.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    pub partials: Vec<Partial>,
    /// The operator lets this installation's tenants write HTML unescaped.
    pub unescaped: bool,
}

#[derive(Debug)]
pub(super) struct Partial {
    pub branch: String,
    /// Without the underscore.
    pub name: String,
    /// Empty: the tenant's own.
    pub locale: String,
    pub parts: BTreeMap<String, String>,
}

impl Shelf {
    /// The branch's before the tenant's, the exact language before the general, the part of the same kind before `text`.
    fn source(&self, branch: &str, name: &str, locale: &str, kind: &str) -> Option<&str> {
        let kind = if kind == "email.mjml" { "email.html" } else { kind };
        let language = locale.split(['-', '_']).next().unwrap_or_default();
        let levels = [Some(branch), (!branch.is_empty()).then_some("")];
        levels.into_iter().flatten().find_map(|level| {
            [locale, language, ""].into_iter().find_map(|tag| {
                let mut fitting = self
                    .partials
                    .iter()
                    .filter(|p| p.branch == level && p.name == name && p.locale.eq_ignore_ascii_case(tag));
                fitting.find_map(|p| p.parts.get(kind).or_else(|| p.parts.get("text"))).map(String::as_str)
            })
        })
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.partials.iter().map(|partial| partial.name.as_str())
    }

    /// A frame of the tenant's own, around the program's templates as well.
    pub fn has_layout(&self) -> bool {
        self.names().any(|name| name == LAYOUT)
    }
}

/// Whose a template is: what it may include, and whether it is to be trusted.
#[derive(Debug, Clone, Default)]
pub(super) enum Home {
    /// Compiled in, or the operator's.
    #[default]
    Program,
    Tenant {
        shelf: Arc<Shelf>,
        branch: String,
    },
}

impl Home {
    pub fn is_trusted(&self) -> bool {
        matches!(self, Self::Program)
    }
}

/// The partials of one part, compiled as they are met.
pub(super) struct Included<'a> {
    home: &'a Home,
    kind: &'a str,
    locale: &'a str,
    html: bool,
    trees: BTreeMap<String, Arc<Template>>,
    /// Those that are being read, each within the one before.
    path: Vec<String>,
    read: usize,
    /// What the parser reads for all of them together, see [`bounds::READING`].
    reading: usize,
}

type Refusal = (&'static str, String);

impl<'a> Included<'a> {
    /// `reading`: what it takes to read the part itself.
    pub fn new(home: &'a Home, kind: &'a str, locale: &'a str, html: bool, reading: usize) -> Self {
        Self { home, kind, locale, html, trees: BTreeMap::new(), path: Vec::new(), read: 0, reading }
    }

    /// Values may only go into the text escaped.
    pub fn escapes(&self) -> bool {
        self.html && matches!(self.home, Home::Tenant { shelf, .. } if !shelf.unescaped)
    }

    /// Begins to read a partial; the second answer says that it need not be read again.
    pub fn enter(&mut self, name: &str) -> Result<(Arc<Template>, bool), Refusal> {
        if self.path.iter().any(|open| open == name) {
            let path = self.path.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join(" > ");
            return Err(("recursive_partial", format!("the partial {name} includes itself: {path}")));
        }
        if let Some(tree) = self.trees.get(name) {
            self.read += 1;
            let again = self.read > READ;
            if !again {
                self.path.push(name.to_owned());
            }
            return Ok((Arc::clone(tree), again));
        }
        let tree = Arc::new(self.compile(name)?);
        self.trees.insert(name.to_owned(), Arc::clone(&tree));
        self.path.push(name.to_owned());
        Ok((tree, false))
    }

    pub fn leave(&mut self) {
        self.path.pop();
    }

    fn compile(&mut self, name: &str) -> Result<Template, Refusal> {
        let Some(source) = self.source(name) else {
            let shipped = (self.html && name == LAYOUT).then(engine::layout);
            return shipped.cloned().ok_or_else(|| {
                let cure = format!("write it as the template {PREFIX}{name}");
                ("unknown_partial", format!("there is no partial {name:?} here: {cure}"))
            });
        };
        let place = |line: usize, column: usize| format!("in the partial {name}, line {line} column {column}");
        let source = source.trim_end_matches(['\n', '\r']);
        let seen = bounds::check(source)
            .map_err(|flaw| (flaw.code, format!("{}: {}", place(flaw.line, flaw.column), flaw.detail)))?;
        self.reading += seen.reading;
        if self.reading > bounds::READING {
            return Err(("too_long", format!("with its partials up to {name}, it has too many tags for its length")));
        }
        let ready = if self.html { markup::inlined(source, None).unwrap_or_default() } else { None };
        let mut tree = Template::compile(ready.as_deref().unwrap_or(source)).map_err(|error| {
            let (line, column) = error.pos().unwrap_or((1, 1));
            ("syntax", format!("{}: {}", place(line, column), error.reason()))
        })?;
        tree.name = Some(name.to_owned());
        Ok(tree)
    }

    fn source(&self, name: &str) -> Option<&'a str> {
        let Home::Tenant { shelf, branch } = self.home else { return None };
        shelf.source(branch, name, self.locale, self.kind)
    }

    /// The style sheet of the frame that was included, for what stands in it.
    pub fn styles(&self) -> Option<String> {
        self.trees.get(LAYOUT)?;
        Some(self.source(LAYOUT).map_or_else(|| engine::layout_styles().to_owned(), markup::styles))
    }

    /// A registry with these partials, counted; none where the shared one has all that is needed.
    pub fn registry(self) -> Option<Box<Handlebars<'static>>> {
        if self.home.is_trusted() || self.trees.is_empty() {
            return None;
        }
        let mut registry = engine::registry_for(self.html).clone();
        for (name, tree) in self.trees {
            let mut tree = Arc::unwrap_or_clone(tree);
            meter::instrument_partial(&mut tree);
            registry.register_template(&name, tree);
        }
        Some(Box::new(registry))
    }
}
