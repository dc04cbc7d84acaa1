//! Notifications, which are also the queue. The statements of the hot path take a whole batch each.

use std::sync::Arc;

use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyExecutor, Row, query, query_scalar};

use super::{Engine, Statement, StoreResult, json_column, like_pattern, to_json};
use crate::clock::Timestamp;
use crate::content::{Content, Recipient};
use crate::error::StoreError;
use crate::ids::{NotificationId, TenantId};
use crate::status::{Category, Outcome, Status};

/// A notification at its current step: what a lane works on.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub tenant: TenantId,
    pub id: NotificationId,
    pub request_id: Arc<str>,
    pub branch: Option<Arc<str>>,
    pub kind: Arc<str>,
    pub category: Category,
    pub recipient: Arc<Recipient>,
    pub chain: Arc<[String]>,
    pub step: usize,
    pub channel: Arc<str>,
    pub address: Option<Arc<str>>,
    pub lane: Arc<str>,
    pub status: Status,
    /// In all steps, the open one included.
    pub attempts: u32,
    pub step_attempts: u32,
    pub step_began_at: Option<Timestamp>,
    pub attempt_began_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub send_at: Option<Timestamp>,
    pub created_at: Timestamp,
    /// `None`: shared by the request's recipients, to be read from `contents`.
    pub content: Option<Arc<Content>>,
    pub lease: Arc<str>,
}

/// A notification about to be stored. `row` is its JSON object without the closing brace and without the fields of
/// [`Born`], so that the one task that writes only has to join texts.
pub struct NewNotification {
    pub delivery: Delivery,
    pub row: String,
}

/// The state a notification is born in, decided at the last moment before the commit.
#[derive(Serialize)]
pub struct Born<'a> {
    pub status: &'a str,
    pub reason: Option<&'a str>,
    pub due_at: Option<Timestamp2>,
    pub lease_token: Option<&'a str>,
    pub attempts: u32,
    pub attempt_began_at: Option<Timestamp2>,
}

/// A timestamp as the store keeps it: milliseconds.
#[derive(Serialize, Clone, Copy)]
#[serde(transparent)]
pub struct Timestamp2(pub i64);

impl From<Timestamp> for Timestamp2 {
    fn from(t: Timestamp) -> Self {
        Self(t.0)
    }
}

impl NewNotification {
    pub fn new(delivery: Delivery, content: Option<&str>, extra: &NewExtra) -> Self {
        #[derive(Serialize)]
        struct Fixed<'a> {
            tenant_id: &'a str,
            notification_id: &'a str,
            request_id: &'a str,
            branch_id: Option<&'a str>,
            contact_id: Option<&'a str>,
            appointment_id: Option<&'a str>,
            kind: &'a str,
            category: &'a str,
            recipient: String,
            chain: String,
            channel: &'a str,
            address: Option<&'a str>,
            lane: &'a str,
            priority: i64,
            send_at: Option<Timestamp2>,
            expires_at: Option<Timestamp2>,
            content: Option<&'a str>,
            created_at: i64,
        }
        let d = &delivery;
        let mut row = to_json(&Fixed {
            tenant_id: d.tenant.as_str(),
            notification_id: d.id.as_str(),
            request_id: &d.request_id,
            branch_id: d.branch.as_deref(),
            contact_id: d.recipient.contact_id.as_deref(),
            appointment_id: extra.appointment_id.as_deref(),
            kind: &d.kind,
            category: d.category.as_str(),
            recipient: to_json(&*d.recipient),
            chain: to_json(&d.chain),
            channel: &d.channel,
            address: d.address.as_deref(),
            lane: &d.lane,
            priority: d.category.priority(),
            send_at: d.send_at.map(Into::into),
            expires_at: d.expires_at.map(Into::into),
            content,
            created_at: d.created_at.0,
        });
        row.pop();
        Self { delivery, row }
    }

    /// Appends this row, complete, to a JSON array under construction.
    pub fn write(&self, born: &Born<'_>, out: &mut String) {
        out.push(if out.is_empty() { '[' } else { ',' });
        out.push_str(&self.row);
        out.push(',');
        out.push_str(&to_json(born)[1..]);
    }
}

/// What a new notification carries that no lane needs.
#[derive(Default)]
pub struct NewExtra {
    pub appointment_id: Option<String>,
}

/// An attempt about to be made: the row becomes `sending` if the lease still holds.
#[derive(Serialize)]
pub struct Start<'a> {
    pub t: &'a str,
    pub id: &'a str,
    pub token: &'a str,
    pub now: i64,
    /// By when the attempt must have ended.
    pub due: i64,
}

/// What an attempt, or a decision without one, came to.
#[derive(Serialize)]
pub struct Finish<'a> {
    pub t: &'a str,
    pub id: &'a str,
    pub token: &'a str,
    pub status: &'a str,
    pub reason: Option<&'a str>,
    pub mid: Option<&'a str>,
    pub due: Option<i64>,
    pub now: i64,
    pub step: i64,
    pub channel: &'a str,
    pub address: Option<&'a str>,
    pub lane: &'a str,
    pub tries: i64,
    pub began: Option<i64>,
}

/// A finished attempt's line in the journal.
#[derive(Serialize)]
pub struct AttemptRow<'a> {
    pub t: &'a str,
    pub id: &'a str,
    pub n: i64,
    pub channel: &'a str,
    pub provider: &'a str,
    pub outcome: &'static str,
    pub began: i64,
    pub finished: i64,
    pub http: Option<u16>,
    pub mid: Option<&'a str>,
    pub reason: Option<&'a str>,
    pub error: Option<&'a str>,
}

/// One line of a notification's timeline beyond its attempts.
#[derive(Serialize)]
pub struct EventRow<'a> {
    pub t: &'a str,
    pub id: &'a str,
    pub event_id: String,
    pub event: &'a str,
    pub detail: Option<&'a str>,
    pub at: i64,
}

const DELIVERY: &str = "tenant_id, notification_id, request_id, branch_id, kind, category, recipient, chain, step, \
    channel, address, lane, status, attempts, step_attempts, step_began_at, attempt_began_at, expires_at, send_at, \
    content, created_at";

/// The batch statements, built once per process for its engine.
pub struct Hot {
    insert: Statement,
    contents: Statement,
    idempotency: Statement,
    dedupe: Statement,
    suppressed: Statement,
    start: Statement,
    finish: Statement,
    attempts: Statement,
    events: Statement,
    claim: Statement,
    release: Statement,
    memory: Statement,
    sandbox: Statement,
}

impl Hot {
    pub fn new(engine: Engine) -> Self {
        let rows = |columns: &str| engine.rows(columns);
        Self {
            insert: Statement::new(format!(
                "insert into notifications (tenant_id, notification_id, request_id, branch_id, contact_id, appointment_id, \
                 kind, category, recipient, chain, step, channel, address, lane, priority, status, reason, due_at, \
                 lease_token, attempts, step_attempts, step_began_at, attempt_began_at, send_at, expires_at, content, \
                 created_at, updated_at) \
                 select tenant_id, notification_id, request_id, branch_id, contact_id, appointment_id, kind, category, \
                 recipient, chain, 0, channel, address, lane, priority, status, reason, due_at, lease_token, attempts, \
                 attempts, attempt_began_at, attempt_began_at, send_at, expires_at, content, created_at, created_at \
                 from {}",
                rows(
                    "tenant_id text, notification_id text, request_id text, branch_id text, contact_id text, \
                     appointment_id text, kind text, category text, recipient text, chain text, channel text, \
                     address text, lane text, priority bigint, status text, reason text, due_at bigint, \
                     lease_token text, attempts bigint, attempt_began_at bigint, send_at bigint, expires_at bigint, \
                     content text, created_at bigint"
                )
            )),
            contents: Statement::new(format!(
                "insert into contents (tenant_id, request_id, content) select t, r, c from {}",
                rows("t text, r text, c text")
            )),
            // An expired key is taken over; a live one is left and not returned.
            idempotency: Statement::new(format!(
                "insert into idempotency_keys (tenant_id, route, idempotency_key, body_hash, status, response, created_at) \
                 select t, route, k, h, status, response, now from {} where true \
                 on conflict (tenant_id, route, idempotency_key) do update set body_hash = excluded.body_hash, \
                 status = excluded.status, response = excluded.response, created_at = excluded.created_at \
                 where idempotency_keys.created_at < excluded.created_at - 86400000 \
                 returning tenant_id, route, idempotency_key",
                rows("t text, route text, k text, h text, status bigint, response text, now bigint")
            )),
            dedupe: Statement::new(format!(
                "insert into dedupe_keys (tenant_id, dedupe_key, recipient, notification_id, created_at) \
                 select t, k, r, id, now from {} where true \
                 on conflict (tenant_id, dedupe_key, recipient) do update set notification_id = excluded.notification_id, \
                 created_at = excluded.created_at where dedupe_keys.created_at < excluded.created_at - 86400000 \
                 returning notification_id",
                rows("t text, k text, r text, id text, now bigint")
            )),
            suppressed: Statement::new(format!(
                "select v.id as id, s.reason as reason from {} join suppressions s on s.tenant_id = v.t and s.address = v.a \
                 and (s.category = 'all' or s.category = v.c)",
                rows("t text, id text, a text, c text")
            )),
            start: Statement::new(format!(
                "update notifications set status = 'sending', attempts = notifications.attempts + 1, \
                 step_attempts = notifications.step_attempts + 1, \
                 step_began_at = coalesce(notifications.step_began_at, v.now), attempt_began_at = v.now, \
                 due_at = v.due, updated_at = v.now from {} \
                 where notifications.tenant_id = v.t and notifications.notification_id = v.id \
                 and notifications.lease_token = v.token and notifications.status in ('queued', 'unknown') \
                 returning notifications.notification_id",
                rows("t text, id text, token text, now bigint, due bigint")
            )),
            finish: Statement::new(format!(
                "update notifications set status = v.status, reason = v.reason, \
                 message_id = coalesce(v.mid, notifications.message_id), due_at = v.due, lease_token = null, \
                 updated_at = v.now, step = v.step, channel = v.channel, address = v.address, lane = v.lane, \
                 step_attempts = v.tries, step_began_at = v.began from {} \
                 where notifications.tenant_id = v.t and notifications.notification_id = v.id \
                 and notifications.lease_token = v.token and notifications.due_at is not null",
                rows(
                    "t text, id text, token text, status text, reason text, mid text, due bigint, now bigint, \
                     step bigint, channel text, address text, lane text, tries bigint, began bigint"
                )
            )),
            attempts: Statement::new(format!(
                "insert into attempts (tenant_id, notification_id, number, channel, provider, outcome, began_at, \
                 finished_at, http_status, message_id, reason, error) \
                 select t, id, n, channel, provider, outcome, began, finished, http, mid, reason, error from {} where true \
                 on conflict (tenant_id, notification_id, number) do update set outcome = excluded.outcome, \
                 finished_at = excluded.finished_at, http_status = excluded.http_status, \
                 message_id = excluded.message_id, reason = 'late_result', error = excluded.error \
                 where attempts.outcome = 'unknown'",
                rows(
                    "t text, id text, n bigint, channel text, provider text, outcome text, began bigint, \
                     finished bigint, http bigint, mid text, reason text, error text"
                )
            )),
            events: Statement::new(format!(
                "insert into events (tenant_id, notification_id, event_id, event, detail, at) \
                 select t, id, event_id, event, detail, at from {}",
                rows("t text, id text, event_id text, event text, detail text, at bigint")
            )),
            // The guard on due_at stands twice: between the inner look and the outer write another node may claim.
            claim: Statement::new(format!(
                "update notifications set lease_token = $6, due_at = $5, \
                 status = case when status = 'scheduled' then 'queued' else status end \
                 where tenant_id = $1 and notification_id in (select notification_id from notifications \
                 where tenant_id = $1 and lane = $2 and priority = $3 and due_at <= $4 order by due_at limit $7) \
                 and due_at <= $4 returning {DELIVERY}"
            )),
            release: Statement::new(format!(
                "update notifications set lease_token = null, due_at = v.due, \
                 attempts = notifications.attempts - case when notifications.status = 'sending' then 1 else 0 end, \
                 status = case when notifications.status = 'sending' then 'queued' else notifications.status end from {} \
                 where notifications.tenant_id = v.t and notifications.notification_id = v.id \
                 and notifications.lease_token = v.token and notifications.status in ('queued', 'unknown', 'sending')",
                rows("t text, id text, token text, due bigint")
            )),
            memory: Statement::new(format!(
                "insert into recipient_memory (tenant_id, account, address, memory, updated_at) \
                 select t, account, address, memory, now from {} where true \
                 on conflict (tenant_id, account, address) do update set memory = excluded.memory, \
                 updated_at = excluded.updated_at",
                rows("t text, account text, address text, memory text, now bigint")
            )),
            sandbox: Statement::new(format!(
                "insert into sandbox_messages (tenant_id, sandbox_message_id, notification_id, channel, recipient, \
                 subject, body, html, actions, captured_at) \
                 select t, sid, id, channel, recipient, subject, body, html, actions, now from {}",
                rows(
                    "t text, sid text, id text, channel text, recipient text, subject text, body text, html text, \
                     actions text, now bigint"
                )
            )),
        }
    }

    pub async fn insert(&self, db: impl AnyExecutor<'_>, rows: &str) -> StoreResult<()> {
        query(self.insert.sql()).bind(rows).execute(db).await?;
        Ok(())
    }

    pub async fn insert_contents(&self, db: impl AnyExecutor<'_>, rows: &str) -> StoreResult<()> {
        query(self.contents.sql()).bind(rows).execute(db).await?;
        Ok(())
    }

    /// Takes the keys that are free; returns those taken, as (tenant, route, key).
    pub async fn take_idempotency_keys(
        &self,
        db: impl AnyExecutor<'_>,
        rows: &str,
    ) -> StoreResult<Vec<(String, String, String)>> {
        let rows = query(self.idempotency.sql()).bind(rows).fetch_all(db).await?;
        rows.iter().map(|r| Ok((r.try_get(0)?, r.try_get(1)?, r.try_get(2)?))).collect()
    }

    /// Takes the dedupe keys that are free; returns the ids that got theirs.
    pub async fn take_dedupe_keys(&self, db: impl AnyExecutor<'_>, rows: &str) -> StoreResult<Vec<String>> {
        let rows = query(self.dedupe.sql()).bind(rows).fetch_all(db).await?;
        rows.iter().map(|r| Ok(r.try_get(0)?)).collect()
    }

    /// Which of these are to suppressed addresses, with the reason.
    pub async fn suppressed(&self, db: impl AnyExecutor<'_>, rows: &str) -> StoreResult<Vec<(String, String)>> {
        let rows = query(self.suppressed.sql()).bind(rows).fetch_all(db).await?;
        rows.iter().map(|r| Ok((r.try_get(0)?, r.try_get(1)?))).collect()
    }

    /// Opens attempts; returns the ids whose lease still held.
    pub async fn start(&self, db: impl AnyExecutor<'_>, starts: &[Start<'_>]) -> StoreResult<Vec<String>> {
        let rows = query(self.start.sql()).bind(to_json(&starts)).fetch_all(db).await?;
        rows.iter().map(|r| Ok(r.try_get(0)?)).collect()
    }

    /// Moves notifications on; returns how many leases still held.
    pub async fn finish(&self, db: impl AnyExecutor<'_>, finishes: &[Finish<'_>]) -> StoreResult<u64> {
        Ok(query(self.finish.sql()).bind(to_json(&finishes)).execute(db).await?.rows_affected())
    }

    pub async fn journal(&self, db: impl AnyExecutor<'_>, attempts: &[AttemptRow<'_>]) -> StoreResult<()> {
        query(self.attempts.sql()).bind(to_json(&attempts)).execute(db).await?;
        Ok(())
    }

    pub async fn insert_events(&self, db: impl AnyExecutor<'_>, events: &[EventRow<'_>]) -> StoreResult<()> {
        query(self.events.sql()).bind(to_json(&events)).execute(db).await?;
        Ok(())
    }

    /// Gives leases back. An attempt that was opened but certainly not made is taken back, too.
    pub async fn release(&self, db: impl AnyExecutor<'_>, rows: &str) -> StoreResult<()> {
        query(self.release.sql()).bind(rows).execute(db).await?;
        Ok(())
    }

    pub async fn remember(&self, db: impl AnyExecutor<'_>, rows: &str) -> StoreResult<()> {
        query(self.memory.sql()).bind(rows).execute(db).await?;
        Ok(())
    }

    pub async fn capture(&self, db: impl AnyExecutor<'_>, rows: &str) -> StoreResult<()> {
        query(self.sandbox.sql()).bind(rows).execute(db).await?;
        Ok(())
    }

    /// Leases up to `limit` due rows of a lane, transactional ones first.
    pub async fn claim(&self, conn: &mut AnyConnection, claim: &Claim<'_>) -> StoreResult<Vec<StoreResult<Delivery>>> {
        let mut found = Vec::new();
        for priority in [Category::Transactional.priority(), Category::Marketing.priority()] {
            let left = claim.limit.saturating_sub(found.len());
            if left == 0 {
                break;
            }
            let rows = query(self.claim.sql())
                .bind(claim.tenant.as_str())
                .bind(claim.lane)
                .bind(priority)
                .bind(claim.now.0)
                .bind(claim.lease_end.0)
                .bind(&*claim.token)
                .bind(left as i64)
                .fetch_all(&mut *conn)
                .await?;
            found.extend(rows.iter().map(|row| Delivery::read(row, &claim.token)));
        }
        Ok(found)
    }
}

pub struct Claim<'a> {
    pub tenant: &'a TenantId,
    pub lane: &'a str,
    pub now: Timestamp,
    pub lease_end: Timestamp,
    pub token: Arc<str>,
    pub limit: usize,
}

fn at(row: &AnyRow, column: &str) -> StoreResult<Option<Timestamp>> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(Timestamp))
}

fn category(text: &str) -> StoreResult<Category> {
    match text {
        "transactional" => Ok(Category::Transactional),
        "marketing" => Ok(Category::Marketing),
        other => Err(StoreError::Unreadable(format!("category {other:?}"))),
    }
}

impl Delivery {
    fn read(row: &AnyRow, token: &Arc<str>) -> StoreResult<Self> {
        let text = |column: &str| -> StoreResult<String> { Ok(row.try_get(column)?) };
        let maybe = |column: &str| -> StoreResult<Option<String>> { Ok(row.try_get(column)?) };
        let number = |column: &str| -> StoreResult<i64> { Ok(row.try_get(column)?) };
        let content = match maybe("content")? {
            None => None,
            Some(json) => Some(parse_content(&json)?),
        };
        Ok(Self {
            tenant: text("tenant_id")?.into(),
            id: text("notification_id")?.into(),
            request_id: text("request_id")?.into(),
            branch: maybe("branch_id")?.map(Into::into),
            kind: text("kind")?.into(),
            category: category(&text("category")?)?,
            recipient: json_column::<Arc<Recipient>>(row, "recipient")?,
            chain: json_column::<Vec<String>>(row, "chain")?.into(),
            step: number("step")? as usize,
            channel: text("channel")?.into(),
            address: maybe("address")?.map(Into::into),
            lane: text("lane")?.into(),
            status: text("status")?.parse().map_err(|()| StoreError::Unreadable("status".into()))?,
            attempts: number("attempts")? as u32,
            step_attempts: number("step_attempts")? as u32,
            step_began_at: at(row, "step_began_at")?,
            attempt_began_at: at(row, "attempt_began_at")?,
            expires_at: at(row, "expires_at")?,
            send_at: at(row, "send_at")?,
            created_at: Timestamp(number("created_at")?),
            content,
            lease: Arc::clone(token),
        })
    }
}

pub fn parse_content(json: &str) -> StoreResult<Arc<Content>> {
    serde_json::from_str(json).map(Arc::new).map_err(|e| StoreError::Unreadable(format!("content: {e}")))
}

pub async fn find_shared_content(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    request_id: &str,
) -> StoreResult<Option<Arc<Content>>> {
    let text: Option<String> = query_scalar("select content from contents where tenant_id = $1 and request_id = $2")
        .bind(tenant.as_str())
        .bind(request_id)
        .fetch_optional(db)
        .await?;
    text.as_deref().map(parse_content).transpose()
}

/// The stored first answer of an Idempotency-Key.
pub struct FirstAnswer {
    pub body_hash: String,
    pub status: u16,
    pub response: String,
}

pub async fn find_first_answer(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    route: &str,
    key: &str,
    now: Timestamp,
) -> StoreResult<Option<FirstAnswer>> {
    let row = query(
        "select body_hash, status, response from idempotency_keys \
         where tenant_id = $1 and route = $2 and idempotency_key = $3 and created_at >= $4",
    )
    .bind(tenant.as_str())
    .bind(route)
    .bind(key)
    .bind(now.0 - 86_400_000)
    .fetch_optional(db)
    .await?;
    row.map(|r| {
        Ok(FirstAnswer { body_hash: r.try_get(0)?, status: r.try_get::<i64, _>(1)? as u16, response: r.try_get(2)? })
    })
    .transpose()
}

pub async fn update_first_answer(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    route: &str,
    key: &str,
    status: u16,
    response: &str,
) -> StoreResult<()> {
    query(
        "update idempotency_keys set status = $4, response = $5 \
         where tenant_id = $1 and route = $2 and idempotency_key = $3",
    )
    .bind(tenant.as_str())
    .bind(route)
    .bind(key)
    .bind(i64::from(status))
    .bind(response)
    .execute(db)
    .await?;
    Ok(())
}

pub async fn find_dedupe_owner(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    key: &str,
    recipient: &str,
) -> StoreResult<Option<String>> {
    Ok(query_scalar(
        "select notification_id from dedupe_keys where tenant_id = $1 and dedupe_key = $2 and recipient = $3",
    )
    .bind(tenant.as_str())
    .bind(key)
    .bind(recipient)
    .fetch_optional(db)
    .await?)
}

/// The earliest due moment of a lane, leased rows included.
pub async fn next_due(db: impl AnyExecutor<'_>, tenant: &TenantId, lane: &str) -> StoreResult<Option<Timestamp>> {
    let due: Option<i64> = query_scalar(
        "select min(d) from (\
         select min(due_at) as d from notifications where tenant_id = $1 and lane = $2 and priority = 0 and due_at is not null \
         union all \
         select min(due_at) as d from notifications where tenant_id = $1 and lane = $2 and priority = 1 and due_at is not null) as x",
    )
    .bind(tenant.as_str())
    .bind(lane)
    .fetch_one(db)
    .await?;
    Ok(due.map(Timestamp))
}

/// How old the oldest due and unclaimed work is, for `/metrics`.
pub async fn oldest_due_any_tenant(db: impl AnyExecutor<'_>, now: Timestamp) -> StoreResult<Option<Timestamp>> {
    let due: Option<i64> = query_scalar("select min(wake_at) from lanes where wake_at is not null and wake_at <= $1")
        .bind(now.0)
        .fetch_one(db)
        .await?;
    Ok(due.map(Timestamp))
}

/// A row as the API shows it.
#[derive(Debug, Clone)]
pub struct Listed {
    pub id: String,
    pub request_id: String,
    pub branch_id: Option<String>,
    pub appointment_id: Option<String>,
    pub kind: String,
    pub category: String,
    pub recipient: Recipient,
    pub chain: Vec<String>,
    pub channel: String,
    pub status: Status,
    pub reason: Option<String>,
    pub message_id: Option<String>,
    pub due_at: Option<Timestamp>,
    pub attempts: u32,
    pub attempt_began_at: Option<Timestamp>,
    pub send_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub content: Option<String>,
    pub created_at: Timestamp,
}

const LISTED: &str = "notification_id, request_id, branch_id, appointment_id, kind, category, recipient, chain, channel, \
    status, reason, message_id, due_at, attempts, attempt_began_at, send_at, expires_at, content, created_at";

impl Listed {
    fn read(row: &AnyRow) -> StoreResult<Self> {
        let status: String = row.try_get("status")?;
        Ok(Self {
            id: row.try_get("notification_id")?,
            request_id: row.try_get("request_id")?,
            branch_id: row.try_get("branch_id")?,
            appointment_id: row.try_get("appointment_id")?,
            kind: row.try_get("kind")?,
            category: row.try_get("category")?,
            recipient: json_column(row, "recipient")?,
            chain: json_column(row, "chain")?,
            channel: row.try_get("channel")?,
            status: status.parse().map_err(|()| StoreError::Unreadable(format!("status {status:?}")))?,
            reason: row.try_get("reason")?,
            message_id: row.try_get("message_id")?,
            due_at: at(row, "due_at")?,
            attempts: row.try_get::<i64, _>("attempts")? as u32,
            attempt_began_at: at(row, "attempt_began_at")?,
            send_at: at(row, "send_at")?,
            expires_at: at(row, "expires_at")?,
            content: row.try_get("content")?,
            created_at: Timestamp(row.try_get("created_at")?),
        })
    }
}

/// What a list may be narrowed by; everything optional.
#[derive(Debug, Default, Clone)]
pub struct Filter {
    pub status: Option<String>,
    pub channel: Option<String>,
    pub kind: Option<String>,
    pub category: Option<String>,
    /// A normalised phone or e-mail address.
    pub recipient: Option<String>,
    pub contact_id: Option<String>,
    pub appointment_id: Option<String>,
    pub branch_id: Option<String>,
    pub log_id: Option<String>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// Words found in the recipient or the kind.
    pub q: Option<String>,
    /// Only rows before this id.
    pub before: Option<String>,
}

/// Newest first.
pub async fn list(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    filter: &Filter,
    limit: usize,
) -> StoreResult<Vec<Listed>> {
    let sql = const_format(
        "select {} from notifications where tenant_id = $1 \
         and ($2 is null or notification_id < $2) and ($3 is null or status = $3) and ($4 is null or channel = $4) \
         and ($5 is null or kind = $5) and ($6 is null or category = $6) \
         and ($7 is null or address = $7 or recipient like $8 escape '\\') \
         and ($9 is null or contact_id = $9) and ($10 is null or appointment_id = $10) \
         and ($11 is null or branch_id = $11) and ($12 is null or request_id = $12) \
         and ($13 is null or created_at >= $13) and ($14 is null or created_at < $14) \
         and ($15 is null or lower(recipient) like $15 escape '\\' or lower(kind) like $15 escape '\\') \
         order by notification_id desc limit $16",
    );
    let rows = query(sql.sql())
        .bind(tenant.as_str())
        .bind(filter.before.as_deref())
        .bind(filter.status.as_deref())
        .bind(filter.channel.as_deref())
        .bind(filter.kind.as_deref())
        .bind(filter.category.as_deref())
        .bind(filter.recipient.as_deref())
        .bind(filter.recipient.as_deref().map(|r| like_pattern(&to_json(&r))))
        .bind(filter.contact_id.as_deref())
        .bind(filter.appointment_id.as_deref())
        .bind(filter.branch_id.as_deref())
        .bind(filter.log_id.as_deref())
        .bind(filter.from.map(|t| t.0))
        .bind(filter.to.map(|t| t.0))
        .bind(filter.q.as_deref().map(|q| like_pattern(&q.to_lowercase())))
        .bind(limit as i64)
        .fetch_all(db)
        .await?;
    rows.iter().map(Listed::read).collect()
}

/// The list statement is one constant with the columns filled in.
fn const_format(text: &'static str) -> &'static Statement {
    static LIST: std::sync::OnceLock<Statement> = std::sync::OnceLock::new();
    LIST.get_or_init(|| Statement::new(text.replacen("{}", LISTED, 1)))
}

pub async fn find(db: impl AnyExecutor<'_>, tenant: &TenantId, id: &str) -> StoreResult<Option<Listed>> {
    static FIND: std::sync::OnceLock<Statement> = std::sync::OnceLock::new();
    let sql = FIND.get_or_init(|| {
        Statement::new(format!("select {LISTED} from notifications where tenant_id = $1 and notification_id = $2"))
    });
    let row = query(sql.sql()).bind(tenant.as_str()).bind(id).fetch_optional(db).await?;
    row.as_ref().map(Listed::read).transpose()
}

/// A finished attempt as the API shows it.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub number: u32,
    pub channel: String,
    pub provider: String,
    pub outcome: Outcome,
    pub began_at: Timestamp,
    pub finished_at: Timestamp,
    pub http_status: Option<u16>,
    pub message_id: Option<String>,
    pub reason: Option<String>,
    pub error: Option<String>,
}

pub async fn attempts(db: impl AnyExecutor<'_>, tenant: &TenantId, id: &str) -> StoreResult<Vec<Attempt>> {
    let rows = query(
        "select number, channel, provider, outcome, began_at, finished_at, http_status, message_id, reason, error \
         from attempts where tenant_id = $1 and notification_id = $2 order by number",
    )
    .bind(tenant.as_str())
    .bind(id)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|r| {
            let outcome: String = r.try_get("outcome")?;
            Ok(Attempt {
                number: r.try_get::<i64, _>("number")? as u32,
                channel: r.try_get("channel")?,
                provider: r.try_get("provider")?,
                outcome: serde_json::from_value(outcome.into()).map_err(|e| StoreError::Unreadable(e.to_string()))?,
                began_at: Timestamp(r.try_get("began_at")?),
                finished_at: Timestamp(r.try_get("finished_at")?),
                http_status: r.try_get::<Option<i64>, _>("http_status")?.map(|s| s as u16),
                message_id: r.try_get("message_id")?,
                reason: r.try_get("reason")?,
                error: r.try_get("error")?,
            })
        })
        .collect()
}

#[derive(Debug, Clone)]
pub struct Event {
    pub event: String,
    pub detail: Option<String>,
    pub at: Timestamp,
}

pub async fn events(db: impl AnyExecutor<'_>, tenant: &TenantId, id: &str) -> StoreResult<Vec<Event>> {
    let rows =
        query("select event, detail, at from events where tenant_id = $1 and notification_id = $2 order by event_id")
            .bind(tenant.as_str())
            .bind(id)
            .fetch_all(db)
            .await?;
    rows.iter()
        .map(|r| {
            Ok(Event { event: r.try_get("event")?, detail: r.try_get("detail")?, at: Timestamp(r.try_get("at")?) })
        })
        .collect()
}

/// Cancels before hand-over. The row's own status decides: once an attempt is open, it is too late.
pub async fn cancel(db: impl AnyExecutor<'_>, tenant: &TenantId, id: &str, now: Timestamp) -> StoreResult<bool> {
    let done = query(
        "update notifications set status = 'cancelled', reason = 'cancelled', due_at = null, lease_token = null, updated_at = $3 \
         where tenant_id = $1 and notification_id = $2 and status in ('scheduled', 'queued') and attempts = 0",
    )
    .bind(tenant.as_str())
    .bind(id)
    .bind(now.0)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Puts a failed notification back in the queue, from its first channel; returns its lane.
pub async fn retry(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    id: &str,
    now: Timestamp,
) -> StoreResult<Option<String>> {
    Ok(query_scalar(
        "update notifications set status = 'queued', reason = 'retried_by_hand', due_at = $3, lease_token = null, \
         step_attempts = 0, step_began_at = null, updated_at = $3 \
         where tenant_id = $1 and notification_id = $2 and status = 'failed' returning lane",
    )
    .bind(tenant.as_str())
    .bind(id)
    .bind(now.0)
    .fetch_optional(db)
    .await?)
}

/// Leases of an earlier process on this file are void: only one process can have it open.
pub async fn void_leases_any_tenant(db: impl AnyExecutor<'_>, now: Timestamp) -> StoreResult<u64> {
    let done = query("update notifications set due_at = $1 where due_at is not null and lease_token is not null")
        .bind(now.0)
        .execute(db)
        .await?;
    Ok(done.rows_affected())
}
