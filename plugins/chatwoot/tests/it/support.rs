//! An opened account at the double, and messages for Ana.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use plugin_api::conformance::loopback_host;
use plugin_api::{Action, Channel, Message, Receipt, Recipient, SendError, Settings};
use plugin_chatwoot::double::{Double, Inbox};
use serde_json::Value;

pub(crate) const ANA: &str = "+523331234567";
pub(crate) const ANA_ALIAS: &str = "+5213331234567";
pub(crate) const ANA_EMAIL: &str = "Ana@example.com";

pub(crate) fn open(settings: &Settings) -> Arc<dyn Channel> {
    plugin_chatwoot::plugin().open("chatwoot", settings, &loopback_host(Duration::from_secs(10))).unwrap()
}

/// For the few cases in which the server is silent.
pub(crate) fn open_impatient(settings: &Settings) -> Arc<dyn Channel> {
    plugin_chatwoot::plugin().open("chatwoot", settings, &loopback_host(Duration::from_secs(2))).unwrap()
}

pub(crate) async fn double(inbox: Inbox) -> (Double, Arc<dyn Channel>) {
    let double = Double::start().await;
    let channel = open(&double.settings(inbox));
    (double, channel)
}

pub(crate) fn ana() -> Recipient {
    Recipient {
        contact_id: Some("c-1".into()),
        external_id: Some("client-456".into()),
        name: Some("Ana Lopez".into()),
        phone: Some(ANA.into()),
        email: Some(ANA_EMAIL.into()),
    }
}

pub(crate) fn message(text: &str) -> Message {
    Message {
        id: "0198-d1".into(),
        kind: "appointment_reminder".into(),
        channel: "chatwoot".into(),
        recipient: ana(),
        subject: None,
        text: text.into(),
        html: None,
        headers: vec![],
        actions: vec![],
        attachments: vec![],
        data: Arc::new(Value::Null),
        attempt: 1,
        memory: None,
        window_open: true,
        form: None,
        unsubscribe_url: None,
        began_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_785_250_800),
    }
}

pub(crate) fn buttons() -> Vec<Action> {
    let action = |title: &str, value: &str| Action { title: title.into(), value: value.into() };
    vec![action("Confirmar", "confirm:apt-1"), action("Cancelar", "cancel:apt-1")]
}

/// The next message, with the memory the core would have kept.
pub(crate) fn after(receipt: &Receipt, text: &str) -> Message {
    Message { memory: receipt.remember.clone(), ..message(text) }
}

pub(crate) fn after_error(error: &SendError, text: &str) -> Message {
    Message { memory: error.remember.clone(), ..message(text) }
}
