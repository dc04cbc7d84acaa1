//! What the tests share: an opened channel, a message.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use plugin_api::conformance::Authority;
use plugin_api::http::Http;
use plugin_api::net::Guard;
use plugin_api::{Channel, Failure, Host, Message, Plugin, Receipt, Recipient, SendError, Settings, SettingsError};
use serde_json::{Value, json};

pub(crate) fn host() -> Host {
    host_allowing(&["127.0.0.0/8"])
}

pub(crate) fn host_allowing(networks: &[&str]) -> Host {
    // The HTTP client of the host asks for a process-wide provider; the second test to install it may fail.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let allow = networks.iter().map(|n| n.parse().unwrap()).collect();
    let guard = Arc::new(Guard { allow, allow_http: true, ..Guard::default() });
    let timeout = Duration::from_secs(20);
    Host {
        http: Http::new(Arc::clone(&guard), timeout),
        guard,
        timeout,
        hostname: "gateway.example.test".into(),
        hook_url: None,
    }
}

/// Settings as a caller writes them, through the schema.
pub(crate) fn try_open(plugin: &dyn Plugin, host: &Host, settings: Value) -> Result<Arc<dyn Channel>, SettingsError> {
    let mut full = json!({"host": "127.0.0.1", "from": "clinic@example.test", "fromName": "Clínica Norte"});
    full.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let settings: Settings = full.as_object().unwrap().clone().into_iter().collect();
    let provider = plugin.manifest().provider("smtp").unwrap();
    let settings = provider.flatten(settings).and_then(|flat| provider.validate(flat)).map_err(|e| e[0].clone())?;
    plugin.open("smtp", &settings, host)
}

pub(crate) fn open(settings: Value) -> Arc<dyn Channel> {
    try_open(plugin_email::plugin().as_ref(), &host(), settings).unwrap()
}

/// A channel to a sink without encryption.
pub(crate) fn open_plain(port: u16) -> Arc<dyn Channel> {
    open(json!({"port": port, "security": "none"}))
}

pub(crate) fn message(id: &str) -> Message {
    Message {
        id: id.into(),
        kind: "appointment_reminder".into(),
        channel: "email".into(),
        recipient: Recipient {
            name: Some("Ana López".into()),
            email: Some("ana@example.com".into()),
            ..Recipient::default()
        },
        subject: Some("Tu cita es mañana".into()),
        text: "Hola Ana, tu cita es mañana a las 10:00.".into(),
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

pub(crate) async fn send(channel: &Arc<dyn Channel>, id: &str) -> Result<Receipt, SendError> {
    channel.send(&message(id)).await
}

/// Failure and reason, which is all that a test of an outcome wants.
pub(crate) fn outcome(result: Result<Receipt, SendError>) -> (Option<Failure>, String) {
    match result {
        Ok(_) => (None, "accepted".into()),
        Err(e) => (Some(e.failure), e.reason.into_owned()),
    }
}

/// A channel that believes this authority and no other.
pub(crate) fn open_trusting(authority: &Authority, settings: Value) -> Arc<dyn Channel> {
    let plugin = plugin_email::plugin_trusting(authority.roots.clone());
    try_open(plugin.as_ref(), &host(), settings).unwrap()
}
