//! Twilio's Messages API of one account with one WhatsApp sender.

mod state;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::Method;
use plugin_api::conformance::{HttpDouble, Reply, Seen};
use plugin_api::{Callback, Settings};
use serde_json::{Value, json};
use sha1::Sha1;
use url::form_urlencoded;

use super::{assert_none, callback, lock};
use state::{State, contract, object};

/// Runs until it is dropped.
pub struct TwilioDouble {
    /// What stands before the state: counts calls and plays failures.
    pub http: HttpDouble,
    state: Arc<Mutex<State>>,
}

impl TwilioDouble {
    pub const ACCOUNT_SID: &str = "AC0123456789abcdef0123456789abcdef";
    pub const AUTH_TOKEN: &str = "authTokenMadeUp";
    pub const FROM: &str = "+523330000000";

    /// Listens on a port of its own on 127.0.0.1.
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(State::new()));
        let shared = Arc::clone(&state);
        let http = HttpDouble::with(is_send, move |behaviour, seen| lock(&shared).answer(behaviour, seen)).await;
        Self { http, state }
    }

    /// Settings of an account whose provider listens at `at`.
    pub fn settings(at: SocketAddr) -> Settings {
        let json = json!({"accountSid": Self::ACCOUNT_SID, "authToken": Self::AUTH_TOKEN, "from": Self::FROM,
            "baseUrl": format!("http://{at}")});
        json.as_object().expect("it is one").clone().into_iter().collect()
    }

    /// A refusal as Twilio writes it.
    pub fn error(status: u16, code: u32, message: &str) -> Reply {
        let info = format!("https://www.twilio.com/docs/errors/{code}");
        Reply::json(status, &json!({"code": code, "message": message, "more_info": info, "status": status}))
    }

    /// An approved content with variables of these names.
    pub fn add_content(&self, sid: &str, variables: &[&str]) {
        let names = variables.iter().map(|&name| name.to_owned()).collect();
        lock(&self.state).contents.insert(sid.to_owned(), names);
    }

    /// The next request to send is answered so, and has no effect; several add up.
    pub fn answer_next(&self, reply: Reply) {
        lock(&self.state).next.push_back(reply);
    }

    pub fn advance(&self, by: Duration) {
        lock(&self.state).now += by.as_secs();
    }

    /// The double's clock.
    pub fn now(&self) -> std::time::SystemTime {
        UNIX_EPOCH + Duration::from_secs(lock(&self.state).now)
    }

    /// The fields of each request to send.
    pub fn requests(&self) -> Vec<BTreeMap<String, String>> {
        lock(&self.state).requests.clone()
    }

    /// Messages that were taken, as the API shows them, oldest first.
    pub fn messages(&self) -> Vec<Value> {
        lock(&self.state).messages.clone()
    }

    /// The person writes, which opens the window: the signed callback to the sender's address `url`. `fields` are
    /// added to the usual ones, and replace them.
    pub fn writes(&self, phone: &str, url: &str, fields: &[(&str, &str)]) -> Callback {
        let fields = lock(&self.state).writes(phone, fields);
        self.signed(url, &fields)
    }

    /// The signed status callbacks that are due, in their order.
    pub fn pending(&self) -> Vec<Callback> {
        let pending = std::mem::take(&mut lock(&self.state).pending);
        pending.iter().map(|(url, fields)| self.signed(url, fields)).collect()
    }

    /// The person has read a message.
    pub fn reads(&self, sid: &str) {
        lock(&self.state).settle(sid, "read", None);
    }

    /// A message fails.
    pub fn fails(&self, sid: &str, code: u32) {
        lock(&self.state).settle(sid, "undelivered", Some(code));
    }

    /// A signed form the contract knows.
    pub fn signed(&self, url: &str, fields: &[(String, String)]) -> Callback {
        let schema = if fields.iter().any(|(n, _)| n == "MessageStatus") { "statusCallback" } else { "inboundMessage" };
        let body = object(fields);
        let breaches = contract().map(|c| c.value(&format!("/x-webhooks/{schema}"), &body)).unwrap_or_default();
        lock(&self.state).breaches.extend(breaches);
        self.signed_fields(url, fields)
    }

    /// A signed form of anything.
    pub fn signed_fields(&self, url: &str, fields: &[(String, String)]) -> Callback {
        let raw = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let headers =
            [("content-type", "application/x-www-form-urlencoded"), ("x-twilio-signature", &*signature(url, fields))];
        callback(Method::POST, url, &headers, raw.into_bytes(), lock(&self.state).now)
    }
}

impl Drop for TwilioDouble {
    fn drop(&mut self) {
        assert_none(&std::mem::take(&mut lock(&self.state).breaches));
    }
}

fn is_send(seen: &Seen) -> bool {
    seen.method == "POST" && seen.path.ends_with("/Messages.json")
}

fn signature(url: &str, fields: &[(String, String)]) -> String {
    let mut sorted = fields.to_vec();
    sorted.sort();
    sorted.dedup();
    let mut mac = Hmac::<Sha1>::new_from_slice(TwilioDouble::AUTH_TOKEN.as_bytes()).expect("any length will do");
    mac.update(url.as_bytes());
    for (name, value) in &sorted {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    STANDARD.encode(mac.finalize().into_bytes())
}
