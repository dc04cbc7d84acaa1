//! Segments beside the bare engine and the bare stream of rows:
//!
//!     cargo bench --bench segments -- 100000 3
//!
//! The arguments are contacts (each with 0 to 19 appointments, 9.5 of them on average) and rounds. `evaluations` compares
//! one thread's work on contacts in memory: the shipped `vip` on our path with the same script on a bare engine with a
//! registered type. `count` compares a whole count with reading the same columns of the same rows through sqlx and asking
//! the bare engine about each. SQLite is always tried, PostgreSQL where TEST_DATABASE_URL names one or one answers on
//! 127.0.0.1:5432. Ratios are medians of the rounds'; `grew by` is how much memory all counts together took.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/it/support/store.rs"]
#[allow(dead_code, reason = "shared with the tests, which need more of it")]
mod store;

/// The server's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use futures_util::TryStreamExt;
use recado::app::App;
use recado::clock::{FakeClock, Timestamp};
use recado::config::Config;
use recado::contact::{Facts, Figures};
use recado::ids::TenantId;
use recado::script::{Moment, Person};
use recado::scripts::{Kind, Scripts};
use recado::segment::Segment;
use recado::settings::TenantSettings;
use recado::store::{Engine, tenants};
use rhai::{AST, CallFnOptions, Dynamic, Scope};
use sqlx::{AssertSqlSafe, Row};

use store::TestStore;

const TENANT: &str = "0193f0a0-0000-7000-8000-000000000000";
const NOW: &str = "2026-03-02T15:00:00Z";
const SEGMENTS: [&str; 2] = ["vip", "inactive"];
const DAY: i64 = 24 * 3600 * 1000;

fn main() {
    // Cargo adds a `--bench` of its own.
    let args: Vec<usize> =
        std::env::args().skip(1).filter(|a| !a.starts_with("--")).map(|a| a.parse().unwrap()).collect();
    let (count, rounds) = (args.first().copied().unwrap_or(100_000), args.get(1).copied().unwrap_or(3));
    tracing_subscriber::fmt().with_env_filter("error").with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        println!("{:<12} {:<22} {:>12} {:>12} {:>7}", "where", "what", "ours", "bare", "ratio");
        evaluations(rounds).await;
        playground().await;
        counts(TestStore::sqlite(), count, rounds).await;
        if let Some(store) = TestStore::postgres().await {
            counts(store, count, rounds).await;
        }
    });
}

fn print(place: &str, what: &str, ours: &mut [f64], bare: &mut [f64], unit: &str) {
    let mut ratios: Vec<f64> = ours.iter().zip(bare.iter()).map(|(ours, bare)| ours / bare).collect();
    let (ours, bare) = (median(ours), median(bare));
    println!("{place:<12} {what:<22} {ours:>10.2} {unit} {bare:>10.2} {unit} {:>7.2}", median(&mut ratios));
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What a plain embedding of Rhai would be given.
#[derive(Clone)]
struct Bare(Arc<Figures>);

#[derive(Clone)]
struct BareAppointments(Arc<Figures>, i64);

struct BareEngine {
    engine: rhai::Engine,
    script: AST,
}

impl BareEngine {
    fn new(source: &str, now: i64) -> Self {
        let mut engine = rhai::Engine::new();
        engine
            .register_type_with_name::<Bare>("Contact")
            .register_get("appointments", move |c: &mut Bare| BareAppointments(Arc::clone(&c.0), now))
            .register_type_with_name::<BareAppointments>("Appointments")
            .register_get("count", |a: &mut BareAppointments| a.0.count)
            .register_get("nextAt", |a: &mut BareAppointments| {
                a.0.next_at.map_or(Dynamic::UNIT, |at| Dynamic::from(at.0))
            })
            .register_get("daysSinceLast", |a: &mut BareAppointments| {
                a.0.last_at.map_or(Dynamic::UNIT, |at| Dynamic::from((a.1 - at.0) / DAY))
            });
        let script = engine.compile(source).unwrap();
        Self { engine, script }
    }

    fn include(&self, figures: Figures, now: i64) -> bool {
        let options = CallFnOptions::new().eval_ast(false);
        let arguments = (Bare(Arc::new(figures)), now);
        self.engine.call_fn_with_options(options, &mut Scope::new(), &self.script, "include", arguments).unwrap()
    }
}

fn source(name: &str) -> String {
    Scripts::builtin().get(Kind::Segment, name).unwrap().source.to_string()
}

fn figures(n: i64, now: i64) -> Figures {
    let came = n % 20;
    Figures {
        count: came,
        completed: came,
        last_at: (came > 0).then(|| Timestamp(now - n * 7 % 200 * DAY - 1)),
        next_at: (n % 10 == 0).then(|| Timestamp(now + DAY)),
        ..Figures::default()
    }
}

async fn evaluations(rounds: usize) {
    const BATCHES: i64 = 300;
    let now = Moment::new(Timestamp::parse(NOW).unwrap(), chrono_tz::Tz::America__Mexico_City);
    for name in SEGMENTS {
        let script = Kind::Segment.compile(&source(name)).unwrap();
        let bare = BareEngine::new(&source(name), now.at.0);
        let (mut ours, mut theirs) = (vec![], vec![]);
        for round in 0..=rounds {
            let began = Instant::now();
            let mut included = 0;
            for batch in 0..BATCHES {
                let person = |n| {
                    let figures = figures(batch * 1000 + n, now.at.0);
                    Person::new(Facts { figures, ..Facts::default() }, now)
                };
                let verdicts = script.include((0..1000).map(person).collect(), now).await;
                included += verdicts.iter().filter(|v| v.included == Ok(true)).count();
            }
            let our_rate = (BATCHES * 1000) as f64 / began.elapsed().as_secs_f64() / 1e6;
            let began = Instant::now();
            let expected = (0..BATCHES * 1000).filter(|n| bare.include(figures(*n, now.at.0), now.at.0)).count();
            let bare_rate = (BATCHES * 1000) as f64 / began.elapsed().as_secs_f64() / 1e6;
            assert_eq!(included, expected);
            // The first round warms up.
            if round > 0 {
                ours.push(our_rate);
                theirs.push(bare_rate);
            }
        }
        print("evaluations", name, &mut ours, &mut theirs, "M/s");
    }
}

/// How long a trial of a script takes, from its text to its answer.
async fn playground() {
    let now = Moment::new(Timestamp::parse(NOW).unwrap(), chrono_tz::Tz::UTC);
    let began = Instant::now();
    let script = Kind::Segment.compile_in_turn(&source("inactive")).await.unwrap();
    let people = (0..100).map(|n| Person::new(Facts { figures: figures(n, now.at.0), ..Facts::default() }, now));
    let verdicts = script.include(people.collect(), now).await;
    assert!(verdicts.iter().all(|v| v.included.is_ok()));
    println!(
        "{:<12} {:<22} {:>10.2} ms (compiled, and 100 contacts asked about)",
        "playground",
        "inactive",
        1e3 * began.elapsed().as_secs_f64()
    );
}

async fn counts(mut store: TestStore, count: usize, rounds: usize) {
    let app = App::build(config(&store), Some(FakeClock::at(NOW))).await.unwrap();
    app.start().await.unwrap();
    let tenant: TenantId = TENANT.into();
    fill(&app, &tenant, count as i64).await;
    let settled = app.tenants.get(&tenant).await.unwrap();
    let now = app.now().0;
    let place = app.db.engine.name();
    let mut grown = 0;
    for name in SEGMENTS {
        let segment = Segment::find(&app, &tenant, name).await.unwrap();
        let bare = BareEngine::new(&source(name), now);
        let (mut ours, mut theirs) = (vec![], vec![]);
        for round in 0..=rounds {
            let before = resident();
            let began = Instant::now();
            let mut included = 0;
            let walked = segment.walk(&app, &settled, None, |_, verdict| {
                included += usize::from(verdict.included == Ok(true));
                ControlFlow::Continue(())
            });
            assert_eq!(walked.await.unwrap().contacts, count as u64);
            let our_time = began.elapsed().as_secs_f64();
            if round > 0 {
                grown += resident().saturating_sub(before);
            }
            let began = Instant::now();
            let expected = stream(&app, &bare, name, now).await;
            let bare_time = began.elapsed().as_secs_f64();
            assert_eq!(included, expected, "{name}");
            if round > 0 {
                ours.push(our_time);
                theirs.push(bare_time);
            }
        }
        print(place, &format!("count {name}"), &mut ours, &mut theirs, "s  ");
    }
    println!("{place:<12} all counts together grew by {grown} KiB; {count} contacts");
    app.stop().await;
    app.db.pool.close().await;
    store.remove().await;
}

/// The limit: one statement, row by row, through the same pool.
async fn stream(app: &App, bare: &BareEngine, name: &str, now: i64) -> usize {
    let times = if name == "inactive" { ", last_at, next_at" } else { "" };
    let sql = format!(
        "select contact_id, appointments, completed, cancelled, no_shows{times} from contacts \
         where tenant_id = $1 and erased_at is null"
    );
    let mut rows = sqlx::query(AssertSqlSafe(sql)).bind(TENANT).fetch(&app.db.pool);
    let mut included = 0;
    while let Some(row) = rows.try_next().await.unwrap() {
        let _id: String = row.get(0);
        let mut figures = Figures {
            count: row.get(1),
            completed: row.get(2),
            cancelled: row.get(3),
            no_shows: row.get(4),
            ..Figures::default()
        };
        if name == "inactive" {
            figures.last_at = row.get::<Option<i64>, _>(5).map(Timestamp);
            figures.next_at = row.get::<Option<i64>, _>(6).map(Timestamp);
        }
        included += usize::from(bare.include(figures, now));
    }
    included
}

/// KiB of this process that are in memory.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default().to_owned();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

/// Contacts and their appointments, as an import would leave them.
async fn fill(app: &App, tenant: &TenantId, count: i64) {
    tenants::insert(&app.db.pool, tenant, "Salón", &TenantSettings::default(), app.now()).await.unwrap();
    let now = app.now().0;
    let (series, id) = match app.db.engine {
        Engine::Sqlite => (
            format!(
                "(with recursive s(n) as (select 0 union all select n + 1 from s where n + 1 < {count}) select n from s)"
            ),
            "printf('01930000-0000-7000-8000-%012x', n)",
        ),
        Engine::Postgres => (
            format!("(select cast(g as bigint) as n from generate_series(0, {count} - 1) as g)"),
            "'01930000-0000-7000-8000-' || lpad(to_hex(n), 12, '0')",
        ),
    };
    let last = format!("case when n % 20 > 0 then {now} - (n * 7 % 200) * {DAY} - 1 end");
    let contacts = format!(
        "insert into contacts (tenant_id, contact_id, external_id, name, phone, email, attributes, preferences, consents, \
         search, appointments, completed, last_at, next_at, created_at, updated_at) \
         select '{TENANT}', {id}, 'c' || n, 'Ana López ' || n, '+52331' || (1000000 + n), 'ana' || n || '@example.com', \
         '{{\"city\":\"León\"}}', '{{}}', '[]', 'ana lopez ' || n, n % 20, n % 20, {last}, \
         case when n % 10 = 0 then {now} + {DAY} end, {now}, {now} from {series} as s"
    );
    let visits = format!(
        "insert into appointments (tenant_id, external_id, contact_id, starts_at, status, attributes, created_at, updated_at) \
         select '{TENANT}', 'v' || n || '-' || k, {id}, {now} - (n * 7 % 200) * {DAY} - 1 - k * {DAY}, 'COMPLETED', '{{}}', \
         {now}, {now} from {series} as s cross join {} as v where k < n % 20",
        "(select 0 as k union all select 1 union all select 2 union all select 3 union all select 4 union all select 5 \
         union all select 6 union all select 7 union all select 8 union all select 9 union all select 10 union all select 11 \
         union all select 12 union all select 13 union all select 14 union all select 15 union all select 16 \
         union all select 17 union all select 18)"
    );
    for sql in [contacts, visits] {
        sqlx::query(AssertSqlSafe(sql)).execute(&app.db.pool).await.unwrap();
    }
    if app.db.engine == Engine::Postgres {
        sqlx::query("analyze contacts").execute(&app.db.pool).await.unwrap();
    }
}

fn config(store: &TestStore) -> Config {
    let key_file = store.folder.path().join("recado.key");
    let text = format!("[store]\nurl = \"{}\"\n[secrets]\nkey_file = \"{}\"\n", store.url, key_file.display());
    Config::from_text(Some((Path::new("config.toml"), &text)), []).unwrap()
}
