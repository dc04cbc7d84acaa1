//! The hot path's writes: one batch of rows of several kinds, one round trip, one commit.
//!
//! SQLite gets one text of several statements (`begin; …; commit`) whose rows are `values` lists, padded to a few sizes
//! so that prepared texts are found again. PostgreSQL gets one statement of data-changing CTEs over JSON texts. Both are
//! made from the same [`Spec`]s, the only difference being where `v` comes from.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::TryStreamExt;
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use sqlx::{AnyConnection, AssertSqlSafe, Either, Executor, Row, query};

use super::{Engine, StoreResult};
use crate::error::StoreError;
use crate::status::{Outcome, Status};

/// A value of a row.
#[derive(Debug, Clone)]
pub enum Val {
    Null,
    Int(i64),
    Text(String),
    /// Shared by many rows.
    Shared(Arc<str>),
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

const KINDS: [Kind; 11] = [
    Kind::Key,
    Kind::Notification,
    Kind::Content,
    Kind::Attempt,
    Kind::Finish,
    Kind::Advance,
    Kind::Start,
    Kind::Release,
    Kind::Memory,
    Kind::Captured,
    Kind::Event,
];

/// Columns of `v`, in the order in which rows are pushed, and the statement over it.
struct Spec {
    columns: &'static str,
    sql: &'static str,
}

/// Words that come as numbers, because a number costs nothing to hand over.
macro_rules! word {
    (status $from:literal) => {
        concat!(
            "case ", $from, " when 0 then 'scheduled' when 1 then 'queued' when 2 then 'sending' when 3 then 'sent' \
            when 4 then 'delivered' when 5 then 'read' when 6 then 'unknown' when 7 then 'failed' when 8 then 'expired' \
            when 9 then 'suppressed' when 10 then 'cancelled' end"
        )
    };
    (outcome $from:literal) => {
        concat!(
            "case ", $from, " when 0 then 'not_sent' when 1 then 'accepted' when 2 then 'rejected' \
            when 3 then 'throttled' when 4 then 'unknown' end"
        )
    };
}

/// The number of a status in a batch.
pub fn status_number(status: Status) -> i64 {
    Status::ALL.iter().position(|s| *s == status).unwrap_or_default() as i64
}

/// The number of an outcome in a batch.
pub fn outcome_number(outcome: Outcome) -> i64 {
    match outcome {
        Outcome::NotSent => 0,
        Outcome::Accepted => 1,
        Outcome::Rejected => 2,
        Outcome::Throttled => 3,
        Outcome::Unknown => 4,
    }
}

fn spec(kind: Kind) -> Spec {
    match kind {
        // An expired key is taken over; a live one is left, and then nothing of its request is stored.
        Kind::Key => Spec {
            columns: "t text, k text, h text, request text, response text, now bigint",
            sql: "insert into idempotency_keys (tenant_id, idempotency_key, body_hash, request_id, status, response, created_at) \
                select t, k, h, request, 202, response, now from {v} where true \
                on conflict (tenant_id, idempotency_key) do update set body_hash = excluded.body_hash, \
                request_id = excluded.request_id, status = excluded.status, response = excluded.response, \
                created_at = excluded.created_at where idempotency_keys.created_at < excluded.created_at - 86400000",
        },
        // Left out where it would only repeat: `request` (the id), `chain` (the channel alone), `lane` (the channel).
        Kind::Notification => Spec {
            columns: "t text, id text, request text, branch text, contact text, appointment text, kind text, \
                recipient text, chain text, channel text, address text, lane text, priority bigint, status bigint, \
                reason text, due bigint, token text, began bigint, send_at bigint, expires_at bigint, content text, \
                created bigint, k text",
            sql: concat!(
                "insert into notifications (tenant_id, notification_id, request_id, branch_id, contact_id, appointment_id, \
                kind, category, recipient, chain, step, channel, address, lane, priority, status, reason, due_at, lease_token, \
                attempts, step_attempts, step_began_at, attempt_began_at, send_at, expires_at, content, created_at, updated_at) \
                select t, id, coalesce(request, id), branch, contact, appointment, kind, \
                case priority when 0 then 'transactional' else 'marketing' end, recipient, \
                coalesce(chain, '[\"' || channel || '\"]'), 0, channel, address, coalesce(lane, channel), priority, ",
                word!(status "status"),
                ", reason, due, token, case when began is null then 0 else 1 end, case when began is null then 0 else 1 end, \
                began, began, send_at, expires_at, content, created, created from {v} where k is null or {taken}"
            ),
        },
        Kind::Content => Spec {
            columns: "t text, request text, content text, k text",
            sql: "insert into contents (tenant_id, request_id, content) select t, request, content from {v} \
                where k is null or {taken}",
        },
        // A late owner's result replaces the 'unknown' that was written for it; anything else stays as it is.
        Kind::Attempt => Spec {
            columns: "t text, id text, n bigint, channel text, provider text, outcome bigint, began bigint, finished bigint, \
                http bigint, mid text, reason text, error text",
            sql: concat!(
                "insert into attempts (tenant_id, notification_id, number, channel, provider, outcome, began_at, finished_at, \
                http_status, message_id, reason, error) \
                select t, id, n, channel, provider, ",
                word!(outcome "outcome"),
                ", began, finished, http, mid, reason, error from {v} where true \
                on conflict (tenant_id, notification_id, number) do update set outcome = excluded.outcome, \
                finished_at = excluded.finished_at, http_status = excluded.http_status, message_id = excluded.message_id, \
                reason = 'late_result', error = excluded.error where attempts.outcome = 'unknown'"
            ),
        },
        Kind::Finish => Spec {
            columns: "t text, id text, token text, status bigint, reason text, mid text, due bigint, now bigint",
            sql: concat!(
                "update notifications set status = ",
                word!(status "v.status"),
                ", reason = v.reason, message_id = coalesce(v.mid, notifications.message_id), due_at = v.due, \
                lease_token = null, updated_at = v.now from {v} \
                where notifications.tenant_id = v.t and notifications.notification_id = v.id \
                and notifications.lease_token = v.token"
            ),
        },
        Kind::Advance => Spec {
            columns: "t text, id text, token text, status bigint, reason text, due bigint, now bigint, step bigint, \
                channel text, address text, lane text",
            sql: concat!(
                "update notifications set status = ",
                word!(status "v.status"),
                ", reason = v.reason, due_at = v.due, lease_token = null, updated_at = v.now, step = v.step, \
                channel = v.channel, address = v.address, lane = v.lane, step_attempts = 0, step_began_at = null from {v} \
                where notifications.tenant_id = v.t and notifications.notification_id = v.id \
                and notifications.lease_token = v.token"
            ),
        },
        Kind::Start => Spec {
            columns: "t text, id text, token text, now bigint, due bigint",
            sql: "update notifications set status = 'sending', attempts = notifications.attempts + 1, \
                step_attempts = notifications.step_attempts + 1, \
                step_began_at = coalesce(notifications.step_began_at, v.now), attempt_began_at = v.now, \
                due_at = v.due, updated_at = v.now from {v} \
                where notifications.tenant_id = v.t and notifications.notification_id = v.id \
                and notifications.lease_token = v.token and notifications.status in ('queued', 'unknown')",
        },
        // An attempt that was opened but certainly not made is taken back, too.
        Kind::Release => Spec {
            columns: "t text, id text, token text, due bigint",
            sql: "update notifications set lease_token = null, due_at = v.due, \
                attempts = notifications.attempts - case when notifications.status = 'sending' then 1 else 0 end, \
                step_attempts = notifications.step_attempts - case when notifications.status = 'sending' then 1 else 0 end, \
                status = case when notifications.status = 'sending' then 'queued' else notifications.status end from {v} \
                where notifications.tenant_id = v.t and notifications.notification_id = v.id \
                and notifications.lease_token = v.token and notifications.status in ('queued', 'unknown', 'sending')",
        },
        Kind::Memory => Spec {
            columns: "t text, account text, address text, memory text, now bigint",
            sql: "insert into recipient_memory (tenant_id, account, address, memory, updated_at) \
                select t, account, address, memory, now from {v} where true \
                on conflict (tenant_id, account, address) do update set memory = excluded.memory, \
                updated_at = excluded.updated_at",
        },
        Kind::Captured => Spec {
            columns: "t text, sid text, id text, channel text, recipient text, subject text, body text, html text, \
                actions text, now bigint",
            sql: "insert into sandbox_messages (tenant_id, sandbox_message_id, notification_id, channel, recipient, subject, \
                body, html, actions, captured_at) \
                select t, sid, id, channel, recipient, subject, body, html, actions, now from {v}",
        },
        Kind::Event => Spec {
            columns: "t text, id text, event_id text, event text, detail text, at bigint",
            sql: "insert into events (tenant_id, notification_id, event_id, event, detail, at) \
                select t, id, event_id, event, detail, at from {v}",
        },
    }
}

/// In which batches the same Idempotency-Key, or the same address's memory, may come twice: then PostgreSQL's
/// `on conflict do update` refuses to touch one row twice in one statement, so only the last one is pushed.
#[derive(Default)]
pub struct Batch {
    rows: HashMap<Kind, Rows>,
}

#[derive(Default)]
struct Rows {
    count: usize,
    values: Vec<Val>,
}

impl Batch {
    pub fn push<const N: usize>(&mut self, kind: Kind, values: [Val; N]) {
        debug_assert_eq!(N, names(spec(kind).columns).count(), "{kind:?}");
        let rows = self.rows.entry(kind).or_default();
        rows.count += 1;
        rows.values.extend(values);
    }

    pub fn count(&self, kind: Kind) -> usize {
        self.rows.get(&kind).map_or(0, |r| r.count)
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// How many rows each kind changed.
#[derive(Debug, Default)]
pub struct Changed(HashMap<Kind, u64>);

impl Changed {
    /// Every row of this kind took effect.
    pub fn all(&self, kind: Kind, batch: &Batch) -> bool {
        self.0.get(&kind).copied().unwrap_or_default() == batch.count(kind) as u64
    }

    pub fn count(&self, kind: Kind) -> u64 {
        self.0.get(&kind).copied().unwrap_or_default()
    }
}

fn names(columns: &str) -> impl Iterator<Item = &str> {
    columns.split(',').filter_map(|c| c.split_whitespace().next())
}

/// Whether a text begins and commits, and the shape of its batch.
type TextKey = ([bool; 2], Vec<(Kind, usize)>);

/// Runs batches on one engine; keeps the texts it made.
pub struct Batches {
    engine: Engine,
    texts: HashMap<TextKey, &'static str>,
}

/// The sizes to which SQLite's `values` lists are padded.
const SIZES: [usize; 16] = [1, 2, 4, 6, 8, 12, 16, 20, 24, 32, 48, 64, 96, 128, 256, 512];

impl Batches {
    pub fn new(engine: Engine) -> Self {
        Self { engine, texts: HashMap::new() }
    }

    /// Writes a batch and commits it, with whatever is open on the connection.
    pub async fn commit(&mut self, conn: &mut AnyConnection, batch: Batch, open: bool) -> StoreResult<Changed> {
        let shape: Vec<(Kind, usize)> = KINDS
            .into_iter()
            .filter(|kind| batch.count(*kind) > 0)
            .map(|kind| (kind, self.padded(batch.count(kind))))
            .collect();
        match self.engine {
            Engine::Sqlite => self.commit_sqlite(conn, batch, shape, open).await,
            Engine::Postgres => self.commit_postgres(conn, batch, shape, open).await,
        }
    }

    fn padded(&self, count: usize) -> usize {
        match self.engine {
            Engine::Sqlite => SIZES.into_iter().find(|size| *size >= count).unwrap_or(count),
            Engine::Postgres => 0,
        }
    }

    fn text(&mut self, shape: &[(Kind, usize)], ends: [bool; 2], make: impl FnOnce() -> String) -> &'static str {
        let key = (ends, shape.to_vec());
        if let Some(text) = self.texts.get(&key) {
            return text;
        }
        // Few shapes come up, and each for the life of the process.
        let text: &'static str = Box::leak(make().into_boxed_str());
        self.texts.insert(key, text);
        text
    }

    async fn commit_sqlite(
        &mut self,
        conn: &mut AnyConnection,
        batch: Batch,
        shape: Vec<(Kind, usize)>,
        open: bool,
    ) -> StoreResult<Changed> {
        let mut rows = batch.rows;
        let mut changed = HashMap::with_capacity(shape.len());
        // What comes together has the same sizes, so that few texts come up: requests, outcomes, and the rest.
        let mut groups: Vec<Vec<(Kind, usize)>> = Vec::with_capacity(3);
        for part in shape {
            match groups.last_mut() {
                Some(group) if together(group[0].0) == together(part.0) => group.push(part),
                _ => groups.push(vec![part]),
            }
        }
        let last = groups.len().saturating_sub(1);
        for (n, group) in groups.into_iter().enumerate() {
            let (begins, commits) = (n == 0 && !open, n == last);
            let text = self.text(&group, [begins, commits], || {
                let statements: Vec<String> = group
                    .iter()
                    .map(|(kind, size)| {
                        let spec = spec(*kind);
                        let taken = taken(*kind, "idempotency_keys");
                        spec.sql.replace("{v}", &values(spec.columns, *size)).replace("{taken}", &taken)
                    })
                    .collect();
                // Each text sent by itself is a trip to SQLite's thread, so begin and commit travel along.
                let (begin, commit) =
                    (if begins { "begin immediate; " } else { "" }, if commits { "; commit" } else { "" });
                format!("{begin}{}{commit}", statements.join("; "))
            });
            let full = bind_all(query(AssertSqlSafe(text)), &group, &mut rows);
            match affected(&mut *conn, full).await {
                Ok(counts) => {
                    let counts = counts.into_iter().skip(usize::from(begins));
                    changed.extend(group.into_iter().map(|(kind, _)| kind).zip(counts));
                }
                Err(e) => {
                    let _ = conn.execute("rollback").await;
                    return Err(e.into());
                }
            }
        }
        Ok(Changed(changed))
    }

    async fn commit_postgres(
        &mut self,
        conn: &mut AnyConnection,
        batch: Batch,
        shape: Vec<(Kind, usize)>,
        open: bool,
    ) -> StoreResult<Changed> {
        let text = self.text(&shape, [false, false], || {
            // Parts of one statement do not see each other's rows, but what the first returns can be asked.
            let keyed = shape.iter().any(|(kind, _)| *kind == Kind::Key);
            let part = |(n, (kind, _)): (usize, &(Kind, usize))| {
                let spec = spec(*kind);
                let taken = if keyed { taken(*kind, "key_rows") } else { "false".to_owned() };
                let from = format!("json_to_recordset(${}::json) as v({})", n + 1, spec.columns);
                let returning = if *kind == Kind::Key { "tenant_id, idempotency_key, request_id" } else { "1" };
                let name = if *kind == Kind::Key { "key_rows".to_owned() } else { format!("p{n}") };
                format!(
                    "{name} as ({} returning {returning})",
                    spec.sql.replace("{v}", &from).replace("{taken}", &taken)
                )
            };
            let parts: Vec<String> = shape.iter().enumerate().map(part).collect();
            let counts: Vec<String> = shape
                .iter()
                .enumerate()
                .map(|(n, (kind, _))| {
                    let name = if *kind == Kind::Key { "key_rows".to_owned() } else { format!("p{n}") };
                    format!("(select count(*) from {name})")
                })
                .collect();
            format!("with {} select {}", parts.join(", "), counts.join(", "))
        });
        let mut full = query(AssertSqlSafe(text));
        for (kind, _) in &shape {
            full = full.bind(json(*kind, &batch.rows[kind]));
        }
        let row = full.fetch_one(&mut *conn).await.map_err(|e| lost(e, !open))?;
        if open {
            conn.execute("commit").await.map_err(|e| lost(e, true))?;
        }
        let mut changed = HashMap::new();
        for (n, (kind, _)) in shape.into_iter().enumerate() {
            changed.insert(kind, row.try_get::<i64, _>(n)? as u64);
        }
        Ok(Changed(changed))
    }
}

type AnyQuery = sqlx::query::Query<'static, sqlx::Any, sqlx::any::AnyArguments>;

fn bind_all(mut full: AnyQuery, group: &[(Kind, usize)], rows: &mut HashMap<Kind, Rows>) -> AnyQuery {
    for (kind, size) in group {
        let Rows { count, values } = rows.remove(kind).unwrap_or_default();
        let width = values.len() / count.max(1);
        for value in values {
            full = match value {
                Val::Null => full.bind(None::<i64>),
                Val::Int(n) => full.bind(n),
                Val::Text(text) => full.bind(text),
                Val::Shared(text) => full.bind(text.to_string()),
            };
        }
        for _ in 0..(size - count) * width {
            full = full.bind(None::<i64>);
        }
    }
    full
}

/// How many rows each statement of a text changed.
async fn affected(conn: &mut AnyConnection, full: AnyQuery) -> Result<Vec<u64>, sqlx::Error> {
    let mut counts = Vec::with_capacity(8);
    let mut results = conn.fetch_many(full);
    while let Some(result) = results.try_next().await? {
        if let Either::Left(done) = result {
            counts.push(done.rows_affected());
        }
    }
    Ok(counts)
}

/// The row's Idempotency-Key is in force because this very request put it there.
fn taken(kind: Kind, keys: &str) -> String {
    let request = if kind == Kind::Notification { "coalesce(v.request, v.id)" } else { "v.request" };
    format!(
        "exists (select 1 from {keys} i where i.tenant_id = v.t and i.idempotency_key = v.k and i.request_id = {request})"
    )
}

fn together(kind: Kind) -> u8 {
    match kind {
        Kind::Key | Kind::Notification | Kind::Content => 0,
        Kind::Attempt | Kind::Finish => 1,
        _ => 2,
    }
}

/// Where the commit itself was under way, a lost connection leaves the outcome unknown.
fn lost(e: sqlx::Error, committing: bool) -> StoreError {
    match StoreError::from(e) {
        StoreError::Unavailable(detail) if committing => StoreError::OutcomeUnknown(detail),
        other => other,
    }
}

/// SQLite's `v`: `size` rows of placeholders, those without a first value being padding.
fn values(columns: &str, size: usize) -> String {
    let width = names(columns).count();
    let row = format!("({})", vec!["?"; width].join(","));
    let named: Vec<String> = names(columns).enumerate().map(|(n, name)| format!("column{} as {name}", n + 1)).collect();
    let rows = vec![row.as_str(); size].join(",");
    format!("(select {} from (values {rows}) where column1 is not null) as v", named.join(", "))
}

/// PostgreSQL's `v`: an array of objects.
fn json(kind: Kind, rows: &Rows) -> String {
    struct Objects<'a>(&'a [&'static str], &'a [Val]);

    impl Serialize for Objects<'_> {
        fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
            let mut list = s.serialize_seq(None)?;
            for row in self.1.chunks(self.0.len()) {
                list.serialize_element(&Object(self.0, row))?;
            }
            list.end()
        }
    }

    struct Object<'a>(&'a [&'static str], &'a [Val]);

    impl Serialize for Object<'_> {
        fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
            // Absent and null are the same to json_to_recordset.
            s.collect_map(self.0.iter().zip(self.1).filter(|(_, value)| !matches!(value, Val::Null)))
        }
    }

    let names: Vec<&'static str> = names(spec(kind).columns).collect();
    super::to_json(&Objects(&names, &rows.values))
}
