//! `recado script check`: scripts are tried as their writer goes along. Needs neither configuration nor store.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Done, Failure, out};
use crate::plugins::CaseResult;
use crate::scripts::{Kind, run_cases};

pub(super) async fn check(path: &Path, json: bool) -> Done {
    let mut files = vec![];
    if path.is_dir() {
        collect(path, &mut files)?;
        files.sort();
    } else if path.is_file() {
        files.push(path.to_owned());
    } else {
        return Err(Failure::no_input(format!("there is no file or folder {}", path.display())));
    }
    if files.is_empty() {
        return Err(Failure::no_input(format!("there is no script (*.rhai) in {}", path.display())));
    }
    let (mut faults, mut scripts) = (vec![], vec![]);
    for file in &files {
        let tried = try_out(file).await;
        if !json {
            out(format!("{} {}", if tried.faults.is_empty() { "ok " } else { "NOT" }, file.display()))?;
            for case in &tried.cases {
                out(format!("    {} {}", if case.faults.is_empty() { "ok " } else { "NOT" }, case.name))?;
                for line in &case.printed {
                    out(format!("          printed: {line}"))?;
                }
            }
        }
        scripts.push(json!({"file": file.display().to_string(), "kind": tried.kind.map(Kind::as_str),
            "cases": tried.cases.len(), "ok": tried.faults.is_empty()}));
        faults.extend(tried.faults);
    }
    if json {
        out(json!({"ok": faults.is_empty(), "scripts": scripts, "faults": faults}))?;
    }
    if faults.is_empty() { Ok(()) } else { Err(Failure::config(faults.join("\n"))) }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "rhai") && path.file_name() != Some("plugin.rhai".as_ref()) {
            files.push(path);
        }
    }
    Ok(())
}

#[derive(Default)]
struct Tried {
    kind: Option<Kind>,
    cases: Vec<CaseResult>,
    faults: Vec<String>,
}

async fn try_out(file: &Path) -> Tried {
    let named = |place: &Path, fault: &str| format!("{}: {fault}", place.display());
    let source = match std::fs::read_to_string(file) {
        Ok(source) => source,
        Err(e) => return Tried { faults: vec![named(file, &e.to_string())], ..Tried::default() },
    };
    let folder = file.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
    let kind = Kind::ALL.into_iter().find(|kind| kind.folder() == folder);
    let kind = kind.unwrap_or_else(|| Kind::by_functions(&source));
    let tried = Tried { kind: Some(kind), ..Tried::default() };
    let script = match kind.compile_in_turn(&source).await {
        Ok(script) => script,
        Err(e) => {
            let place = match (e.line, e.column) {
                (Some(line), Some(column)) => format!("{}:{line}:{column}", file.display()),
                (Some(line), None) => format!("{}:{line}", file.display()),
                _ => file.display().to_string(),
            };
            return Tried { faults: vec![format!("{place}: {}", e.detail)], ..tried };
        }
    };
    let path = file.with_extension("cases.json");
    let text: Option<Result<String, _>> = path.is_file().then(|| std::fs::read_to_string(&path));
    let ran = match text {
        None => Ok(vec![]),
        Some(Err(e)) => Err(e.to_string()),
        Some(Ok(text)) => run_cases(kind, &script, &text).await,
    };
    match ran {
        Err(e) => Tried { faults: vec![named(&path, &e)], ..tried },
        Ok(cases) => {
            let of = |case: &CaseResult| -> Vec<String> {
                case.faults.iter().map(|fault| named(&path, &format!("\"{}\": {fault}", case.name))).collect()
            };
            let faults = cases.iter().flat_map(of).collect();
            Tried { cases, faults, ..tried }
        }
    }
}
