//! The registry: which channels exist, and through which providers.

mod native;
mod sandbox;

use std::collections::BTreeMap;
use std::sync::Arc;

use plugin_api::{Channel, Host, Manifest, Plugin, Provider, Settings, SettingsError};

pub use sandbox::{SANDBOX, play};

/// Every channel by name. The sandbox is a provider of each.
pub struct Registry {
    channels: BTreeMap<String, Entry>,
    sandbox: Arc<Provider>,
}

struct Entry {
    plugin: Option<Box<dyn Plugin>>,
    manifest: Manifest,
    providers: Vec<Arc<Provider>>,
}

impl Registry {
    /// The compiled-in plugins. A channel supplied twice is a mistake of the build, named as such.
    pub fn native() -> anyhow::Result<Self> {
        let mut registry = Self { channels: BTreeMap::new(), sandbox: Arc::new(sandbox::provider()) };
        for plugin in native::plugins() {
            let manifest = plugin.manifest().clone();
            registry.add(manifest, Some(plugin))?;
        }
        Ok(registry)
    }

    fn add(&mut self, manifest: Manifest, plugin: Option<Box<dyn Plugin>>) -> anyhow::Result<()> {
        let name = manifest.channel.clone();
        let providers = manifest.providers.iter().cloned().map(Arc::new).collect();
        let twice = self.channels.insert(name.clone(), Entry { plugin, manifest, providers });
        anyhow::ensure!(twice.is_none(), "plugins: the channel \"{name}\" is supplied twice");
        Ok(())
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.channels.keys().map(String::as_str)
    }

    pub fn manifest(&self, channel: &str) -> Option<&Manifest> {
        self.channels.get(channel).map(|e| &e.manifest)
    }

    /// A channel's provider by name; every channel has the sandbox.
    pub fn provider(&self, channel: &str, provider: &str) -> Option<Arc<Provider>> {
        let entry = self.channels.get(channel)?;
        if provider == SANDBOX {
            // The sandbox shows what the channel's own first provider would: parts, buttons, length.
            return Some(
                entry
                    .providers
                    .first()
                    .map_or_else(|| Arc::clone(&self.sandbox), |first| Arc::new(sandbox::like(first))),
            );
        }
        entry.providers.iter().find(|p| p.name == provider).cloned()
    }

    pub fn provider_names(&self, channel: &str) -> Vec<String> {
        let real = self.channels.get(channel).into_iter().flat_map(|e| e.providers.iter().map(|p| p.name.clone()));
        real.filter(|name| name != SANDBOX).chain([SANDBOX.to_owned()]).collect()
    }

    /// Opens an account.
    pub fn open(
        &self,
        channel: &str,
        provider: &str,
        settings: &Settings,
        host: &Host,
    ) -> Result<Arc<dyn Channel>, SettingsError> {
        if provider == SANDBOX {
            let address = self.manifest(channel).map_or(plugin_api::AddressKind::None, |m| m.address);
            return Ok(Arc::new(sandbox::Sandbox { address }));
        }
        let plugin = self.channels.get(channel).and_then(|e| e.plugin.as_ref());
        plugin
            .ok_or_else(|| {
                SettingsError::new("provider", "unknown_provider", format!("\"{channel}\" has no \"{provider}\""))
            })?
            .open(provider, settings, host)
    }
}
