//! The suite every channel passes, against the same doubles as the other tests.

use std::net::SocketAddr;

use plugin_api::Settings;
use plugin_api::conformance::{HttpDouble, HttpHarness, run};
use plugin_sms::double::{Infobip, Twilio, Vonage};
use serde_json::json;

use crate::support::with;

async fn conforms(provider: &'static str, double: &HttpDouble, settings: fn(SocketAddr) -> Settings) {
    run(&HttpHarness::new(plugin_sms::plugin(), provider, double.clone(), settings)).await;
}

#[tokio::test]
async fn twilio_conforms() {
    let double = Twilio::start().await;
    conforms("twilio", double.http(), Twilio::settings_at).await;
}

#[tokio::test]
async fn twilio_conforms_with_an_api_key_and_a_messaging_service() {
    fn settings(at: SocketAddr) -> Settings {
        let key = json!({"authToken": null, "apiKeySid": Twilio::KEY, "apiKeySecret": Twilio::KEY_SECRET,
            "from": null, "messagingServiceSid": Twilio::SERVICE});
        with(Twilio::settings_at(at), key)
    }
    let double = Twilio::start().await;
    conforms("twilio", double.http(), settings).await;
}

#[tokio::test]
async fn vonage_conforms() {
    let double = Vonage::start().await;
    conforms("vonage", double.http(), Vonage::settings_at).await;
}

#[tokio::test]
async fn infobip_conforms() {
    let double = Infobip::start().await;
    conforms("infobip", double.http(), Infobip::settings_at).await;
}
