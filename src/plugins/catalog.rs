//! The channels of one tenant: those that everybody has, and those that it brought itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use plugin_api::{AddressKind, Channel, Host, Manifest, Provider, Settings, SettingsError};

use super::upload::Texts;
use super::{Entry, Registry, SANDBOX, sandbox};
use crate::error::Fault;
use crate::store::documents::Document;

pub struct Catalog {
    shared: Arc<Registry>,
    own: BTreeMap<Arc<str>, Own>,
}

/// A channel of the tenant's own, as of its version.
#[derive(Clone)]
struct Own {
    entry: Arc<Entry>,
    version: i64,
}

impl Catalog {
    /// What everybody has.
    pub fn shared(shared: Arc<Registry>) -> Self {
        Self { shared, own: BTreeMap::new() }
    }

    /// With a tenant's uploads. Those of `before` that did not change keep their identity, so that accounts opened
    /// through them stay open.
    pub fn new(shared: Arc<Registry>, uploads: &[Document], before: Option<&Self>) -> Self {
        let mut own = BTreeMap::new();
        for upload in uploads {
            let known = before.and_then(|b| b.own.get(&*upload.name)).filter(|o| o.version == upload.version);
            let kept = known.cloned().or_else(|| Own::read(upload));
            own.extend(kept.map(|o| (upload.name.as_str().into(), o)));
        }
        Self { shared, own }
    }

    /// In the order of the alphabet.
    pub fn names(&self) -> Vec<Arc<str>> {
        let mut names = self.shared.names();
        if !self.own.is_empty() {
            names.extend(self.own.keys().cloned());
            names.sort_unstable();
            names.dedup();
        }
        names
    }

    pub fn has(&self, channel: &str) -> bool {
        self.shared.has(channel) || self.own.contains_key(channel)
    }

    /// What is wrong with this name at `pointer`, when no channel has it.
    pub fn unless_known(&self, channel: &str, pointer: impl FnOnce() -> String) -> Option<Fault> {
        let detail = || format!("there is no such channel; there are: {}", self.names().join(", "));
        (!self.has(channel)).then(|| Fault::new(pointer(), "unknown_channel", detail()))
    }

    /// Only this tenant has it.
    pub fn is_own(&self, channel: &str) -> bool {
        !self.shared.has(channel) && self.own.contains_key(channel)
    }

    /// What a channel is called in metrics: names that tenants give would make them grow without end, and be read by all.
    pub fn label(&self, channel: &str) -> String {
        if self.shared.has(channel) { channel.to_owned() } else { "own".to_owned() }
    }

    pub fn manifest(&self, channel: &str) -> Option<Arc<Manifest>> {
        self.entry(channel).map(|e| Arc::clone(&e.manifest))
    }

    /// A channel's provider by name; every channel has the sandbox. The same one again until its plugin changes.
    pub fn provider(&self, channel: &str, provider: &str) -> Option<Arc<Provider>> {
        let entry = self.entry(channel)?;
        if provider == SANDBOX {
            return Some(Arc::clone(&entry.sandbox));
        }
        entry.providers.iter().find(|p| p.name == provider).cloned()
    }

    pub fn provider_names(&self, channel: &str) -> Vec<String> {
        let entry = self.entry(channel);
        let real = entry.iter().flat_map(|e| e.providers.iter().map(|p| p.name.clone()));
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
        let entry = self.entry(channel);
        if provider == SANDBOX {
            let address = entry.map_or(AddressKind::None, |e| e.manifest.address);
            return Ok(Arc::new(sandbox::Sandbox { address }));
        }
        let entry = entry.ok_or_else(|| {
            SettingsError::new("provider", "unknown_provider", format!("\"{channel}\" has no \"{provider}\""))
        })?;
        entry.plugin.plugin().open(provider, settings, host)
    }

    /// What everybody has goes first: an operator's channel can't be taken over by a tenant.
    fn entry(&self, channel: &str) -> Option<Arc<Entry>> {
        self.shared.entry(channel).or_else(|| self.own.get(channel).map(|o| Arc::clone(&o.entry)))
    }
}

impl Own {
    /// `None` where a newer program refuses what an older one took: the channel is as unknown as one never uploaded.
    fn read(upload: &Document) -> Option<Self> {
        let plugin = serde_json::from_str::<Texts>(&upload.body).map_err(|e| e.to_string()).and_then(|texts| {
            texts.plugin().map_err(|faults| faults.into_iter().map(|f| f.detail).collect::<Vec<_>>().join("; "))
        });
        match plugin {
            Ok(plugin) => Some(Self { entry: Arc::new(Entry::of_script(plugin)), version: upload.version }),
            Err(e) => {
                tracing::warn!(
                    channel = upload.name,
                    version = upload.version,
                    error = e,
                    "an uploaded channel is unusable"
                );
                None
            }
        }
    }
}
