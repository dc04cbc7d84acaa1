//! The registry: which channels exist, and through which providers.

mod catalog;
mod native;
mod sandbox;
mod script;
mod shipped;
mod upload;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use plugin_api::{Manifest, Plugin, Provider};

pub use catalog::Catalog;
pub use sandbox::{SANDBOX, play};
pub use script::{CaseResult, FolderFault, ScriptPlugin, read_folder, run_cases};
pub use upload::Texts;

/// Every channel that all tenants have, by name: those compiled in, those that scripts describe, and the sandbox as a
/// provider of each. A reload can put other scripts in place while calls go on. What one tenant sees is its [`Catalog`].
pub struct Registry {
    channels: ArcSwap<Channels>,
}

type Channels = BTreeMap<Arc<str>, Arc<Entry>>;

struct Entry {
    plugin: Supplied,
    manifest: Arc<Manifest>,
    providers: Vec<Arc<Provider>>,
    /// Shows what the channel's own first provider would: parts, buttons, length.
    sandbox: Arc<Provider>,
}

enum Supplied {
    Native(Box<dyn Plugin>),
    Script(Box<ScriptPlugin>),
}

impl Supplied {
    fn plugin(&self) -> &dyn Plugin {
        match self {
            Self::Native(plugin) => &**plugin,
            Self::Script(plugin) => &**plugin,
        }
    }
}

impl Registry {
    /// What is compiled in, with an operator's folder of scripts (`paths.plugins`) laid over it: a folder there takes
    /// the place of the shipped script of the same name. Any other name supplied twice is a mistake, named as such.
    pub fn load(folder: Option<&Path>) -> anyhow::Result<Self> {
        let mut channels = Channels::new();
        for plugin in native::plugins() {
            add(&mut channels, Supplied::Native(plugin), "compiled in")?;
        }
        let own = folder.map(shipped::overlay).transpose()?.unwrap_or_default();
        let replaced = |shipped: &ScriptPlugin| own.iter().any(|o| o.manifest().channel == shipped.manifest().channel);
        for plugin in shipped::plugins()?.into_iter().filter(|p| !replaced(p)) {
            add(&mut channels, Supplied::Script(Box::new(plugin)), "compiled in")?;
        }
        let place = folder.map(|f| format!("in paths.plugins ({})", f.display())).unwrap_or_default();
        for plugin in own {
            add(&mut channels, Supplied::Script(Box::new(plugin)), &place)?;
        }
        Ok(Self { channels: ArcSwap::from_pointee(channels) })
    }

    /// The compiled-in plugins alone.
    pub fn native() -> anyhow::Result<Self> {
        Self::load(None)
    }

    /// Puts another registry's channels in the place of these. Those that did not change keep their identity, so
    /// that accounts opened through them stay open.
    pub fn replace(&self, fresh: Self) {
        let old = self.channels.load_full();
        let mut channels = Arc::unwrap_or_clone(fresh.channels.into_inner());
        for (name, entry) in &mut channels {
            if let Some(was) = old.get(name).filter(|was| was.is_the_same(entry)) {
                *entry = Arc::clone(was);
            }
        }
        self.channels.store(Arc::new(channels));
    }

    /// In the order of the alphabet.
    pub fn names(&self) -> Vec<Arc<str>> {
        self.channels.load().keys().cloned().collect()
    }

    pub fn has(&self, channel: &str) -> bool {
        self.channels.load().contains_key(channel)
    }

    fn entry(&self, channel: &str) -> Option<Arc<Entry>> {
        self.channels.load().get(channel).cloned()
    }
}

fn add(channels: &mut Channels, plugin: Supplied, place: &str) -> anyhow::Result<()> {
    let manifest = plugin.plugin().manifest().clone();
    let name: Arc<str> = manifest.channel.as_str().into();
    let twice = channels.insert(Arc::clone(&name), Arc::new(Entry::new(plugin, manifest)));
    // `paths.plugins` first, so that the command line knows whose mistake it is.
    anyhow::ensure!(
        twice.is_none(),
        "paths.plugins: the channel \"{name}\" is supplied twice: compiled in, and {place}; give yours another name"
    );
    Ok(())
}

impl Entry {
    fn of_script(plugin: ScriptPlugin) -> Self {
        let manifest = plugin.manifest().clone();
        Self::new(Supplied::Script(Box::new(plugin)), manifest)
    }

    fn new(plugin: Supplied, manifest: Manifest) -> Self {
        let providers: Vec<_> = manifest.providers.iter().cloned().map(Arc::new).collect();
        let sandbox = Arc::new(providers.first().map_or_else(sandbox::provider, |first| sandbox::like(first)));
        Self { plugin, manifest: Arc::new(manifest), providers, sandbox }
    }

    /// Native plugins are part of the program; a script is its texts.
    fn is_the_same(&self, other: &Self) -> bool {
        match (&self.plugin, &other.plugin) {
            (Supplied::Script(a), Supplied::Script(b)) => a.is_the_same(b),
            (Supplied::Native(_), Supplied::Native(_)) => true,
            _ => false,
        }
    }
}
