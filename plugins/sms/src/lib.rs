#![doc = include_str!("../README.md")]

mod account;
mod answer;
mod basic;
mod form;
mod infobip;
mod phone;
mod sender;
mod time;
mod twilio;
mod vonage;

#[cfg(feature = "double")]
pub mod double;

use std::sync::Arc;

use plugin_api::{Channel, Host, Manifest, Plugin, Settings, SettingsError};

struct Sms {
    manifest: Manifest,
}

pub fn plugin() -> Box<dyn Plugin> {
    let manifest = Manifest::parse("plugins/sms/plugin.toml", include_str!("../plugin.toml"))
        .expect("the manifest is compiled in, and a test reads it");
    Box::new(Sms { manifest })
}

impl Plugin for Sms {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn open(&self, provider: &str, settings: &Settings, host: &Host) -> Result<Arc<dyn Channel>, SettingsError> {
        Ok(match provider {
            "twilio" => Arc::new(twilio::Twilio::open(settings, host)?),
            "vonage" => Arc::new(vonage::Vonage::open(settings, host)?),
            "infobip" => Arc::new(infobip::Infobip::open(settings, host)?),
            other => {
                let detail = format!("\"sms\" has no provider \"{other}\"; it has twilio, vonage and infobip");
                return Err(SettingsError::new("provider", "unknown_provider", detail));
            }
        })
    }
}
