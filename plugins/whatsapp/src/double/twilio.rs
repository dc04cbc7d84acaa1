//! Twilio's Messages API of one account with one WhatsApp sender.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::Method;
use plugin_api::conformance::{Behaviour, Contract, HttpDouble, Reply, Seen};
use plugin_api::http::Url;
use plugin_api::{Callback, Settings};
use serde_json::{Map, Value, json};
use sha1::Sha1;
use url::form_urlencoded;

use super::{START, WINDOW, assert_none, callback, lock};
use crate::phone::e164;

/// Runs until it is dropped.
pub struct TwilioDouble {
    /// What stands before the state: counts calls and plays failures.
    pub http: HttpDouble,
    state: Arc<Mutex<State>>,
}

type Fields = Vec<(String, String)>;

struct State {
    now: u64,
    /// By canonical number: when they last wrote.
    wrote: HashMap<String, u64>,
    /// Content ids with the names of their variables.
    contents: HashMap<String, Vec<String>>,
    next: VecDeque<Reply>,
    /// As the API shows them, oldest first.
    messages: Vec<Value>,
    /// By message: where its status goes.
    callbacks: HashMap<String, String>,
    /// Status callbacks that are due: where to, and what.
    pending: Vec<(String, Fields)>,
    requests: Vec<BTreeMap<String, String>>,
    inbound: usize,
    breaches: Vec<String>,
}

fn contract() -> Option<&'static Contract> {
    static CONTRACT: OnceLock<Option<Contract>> = OnceLock::new();
    CONTRACT.get_or_init(|| Contract::open("twilio.openapi.json")).as_ref()
}

impl TwilioDouble {
    pub const ACCOUNT_SID: &str = "AC0123456789abcdef0123456789abcdef";
    pub const AUTH_TOKEN: &str = "authTokenMadeUp";
    pub const FROM: &str = "+523330000000";

    /// Listens on a port of its own on 127.0.0.1.
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(State {
            now: START,
            wrote: HashMap::new(),
            contents: HashMap::new(),
            next: VecDeque::new(),
            messages: vec![],
            callbacks: HashMap::new(),
            pending: vec![],
            requests: vec![],
            inbound: 0,
            breaches: vec![],
        }));
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

fn object(fields: &[(String, String)]) -> Value {
    Value::Object(fields.iter().map(|(n, v)| (n.clone(), v.as_str().into())).collect())
}

impl State {
    /// `None` leaves the answer to the plain server: pages, redirects, broken connections.
    fn answer(&mut self, behaviour: Behaviour, seen: &Seen) -> Option<Reply> {
        let operation = operation(seen);
        let fields: Fields = form_urlencoded::parse(&seen.body).into_owned().collect();
        if let Some(contract) = contract() {
            self.breaches.extend(contract.request(operation, &object(&fields)));
        }
        let reply = match behaviour {
            Behaviour::Unauthorized => error(401, 20_003),
            _ if operation != "CreateMessage" => self.look_up(operation, seen),
            Behaviour::Refuse => error(400, 21_211),
            Behaviour::Throttle(None) => error(429, 20_429),
            Behaviour::Throttle(Some(seconds)) => error(429, 20_429).header("retry-after", seconds.to_string()),
            Behaviour::ServerError(500) => error(500, 20_500),
            Behaviour::ServerError(_) | Behaviour::Redirect(_) => return None,
            Behaviour::Accept => match self.next.pop_front() {
                Some(reply) => return Some(reply),
                None => self.send(seen, fields),
            },
            Behaviour::Rubbish | Behaviour::CutBody | Behaviour::CutHead | Behaviour::Silence => {
                self.send(seen, fields);
                return None;
            }
        };
        let json = serde_json::from_slice(&reply.body).unwrap_or_default();
        self.breaches.extend(contract().map(|c| c.answer(operation, reply.status, &json)).unwrap_or_default());
        Some(reply)
    }

    fn look_up(&self, operation: &str, seen: &Seen) -> Reply {
        if let Some(refusal) = unauthorized(seen) {
            return refusal;
        }
        match operation {
            "FetchAccount" => Reply::json(
                200,
                &json!({"sid": TwilioDouble::ACCOUNT_SID, "friendly_name": "Salon Uno", "status": "active",
                    "type": "Full", "auth_token": TwilioDouble::AUTH_TOKEN,
                    "owner_account_sid": TwilioDouble::ACCOUNT_SID}),
            ),
            "ListMessage" => self.list(seen),
            _ => error(404, 20_404),
        }
    }

    /// Newest first.
    fn list(&self, seen: &Seen) -> Reply {
        let query = seen.path.split_once('?').map_or("", |(_, query)| query);
        let wanted: BTreeMap<_, _> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let same = |m: &&Value| {
            [("To", "to"), ("From", "from")].iter().all(|(q, f)| wanted.get(*q).is_none_or(|v| m[*f] == v.as_str()))
        };
        let size = wanted.get("PageSize").and_then(|n| n.parse().ok()).unwrap_or(50);
        let page: Vec<_> = self.messages.iter().rev().filter(same).take(size).collect();
        Reply::json(200, &json!({"messages": page, "page": 0, "page_size": size, "start": 0}))
    }

    fn send(&mut self, seen: &Seen, fields: Fields) -> Reply {
        if let Some(refusal) = unauthorized(seen) {
            return refusal;
        }
        if !seen.path.contains(TwilioDouble::ACCOUNT_SID) {
            return error(404, 20_404);
        }
        let given: BTreeMap<_, _> = fields.into_iter().collect();
        let form = given.clone();
        self.requests.push(given);
        let get = |name: &str| form.get(name).map(String::as_str);
        let Some(to) = get("To").and_then(|to| to.strip_prefix("whatsapp:")).and_then(e164) else {
            return error(400, 21_211);
        };
        if get("MessagingServiceSid").is_none() && get("From") != Some(&format!("whatsapp:{}", TwilioDouble::FROM)) {
            return error(400, 63_007);
        }
        if get("StatusCallback").is_some_and(|url| !callable(url)) {
            return error(400, 21_609);
        }
        let refusal = match (get("ContentSid"), get("Body")) {
            (Some(sid), None) => self.unfit(sid, get("ContentVariables")),
            (None, Some(body)) if body.chars().count() > 1600 => Some(21_617),
            (None, Some(body)) if !body.is_empty() => None,
            _ => Some(21_619),
        };
        if let Some(code) = refusal {
            return error(400, code);
        }
        self.keep(&form, &to)
    }

    fn unfit(&self, sid: &str, variables: Option<&str>) -> Option<u32> {
        let Some(names) = self.contents.get(sid) else { return Some(21_655) };
        let given: Map<String, Value> = serde_json::from_str(variables.unwrap_or("{}")).unwrap_or_default();
        let fits = names.len() == given.len() && names.iter().all(|name| given.contains_key(name));
        (!fits).then_some(21_656)
    }

    fn keep(&mut self, form: &BTreeMap<String, String>, to: &str) -> Reply {
        let sid = format!("SM{:032x}", self.messages.len() + 1);
        let service = form.get("MessagingServiceSid");
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(self.now)).replace("GMT", "+0000");
        let open = self.wrote.get(to).is_some_and(|at| self.now < at + WINDOW);
        let free = form.contains_key("Body");
        let uri = format!("/2010-04-01/Accounts/{}/Messages/{sid}.json", TwilioDouble::ACCOUNT_SID);
        let message = json!({
            "sid": sid, "account_sid": TwilioDouble::ACCOUNT_SID, "api_version": "2010-04-01",
            "status": if service.is_some() { "accepted" } else { "queued" },
            "to": form["To"], "from": form.get("From"), "messaging_service_sid": service,
            "body": form.get("Body").map_or("The content's text", |body| body.trim()), "direction": "outbound-api",
            "num_segments": "1", "num_media": "0", "error_code": null, "error_message": null, "price": null,
            "price_unit": null, "date_created": date, "date_updated": date, "date_sent": null, "uri": uri,
            "subresource_uris": {},
        });
        self.messages.push(message.clone());
        self.callbacks.extend(form.get("StatusCallback").map(|url| (sid.clone(), url.clone())));
        if free && !open {
            self.settle(&sid, "failed", Some(63_016));
        } else {
            self.settle(&sid, "sent", None);
            self.settle(&sid, "delivered", None);
        }
        Reply::json(201, &message)
    }

    /// Moves a message on and makes the callback that says so.
    fn settle(&mut self, sid: &str, status: &str, code: Option<u32>) {
        let message = self.messages.iter_mut().find(|m| m["sid"] == sid).expect("the message was taken");
        message["status"] = status.into();
        message["error_code"] = code.into();
        let Some(url) = self.callbacks.get(sid) else { return };
        let mut fields = vec![
            ("MessageSid", sid.to_owned()),
            ("SmsSid", sid.to_owned()),
            ("MessageStatus", status.to_owned()),
            ("SmsStatus", status.to_owned()),
            ("AccountSid", TwilioDouble::ACCOUNT_SID.to_owned()),
            ("To", message["to"].as_str().unwrap_or_default().to_owned()),
            ("From", format!("whatsapp:{}", TwilioDouble::FROM)),
            ("ApiVersion", "2010-04-01".to_owned()),
            ("ChannelPrefix", "whatsapp".to_owned()),
        ];
        fields.extend(code.map(|code| ("ErrorCode", code.to_string())));
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        self.pending.push((url.clone(), fields));
    }

    fn writes(&mut self, phone: &str, more: &[(&str, &str)]) -> Fields {
        self.wrote.insert(e164(phone).unwrap_or_else(|| phone.to_owned()), self.now);
        self.inbound += 1;
        let sid = format!("SM{:032x}", 0xbeef_0000 + self.inbound);
        let from = format!("whatsapp:{phone}");
        let to = format!("whatsapp:{}", TwilioDouble::FROM);
        let mut fields: BTreeMap<&str, &str> = BTreeMap::from([
            ("MessageSid", &*sid),
            ("SmsSid", &sid),
            ("SmsMessageSid", &sid),
            ("SmsStatus", "received"),
            ("AccountSid", TwilioDouble::ACCOUNT_SID),
            ("From", &from),
            ("To", &to),
            ("WaId", phone.trim_start_matches('+')),
            ("ProfileName", "Ana"),
            ("MessageType", "text"),
            ("Body", "Hola"),
            ("NumMedia", "0"),
            ("NumSegments", "1"),
            ("ApiVersion", "2010-04-01"),
        ]);
        fields.extend(more.iter().copied());
        fields.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

/// The contract's name of a call; empty for an unknown route.
fn operation(seen: &Seen) -> &'static str {
    let path = seen.path.split('?').next().unwrap_or_default();
    match (seen.method.as_str(), path.ends_with("/Messages.json")) {
        ("POST", true) => "CreateMessage",
        ("GET", true) => "ListMessage",
        ("GET", false) if path.strip_suffix(".json").is_some() => "FetchAccount",
        _ => "",
    }
}

fn unauthorized(seen: &Seen) -> Option<Reply> {
    let right = STANDARD.encode(format!("{}:{}", TwilioDouble::ACCOUNT_SID, TwilioDouble::AUTH_TOKEN));
    let given = seen.header("authorization").and_then(|v| v.strip_prefix("Basic "));
    (given != Some(&right)).then(|| error(401, 20_003))
}

fn callable(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.host_str().is_some_and(|host| !host.contains('_')))
}

fn error(status: u16, code: u32) -> Reply {
    TwilioDouble::error(status, code, "Made up")
}
