//! The folders under `plugins/` are the channels of the program.

use std::collections::BTreeSet;
use std::path::Path;

use plugin_api::Manifest;
use recado::plugins::{Catalog, Registry};

/// A folder whose line in `src/plugins/native.rs` or `src/plugins/shipped.rs` was forgotten would be a channel that silently does not exist.
#[test]
fn every_plugin_folder_is_compiled_in() {
    let registry = Catalog::shared(Registry::native().unwrap().into());
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins");
    let mut channels = BTreeSet::new();
    for entry in std::fs::read_dir(&plugins).unwrap() {
        let file = entry.unwrap().path().join("plugin.toml");
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        let manifest = Manifest::parse(&file.display().to_string(), &text).unwrap();
        let known = registry.provider_names(&manifest.channel);
        for provider in &manifest.providers {
            assert!(
                known.contains(&provider.name),
                "{}: {} is not compiled in; name the plugin in src/plugins/native.rs or shipped.rs",
                file.display(),
                manifest.channel
            );
        }
        channels.insert(manifest.channel);
    }
    assert!(channels.len() >= 3, "these were found: {channels:?}");
}
