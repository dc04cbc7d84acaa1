//! What an account's settings can get wrong, found before anything is sent.

use plugin_api::{Settings, SettingsError};
use plugin_sms::double::{Infobip, Twilio, Vonage};
use serde_json::{Value, json};

use crate::support::{host, with};

const AT: &str = "127.0.0.1:9";

fn fault(provider: &str, settings: Settings) -> SettingsError {
    let plugin = plugin_sms::plugin();
    let schema = plugin.manifest().provider(provider).unwrap();
    let settings = schema.validate(settings).unwrap();
    plugin.open(provider, &settings, &host(None)).err().unwrap()
}

fn twilio(changes: Value) -> SettingsError {
    fault("twilio", with(Twilio::settings_at(AT.parse().unwrap()), changes))
}

#[test]
fn twilio_needs_a_token_or_a_whole_key_and_a_sender_or_a_service() {
    for (changes, setting) in [
        (json!({"accountSid": "AC12"}), "accountSid"),
        (json!({"accountSid": Twilio::KEY}), "accountSid"),
        (json!({"authToken": null}), "authToken"),
        (json!({"authToken": " "}), "authToken"),
        (json!({"apiKeySid": Twilio::KEY}), "apiKeySecret"),
        (json!({"apiKeySecret": Twilio::KEY_SECRET}), "apiKeySid"),
        (json!({"apiKeySid": "SK1", "apiKeySecret": "x"}), "apiKeySid"),
        (json!({"from": null}), "from"),
        (json!({"from": "whatsapp:+15005550006"}), "from"),
        (json!({"messagingServiceSid": "MG"}), "messagingServiceSid"),
        (json!({"webhookKeys": "only-an-id"}), "webhookKeys"),
        (json!({"baseUrl": "api.twilio.com"}), "baseUrl"),
    ] {
        assert_eq!(twilio(changes.clone()).setting, setting, "{changes}");
    }
}

#[test]
fn the_other_two_name_their_fault_too() {
    let vonage = |changes| fault("vonage", with(Vonage::settings_at(AT.parse().unwrap()), changes)).setting;
    assert_eq!(vonage(json!({"apiKey": " "})), "apiKey");
    assert_eq!(vonage(json!({"apiSecret": " "})), "apiSecret");
    assert_eq!(vonage(json!({"from": "Salon Numero Uno"})), "from");
    assert_eq!(vonage(json!({"baseUrl": "https://u:p@rest.nexmo.com"})), "baseUrl");

    let infobip = |changes| fault("infobip", with(Infobip::settings_at(AT.parse().unwrap()), changes)).setting;
    assert_eq!(infobip(json!({"apiKey": "two words"})), "apiKey");
    assert_eq!(infobip(json!({"from": " "})), "from");
    assert_eq!(infobip(json!({"webhookPassword": "short"})), "webhookPassword");
    assert_eq!(infobip(json!({"baseUrl": "https://x.api.infobip.com/?a"})), "baseUrl");
}

#[test]
fn the_schema_refuses_an_unknown_way_of_signing() {
    let plugin = plugin_sms::plugin();
    let settings = with(Vonage::settings_at(AT.parse().unwrap()), json!({"signatureMethod": "md4"}));
    let faults = plugin.manifest().provider("vonage").unwrap().validate(settings).unwrap_err();
    assert_eq!(faults[0].setting, "signatureMethod");
}

#[test]
fn an_unknown_provider_is_named() {
    let error = plugin_sms::plugin().open("plivo", &Settings::default(), &host(None)).err().unwrap();
    assert!(error.to_string().contains("plivo"));
}

#[test]
fn no_setting_shows_its_secret_in_a_fault() {
    for error in [
        twilio(json!({"apiKeySid": "hush-hush-hush", "apiKeySecret": "hush-hush-hush"})),
        twilio(json!({"webhookKeys": "hush-hush-hush"})),
        fault("infobip", with(Infobip::settings_at(AT.parse().unwrap()), json!({"apiKey": "hush hush"}))),
        fault("infobip", with(Infobip::settings_at(AT.parse().unwrap()), json!({"webhookPassword": "hush"}))),
    ] {
        assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
    }
}
