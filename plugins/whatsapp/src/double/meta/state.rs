//! What the business account holds, and the rules Meta keeps.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::OnceLock;

use plugin_api::conformance::{Behaviour, Contract, Reply, Seen};
use serde_json::{Value, json};

use super::{MetaDouble, Template};
use crate::double::{START, WINDOW};
use crate::phone::e164;

pub(super) struct State {
    pub(super) now: u64,
    pub(super) templates: Vec<Template>,
    /// By canonical number: when they last wrote.
    pub(super) wrote: HashMap<String, u64>,
    /// By canonical number, where WhatsApp spells it otherwise.
    pub(super) wa_ids: HashMap<String, String>,
    pub(super) without_whatsapp: HashSet<String>,
    /// By canonical number: when the pair's limit will be made up for.
    pub(super) paid_until: HashMap<String, u64>,
    pub(super) keeps_pair_limit: bool,
    pub(super) reports_late: bool,
    pub(super) next: VecDeque<Reply>,
    pub(super) sent: Vec<Value>,
    pub(super) pending: Vec<Value>,
    pub(super) inbound: usize,
    pub(super) breaches: Vec<String>,
}

pub(super) fn contract() -> Option<&'static Contract> {
    static CONTRACT: OnceLock<Option<Contract>> = OnceLock::new();
    CONTRACT.get_or_init(|| Contract::open("whatsapp.openapi.json")).as_ref()
}

pub(super) fn canonical(phone: &str) -> String {
    e164(phone).unwrap_or_else(|| phone.to_owned())
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            now: START,
            templates: vec![],
            wrote: HashMap::new(),
            wa_ids: HashMap::new(),
            without_whatsapp: HashSet::new(),
            paid_until: HashMap::new(),
            keeps_pair_limit: true,
            reports_late: false,
            next: VecDeque::new(),
            sent: vec![],
            pending: vec![],
            inbound: 0,
            breaches: vec![],
        }
    }

    /// `None` leaves the answer to the plain server: pages, redirects, broken connections.
    pub(super) fn answer(&mut self, behaviour: Behaviour, seen: &Seen) -> Option<Reply> {
        let (operation, body) = (operation(seen), seen.json());
        if let Some(contract) = contract().filter(|_| operation != "listPhoneNumbers") {
            self.breaches.extend(contract.request(operation, &body));
        }
        let reply = match behaviour {
            Behaviour::Unauthorized => error(401, 190),
            _ if operation != "sendMessage" => look_up(operation, seen),
            Behaviour::Refuse => error(400, 131_009),
            Behaviour::Throttle(None) => error(429, 130_429),
            Behaviour::Throttle(Some(seconds)) => error(429, 130_429).header("retry-after", seconds.to_string()),
            Behaviour::ServerError(500) => {
                self.send(seen, &body);
                error(500, 131_000)
            }
            Behaviour::Redirect(_) => return None,
            Behaviour::Accept => match self.next.pop_front() {
                Some(reply) => return Some(reply),
                None => self.send(seen, &body),
            },
            Behaviour::ServerError(_)
            | Behaviour::Rubbish
            | Behaviour::CutBody
            | Behaviour::CutHead
            | Behaviour::Silence => {
                self.send(seen, &body);
                return None;
            }
        };
        let json = serde_json::from_slice(&reply.body).unwrap_or_default();
        self.breaches.extend(contract().map(|c| c.answer(operation, reply.status, &json)).unwrap_or_default());
        Some(reply)
    }

    fn send(&mut self, seen: &Seen, body: &Value) -> Reply {
        if let Some(refusal) = unauthorized(seen) {
            return refusal;
        }
        if !seen.path.contains(&format!("/{}/", MetaDouble::PHONE_NUMBER_ID)) {
            return unknown_object();
        }
        let Some(to) = body["to"].as_str().and_then(e164) else { return error(400, 131_009) };
        if self.without_whatsapp.contains(&to) {
            return error(400, 131_026);
        }
        if let Some(refusal) = self.over_the_pairs_limit(&to) {
            return refusal;
        }
        let refusal = match body["type"].as_str() {
            Some("template") => self.unfit(&body["template"]),
            Some("interactive") => alike(&body["interactive"]),
            _ => None,
        };
        if let Some(refusal) = refusal {
            return refusal;
        }
        let closed = body["type"] != "template" && !self.window_open(&to);
        if closed && !self.reports_late {
            return MetaDouble::error(400, 131_047, "More than 24 hours have passed since the recipient last replied.");
        }
        let id = format!("wamid.OUT{}", self.sent.len() + 1);
        let mut kept = body.clone();
        kept["id"] = id.as_str().into();
        self.sent.push(kept);
        if closed {
            let failure = self.status(&id, "failed", Some(131_047));
            self.pending.push(failure);
        }
        let mut message = json!({"id": id});
        if body["type"] == "template" {
            message["message_status"] = "accepted".into();
        }
        Reply::json(
            200,
            &json!({"messaging_product": "whatsapp", "messages": [message],
                "contacts": [{"input": body["to"], "wa_id": self.wa_id(&to)}]}),
        )
    }

    fn window_open(&self, phone: &str) -> bool {
        self.wrote.get(phone).is_some_and(|at| self.now < at + WINDOW)
    }

    /// One message in 6 seconds, with up to 45 taken from the future.
    fn over_the_pairs_limit(&mut self, phone: &str) -> Option<Reply> {
        let paid = self.paid_until.entry(phone.to_owned()).or_default();
        *paid = (*paid).max(self.now) + 6;
        if *paid <= self.now + 6 * 45 || !self.keeps_pair_limit {
            return None;
        }
        *paid -= 6;
        Some(error(400, 131_056))
    }

    /// What is wrong with a form's values.
    fn unfit(&self, given: &Value) -> Option<Reply> {
        let same = |t: &&Template| given["name"] == t.name && given["language"]["code"] == t.language;
        let Some(form) = self.templates.iter().find(same) else { return Some(error(404, 132_001)) };
        match form.status {
            "APPROVED" => {}
            "PAUSED" => return Some(error(400, 132_015)),
            "DISABLED" => return Some(error(400, 132_016)),
            _ => return Some(error(404, 132_001)),
        }
        let components = given["components"].as_array().cloned().unwrap_or_default();
        let parameters = |kind: &str| {
            let part = components.iter().find(|c| c["type"] == kind);
            part.and_then(|c| c["parameters"].as_array()).cloned().unwrap_or_default()
        };
        let body = parameters("body");
        if body.len() != form.body {
            return Some(error(400, 132_000));
        }
        let broken = |p: &Value| p["text"].as_str().is_some_and(|t| t.contains(['\n', '\t']) || t.contains("     "));
        if body.iter().any(broken) {
            return Some(MetaDouble::error(400, 100, "Param text cannot have new-line/tab characters"));
        }
        let named = |p: &Value| form.names.iter().any(|name| p["parameter_name"] == *name);
        let fitting = |p: &Value| if form.names.is_empty() { p["parameter_name"].is_null() } else { named(p) };
        let header = parameters("header").first().map_or(Value::Null, |p| p["type"].clone());
        if !body.iter().all(fitting) || header != form.header.map_or(Value::Null, Value::from) {
            return Some(error(400, 132_012));
        }
        let given = |index: usize| {
            components.iter().find(|c| c["type"] == "button" && c["index"] == index.to_string().as_str())
        };
        let unfit = form.buttons.iter().enumerate().any(|(index, kind)| match given(index) {
            Some(button) => button["sub_type"] != *kind,
            // Only a quick reply can do without.
            None => *kind != "quick_reply",
        });
        unfit.then(|| error(400, 131_008))
    }

    pub(super) fn writes(&mut self, phone: &str, mut message: Value) -> Value {
        let phone = canonical(phone);
        self.wrote.insert(phone.clone(), self.now);
        self.inbound += 1;
        message["from"] = self.wa_id(&phone).into();
        message["id"] = format!("wamid.IN{}", self.inbound).into();
        message["timestamp"] = self.now.to_string().into();
        json!({"messaging_product": "whatsapp", "metadata": metadata(),
            "contacts": [{"profile": {"name": "Ana"}, "wa_id": self.wa_id(&phone)}], "messages": [message]})
    }

    pub(super) fn status(&self, id: &str, status: &str, code: Option<i64>) -> Value {
        let sent = self.sent.iter().find(|m| m["id"] == id).expect("the message was taken");
        let to = sent["to"].as_str().and_then(e164).unwrap_or_default();
        let mut told = json!({"id": id, "status": status, "timestamp": self.now.to_string(),
            "recipient_id": self.wa_id(&to), "biz_opaque_callback_data": sent["biz_opaque_callback_data"],
            "pricing": {"billable": true, "pricing_model": "PMP", "category": "utility", "type": "regular"}});
        if let Some(code) = code {
            told["errors"] = json!([{"code": code, "title": "Made up", "message": "Made up",
                "error_data": {"details": "Made up."}, "href": "https://developers.example/errors"}]);
        }
        json!({"messaging_product": "whatsapp", "metadata": metadata(), "statuses": [told]})
    }

    fn wa_id(&self, phone: &str) -> String {
        self.wa_ids.get(phone).cloned().unwrap_or_else(|| phone.trim_start_matches('+').to_owned())
    }
}

fn metadata() -> Value {
    json!({"display_phone_number": "523330000000", "phone_number_id": MetaDouble::PHONE_NUMBER_ID})
}

/// The contract's name of a call; empty for an unknown route.
fn operation(seen: &Seen) -> &'static str {
    let path = seen.path.split('?').next().unwrap_or_default();
    let parts: Vec<_> = path.trim_matches('/').split('/').collect();
    match (seen.method.as_str(), parts.as_slice()) {
        ("POST", [_, _, "messages"]) => "sendMessage",
        ("GET", [_, _, "phone_numbers"]) => "listPhoneNumbers",
        ("GET", [_, _]) => "getPhoneNumber",
        _ => "",
    }
}

fn unauthorized(seen: &Seen) -> Option<Reply> {
    match seen.header("authorization").and_then(|v| v.strip_prefix("Bearer ")) {
        None => Some(error(401, 104)),
        Some(token) if token != MetaDouble::TOKEN => Some(error(401, 190)),
        Some(_) => None,
    }
}

fn look_up(operation: &str, seen: &Seen) -> Reply {
    if let Some(refusal) = unauthorized(seen) {
        return refusal;
    }
    let id = MetaDouble::PHONE_NUMBER_ID;
    match operation {
        "getPhoneNumber" if seen.path.contains(&format!("/{id}?")) => Reply::json(
            200,
            &json!({"id": id, "display_phone_number": "+52 33 3000 0000", "verified_name": "Salon Uno",
                "quality_rating": "GREEN"}),
        ),
        "listPhoneNumbers" if seen.path.contains(MetaDouble::WABA_ID) => {
            Reply::json(200, &json!({"data": [{"id": id}], "paging": {}}))
        }
        _ => unknown_object(),
    }
}

/// Reply buttons and rows must differ, which the schema cannot say.
fn alike(interactive: &Value) -> Option<Reply> {
    let action = &interactive["action"];
    let buttons = action["buttons"].as_array().into_iter().flatten().map(|b| &b["reply"]);
    let sections = action["sections"].as_array().into_iter().flatten();
    let rows = sections.flat_map(|s| s["rows"].as_array().into_iter().flatten());
    let (mut ids, mut titles) = (HashSet::new(), HashSet::new());
    let all: Vec<_> = buttons.chain(rows).collect();
    let alike = all.iter().any(|one| !ids.insert(one["id"].as_str()) || !titles.insert(one["title"].as_str()));
    (alike || all.len() > 10).then(|| error(400, 131_009))
}

fn error(status: u16, code: i64) -> Reply {
    MetaDouble::error(status, code, "Made up.")
}

fn unknown_object() -> Reply {
    Reply::json(
        400,
        &json!({"error": {"message": "Unsupported request. Object does not exist.", "type": "GraphMethodException",
            "code": 100, "error_subcode": 33, "fbtrace_id": "AbCdEfGhIjKlMnOpQrStUvW"}}),
    )
}
