//! What a script asks for, as a request: read, filled in with secrets, held against the list of hosts.

use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderName, HeaderValue};
use plugin_api::http::{Answer, Http, Method, Url, is_connections_own};
use plugin_api::net::{Guard, UrlError};
use plugin_api::{Hint, SendError};
use serde_json::{Map, Value, json};

use super::hosts::Hosts;
use super::outcome::{only, text_of};
use crate::script::{Fields, Made, Secrets};

const FIELDS: [&str; 7] = ["method", "url", "headers", "query", "json", "form", "body"];

/// A request as it goes out, secrets in clear.
pub(super) struct Request {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Body,
}

enum Body {
    None,
    Json(Value),
    Form(Vec<(String, String)>),
    Text(String),
}

impl Request {
    /// Reads what the script returned. An error says what is wrong with it, by name, without values.
    pub(super) fn read(mut fields: Fields, secrets: &Secrets, urls: &Urls) -> Result<Self, String> {
        only(fields.names(), &FIELDS)?;
        let method = fields.take("method");
        let method = if method.is_nothing() {
            Method::POST
        } else {
            method_of(&method.into_text().map_err(|_| "method: must be a text such as \"POST\"")?)?
        };
        let url = fields.take("url").into_text().map_err(|_| "url: must be a text")?;
        let mut url = urls.read(&url, secrets).map_err(|e| format!("url: {}", e.detail))?;
        let mut query = Vec::new();
        pairs("query", fields.take("query"), secrets, |name, value| {
            query.push((name.to_owned(), value));
            Ok(())
        })?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut headers = HeaderMap::new();
        pairs("headers", fields.take("headers"), secrets, |name, value| {
            let (name, value) = header(name, &value)?;
            headers.try_append(name, value).map(drop).map_err(|_| "headers: there are too many".to_owned())
        })?;
        let given: Vec<_> = ["json", "form", "body"].into_iter().filter(|n| fields.has(n)).collect();
        let body = match given[..] {
            [] => Body::None,
            ["json"] => {
                let json = fields.take("json").into_value();
                Body::Json(fill(json.map_err(|what| format!("json: must be plain data, but {what}"))?, secrets))
            }
            ["form"] => {
                let mut form = Vec::new();
                pairs("form", fields.take("form"), secrets, |name, value| {
                    form.push((name.to_owned(), value));
                    Ok(())
                })?;
                Body::Form(form)
            }
            ["body"] => {
                let text = fields.take("body").into_text();
                Body::Text(secrets.revealed(text.map_err(|_| "body: must be a text; give data as json or form")?))
            }
            _ => return Err(format!("{}: give one of them", given.join(", "))),
        };
        Ok(Self { method, url, headers, body })
    }

    /// An `OPTIONS` to the same place, with nothing in it.
    pub(super) fn into_options(self) -> Self {
        Self { method: Method::OPTIONS, headers: HeaderMap::new(), body: Body::None, ..self }
    }

    pub(super) fn allowed_by(&self, hosts: &Hosts) -> Result<(), SendError> {
        if hosts.allow(&self.url) {
            return Ok(());
        }
        let host = self.url.host_str().unwrap_or_default();
        let detail =
            format!("plugin.rhai asks for {host}, which is neither in hosts of plugin.toml nor that of a url setting");
        Err(SendError::rejected("host_not_allowed", detail).hint(Hint::Misconfigured))
    }

    pub(super) async fn send(self, http: &Http) -> Result<Answer, SendError> {
        let mut request = http.request(self.method, &self.url);
        let content_type = http::header::CONTENT_TYPE;
        request = match self.body {
            Body::None => request,
            Body::Json(value) => request.json(&value),
            Body::Form(pairs) => {
                let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
                request.header(content_type, HeaderValue::from_static("application/x-www-form-urlencoded")).body(form)
            }
            Body::Text(text) => {
                request.header(content_type, HeaderValue::from_static("text/plain; charset=utf-8")).body(text)
            }
        };
        request.headers(&self.headers).send().await
    }

    /// As `cases.json` describes it.
    pub(super) fn to_value(&self) -> Value {
        let mut shown = json!({"method": self.method.as_str(), "url": self.url.as_str()});
        if !self.headers.is_empty() {
            let headers = self.headers.iter();
            shown["headers"] = headers
                .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned().into()))
                .collect::<Map<String, Value>>()
                .into();
        }
        match &self.body {
            Body::None => {}
            Body::Json(value) => shown["json"] = value.clone(),
            Body::Form(pairs) => {
                let pairs = pairs.iter().map(|(name, value)| (name.clone(), value.clone().into()));
                shown["form"] = pairs.collect::<Map<String, Value>>().into();
            }
            Body::Text(text) => shown["body"] = text.clone().into(),
        }
        shown
    }
}

/// Reads addresses, and remembers the last one: most accounts have one only.
pub(super) struct Urls {
    guard: Arc<Guard>,
    last: Mutex<Option<(String, Url)>>,
}

impl Urls {
    pub(super) fn new(guard: Arc<Guard>) -> Self {
        Self { guard, last: Mutex::default() }
    }

    fn read(&self, given: &str, secrets: &Secrets) -> Result<Url, UrlError> {
        let text = fill_url(given, secrets);
        // A secret is not kept in clear for longer than its call.
        if secrets.is_in(given) {
            return self.guard.check_text(&text);
        }
        let last = || self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, url)) = last().as_ref().filter(|(known, _)| *known == text) {
            return Ok(url.clone());
        }
        let url = self.guard.check_text(&text)?;
        *last() = Some((text, url.clone()));
        Ok(url)
    }
}

fn method_of(name: &str) -> Result<Method, String> {
    match name {
        "GET" => Ok(Method::GET),
        "POST" => Ok(Method::POST),
        "PUT" => Ok(Method::PUT),
        "PATCH" => Ok(Method::PATCH),
        "DELETE" => Ok(Method::DELETE),
        "HEAD" => Ok(Method::HEAD),
        "OPTIONS" => Ok(Method::OPTIONS),
        _ => Err("method: must be GET, POST, PUT, PATCH, DELETE, HEAD or OPTIONS".to_owned()),
    }
}

/// A secret at the beginning may be a whole address; further on it is one piece and can't become more.
fn fill_url(text: &str, secrets: &Secrets) -> String {
    let piece = |value: &str| {
        let kept = |b: &u8| b.is_ascii_alphanumeric() || b"-._~:".contains(b);
        value.bytes().map(|b| if kept(&b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
    };
    match secrets.first(text) {
        Some((whole, rest)) => format!("{whole}{}", secrets.reveal_as(rest, piece)),
        None => secrets.reveal_as(text, piece),
    }
}

fn fill(value: Value, secrets: &Secrets) -> Value {
    match value {
        Value::String(text) if secrets.is_in(&text) => secrets.reveal(&text).into(),
        Value::Array(items) => items.into_iter().map(|item| fill(item, secrets)).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, field)| (name, fill(field, secrets))).collect(),
        other => other,
    }
}

/// Headers, parts of a query or fields of a form that a request may have.
const MOST_PAIRS: usize = 200;

/// Each pair of a map of texts; what is `()` is left out, and a list gives its name several times.
fn pairs(
    what: &str,
    given: Made,
    secrets: &Secrets,
    mut each: impl FnMut(&str, String) -> Result<(), String>,
) -> Result<(), String> {
    if given.is_nothing() {
        return Ok(());
    }
    let fields = given.into_fields().map_err(|_| format!("{what}: must be a map of texts"))?;
    let mut left = MOST_PAIRS;
    let mut one = |name: &str, value: Made| {
        left = usize::checked_sub(left, 1).ok_or_else(|| format!("{what}: has more than {MOST_PAIRS} entries"))?;
        let text = value.into_text().or_else(|other| other.into_value().ok().as_ref().and_then(text_of).ok_or(()));
        let text = text.map_err(|()| format!("{what}.{name}: must be a text or a number"))?;
        each(name, secrets.revealed(text))
    };
    fields.each(|name, value| match value.into_items() {
        Ok(items) => items.into_iter().try_for_each(|item| one(name, item)),
        Err(value) if value.is_nothing() => Ok(()),
        Err(value) => one(name, value),
    })
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let parsed = HeaderName::try_from(name).map_err(|_| format!("headers: \"{name}\" is not a header's name"))?;
    if is_connections_own(&parsed) {
        return Err(format!("headers: {name} is the connection's own; leave it out"));
    }
    let value = HeaderValue::from_str(value).or_else(|_| {
        // Not ASCII, but no line break either.
        HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| format!("headers.{name}: has characters no header can carry"))
    });
    Ok((parsed, value?))
}
