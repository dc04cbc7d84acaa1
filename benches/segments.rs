//! Segments beside the bare engine and the bare stream of rows:
//!
//!     cargo bench --bench segments -- 100000 3
//!
//! The arguments are contacts (each with 0 to 22 appointments, 10.3 of them on average) and rounds. `evaluations` compares
//! one thread's work on contacts in memory: a shipped segment on our path with the same script on a bare engine with a
//! registered type. `count` compares a whole count with reading the same columns of the same rows through sqlx and asking
//! the bare engine about each; `example` is a whole count by one of `scripts/examples`. SQLite is always tried, PostgreSQL
//! where TEST_DATABASE_URL names one or one answers on 127.0.0.1:5432. Ratios are medians of the rounds'; `grew by` is
//! how much memory all counts together took.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/it/support/store.rs"]
#[allow(dead_code, reason = "shared with the tests, which need more of it")]
mod store;

#[path = "support/salon.rs"]
mod salon;

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
use recado::script::Person;
use recado::scripts::{Kind, Scripts};
use recado::segment::Segment;
use rhai::{AST, CallFnOptions, Dynamic, Scope};
use sqlx::{AssertSqlSafe, Row};

use salon::{DAY, EXAMPLES, NOW, TENANT, figures};
use store::TestStore;

const SEGMENTS: [&str; 2] = ["vip", "inactive"];

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

async fn evaluations(rounds: usize) {
    const BATCHES: i64 = 300;
    let now = salon::now();
    for name in SEGMENTS {
        let script = Kind::Segment.compile(&source(name)).unwrap();
        let bare = BareEngine::new(&source(name), now.at.0);
        let (mut ours, mut theirs) = (vec![], vec![]);
        for round in 0..=rounds {
            let began = Instant::now();
            let mut included = 0;
            for batch in 0..BATCHES {
                let person = |n| {
                    let figures = figures(batch * 1000 + n);
                    Person::new(Facts { figures, ..Facts::default() }, now)
                };
                let verdicts = script.include((0..1000).map(person).collect(), now).await;
                included += verdicts.iter().filter(|v| v.included == Ok(true)).count();
            }
            let our_rate = (BATCHES * 1000) as f64 / began.elapsed().as_secs_f64() / 1e6;
            let began = Instant::now();
            let expected = (0..BATCHES * 1000).filter(|n| bare.include(figures(*n), now.at.0)).count();
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
    let now = salon::now();
    let began = Instant::now();
    let script = Kind::Segment.compile_in_turn(&source("inactive")).await.unwrap();
    let people = (0..100).map(|n| Person::new(Facts { figures: figures(n), ..Facts::default() }, now));
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
    let began = Instant::now();
    salon::fill(store.open().await, count as i64).await;
    let filled = began.elapsed().as_secs_f64();
    let app = App::build(config(&store), Some(FakeClock::at(NOW))).await.unwrap();
    app.start().await.unwrap();
    salon::write_examples(&app).await;
    let now = app.now().0;
    let place = app.db.engine.name();
    println!("{place:<12} {:<22} {filled:>10.2} s   ({count} contacts and their appointments)", "filled");
    let mut grown = 0;
    for name in SEGMENTS {
        let bare = BareEngine::new(&source(name), now);
        let (mut ours, mut theirs) = (vec![], vec![]);
        for round in 0..=rounds {
            let before = resident();
            let (included, our_time) = walk(&app, name, count).await;
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
    for (name, _, is_in) in EXAMPLES {
        let mut times = vec![];
        for _ in 0..rounds {
            let (included, time) = walk(&app, name, count).await;
            assert_eq!(included, (0..count as i64).filter(|n| is_in(*n)).count(), "{name}");
            times.push(time);
        }
        let time = median(&mut times);
        let rate = count as f64 / time / 1e6;
        println!("{place:<12} {:<22} {time:>10.2} s   {rate:>10.2} M/s", format!("example {name}"));
    }
    println!("{place:<12} all counts together grew by {grown} KiB; {count} contacts");
    app.stop().await;
    app.db.pool.close().await;
    store.remove().await;
}

/// A whole count: how many are in, and how many seconds it took.
async fn walk(app: &App, name: &str, count: usize) -> (usize, f64) {
    let tenant = app.tenants.get(&TENANT.into()).await.unwrap();
    let segment = Segment::find(app, &tenant.id, name).await.unwrap();
    let (began, mut included) = (Instant::now(), 0);
    let walked = segment.walk(app, &tenant, None, |_, verdict| {
        included += usize::from(verdict.included == Ok(true));
        ControlFlow::Continue(())
    });
    let walked = walked.await.unwrap();
    assert_eq!((walked.contacts, walked.failed), (count as u64, 0));
    (included, began.elapsed().as_secs_f64())
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

fn config(store: &TestStore) -> Config {
    let key_file = store.folder.path().join("recado.key");
    let text = format!("[store]\nurl = \"{}\"\n[secrets]\nkey_file = \"{}\"\n", store.url, key_file.display());
    Config::from_text(Some((Path::new("config.toml"), &text)), []).unwrap()
}
