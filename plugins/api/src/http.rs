//! The only HTTP client: time-outs, no redirects, no hidden retry, addresses checked where it connects, answers
//! capped. What a plugin gets back is either the head of an answer or a [`SendError`] that is already a decision.

mod tls;

use std::error::Error;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
pub use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::{Instant, timeout_at};
pub use url::Url;

use crate::net::{Guard, Resolver};
use crate::outcome::{Hint, SendError};

/// The most of an answer's body that is read.
pub const BODY_LIMIT: usize = 64 * 1024;

/// Name, connect and TLS together. Shorter than the whole call, so that a failure here is never taken for one of
/// which nobody knows what was written.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// An idle connection that the provider closes while a request sets out on it leaves an unknown outcome. Common
/// servers keep theirs for 20 s or longer, so ours are given up before that.
const IDLE_LIMIT: Duration = Duration::from_secs(15);

/// How long an HTTP/2 connection with open calls may be quiet, and how long its answer to a ping may take.
const PING_LIMIT: Duration = Duration::from_secs(10);

/// A `Retry-After` beyond this is taken as this.
const RETRY_AFTER_LIMIT: Duration = Duration::from_hours(24);

/// Headers that are the connection's own: whoever describes a request leaves them out.
const CONNECTIONS_OWN: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether a header belongs to the connection, not to the request.
pub fn is_connections_own(name: &HeaderName) -> bool {
    CONNECTIONS_OWN.contains(&name.as_str())
}

/// Cheap to clone; connections are shared by all clones.
#[derive(Clone)]
pub struct Http {
    clients: Arc<Clients>,
    guard: Arc<Guard>,
    timeout: Duration,
}

/// Each is built when it is first used: reading the system's certificates takes time and memory that a gateway on
/// the sandbox need not spend.
#[derive(Default)]
struct Clients {
    /// Whom to trust instead of the system's authorities: tests have one of their own.
    #[cfg(feature = "testing")]
    trusted: Option<RootCertStore>,
    /// https on its own port.
    public: OnceLock<reqwest::Client>,
    /// https on unusual ports: connects to nothing but the operator's `allow`.
    inside: OnceLock<reqwest::Client>,
    /// Plain http, to nothing but `allow` either.
    plain: OnceLock<reqwest::Client>,
}

/// A request under construction.
#[must_use]
pub struct Request<'a> {
    http: &'a Http,
    request: reqwest::Request,
    deadline: Instant,
}

/// The provider's answer. The head is whole; the body may be cut.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// At most [`BODY_LIMIT`] bytes, unless more were asked for.
    pub body: Bytes,
    /// The body ended where it said it would.
    pub complete: bool,
}

impl Http {
    /// `timeout` bounds a whole call, from the name to the last byte of the answer.
    pub fn new(guard: Arc<Guard>, timeout: Duration) -> Self {
        Self { clients: Arc::default(), guard, timeout }
    }

    /// Believes these authorities instead of the system's.
    #[cfg(feature = "testing")]
    pub fn trusting(authorities: RootCertStore, guard: Arc<Guard>, timeout: Duration) -> Self {
        let clients = Clients { trusted: Some(authorities), ..Clients::default() };
        Self { clients: clients.into(), guard, timeout }
    }

    fn trust(&self) -> ClientConfig {
        #[cfg(feature = "testing")]
        if let Some(authorities) = &self.clients.trusted {
            return tls::only(authorities.clone());
        }
        tls::config()
    }

    fn client(&self, url: &Url) -> &reqwest::Client {
        let Clients { public, inside, plain, .. } = &*self.clients;
        if url.scheme() == "http" {
            // The client wants a configuration, and plain http trusts nobody.
            plain.get_or_init(|| {
                self.build(tls::only(RootCertStore::empty()), Resolver::only_inside(Arc::clone(&self.guard)))
            })
        } else if Guard::only_inside(url) {
            inside.get_or_init(|| self.build(self.trust(), Resolver::only_inside(Arc::clone(&self.guard))))
        } else {
            public.get_or_init(|| self.build(self.trust(), Resolver::new(Arc::clone(&self.guard))))
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that makes clients")]
    fn build(&self, tls: ClientConfig, resolver: Resolver) -> reqwest::Client {
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_LIMIT.min(self.timeout * 2 / 3))
            .pool_idle_timeout(IDLE_LIMIT)
            // A shared connection that died silently would swallow every call until the kernel gives it up.
            .http2_keep_alive_interval(PING_LIMIT)
            .http2_keep_alive_timeout(PING_LIMIT)
            .pool_max_idle_per_host(128)
            .dns_resolver(resolver)
            .user_agent(concat!("Recado/", env!("CARGO_PKG_VERSION")));
        builder.build().expect("the client is built from constants")
    }

    /// A request to an address whose literal host passes the guard; names are judged when they resolve.
    pub fn request(&self, method: Method, url: &Url) -> Request<'_> {
        let request = reqwest::Request::new(method, url.clone());
        Request { http: self, request, deadline: Instant::now() + self.timeout }
    }

    pub fn get(&self, url: &Url) -> Request<'_> {
        self.request(Method::GET, url)
    }

    pub fn post(&self, url: &Url) -> Request<'_> {
        self.request(Method::POST, url)
    }
}

impl Request<'_> {
    /// Sets a header, replacing one of the same name.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.request.headers_mut().insert(name, value);
        self
    }

    /// Sets headers that were prepared; each replaces those of its name.
    pub fn headers(mut self, headers: &HeaderMap) -> Self {
        self.request.headers_mut().extend(headers.clone());
        self
    }

    pub fn json(self, body: &impl serde::Serialize) -> Self {
        let bytes = serde_json::to_vec(body).expect("plugin bodies are plain data");
        self.header(CONTENT_TYPE, HeaderValue::from_static("application/json")).body(bytes)
    }

    pub fn body(mut self, body: impl Into<reqwest::Body>) -> Self {
        *self.request.body_mut() = Some(body.into());
        self
    }

    /// Ends the call at this moment, should its own time last longer. An answer whose head has come by then is one.
    pub fn by(self, deadline: Instant) -> Self {
        Self { deadline: self.deadline.min(deadline), ..self }
    }

    /// Makes the call, once.
    pub async fn send(self) -> Result<Answer, SendError> {
        self.send_reading(BODY_LIMIT).await
    }

    /// As [`Request::send`], for something to be fetched rather than said: reads up to `limit` bytes of the body.
    pub async fn send_reading(self, limit: usize) -> Result<Answer, SendError> {
        let Self { http, request, deadline } = self;
        http.guard.check_literal(request.url())?;
        let client = http.client(request.url());
        let mut response = match timeout_at(deadline, client.execute(request)).await {
            Err(_) => return Err(SendError::unknown("timeout", "no answer in time")),
            Ok(Err(e)) => return Err(transport_error(&e)),
            Ok(Ok(response)) => response,
        };
        let mut body = Bytes::new();
        let complete = timeout_at(deadline, read_body(&mut response, &mut body, limit)).await.unwrap_or(false);
        let headers = std::mem::take(response.headers_mut());
        Ok(Answer { status: response.status().as_u16(), headers, body, complete })
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
        let said = || format!("the provider answered {status}");
        let error = match (status, self.retry_after()) {
            (200..=299, _) => return Ok(()),
            (300..=399, _) => SendError::rejected("redirect_not_followed", said()),
            (429, after) => SendError::throttled(after, "rate_limited", said()),
            (503, Some(after)) => {
                SendError::throttled(Some(after), "unavailable", "the provider answered 503 with Retry-After")
            }
            (401 | 403, _) => SendError::rejected("unauthorized", said()).hint(Hint::Misconfigured),
            (400..=499, _) => SendError::rejected("refused", said()),
            _ => SendError::unknown("provider_error", said()),
        };
        Err(error.status(status))
    }

    /// `Retry-After`, in seconds or as a date, at most 24 h; a malformed or negative one is as good as none.
    #[expect(clippy::disallowed_methods, reason = "a date in an answer is compared with the real time")]
    pub fn retry_after(&self) -> Option<Duration> {
        let value = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        let after = if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
            value.parse().map_or(RETRY_AFTER_LIMIT, Duration::from_secs)
        } else {
            // A date that has passed asks for no wait.
            httpdate::parse_http_date(value).ok()?.duration_since(SystemTime::now()).unwrap_or_default()
        };
        Some(after.min(RETRY_AFTER_LIMIT))
    }
}

impl Answer {
    /// A moment of our clock as the provider's clock showed it, judged by the date of this answer, which just came; two
    /// seconds earlier, for what the rounding of both may lose. What they list by their time is compared with it.
    #[expect(clippy::disallowed_methods, reason = "the provider's clock is a real one")]
    pub fn by_their_clock(&self, ours: SystemTime) -> SystemTime {
        let now = SystemTime::now();
        let date = self.headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
        let shifted = match date.unwrap_or(now).duration_since(now) {
            Ok(ahead) => ours.checked_add(ahead),
            Err(behind) => ours.checked_sub(behind.duration()),
        };
        shifted.and_then(|time| time.checked_sub(Duration::from_secs(2))).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// Neither headers nor body: both may hold what no log should.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("bytes", &self.body.len())
            .field("complete", &self.complete)
            .finish_non_exhaustive()
    }
}

/// Reads up to the limit into `body`; true if the end came before it. The usual one-piece answer is not copied.
async fn read_body(response: &mut reqwest::Response, body: &mut Bytes, limit: usize) -> bool {
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.is_empty() && chunk.len() <= limit => *body = chunk,
            Ok(Some(chunk)) => {
                let room = limit - body.len();
                let mut whole = BytesMut::from(std::mem::take(body));
                whole.extend_from_slice(&chunk[..chunk.len().min(room)]);
                *body = whole.freeze();
                if chunk.len() > room {
                    return false;
                }
            }
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// Says only what kind of failure it was: the error's own text names the URL.
fn transport_error(e: &reqwest::Error) -> SendError {
    let first: &(dyn Error + 'static) = e;
    let chain = || std::iter::successors(Some(first), |&e| e.source());
    if let Some(ours) = chain().find_map(|e| e.downcast_ref::<SendError>()) {
        return ours.clone();
    }
    if chain().any(is_tls) && e.is_connect() {
        return SendError::not_sent(
            "tls_failed",
            "no trusted TLS connection: check the provider's certificate and name",
        );
    }
    if e.is_connect() {
        return SendError::not_sent("connect_failed", "could not connect to the provider");
    }
    if e.is_builder() {
        return SendError::not_sent("invalid_request", "the request could not be built");
    }
    SendError::unknown("connection_lost", "the connection broke before an answer came")
}

/// An I/O error hides what it wraps from the chain of sources.
fn is_tls(e: &(dyn Error + 'static)) -> bool {
    let wrapped = || e.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    e.is::<rustls::Error>() || wrapped().is_some_and(|inner| is_tls(inner))
}
