//! A provider that holds every call until it is let through, and remembers how many overlapped.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};

#[derive(Clone)]
pub struct Gate {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    /// Finds in a body what the calls are counted by.
    key: fn(&str) -> Option<String>,
    answer: StatusCode,
    through: Semaphore,
    changed: Notify,
    calls: Mutex<HashMap<String, Calls>>,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Calls {
    pub now: usize,
    pub most_at_once: usize,
    pub total: usize,
}

impl Gate {
    pub async fn start(answer: u16, key: fn(&str) -> Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            key,
            answer: StatusCode::from_u16(answer).unwrap(),
            through: Semaphore::new(0),
            changed: Notify::new(),
            calls: Mutex::default(),
        });
        let router = Router::new().fallback(hold).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, shared }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Lets so many held or coming calls through.
    pub fn let_through(&self, calls: usize) {
        self.shared.through.add_permits(calls);
    }

    pub fn open(&self) {
        self.let_through(1_000_000);
    }

    /// Takes back what nobody used.
    pub fn close(&self) {
        self.shared.through.forget_permits(usize::MAX >> 4);
    }

    pub fn calls(&self, key: &str) -> Calls {
        self.shared.calls.lock().unwrap().get(key).copied().unwrap_or_default()
    }

    pub fn held(&self) -> usize {
        self.shared.calls.lock().unwrap().values().map(|c| c.now).sum()
    }

    /// Waits until so many calls are held.
    pub async fn holds(&self, calls: usize) {
        let held = async {
            loop {
                let changed = self.shared.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.held() == calls {
                    return;
                }
                changed.await;
            }
        };
        let patience = Duration::from_secs(20);
        assert!(tokio::time::timeout(patience, held).await.is_ok(), "{} calls are held, not {calls}", self.held());
    }
}

async fn hold(State(shared): State<Arc<Shared>>, method: Method, body: String) -> (StatusCode, &'static str) {
    if method == Method::GET {
        // Nothing is made by looking; a Chatwoot server would say which inbox this is.
        return (StatusCode::OK, r#"{"id": 9, "name": "API", "channel_type": "Channel::Api"}"#);
    }
    let key = (shared.key)(&body).unwrap_or_default();
    {
        let mut calls = shared.calls.lock().unwrap();
        let calls = calls.entry(key.clone()).or_default();
        calls.now += 1;
        calls.total += 1;
        calls.most_at_once = calls.most_at_once.max(calls.now);
    }
    shared.changed.notify_waiters();
    shared.through.acquire().await.unwrap().forget();
    shared.calls.lock().unwrap().get_mut(&key).unwrap().now -= 1;
    shared.changed.notify_waiters();
    (shared.answer, "{}")
}
