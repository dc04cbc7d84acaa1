#![doc = include_str!("../README.md")]

mod account;
mod api;
mod channel;
mod check;
mod errors;
mod inbox;
mod lookup;
mod memory;
mod partial;
mod phone;

#[cfg(feature = "testing")]
pub mod double;

use std::sync::Arc;

use plugin_api::{Channel, Host, Manifest, Plugin, Settings, SettingsError};

struct Chatwoot {
    manifest: Manifest,
}

pub fn plugin() -> Box<dyn Plugin> {
    let manifest = Manifest::parse("plugins/chatwoot/plugin.toml", include_str!("../plugin.toml"))
        .expect("the manifest is compiled in, and a test reads it");
    Box::new(Chatwoot { manifest })
}

impl Plugin for Chatwoot {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn open(&self, _provider: &str, settings: &Settings, host: &Host) -> Result<Arc<dyn Channel>, SettingsError> {
        let account = account::Account::parse(settings)?;
        Ok(Arc::new(channel::ChatwootChannel::new(account, host)))
    }
}
