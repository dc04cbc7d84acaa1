//! The templates in `templates/default`, compiled into the program.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rust_embed::RustEmbed;

use super::{Template, Templates};

#[derive(RustEmbed)]
#[folder = "templates/default"]
struct Files;

/// Files without a language suffix are Spanish.
const LOCALE: &str = "es";

pub(super) fn load() -> Templates {
    let mut folders: BTreeMap<String, Vec<(String, Cow<'static, str>)>> = BTreeMap::new();
    for path in Files::iter() {
        // Folders with an underscore hold what templates share.
        let Some((folder, file)) = path.split_once('/').filter(|(folder, _)| !folder.starts_with('_')) else {
            continue;
        };
        if let Some(source) = Files::get(&path).and_then(|embedded| text(embedded.data)) {
            folders.entry(folder.to_owned()).or_default().push((file.to_owned(), source));
        }
    }
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
