//! The templates in `templates/default`, compiled into the program.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rust_embed::RustEmbed;

use super::{Template, Templates};

#[derive(RustEmbed)]
#[folder = "templates/default"]
struct Files;

/// Files without a language suffix are Spanish.
pub(crate) const LOCALE: &str = "es";

/// Template name to its files.
type Folders = BTreeMap<String, BTreeMap<String, Cow<'static, str>>>;

pub(super) fn load() -> Templates {
    assemble(compiled_in())
}

/// What is compiled in, with the files of `<folder>/default/<name>/` laid over it, one by one.
pub(super) fn load_over(folder: &Path) -> Result<Templates, OverlayError> {
    let failed =
        |path: &Path, e: std::io::Error| OverlayError { path: path.display().to_string(), detail: e.to_string() };
    let mut folders = compiled_in();
    let set = folder.join("default");
    let mut laid_over = BTreeSet::new();
    for entry in std::fs::read_dir(&set).map_err(|e| failed(&set, e))? {
        let template = entry.map_err(|e| failed(&set, e))?.path();
        let name = template.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
        if !template.is_dir() || name.starts_with(['_', '.']) {
            continue;
        }
        for entry in std::fs::read_dir(&template).map_err(|e| failed(&template, e))? {
            let path = entry.map_err(|e| failed(&template, e))?.path();
            let Some(file) = path.file_name().and_then(|n| n.to_str()).filter(|_| path.is_file()) else { continue };
            let source = std::fs::read_to_string(&path).map_err(|e| failed(&path, e))?;
            folders.entry(name.clone()).or_default().insert(file.to_owned(), Cow::Owned(source));
        }
        laid_over.insert(name);
    }
    let templates = assemble(folders);
    // The operator's own files are judged now, not when the first message needs them.
    for name in laid_over {
        if let Some(Err(e)) = templates.get(&name).map(|t| t.check()) {
            return Err(OverlayError { path: set.join(&name).display().to_string(), detail: e.to_string() });
        }
    }
    Ok(templates)
}

/// An operator's template can't be used.
#[derive(Debug, thiserror::Error)]
#[error("paths.templates: {path}: {detail}")]
pub struct OverlayError {
    path: String,
    detail: String,
}

fn compiled_in() -> Folders {
    let mut folders = Folders::new();
    for path in Files::iter() {
        // Folders with an underscore hold what templates share.
        let Some((folder, file)) = path.split_once('/').filter(|(folder, _)| !folder.starts_with('_')) else {
            continue;
        };
        if let Some(source) = Files::get(&path).and_then(|embedded| text(embedded.data)) {
            folders.entry(folder.to_owned()).or_default().insert(file.to_owned(), source);
        }
    }
    folders
}

fn assemble(folders: Folders) -> Templates {
    let mut templates = Templates::default();
    for (name, files) in folders {
        let files = files.iter().map(|(file, source)| (file.as_str(), source.clone()));
        templates.insert(Template::new(&name, LOCALE, files));
    }
    templates
}

fn text(data: Cow<'static, [u8]>) -> Option<Cow<'static, str>> {
    match data {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::template::Parts;

    fn overlay(file: &str, source: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let template = folder.path().join("default/welcome");
        std::fs::create_dir_all(&template).unwrap();
        std::fs::write(template.join(file), source).unwrap();
        folder
    }

    #[test]
    fn an_operators_file_replaces_the_one_compiled_in_and_only_that() {
        let folder = overlay("text.hbs", "Hola {{clientName}}, soy otra.");
        let templates = load_over(folder.path()).unwrap();
        let data = json!({"clientName": "Ana"});
        let rendered = templates.render("welcome", "es-MX", Parts::of("chatwoot"), &data).unwrap();
        assert_eq!(rendered.text, "Hola Ana, soy otra.");
        let mail = templates.render("welcome", "es-MX", Parts::of("email"), &data).unwrap();
        assert!(mail.html.is_some() && mail.subject.is_some());
    }

    #[test]
    fn a_flaw_in_an_operators_file_is_named_with_its_place() {
        let folder = overlay("text.hbs", "Hola {{#if clientName}}");
        let said = load_over(folder.path()).unwrap_err().to_string();
        assert!(said.starts_with("paths.templates: ") && said.contains("welcome"), "{said}");
    }
}
