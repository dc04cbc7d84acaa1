//! A Twilio account: its messages, its senders, who replied STOP, and the magic numbers of the test credentials.

mod account;

use std::collections::BTreeSet;

use http::Method;
use plugin_api::conformance::HttpDouble;
use plugin_api::{Callback, Settings};
use serde_json::{Value, json};

use super::{Fault, Sent, Server, callback, encoded, owned};
use crate::twilio::signature;
use account::Account;

/// Runs until it is dropped.
pub struct Twilio(Server<Account>);

impl Twilio {
    pub const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";
    pub const TOKEN: &str = "authTokenMadeUp0000000000000000a";
    pub const KEY: &str = "SK0123456789abcdef0123456789abcdef";
    pub const KEY_SECRET: &str = "apiKeySecretMadeUp00000000000001";
    pub const SERVICE: &str = "MG0123456789abcdef0123456789abcdef";
    /// The account's number.
    pub const NUMBER: &str = "+15005550006";

    /// Listens on a port of its own on 127.0.0.1.
    pub async fn start() -> Self {
        Self(
            Server::start(Account {
                token: Self::TOKEN.into(),
                status: "active",
                kind: "Full",
                messages: vec![],
                inbound: 0,
                stopped: BTreeSet::new(),
                clock_ahead: 0,
                breaches: vec![],
            })
            .await,
        )
    }

    /// The server itself: what it read, and how it is told to behave.
    pub fn http(&self) -> &HttpDouble {
        &self.0.http
    }

    /// Settings of the account with its number, for a server listening at `at`.
    pub fn settings_at(at: std::net::SocketAddr) -> Settings {
        let json = json!({"accountSid": Self::ACCOUNT, "authToken": Self::TOKEN, "from": Self::NUMBER,
            "baseUrl": format!("http://{at}")});
        json.as_object().expect("it is one").clone().into_iter().collect()
    }

    /// As [`Twilio::settings_at`], for this server.
    pub fn settings(&self) -> Settings {
        Self::settings_at(self.0.http.address())
    }

    /// Every message that was taken, in order.
    pub fn sent(&self) -> Vec<Sent> {
        self.0.state().vendor.messages.iter().map(|held| held.sent.clone()).collect()
    }

    /// Several add up.
    pub fn fail_next(&self, fault: Fault) {
        self.0.fail_next(fault);
    }

    /// Twilio's error shape, whose sentence gives the number away as the real ones do.
    pub fn error(status: u16, code: u32) -> Value {
        json!({"code": code, "message": format!("The 'To' number +523331234567 is wrong ({code})."),
            "more_info": format!("https://www.twilio.com/docs/errors/{code}"), "status": status})
    }

    /// `active`, `suspended` or `closed`; `Full` or `Trial`.
    pub fn set_account(&self, status: &'static str, kind: &'static str) {
        let mut state = self.0.state();
        (state.vendor.status, state.vendor.kind) = (status, kind);
    }

    /// A new primary token: from now on it alone is accepted and signs.
    pub fn replace_token(&self, token: &str) {
        token.clone_into(&mut self.0.state().vendor.token);
    }

    pub fn set_clock_ahead(&self, seconds: i64) {
        self.0.state().vendor.clock_ahead = seconds;
    }

    /// A message that somebody else at the account sent.
    pub fn add_message(&self, from: &str, to: &str, text: &str) {
        let mut state = self.0.state();
        let sent = state.vendor.sent(to, from, text, None);
        state.vendor.hold(sent, None, "sent");
    }

    /// The message moves on, and its status callback says so.
    pub fn report(&self, id: &str, status: &str, error_code: Option<u32>) -> Callback {
        let mut state = self.0.state();
        let token = state.vendor.token.clone();
        let held = state.vendor.messages.iter_mut().find(|held| held.sent.id == id).expect("the message was taken");
        status.clone_into(&mut held.status);
        held.error_code = error_code;
        let url = held.sent.callback.clone().expect("the message asked for reports");
        let mut fields = owned([
            ("SmsSid", id),
            ("SmsStatus", status),
            ("MessageStatus", status),
            ("To", &held.sent.to),
            ("MessageSid", id),
            ("AccountSid", Self::ACCOUNT),
            ("From", &held.sent.from),
            ("ApiVersion", "2010-04-01"),
        ]);
        fields.extend(error_code.map(|code| ("ErrorCode".to_owned(), code.to_string())));
        state.vendor.check("/x-webhooks/statusCallback", &fields);
        Self::signed(&token, &url, &fields)
    }

    /// A person writes to the account's number. STOP and START, in the words Twilio knows by itself, take effect.
    pub fn inbound(&self, hook: &str, from: &str, text: &str) -> Callback {
        let mut state = self.0.state();
        state.vendor.inbound += 1;
        let sid = format!("SM{:032x}", 0xdead_0000_u64 + state.vendor.inbound);
        let mut fields = owned([
            ("SmsMessageSid", &sid),
            ("NumMedia", "0"),
            ("SmsSid", &sid),
            ("SmsStatus", "received"),
            ("Body", text),
            ("To", Self::NUMBER),
            ("NumSegments", "1"),
            ("MessageSid", &sid),
            ("AccountSid", Self::ACCOUNT),
            ("From", from),
            ("FromCountry", "MX"),
            ("ApiVersion", "2010-04-01"),
        ]);
        match text {
            "STOP" => {
                state.vendor.stopped.insert(from.to_owned());
                fields.push(("OptOutType".into(), "STOP".into()));
            }
            "START" => {
                state.vendor.stopped.remove(from);
                fields.push(("OptOutType".into(), "START".into()));
            }
            _ => {}
        }
        state.vendor.check("/x-webhooks/inboundMessage", &fields);
        let token = state.vendor.token.clone();
        Self::signed(&token, hook, &fields)
    }

    /// Any form, signed with any token.
    pub fn signed(token: &str, url: &str, fields: &[(String, String)]) -> Callback {
        let signature = signature::sign(token, url, fields.to_vec());
        let headers =
            [("content-type", "application/x-www-form-urlencoded; charset=UTF-8"), ("x-twilio-signature", &*signature)];
        callback(Method::POST, url, &headers, encoded(fields), super::now())
    }

    /// The newer way: a shared key, named in a header, and SHA-256.
    pub fn signed_with_shared_key(id: &str, secret: &str, url: &str, fields: &[(String, String)]) -> Callback {
        let signature = signature::sign_shared(secret, url, fields.to_vec());
        let settings = format!("key={id},algorithm=HMAC_SHA256");
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("x-twilio-signature", &*signature),
            ("x-twilio-webhooks-signature-settings", &*settings),
        ];
        callback(Method::POST, url, &headers, encoded(fields), super::now())
    }

    /// A JSON body, whose hash goes into the signed address.
    pub fn signed_json(token: &str, url: &str, body: &Value) -> Callback {
        use sha2::Digest;
        let body = body.to_string().into_bytes();
        let url = format!("{url}?bodySHA256={}", hex::encode(sha2::Sha256::digest(&body)));
        let signature = signature::sign(token, &url, vec![]);
        let headers = [("content-type", "application/json"), ("x-twilio-signature", &*signature)];
        callback(Method::POST, &url, &headers, body, super::now())
    }
}
