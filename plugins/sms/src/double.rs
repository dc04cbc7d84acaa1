//! Twilio, Vonage and Infobip for tests, written from their contracts: they keep what they take, refuse what the real
//! ones refuse, can be told to fail, and sign what they report. Where Twilio's OpenAPI document is at hand, every
//! request, answer and callback is checked against it; a breach fails the test when the double is dropped.

mod infobip;
mod twilio;
mod vonage;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use plugin_api::Callback;
use plugin_api::conformance::{Behaviour, HttpDouble, Reply, Seen};
use plugin_api::http::Url;
use serde_json::Value;

pub use infobip::Infobip;
pub use twilio::Twilio;
pub use vonage::{Encoding, Vonage};

/// One message as a vendor holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// The vendor's id.
    pub id: String,
    /// As it came over the wire.
    pub to: String,
    /// As it came; empty where a messaging service chooses.
    pub from: String,
    pub text: String,
    /// Where reports are to go.
    pub callback: Option<String>,
    /// Our own id of the message, where the vendor takes one.
    pub reference: Option<String>,
}

/// What the next message is answered with instead of the truth.
#[derive(Debug, Clone)]
pub enum Fault {
    /// No effect, and this answer.
    Answer(u16, Value),
    /// The message is taken, then this answer comes.
    TakeThen(u16, Value),
}

/// What a vendor knows and does, behind the server that all three share.
trait Vendor: Send + 'static {
    /// Whether a request is one that would make a message.
    fn makes_message(seen: &Seen) -> bool;

    /// The truthful answer, with all its effects.
    fn answer(&mut self, seen: &Seen) -> Reply;

    /// How this vendor refuses a message, too many calls, or credentials; the latter also on requests that make no
    /// message. `None` where the status alone says it.
    fn refusal(&self, behaviour: Behaviour, makes_message: bool) -> Option<Reply>;

    /// Breaches of the contract since the last call.
    fn breaches(&mut self) -> Vec<String> {
        vec![]
    }
}

struct Server<V: Vendor> {
    http: HttpDouble,
    shared: Arc<Mutex<Shared<V>>>,
}

struct Shared<V> {
    vendor: V,
    faults: VecDeque<Fault>,
}

impl<V: Vendor> Server<V> {
    async fn start(vendor: V) -> Self {
        let shared = Arc::new(Mutex::new(Shared { vendor, faults: VecDeque::new() }));
        let answering = Arc::clone(&shared);
        let reply = move |behaviour: Behaviour, seen: &Seen| lock(&answering).reply(behaviour, seen);
        Self { http: HttpDouble::with(V::makes_message, reply).await, shared }
    }

    fn state(&self) -> MutexGuard<'_, Shared<V>> {
        lock(&self.shared)
    }

    fn fail_next(&self, fault: Fault) {
        self.state().faults.push_back(fault);
    }
}

impl<V: Vendor> Shared<V> {
    fn reply(&mut self, behaviour: Behaviour, seen: &Seen) -> Option<Reply> {
        let makes = V::makes_message(seen);
        match behaviour {
            Behaviour::Unauthorized => self.vendor.refusal(behaviour, makes),
            Behaviour::Refuse | Behaviour::Throttle(_) if makes => self.vendor.refusal(behaviour, makes),
            Behaviour::Redirect(_) if makes => None,
            // Taken, in an answer that the server breaks or makes meaningless.
            _ if makes && behaviour != Behaviour::Accept => {
                self.vendor.answer(seen);
                None
            }
            _ => Some(match if makes { self.faults.pop_front() } else { None } {
                None => self.vendor.answer(seen),
                Some(Fault::Answer(status, body)) => Reply::json(status, &body),
                Some(Fault::TakeThen(status, body)) => {
                    self.vendor.answer(seen);
                    Reply::json(status, &body)
                }
            }),
        }
    }
}

impl<V: Vendor> Drop for Server<V> {
    fn drop(&mut self) {
        let breaches = self.state().vendor.breaches();
        if !std::thread::panicking() {
            assert!(breaches.is_empty(), "the contract was broken:\n{}", breaches.join("\n"));
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request as a vendor would make it.
fn callback(method: Method, url: &str, headers: &[(&'static str, &str)], body: Vec<u8>, at: SystemTime) -> Callback {
    let parsed = Url::parse(url).expect("a hook has an absolute address");
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).expect("the double writes plain headers");
        map.insert(HeaderName::from_static(name), value);
    }
    Callback {
        method,
        url: url.to_owned(),
        query: parsed.query_pairs().into_owned().collect(),
        headers: map,
        body: body.into(),
        received_at: at,
    }
}

fn encoded(fields: &[(String, String)]) -> Vec<u8> {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish().into_bytes()
}

fn owned<const N: usize>(fields: [(&str, &str); N]) -> Vec<(String, String)> {
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

/// User and password of `Authorization: Basic`.
fn basic(seen: &Seen) -> Option<(String, String)> {
    use base64::Engine;
    let encoded = seen.header("authorization")?.strip_prefix("Basic ")?;
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
    let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Path and decoded query.
fn target(seen: &Seen) -> (&str, Vec<(String, String)>) {
    let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
    (path, crate::form::pairs(query.as_bytes()))
}

#[expect(clippy::disallowed_methods, reason = "doubles of real servers")]
fn now() -> SystemTime {
    SystemTime::now()
}
