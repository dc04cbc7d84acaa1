//! How long trying things out takes: previews of templates and trials of scripts, through the real router on SQLite:
//!
//!     cargo bench --bench sandbox -- 30
//!
//! The argument is rounds. `ordinary` is what a manager writes and must be there within 300 ms; `worst` is what means no
//! good and is allowed to begin: a bound must end it about as soon. Each line has the median and the slowest answer.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/it/support/hostile.rs"]
#[allow(dead_code, reason = "shared with the tests, which need more of it")]
mod hostile;
#[path = "../tests/it/support/store.rs"]
#[allow(dead_code, reason = "shared with the tests, which need more of it")]
mod store;

/// The server's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use recado::app::App;
use recado::config::Config;
use serde_json::{Value, json};
use tower::ServiceExt;

use hostile::{script, segment};
use store::TestStore;

const OPERATOR_KEY: &str = "operator-key-of-the-benchmark";
const PREVIEW: &str = "/v1/templates/preview";
const TRIAL: &str = "/v1/scripts/test";

fn main() {
    // Cargo adds a `--bench` of its own.
    let rounds = std::env::args().skip(1).find(|a| !a.starts_with("--")).map_or(20, |a| a.parse().unwrap());
    tracing_subscriber::fmt().with_env_filter("off").with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = TestStore::sqlite();
        let app = App::build(config(&store), None).await.unwrap();
        app.start().await.unwrap();
        let caller = Caller::new(recado::http::router(Arc::clone(&app))).await;
        prepare(&caller).await;
        println!("{:<10} {:<46} {:>10} {:>10}", "input", "what", "median ms", "slowest ms");
        for (what, path, body) in ordinary() {
            caller.measure("ordinary", what, path, &body, &[200, 201], rounds).await;
        }
        for (what, path, body) in worst() {
            caller.measure("worst", &what, path, &body, &[200, 422], rounds.min(10)).await;
        }
        app.stop().await;
    });
}

struct Caller {
    router: Router,
    key: String,
}

impl Caller {
    async fn new(router: Router) -> Self {
        let operator = Self { router, key: OPERATOR_KEY.to_owned() };
        let (_, tenant) =
            operator.call("POST", "/v1/tenants", &json!({"name": "Salón", "country": "MX", "locale": "es-MX"})).await;
        let path = format!("/v1/tenants/{}/keys", tenant["id"].as_str().unwrap());
        let (_, key) =
            operator.call("POST", &path, &json!({"name": "bench", "scopes": ["send", "read", "admin"]})).await;
        Self { key: key["key"].as_str().unwrap().to_owned(), ..operator }
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let kind = if body.is_string() { "application/x-ndjson" } else { "application/json" };
        let text = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", kind)
            .body(Body::from(text))
            .unwrap();
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn measure(&self, input: &str, what: &str, path: &str, body: &Value, fine: &[u16], rounds: usize) {
        let method = if path == PREVIEW || path == TRIAL { "POST" } else { "PUT" };
        let mut times = Vec::with_capacity(rounds);
        // The first one warms up.
        for round in 0..=rounds {
            let began = Instant::now();
            let (status, answer) = self.call(method, path, body).await;
            let took = 1e3 * began.elapsed().as_secs_f64();
            assert!(fine.contains(&status), "{what}: {status} {answer}");
            if round > 0 {
                times.push(took);
            }
        }
        times.sort_by(f64::total_cmp);
        println!("{input:<10} {what:<46} {:>10.2} {:>10.2}", times[times.len() / 2], times[times.len() - 1]);
    }
}

/// A salon's people, and the partials of the worst.
async fn prepare(caller: &Caller) {
    let people: Vec<_> =
        (0..1000).map(|n| json!({"externalId": n.to_string(), "name": format!("Ana {n}")}).to_string()).collect();
    let (status, report) = caller.call("POST", "/v1/contacts/import", &people.join("\n").into()).await;
    assert_eq!(status, 200, "{report}");
    // What it takes to compare, without a word of output.
    let comparing = "{{#if (eq a b)}}{{/if}}".repeat(800);
    for (name, source) in hostile::doubling().chain([("_compares".to_owned(), comparing)]) {
        let (status, answer) =
            caller.call("PUT", &format!("/v1/templates/{name}"), &json!({"parts": {"text": source}})).await;
        assert_eq!(status, 201, "{answer}");
    }
}

const MAIL: &str = "<mjml><mj-head><mj-style>p { color: #444 }</mj-style></mj-head><mj-body><mj-section><mj-column>\
    <mj-text><h1>Hola {{clientName}}</h1><p>{{date startsAt \"full\"}} {{time startsAt}}</p></mj-text>\
    {{#each services}}<mj-text>{{name}}: {{currency price \"MXN\"}}</mj-text>{{/each}}\
    <mj-button href=\"https://x.example/{{id}}\">Confirmar</mj-button></mj-column></mj-section></mj-body></mjml>";

fn ordinary() -> Vec<(&'static str, &'static str, Value)> {
    let data = json!({"clientName": "Ana López", "startsAt": "2026-03-03T16:05:00Z", "id": "c-7",
        "services": [{"name": "Corte", "price": 350}, {"name": "Tinte", "price": 1200.5}, {"name": "Peinado", "price": 280}]});
    let text = "Hola {{clientName}}, te esperamos {{relative startsAt}} a las {{time startsAt}}:\n\
        {{#each services}}- {{name}} {{currency price \"MXN\"}}\n{{/each}}";
    let people: Vec<_> =
        (0..100).map(|n| json!({"name": format!("Ana {n}"), "appointments": {"count": n % 20}})).collect();
    let mut given = segment("contact.appointments.count >= 10 && contact.name.starts_with(\"Ana\")");
    given["contacts"] = json!(people);
    let campaign = "fn include(contact, now) { contact.appointments.daysSinceLast > 90 }\n\
        fn message(contact, now) { #{template: \"marketing\", data: #{name: contact.name}} }";
    let mut offered = script("campaign", campaign);
    offered["contacts"] = json!(people);
    let route =
        "fn route(notification, contact, channels, now) { if now.hour >= 20 { [\"email\"] } else { channels } }";
    vec![
        ("preview, of the program's", PREVIEW, json!({"template": "appointment_reminder"})),
        (
            "preview, three parts that are not saved",
            PREVIEW,
            json!({"parts": {"text": text, "sms": text, "email.subject": "Tu cita"}, "data": data}),
        ),
        (
            "preview, a mail in MJML for one channel",
            PREVIEW,
            json!({"parts": {"email.mjml": MAIL}, "data": data, "channel": "email"}),
        ),
        (
            "template saved",
            "/v1/templates/promo",
            json!({"parts": {"text": text, "email.subject": "Tu cita", "email.mjml": MAIL}}),
        ),
        ("script saved", "/v1/scripts/often", segment("contact.appointments.count >= 10")),
        ("trial, vip on ten that are stored", TRIAL, json!({"name": "vip"})),
        ("trial, a segment on a hundred", TRIAL, given),
        ("trial, a campaign on a hundred", TRIAL, offered),
        ("trial, a route", TRIAL, script("route", route)),
    ]
}

fn worst() -> Vec<(String, &'static str, Value)> {
    let mut all = Vec::new();
    for (n, body) in hostile::endless_previews().into_iter().enumerate() {
        all.push((format!("preview, B65, its number {}", n + 1), PREVIEW, body));
    }
    let text = |source: &str, data: Value| json!({"parts": {"text": source}, "data": data});
    let list = |n: usize, length: usize| vec!["x".repeat(length); n];
    let fat = json!({"a": list(1000, 450), "b": list(1000, 450)});
    for (what, source, data) in [
        ("64 KiB of tags", "{{a}}".repeat(13_107), json!({"a": ""})),
        ("as many tags as may be", "{{a}}".repeat(2_500), json!({"a": ""})),
        ("as many comparisons as may be", "{{#if (eq a b)}}{{/if}}".repeat(800), fat.clone()),
        ("as many comparisons in a partial", "{{> compares}}".to_owned(), fat.clone()),
        (
            "a text joined in each of 1000 turns",
            "{{#each a}}{{#if (eq (join ../b) 1)}}x{{/if}}{{/each}}".to_owned(),
            fat.clone(),
        ),
        ("as many joined texts", "{{#if (eq (join a) 1)}}x{{/if}}".repeat(700), fat),
        (
            "as many dates",
            "{{date d \"EEEE d 'de' MMMM y, HH:mm:ss\"}}".repeat(850),
            json!({"d": "2026-03-03T16:05:00Z"}),
        ),
    ] {
        all.push((format!("preview, {what}"), PREVIEW, text(&source, data)));
    }
    let column = |inner: String| {
        format!("<mjml><mj-body><mj-section><mj-column>{inner}</mj-column></mj-section></mj-body></mjml>")
    };
    for (what, source) in [
        ("1900 texts in MJML", column("<mj-text>x</mj-text>".repeat(1900))),
        ("55 tables in MJML", column(format!("<mj-text>{}{}</mj-text>", "<div>".repeat(55), "</div>".repeat(55)))),
    ] {
        all.push((format!("preview, {what}"), PREVIEW, json!({"parts": {"email.mjml": source}})));
    }
    for condition in hostile::RUNAWAY {
        let short: String = condition.chars().take(30).collect();
        all.push((format!("trial, {short}"), TRIAL, segment(condition)));
    }
    all.push(("trial, recursion".to_owned(), TRIAL, script("segment", hostile::RECURSION)));
    let sorts = "let a = []; a.pad(1900, 0); loop { let b = a; b.sort(); b.reverse(); }";
    all.push(("trial, sorting without end".to_owned(), TRIAL, segment(sorts)));
    let mut hundred = script("campaign", "fn message(contact, now) { loop {} }");
    hundred["contacts"] = json!(vec![json!({}); 100]);
    all.push(("trial, endless on a hundred (2 s in all)".to_owned(), TRIAL, hundred));
    all
}

fn config(store: &TestStore) -> Config {
    let text = format!(
        "[store]\nurl = \"{}\"\n[auth]\noperator_key = \"{OPERATOR_KEY}\"\n[secrets]\nkey_file = \"{}\"\n",
        store.url,
        store.folder.path().join("recado.key").display(),
    );
    Config::from_text(Some((Path::new("config.toml"), &text)), []).unwrap()
}
