//! A store of a test's own: a SQLite file in a scratch folder, or a schema on the PostgreSQL server at hand.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, LazyLock, Once};
use std::time::Duration;

use recado::store::{Db, Engine};
use sqlx::{AssertSqlSafe, Connection, Row};
use tempfile::TempDir;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

static TOLD: Once = Once::new();

const USUAL_SERVER: &str = "postgres://postgres@127.0.0.1:5432";

/// So that many tests at once stay below the server's limit of connections.
static AT_ONCE: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(MOST_AT_ONCE as usize)));
const MOST_AT_ONCE: u32 = 8;

pub struct TestStore {
    pub url: String,
    /// Also holds the key file.
    pub folder: TempDir,
    schema: Option<Schema>,
}

struct Schema {
    server: String,
    name: String,
    _turn: OwnedSemaphorePermit,
}

impl TestStore {
    pub fn sqlite() -> Self {
        let folder = folder();
        Self { url: format!("sqlite://{}", folder.path().join("recado.db").display()), folder, schema: None }
    }

    /// `None`, loudly, where no server answers.
    pub async fn postgres() -> Option<Self> {
        Self::postgres_with(1).await
    }

    /// While no other test has one: for a test that opens many connections.
    pub async fn postgres_alone() -> Option<Self> {
        Self::postgres_with(MOST_AT_ONCE).await
    }

    async fn postgres_with(turns: u32) -> Option<Self> {
        let server = server()?;
        let turn = Arc::clone(&AT_ONCE).acquire_many_owned(turns).await.unwrap();
        let name = format!("test_{}", Uuid::new_v4().simple());
        execute(&server, format!("create schema {name}")).await;
        let joint = if server.contains('?') { '&' } else { '?' };
        let url = format!("{server}{joint}options=-csearch_path%3D{name}");
        let schema = Schema { server, name, _turn: turn };
        Some(Self { url, folder: folder(), schema: Some(schema) })
    }

    /// Every store there is, for tests that need no app.
    pub async fn each() -> Vec<Self> {
        [Some(Self::sqlite()), Self::postgres().await].into_iter().flatten().collect()
    }

    pub async fn open(&self) -> Db {
        Db::open(&self.url).await.unwrap()
    }

    pub async fn remove(&mut self) {
        if let Some(schema) = self.schema.take() {
            execute(&schema.server, format!("drop schema {} cascade", schema.name)).await;
        }
    }
}

/// In memory where that is to be had: what is tried here is not the disk.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn server() -> Option<String> {
    if let Ok(url) = std::env::var("TEST_DATABASE_URL") {
        return Some(url.trim_end_matches('/').to_owned());
    }
    let address: SocketAddr = "127.0.0.1:5432".parse().unwrap();
    if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
        return Some(USUAL_SERVER.to_owned());
    }
    let why = "nothing was tried on PostgreSQL: set TEST_DATABASE_URL, or start a server on 127.0.0.1:5432";
    assert!(std::env::var_os("CI").is_none(), "{why}");
    // Past the test runner, which keeps what a passing test prints to itself.
    TOLD.call_once(|| drop(writeln!(std::io::stderr(), "SKIPPED: {why}")));
    None
}

async fn execute(server: &str, sql: String) {
    sqlx::any::install_default_drivers();
    let mut conn = sqlx::AnyConnection::connect(server).await.expect("the PostgreSQL server of the tests answers");
    sqlx::query(AssertSqlSafe(sql)).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

/// Everything in the store, as text: table by table, row by row.
pub async fn dump(db: &Db) -> Vec<(String, String)> {
    let tables = match db.engine {
        Engine::Sqlite => "select name from sqlite_master where type = 'table' and name not like 'sqlite_%'",
        Engine::Postgres => {
            "select cast(table_name as text) from information_schema.tables where table_schema = current_schema()"
        }
    };
    let mut all = Vec::new();
    for table in sqlx::query(tables).fetch_all(&db.pool).await.unwrap() {
        let name: String = table.get(0);
        let columns = match db.engine {
            Engine::Sqlite => format!("select name from pragma_table_info('{name}')"),
            Engine::Postgres => format!(
                "select cast(column_name as text) from information_schema.columns \
                 where table_schema = current_schema() and table_name = '{name}'"
            ),
        };
        let columns = sqlx::query(AssertSqlSafe(columns)).fetch_all(&db.pool).await.unwrap();
        let as_text = |column: &String| match db.engine {
            Engine::Sqlite => format!(
                "coalesce(case when typeof({column}) = 'blob' then hex({column}) else cast({column} as text) end, '')"
            ),
            Engine::Postgres => format!("coalesce(cast({column} as text), '')"),
        };
        let columns: Vec<String> = columns.iter().map(|c| as_text(&c.get(0))).collect();
        let sql = format!("select {} from {name}", columns.join(" || ' ' || "));
        for row in sqlx::query(AssertSqlSafe(sql)).fetch_all(&db.pool).await.unwrap() {
            all.push((name.clone(), row.get(0)));
        }
    }
    all
}
