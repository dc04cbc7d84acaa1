//! A plugin's folder on disk.

use std::path::{Path, PathBuf};

use super::ScriptPlugin;

/// The largest file of a folder that is read.
const LARGEST: u64 = 1024 * 1024;

/// What is wrong with a folder, one line each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct FolderFault(pub Vec<String>);

/// Reads and compiles the plugin of a folder. The folder must be called as the channel is.
pub fn read_folder(folder: &Path) -> Result<ScriptPlugin, FolderFault> {
    let one = |fault: String| FolderFault(vec![fault]);
    let (manifest_path, script_path) = (folder.join("plugin.toml"), folder.join("plugin.rhai"));
    let manifest = read(&manifest_path).map_err(one)?;
    let source = read(&script_path).map_err(one)?;
    let plugin = ScriptPlugin::new(&manifest_path.display().to_string(), &manifest, source).map_err(FolderFault)?;
    let channel = &plugin.manifest.channel;
    if let Some(name) = name_of(folder)
        && name != *channel
    {
        let path = manifest_path.display();
        return Err(one(format!(
            "{path}: channel = \"{channel}\", but the folder is called \"{name}\"; they must agree"
        )));
    }
    plugin.compile().map_err(|e| one(format!("{}: {e}", script_path.display())))?;
    Ok(plugin)
}

/// A file's text; the error names it.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let named = |e: std::io::Error| format!("{}: {e}", path.display());
    if std::fs::metadata(path).map_err(named)?.len() > LARGEST {
        return Err(format!("{}: has more than 1 MiB", path.display()));
    }
    std::fs::read_to_string(path).map_err(named)
}

fn name_of(folder: &Path) -> Option<String> {
    let whole: PathBuf = folder.canonicalize().ok()?;
    Some(whole.file_name()?.to_string_lossy().into_owned())
}
