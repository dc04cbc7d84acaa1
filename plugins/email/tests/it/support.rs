//! What the tests share: an opened channel, a message, certificates.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use plugin_api::http::Http;
use plugin_api::net::Guard;
use plugin_api::{Channel, Failure, Host, Message, Plugin, Receipt, Recipient, SendError, Settings, SettingsError};
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{RootCertStore, ServerConfig};
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
    let settings = plugin.manifest().provider("smtp").unwrap().validate(settings).map_err(|e| e[0].clone())?;
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

/// A certificate authority of the tests' own.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) roots: RootCertStore,
}

pub(crate) struct Leaf {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(params.self_signed(&key).unwrap().der().clone()).unwrap();
        Self { issuer: Issuer::new(params, key), roots }
    }

    pub(crate) fn leaf(&self, name: &str) -> Leaf {
        self.leaf_until(name, 4000)
    }

    /// A certificate for `name` that ends with the year `until`.
    pub(crate) fn leaf_until(&self, name: &str, until: i32) -> Leaf {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 12, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        Leaf { config: Arc::new(config), certificate_pem: certificate.pem(), key_pem: key.serialize_pem() }
    }

    /// A channel that believes this authority and no other.
    pub(crate) fn open(&self, settings: Value) -> Arc<dyn Channel> {
        let plugin = plugin_email::plugin_trusting(self.roots.clone());
        try_open(plugin.as_ref(), &host(), settings).unwrap()
    }
}
