//! An Infobip account: messages under the ids we choose, their logs, and reports and replies in lists.

use std::time::SystemTime;

use base64::Engine;
use chrono::{DateTime, Utc};
use http::Method;
use plugin_api::conformance::{Behaviour, HttpDouble, Reply, Seen};
use plugin_api::{Callback, Settings};
use serde_json::{Value, json};

use super::{Fault, Sent, Server, Vendor, callback, target};
use crate::form::field;

/// Runs until it is dropped.
pub struct Infobip(Server<Account>);

struct Account {
    /// Whether it was refused, and the message.
    logs: Vec<(bool, Sent)>,
    /// How the next message is refused in a 200: group, id and name.
    refuse: Option<(u32, u32, &'static str)>,
    /// Whether an id that was seen before is refused; Infobip does not promise it.
    refuses_duplicates: bool,
    /// Whether the key may read logs.
    reads_logs: bool,
    breaches: Vec<String>,
}

impl Infobip {
    pub const KEY: &str = "apiKeyMadeUp0000000000000001";
    pub const PASSWORD: &str = "webhookPasswordMadeUp0001";

    /// Listens on a port of its own on 127.0.0.1.
    pub async fn start() -> Self {
        Self(
            Server::start(Account {
                logs: vec![],
                refuse: None,
                refuses_duplicates: false,
                reads_logs: true,
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
        let json = json!({"apiKey": Self::KEY, "from": "SalonUno", "webhookPassword": Self::PASSWORD,
            "baseUrl": format!("http://{at}")});
        json.as_object().expect("it is one").clone().into_iter().collect()
    }

    /// As [`Infobip::settings_at`], for this server.
    pub fn settings(&self) -> Settings {
        Self::settings_at(self.0.http.address())
    }

    /// Every message that was taken, in order.
    pub fn sent(&self) -> Vec<Sent> {
        self.0.state().vendor.logs.iter().filter(|(refused, _)| !refused).map(|(_, sent)| sent.clone()).collect()
    }

    /// Several add up.
    pub fn fail_next(&self, fault: Fault) {
        self.0.fail_next(fault);
    }

    /// The next message is answered 200 with this status.
    pub fn refuse_next(&self, group: u32, id: u32, name: &'static str) {
        self.0.state().vendor.refuse = Some((group, id, name));
    }

    /// From now on an id is taken once.
    pub fn refuse_duplicates(&self) {
        self.0.state().vendor.refuses_duplicates = true;
    }

    /// As a key that may only send.
    pub fn forbid_logs(&self) {
        self.0.state().vendor.reads_logs = false;
    }

    /// Version 3's error shape.
    pub fn error(code: &str, property: &str) -> Value {
        json!({"errorCode": code, "description": "Request for 523331234567 cannot be processed.",
            "action": "Check the request and try again.",
            "violations": [{"property": property, "violation": "523331234567 must not be blank"}],
            "resources": [{"name": "API documentation", "url": "https://www.infobip.com/docs"}]})
    }

    /// The shape of older endpoints.
    pub fn older_error(code: &str, property: &str) -> Value {
        let errors = json!({property: ["523331234567 is wrong"]});
        json!({"requestError": {"serviceException": {"messageId": code, "text": "523331234567 is wrong",
            "validationErrors": errors}}})
    }

    /// One report of several messages, each with its status and error, to the address of the first.
    pub fn report(&self, results: &[(&str, Value, Value)], at: SystemTime) -> Callback {
        let state = self.0.state();
        let find = |id: &str| {
            let found = state.vendor.logs.iter().find(|(_, sent)| sent.id == id);
            &found.expect("the message was taken").1
        };
        let url = find(results[0].0).callback.clone().expect("the message asked for reports");
        let items: Vec<_> = results
            .iter()
            .map(|(id, status, error)| {
                json!({"bulkId": "2034072219640523072", "messageId": id, "to": find(id).to, "sentAt": iso(at),
                    "doneAt": iso(at), "messageCount": 1, "price": {"pricePerMessage": 0.01, "currency": "USD"},
                    "status": status, "error": error})
            })
            .collect();
        let body = json!({"results": items}).to_string().into_bytes();
        callback(Method::POST, &url, &[("content-type", "application/json")], body, at)
    }

    /// The status object of a message.
    pub fn status(group: u32, id: u32, name: &str) -> Value {
        json!({"groupId": group, "groupName": "GROUP", "id": id, "name": name, "description": "for 523331234567"})
    }

    /// `NO_ERROR`, or what kept a message from arriving.
    pub fn cause(id: u32, name: &str, permanent: bool) -> Value {
        json!({"groupId": u32::from(id > 0), "groupName": "GROUP", "id": id, "name": name, "description": "…",
            "permanent": permanent})
    }

    /// A person writes to one of the account's numbers, whose forwarding has these Basic credentials.
    pub fn inbound(hook: &str, password: &str, from: &str, text: &str, at: SystemTime) -> Callback {
        let credentials = base64::engine::general_purpose::STANDARD.encode(format!("infobip:{password}"));
        let authorization = format!("Basic {credentials}");
        let body = json!({"results": [{"messageId": format!("in-{text}"), "from": from, "to": "523300000000",
            "text": text, "cleanText": text, "keyword": "", "receivedAt": iso(at), "smsCount": 1,
            "price": {"pricePerMessage": 0, "currency": "USD"}, "callbackData": null}],
            "messageCount": 1, "pendingMessageCount": 0});
        let headers = [("content-type", "application/json"), ("authorization", &*authorization)];
        callback(Method::POST, hook, &headers, body.to_string().into_bytes(), at)
    }
}

impl Vendor for Account {
    /// An empty list makes none.
    fn makes_message(seen: &Seen) -> bool {
        seen.method == "POST" && !seen.json()["messages"].as_array().is_none_or(Vec::is_empty)
    }

    fn answer(&mut self, seen: &Seen) -> Reply {
        let authorized = seen.header("authorization") == Some(&format!("App {}", Infobip::KEY));
        let (path, query) = target(seen);
        match (seen.method.as_str(), path) {
            ("POST" | "GET", "/sms/3/messages" | "/sms/3/logs") if !authorized => unauthorized(),
            ("POST", "/sms/3/messages") => self.take(&seen.json()),
            ("GET", "/sms/3/logs") if !self.reads_logs => Reply::json(403, &Infobip::error("E403", "")),
            ("GET", "/sms/3/logs") => {
                let wanted = field(&query, "messageId");
                let found = self.logs.iter().filter(|(_, sent)| wanted.is_none_or(|id| id == sent.id));
                let found: Vec<_> = found
                    .map(|(refused, sent)| {
                        let status =
                            if *refused { (5, 21, "REJECTED_SYSTEM_ERROR") } else { (1, 26, "PENDING_ACCEPTED") };
                        json!({"messageId": sent.id, "destination": sent.to, "sender": sent.from,
                            "content": {"text": sent.text}, "status": Infobip::status(status.0, status.1, status.2)})
                    })
                    .collect();
                Reply::json(200, &json!({"results": found}))
            }
            (method, path) => {
                self.breaches.push(format!("{method} {path} is not in the contract"));
                Reply::new(404, "")
            }
        }
    }

    fn refusal(&self, behaviour: Behaviour, _makes_message: bool) -> Option<Reply> {
        Some(match behaviour {
            Behaviour::Unauthorized => unauthorized(),
            Behaviour::Refuse => answered("gw-1", "523331234567", Infobip::status(5, 14, "REJECTED_DESTINATION")),
            _ => return None,
        })
    }

    fn breaches(&mut self) -> Vec<String> {
        std::mem::take(&mut self.breaches)
    }
}

impl Account {
    fn take(&mut self, body: &Value) -> Reply {
        let Some(message) = body["messages"].get(0) else {
            return Reply::json(400, &Infobip::error("E400", "messages"));
        };
        let destination = &message["destinations"][0];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (to, id) = (text(&destination["to"]), text(&destination["messageId"]));
        for (property, missing) in [
            ("messages[0].destinations[0].to", to.is_empty()),
            ("messages[0].content.text", text(&message["content"]["text"]).is_empty()),
            ("messages[0].sender", text(&message["sender"]).is_empty()),
        ] {
            if missing {
                return Reply::json(400, &Infobip::error("E400", property));
            }
        }
        if to.starts_with('+') || text(&message["sender"]).starts_with('+') {
            self.breaches.push("numbers go without the plus".into());
        }
        let twice = self.refuses_duplicates && self.logs.iter().any(|(_, sent)| sent.id == id);
        let twice = twice.then_some((5, 23, "REJECTED_DUPLICATE_MESSAGE_ID"));
        let refused = self.refuse.take();
        let (group, status, name) = refused.or(twice).unwrap_or((1, 26, "PENDING_ACCEPTED"));
        let sent = Sent {
            id: id.clone(),
            to: to.clone(),
            from: text(&message["sender"]),
            text: text(&message["content"]["text"]),
            callback: message["webhooks"]["delivery"]["url"].as_str().map(str::to_owned),
            reference: Some(id.clone()),
        };
        if twice.is_none() {
            self.logs.push((group == 5, sent));
        }
        answered(&id, &to, Infobip::status(group, status, name))
    }
}

fn answered(id: &str, to: &str, status: Value) -> Reply {
    Reply::json(
        200,
        &json!({"bulkId": "2034072219640523072",
            "messages": [{"messageId": id, "destination": to, "status": status, "details": {"messageCount": 1}}]}),
    )
}

fn unauthorized() -> Reply {
    Reply::json(401, &Infobip::error("E401", ""))
}

fn iso(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).format("%Y-%m-%dT%H:%M:%S.000+0000").to_string()
}
