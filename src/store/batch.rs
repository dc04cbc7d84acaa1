//! The hot path's writes: rows of several kinds in one commit.
//!
//! SQLite gets prepared statements on a thread of its own, PostgreSQL one statement of data-changing CTEs over JSON texts.
//! Both are made from the same `spec::Spec`s.

mod json;
mod spec;
mod sqlite;

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use sqlx::AnyConnection;

use super::{Db, Engine, StoreResult};
use crate::error::StoreError;
pub use spec::{outcome_number, status_number};
pub use sqlite::Commit;

/// A value of a row.
#[derive(Debug, Clone)]
pub enum Val {
    Null,
    Int(i64),
    Text(String),
    /// Shared by many rows.
    Shared(Arc<str>),
}

impl Val {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Shared(text) => Some(text),
            Self::Null | Self::Int(_) => None,
        }
    }
}

impl From<i64> for Val {
    fn from(n: i64) -> Self {
        Self::Int(n)
    }
}

impl From<&str> for Val {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Val {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&Arc<str>> for Val {
    fn from(text: &Arc<str>) -> Self {
        Self::Shared(Arc::clone(text))
    }
}

impl<T: Into<Val>> From<Option<T>> for Val {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl Serialize for Val {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => s.serialize_none(),
            Self::Int(n) => s.serialize_i64(*n),
            Self::Text(text) => s.serialize_str(text),
            Self::Shared(text) => s.serialize_str(text),
        }
    }
}

/// What a row does. The order is that of execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Take an Idempotency-Key.
    Key,
    /// Accept a notification.
    Notification,
    /// Content shared by a request's recipients.
    Content,
    /// A finished attempt's line in the journal.
    Attempt,
    /// Record where a notification stands after its attempt.
    Finish,
    /// Move a notification to another channel of its chain.
    Advance,
    /// Open an attempt.
    Start,
    /// Give a lease back.
    Release,
    Memory,
    Captured,
    Event,
}

impl Kind {
    const COUNT: usize = 11;

    const ALL: [Self; Self::COUNT] = [
        Self::Key,
        Self::Notification,
        Self::Content,
        Self::Attempt,
        Self::Finish,
        Self::Advance,
        Self::Start,
        Self::Release,
        Self::Memory,
        Self::Captured,
        Self::Event,
    ];
}

/// In which batches the same Idempotency-Key, or the same address's memory, may come twice: then PostgreSQL's
/// `on conflict do update` refuses to touch one row twice in one statement, so only the last one is pushed.
#[derive(Default)]
pub struct Batch {
    rows: [Rows; Kind::COUNT],
}

#[derive(Default)]
struct Rows {
    count: usize,
    values: Vec<Val>,
}

impl Batch {
    pub fn push<const N: usize>(&mut self, kind: Kind, values: [Val; N]) {
        debug_assert_eq!(N, spec::names(spec::spec(kind).columns).count(), "{kind:?}");
        let rows = &mut self.rows[kind as usize];
        rows.count += 1;
        rows.values.extend(values);
    }

    pub fn count(&self, kind: Kind) -> usize {
        self.rows(kind).count
    }

    pub fn is_empty(&self) -> bool {
        self.rows.iter().all(|rows| rows.count == 0)
    }

    fn rows(&self, kind: Kind) -> &Rows {
        &self.rows[kind as usize]
    }

    /// Those there are rows of, in the order of execution.
    fn kinds(&self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(|kind| self.count(*kind) > 0)
    }
}

/// How many rows each kind changed.
#[derive(Debug, Default)]
pub struct Changed([u64; Kind::COUNT]);

impl Changed {
    /// Every row of this kind took effect.
    pub fn all(&self, kind: Kind, batch: &Batch) -> bool {
        self.count(kind) == batch.count(kind) as u64
    }

    pub fn count(&self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }

    fn add(&mut self, kind: Kind, rows: u64) {
        self.0[kind as usize] += rows;
    }
}

/// Runs batches on one store; keeps what they need between them.
pub struct Batches {
    db: Db,
    texts: HashMap<Vec<Kind>, &'static str>,
    thread: Option<sqlite::Thread>,
}

impl Batches {
    pub fn new(db: &Db) -> Self {
        Self { db: db.clone(), texts: HashMap::new(), thread: None }
    }

    /// Writes a batch and commits it. `open`: together with the transaction that is open on `conn`; else `conn` is left
    /// alone on SQLite.
    pub async fn commit(&mut self, conn: &mut AnyConnection, batch: Batch, open: bool) -> StoreResult<Changed> {
        match (self.db.engine, open) {
            (Engine::Postgres, _) => json::commit_postgres(conn, &batch, open, &mut self.texts).await,
            (Engine::Sqlite, true) => json::commit_sqlite(conn, &batch).await,
            (Engine::Sqlite, false) => self.launch(batch).await?.await,
        }
    }

    /// Hands a batch to SQLite's thread, which writes one after another; the future is its commit. There is no such thread
    /// for PostgreSQL.
    pub async fn launch(&mut self, batch: Batch) -> StoreResult<Commit> {
        if self.db.engine == Engine::Postgres {
            return Err(StoreError::Statement("PostgreSQL takes one batch at a time".into()));
        }
        let thread = match &self.thread {
            Some(thread) => thread,
            None => self.thread.insert(sqlite::Thread::open(self.db.sqlite_file()?).await?),
        };
        thread.launch(batch)
    }
}
