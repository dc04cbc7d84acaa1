//! Random lives of notifications: whatever happens to them in whatever order, the promises hold, and both databases
//! end in the same state.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plugin_api::conformance::{Behaviour, HttpDouble, Reply};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use crate::support::{Shop, TestApp, TestStore};

/// Something that happens. Numbers choose among the notifications there are.
#[derive(Debug, Clone)]
enum Event {
    Accept {
        marketing: bool,
        later: bool,
        expires: bool,
        dedupe: Option<u8>,
    },
    Cancel(usize),
    Retry(usize),
    Suppress(u8),
    Lift(u8),
    Behave(Answer),
    Channel(bool),
    /// Time passes, in so many steps, and what falls due is sent.
    Pass(u8),
    /// The server is down for eight hours.
    Down,
    Restart,
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Accept,
    Refuse,
    Throttle,
    Break,
}

fn event() -> impl Strategy<Value = Event> {
    let accept = (any::<bool>(), any::<bool>(), any::<bool>(), proptest::option::of(0..2_u8));
    prop_oneof![
        6 => accept.prop_map(|(marketing, later, expires, dedupe)| Event::Accept { marketing, later, expires, dedupe }),
        2 => (0..20_usize).prop_map(Event::Cancel),
        2 => (0..20_usize).prop_map(Event::Retry),
        1 => (0..3_u8).prop_map(Event::Suppress),
        1 => (0..3_u8).prop_map(Event::Lift),
        3 => prop_oneof![Just(Answer::Accept), Just(Answer::Refuse), Just(Answer::Throttle), Just(Answer::Break)]
            .prop_map(Event::Behave),
        1 => any::<bool>().prop_map(Event::Channel),
        4 => prop_oneof![Just(1_u8), Just(4), Just(60)].prop_map(Event::Pass),
        1 => Just(Event::Down),
        1 => Just(Event::Restart),
    ]
}

/// What may be told apart from outside at the end; ids are numbered in the order of acceptance.
type End = BTreeMap<usize, (String, Value, Vec<String>, usize)>;

struct Life {
    app: Option<TestApp>,
    shop: Shop,
    sink: HttpDouble,
    calls: Arc<Mutex<Vec<String>>>,
    ids: Vec<String>,
    ended: BTreeMap<String, String>,
}

const TERMINAL: [&str; 5] = ["sent", "failed", "expired", "suppressed", "cancelled"];

impl Life {
    async fn begin(store: TestStore) -> Self {
        let app = TestApp::with(store, &[]).await;
        let calls: Arc<Mutex<Vec<String>>> = Arc::default();
        let sink = HttpDouble::with(|seen| seen.method == "POST", {
            let calls = Arc::clone(&calls);
            move |behaviour, seen| {
                calls.lock().unwrap().push(seen.header("webhook-id").unwrap_or_default().to_owned());
                // The wait is the provider's, so that both databases wait alike.
                (behaviour == Behaviour::Throttle(None)).then(|| Reply::new(429, "{}").header("retry-after", "600"))
            }
        })
        .await;
        let shop = Shop::bare(&app, "Salón Uno").await;
        shop.sandbox("sms").await;
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        shop.set("webhook", json!({"provider": "webhook", "settings": {"url": sink.url("/in"), "secret": secret}}))
            .await;
        Self { app: Some(app), shop, sink, calls, ids: vec![], ended: BTreeMap::new() }
    }

    fn app(&self) -> &TestApp {
        self.app.as_ref().unwrap()
    }

    async fn happen(&mut self, event: &Event) {
        match event {
            Event::Accept { marketing, later, expires, dedupe } => {
                self.accept(*marketing, *later, *expires, *dedupe).await;
            }
            Event::Cancel(n) => self.act(*n, "cancel").await,
            Event::Retry(n) => self.act(*n, "retry").await,
            Event::Suppress(n) => {
                let address = json!({"address": phone(usize::from(*n)), "category": "all"});
                self.shop.post("/v1/suppressions", &address).await.expect(201);
            }
            Event::Lift(n) => {
                let answer = self.shop.delete(&format!("/v1/suppressions/{}", phone(usize::from(*n)))).await;
                assert!(matches!(answer.status, 204 | 404), "{}", answer.text());
            }
            Event::Behave(answer) => self.sink.behave(match answer {
                Answer::Accept => Behaviour::Accept,
                Answer::Refuse => Behaviour::Refuse,
                Answer::Throttle => Behaviour::Throttle(None),
                Answer::Break => Behaviour::ServerError(500),
            }),
            Event::Channel(on) => drop(self.shop.set("webhook", json!({"enabled": on})).await),
            Event::Pass(steps) => self.pass(*steps).await,
            Event::Down => self.app().clock.advance(Duration::from_hours(8)),
            Event::Restart => {
                let app = self.app.take().unwrap().restart().await;
                self.shop.moved_to(&app);
                self.app = Some(app);
            }
        }
    }

    async fn accept(&mut self, marketing: bool, later: bool, expires: bool, dedupe: Option<u8>) {
        let now = self.app().now();
        let at = |minutes: u64| now.plus(Duration::from_mins(minutes)).to_string();
        let mut body = json!({
            "type": "note", "message": "Hola", "to": {"phone": phone(self.ids.len() % 3)},
            "channels": if self.ids.len().is_multiple_of(2) { json!(["webhook", "sms"]) } else { json!(["sms"]) },
            "category": if marketing { "marketing" } else { "transactional" },
        });
        if later {
            body["sendAt"] = json!(at(20));
        }
        if expires {
            body["expiresAt"] = json!(at(60));
        }
        if let Some(key) = dedupe {
            body["dedupeKey"] = json!(format!("k{key}"));
        }
        let answer = self.shop.post("/v1/notify", &body).await.expect(202);
        let item = &answer["notifications"][0];
        if item["reason"] != "duplicate" {
            self.ids.push(item["id"].as_str().unwrap().to_owned());
        }
        // Everything under way comes to rest before the next thing happens: the order is part of what is compared.
        self.app().deliver_due().await;
    }

    async fn act(&mut self, n: usize, what: &str) {
        let Some(id) = self.ids.get(n) else { return };
        let before = self.calls_for(id);
        let answer = self.shop.post(&format!("/v1/notifications/{id}/{what}"), &json!({})).await;
        assert!(matches!(answer.status, 200 | 409), "{}: {}", answer.what, answer.text());
        if what == "retry" && answer.status == 200 {
            // Only a person revives what has failed.
            assert_eq!(self.ended.remove(id).as_deref().unwrap_or("failed"), "failed");
        }
        if what == "cancel" && answer.status == 200 {
            assert_eq!(before, 0, "{id} was handed over and cancelled all the same");
        }
        self.app().deliver_due().await;
    }

    async fn pass(&mut self, steps: u8) {
        for _ in 0..steps {
            // Longer than any delay that is drawn by lot, so that lots don't matter.
            self.app().advance(Duration::from_mins(7)).await;
        }
        self.keeps_its_promises().await;
    }

    fn calls_for(&self, id: &str) -> usize {
        self.calls.lock().unwrap().iter().filter(|c| *c == id).count()
    }

    async fn keeps_its_promises(&mut self) {
        for id in &self.ids {
            let found = self.shop.find(id).await;
            let status = found["status"].as_str().unwrap();
            // P12: an end is an end.
            if let Some(ended) = self.ended.get(id) {
                assert_eq!(ended, status, "{id} moved on from its end: {found}");
            }
            if TERMINAL.contains(&status) {
                self.ended.insert(id.clone(), status.to_owned());
                assert_eq!(found["dueAt"], Value::Null, "{found}");
            } else if status != "unknown" {
                // P2: whatever waits has a next moment.
                assert!(found["dueAt"].is_string(), "{found}");
            }
            // P3: no call without its attempt.
            let attempts = found["attempts"].as_array().unwrap();
            let through_webhook = attempts.iter().filter(|a| a["channel"] == "webhook").count();
            assert_eq!(self.calls_for(id), through_webhook, "{found}");
            if status == "sent" {
                assert_eq!(attempts.iter().filter(|a| a["outcome"] == "accepted").count(), 1, "{found}");
            }
            if matches!(status, "cancelled" | "suppressed") {
                assert!(attempts.iter().all(|a| a["outcome"] != "accepted"), "{found}");
            }
        }
    }

    async fn end(mut self) -> End {
        self.pass(4).await;
        let mut end = End::new();
        for (n, id) in self.ids.iter().enumerate() {
            let found = self.shop.find(id).await;
            let outcomes = found["attempts"].as_array().unwrap().iter();
            let outcomes = outcomes.map(|a| format!("{} {}", a["channel"], a["outcome"])).collect();
            let status = found["status"].as_str().unwrap().to_owned();
            end.insert(n, (status, found["reason"].clone(), outcomes, self.calls_for(id)));
        }
        self.app().may_leave_work();
        end
    }
}

fn phone(n: usize) -> String {
    format!("+52331234567{n}")
}

async fn live(store: TestStore, events: &[Event]) -> End {
    let mut life = Life::begin(store).await;
    for event in events {
        life.happen(event).await;
    }
    life.end().await
}

#[test]
fn random_lives_keep_the_promises_and_end_alike_on_both_databases() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 40, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let lives = proptest::collection::vec(event(), 5..25);
    runner
        .run(&lives, |events| {
            // A panic fails the case, and proptest looks for a shorter one.
            runtime.block_on(async {
                let on_sqlite = live(TestStore::sqlite(), &events).await;
                if let Some(store) = TestStore::postgres().await {
                    assert_eq!(on_sqlite, live(store, &events).await);
                }
            });
            Ok(())
        })
        .unwrap();
}
