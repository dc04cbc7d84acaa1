//! The only HTTP client: time-outs, no redirects, no hidden retry, addresses checked where it connects, answers
//! capped. What a plugin gets back is either the head of an answer or a [`SendError`] that is already a decision.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
pub use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
pub use url::Url;

use crate::net::Guard;
use crate::outcome::{Hint, SendError};

/// The most of an answer's body that is read.
pub const BODY_LIMIT: usize = 64 * 1024;

/// Cheap to clone; connections are shared by all clones.
#[derive(Clone)]
pub struct Http {
    client: reqwest::Client,
    guard: Arc<Guard>,
    timeout: Duration,
}

/// A request under construction.
#[must_use]
pub struct Request<'a> {
    http: &'a Http,
    request: reqwest::Request,
}

/// The provider's answer. The head is whole; the body may be cut.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// At most [`BODY_LIMIT`] bytes.
    pub body: Bytes,
    /// The body ended where it said it would.
    pub complete: bool,
}

impl Http {
    pub fn new(guard: Arc<Guard>, timeout: Duration) -> Self {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .tcp_nodelay(true)
            .connect_timeout(timeout.min(Duration::from_secs(10)))
            .pool_max_idle_per_host(32)
            .dns_resolver(crate::net::Resolver::new(Arc::clone(&guard)))
            .user_agent(concat!("Recado/", env!("CARGO_PKG_VERSION")))
            .build()
            .expect("the client is built from constants");
        Self { client, guard, timeout }
    }

    /// A request to an address whose literal host passes the guard; names are judged when they resolve.
    pub fn request(&self, method: Method, url: &Url) -> Request<'_> {
        Request { http: self, request: reqwest::Request::new(method, url.clone()) }
    }
}

impl Request<'_> {
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.request.headers_mut().insert(name, value);
        self
    }

    pub fn json(self, body: &impl serde::Serialize) -> Self {
        let bytes = serde_json::to_vec(body).expect("plugin bodies are plain data");
        self.header(reqwest::header::CONTENT_TYPE, HeaderValue::from_static("application/json")).body(bytes)
    }

    pub fn body(mut self, body: impl Into<reqwest::Body>) -> Self {
        *self.request.body_mut() = Some(body.into());
        self
    }

    /// Makes the call, once.
    pub async fn send(self) -> Result<Answer, SendError> {
        self.http.guard.check_literal(self.request.url())?;
        let deadline = tokio::time::Instant::now() + self.http.timeout;
        let head = tokio::time::timeout_at(deadline, self.http.client.execute(self.request)).await;
        let mut response = match head {
            Err(_) => return Err(SendError::unknown("timeout", "no answer in time")),
            Ok(Err(e)) => return Err(transport_error(&e)),
            Ok(Ok(response)) => response,
        };
        let mut body = Vec::new();
        let complete = loop {
            match tokio::time::timeout_at(deadline, response.chunk()).await {
                Ok(Ok(Some(chunk))) if body.len() + chunk.len() <= BODY_LIMIT => body.extend_from_slice(&chunk),
                Ok(Ok(None)) => break true,
                _ => break false,
            }
        };
        let headers = std::mem::take(response.headers_mut());
        Ok(Answer { status: response.status().as_u16(), headers, body: body.into(), complete })
    }
}

impl Answer {
    /// The body as JSON, if it is.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }

    /// What the status alone says: `Ok` for 2xx, else the outcome that fits most providers. Plugins whose vendor
    /// says otherwise look first.
    pub fn outcome(&self) -> Result<(), SendError> {
        let status = self.status;
        let error = match status {
            200..=299 => return Ok(()),
            300..=399 => SendError::rejected("redirect_not_followed", format!("the provider answered {status}")),
            429 => SendError::throttled(self.retry_after(), "rate_limited", "the provider answered 429"),
            503 if self.headers.contains_key("retry-after") => {
                SendError::throttled(self.retry_after(), "unavailable", "the provider answered 503 with Retry-After")
            }
            401 | 403 => SendError::rejected("unauthorized", format!("the provider answered {status}"))
                .hint(Hint::Misconfigured),
            400..=499 => SendError::rejected("refused", format!("the provider answered {status}")),
            _ => SendError::unknown("provider_error", format!("the provider answered {status}")),
        };
        Err(error.status(status))
    }

    /// `Retry-After`, in seconds or as a date, at most 24 h; a malformed or negative one is as good as none.
    pub fn retry_after(&self) -> Option<Duration> {
        let value = self.headers.get("retry-after")?.to_str().ok()?.trim();
        let after = match value.parse::<u64>() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(std::time::SystemTime::now()).ok()?,
        };
        Some(after.min(Duration::from_secs(24 * 3600)))
    }
}

fn transport_error(e: &reqwest::Error) -> SendError {
    if e.is_connect() {
        return SendError::not_sent("connect_failed", "could not connect to the provider");
    }
    if e.is_timeout() {
        return SendError::unknown("timeout", "no answer in time");
    }
    SendError::unknown("connection_lost", "the connection broke before an answer came")
}
