//! Callers that never give up: each request has an Idempotency-Key and is repeated until it is answered.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use uuid::Uuid;

use super::{Shop, eventually, note, pause};

/// What was accepted, and for whom.
#[derive(Default)]
pub struct Ledger {
    accepted: Mutex<Vec<(usize, String)>>,
    shops: Mutex<Vec<Shop>>,
}

impl Ledger {
    pub fn add_shop(&self, shop: Shop) -> usize {
        let mut shops = self.shops.lock().unwrap();
        shops.push(shop);
        shops.len() - 1
    }

    pub fn accepted(&self, shop: usize, id: String) {
        self.accepted.lock().unwrap().push((shop, id));
    }

    /// Each accepted notification with the shop that sent it.
    pub fn entries(&self) -> Vec<(Shop, String)> {
        let shops = self.shops.lock().unwrap();
        self.accepted.lock().unwrap().iter().map(|(shop, id)| (shops[*shop].clone(), id.clone())).collect()
    }

    pub fn len(&self) -> usize {
        self.accepted.lock().unwrap().len()
    }
}

pub struct Load {
    pub ledger: Arc<Ledger>,
    shared: Arc<Shared>,
    workers: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    addresses: Mutex<Vec<SocketAddr>>,
    /// Only the youngest shops are used.
    lately: usize,
    turn: AtomicUsize,
    repeats: AtomicUsize,
    replayed: AtomicUsize,
    /// Requests under way.
    calling: AtomicUsize,
}

impl Load {
    /// So many callers, each with a short rest between two requests, for the `lately` youngest shops of the ledger.
    pub fn start(callers: usize, rest: Duration, lately: usize) -> Self {
        let shared = Arc::new(Shared { lately, ..Shared::default() });
        let ledger = Arc::new(Ledger::default());
        let mut workers = JoinSet::new();
        for _ in 0..callers {
            workers.spawn(work(Arc::clone(&shared), Arc::clone(&ledger), rest));
        }
        Self { ledger, shared, workers }
    }

    /// Whom to call from now on.
    pub fn call_at(&self, addresses: &[SocketAddr]) {
        *self.shared.addresses.lock().unwrap() = addresses.to_vec();
    }

    /// Nobody calls any more, and everybody has an answer.
    pub async fn rest(&self) {
        self.call_at(&[]);
        let calling = || async { self.shared.calling.load(Ordering::SeqCst) == 0 };
        eventually("every caller has an answer", Duration::from_secs(30), calling).await;
    }

    /// Lets every caller come to its answer. Tells how often one had to repeat, and how often the first answer came back.
    pub async fn stop(mut self) -> (Arc<Ledger>, usize, usize) {
        self.shared.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.workers.join_next().await {
            ended.unwrap();
        }
        let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        (Arc::clone(&self.ledger), count(&self.shared.repeats), count(&self.shared.replayed))
    }
}

async fn work(shared: Arc<Shared>, ledger: Arc<Ledger>, rest: Duration) {
    while !shared.stop.load(Ordering::SeqCst) {
        let turn = shared.turn.fetch_add(1, Ordering::SeqCst);
        let chosen = {
            let shops = ledger.shops.lock().unwrap();
            let young = shops.len().saturating_sub(shared.lately);
            let at = young + turn % shared.lately.min(shops.len()).max(1);
            shops.get(at).cloned().map(|shop| (at, shop))
        };
        if let Some((at, shop)) = chosen {
            let id = post(&shared, &shop, turn).await;
            ledger.accepted(at, id);
        }
        pause(rest).await;
    }
}

async fn post(shared: &Shared, shop: &Shop, turn: usize) -> String {
    let (key, mut body) = (Uuid::new_v4().to_string(), note("Hola"));
    if turn.is_multiple_of(3) {
        body["category"] = "marketing".into();
    }
    for nth in turn.. {
        let address = {
            let addresses = shared.addresses.lock().unwrap();
            let address = (!addresses.is_empty()).then(|| addresses[nth % addresses.len()]);
            shared.calling.fetch_add(usize::from(address.is_some()), Ordering::SeqCst);
            address
        };
        let Some(address) = address else {
            pause(Duration::from_millis(20)).await;
            continue;
        };
        let answer = shop.api.at(address).notify_once(&key, &body).await;
        shared.calling.fetch_sub(1, Ordering::SeqCst);
        match answer {
            Ok(answer) if answer.status == 202 => {
                shared.replayed.fetch_add(usize::from(answer.replayed), Ordering::SeqCst);
                return answer.id();
            }
            // The connection broke, or the server can't say: the key makes it safe to repeat.
            Ok(answer) if matches!(answer.status, 409 | 503) => {}
            Ok(answer) => panic!("{} {}", answer.status, answer.body),
            Err(_) => {}
        }
        shared.repeats.fetch_add(1, Ordering::SeqCst);
        pause(Duration::from_millis(20)).await;
    }
    unreachable!("it is repeated for ever");
}
