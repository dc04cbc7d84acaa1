//! Every function of the store, directly, on both databases: they share one set of statements, and what one of them
//! makes of it is not what the other does until it was tried.

mod batches;
mod callbacks;
mod documents;
mod durability;
mod lanes;
mod notifications;
mod people;
mod segments;
mod settings;
mod unread;

use std::path::Path;

use recado::clock::Timestamp;
use recado::ids::TenantId;
use recado::settings::TenantSettings;
use recado::status::Status;
use recado::store::batch::{Batch, Batches, Kind, Val, status_number};
use recado::store::notifications::Listed;
use recado::store::{Db, Engine, StoreResult, tenants};
use serde_json::{Value, json};

use crate::support::TestStore;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn later(ms: i64) -> Timestamp {
    Timestamp(NOW.0 + ms)
}

/// Runs a test on each store there is: `on_each_db!(name, async |db: &Db| { … });`.
macro_rules! on_each_db {
    ($name:ident, $test:expr) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            for mut store in TestStore::each().await {
                let db = store.open().await;
                let test = $test;
                test(&db).await;
                db.pool.close().await;
                store.remove().await;
            }
        }
    };
}
use on_each_db;

async fn tenant(db: &Db, id: &str) -> TenantId {
    let id = TenantId::from(id);
    tenants::insert(&db.pool, &id, "Salón", &TenantSettings::default(), NOW).await.unwrap();
    id
}

/// Writes rows of one kind in a batch of their own; returns how many took effect. Values stand in the order of the
/// kind's columns.
async fn write<const N: usize>(db: &Db, kind: Kind, rows: &[[Value; N]]) -> StoreResult<u64> {
    let mut batch = Batch::default();
    for row in rows {
        batch.push(kind, row.each_ref().map(val));
    }
    let mut conn = db.connect().await.unwrap();
    Ok(Batches::new(db).commit(&mut conn, batch, false).await?.count(kind))
}

fn val(value: &Value) -> Val {
    match value {
        Value::Null => Val::Null,
        Value::Number(n) => n.as_i64().unwrap().into(),
        Value::String(text) => text.as_str().into(),
        other => other.to_string().into(),
    }
}

/// The row of a notification that waits, as a batch takes it, with some of its columns changed.
fn notification(id: &str, changes: &Value) -> [Value; 23] {
    let null = Value::Null;
    let usual = json!({"t": "a", "id": id, "kind": "note", "recipient": RECIPIENT, "channel": "sms", "address": "+521",
        "priority": 0, "status": status_number(Status::Queued), "due": NOW.0, "content": CONTENT, "created": NOW.0});
    let columns = [
        "t",
        "id",
        "request",
        "branch",
        "contact",
        "appointment",
        "kind",
        "recipient",
        "chain",
        "channel",
        "address",
        "lane",
        "priority",
        "status",
        "reason",
        "due",
        "token",
        "began",
        "send_at",
        "expires_at",
        "content",
        "created",
        "k",
    ];
    columns.map(|name| changes.get(name).or_else(|| usual.get(name)).unwrap_or(&null).clone())
}

/// Puts a row straight into the table, where a test is about what becomes of it; without it, it waits.
async fn insert(db: &Db, id: &str, changes: Value) {
    let usual = json!({"tenant_id": "a", "notification_id": id, "request_id": id, "kind": "note", "category": "transactional",
        "recipient": RECIPIENT, "chain": r#"["sms"]"#, "step": 0, "channel": "sms", "address": "+521", "lane": "sms",
        "priority": 0, "status": "queued", "due_at": NOW.0, "attempts": 0, "step_attempts": 0, "content": CONTENT,
        "created_at": NOW.0, "updated_at": NOW.0});
    let mut row = usual.as_object().unwrap().clone();
    row.extend(changes.as_object().unwrap().clone());
    row.retain(|_, value| !value.is_null());
    let names: Vec<&str> = row.keys().map(String::as_str).collect();
    let places: Vec<String> = (1..=names.len()).map(|n| format!("${n}")).collect();
    let sql = format!("insert into notifications ({}) values ({})", names.join(", "), places.join(", "));
    let mut insert = sqlx::query(sqlx::AssertSqlSafe(sql));
    for value in row.values() {
        insert = match value {
            Value::Number(n) => insert.bind(n.as_i64().unwrap()),
            text => insert.bind(text.as_str().unwrap().to_owned()),
        };
    }
    insert.execute(&db.pool).await.unwrap();
}

const RECIPIENT: &str = r#"{"phone":"+521"}"#;
const CONTENT: &str = r#"{"message":"Hola ñ \" ✓"}"#;

async fn find(db: &Db, id: &str) -> Listed {
    recado::store::notifications::find(&db.pool, &"a".into(), id).await.unwrap().unwrap()
}

/// The files of a folder, each with the name of its module.
fn rust_files(folder: &Path) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: &Path| {
        let named = if path.ends_with("mod.rs") { path.parent().unwrap() } else { path };
        let module = named.file_stem().unwrap().to_str().unwrap().to_owned();
        (module, std::fs::read_to_string(path).unwrap())
    };
    entries.flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![read(&path)] }).collect()
}

/// Where these words stand whole in a text.
fn places<'t>(text: &'t str, words: &str) -> impl Iterator<Item = usize> + use<'t> {
    let places: Vec<_> = text.match_indices(words).map(|(at, _)| at).collect();
    let begins = |at: &usize| !text[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    places.into_iter().filter(begins)
}

/// A future is what comes of this call; so it is not an iterator's `find`.
fn is_awaited(from_its_name: &str) -> bool {
    let mut depth = 0;
    let end = from_its_name.find(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ')' && depth == 0
    });
    end.is_some_and(|end| from_its_name[end + 1..].trim_start().starts_with(".await"))
}

/// Functions of the store that no test calls: as `module::function(…)`, or, of a type's own, on what a file that
/// knows the type may hold.
fn untried(sources: &[(String, String)], tests: &[&str]) -> Vec<String> {
    let mut untried = Vec::new();
    for (module, source) in sources {
        let mut kind = "";
        for line in source.lines() {
            let name = |function: &str| function.split(['(', '<']).next().unwrap().to_owned();
            if line.starts_with("impl") {
                let whole = line.trim_end_matches(" {").rsplit(' ').next().unwrap();
                kind = whole.split('<').next().unwrap();
            } else if let Some(function) = line.strip_prefix("pub async fn ") {
                let call = format!("{module}::{}", name(function));
                if !tests.iter().any(|test| places(test, &format!("{call}(")).next().is_some()) {
                    untried.push(call);
                }
            } else if let Some(function) = line.strip_prefix("    pub async fn ") {
                // What a type that is not public does, is tried with what uses it.
                if !source.contains(&format!("pub struct {kind} ")) {
                    continue;
                }
                let (of_it, of_one) = (format!("{kind}::{}(", name(function)), format!(".{}(", name(function)));
                let on_one = |test: &str| test.match_indices(&of_one).any(|(at, _)| is_awaited(&test[at..]));
                let tried = |test: &&str| {
                    places(test, &of_it).next().is_some() || (places(test, kind).next().is_some() && on_one(test))
                };
                if !tests.iter().any(tried) {
                    untried.push(of_it);
                }
            }
        }
    }
    untried
}

#[test]
fn every_function_of_the_store_is_tried_here() {
    let sources = rust_files(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/store")));
    assert!(sources.len() > 10, "the store's files are not where they were");
    let files = rust_files(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/store")));
    let mut tests: Vec<&str> = files.iter().map(|(_, text)| text.as_str()).collect();
    tests.extend([include_str!("store.rs"), include_str!("support/store.rs")]);
    assert_eq!(untried(&sources, &tests), Vec::<String>::new(), "not tried on both databases");
}

#[test]
fn a_function_of_a_common_name_is_not_taken_for_tried() {
    let source = "pub async fn find(\npub struct Asked {\nimpl Asked {\n    pub async fn find<'r>(\n";
    let sources = [("letters".to_owned(), source.to_owned())];
    let missing = |test: &str| untried(&sources, &[test]);
    assert_eq!(missing("find(1); contacts::find(1).await; old_letters::find(1).await").len(), 2);
    assert_eq!(missing("letters::find(1); Asked; rows.iter().find(|r| r.is(1)); find(2).await"), ["Asked::find("]);
    assert_eq!(missing("Asked::new(x).find(f(1)).await"), ["letters::find"]);
    assert_eq!(missing("store::letters::find(1); Asked::find(1)").len(), 0);
}

on_each_db!(it_opens_answers_and_tells_the_time, async |db: &Db| {
    db.ping().await.unwrap();
    let mut conn = db.connect().await.unwrap();
    sqlx::query("select 1").execute(&mut conn).await.unwrap();
    if db.engine == Engine::Postgres {
        let here = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
        let there = db.server_time().await.unwrap();
        assert!((there.0 - here).abs() < 3_600_000, "{there}");
    }
});

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_refused_and_an_opened_one_opens_again() {
    for mut store in TestStore::each().await {
        let db = store.open().await;
        store.open().await.pool.close().await;
        let newer = "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
            select 99999999, 'tomorrow', success, checksum, 0 from _sqlx_migrations limit 1";
        sqlx::query(newer).execute(&db.pool).await.unwrap();
        let refused = format!("{:#}", Db::open(&store.url).await.err().unwrap());
        assert!(refused.contains("99999999") && refused.contains("newer"), "{refused}");
        db.pool.close().await;
        store.remove().await;
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_says_which_setting_names_it() {
    for url in ["sqlite:///proc/no/such/folder/recado.db", "sqlite://:memory:", "mysql://root@localhost/x"] {
        let refused = format!("{:#}", Db::open(url).await.err().unwrap());
        assert!(refused.contains("store.url"), "{url}: {refused}");
    }
}
