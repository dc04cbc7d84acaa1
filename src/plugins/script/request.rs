//! What a script asks for, as a request: read, filled in with secrets, held against the list of hosts.

use http::{HeaderName, HeaderValue};
use plugin_api::http::{Answer, Http, Method, Url, is_connections_own};
use plugin_api::net::Guard;
use plugin_api::{Hint, SendError};
use serde_json::{Map, Value, json};

use super::hosts::Hosts;
use super::outcome::{only, text_of};
use crate::script::Secrets;

const FIELDS: [&str; 7] = ["method", "url", "headers", "query", "json", "form", "body"];

/// A request as it goes out, secrets in clear.
pub(super) struct Request {
    method: Method,
    url: Url,
    headers: Vec<(HeaderName, HeaderValue)>,
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
    pub(super) fn read(described: Value, secrets: &Secrets, guard: &Guard) -> Result<Self, String> {
        let Value::Object(mut fields) = described else {
            return Err("must return a request: #{url: \"https://…\", json: #{…}}".to_owned());
        };
        only(&fields, &FIELDS)?;
        let method = match fields.remove("method") {
            None | Some(Value::Null) => Method::POST,
            Some(Value::String(name)) => method(&name)?,
            Some(_) => return Err("method: must be a text such as \"POST\"".to_owned()),
        };
        let Some(Value::String(url)) = fields.remove("url") else { return Err("url: must be a text".to_owned()) };
        let mut url = guard.check_text(&fill_url(&url, secrets)).map_err(|e| format!("url: {}", e.detail))?;
        let query = pairs("query", fields.remove("query"), secrets)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut headers = Vec::new();
        for (name, value) in pairs("headers", fields.remove("headers"), secrets)? {
            headers.push(header(&name, &value)?);
        }
        let given: Vec<_> = ["json", "form", "body"].into_iter().filter(|n| fields.contains_key(*n)).collect();
        let body = match given[..] {
            [] => Body::None,
            ["json"] => Body::Json(fill(fields.remove("json").unwrap_or_default(), secrets)),
            ["form"] => Body::Form(pairs("form", fields.remove("form"), secrets)?),
            ["body"] => Body::Text(match fields.remove("body") {
                Some(Value::String(text)) => secrets.reveal(&text),
                _ => return Err("body: must be a text; give data as json or form".to_owned()),
            }),
            _ => return Err(format!("{}: give one of them", given.join(", "))),
        };
        Ok(Self { method, url, headers, body })
    }

    /// An `OPTIONS` to the same place, with nothing in it.
    pub(super) fn into_options(self) -> Self {
        Self { method: Method::OPTIONS, headers: vec![], body: Body::None, ..self }
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
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        request.send().await
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

fn method(name: &str) -> Result<Method, String> {
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

/// A map of texts; what is `()` is left out, and a list gives its name several times.
fn pairs(what: &str, given: Option<Value>, secrets: &Secrets) -> Result<Vec<(String, String)>, String> {
    let fields = match given {
        None | Some(Value::Null) => return Ok(vec![]),
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err(format!("{what}: must be a map of texts")),
    };
    let mut pairs = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        let values = match value {
            Value::Null => continue,
            Value::Array(items) => items,
            one => vec![one],
        };
        for value in values {
            let text = text_of(&value).ok_or_else(|| format!("{what}.{name}: must be a text or a number"))?;
            pairs.push((name.clone(), secrets.reveal(&text)));
        }
    }
    Ok(pairs)
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
