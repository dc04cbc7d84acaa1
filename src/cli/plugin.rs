//! `recado plugin check`: a folder is tried as its writer goes along. Needs neither configuration nor network.

use std::path::Path;

use plugin_api::Plugin;
use serde_json::json;

use super::{Done, Failure, out};
use crate::plugins::{CaseResult, ScriptPlugin, read_folder, run_cases};

pub(super) async fn check(folder: &Path, json: bool) -> Done {
    if !folder.is_dir() {
        return Err(Failure::no_input(format!("there is no folder {}", folder.display())));
    }
    let (mut faults, mut cases) = (vec![], vec![]);
    let plugin = read_folder(folder);
    match &plugin {
        Ok(plugin) => match tried(plugin, folder).await {
            Ok(results) => cases = results,
            Err(fault) => faults.push(fault),
        },
        Err(e) => faults.clone_from(&e.0),
    }
    let path = folder.join("cases.json");
    for case in &cases {
        faults.extend(case.faults.iter().map(|fault| format!("{}: \"{}\": {fault}", path.display(), case.name)));
    }
    let channel = plugin.as_ref().map(|p| p.manifest().channel.clone()).ok();
    if json {
        out(json!({"ok": faults.is_empty(), "channel": channel, "cases": cases.len(), "faults": faults}))?;
    } else {
        for case in &cases {
            out(format!("{} {}", if case.faults.is_empty() { "ok " } else { "NOT" }, case.name))?;
            for line in &case.printed {
                out(format!("      printed: {line}"))?;
            }
        }
    }
    if !faults.is_empty() {
        return Err(Failure::config(faults.join("\n")));
    }
    if json { Ok(()) } else { out(format!("the channel {} is in order", channel.unwrap_or_default())) }
}

async fn tried(plugin: &ScriptPlugin, folder: &Path) -> Result<Vec<CaseResult>, String> {
    let path = folder.join("cases.json");
    let named = |e: String| format!("{}: {e}", path.display());
    let text = std::fs::read_to_string(&path).map_err(|e| {
        named(format!(
            "{e}; it says what the script is expected to do, e.g. {}",
            r#"{"cases": [{"name": "a text", "message": {"text": "Hi"}, "request": {…}}]}"#
        ))
    })?;
    run_cases(plugin, &text).await.map_err(named)
}
