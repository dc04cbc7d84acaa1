//! A Vonage account: its messages with a status for each part, and receipts and replies in every encoding it can be
//! set up for.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use http::Method;
use plugin_api::conformance::{Behaviour, HttpDouble, Reply, Seen};
use plugin_api::{Callback, Settings, gsm7};
use serde_json::{Map, Value, json};

use super::{Fault, Sent, Server, Vendor, basic, callback, encoded, owned, target};
use crate::form::{self, field};
use crate::vonage::signature;

/// Runs until it is dropped.
pub struct Vonage(Server<Account>);

/// How an account has its webhooks sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Query,
    Form,
    Json,
}

struct Account {
    /// One entry a part.
    parts: Vec<Sent>,
    /// The status of the next message's parts, where they are not all taken.
    statuses: Vec<&'static str>,
    signature_secret: String,
    signature_method: signature::Method,
    encoding: Encoding,
    breaches: Vec<String>,
}

impl Vonage {
    pub const KEY: &str = "abcd1234";
    pub const SECRET: &str = "apiSecretMadeUp0001";
    pub const SIGNATURE_SECRET: &str = "signatureSecretMadeUp0000000000001";

    /// Listens on a port of its own on 127.0.0.1.
    pub async fn start() -> Self {
        Self(
            Server::start(Account {
                parts: vec![],
                statuses: vec![],
                signature_secret: Self::SIGNATURE_SECRET.into(),
                signature_method: signature::Method::Sha256,
                encoding: Encoding::Json,
                breaches: vec![],
            })
            .await,
        )
    }

    /// The server itself: what it read, and how it is told to behave.
    pub fn http(&self) -> &HttpDouble {
        &self.0.http
    }

    /// Settings of the account with a name as sender, for a server listening at `at`.
    pub fn settings_at(at: std::net::SocketAddr) -> Settings {
        let json = json!({"apiKey": Self::KEY, "apiSecret": Self::SECRET, "from": "SalonUno",
            "signatureSecret": Self::SIGNATURE_SECRET, "signatureMethod": "sha256", "baseUrl": format!("http://{at}")});
        json.as_object().expect("it is one").clone().into_iter().collect()
    }

    /// As [`Vonage::settings_at`], for this server.
    pub fn settings(&self) -> Settings {
        Self::settings_at(self.0.http.address())
    }

    /// Every part that was taken, in order.
    pub fn sent(&self) -> Vec<Sent> {
        self.0.state().vendor.parts.clone()
    }

    /// Several add up.
    pub fn fail_next(&self, fault: Fault) {
        self.0.fail_next(fault);
    }

    /// The next message's parts get these statuses, the last of them for all further ones.
    pub fn answer_next(&self, statuses: &[&'static str]) {
        self.0.state().vendor.statuses = statuses.to_vec();
    }

    /// What the dashboard sets: the secret, one of `md5hash`, `md5`, `sha1`, `sha256`, `sha512`, and the encoding.
    pub fn set_webhooks(&self, secret: &str, method: &str, encoding: Encoding) {
        let mut state = self.0.state();
        secret.clone_into(&mut state.vendor.signature_secret);
        state.vendor.signature_method =
            serde_json::from_value(method.into()).expect("the method is one of Vonage's five");
        state.vendor.encoding = encoding;
    }

    /// A receipt of one part, pushed at `at` to where the message asked for it.
    pub fn report(&self, id: &str, status: &str, err_code: &str, at: SystemTime) -> Callback {
        let state = self.0.state();
        let part = state.vendor.parts.iter().find(|part| part.id == id).expect("the message was taken");
        let url = part.callback.clone().expect("the message asked for receipts");
        drop(state);
        self.report_to(&url, id, status, err_code, at)
    }

    /// As [`Vonage::report`], to the address in the account's settings: where messages can't name one of that length.
    pub fn report_to(&self, url: &str, id: &str, status: &str, err_code: &str, at: SystemTime) -> Callback {
        let state = self.0.state();
        let part = state.vendor.parts.iter().find(|part| part.id == id).expect("the message was taken");
        let mut parameters = owned([
            ("msisdn", &part.to),
            ("to", &part.from),
            ("network-code", "33420"),
            ("messageId", id),
            ("price", "0.0333"),
            ("status", status),
            ("scts", "2607281500"),
            ("err-code", err_code),
            ("api-key", Self::KEY),
        ]);
        parameters.extend(part.reference.clone().map(|reference| ("client-ref".to_owned(), reference)));
        state.vendor.pushed(url, parameters, at)
    }

    /// A person writes to one of the account's numbers.
    pub fn inbound(&self, hook: &str, from: &str, text: &str, at: SystemTime) -> Callback {
        let state = self.0.state();
        let id = format!("{:016X}", 0xB000_0000_0000_u64 + state.vendor.parts.len() as u64);
        let keyword = text.split(' ').next().unwrap_or_default().to_uppercase();
        let parameters = owned([
            ("msisdn", from),
            ("to", "523300000000"),
            ("messageId", &id),
            ("text", text),
            ("type", if gsm7::fits(text) { "text" } else { "unicode" }),
            ("keyword", &keyword),
            ("api-key", Self::KEY),
        ]);
        state.vendor.pushed(hook, parameters, at)
    }
}

impl Vendor for Account {
    fn makes_message(seen: &Seen) -> bool {
        seen.method == "POST" && seen.path == "/sms/json"
    }

    fn answer(&mut self, seen: &Seen) -> Reply {
        let authorized = basic(seen).is_some_and(|(key, secret)| key == Vonage::KEY && secret == Vonage::SECRET);
        match (seen.method.as_str(), target(seen).0) {
            ("POST", "/sms/json") if authorized => self.take(&form::pairs(&seen.body)),
            ("POST", "/sms/json") => answered(&[part_refused("4")]),
            ("GET", "/account/get-balance") if authorized => {
                Reply::json(200, &json!({"value": 15.53, "autoReload": false}))
            }
            ("GET", "/account/get-balance") => {
                Reply::json(401, &json!({"error-code": "401", "error-code-label": "authentication failed"}))
            }
            (method, path) => {
                self.breaches.push(format!("{method} {path} is not in the contract"));
                Reply::new(404, "")
            }
        }
    }

    /// All in a 200, but for a proxy's 429 that says when to come back.
    fn refusal(&self, behaviour: Behaviour, makes_message: bool) -> Option<Reply> {
        Some(match behaviour {
            Behaviour::Refuse => answered(&[part_refused("6")]),
            Behaviour::Throttle(None) => answered(&[part_refused("1")]),
            Behaviour::Unauthorized if makes_message => answered(&[part_refused("4")]),
            _ => return None,
        })
    }

    fn breaches(&mut self) -> Vec<String> {
        std::mem::take(&mut self.breaches)
    }
}

impl Account {
    fn take(&mut self, form: &[(String, String)]) -> Reply {
        let value = |name| field(form, name).unwrap_or_default();
        let (to, from, text) = (value("to"), value("from"), value("text"));
        if to.is_empty() || from.is_empty() || text.is_empty() {
            return answered(&[part_refused("2")]);
        }
        if !(7..=15).contains(&to.len()) || !to.bytes().all(|b| b.is_ascii_digit()) {
            return answered(&[part_refused("3")]);
        }
        if value("callback").chars().count() > 100 {
            return answered(&[part_refused("23")]);
        }
        // What the real one does not notice: it would put question marks into the text.
        let unicode = value("type") == "unicode";
        if unicode == gsm7::fits(text) {
            self.breaches.push(format!("type \"{}\" does not fit the text", value("type")));
        }
        if value("client-ref").len() > 40 {
            self.breaches.push("client-ref has more than 40 characters".into());
        }
        let statuses = std::mem::take(&mut self.statuses);
        let mut answers = Vec::new();
        for n in 0..count(text, unicode) {
            let status = statuses.get(n).or(statuses.last()).copied().unwrap_or("0");
            if status != "0" {
                answers.push(part_refused(status));
                continue;
            }
            let id = format!("0A00000001{:06X}", self.parts.len() + 1);
            answers.push(json!({"to": to, "message-id": id, "status": "0", "remaining-balance": "15.53",
                "message-price": "0.0333", "network": "33420"}));
            self.parts.push(Sent {
                id,
                to: to.to_owned(),
                from: from.to_owned(),
                text: text.to_owned(),
                callback: field(form, "callback").map(str::to_owned),
                reference: field(form, "client-ref").map(str::to_owned),
            });
        }
        answered(&answers)
    }

    fn pushed(&self, url: &str, mut parameters: Vec<(String, String)>, at: SystemTime) -> Callback {
        let time = DateTime::<Utc>::from(at);
        parameters.push(("message-timestamp".into(), time.format("%Y-%m-%d %H:%M:%S").to_string()));
        parameters.push(("timestamp".into(), time.timestamp().to_string()));
        parameters.push(("nonce".into(), "aaaaaaaa-bbbb-cccc-dddd-0123456789ab".into()));
        let sig = signature::sign(self.signature_method, &self.signature_secret, &parameters);
        parameters.push(("sig".into(), sig));
        match self.encoding {
            Encoding::Query => {
                let url = format!("{url}?{}", String::from_utf8_lossy(&encoded(&parameters)));
                callback(Method::GET, &url, &[], vec![], at)
            }
            Encoding::Form => {
                let headers = [("content-type", "application/x-www-form-urlencoded")];
                callback(Method::POST, url, &headers, encoded(&parameters), at)
            }
            Encoding::Json => {
                let object: Map<String, Value> =
                    parameters.into_iter().map(|(name, value)| (name, Value::from(value))).collect();
                let body = Value::from(object).to_string().into_bytes();
                callback(Method::POST, url, &[("content-type", "application/json")], body, at)
            }
        }
    }
}

/// How many messages a text becomes.
fn count(text: &str, unicode: bool) -> usize {
    let (units, alone, joined) = if unicode {
        (text.encode_utf16().count(), 70, 67)
    } else {
        (text.chars().filter_map(gsm7::septets).sum(), 160, 153)
    };
    if units <= alone { 1 } else { units.div_ceil(joined) }
}

fn part_refused(status: &str) -> Value {
    json!({"status": status, "error-text": format!("523331234567 was refused with {status}")})
}

fn answered(parts: &[Value]) -> Reply {
    Reply::json(200, &json!({"message-count": parts.len().to_string(), "messages": parts}))
}
