//! What a channel written as a script costs beside its native twin, the webhook:
//!
//!     cargo bench --bench twin -- 5000 7
//!
//! The arguments are messages a round and rounds. `calls` are the bare ones, made with the real client over connections
//! that are kept, on the threads where the gateway makes them; `gateway` goes all the way, from `/v1/notify` to the stored
//! outcome, on SQLite: one by one, each waiting for the last one's outcome (`Prefer: wait`), and 64 at once, which is as
//! fast as it goes. The receiver is a process of its own and the same for both. `ratio` is the script's time per message
//! to the native channel's, `CPU` the same of this process's time on the processors: medians of rounds taken in turns.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/it/support/store.rs"]
#[allow(dead_code, reason = "shared with the tests, which need more of it")]
mod store;

/// The server's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode};
use plugin_api::conformance::{loopback_host, sample_message};
use plugin_api::{Channel, Message, Plugin, Settings};
use recado::app::App;
use recado::config::Config;
use recado::plugins::{ScriptPlugin, read_folder};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::ServiceExt;

use store::TestStore;

const OPERATOR_KEY: &str = "operator-key-of-the-benchmark";
const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
/// Calls under way at once.
const CALLERS: usize = 64;

fn main() {
    let runtime = recado::runtime::gateway().unwrap();
    if std::env::args().any(|argument| argument == "--receive") {
        return runtime.block_on(receive());
    }
    // Cargo adds a `--bench` of its own.
    let args: Vec<usize> =
        std::env::args().skip(1).filter(|a| !a.starts_with("--")).map(|a| a.parse().unwrap()).collect();
    let (count, rounds) = (args.first().copied().unwrap_or(5_000), args.get(1).copied().unwrap_or(7));
    tracing_subscriber::fmt().with_env_filter("error").with_writer(std::io::stderr).init();
    runtime.block_on(async {
        let (mut receiver, url) = start_receiver();
        println!("{:<20} {:>12} {:>12} {:>7} {:>7}", "what", "native", "script", "ratio", "CPU");
        calls(&url, count, rounds).await;
        gateway(&url, count, rounds).await;
        receiver.kill().unwrap();
        receiver.wait().unwrap();
    });
}

/// Takes everything, until it is killed.
async fn receive() {
    let router = Router::new().fallback(async |_: axum::body::Bytes| StatusCode::OK);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("http://{}/in", listener.local_addr().unwrap());
    axum::serve(listener, router).await.unwrap();
}

fn start_receiver() -> (Child, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let mut receiver = command.arg("--receive").stdout(Stdio::piped()).spawn().unwrap();
    let mut url = String::new();
    BufReader::new(receiver.stdout.take().unwrap()).read_line(&mut url).unwrap();
    (receiver, url.trim().to_owned())
}

/// Seconds and seconds of processor a message took.
type Cost = (f64, f64);

struct Stopwatch(Instant, Duration);

impl Stopwatch {
    fn start() -> Self {
        Self(Instant::now(), on_the_processors())
    }

    fn per_message(&self, count: usize) -> Cost {
        let worked = on_the_processors().saturating_sub(self.1);
        (self.0.elapsed().as_secs_f64() / count as f64, worked.as_secs_f64() / count as f64)
    }
}

fn on_the_processors() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // After the name, which may hold anything: the 12th and 13th fields, in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    Duration::from_millis((11..13).map(|n| fields[n].parse::<u64>().unwrap()).sum::<u64>() * 10)
}

/// The first round warmed up.
fn print(what: &str, native: &[Cost], script: &[Cost]) {
    let median = |mut figures: Vec<f64>| {
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    let (native, script) = (&native[1..], &script[1..]);
    let time = |costs: &[Cost]| median(costs.iter().map(|c| c.0 * 1e6).collect());
    let ratio = |of: fn(&Cost) -> f64| median(native.iter().zip(script).map(|(n, s)| of(s) / of(n)).collect());
    println!(
        "{what:<20} {:>9.2} µs {:>9.2} µs {:>7.2} {:>7.2}",
        time(native),
        time(script),
        ratio(|c| c.0),
        ratio(|c| c.1)
    );
}

fn twin() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plugins/webhook")
}

async fn calls(url: &str, count: usize, rounds: usize) {
    let settings = json!({"url": url, "secret": SECRET, "headers": {"X-Source": "recado"}});
    let settings = Settings(settings.as_object().unwrap().clone());
    let host = loopback_host(Duration::from_secs(20));
    let script: ScriptPlugin = read_folder(&twin()).unwrap();
    let native = plugin_webhook::plugin().open("webhook", &settings, &host).unwrap();
    let script = script.open("webhook", &settings, &host).unwrap();
    for (what, callers, count) in [("calls, one by one", 1, count / 4), ("calls, 64 at once", CALLERS, count)] {
        let (mut natives, mut scripts) = (vec![], vec![]);
        for _ in 0..=rounds {
            natives.push(call(&native, callers, count).await);
            scripts.push(call(&script, callers, count).await);
        }
        print(what, &natives, &scripts);
    }
}

async fn call(channel: &Arc<dyn Channel>, callers: usize, count: usize) -> Cost {
    let message = Arc::new(Message { html: None, ..sample_message("webhook") });
    let next = Arc::new(AtomicUsize::new(0));
    let began = Stopwatch::start();
    let callers: Vec<_> = (0..callers)
        .map(|_| {
            let (channel, message, next) = (Arc::clone(channel), Arc::clone(&message), Arc::clone(&next));
            tokio::spawn(async move {
                while next.fetch_add(1, Relaxed) < count {
                    channel.send(&message).await.unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    began.per_message(count)
}

async fn gateway(url: &str, count: usize, rounds: usize) {
    let mut store = TestStore::sqlite();
    let gateway = Gateway::start(&store, url).await;
    for (what, callers, count) in [("gateway, one by one", 1, count / 10), ("gateway, 64 at once", CALLERS, count)] {
        let (mut natives, mut scripts) = (vec![], vec![]);
        for _ in 0..=rounds {
            natives.push(gateway.send("webhook", callers, count).await);
            scripts.push(gateway.send("twin", callers, count).await);
        }
        print(what, &natives, &scripts);
    }
    gateway.app.stop().await;
    gateway.app.db.pool.close().await;
    store.remove().await;
}

/// The gateway with one tenant, and both channels.
struct Gateway {
    app: Arc<App>,
    router: Router,
    key: String,
}

impl Gateway {
    async fn start(store: &TestStore, url: &str) -> Self {
        let app = App::build(config(store), None).await.unwrap();
        app.start().await.unwrap();
        app.run();
        let router = recado::http::router(Arc::clone(&app));
        let mut gateway = Self { app, router, key: OPERATOR_KEY.into() };
        let tenant = gateway.ask(Method::POST, "/v1/tenants", &json!({"name": "Salón", "country": "MX"})).await;
        let keys = format!("/v1/tenants/{}/keys", tenant["id"].as_str().unwrap());
        let key = gateway.ask(Method::POST, &keys, &json!({"name": "bench", "scopes": ["send", "admin"]})).await;
        gateway.key = key["key"].as_str().unwrap().to_owned();
        for (channel, provider) in [("webhook", "webhook"), ("twin", "webhook")] {
            let settings = json!({"provider": provider, "settings": {"url": url, "secret": SECRET}});
            gateway.ask(Method::PUT, &format!("/v1/channels/{channel}"), &settings).await;
        }
        gateway
    }

    async fn send(&self, channel: &str, callers: usize, count: usize) -> Cost {
        let body = json!({
            "type": "appointment_reminder", "channel": channel, "to": {"phone": "33 1234 5678", "name": "Ana López"},
            "data": {"appointmentDate": "mañana", "appointmentTime": "2:00 PM", "serviceName": "Manicure y Pedicure"},
        });
        let (body, next, began) = (body.to_string(), AtomicUsize::new(0), Stopwatch::start());
        let caller = async || {
            while next.fetch_add(1, Relaxed) < count {
                let request = self.request(Method::POST, "/v1/notify");
                let request = if callers == 1 { request.header("prefer", "wait=10") } else { request };
                self.answer(request.body(Body::from(body.clone())).unwrap()).await;
            }
        };
        futures_util::future::join_all((0..callers).map(|_| caller())).await;
        while self.unfinished().await > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let cost = began.per_message(count);
        let sql = "select count(*) from notifications where status <> 'sent'";
        assert_eq!(sqlx::query_scalar::<_, i64>(sql).fetch_one(&self.app.db.pool).await.unwrap(), 0);
        // One that is tried twice, or has to wait, measures something else.
        let odd =
            "select channel || ' ' || outcome || coalesce(' ' || reason, '') from attempts where outcome <> 'accepted'";
        let odd: Vec<String> = sqlx::query_scalar(odd).fetch_all(&self.app.db.pool).await.unwrap();
        assert_eq!(odd, Vec::<String>::new());
        cost
    }

    /// Counts in the index of what still waits, so that it costs little.
    async fn unfinished(&self) -> i64 {
        let sql = "select count(*) from notifications where due_at is not null";
        sqlx::query_scalar(sql).fetch_one(&self.app.db.pool).await.unwrap()
    }

    async fn ask(&self, method: Method, path: &str, body: &Value) -> Value {
        let request = self.request(method, path).body(Body::from(body.to_string())).unwrap();
        serde_json::from_slice(&self.answer(request).await).unwrap()
    }

    fn request(&self, method: Method, path: &str) -> axum::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/json")
    }

    async fn answer(&self, request: Request<Body>) -> Vec<u8> {
        let path = request.uri().path().to_owned();
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        assert!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&body));
        body.to_vec()
    }
}

/// With the twin among the plugins, under a name of its own.
fn config(store: &TestStore) -> Config {
    let folder = store.folder.path();
    let (ours, theirs) = (folder.join("plugins/twin"), twin());
    std::fs::create_dir_all(&ours).unwrap();
    let manifest = std::fs::read_to_string(theirs.join("plugin.toml")).unwrap();
    std::fs::write(ours.join("plugin.toml"), manifest.replace("channel = \"webhook\"", "channel = \"twin\"")).unwrap();
    std::fs::copy(theirs.join("plugin.rhai"), ours.join("plugin.rhai")).unwrap();
    let text = format!(
        "[store]\nurl = \"{}\"\n[auth]\noperator_key = \"{OPERATOR_KEY}\"\n[secrets]\nkey_file = \"{}\"\n\
         [paths]\nplugins = \"{}\"\n[outbound]\nallow = [\"127.0.0.0/8\"]\nallow_http = true\n",
        store.url,
        folder.join("recado.key").display(),
        folder.join("plugins").display(),
    );
    Config::from_text(Some((Path::new("config.toml"), &text)), []).unwrap()
}
