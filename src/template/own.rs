//! A tenant's own templates, as its documents say: grouped by name and branch, with the partials they share.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::partials::{Home, PREFIX, Partial, Shelf};
use super::{Found, Template, TemplateError, Templates};
use crate::store::documents::{Document, Stamp};

/// How long all may be judged that a change of a partial concerns.
const JUDGING: Duration = Duration::from_secs(5);

/// A template as its author gives it, and as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Body {
    /// By kind: `text` (any channel), a channel's name, `email.subject`, `email.text`, `email.html` or `email.mjml`,
    /// `whatsapp.template.json`.
    pub parts: BTreeMap<String, String>,
    /// Data to show it with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub sample: Option<serde_json::Map<String, Value>>,
    /// What its variables mean, by name. Those of the parts themselves are found without it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, Variable>,
}

/// What an author says about a variable.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Variable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A request without it is refused. Absent: as the parts use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub example: Option<Value>,
}

/// One document, read.
#[derive(Debug, Clone)]
pub struct Own {
    pub branch: String,
    pub name: String,
    pub locale: String,
    pub body: Body,
}

impl Own {
    /// Only what was checked is stored; a row that can't be read is no template.
    pub fn read(document: Document) -> Option<Self> {
        let body = serde_json::from_str(&document.body).ok()?;
        Some(Self { branch: document.branch, name: document.name, locale: document.locale, body })
    }
}

/// All of a tenant's templates that hold.
#[derive(Debug, Default)]
pub struct OwnTemplates {
    by_name: BTreeMap<String, Vec<(String, Arc<Template>)>>,
    /// The program's, in the tenant's own frame: by branch ("" for all others).
    framed: BTreeMap<String, BTreeMap<String, Arc<Template>>>,
    stamps: Vec<Stamp>,
}

impl OwnTemplates {
    /// Reads documents. What did not change since `before` keeps what was compiled.
    pub fn read(documents: Vec<Document>, before: Option<&Self>, program: &Templates, unescaped: bool) -> Self {
        let stamps: Vec<_> = documents.iter().map(Document::stamp).collect();
        let owns = documents.into_iter().filter_map(Own::read).collect();
        let mut fresh = Self::of(owns, program, unescaped);
        fresh.stamps = stamps;
        if let Some(before) = before {
            fresh.keep_from(before);
        }
        fresh
    }

    /// Of documents that are not (yet) stored.
    pub fn of(owns: Vec<Own>, program: &Templates, unescaped: bool) -> Self {
        let (partials, named): (Vec<_>, Vec<_>) = owns.into_iter().partition(|own| own.name.starts_with(PREFIX));
        let shelf = Arc::new(Shelf {
            partials: partials
                .iter()
                .map(|own| Partial {
                    branch: own.branch.clone(),
                    name: own.name.trim_start_matches(PREFIX).to_owned(),
                    locale: own.locale.clone(),
                    parts: own.body.parts.clone(),
                })
                .collect(),
            unescaped,
        });
        let mut grouped: BTreeMap<(String, String), Template> = BTreeMap::new();
        // Partials are kept as templates as well: to be shown, checked and listed.
        for own in named.into_iter().chain(partials) {
            let template = grouped.entry((own.name.clone(), own.branch.clone())).or_insert_with(|| {
                let mut template = Template::new(&own.name, "", []);
                template.home = Home::Tenant { shelf: Arc::clone(&shelf), branch: own.branch.clone() };
                template
            });
            for (kind, source) in own.body.parts {
                template.add(&kind, &own.locale, Cow::Owned(source));
            }
            if let Some(sample) = own.body.sample {
                template.samples.push((own.locale.clone(), Value::Object(sample)));
            }
            template.variables.extend(own.body.variables);
        }
        let mut own = Self::default();
        for ((name, branch), template) in grouped {
            own.by_name.entry(name).or_default().push((branch, Arc::new(template)));
        }
        if shelf.has_layout() {
            let branches: BTreeSet<_> =
                shelf.partials.iter().map(|p| p.branch.clone()).chain([String::new()]).collect();
            for branch in branches {
                let home = Home::Tenant { shelf: Arc::clone(&shelf), branch: branch.clone() };
                let framed = program.by_name.values().map(|t| (t.name.clone(), Arc::new(t.framed(home.clone()))));
                own.framed.insert(branch, framed.collect());
            }
        }
        own
    }

    fn keep_from(&mut self, before: &Self) {
        let of = |stamps: &[Stamp], wanted: &dyn Fn(&Stamp) -> bool| {
            stamps.iter().filter(|stamp| wanted(stamp)).cloned().collect::<Vec<_>>()
        };
        let partials = |stamp: &Stamp| stamp.name.starts_with(PREFIX);
        if of(&self.stamps, &partials) != of(&before.stamps, &partials) {
            return;
        }
        self.framed.clone_from(&before.framed);
        for (name, levels) in &mut self.by_name {
            for (branch, template) in levels {
                let same = |stamp: &Stamp| stamp.name == *name && stamp.branch == *branch;
                let old = before.at(name, branch);
                if let Some(old) = old.filter(|_| of(&self.stamps, &same) == of(&before.stamps, &same)) {
                    *template = Arc::clone(old);
                }
            }
        }
    }

    /// Which versions these are.
    pub fn stamps(&self) -> &[Stamp] {
        &self.stamps
    }

    /// One level's template of a name; the branch is empty for the tenant's.
    pub fn at(&self, name: &str, branch: &str) -> Option<&Arc<Template>> {
        let levels = self.by_name.get(name)?;
        levels.iter().find(|(of, _)| of == branch).map(|(_, template)| template)
    }

    fn framed(&self, name: &str, branch: &str) -> Option<&Arc<Template>> {
        self.framed.get(branch).or_else(|| self.framed.get(""))?.get(name)
    }

    /// The first flaw of each part of each template that includes others. That there are too many of them to be looked
    /// at is one as well.
    pub fn flaws_of_including(&self) -> Vec<TemplateError> {
        let all = self.by_name.values().flatten().map(|(_, template)| template);
        let framed = self.framed.values().flat_map(BTreeMap::values);
        let (began, mut flaws) = (Instant::now(), Vec::new());
        for template in all.filter(|t| t.includes()).chain(framed) {
            if began.elapsed() > JUDGING {
                let detail =
                    "what includes partials takes too long to be checked: make it fewer, or shorter".to_owned();
                flaws.push(TemplateError::whole("template_limit", template.name(), detail));
                break;
            }
            flaws.extend(template.flaws());
        }
        flaws
    }
}

/// The templates a tenant can send: its own and the program's.
#[derive(Debug, Clone)]
pub struct TenantTemplates {
    pub program: Arc<Templates>,
    pub own: Option<Arc<OwnTemplates>>,
}

impl TenantTemplates {
    /// What a name means to a branch (or to none).
    pub fn find(&self, name: &str, branch: Option<&str>) -> Option<Found<'_>> {
        let program = self.program.get(name);
        let Some(own) = &self.own else { return program.map(Found::one) };
        if name.starts_with(PREFIX) {
            return None;
        }
        let program = own.framed(name, branch.unwrap_or_default()).or(program);
        Found::of([branch.and_then(|branch| own.at(name, branch)), own.at(name, ""), program])
    }

    /// As [`TenantTemplates::find`], partials by themselves included.
    pub fn shown(&self, name: &str, branch: Option<&str>) -> Option<Found<'_>> {
        let own = self.own.as_ref().filter(|_| name.starts_with(PREFIX));
        let partial = own.and_then(|own| branch.and_then(|b| own.at(name, b)).or_else(|| own.at(name, "")));
        partial.map(Found::one).or_else(|| self.find(name, branch))
    }

    /// Every name that [`TenantTemplates::find`] knows for a branch.
    pub fn names(&self, branch: Option<&str>) -> Vec<&str> {
        let own = self.own.iter().flat_map(|own| own.by_name.keys()).map(String::as_str);
        let mut names: Vec<_> = own.chain(self.program.names()).filter(|n| self.find(n, branch).is_some()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}
