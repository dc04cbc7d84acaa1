//! What the account holds, and the rules Twilio keeps.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::OnceLock;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plugin_api::conformance::{Behaviour, Contract, Reply, Seen};
use plugin_api::http::Url;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use super::TwilioDouble;
use crate::double::{START, WINDOW};
use crate::phone::e164;

/// Of a form.
pub(super) type Fields = Vec<(String, String)>;

pub(super) struct State {
    pub(super) now: u64,
    /// By canonical number: when they last wrote.
    pub(super) wrote: HashMap<String, u64>,
    /// Content ids with the names of their variables.
    pub(super) contents: HashMap<String, Vec<String>>,
    pub(super) next: VecDeque<Reply>,
    /// As the API shows them, oldest first.
    pub(super) messages: Vec<Value>,
    /// By message: where its status goes.
    pub(super) callbacks: HashMap<String, String>,
    /// Status callbacks that are due: where to, and what.
    pub(super) pending: Vec<(String, Fields)>,
    pub(super) requests: Vec<BTreeMap<String, String>>,
    pub(super) inbound: usize,
    pub(super) breaches: Vec<String>,
}

pub(super) fn contract() -> Option<&'static Contract> {
    static CONTRACT: OnceLock<Option<Contract>> = OnceLock::new();
    CONTRACT.get_or_init(|| Contract::open("twilio.openapi.json")).as_ref()
}

pub(super) fn object(fields: &[(String, String)]) -> Value {
    Value::Object(fields.iter().map(|(n, v)| (n.clone(), v.as_str().into())).collect())
}

impl State {
    pub(super) fn new() -> Self {
        Self {
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
        }
    }

    /// `None` leaves the answer to the plain server: pages, redirects, broken connections.
    pub(super) fn answer(&mut self, behaviour: Behaviour, seen: &Seen) -> Option<Reply> {
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
            Behaviour::ServerError(500) => {
                self.send(seen, fields);
                error(500, 20_500)
            }
            Behaviour::Redirect(_) => return None,
            Behaviour::Accept => match self.next.pop_front() {
                Some(reply) => return Some(reply),
                None => self.send(seen, fields),
            },
            Behaviour::ServerError(_)
            | Behaviour::Rubbish
            | Behaviour::CutBody
            | Behaviour::CutHead
            | Behaviour::Silence => {
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
    pub(super) fn settle(&mut self, sid: &str, status: &str, code: Option<u32>) {
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

    pub(super) fn writes(&mut self, phone: &str, more: &[(&str, &str)]) -> Fields {
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
