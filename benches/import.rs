//! Rows a second that an import takes in, beside bare batch inserts of the same rows into the same store:
//!
//!     cargo bench --bench import -- 50000 3
//!
//! The arguments are rows and rounds. `indexed` inserts into a copy of the table with its indexes, `bare` into one
//! without; `with figures` inserts appointments, indexed, and writes the figures of the contact of each into a copy of
//! `contacts`, for an appointment is not stored without them. All get the rows ready-made, in the import's own batches, one
//! commit each; the import parses, checks, looks everybody up and writes. SQLite is always tried, PostgreSQL where
//! TEST_DATABASE_URL names one or one answers on 127.0.0.1:5432. What follows `x` are medians of the rounds' ratios:
//! to `bare`, to `indexed`, and to bare writes of all that the import has to write of what is new; what is known and has not
//! changed is only looked up, and may be faster.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/it/support/store.rs"]
#[allow(dead_code, reason = "shared with the tests, which need more of it")]
mod store;

/// The server's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Method, Request};
use recado::app::App;
use recado::config::Config;
use recado::store::Db;
use serde_json::{Value, json};
use sqlx::{AnyConnection, AnyExecutor, AssertSqlSafe, Connection, query};
use tower::ServiceExt;

use store::TestStore;

const OPERATOR_KEY: &str = "operator-key-of-the-benchmark";
/// Rows a commit, as the import has them.
const COMMIT: usize = 2000;

fn main() {
    // Cargo adds a `--bench` of its own.
    let args: Vec<usize> =
        std::env::args().skip(1).filter(|a| !a.starts_with("--")).map(|a| a.parse().unwrap()).collect();
    let (count, rounds) = (args.first().copied().unwrap_or(20_000), args.get(1).copied().unwrap_or(3));
    tracing_subscriber::fmt().with_env_filter("error").with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        println!(
            "{:<10} {:<26} {:>9} {:>7} {:>10} {:>9}",
            "store", "what", "a second", "x bare", "x indexed", "x written"
        );
        measure(TestStore::sqlite(), count, rounds).await;
        if let Some(store) = TestStore::postgres().await {
            measure(store, count, rounds).await;
        }
    });
}

async fn measure(mut store: TestStore, count: usize, rounds: usize) {
    let app = App::build(config(&store), None).await.unwrap();
    app.start().await.unwrap();
    let router = recado::http::router(Arc::clone(&app));
    // Each with the limits it is measured against: `bare` and, after it, `indexed`; and all that it has to write.
    let names = [
        ("contacts, bare", 0, 1),
        ("contacts, indexed", 0, 1),
        ("appointments, bare", 2, 4),
        ("appointments, indexed", 2, 4),
        ("appointments, with figures", 2, 4),
        ("contacts, new", 0, 1),
        ("contacts, known", 0, 1),
        ("appointments, new", 2, 4),
        ("appointments, known", 2, 4),
    ];
    let mut rates: [Vec<f64>; 9] = Default::default();
    // The first round warms up.
    for round in 0..=rounds {
        // A salon of its own each time, so that everybody is new.
        let key = key_of_a_new_tenant(&router).await;
        let (contacts, appointments) = (contacts(count), appointments(count));
        let measured = [
            insert_bare(&app.db, CONTACTS, count, false).await,
            insert_bare(&app.db, CONTACTS, count, true).await,
            insert_bare(&app.db, APPOINTMENTS, count, false).await,
            insert_bare(&app.db, APPOINTMENTS, count, true).await,
            insert_with_figures(&app.db, count).await,
            import(&router, &key, "contacts", &contacts, count).await,
            import(&router, &key, "contacts", &contacts, count).await,
            import(&router, &key, "appointments", &appointments, count).await,
            import(&router, &key, "appointments", &appointments, count).await,
        ];
        if round > 0 {
            for (all, one) in rates.iter_mut().zip(measured) {
                all.push(one);
            }
        }
    }
    for ((name, bare, written), own) in names.iter().zip(&rates) {
        let against = |other: usize| median(own.iter().zip(&rates[other]).map(|(own, other)| own / other));
        println!(
            "{:<10} {name:<26} {:>9.0} {:>7.3} {:>10.3} {:>9.3}",
            app.db.engine.name(),
            median(own.iter().copied()),
            against(*bare),
            against(bare + 1),
            against(*written)
        );
    }
    app.stop().await;
    app.db.pool.close().await;
    store.remove().await;
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn phone(n: usize) -> String {
    format!("+5233{:08}", 10_000_000 + n * 7919 % 80_000_000)
}

/// Whose the n-th appointment is: they come in no order of the contacts.
fn client(n: usize, count: usize) -> usize {
    n * 31 % count
}

/// In the order in which the contacts were made, as their ids are.
fn contact_id(n: usize) -> String {
    let mixed = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    format!("0193f0a0-{:04x}-7{:03x}-8000-{mixed:012x}", n >> 12, n & 0xfff)
}

fn contacts(count: usize) -> Bytes {
    let mut file = String::from("externalId,nombre,teléfono,correo,idioma,cumpleaños,puntos\n");
    for n in 0..count {
        let phone = phone(n);
        writeln!(file, "client-{n},Ana López García {n},{phone},ana.lopez.{n}@example.com,es-MX,1990-05-17,{n}")
            .unwrap();
    }
    file.into()
}

fn appointments(count: usize) -> Bytes {
    let mut file = String::from("externalId,contactId,startsAt,status,service,professional\n");
    for n in 0..count {
        let (client, day) = (client(n, count), n % 28 + 1);
        writeln!(file, "visit-{n},client-{client},2026-02-{day:02}T10:00:00-06:00,COMPLETED,Manicure,Eva").unwrap();
    }
    file.into()
}

async fn import(router: &Router, key: &str, what: &str, file: &Bytes, count: usize) -> f64 {
    let request = Request::post(format!("/v1/{what}/import"))
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", "text/csv")
        .body(Body::from(file.clone()))
        .unwrap();
    let began = Instant::now();
    let report = ask(router, request).await;
    let rate = per_second(count, began);
    let taken = report["created"].as_u64().unwrap() + report["updated"].as_u64().unwrap();
    assert_eq!(taken, count as u64, "{report}");
    rate
}

fn per_second(count: usize, began: Instant) -> f64 {
    count as f64 / began.elapsed().as_secs_f64()
}

/// Ready-made rows of all columns that an import fills.
#[derive(Clone, Copy)]
struct Ready {
    table: &'static str,
    columns: &'static str,
    /// Of so many.
    row: fn(usize, usize) -> Value,
}

const CONTACTS: Ready = Ready {
    table: "contacts",
    columns: "tenant_id text, contact_id text, external_id text, name text, phone text, email text, locale text, \
        attributes text, preferences text, consents text, search text, created_at bigint, updated_at bigint, \
        import_mark bigint, import_line bigint",
    row: |n, _| {
        let phone = phone(n);
        json!({"tenant_id": "0193f0a0-0000-7000-8000-000000000000", "contact_id": contact_id(n),
            "external_id": format!("client-{n}"), "name": format!("Ana López García {n}"), "phone": phone,
            "email": format!("ana.lopez.{n}@example.com"), "locale": "es-MX", "preferences": "{}", "consents": "[]",
            "attributes": json!({"cumpleaños": "1990-05-17", "puntos": n.to_string()}).to_string(),
            "search": format!("ana lopez garcia {n} client-{n} {phone} ana.lopez.{n}@example.com"),
            "created_at": 1_800_000_000_000_i64, "updated_at": 1_800_000_000_000_i64, "import_mark": 7, "import_line": n})
    },
};

const APPOINTMENTS: Ready = Ready {
    table: "appointments",
    columns: "tenant_id text, external_id text, contact_id text, starts_at bigint, status text, service text, \
        professional text, attributes text, created_at bigint, updated_at bigint, import_mark bigint, import_line bigint",
    row: |n, count| {
        // The days of the file.
        let starts_at = 1_769_961_600_000 + (n % 28) as i64 * 86_400_000;
        json!({"tenant_id": "0193f0a0-0000-7000-8000-000000000000", "external_id": format!("visit-{n}"),
            "contact_id": contact_id(client(n, count)), "starts_at": starts_at, "status": "COMPLETED",
            "service": "Manicure", "professional": "Eva", "attributes": "{}", "created_at": 1_800_000_000_000_i64,
            "updated_at": 1_800_000_000_000_i64, "import_mark": 7, "import_line": n})
    },
};

/// Ready-made batches of rows, and the statement that takes one in.
struct Writing {
    sql: String,
    batches: Vec<String>,
}

impl Writing {
    fn new(count: usize, row: impl Fn(usize) -> Value, sql: String) -> Self {
        let batch = |from: usize| (from..count.min(from + COMMIT)).map(&row).collect::<Vec<_>>();
        let batches = (0..count).step_by(COMMIT).map(|from| serde_json::to_string(&batch(from)).unwrap()).collect();
        Self { sql, batches }
    }

    fn of_rows(db: &Db, ready: Ready, table: &str, count: usize) -> Self {
        let Ready { columns, row, .. } = ready;
        let names: Vec<&str> = columns.split(", ").filter_map(|c| c.split_whitespace().next()).collect();
        let names = names.join(", ");
        let sql = format!("insert into {table} ({names}) select {names} from {}", db.engine.rows(columns));
        Self::new(count, |n| row(n, count), sql)
    }

    async fn write(&self, db: impl AnyExecutor<'_>, batch: usize) {
        query(AssertSqlSafe(self.sql.as_str())).bind(&self.batches[batch]).execute(db).await.unwrap();
    }
}

/// A table like the original, under a name of its own.
async fn copy(conn: &mut AnyConnection, original: &str, indexed: bool) -> String {
    let table = format!("bare_{}", uuid::Uuid::new_v4().simple());
    let schema = include_str!("../migrations/0004_contacts.sql");
    let schema = schema.lines().map(|line| line.split("--").next().unwrap()).collect::<Vec<_>>().join(" ");
    for statement in schema.split(';').map(str::trim) {
        let sql = if statement.starts_with(&format!("create table {original} ")) {
            statement.replacen(original, &table, 1)
        } else if indexed && statement.contains(&format!(" on {original} (")) {
            statement.replacen(&format!(" {original}_"), &format!(" {table}_"), 1).replacen(
                &format!("on {original}"),
                &format!("on {table}"),
                1,
            )
        } else {
            continue;
        };
        query(AssertSqlSafe(sql)).execute(&mut *conn).await.unwrap();
    }
    table
}

async fn drop_table(conn: &mut AnyConnection, table: &str) {
    query(AssertSqlSafe(format!("drop table {table}"))).execute(conn).await.unwrap();
}

/// The limit: ready-made rows in one statement and one commit for many, into a copy of their table.
async fn insert_bare(db: &Db, ready: Ready, count: usize, indexed: bool) -> f64 {
    let mut conn = db.connect_for_growing().await.unwrap();
    let table = copy(&mut conn, ready.table, indexed).await;
    let rows = Writing::of_rows(db, ready, &table, count);
    let began = Instant::now();
    for batch in 0..rows.batches.len() {
        rows.write(&mut conn, batch).await;
    }
    let rate = per_second(count, began);
    drop_table(&mut conn, &table).await;
    rate
}

/// The limit of appointments: the row, and the figures of the contact it is of.
async fn insert_with_figures(db: &Db, count: usize) -> f64 {
    let mut conn = db.connect_for_growing().await.unwrap();
    let (contacts, appointments) =
        (copy(&mut conn, "contacts", true).await, copy(&mut conn, "appointments", true).await);
    let people = Writing::of_rows(db, CONTACTS, &contacts, count);
    for batch in 0..people.batches.len() {
        people.write(&mut conn, batch).await;
    }
    let rows = Writing::of_rows(db, APPOINTMENTS, &appointments, count);
    let figures = |n: usize| {
        let appointment = (APPOINTMENTS.row)(n, count);
        json!({"t": appointment["tenant_id"], "id": appointment["contact_id"], "la": appointment["starts_at"]})
    };
    let sql = format!(
        "update {contacts} set appointments = 1, completed = 1, cancelled = 0, no_shows = 0, last_at = v.la \
         from {} where {contacts}.tenant_id = v.t and {contacts}.contact_id = v.id",
        db.engine.rows("t text, id text, la bigint")
    );
    let figures = Writing::new(count, figures, sql);
    let began = Instant::now();
    for batch in 0..rows.batches.len() {
        let mut transaction = conn.begin().await.unwrap();
        rows.write(&mut *transaction, batch).await;
        figures.write(&mut *transaction, batch).await;
        transaction.commit().await.unwrap();
    }
    let rate = per_second(count, began);
    for table in [contacts, appointments] {
        drop_table(&mut conn, &table).await;
    }
    rate
}

async fn key_of_a_new_tenant(router: &Router) -> String {
    let post = |path: &str, body: Value| {
        Request::builder()
            .method(Method::POST)
            .uri(path)
            .header("authorization", format!("Bearer {OPERATOR_KEY}"))
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap()
    };
    let tenant = ask(router, post("/v1/tenants", json!({"name": "Salón", "country": "MX"}))).await;
    let path = format!("/v1/tenants/{}/keys", tenant["id"].as_str().unwrap());
    let key = ask(router, post(&path, json!({"name": "bench", "scopes": ["send"]}))).await;
    key["key"].as_str().unwrap().to_owned()
}

async fn ask(router: &Router, request: Request<Body>) -> Value {
    let answer = router.clone().oneshot(request).await.unwrap();
    let status = answer.status();
    let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    assert!(status.is_success(), "{status} {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

fn config(store: &TestStore) -> Config {
    let text = format!(
        "[store]\nurl = \"{}\"\n[auth]\noperator_key = \"{OPERATOR_KEY}\"\n[secrets]\nkey_file = \"{}\"\n",
        store.url,
        store.folder.path().join("recado.key").display(),
    );
    Config::from_text(Some((Path::new("config.toml"), &text)), []).unwrap()
}
