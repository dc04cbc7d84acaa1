//! What tenants write in their own words: every template is compiled and checked before it is stored, together with what
//! includes it, so that nothing that holds can fail for how it is written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::app::App;
use crate::error::{Error, Fault, Result};
use crate::pool;
use crate::store::documents::{self, Key, Kind};
use crate::template::{
    Body, LONGEST_SOURCE, Own, OwnTemplates, PREFIX, Parts, Preview, Show, TemplateError, TenantTemplates,
};
use crate::tenant::Tenant;

/// Names of partials that a tenant may have.
const MOST_PARTIALS: usize = 32;
const LONGEST_NAME: usize = 64;
const LONGEST_SAMPLE: usize = 64 * 1024;
/// Parts that are not channels' names.
const KINDS: [&str; 6] = ["text", "email.subject", "email.text", "email.html", "email.mjml", "whatsapp.template.json"];

/// A name that can stand in a URL, in `{{> name}}` and in a folder.
pub fn check_name(name: &str) -> Result<()> {
    let plain = name.strip_prefix(PREFIX).unwrap_or(name);
    let fits = plain.starts_with(|c: char| c.is_ascii_alphanumeric())
        && plain.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
        && name.len() <= LONGEST_NAME
        && name != "preview";
    if fits {
        return Ok(());
    }
    let detail = format!("a template's name has up to {LONGEST_NAME} letters, digits, - and _, and is not \"preview\"");
    Err(Error::fault("/name", "name", detail))
}

/// Refuses a template with every flaw it has, and a partial with which another template would no longer work.
pub async fn check(app: &App, tenant: &Tenant, key: Key<'_>, body: &Body) -> Result<()> {
    let faults = shape(tenant, body);
    if !faults.is_empty() {
        return Err(Error::Invalid { slug: "validation", faults });
    }
    let mut owns = all(app, tenant).await?;
    let own = Own {
        branch: key.branch.to_owned(),
        name: key.name.to_owned(),
        locale: key.locale.to_owned(),
        body: body.clone(),
    };
    owns.retain(|other| !is(other, key));
    owns.push(own);
    let partials: BTreeSet<_> = owns.iter().map(|o| &o.name).filter(|name| name.starts_with(PREFIX)).collect();
    if partials.len() > MOST_PARTIALS {
        let detail = format!("a tenant has at most {MOST_PARTIALS} partials; delete one that is not needed");
        return Err(Error::fault("/name", "too_long", detail));
    }
    let (name, branch, locale) = (key.name.to_owned(), key.branch.to_owned(), key.locale.to_owned());
    let judged = judge(app, tenant, owns, move |templates| {
        let flaws = templates.at(&name, &branch).map(|t| t.flaws()).unwrap_or_default();
        let (own, others): (Vec<_>, Vec<_>) = flaws.into_iter().partition(|flaw| flaw.locale == locale);
        if !own.is_empty() {
            return (own, vec![], BTreeMap::new());
        }
        let including = if name.starts_with(PREFIX) { templates.flaws_of_including() } else { others };
        let variables = templates.at(&name, &branch).and_then(|t| t.variables().ok());
        (own, including, variables.unwrap_or_default())
    });
    let (own, including, variables) = judged.await?;
    let mut faults: Vec<_> = own.iter().map(|flaw| fault(flaw, format!("/parts/{}", flaw.part))).collect();
    if faults.is_empty() {
        faults = including.iter().map(|flaw| fault(flaw, "/parts".to_owned())).collect();
    }
    if let Some(long) = faults.iter().position(|fault| fault.code == "too_long") {
        return Err(Error::Invalid { slug: "validation", faults: vec![faults.swap_remove(long)] });
    }
    if !faults.is_empty() {
        return Err(Error::Invalid { slug: "template-invalid", faults });
    }
    declared(body, &variables)
}

/// A partial that others include can't be deleted.
pub async fn check_unused(app: &App, tenant: &Tenant, key: Key<'_>) -> Result<()> {
    if !key.name.starts_with(PREFIX) {
        return Ok(());
    }
    let mut owns = all(app, tenant).await?;
    owns.retain(|other| !is(other, key));
    let name = key.name.to_owned();
    let broken = judge(app, tenant, owns, move |templates| {
        let flaws = templates.flaws_of_including();
        flaws.into_iter().filter(|flaw| flaw.template != name).map(|flaw| flaw.template).collect::<BTreeSet<_>>()
    });
    let broken: Vec<_> = broken.await?.into_iter().collect();
    if broken.is_empty() {
        return Ok(());
    }
    Err(Error::refused("wrong-state", format!("still in use by {}", broken.join(", "))))
}

/// The variables of a stored template, and whether its parts can't do without.
pub async fn variables(tenant: &Tenant, name: &str, branch: &str) -> BTreeMap<String, bool> {
    let template = tenant.templates.own.as_ref().and_then(|own| own.at(name, branch).cloned());
    let Some(template) = template else { return BTreeMap::new() };
    let found = pool::run(tenant.id.as_str(), move || template.variables()).await;
    found.ok().and_then(Result::ok).unwrap_or_default()
}

fn is(own: &Own, key: Key<'_>) -> bool {
    own.name == key.name && own.branch == key.branch && own.locale == key.locale
}

async fn all(app: &App, tenant: &Tenant) -> Result<Vec<Own>> {
    let documents = documents::list(&app.db.pool, &tenant.id, Kind::Template).await?;
    Ok(documents.into_iter().filter_map(Own::read).collect())
}

/// Compiling happens where there is room for what tenants write.
async fn judge<T: Send + 'static>(
    app: &App,
    tenant: &Tenant,
    owns: Vec<Own>,
    ask: impl FnOnce(&OwnTemplates) -> T + Send + 'static,
) -> Result<T> {
    let program = Arc::clone(&app.templates);
    let unescaped = app.config.load().templates.allow_unescaped_html;
    let asked = pool::run(tenant.id.as_str(), move || ask(&OwnTemplates::of(owns, &program, unescaped))).await;
    asked.map_err(|pool::Panicked| Error::refused("template-limit", "it made the compiler fail"))
}

fn fault(flaw: &TemplateError, pointer: String) -> Fault {
    let place = match (flaw.line, flaw.column) {
        (Some(line), Some(column)) => format!("line {line} column {column}: "),
        (Some(line), None) => format!("line {line}: "),
        _ => String::new(),
    };
    let whose = if pointer == "/parts" { format!("{} {}: ", flaw.template, flaw.part) } else { String::new() };
    let code = if flaw.rule.is_empty() { flaw.code } else { flaw.rule };
    Fault::new(pointer, code, format!("{whose}{place}{}", flaw.detail)).at(flaw.line, flaw.column)
}

/// What can be said without compiling.
fn shape(tenant: &Tenant, body: &Body) -> Vec<Fault> {
    let mut faults = Vec::new();
    if body.parts.is_empty() {
        faults.push(Fault::new("/parts", "required", "a template has at least one part, e.g. \"text\""));
    }
    let channels = tenant.channels.names();
    for (kind, source) in &body.parts {
        let pointer = format!("/parts/{}", kind.replace('~', "~0").replace('/', "~1"));
        let is_channel = kind != "email" && channels.iter().any(|channel| **channel == **kind);
        if !is_channel && !KINDS.contains(&kind.as_str()) {
            let names = || KINDS.into_iter().chain(channels.iter().map(|c| &**c));
            let nearest = crate::suggest::nearest(kind, names());
            let hint = nearest.map_or_else(
                || format!("parts are: {}", names().collect::<Vec<_>>().join(", ")),
                |nearest| format!("did you mean \"{nearest}\"?"),
            );
            faults.push(Fault::new(&pointer, "unknown_part", format!("there is no such part; {hint}")));
        }
        if source.len() > LONGEST_SOURCE {
            faults.push(Fault::new(&pointer, "too_long", format!("longer than {LONGEST_SOURCE} bytes")));
        }
        if source.contains('\0') {
            faults.push(Fault::new(&pointer, "control_characters", "must not hold the NUL character"));
        }
        if source.trim().is_empty() {
            faults.push(Fault::new(pointer, "required", "must not be empty"));
        }
    }
    if body.parts.contains_key("email.html") && body.parts.contains_key("email.mjml") {
        faults.push(Fault::new("/parts", "exactly_one_of", "give email.html or email.mjml, not both"));
    }
    let extras = crate::store::to_json(&(&body.sample, &body.variables));
    if extras.len() > LONGEST_SAMPLE {
        let detail = format!("sample and variables are longer than {LONGEST_SAMPLE} bytes");
        faults.push(Fault::new("/sample", "too_long", detail));
    }
    if extras.contains("\\u0000") {
        faults.push(Fault::new("/sample", "control_characters", "must not hold the NUL character"));
    }
    faults
}

/// What its author says about variables must be about variables it has.
fn declared(body: &Body, found: &BTreeMap<String, bool>) -> Result<()> {
    let mut faults = Vec::new();
    for (name, said) in &body.variables {
        let pointer = format!("/variables/{}", name.replace('~', "~0").replace('/', "~1"));
        match found.get(name) {
            None => {
                let nearest = crate::suggest::nearest(name, found.keys().map(String::as_str));
                let hint = nearest.map(|n| format!("; did you mean \"{n}\"?")).unwrap_or_default();
                faults.push(Fault::new(pointer, "unknown_variable", format!("no part uses it{hint}")));
            }
            Some(true) if said.required == Some(false) => {
                let detail = format!("a part can't do without it: put {{{{#if {name}}}}} around it first");
                faults.push(Fault::new(format!("{pointer}/required"), "required", detail));
            }
            Some(_) => {}
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Error::Invalid { slug: "validation", faults }) }
}

/// What to preview.
pub enum Wanted {
    Saved(String),
    /// Not saved (yet).
    Parts(BTreeMap<String, String>),
}

pub struct Request {
    pub wanted: Wanted,
    /// Absent: the template's sample.
    pub data: Option<Value>,
    pub locale: Option<String>,
    pub channel: Option<String>,
    pub branch: Option<String>,
}

/// A name that nothing saved can have.
const UNSAVED: &str = "preview";

/// Renders all there is to see, with the faults of the rest. What runs into a bound, or has nothing to show, is refused.
pub async fn preview(app: &App, tenant: &Tenant, request: Request) -> Result<(Preview, Vec<Fault>)> {
    let branch = request.branch.clone();
    let templates = match &request.wanted {
        Wanted::Saved(_) => tenant.templates.clone(),
        Wanted::Parts(parts) => {
            let body = Body { parts: parts.clone(), ..Body::default() };
            let faults = shape(tenant, &body);
            if !faults.is_empty() {
                return Err(Error::Invalid { slug: "validation", faults });
            }
            // As if they were saved there: with the branch's partials, and dates in their language.
            let [branch, locale] = [&request.branch, &request.locale].map(|given| given.clone().unwrap_or_default());
            let own = Own { branch, name: UNSAVED.to_owned(), locale, body };
            let mut owns = all(app, tenant).await?;
            owns.push(own);
            let unescaped = app.config.load().templates.allow_unescaped_html;
            let own = Arc::new(OwnTemplates::of(owns, &app.templates, unescaped));
            TenantTemplates { program: Arc::clone(&app.templates), own: Some(own) }
        }
    };
    let name = match request.wanted {
        Wanted::Saved(name) => name,
        Wanted::Parts(_) => UNSAVED.to_owned(),
    };
    let of_channel = tenant.parts(request.channel.as_deref().unwrap_or_default(), branch.as_deref(), app.now());
    let (zone, now, formatting) = (of_channel.zone, of_channel.now, of_channel.formatting);
    let [fallback, country] = [of_channel.fallback.unwrap_or_default(), of_channel.country].map(str::to_owned);
    let shown = pool::run(tenant.id.as_str(), move || {
        let found = templates.shown(&name, branch.as_deref())?;
        let parts = Parts::of("").formatted(formatting).or_locale(&fallback).at(now, zone, &country);
        let locale = request.locale.as_deref().unwrap_or(&fallback);
        let channel = request.channel.as_deref();
        Some(found.preview(Show { locale, channel, data: request.data.as_ref(), parts }))
    });
    let refused = |pool::Panicked| Error::refused("template-limit", "it made the renderer fail");
    let preview = shown.await.map_err(refused)?.ok_or_else(|| {
        let known = tenant.templates.names(request.branch.as_deref()).join(", ");
        Error::fault("/template", "unknown_template", format!("there is no such template; there are: {known}"))
    })?;
    let of = |flaw: &TemplateError| fault(flaw, format!("/parts/{}", flaw.part));
    let limits: Vec<_> = preview.flaws.iter().filter(|flaw| flaw.code == "template_limit").map(of).collect();
    if !limits.is_empty() {
        return Err(Error::Invalid { slug: "template-limit", faults: limits });
    }
    let faults: Vec<_> = preview.flaws.iter().map(of).collect();
    if preview.parts.is_empty() && preview.flaws.iter().any(|flaw| flaw.code == "template_invalid") {
        return Err(Error::Invalid { slug: "template-invalid", faults });
    }
    Ok((preview, faults))
}
