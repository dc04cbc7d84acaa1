//! P1: what was committed is on the disk, on every connection there is, or the store is not opened.

use sqlx::{AnyConnection, Connection, query_scalar};

use super::*;

/// What SQLite calls `full`.
const FULL: i64 = 2;

async fn is_durable(engine: Engine, conn: &mut AnyConnection) {
    match engine {
        Engine::Sqlite => {
            let journal: String = query_scalar("pragma journal_mode").fetch_one(&mut *conn).await.unwrap();
            let synchronous: i64 = query_scalar("pragma synchronous").fetch_one(conn).await.unwrap();
            assert_eq!((journal.as_str(), synchronous), ("wal", FULL));
        }
        Engine::Postgres => {
            for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
                let value: String =
                    query_scalar("select current_setting($1)").bind(setting).fetch_one(&mut *conn).await.unwrap();
                assert_eq!(value, "on", "{setting}");
            }
        }
    }
}

on_each_db!(p1_every_connection_waits_for_the_disk, async |db: &Db| {
    // All that the pool may have, at once: so each of them is another.
    let mut readers = Vec::new();
    while readers.len() < db.pool.options().get_max_connections() as usize {
        readers.push(db.pool.acquire().await.unwrap());
    }
    assert!(readers.len() > 1);
    for conn in &mut readers {
        is_durable(db.engine, conn).await;
    }
    is_durable(db.engine, &mut db.connect().await.unwrap()).await;
    is_durable(db.engine, &mut db.connect_for_growing().await.unwrap()).await;
});

#[tokio::test(flavor = "multi_thread")]
async fn p1_a_sqlite_file_that_another_program_made_less_durable_is_made_durable_again() {
    let mut store = TestStore::sqlite();
    sqlx::any::install_default_drivers();
    let mut other = AnyConnection::connect(&format!("{}?mode=rwc", store.url)).await.unwrap();
    for pragma in ["pragma journal_mode = delete", "pragma synchronous = off", "create table theirs (x text)"] {
        sqlx::query(pragma).execute(&mut other).await.unwrap();
    }
    other.close().await.unwrap();
    let db = store.open().await;
    is_durable(db.engine, &mut db.pool.acquire().await.unwrap()).await;
    is_durable(db.engine, &mut db.connect().await.unwrap()).await;
    db.pool.close().await;
    store.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_a_postgresql_that_does_not_wait_for_its_disk_is_refused_before_anything_is_made() {
    let Some(mut store) = TestStore::postgres().await else { return };
    // The options of the URL go on with those of the schema.
    let careless = format!("{}%20-csynchronous_commit%3Doff", store.url);
    let refused = format!("{:#}", Db::open(&careless).await.err().expect("it is refused"));
    assert!(refused.starts_with("store.url: ") && refused.contains("synchronous_commit = off"), "{refused}");
    assert!(!refused.contains("postgres://"), "the URL may hold a password: {refused}");
    let mut conn = AnyConnection::connect(&store.url).await.unwrap();
    let tables = "select count(*) from information_schema.tables where table_schema = current_schema()";
    assert_eq!(query_scalar::<_, i64>(tables).fetch_one(&mut conn).await.unwrap(), 0, "it was not migrated");
    // What is safe on one server, though no standby has it yet, is good enough.
    for enough in ["local", "on"] {
        let url = format!("{}%20-csynchronous_commit%3D{enough}", store.url);
        let db = Db::open(&url).await.unwrap();
        let sql = "select current_setting('synchronous_commit')";
        let value: String = query_scalar(sql).fetch_one(&db.pool).await.unwrap();
        assert_eq!(value, enough, "the URL's options reach the server");
        db.pool.close().await;
    }
    conn.close().await.unwrap();
    store.remove().await;
}
