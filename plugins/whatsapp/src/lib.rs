#![doc = include_str!("../README.md")]

mod form;
mod meta;
mod phone;
mod twilio;

#[cfg(feature = "testing")]
pub mod double;

use std::sync::{Arc, LazyLock};

use plugin_api::{Channel, Host, Manifest, Plugin, Settings, SettingsError};

static MANIFEST: LazyLock<Manifest> = LazyLock::new(|| {
    Manifest::parse("plugins/whatsapp/plugin.toml", include_str!("../plugin.toml")).expect("a test reads it too")
});

/// [`plugin_api::SendError::reason`] and the failed status' reason when only an approved form would pass.
const OUTSIDE_WINDOW: &str = "outside_whatsapp_window";

pub fn plugin() -> Box<dyn Plugin> {
    Box::new(Whatsapp)
}

struct Whatsapp;

impl Plugin for Whatsapp {
    fn manifest(&self) -> &Manifest {
        &MANIFEST
    }

    fn open(&self, provider: &str, settings: &Settings, host: &Host) -> Result<Arc<dyn Channel>, SettingsError> {
        match provider {
            "twilio" => Ok(Arc::new(twilio::Twilio::open(settings, host)?)),
            _ => Ok(Arc::new(meta::Meta::open(settings, host)?)),
        }
    }
}
