//! The channels that are scripts and come with the program, one line each, and those of an operator's folder.

use std::path::Path;

use super::script::{ScriptPlugin, read_folder};

macro_rules! folder {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("../../plugins/", $name, "/plugin.toml")),
            include_str!(concat!("../../plugins/", $name, "/plugin.rhai")),
        )
    };
}

const SHIPPED: [(&str, &str, &str); 7] = [
    folder!("discord"),
    folder!("gotify"),
    folder!("ntfy"),
    folder!("pushover"),
    folder!("slack"),
    folder!("teams"),
    folder!("telegram"),
];

/// Their scripts are compiled when an account is opened.
pub(super) fn plugins() -> anyhow::Result<Vec<ScriptPlugin>> {
    let read = |(name, manifest, source): (&str, &str, &'static str)| {
        let path = format!("plugins/{name}/plugin.toml");
        ScriptPlugin::new(&path, manifest, source).map_err(|faults| anyhow::anyhow!(faults.join("; ")))
    };
    SHIPPED.into_iter().map(read).collect()
}

/// The plugins of an operator's folder, each in a folder of its own. All faults at once.
pub(super) fn overlay(folder: &Path) -> anyhow::Result<Vec<ScriptPlugin>> {
    let unreadable = |e: std::io::Error| anyhow::anyhow!("paths.plugins: {}: {e}", folder.display());
    let mut plugins = Vec::new();
    let mut faults = Vec::new();
    let mut folders: Vec<_> =
        std::fs::read_dir(folder).map_err(unreadable)?.collect::<Result<_, _>>().map_err(unreadable)?;
    folders.sort_by_key(std::fs::DirEntry::file_name);
    for entry in folders {
        let hidden = entry.file_name().to_string_lossy().starts_with(['.', '_']);
        if hidden || !entry.path().is_dir() {
            continue;
        }
        match read_folder(&entry.path()) {
            Ok(plugin) => plugins.push(plugin),
            Err(e) => faults.extend(e.0.into_iter().map(|fault| format!("paths.plugins: {fault}"))),
        }
    }
    anyhow::ensure!(faults.is_empty(), faults.join("\n"));
    Ok(plugins)
}
