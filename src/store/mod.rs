//! The store: connecting, migrating, and every difference between SQLite and PostgreSQL.
//!
//! All statements are one portable text for both (`$1` placeholders; `text`, `bigint`, `double precision`; the time is
//! a bind). Batches travel as one JSON text, see `Engine::rows`.

pub mod appointments;
pub mod batch;
pub mod callbacks;
pub mod caps;
pub mod channels;
pub mod consents;
pub mod contacts;
pub mod documents;
pub mod imports;
pub mod keys;
pub mod lanes;
mod nodelay;
pub mod notifications;
mod room;
pub mod sandbox;
pub mod segments;
pub mod suppressions;
pub mod tenants;
pub mod unread;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{
    Any, AnyConnection, AnyPool, AssertSqlSafe, ConnectOptions, Connection, Row, SqlSafeStr, Transaction, query,
    query_scalar,
};

use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::ids::TenantId;
use room::Room;

/// In them, `/* sqlite: … */` is text for SQLite alone.
static MIGRATIONS: Migrator = sqlx::migrate!();

/// FULL: an answered request is on disk. The cache is small because batches touch few pages.
const SQLITE_PRAGMAS: &str = "pragma journal_mode = wal; pragma synchronous = full; pragma busy_timeout = 5000; \
    pragma foreign_keys = on; pragma cache_size = -4096; pragma wal_autocheckpoint = 8000; \
    pragma journal_size_limit = 67108864";

pub type StoreResult<T> = Result<T, StoreError>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// A connected, migrated store. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pub engine: Engine,
    /// For reads, and for the rare writes of settings.
    pub pool: AnyPool,
    url: String,
    /// SQLite only, and only where a reserve is kept.
    room: Option<Arc<Room>>,
}

impl Db {
    /// Connects and brings the schema up to date; refuses one that is newer than this binary.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        sqlx::any::install_default_drivers();
        let engine = Engine::of(url)?;
        let url = engine.prepare_url(url)?;
        let pool = AnyPoolOptions::new()
            .max_connections(engine.readers())
            .min_connections(0)
            .acquire_timeout(Duration::from_secs(5))
            .idle_timeout(Duration::from_secs(60))
            .after_connect(move |conn, _| Box::pin(async move { engine.tune(conn).await }))
            .connect(&url)
            .await
            .with_context(|| format!("store.url: can't open the {} store", engine.name()))?;
        let db = Self { engine, pool, url, room: None };
        db.check_durability().await?;
        db.migrate().await?;
        Ok(db)
    }

    /// Keeps so many bytes of a SQLite store's disk free of what is new.
    pub fn keep_free(mut self, reserve: u64) -> StoreResult<Self> {
        if self.engine == Engine::Sqlite && reserve > 0 {
            self.room = Some(Arc::new(Room::new(self.sqlite_file()?, reserve)));
        }
        Ok(self)
    }

    /// Refuses what is new when only the reserve is left.
    pub fn check_room(&self) -> StoreResult<()> {
        self.room.as_ref().map_or(Ok(()), |room| room.check())
    }

    /// Calls may begin: there is room for their outcomes.
    pub fn has_room_for_calls(&self) -> bool {
        self.room.as_ref().is_none_or(|room| room.for_calls())
    }

    /// What is left of the disk, where a reserve is kept of it.
    pub fn free_bytes(&self) -> Option<u64> {
        self.room.as_ref().map(|room| room.free())
    }

    /// A connection outside the pool, for the one task that writes in batches.
    pub async fn connect(&self) -> StoreResult<AnyConnection> {
        let options: AnyConnectOptions = self.url.parse().map_err(StoreError::from)?;
        let connect = async {
            let mut conn = options.disable_statement_logging().connect().await?;
            self.engine.tune(&mut conn).await?;
            if self.engine == Engine::Postgres {
                // Every statement of the writer finds its rows by key. Whatever the statistics of a young table say, a
                // plan that scans is wrong, and planning anew each time is waste.
                for setting in [
                    "enable_seqscan = off",
                    "enable_hashjoin = off",
                    "enable_mergejoin = off",
                    "plan_cache_mode = force_generic_plan",
                    // A table that looks empty when the plan is made would be walked for each row of a batch.
                    "random_page_cost = 0.01",
                ] {
                    query(AssertSqlSafe(format!("set {setting}"))).execute(&mut conn).await?;
                }
            }
            Ok::<_, sqlx::Error>(conn)
        };
        match tokio::time::timeout(Duration::from_secs(5), connect).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(StoreError::Unavailable("no connection within 5 s".into())),
        }
    }

    /// As [`Db::connect`], for a task whose tables grow under its hands: a plan made for an empty table would serve a
    /// full one badly, so each batch gets its own. On SQLite a batch of it touches more pages than others do: people
    /// come in no order.
    pub async fn connect_for_growing(&self) -> StoreResult<AnyConnection> {
        let mut conn = self.connect().await?;
        let setting = match self.engine {
            Engine::Postgres => "set plan_cache_mode = force_custom_plan",
            Engine::Sqlite => "pragma cache_size = -16384",
        };
        query(setting).execute(&mut conn).await?;
        Ok(conn)
    }

    /// What time the server has; PostgreSQL only.
    pub async fn server_time(&self) -> StoreResult<Timestamp> {
        let ms: i64 = query_scalar("select cast(extract(epoch from clock_timestamp()) * 1000 as bigint)")
            .fetch_one(&self.pool)
            .await?;
        Ok(Timestamp(ms))
    }

    /// The store answers, for `/readyz`.
    pub async fn ping(&self) -> StoreResult<()> {
        query("select 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Where SQLite keeps it.
    fn sqlite_file(&self) -> StoreResult<PathBuf> {
        let options: SqliteConnectOptions = self.url.parse().map_err(StoreError::from)?;
        Ok(options.get_filename().to_path_buf())
    }

    async fn migrate(&self) -> anyhow::Result<()> {
        use sqlx::migrate::MigrateError;
        let mut conn = self.connect().await?;
        match self.engine.migrations().run(&mut conn).await {
            Ok(()) => Ok(()),
            Err(MigrateError::VersionMissing(version)) => anyhow::bail!(
                "the store's schema (migration {version}) is newer than this binary: run a newer recado, or restore a backup"
            ),
            Err(e) => Err(e).context("the store could not be migrated"),
        }
    }

    /// An accepted request must survive a loss of power, so a server that only pretends to sync is refused.
    async fn check_durability(&self) -> anyhow::Result<()> {
        if self.engine == Engine::Postgres {
            for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
                let value: String =
                    query_scalar("select current_setting($1)").bind(setting).fetch_one(&self.pool).await?;
                anyhow::ensure!(
                    value != "off",
                    "store.url: the PostgreSQL server runs with {setting} = off, so a crash would lose accepted \
                     notifications; turn it on"
                );
            }
        }
        Ok(())
    }
}

impl Engine {
    fn of(url: &str) -> anyhow::Result<Self> {
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => Ok(Self::Sqlite),
            Some("postgres" | "postgresql") => Ok(Self::Postgres),
            _ => anyhow::bail!("store.url: must begin with sqlite:// or postgres://"),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }

    fn migrations(self) -> Migrator {
        let mut all = MIGRATIONS.migrations.to_vec();
        if self == Self::Sqlite {
            for migration in &mut all {
                // Small rows are kept in their key's tree alone, without a second one by row number.
                let sql = migration.sql.as_str().replace("/* sqlite: without rowid */", "without rowid");
                migration.sql = AssertSqlSafe(sql).into_sql_str();
            }
        }
        Migrator::with_migrations(all)
    }

    fn readers(self) -> u32 {
        match self {
            Self::Sqlite => 3,
            Self::Postgres => 8,
        }
    }

    /// SQLite's file and its folder are made at first start.
    fn prepare_url(self, url: &str) -> anyhow::Result<String> {
        if self == Self::Postgres {
            return Ok(url.to_owned());
        }
        let rest = url.trim_start_matches("sqlite:").trim_start_matches("//");
        let (path, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        anyhow::ensure!(!path.is_empty() && path != ":memory:", "store.url: name a file, e.g. sqlite://data/recado.db");
        if let Some(folder) = std::path::Path::new(path).parent().filter(|f| !f.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("store.url: can't make the folder {}", folder.display()))?;
        }
        let mode = if parameters.contains("mode=") { "" } else { "mode=rwc" };
        Ok(format!(
            "sqlite://{path}?{parameters}{}{mode}",
            if parameters.is_empty() || mode.is_empty() { "" } else { "&" }
        ))
    }

    async fn tune(self, conn: &mut AnyConnection) -> Result<(), sqlx::Error> {
        if self == Self::Sqlite {
            query(SQLITE_PRAGMAS).execute(conn).await?;
        } else {
            nodelay::set();
            query("set jit = off").execute(conn).await?;
        }
        Ok(())
    }

    /// A `from` item `v` with one row per element of the JSON array bound as `$1`. `columns` is PostgreSQL's column
    /// list, `name type, …`, the names being the keys of each element.
    pub fn rows(self, columns: &str) -> String {
        match self {
            Self::Postgres => format!("json_to_recordset($1::json) as v({columns})"),
            Self::Sqlite => {
                let fields: Vec<String> = columns
                    .split(',')
                    .filter_map(|c| c.split_whitespace().next())
                    .map(|name| format!("value ->> '{name}' as {name}"))
                    .collect();
                // As `json_each`, but what each column is taken from is not written as text and parsed anew for it.
                format!("(select {} from jsonb_each($1)) as v", fields.join(", "))
            }
        }
    }
}

/// Text of a statement that holds [`Engine::rows`]: built once, kept for ever, holding no input of anybody.
pub(crate) struct Statement(&'static str);

impl Statement {
    pub(crate) fn new(text: String) -> Self {
        Self(Box::leak(text.into_boxed_str()))
    }

    pub(crate) fn sql(&self) -> AssertSqlSafe<&'static str> {
        AssertSqlSafe(self.0)
    }
}

/// A statement that holds [`Engine::rows`], made when it is first wanted on an engine.
pub(crate) struct PerEngine {
    sqlite: OnceLock<Statement>,
    postgres: OnceLock<Statement>,
}

impl PerEngine {
    pub(crate) const fn new() -> Self {
        Self { sqlite: OnceLock::new(), postgres: OnceLock::new() }
    }

    pub(crate) fn get(&self, engine: Engine, make: impl FnOnce() -> String) -> AssertSqlSafe<&'static str> {
        let slot = match engine {
            Engine::Sqlite => &self.sqlite,
            Engine::Postgres => &self.postgres,
        };
        slot.get_or_init(|| Statement::new(make())).sql()
    }
}

/// Begins a transaction in which this tenant's people and appointments belong to nobody else: who looks whether a
/// person is there and then makes one can't be overtaken. Taken back unless it is committed.
pub async fn begin_alone<'c>(
    conn: &'c mut AnyConnection,
    engine: Engine,
    tenant: &TenantId,
) -> StoreResult<Transaction<'c, Any>> {
    // SQLite has one writer at a time anyway.
    let text = match engine {
        Engine::Sqlite => "begin immediate",
        Engine::Postgres => "begin",
    };
    let mut transaction = conn.begin_with(text).await?;
    if engine == Engine::Postgres {
        query("select 1 from tenants where tenant_id = $1 for no key update")
            .bind(tenant.as_str())
            .fetch_optional(&mut *transaction)
            .await?;
    }
    Ok(transaction)
}

/// Commits what [`begin_alone`] began; a lost answer is not a failure but an unknown.
pub async fn commit_alone(transaction: Transaction<'_, Any>) -> StoreResult<()> {
    transaction.commit().await.map_err(unknown_if_unavailable)
}

fn unknown_if_unavailable(e: sqlx::Error) -> StoreError {
    match StoreError::from(e) {
        StoreError::Unavailable(detail) => StoreError::OutcomeUnknown(detail),
        other => other,
    }
}

/// Begins a transaction. On SQLite it takes the write lock at once: one that reads first may fail to write.
pub(crate) async fn begin(conn: &mut AnyConnection, engine: Engine) -> StoreResult<()> {
    let text = match engine {
        Engine::Sqlite => "begin immediate",
        Engine::Postgres => "begin",
    };
    query(text).execute(conn).await?;
    Ok(())
}

/// Commits; a lost answer is not a failure but an unknown.
pub(crate) async fn commit(conn: &mut AnyConnection) -> StoreResult<()> {
    query("commit").execute(conn).await.map(drop).map_err(unknown_if_unavailable)
}

/// Takes back what was begun. A connection on which even that fails is noticed at its next use.
pub(crate) async fn rollback(conn: &mut AnyConnection) {
    let _ = query("rollback").execute(conn).await;
}

/// A column that holds JSON.
pub(crate) fn json_column<T: serde::de::DeserializeOwned>(row: &sqlx::any::AnyRow, column: &str) -> StoreResult<T> {
    let text: String = row.try_get(column)?;
    serde_json::from_str(&text).map_err(|e| StoreError::Unreadable(format!("{column}: {e}")))
}

pub(crate) fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("rows are plain data")
}

/// `%`, `_` and `\` of a search text stand for themselves.
pub(crate) fn like_pattern(text: &str) -> String {
    let escaped: Cow<'_, str> = if text.contains(['%', '_', '\\']) {
        text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_").into()
    } else {
        text.into()
    };
    format!("%{escaped}%")
}
