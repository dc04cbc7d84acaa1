//! A salon of any size with about ten appointments for each contact, filled in bulk. Everything about contact `n` follows
//! from `n`, so what a segment must answer is known; and the figures kept on a contact are those of its appointments.

use chrono_tz::Tz;
use recado::app::App;
use recado::clock::Timestamp;
use recado::contact::Figures;
use recado::ids::TenantId;
use recado::script::Moment;
use recado::scripts::{Kind, Written};
use recado::segment::script_key;
use recado::settings::TenantSettings;
use recado::store::{self, Db, Engine, documents, tenants};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row};

pub const TENANT: &str = "0193f0a0-0000-7000-8000-000000000000";
pub const NOW: &str = "2026-03-02T15:00:00Z";
pub const ZONE: Tz = chrono_tz::Tz::America__Mexico_City;
pub const DAY: i64 = 24 * 3600 * 1000;

pub fn now() -> Moment {
    Moment::new(Timestamp::parse(NOW).unwrap(), ZONE)
}

/// Contact `n` came `n % 21` times, the last time `n * 7 % 200` days ago, missed an appointment if `n` is divisible by 5,
/// and has one booked if by 10.
pub fn figures(n: i64) -> Figures {
    let (came, missed, now) = (n % 21, i64::from(n % 5 == 0), now().at.0);
    Figures {
        count: came + missed + i64::from(n % 10 == 0),
        completed: came,
        cancelled: 0,
        no_shows: missed,
        last_at: (came > 0).then(|| Timestamp(now - days_ago(n) * DAY - 1)),
        next_at: (n % 10 == 0).then(|| Timestamp(now + DAY)),
    }
}

fn days_ago(n: i64) -> i64 {
    n * 7 % 200
}

/// A segment's name, its text, and whether it means contact `n`.
type Example = (&'static str, &'static str, fn(i64) -> bool);

/// The segments of `scripts/examples`, with the answer of this salon.
pub const EXAMPLES: [Example; 3] = [
    ("birthday", include_str!("../../scripts/examples/segments/birthday.rhai"), |n| n % 12 == 2 && n % 21 > 0),
    ("colour_fades", include_str!("../../scripts/examples/segments/colour_fades.rhai"), |n| {
        n % 4 == 0 && n % 21 > 0 && (56..=112).contains(&days_ago(n)) && n % 10 != 0
    }),
    ("reliable", include_str!("../../scripts/examples/segments/reliable.rhai"), |n| {
        n % 21 >= 5 && (n % 5 != 0 || n % 21 >= 9)
    }),
];

/// Fills an empty store, and closes it.
pub async fn fill(db: Db, count: i64) {
    let tenant: TenantId = TENANT.into();
    let mut conn = db.connect().await.unwrap();
    // Journals ask for a connection that is alone.
    db.pool.close().await;
    run(&mut conn, in_a_hurry(db.engine)).await;
    tenants::insert(&mut conn, &tenant, "Salón", &settings(), now().at).await.unwrap();
    let indexes = without_indexes(&mut conn, db.engine).await;
    run(&mut conn, &contacts(db.engine, count)).await;
    run(&mut conn, &appointments(db.engine, count)).await;
    for index in indexes {
        run(&mut conn, &index).await;
    }
    // Or the store would do it at a moment of its own, while somebody measures.
    let settled: &[&str] = match db.engine {
        Engine::Sqlite => &[],
        Engine::Postgres => &["vacuum analyze contacts", "vacuum analyze appointments", "checkpoint"],
    };
    for statement in settled {
        run(&mut conn, statement).await;
    }
    check(&mut conn, count).await;
    conn.close().await.unwrap();
}

/// Keeps the examples as the tenant's own.
pub async fn write_examples(app: &App) {
    let (tenant, mut conn) = (TenantId::from(TENANT), app.db.connect().await.unwrap());
    for (name, source, _) in EXAMPLES {
        let body = serde_json::to_string(&Written { kind: Kind::Segment, source: source.into() }).unwrap();
        let mut alone = store::begin_alone(&mut conn, app.db.engine, &tenant).await.unwrap();
        documents::save(&mut alone, &tenant, script_key(name, ""), &body, app.now()).await.unwrap();
        store::commit_alone(alone).await.unwrap();
    }
}

fn settings() -> TenantSettings {
    TenantSettings { timezone: Some(ZONE.name().into()), ..TenantSettings::default() }
}

async fn run(conn: &mut AnyConnection, sql: &str) {
    sqlx::query(AssertSqlSafe(sql.to_owned())).execute(conn).await.unwrap_or_else(|e| panic!("{e}: {sql}"));
}

fn in_a_hurry(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "pragma journal_mode = off; pragma synchronous = off; pragma cache_size = -262144",
        Engine::Postgres => {
            "select set_config('synchronous_commit', 'off', false), \
            set_config('maintenance_work_mem', '512MB', false)"
        }
    }
}

/// Takes the indexes away for as long as rows come in; answers the statements that bring them back.
async fn without_indexes(conn: &mut AnyConnection, engine: Engine) -> Vec<String> {
    let sql = match engine {
        Engine::Sqlite => {
            "select name, sql from sqlite_master where type = 'index' and sql is not null \
             and tbl_name in ('contacts', 'appointments')"
        }
        Engine::Postgres => {
            "select cast(indexname as text), indexdef from pg_indexes where schemaname = current_schema() \
             and tablename in ('contacts', 'appointments') and indexname not like '%_pkey'"
        }
    };
    let mut made = vec![];
    for row in sqlx::query(sql).fetch_all(&mut *conn).await.unwrap() {
        run(conn, &format!("drop index {}", row.get::<String, _>(0))).await;
        made.push(row.get(1));
    }
    made
}

/// A `from` item with the numbers below `count` in the column `name`.
fn numbers(engine: Engine, name: &str, count: i64) -> String {
    match engine {
        Engine::Sqlite => format!(
            "(with recursive s({name}) as (select 0 union all select {name} + 1 from s where {name} + 1 < {count}) \
             select {name} from s)"
        ),
        Engine::Postgres => format!("(select cast(g as bigint) as {name} from generate_series(0, {count} - 1) as g)"),
    }
}

fn contact_id(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "printf('01930000-0000-7000-8000-%012x', n)",
        Engine::Postgres => "'01930000-0000-7000-8000-' || lpad(to_hex(n), 12, '0')",
    }
}

fn padded(engine: Engine, number: &str, digits: usize) -> String {
    match engine {
        Engine::Sqlite => format!("printf('%0{digits}d', {number})"),
        Engine::Postgres => format!("lpad(cast({number} as text), {digits}, '0')"),
    }
}

fn last_at() -> String {
    format!("{} - (n * 7 % 200) * {DAY} - 1", now().at.0)
}

fn contacts(engine: Engine, count: i64) -> String {
    let (now, last, id) = (now().at.0, last_at(), contact_id(engine));
    let (month, people) = (padded(engine, "n % 12 + 1", 2), numbers(engine, "n", count));
    format!(
        "insert into contacts (tenant_id, contact_id, external_id, name, phone, email, attributes, preferences, \
         consents, search, appointments, completed, no_shows, last_at, next_at, created_at, updated_at) \
         select '{TENANT}', {id}, 'c' || n, 'Ana López ' || n, '+52331' || (1000000 + n), 'ana' || n || '@example.com', \
         '{{\"birthday\":\"1990-' || {month} || '-15\",\"favorite\":\"' || case n % 4 when 0 then 'color' else 'corte' end \
         || '\"}}', '{{}}', '[]', 'ana lopez ' || n, \
         n % 21 + case n % 5 when 0 then 1 else 0 end + case n % 10 when 0 then 1 else 0 end, n % 21, \
         case n % 5 when 0 then 1 else 0 end, case when n % 21 > 0 then {last} end, \
         case n % 10 when 0 then {now} + {DAY} end, {now}, {now} from {people} as people"
    )
}

/// In the order of their keys, which the store likes best.
fn appointments(engine: Engine, count: i64) -> String {
    let (now, last, id) = (now().at.0, last_at(), contact_id(engine));
    let (missed, next) = (now - 500 * DAY, now + DAY);
    let (person, which) = (padded(engine, "n", 8), padded(engine, "k", 2));
    let (people, slots) = (numbers(engine, "n", count), numbers(engine, "k", 23));
    format!(
        "insert into appointments (tenant_id, external_id, contact_id, starts_at, status, service, attributes, \
         created_at, updated_at) select '{TENANT}', 'v' || {person} || '-' || {which}, {id}, \
         case k when 21 then {missed} when 22 then {next} else {last} - k * {DAY} end, \
         case k when 21 then 'NO_SHOW' when 22 then 'CONFIRMED' else 'COMPLETED' end, 'Manicure', '{{}}', {now}, {now} \
         from {people} as people cross join {slots} as slots \
         where k < n % 21 or (k = 21 and n % 5 = 0) or (k = 22 and n % 10 = 0)"
    )
}

/// The figures kept are those of the appointments: the sum of all, and each of some.
async fn check(conn: &mut AnyConnection, count: i64) {
    let theirs = "from appointments a where a.tenant_id = c.tenant_id and a.contact_id = c.contact_id and ";
    let held = "a.status not in ('CANCELLED', 'NO_SHOW')";
    let (now, some) = (now().at.0, format!("c.contact_id < '01930000-0000-7000-8000-{:012x}'", count.min(2000)));
    let sql = format!(
        "select (select cast(sum(appointments) as bigint) from contacts) - (select count(*) from appointments), \
         (select count(*) from contacts c where {some} and (c.appointments <> (select count(*) {theirs} 1 = 1) \
         or c.completed <> (select count(*) {theirs} a.status = 'COMPLETED') \
         or c.no_shows <> (select count(*) {theirs} a.status = 'NO_SHOW') \
         or coalesce(c.last_at, 0) <> coalesce((select max(a.starts_at) {theirs} a.starts_at <= {now} and {held}), 0) \
         or coalesce(c.next_at, 0) <> coalesce((select min(a.starts_at) {theirs} a.starts_at > {now} and {held}), 0)))"
    );
    let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(conn).await.unwrap();
    assert_eq!((row.get::<i64, _>(0), row.get::<i64, _>(1)), (0, 0), "figures that are not their appointments'");
}
