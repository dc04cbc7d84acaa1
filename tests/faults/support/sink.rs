//! A receiver that takes every message and counts by `webhook-id`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use tokio::sync::watch;

#[derive(Clone)]
pub struct Sink {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    taken: Mutex<Taken>,
    /// Below this many messages nobody is answered.
    answers_from: watch::Sender<usize>,
    total: watch::Sender<usize>,
    slow: Mutex<Duration>,
}

#[derive(Default)]
struct Taken {
    by_id: HashMap<String, usize>,
    last: Option<Instant>,
    longest_pause: Duration,
}

impl Sink {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::listen(listener)
    }

    /// Starts where somebody expects it.
    pub async fn start_at(address: SocketAddr) -> Self {
        Self::listen(tokio::net::TcpListener::bind(address).await.unwrap())
    }

    fn listen(listener: tokio::net::TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            taken: Mutex::default(),
            answers_from: watch::Sender::new(0),
            total: watch::Sender::new(0),
            slow: Mutex::default(),
        });
        let router = Router::new().fallback(take).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}/in", self.address)
    }

    /// Answers nobody before so many messages are here.
    pub fn answer_from(&self, messages: usize) {
        self.shared.answers_from.send_replace(messages);
    }

    /// Takes so long for each answer.
    pub fn slow_down(&self, by: Duration) {
        *self.shared.slow.lock().unwrap() = by;
    }

    /// How often this one came.
    pub fn taken(&self, id: &str) -> usize {
        self.shared.taken.lock().unwrap().by_id.get(id).copied().unwrap_or_default()
    }

    pub fn total(&self) -> usize {
        *self.shared.total.borrow()
    }

    pub fn ids(&self) -> Vec<String> {
        self.shared.taken.lock().unwrap().by_id.keys().cloned().collect()
    }

    /// The longest time between two messages since this was asked last.
    pub fn longest_pause(&self) -> Duration {
        let mut taken = self.shared.taken.lock().unwrap();
        taken.last = None;
        std::mem::take(&mut taken.longest_pause)
    }

    /// Waits until so many messages came in all.
    pub async fn has(&self, messages: usize, patience: Duration) {
        let mut total = self.shared.total.subscribe();
        let came = tokio::time::timeout(patience, total.wait_for(|total| *total >= messages)).await.is_ok();
        assert!(came, "{} of {messages} messages came within {patience:?}", self.total());
    }
}

async fn take(State(shared): State<Arc<Shared>>, method: Method, headers: HeaderMap, _: Bytes) -> StatusCode {
    if method != Method::POST {
        return StatusCode::OK;
    }
    let id = headers.get("webhook-id").map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
    {
        let mut taken = shared.taken.lock().unwrap();
        *taken.by_id.entry(id).or_default() += 1;
        let since_last = taken.last.replace(Instant::now()).map(|last| last.elapsed()).unwrap_or_default();
        taken.longest_pause = taken.longest_pause.max(since_last);
    }
    shared.total.send_modify(|total| *total += 1);
    let slow = *shared.slow.lock().unwrap();
    if !slow.is_zero() {
        tokio::time::sleep(slow).await;
    }
    let mut wanted = shared.answers_from.subscribe();
    let mut total = shared.total.subscribe();
    loop {
        if *total.borrow_and_update() >= *wanted.borrow_and_update() {
            return StatusCode::OK;
        }
        tokio::select! {
            _ = total.changed() => {}
            _ = wanted.changed() => {}
        }
    }
}
