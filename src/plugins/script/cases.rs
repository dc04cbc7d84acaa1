//! `cases.json`: what a script is expected to ask for and to understand, tried without a network.
//!
//! ```json
//! {"settings": {"token": "123:abc"},
//!  "cases": [
//!    {"name": "a text", "message": {"text": "Hi"}, "request": {"url": "https://…", "json": {"text": "Hi"}}},
//!    {"name": "taken", "response": {"status": 200, "json": {"id": 7}}, "outcome": {"accepted": "7"}},
//!    {"name": "asks who it is", "check": {"method": "GET", "url": "https://…"}},
//!    {"name": "knows itself", "checked": {"response": {"status": 200}, "says": "…"}},
//!    {"name": "delivered", "callback": {"json": {"id": 7}}, "events": [{"delivered": "7"}]}]}
//! ```
//!
//! `message` and `settings` say only what matters to the case; the rest is a plain message. What is expected of a
//! request is compared whole; of an outcome or an event everything but its `detail` and `note`, unless they are given.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use ipnet::IpNet;
use plugin_api::http::{Answer, Http};
use plugin_api::net::Guard;
use plugin_api::{Callback, Host, Plugin, Receipt, Refused, Settings};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::ScriptPlugin;
use super::account::Account;
use super::compare::{differ, differ_events, differ_loosely, differ_request, events, merge, outcome};
use super::named::Named;
use super::view::{callback, message, nobody, now, response as seen};

/// How one case went; no faults is good.
#[derive(Debug)]
pub struct CaseResult {
    pub name: String,
    pub faults: Vec<String>,
    /// What the script printed.
    pub printed: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    settings: Map<String, Value>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    settings: Map<String, Value>,
    #[serde(default)]
    message: Map<String, Value>,
    request: Option<Value>,
    response: Option<Response>,
    outcome: Option<Value>,
    check: Option<Value>,
    checked: Option<Checked>,
    callback: Option<Call>,
    events: Option<Value>,
    answer: Option<String>,
    /// `unverified`, `stale` or `malformed`.
    refused: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Response {
    status: u16,
    #[serde(default)]
    headers: Map<String, Value>,
    json: Option<Value>,
    body: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Checked {
    response: Response,
    says: Option<String>,
    problem: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    query: Map<String, Value>,
    #[serde(default)]
    headers: Map<String, Value>,
    json: Option<Value>,
    body: Option<String>,
    /// Unix seconds.
    #[serde(rename = "receivedAt", default)]
    received_at: u64,
}

/// Runs all cases. An error says what is wrong with the file as a whole.
pub async fn run_cases(plugin: &ScriptPlugin, text: &str) -> Result<Vec<CaseResult>, String> {
    let file: File = serde_json::from_str(text).map_err(|e| e.to_string())?;
    if file.cases.is_empty() {
        return Err("holds no case".to_owned());
    }
    let mut results = Vec::with_capacity(file.cases.len());
    for case in file.cases {
        let name = case.name.clone();
        let (faults, printed) = run(plugin, &file.settings, case).await.unwrap_or_else(|fault| (vec![fault], vec![]));
        results.push(CaseResult { name, faults, printed });
    }
    Ok(results)
}

/// Nothing is called, so any address will do: which networks may be reached is decided where the channel is used.
fn offline() -> Host {
    let everywhere = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let allow = everywhere.into_iter().filter_map(|ip| IpNet::new(ip, 0).ok()).collect();
    let guard = Arc::new(Guard { allow, allow_http: true, ..Guard::default() });
    Host {
        http: Http::new(Arc::clone(&guard), Duration::from_secs(1)),
        guard,
        timeout: Duration::from_secs(1),
        hostname: "recado.example".into(),
        hook_url: None,
    }
}

async fn run(
    plugin: &ScriptPlugin,
    settings: &Map<String, Value>,
    case: Case,
) -> Result<(Vec<String>, Vec<String>), String> {
    let mut settings = settings.clone();
    settings.extend(case.settings.clone());
    let settings = plugin.provider().validate(Settings(settings)).map_err(|errors| {
        let errors: Vec<_> = errors.iter().map(|e| format!("settings.{e}")).collect();
        errors.join("; ")
    })?;
    let script = plugin.compile().map_err(ToString::to_string)?.clone();
    let account = Account::new(plugin, script, &settings, offline());
    let account = account.map_err(|e| format!("settings.{e}"))?.listening();
    let mut faults = Vec::new();
    expect(plugin, &account, case, &mut faults).await?;
    Ok((faults, account.printed()))
}

async fn expect(plugin: &ScriptPlugin, account: &Account, case: Case, faults: &mut Vec<String>) -> Result<(), String> {
    let manifest = plugin.manifest();
    let plain = nobody(&manifest.channel, manifest.address);
    let mut shown = message(&plain, now(), &Named::all()).into_value()?;
    merge(&mut shown, Value::Object(case.message));
    let (shown, secrets) = (Arc::new(shown), account.loan());
    let nothing = "checks nothing: give request, response with outcome, check, checked, or callback with events";
    let gives = [case.request.is_some(), case.response.is_some(), case.check.is_some(), case.checked.is_some()];
    if !gives.contains(&true) && case.callback.is_none() {
        return Err(nothing.to_owned());
    }
    if let Some(expected) = case.request {
        let (asked, _) = account.request(|| (&shown).into()).await.map_err(|e| format!("plugin.rhai: {e}"))?;
        differ_request(expected, asked, "request", faults);
    }
    if let Some(expected) = case.check {
        let asked = account.check_request().await.map_err(|e| format!("plugin.rhai: {e}"))?;
        differ_request(expected, asked.ok_or("check: plugin.rhai has no fn check(settings)")?, "check", faults);
    }
    if let Some(response) = case.response {
        let judged = account.judge(&response.answer()?, &plain, |_| (&shown).into(), &secrets).await;
        if let Ok(Receipt { note: Some(note), .. }) = &judged
            && note.starts_with("plugin.rhai: ")
        {
            return Err(note.clone());
        }
        let came_to = outcome(judged);
        let expected = case.outcome.filter(|o| !o.is_null());
        let expected =
            expected.ok_or_else(|| format!("response: say the \"outcome\" it must have; it has {came_to}"))?;
        differ_loosely(&expected, &came_to, "outcome", faults);
    } else if case.outcome.is_some() {
        return Err("outcome: needs the response it is the outcome of".to_owned());
    }
    if let Some(Checked { response, says, problem }) = case.checked {
        let said = account.checked(seen(&response.answer()?, &secrets, &Named::all())).await;
        let said = said.map_err(|e| format!("plugin.rhai: {e}"))?;
        let said = match said.ok_or("checked: plugin.rhai leaves this answer to the status")? {
            Ok(text) => json!({"says": text}),
            Err(text) => json!({"problem": text}),
        };
        let expected = says.map(|t| json!({"says": t})).or(problem.map(|t| json!({"problem": t})));
        differ(&expected.ok_or("checked: needs says or problem")?, &said, "checked", faults);
    }
    if let Some(call) = case.callback {
        let received = account.received(callback(&call.callback()?)).await.map_err(|e| format!("plugin.rhai: {e}"))?;
        match (received, case.refused) {
            (Ok(_), Some(kind)) => faults.push(format!("callback: expected to be refused as {kind}, was taken")),
            (Err(refused), Some(kind)) if kind == kind_of(&refused) => {}
            (Err(refused), _) => faults.push(format!("callback: refused as {}: {refused}", kind_of(&refused))),
            (Ok(received), None) => {
                let expected = case.events.ok_or("callback: needs the events (or refused) it is expected to give")?;
                let answer = String::from_utf8_lossy(&received.answer.body).into_owned();
                if let Some(expected) = case.answer {
                    differ(&expected.into(), &answer.into(), "answer", faults);
                }
                differ_events(&expected, &events(received), faults);
            }
        }
    }
    Ok(())
}

fn kind_of(refused: &Refused) -> &'static str {
    match refused {
        Refused::Unsupported(_) => "unsupported",
        Refused::Unverified(_) => "unverified",
        Refused::Stale(_) => "stale",
        Refused::Malformed(_) => "malformed",
    }
}

impl Response {
    fn answer(self) -> Result<Answer, String> {
        let headers = header_map(&self.headers)?;
        let body = body("response", self.json, self.body)?;
        Ok(Answer { status: self.status, headers, body, complete: true })
    }
}

impl Call {
    fn callback(self) -> Result<Callback, String> {
        let method = self.method.as_deref().unwrap_or("POST");
        let mut url = url::Url::parse("https://recado.example/hooks/channel/token").map_err(|e| e.to_string())?;
        let query: Vec<(String, String)> =
            self.query.iter().map(|(n, v)| (n.clone(), v.as_str().unwrap_or_default().to_owned())).collect();
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(&query);
        }
        Ok(Callback {
            method: Method::from_bytes(method.as_bytes()).map_err(|_| "callback.method: is none".to_owned())?,
            url: url.into(),
            query,
            headers: header_map(&self.headers)?,
            body: body("callback", self.json, self.body)?,
            received_at: UNIX_EPOCH + Duration::from_secs(self.received_at),
        })
    }
}

fn body(what: &str, json: Option<Value>, text: Option<String>) -> Result<Bytes, String> {
    match (json, text) {
        (Some(_), Some(_)) => Err(format!("{what}: give json or body")),
        (Some(json), None) => Ok(json.to_string().into()),
        (None, text) => Ok(text.unwrap_or_default().into()),
    }
}

fn header_map(given: &Map<String, Value>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let wrong = || format!("headers.{name}: is no header");
        let text = value.as_str().ok_or_else(wrong)?;
        headers.insert(
            HeaderName::try_from(name).map_err(|_| wrong())?,
            HeaderValue::from_str(text).map_err(|_| wrong())?,
        );
    }
    Ok(headers)
}
