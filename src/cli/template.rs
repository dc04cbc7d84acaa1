//! `recado template check`: templates are judged and shown as a tenant's would be. Needs neither configuration nor store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Done, Failure, out};
use crate::pool;
use crate::template::{Body, LOCALE, Own, OwnTemplates, PREFIX, Parts, Show, TemplateError, Templates, split_locale};

#[derive(Default)]
struct Report {
    checked: usize,
    faults: Vec<String>,
    warnings: Vec<String>,
}

pub(super) fn check(folder: &Path, json: bool) -> Done {
    if !folder.is_dir() {
        return Err(Failure::no_input(format!("there is no folder {}", folder.display())));
    }
    // As deep as the server lets them be, they need as much room as it gives them.
    let folders = sets(folder)?;
    let checked = pool::run_blocking(move || {
        let mut report = Report::default();
        folders.iter().try_for_each(|set| check_set(set, &mut report)).map(|()| report)
    });
    let report = checked.map_err(|pool::Panicked| Failure::config("the templates made the compiler fail"))??;
    if report.checked == 0 {
        let layout = "<name>/<part>.hbs";
        return Err(Failure::no_input(format!("{}: no templates here; they lie in {layout}", folder.display())));
    }
    if json {
        let Report { checked, faults, warnings } = &report;
        out(json!({"ok": faults.is_empty(), "templates": checked, "faults": faults, "warnings": warnings}))?;
    } else {
        for warning in &report.warnings {
            out(format!("warning: {warning}"))?;
        }
    }
    if !report.faults.is_empty() {
        return Err(Failure::config(report.faults.join("\n")));
    }
    if json { Ok(()) } else { out(format!("{} templates are in order", report.checked)) }
}

/// A set's templates: each name with its folder.
type Set = BTreeMap<String, PathBuf>;

/// A folder is one template, a set of them, or a folder of sets.
fn sets(folder: &Path) -> Result<Vec<Set>, Failure> {
    let name = |path: &Path| path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
    if has_parts(folder)? {
        let folder = folder.canonicalize()?;
        return Ok(vec![Set::from([(name(&folder), folder)])]);
    }
    let below = folders(folder)?;
    let mut direct = Set::new();
    let mut sets = vec![];
    for path in below {
        if has_parts(&path)? {
            direct.insert(name(&path), path);
        } else {
            let templates = folders(&path)?.into_iter().map(|path| (name(&path), path));
            sets.push(templates.collect::<Set>());
        }
    }
    sets.push(direct);
    Ok(sets)
}

fn folders(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut paths: Vec<_> = entries.collect::<std::io::Result<Vec<_>>>()?.into_iter().filter(|p| p.is_dir()).collect();
    paths.sort();
    Ok(paths)
}

fn has_parts(folder: &Path) -> std::io::Result<bool> {
    let mut entries = std::fs::read_dir(folder)?.filter_map(Result::ok);
    Ok(entries.any(|entry| entry.path().extension().is_some_and(|e| e == "hbs")))
}

fn check_set(set: &Set, report: &mut Report) -> Result<(), Failure> {
    let mut owns = Vec::new();
    for (name, folder) in set {
        owns.extend(read(name, folder, report)?);
        report.checked += 1;
    }
    let languages: BTreeSet<_> = owns.iter().map(|own| (own.name.clone(), own.locale.clone())).collect();
    let templates = OwnTemplates::of(owns, &Templates::builtin(), false);
    let flawed = |flaw: &TemplateError| {
        let folder = set.get(&flaw.template).cloned().unwrap_or_default();
        let suffix = if flaw.locale.is_empty() { String::new() } else { format!(".{}", flaw.locale) };
        let file = match flaw.part.strip_suffix(".json") {
            Some(kind) => format!("{kind}{suffix}.json"),
            None => format!("{}{suffix}.hbs", flaw.part),
        };
        let place = match (flaw.line, flaw.column) {
            (Some(line), Some(column)) => format!(":{line}:{column}"),
            (Some(line), None) => format!(":{line}"),
            _ => String::new(),
        };
        format!("{}{place}: {}", folder.join(file).display(), flaw.detail)
    };
    for (name, folder) in set {
        let Some(template) = templates.at(name, "") else { continue };
        let flaws = template.flaws();
        report.faults.extend(flaws.iter().map(flawed));
        if !flaws.is_empty() || name.starts_with(PREFIX) {
            continue;
        }
        for (_, locale) in languages.iter().filter(|(of, _)| of == name) {
            let shown = if locale.is_empty() { LOCALE } else { locale };
            let parts = Parts::of("").or_locale(LOCALE);
            let show = Show { locale: shown, channel: None, data: None, parts };
            let preview = crate::template::Found::one(template).preview(show);
            report.faults.extend(preview.flaws.iter().map(flawed));
            report.warnings.extend(preview.warnings.iter().map(|warning| {
                let part = if warning.part.is_empty() { String::new() } else { format!(" {}", warning.part) };
                format!("{} ({shown}){part}: {}", folder.display(), warning.detail)
            }));
        }
    }
    Ok(())
}

/// One document for each language that a folder has files of.
fn read(name: &str, folder: &Path, report: &mut Report) -> Result<Vec<Own>, Failure> {
    let mut bodies: BTreeMap<String, Body> = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let file = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
        if path.is_dir() || file.starts_with('.') {
            continue;
        }
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) => {
                report.faults.push(format!("{}: {e}", path.display()));
                continue;
            }
        };
        let (stem, extension) = file.rsplit_once('.').unwrap_or((&file, ""));
        let (kind, locale) = split_locale(stem);
        let body = bodies.entry(locale.unwrap_or_default().to_owned()).or_default();
        match (kind, extension) {
            (_, "hbs") => {
                body.parts.insert(kind.to_owned(), text);
            }
            ("whatsapp.template", "json") => {
                body.parts.insert("whatsapp.template.json".to_owned(), text);
            }
            ("sample", "json") => match serde_json::from_str(&text) {
                Ok(Value::Object(sample)) => body.sample = Some(sample),
                Ok(_) => report.faults.push(format!("{}: the sample is an object", path.display())),
                Err(e) => {
                    report.faults.push(format!("{}:{}:{}: {e}", path.display(), e.line(), e.column()));
                }
            },
            _ => report.warnings.push(format!("{}: neither a part nor a sample; it is ignored", path.display())),
        }
    }
    let own = |(locale, body)| Own { branch: String::new(), name: name.to_owned(), locale, body };
    Ok(bodies.into_iter().map(own).collect())
}
