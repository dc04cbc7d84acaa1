//! The Cloud API of one business account with one number.

mod state;

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use http::Method;
use plugin_api::conformance::{HttpDouble, Reply, Seen};
use plugin_api::{Callback, Settings};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{assert_none, callback, lock};
use state::{State, canonical, contract};

/// Runs until it is dropped.
pub struct MetaDouble {
    /// What stands before the state: counts calls and plays failures.
    pub http: HttpDouble,
    state: Arc<Mutex<State>>,
}

/// An approved form, or one that was.
#[derive(Debug, Clone)]
pub struct Template {
    pub name: &'static str,
    pub language: &'static str,
    /// `APPROVED`, `PAUSED`, `DISABLED`, `PENDING`.
    pub status: &'static str,
    /// How many values the body takes.
    pub body: usize,
    /// Their names, for a form with named values.
    pub names: &'static [&'static str],
    /// `text`, `image`, `video` or `document`, where the header has a variable.
    pub header: Option<&'static str>,
    /// Each button's `sub_type`.
    pub buttons: &'static [&'static str],
}

impl MetaDouble {
    pub const PHONE_NUMBER_ID: &str = "106540352242922";
    pub const WABA_ID: &str = "102290129340398";
    pub const TOKEN: &str = "EAAmadeUpAccessToken000000000001";
    pub const APP_SECRET: &str = "appSecretMadeUp";
    pub const VERIFY_TOKEN: &str = "verifyTokenMadeUp";

    /// Listens on a port of its own on 127.0.0.1.
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(State::new()));
        let shared = Arc::clone(&state);
        let http = HttpDouble::with(is_send, move |behaviour, seen| lock(&shared).answer(behaviour, seen)).await;
        Self { http, state }
    }

    /// Settings of an account whose provider listens at `at`.
    pub fn settings(at: SocketAddr) -> Settings {
        let json = json!({"phoneNumberId": Self::PHONE_NUMBER_ID, "wabaId": Self::WABA_ID, "accessToken": Self::TOKEN,
            "appSecret": Self::APP_SECRET, "verifyToken": Self::VERIFY_TOKEN, "apiVersion": "v23.0",
            "baseUrl": format!("http://{at}"), "listLabel": "Opciones"});
        json.as_object().expect("it is one").clone().into_iter().collect()
    }

    /// A refusal as Meta writes it.
    pub fn error(status: u16, code: i64, details: &str) -> Reply {
        Reply::json(
            status,
            &json!({"error": {"message": format!("(#{code}) Made up"), "type": "OAuthException", "code": code,
                "error_data": {"messaging_product": "whatsapp", "details": details},
                "fbtrace_id": "AbCdEfGhIjKlMnOpQrStUvW"}}),
        )
    }

    pub fn add_template(&self, template: Template) {
        lock(&self.state).templates.push(template);
    }

    /// The next request to send is answered so, and has no effect; several add up.
    pub fn answer_next(&self, reply: Reply) {
        lock(&self.state).next.push_back(reply);
    }

    /// WhatsApp knows this person under another spelling of the number, in digits.
    pub fn spell(&self, phone: &str, wa_id: &str) {
        lock(&self.state).wa_ids.insert(canonical(phone), wa_id.to_owned());
    }

    pub fn without_whatsapp(&self, phone: &str) {
        lock(&self.state).without_whatsapp.insert(canonical(phone));
    }

    /// From now on a closed window is answered 200 and reported by a failed status.
    pub fn report_late(&self) {
        lock(&self.state).reports_late = true;
    }

    /// From now on one person may be written to without end.
    pub fn without_pair_limit(&self) {
        lock(&self.state).keeps_pair_limit = false;
    }

    pub fn advance(&self, by: Duration) {
        lock(&self.state).now += by.as_secs();
    }

    /// Bodies of the messages that were taken, each with its `id`.
    pub fn sent(&self) -> Vec<Value> {
        lock(&self.state).sent.clone()
    }

    /// The person writes, which opens the window: a webhook's `value`. `message` has `type` and the content.
    pub fn writes(&self, phone: &str, message: Value) -> Value {
        lock(&self.state).writes(phone, message)
    }

    /// A status of a message that was taken: a webhook's `value`.
    pub fn status(&self, id: &str, status: &str) -> Value {
        lock(&self.state).status(id, status, None)
    }

    /// A failure of one.
    pub fn failure(&self, id: &str, code: i64) -> Value {
        lock(&self.state).status(id, "failed", Some(code))
    }

    /// What Meta still has to report by itself: webhooks' `value`s.
    pub fn pending(&self) -> Vec<Value> {
        std::mem::take(&mut lock(&self.state).pending)
    }

    /// A signed delivery of webhooks' `value`s, one entry each.
    pub fn callback(&self, url: &str, values: &[Value]) -> Callback {
        let entry = |value: &Value| json!({"id": Self::WABA_ID, "changes": [{"field": "messages", "value": value}]});
        let entries: Vec<_> = values.iter().map(entry).collect();
        self.signed(url, &json!({"object": "whatsapp_business_account", "entry": entries}))
    }

    /// A signed delivery of any body the contract knows.
    pub fn signed(&self, url: &str, body: &Value) -> Callback {
        let breaches = contract().map(|c| c.value("/x-webhooks/schema", body)).unwrap_or_default();
        lock(&self.state).breaches.extend(breaches);
        self.signed_bytes(url, escaped(&body.to_string()).into_bytes())
    }

    /// A signed delivery of anything.
    pub fn signed_bytes(&self, url: &str, body: Vec<u8>) -> Callback {
        let signature = format!("sha256={}", sign(&body));
        let headers = [("content-type", "application/json"), ("x-hub-signature-256", signature.as_str())];
        callback(Method::POST, url, &headers, body, lock(&self.state).now)
    }

    /// The request by which Meta makes sure of a callback's address.
    pub fn verification(&self, url: &str, token: &str, challenge: &str) -> Callback {
        let url = format!("{url}?hub.mode=subscribe&hub.challenge={challenge}&hub.verify_token={token}");
        callback(Method::GET, &url, &[], vec![], lock(&self.state).now)
    }
}

impl Drop for MetaDouble {
    fn drop(&mut self) {
        assert_none(&std::mem::take(&mut lock(&self.state).breaches));
    }
}

fn is_send(seen: &Seen) -> bool {
    seen.method == "POST" && seen.path.ends_with("/messages")
}

/// Meta writes what is not ASCII as escapes, so that a body written anew has another signature.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

fn sign(body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(MetaDouble::APP_SECRET.as_bytes()).expect("any length will do");
    mac.chain_update(body).finalize().into_bytes().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
