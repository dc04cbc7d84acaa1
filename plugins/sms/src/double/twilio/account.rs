//! What the account holds, and its answers.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use plugin_api::conformance::{Behaviour, Contract, Reply, Seen};
use serde_json::{Map, Value, json};

use super::Twilio;
use crate::double::{Sent, Vendor, basic, encoded, now, target};
use crate::form::{self, field};

pub(super) struct Account {
    pub(super) token: String,
    pub(super) status: &'static str,
    pub(super) kind: &'static str,
    pub(super) messages: Vec<Held>,
    /// How many people wrote.
    pub(super) inbound: u64,
    /// Who replied STOP.
    pub(super) stopped: BTreeSet<String>,
    /// How far this server's clock is from ours, in seconds.
    pub(super) clock_ahead: i64,
    pub(super) breaches: Vec<String>,
}

pub(super) struct Held {
    pub(super) sent: Sent,
    pub(super) service: Option<String>,
    pub(super) status: String,
    pub(super) error_code: Option<u32>,
    pub(super) created: SystemTime,
}

/// A refusal: HTTP status and Twilio's code.
type Refusal = (u16, u32);

impl Vendor for Account {
    fn makes_message(seen: &Seen) -> bool {
        seen.method == "POST" && seen.path.ends_with("/Messages.json")
    }

    fn answer(&mut self, seen: &Seen) -> Reply {
        let (path, query) = target(seen);
        let account = format!("/2010-04-01/Accounts/{}", Twilio::ACCOUNT);
        let operation = match (seen.method.as_str(), path.rsplit_once("/Accounts/").map_or("", |(_, rest)| rest)) {
            ("POST", rest) if rest.ends_with("/Messages.json") => "CreateMessage",
            ("GET", rest) if rest.ends_with("/Messages.json") => "ListMessage",
            ("GET", rest) if !rest.contains('/') => "FetchAccount",
            _ => "",
        };
        let form = form::pairs(&seen.body);
        if let Some(contract) = contract() {
            let body = if operation == "CreateMessage" { object(&form) } else { Value::Null };
            if operation.is_empty() || operation == "CreateMessage" {
                self.breaches.extend(contract.request(operation, &body));
            }
        }
        let known = path.contains(&account);
        let (status, body) = match (self.refused(seen, operation, known), operation) {
            (Some((status, code)), _) => (status, Twilio::error(status, code)),
            (None, "CreateMessage") => self.create(&form),
            (None, "ListMessage") => (200, self.list(path, &query)),
            _ => (200, self.show_account()),
        };
        if let Some(contract) = contract() {
            // The document calls the addresses of pages URIs, and shows paths in its examples, as they really come.
            let is_path = |breach: &String| breach.contains("is not a \"uri\"") && breach.ends_with("uri");
            let breaches = contract.answer(operation, status, &body);
            self.breaches.extend(breaches.into_iter().filter(|breach| !is_path(breach)));
        }
        Reply::json(status, &body).header("date", httpdate::fmt_http_date(self.now()))
    }

    fn refusal(&self, behaviour: Behaviour, _makes_message: bool) -> Option<Reply> {
        Some(match behaviour {
            Behaviour::Unauthorized => Reply::json(401, &Twilio::error(401, 20003)),
            Behaviour::Refuse => Reply::json(400, &Twilio::error(400, 21614)),
            Behaviour::Throttle(None) => Reply::json(429, &Twilio::error(429, 20429)),
            Behaviour::Throttle(Some(seconds)) => {
                Reply::json(429, &Twilio::error(429, 20429)).header("retry-after", seconds.to_string())
            }
            _ => return None,
        })
    }

    fn breaches(&mut self) -> Vec<String> {
        std::mem::take(&mut self.breaches)
    }
}

impl Account {
    fn now(&self) -> SystemTime {
        let offset = Duration::from_secs(self.clock_ahead.unsigned_abs());
        if self.clock_ahead < 0 { now() - offset } else { now() + offset }
    }

    /// Standard API keys may not read the account.
    fn refused(&self, seen: &Seen, operation: &str, known: bool) -> Option<Refusal> {
        let (user, password) = basic(seen).unwrap_or_default();
        let by_token = user == Twilio::ACCOUNT && password == self.token;
        let by_key = user == Twilio::KEY && password == Twilio::KEY_SECRET;
        if !by_token && (!by_key || operation == "FetchAccount") {
            Some((401, 20003))
        } else if operation.is_empty() || !known {
            Some((404, 20404))
        } else {
            None
        }
    }

    fn create(&mut self, form: &[(String, String)]) -> (u16, Value) {
        if let Some((status, code)) = self.refuses(form) {
            return (status, Twilio::error(status, code));
        }
        let text = |name| field(form, name).unwrap_or_default();
        let sent = self.sent(text("To"), text("From"), text("Body"), field(form, "StatusCallback"));
        let service = field(form, "MessagingServiceSid").map(str::to_owned);
        let status = if service.is_some() { "accepted" } else { "queued" };
        self.hold(sent, service, status);
        let held = self.messages.last().expect("it was just put there");
        (201, show(held))
    }

    fn refuses(&self, form: &[(String, String)]) -> Option<Refusal> {
        let Some(to) = field(form, "To") else { return Some((400, 21604)) };
        let from = field(form, "From");
        if from.is_none() && field(form, "MessagingServiceSid").is_none() {
            return Some((400, 21603));
        }
        let Some(body) = field(form, "Body") else { return Some((400, 21602)) };
        let host = field(form, "StatusCallback").and_then(|url| url.parse::<plugin_api::http::Url>().ok());
        let digits = to.strip_prefix('+').unwrap_or_default();
        let code = match (to, from.unwrap_or_default()) {
            (_, "+15005550001") => 21212,
            (_, "+15005550007") => 21606,
            (_, "+15005550008") => 21611,
            ("+15005550001", _) => 21211,
            ("+15005550002", _) => 21612,
            ("+15005550003", _) => 21408,
            ("+15005550004", _) => 21610,
            ("+15005550009", _) => 21614,
            _ if digits.len() < 7 || !digits.bytes().all(|b| b.is_ascii_digit()) => 21211,
            _ if self.stopped.contains(to) => 21610,
            _ if body.chars().count() > 1600 => 21617,
            _ if host.is_some_and(|url| url.host_str().is_none_or(|host| host.contains('_'))) => 21609,
            _ => return None,
        };
        Some((400, code))
    }

    pub(super) fn sent(&self, to: &str, from: &str, text: &str, callback: Option<&str>) -> Sent {
        Sent {
            id: format!("SM{:032x}", 0xfe00_u64 + self.messages.len() as u64),
            to: to.to_owned(),
            from: from.to_owned(),
            text: text.to_owned(),
            callback: callback.map(str::to_owned),
            reference: None,
        }
    }

    /// Trial accounts say so before the text.
    pub(super) fn hold(&mut self, mut sent: Sent, service: Option<String>, status: &str) {
        if self.kind == "Trial" {
            sent.text = format!("Sent from your Twilio trial account - {}", sent.text);
        }
        let created = self.now();
        self.messages.push(Held { sent, service, status: status.to_owned(), error_code: None, created });
    }

    /// The newest first.
    fn list(&self, path: &str, query: &[(String, String)]) -> Value {
        let number = |name| field(query, name).and_then(|text| text.parse::<usize>().ok());
        let (size, page) = (number("PageSize").unwrap_or(50), number("Page").unwrap_or(0));
        let is = |name, value: &str| field(query, name).is_none_or(|wanted| wanted == value);
        let matching = |held: &&Held| is("To", &held.sent.to) && is("From", &held.sent.from);
        let found: Vec<_> = self.messages.iter().rev().filter(matching).collect();
        let uri = |page: usize| {
            let mut query: Vec<_> = query.iter().filter(|(name, _)| name != "Page").cloned().collect();
            query.push(("Page".into(), page.to_string()));
            format!("{path}?{}", String::from_utf8_lossy(&encoded(&query)))
        };
        let more = found.len() > (page + 1) * size;
        let shown: Vec<_> = found.into_iter().skip(page * size).take(size).map(show).collect();
        json!({"first_page_uri": uri(0), "next_page_uri": more.then(|| uri(page + 1)), "previous_page_uri": null,
            "uri": uri(page), "page": page, "page_size": size, "start": page * size, "end": page * size + shown.len(),
            "messages": shown})
    }

    fn show_account(&self) -> Value {
        let date = rfc2822(now());
        json!({"sid": Twilio::ACCOUNT, "friendly_name": "Salon Uno", "status": self.status, "type": self.kind,
            "owner_account_sid": Twilio::ACCOUNT, "auth_token": self.token, "date_created": date, "date_updated": date,
            "uri": format!("/2010-04-01/Accounts/{}.json", Twilio::ACCOUNT), "subresource_uris": {}})
    }

    pub(super) fn check(&mut self, pointer: &str, fields: &[(String, String)]) {
        if let Some(contract) = contract() {
            self.breaches.extend(contract.value(pointer, &object(fields)));
        }
    }
}

fn show(held: &Held) -> Value {
    let Held { sent, service, status, error_code, created } = held;
    let path = format!("/2010-04-01/Accounts/{}/Messages/{}", Twilio::ACCOUNT, sent.id);
    let waiting = service.is_some();
    let date = rfc2822(*created);
    json!({"sid": sent.id, "account_sid": Twilio::ACCOUNT, "status": status, "to": sent.to, "body": sent.text,
        "from": if waiting { Value::Null } else { sent.from.clone().into() }, "messaging_service_sid": service,
        "direction": "outbound-api", "num_segments": if waiting { "0" } else { "1" }, "num_media": "0",
        "error_code": error_code, "error_message": null, "price": null, "price_unit": null, "api_version": "2010-04-01",
        "date_created": date, "date_updated": date, "date_sent": null, "uri": format!("{path}.json"),
        "subresource_uris": {"media": format!("{path}/Media.json")}})
}

fn rfc2822(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).format("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// A form as the contract's object.
fn object(fields: &[(String, String)]) -> Value {
    fields.iter().map(|(name, value)| (name.clone(), Value::from(value.clone()))).collect::<Map<_, _>>().into()
}

fn contract() -> Option<&'static Contract> {
    static CONTRACT: OnceLock<Option<Contract>> = OnceLock::new();
    CONTRACT.get_or_init(|| Contract::open("twilio.openapi.json")).as_ref()
}
