//! Meta's Cloud API and Twilio for tests, written from the vendors' contracts: they know who wrote when and which forms
//! are approved, refuse what the real ones refuse, and sign and send callbacks. Where the contracts' OpenAPI documents
//! are at hand, every request, answer and callback is checked against them, and a breach fails the test when the
//! double is dropped.

mod meta;
mod twilio;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use plugin_api::Callback;
use plugin_api::conformance::loopback_host;
use plugin_api::http::Url;

pub use meta::{MetaDouble, Template};
pub use twilio::TwilioDouble;

/// When the doubles' clocks start, in Unix seconds.
const START: u64 = 1_753_900_000;

/// How long a person's message keeps the window open.
const WINDOW: u64 = 24 * 3600;

/// Posts a callback to its address, as the vendor would. The answer's status.
pub async fn deliver(callback: &Callback) -> u16 {
    let url = Url::parse(&callback.url).expect("callbacks have whole addresses");
    let host = loopback_host(Duration::from_secs(10));
    let request = host.http.request(callback.method.clone(), &url).headers(&callback.headers);
    let answer = request.body(callback.body.clone()).send().await;
    answer.expect("whoever asked for the callback listens").status
}

fn callback(method: http::Method, url: &str, headers: &[(&'static str, &str)], body: Vec<u8>, now: u64) -> Callback {
    let query = Url::parse(url).map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default();
    let header = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).expect("signatures are ASCII"))
    };
    Callback {
        method,
        url: url.to_owned(),
        query,
        headers: headers.iter().map(header).collect::<HeaderMap>(),
        body: body.into(),
        received_at: UNIX_EPOCH + Duration::from_secs(now),
    }
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fails the test that broke a contract, unless it fails already.
fn assert_none(breaches: &[String]) {
    if !std::thread::panicking() {
        assert!(breaches.is_empty(), "the contract was broken:\n{}", breaches.join("\n"));
    }
}
