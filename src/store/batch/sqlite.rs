//! A batch on SQLite: a thread of its own, one connection, one prepared statement a kind, bound and run row by row inside
//! one transaction.
//!
//! This goes past sqlx, to the same SQLite library: through `Any` and its worker's channel each text is copied four times
//! and each statement is a trip between threads, which costs more than the insert itself.

use std::collections::HashSet;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll};

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Statement};
use tokio::sync::oneshot;

use super::spec::{names, spec};
use super::{Batch, Changed, Kind, Rows, Val};
use crate::error::StoreError;
use crate::store::{SQLITE_PRAGMAS, StoreResult};

/// The thread's way in; it ends when this is dropped.
pub(super) struct Thread {
    jobs: mpsc::Sender<Job>,
}

struct Job {
    batch: Batch,
    reply: oneshot::Sender<StoreResult<Changed>>,
}

impl Thread {
    pub(super) async fn open(file: PathBuf) -> StoreResult<Self> {
        let (jobs, todo) = mpsc::channel();
        let (opened, open) = oneshot::channel::<StoreResult<()>>();
        let spawned = std::thread::Builder::new().name("store-writer".into()).spawn(move || {
            let conn = match connect(&file) {
                Ok(conn) => conn,
                Err(e) => {
                    let _ = opened.send(Err(e.into()));
                    return;
                }
            };
            let _ = opened.send(Ok(()));
            work(&conn, &todo, &keep_log_short(file));
        });
        spawned.map_err(|e| StoreError::Unavailable(format!("no thread for the store: {e}")))?;
        open.await.map_err(|_| ended())??;
        Ok(Self { jobs })
    }

    pub(super) fn launch(&self, batch: Batch) -> StoreResult<Commit> {
        let (reply, done) = oneshot::channel();
        self.jobs.send(Job { batch, reply }).map_err(|_| ended())?;
        Ok(Commit(done))
    }
}

/// A batch that is being written.
pub struct Commit(oneshot::Receiver<StoreResult<Changed>>);

impl Future for Commit {
    type Output = StoreResult<Changed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|done| done.unwrap_or_else(|_| Err(ended())))
    }
}

fn ended() -> StoreError {
    StoreError::Unavailable("the store's thread ended".into())
}

fn connect(file: &std::path::Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open(file)?;
    conn.execute_batch(SQLITE_PRAGMAS)?;
    Ok(conn)
}

fn work(conn: &Connection, todo: &mpsc::Receiver<Job>, shorten: &mpsc::SyncSender<()>) {
    let mut statements = Statements { conn, begin: None, commit: None, ready: Default::default() };
    let mut written = 0;
    while let Ok(Job { batch, reply }) = todo.recv() {
        let done = statements.transact(&batch);
        if done.is_err() && !conn.is_autocommit() {
            let _ = conn.execute_batch("rollback");
        }
        let _ = reply.send(done.map_err(StoreError::from));
        written += 1;
        if written >= SHORTEN_EVERY {
            written = 0;
            let _ = shorten.try_send(());
        }
    }
}

/// Batches after which the log is shortened: long before SQLite would do it inside a commit, with everybody waiting for
/// it, and before small ones fill the room that is kept for them on a disk that is nearly full.
const SHORTEN_EVERY: usize = 64;

/// Moves what the log holds into the file, on a thread of its own, when asked to; ends with the sender.
fn keep_log_short(file: PathBuf) -> mpsc::SyncSender<()> {
    let (shorten, asked) = mpsc::sync_channel(1);
    let shortening = move || {
        let conn = connect(&file)?;
        while let Ok(()) = asked.recv() {
            // On a full disk it fails; then the next one does more.
            let _ = conn.query_row("pragma wal_checkpoint(passive)", [], |_| Ok(()));
        }
        Ok::<_, rusqlite::Error>(())
    };
    // Without it commits do that work themselves.
    let _ = std::thread::Builder::new().name("store-log".into()).spawn(move || {
        if let Err(e) = shortening() {
            tracing::warn!(error = %e, "the store's log is shortened by its commits from now on");
        }
    });
    shorten
}

struct Statements<'a> {
    conn: &'a Connection,
    begin: Option<Statement<'a>>,
    commit: Option<Statement<'a>>,
    ready: [Option<Statement<'a>>; Kind::COUNT],
}

impl Statements<'_> {
    fn transact(&mut self, batch: &Batch) -> rusqlite::Result<Changed> {
        // A transaction that reads first may fail to write.
        prepared(&mut self.begin, self.conn, || "begin immediate".to_owned())?.execute([])?;
        let mut changed = Changed::default();
        // Requests whose Idempotency-Key was another's already.
        let mut refused = HashSet::new();
        for kind in Kind::ALL {
            let rows = batch.rows(kind);
            if rows.count == 0 {
                continue;
            }
            let statement = prepared(&mut self.ready[kind as usize], self.conn, || text(kind))?;
            let count = statement.parameter_count();
            for row in rows.iter() {
                if !refused.is_empty() && key_of(kind, row).is_some_and(|key| refused.contains(&key)) {
                    continue;
                }
                let taken = statement.execute(rusqlite::params_from_iter(row.iter().take(count)))?;
                changed.add(kind, taken as u64);
                if kind == Kind::Key && taken == 0 {
                    refused.extend(key_of(kind, row));
                }
            }
        }
        prepared(&mut self.commit, self.conn, || "commit".to_owned())?.execute([])?;
        Ok(changed)
    }
}

/// The statement of a slot, made when it is first wanted.
fn prepared<'s, 'c>(
    slot: &'s mut Option<Statement<'c>>,
    conn: &'c Connection,
    text: impl FnOnce() -> String,
) -> rusqlite::Result<&'s mut Statement<'c>> {
    match slot {
        Some(statement) => Ok(statement),
        none => Ok(none.insert(conn.prepare(&text())?)),
    }
}

/// Tenant, Idempotency-Key and request of a row that comes under a key.
fn key_of(kind: Kind, row: &[Val]) -> Option<[&str; 3]> {
    let [tenant, key, request] = match (kind, row) {
        (Kind::Notification, [t, id, request, .., k]) => [t, k, if let Val::Null = request { id } else { request }],
        (Kind::Key, [t, k, _, request, ..])
        | (Kind::Content, [t, request, _, k])
        | (Kind::Event, [t, .., request, k]) => [t, k, request],
        _ => return None,
    };
    Some([tenant.text()?, key.text()?, request.text()?])
}

/// The statement for one row: `v.name` becomes the number of its placeholder. Whether its key was free is known by then,
/// so that column, the last, is not named.
fn text(kind: Kind) -> String {
    let spec = spec(kind);
    let sql = match spec.sql.split_once(" select ") {
        None => spec.sql.replace("{from v}", ""),
        // From a query there could come many rows, so SQLite would keep an image of every page it changes for them, in case
        // one of them fails.
        Some((into, rest)) => {
            let (values, rest) = rest.split_once("{from v}").unwrap_or((rest, ""));
            let rest = [" where true", " where {its key was free}"]
                .iter()
                .find_map(|all| rest.strip_prefix(all))
                .unwrap_or(rest);
            format!("{into} values ({values}){rest}")
        }
    };
    let mut out = String::with_capacity(sql.len());
    let mut parts = sql.split("v.");
    out.extend(parts.next());
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
        let (name, rest) = part.split_at(end);
        let number = names(spec.columns).position(|n| n == name).map_or(0, |n| n + 1);
        debug_assert!(number > 0, "{kind:?} has no column {name}");
        out.push('?');
        out.push_str(&number.to_string());
        out.push_str(rest);
    }
    out
}

impl ToSql for Val {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(n) => ValueRef::Integer(*n),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Shared(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

impl Rows {
    fn iter(&self) -> impl Iterator<Item = &[Val]> {
        self.values.chunks(self.values.len() / self.count.max(1))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// P1, for the connection that writes what was accepted.
    #[test]
    fn the_writers_own_connection_waits_for_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let conn = connect(&folder.path().join("recado.db")).unwrap();
        let synchronous: i64 = conn.query_row("pragma synchronous", [], |row| row.get(0)).unwrap();
        assert_eq!(synchronous, 2, "FULL");
    }
}
