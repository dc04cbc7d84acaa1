//! Notifications a second through the whole gateway in one process, beside bare inserts of the same bytes:
//!
//!     cargo bench --bench store -- 5000 5
//!
//! The arguments are notifications a round and rounds. `captured` ends in the sandbox, so it is the store alone: accept,
//! attempt, outcome. `delivered` ends at an HTTP server here. SQLite is always tried, PostgreSQL where
//! TEST_DATABASE_URL names one or one answers on 127.0.0.1:5432. Rounds are taken in turns; `x raw` is the median of
//! the rounds' ratios, and all that means anything on a busy machine.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/it/support/store.rs"]
#[allow(dead_code, reason = "shared with the tests, which need more of it")]
mod store;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{Method, Request, StatusCode};
use recado::app::App;
use recado::config::Config;
use recado::store::{Db, Engine};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Row};
use tokio::net::TcpListener;
use tower::ServiceExt;

use store::TestStore;

const OPERATOR_KEY: &str = "operator-key-of-the-benchmark";
/// Requests under way at once.
const CALLERS: usize = 64;
/// Rows a commit of the bare inserts.
const COMMIT: usize = 256;

fn main() {
    // Cargo adds a `--bench` of its own.
    let args: Vec<usize> =
        std::env::args().skip(1).filter(|a| !a.starts_with("--")).map(|a| a.parse().unwrap()).collect();
    let (count, rounds) = (args.first().copied().unwrap_or(5_000), args.get(1).copied().unwrap_or(5));
    tracing_subscriber::fmt().with_env_filter("error").with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        println!("{:<10} {:<28} {:>9} {:>7}", "store", "what", "a second", "x raw");
        measure(TestStore::sqlite(), count, rounds).await;
        if let Some(store) = TestStore::postgres().await {
            measure(store, count, rounds).await;
        }
    });
}

async fn measure(mut store: TestStore, count: usize, rounds: usize) {
    let gateway = Gateway::start(&store).await;
    let (mut raw, mut captured, mut accepted, mut delivered) = (vec![], vec![], vec![], vec![]);
    // The first round warms up.
    for round in 0..=rounds {
        let bare = insert_bare(&gateway.app.db, count).await;
        let (_, kept) = gateway.send("sms", count).await;
        let (taken, done) = gateway.send("webhook", count).await;
        if round > 0 {
            raw.push((bare, bare));
            captured.push((kept, bare));
            accepted.push((taken, bare));
            delivered.push((done, bare));
        }
    }
    let engine = gateway.app.db.engine.name();
    for (what, figures) in
        [("rows inserted bare", raw), ("captured", captured), ("accepted", accepted), ("delivered", delivered)]
    {
        let figure = median(figures.iter().map(|(own, _)| *own));
        let ratio = median(figures.iter().map(|(own, bare)| own / bare));
        println!("{engine:<10} {what:<28} {figure:>9.0} {ratio:>7.3}");
    }
    gateway.app.stop().await;
    gateway.app.db.pool.close().await;
    store.remove().await;
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn body(channel: &str) -> String {
    json!({
        "type": "appointment_reminder",
        "channel": channel,
        "to": {"phone": "33 1234 5678", "name": "Ana López", "email": "ana@example.com"},
        "data": {"appointmentDate": "mañana", "appointmentTime": "2:00 PM", "serviceName": "Manicure y Pedicure"},
    })
    .to_string()
}

/// The limit: one statement and one commit for many rows, each as long as a request's body.
async fn insert_bare(db: &Db, count: usize) -> f64 {
    let given = match db.engine {
        Engine::Sqlite => "json_each($1)",
        Engine::Postgres => "json_array_elements_text(cast($1 as json)) as given(value)",
    };
    let table = format!("bare_{}", uuid::Uuid::new_v4().simple());
    let run = async |sql: String, bind: Option<&str>| {
        let query = sqlx::query(AssertSqlSafe(sql));
        let query = if let Some(text) = bind { query.bind(text) } else { query };
        query.execute(&db.pool).await.unwrap();
    };
    run(format!("create table {table} (body text not null)"), None).await;
    let rows = vec![body("webhook"); COMMIT];
    let began = Instant::now();
    let mut left = count;
    while left > 0 {
        let batch = left.min(COMMIT);
        let text = serde_json::to_string(&rows[..batch]).unwrap();
        run(format!("insert into {table} (body) select value from {given}"), Some(&text)).await;
        left -= batch;
    }
    let rate = per_second(count, began);
    run(format!("drop table {table}"), None).await;
    rate
}

fn per_second(count: usize, began: Instant) -> f64 {
    count as f64 / began.elapsed().as_secs_f64()
}

/// The gateway with one tenant, and an HTTP server that takes everything.
struct Gateway {
    app: Arc<App>,
    router: Router,
    key: String,
    taken: Arc<AtomicUsize>,
}

impl Gateway {
    async fn start(store: &TestStore) -> Self {
        let app = App::build(config(store), None).await.unwrap();
        app.start().await.unwrap();
        app.run();
        let router = recado::http::router(Arc::clone(&app));
        let (taken, sink) = sink().await;
        let mut gateway = Self { app, router, key: OPERATOR_KEY.into(), taken };
        let tenant = gateway.ask(Method::POST, "/v1/tenants", &json!({"name": "Salón", "country": "MX"})).await;
        let keys = format!("/v1/tenants/{}/keys", tenant["id"].as_str().unwrap());
        let key = gateway.ask(Method::POST, &keys, &json!({"name": "bench", "scopes": ["send", "admin"]})).await;
        gateway.key = key["key"].as_str().unwrap().to_owned();
        gateway.ask(Method::PUT, "/v1/channels/sms", &json!({"provider": "sandbox"})).await;
        let secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
        let settings = json!({"url": format!("http://{sink}/in"), "secret": secret});
        gateway.ask(Method::PUT, "/v1/channels/webhook", &json!({"provider": "webhook", "settings": settings})).await;
        gateway
    }

    /// Sends so many; answers how many a second were accepted, and how many went all the way.
    async fn send(&self, channel: &str, count: usize) -> (f64, f64) {
        let body = body(channel);
        let taken_before = self.taken.load(Relaxed);
        let began = Instant::now();
        let next = AtomicUsize::new(0);
        let caller = async || {
            while next.fetch_add(1, Relaxed) < count {
                self.post(Method::POST, "/v1/notify", body.clone()).await;
            }
        };
        futures_util::future::join_all((0..CALLERS).map(|_| caller())).await;
        let accepted = per_second(count, began);
        while self.unfinished().await > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let finished = per_second(count, began);
        if channel == "webhook" {
            assert_eq!(self.taken.load(Relaxed) - taken_before, count, "each notification is delivered once");
        }
        (accepted, finished)
    }

    /// Counts in the index of what still waits, so that it costs little.
    async fn unfinished(&self) -> i64 {
        let sql = "select count(*) from notifications where due_at is not null";
        sqlx::query(sql).fetch_one(&self.app.db.pool).await.unwrap().get(0)
    }

    async fn ask(&self, method: Method, path: &str, body: &Value) -> Value {
        serde_json::from_slice(&self.post(method, path, body.to_string()).await).unwrap()
    }

    async fn post(&self, method: Method, path: &str, body: String) -> Vec<u8> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/json")
            .body(Body::from(body))
            .unwrap();
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        assert!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&body));
        body.to_vec()
    }
}

async fn sink() -> (Arc<AtomicUsize>, SocketAddr) {
    let taken = Arc::new(AtomicUsize::new(0));
    let count = async |State(taken): State<Arc<AtomicUsize>>, _body: axum::body::Bytes| {
        taken.fetch_add(1, Relaxed);
        StatusCode::OK
    };
    let router = Router::new().fallback(count).with_state(Arc::clone(&taken));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (taken, address)
}

fn config(store: &TestStore) -> Config {
    let text = format!(
        "[store]\nurl = \"{}\"\n[auth]\noperator_key = \"{OPERATOR_KEY}\"\n[secrets]\nkey_file = \"{}\"\n\
         [outbound]\nallow = [\"127.0.0.0/8\"]\nallow_http = true\n",
        store.url,
        store.folder.path().join("recado.key").display(),
    );
    Config::from_text(Some((Path::new("config.toml"), &text)), []).unwrap()
}
