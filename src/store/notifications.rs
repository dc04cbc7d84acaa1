//! Notifications, which are also the queue. What sending writes goes through `batch`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyExecutor, Row, query, query_scalar};

use super::batch::{Batch, Kind, Val, status_number};
use super::{Engine, Statement, StoreResult, json_column, like_pattern, to_json};
use crate::clock::Timestamp;
use crate::content::{Content, Hop, Recipient};
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
    pub chain: Arc<[Hop]>,
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

/// A notification about to be stored, with its parts ready as the store keeps them: the one task that writes should
/// only have to hand them over.
pub struct NewNotification {
    pub delivery: Delivery,
    pub recipient: String,
    pub chain: String,
    /// `None`: shared by the request's recipients.
    pub content: Option<String>,
    pub appointment_id: Option<String>,
    /// What its timeline shall say of the way it was given.
    pub routed: Option<String>,
    /// One word for the person, where their marketing is counted.
    pub person: Option<String>,
    /// Why it must not be sent, where that is known already.
    pub refused: Option<String>,
    /// Why it waits until its `send_at`, where the caller did not ask for it.
    pub waits_for: Option<&'static str>,
}

/// The state a notification is born in, decided at the last moment before the commit.
pub struct Born<'a> {
    pub status: Status,
    pub reason: Option<&'a str>,
    pub due_at: Option<Timestamp>,
    pub leased: bool,
    /// An attempt is open from birth.
    pub attempt_began_at: Option<Timestamp>,
}

impl NewNotification {
    /// Adds its row. `key`: the stored Idempotency-Key, without which it is not stored.
    pub fn push(&self, batch: &mut Batch, born: &Born<'_>, key: Option<&Arc<str>>) {
        let d = &self.delivery;
        let at = |t: Option<Timestamp>| Val::from(t.map(|t| t.0));
        batch.push(
            Kind::Notification,
            [
                (&d.tenant.0).into(),
                (&d.id.0).into(),
                Some(&d.request_id).filter(|r| **r != d.id.0).into(),
                d.branch.as_ref().into(),
                d.recipient.contact_id.as_deref().into(),
                self.appointment_id.as_deref().into(),
                (&d.kind).into(),
                self.recipient.as_str().into(),
                Some(self.chain.as_str()).filter(|_| d.chain.len() > 1).into(),
                (&d.channel).into(),
                d.address.as_ref().into(),
                Some(&d.lane).filter(|lane| ***lane != *d.channel).into(),
                d.category.priority().into(),
                status_number(born.status).into(),
                born.reason.into(),
                at(born.due_at),
                Some(&d.lease).filter(|_| born.leased).into(),
                at(born.attempt_began_at),
                at(d.send_at),
                at(d.expires_at),
                self.content.as_deref().into(),
                d.created_at.0.into(),
                key.into(),
            ],
        );
    }
}

pub(super) const DELIVERY: &str = "tenant_id, notification_id, request_id, branch_id, kind, category, recipient, chain, step, \
    channel, address, lane, status, attempts, step_attempts, step_began_at, attempt_began_at, expires_at, send_at, \
    content, created_at";

/// Statements that are asked before or beside a batch, built once per process for its engine.
pub struct Asked {
    dedupe: Statement,
    suppressed: Statement,
    present: Statement,
    started: Statement,
    claim: Statement,
    claim_chains: Statement,
}

impl Asked {
    pub fn new(engine: Engine) -> Self {
        Self {
            // An expired key is taken over; a live one is left and not returned.
            dedupe: Statement::new(format!(
                "insert into dedupe_keys (tenant_id, dedupe_key, recipient, notification_id, created_at) \
                 select t, k, r, id, now from {} where true \
                 on conflict (tenant_id, dedupe_key, recipient) do update set notification_id = excluded.notification_id, \
                 created_at = excluded.created_at where dedupe_keys.created_at < excluded.created_at - 86400000 \
                 returning notification_id",
                engine.rows("t text, k text, r text, id text, now bigint")
            )),
            suppressed: Statement::new(format!(
                "select v.id as id, s.reason as reason from {} join suppressions s on s.tenant_id = v.t and s.address = v.a \
                 and (s.category = 'all' or s.category = v.c)",
                engine.rows("t text, id text, a text, c text")
            )),
            present: Statement::new(format!(
                "select v.id as id from {} join notifications n on n.tenant_id = v.t and n.notification_id = v.id",
                engine.rows("t text, id text")
            )),
            started: Statement::new(format!(
                "select v.id as id from {} join notifications n on n.tenant_id = v.t and n.notification_id = v.id \
                 and n.lease_token = v.token and n.status = 'sending'",
                engine.rows("t text, id text, token text")
            )),
            // The guard on due_at stands twice: between the inner look and the outer write another node may claim.
            claim: claim(""),
            claim_chains: claim("and chain like '%,%' "),
        }
    }

    /// Takes the dedupe keys that are free; returns the ids that got theirs.
    pub async fn take_dedupe_keys(
        &self,
        db: impl AnyExecutor<'_>,
        rows: &impl Serialize,
    ) -> StoreResult<HashSet<String>> {
        let rows = query(self.dedupe.sql()).bind(to_json(rows)).fetch_all(db).await?;
        rows.iter().map(|r| Ok(r.try_get(0)?)).collect()
    }

    /// Which of these are to suppressed addresses, with the reason.
    pub async fn suppressed(
        &self,
        db: impl AnyExecutor<'_>,
        rows: &impl Serialize,
    ) -> StoreResult<HashMap<String, String>> {
        let rows = query(self.suppressed.sql()).bind(to_json(rows)).fetch_all(db).await?;
        rows.iter().map(|r| Ok((r.try_get(0)?, r.try_get(1)?))).collect()
    }

    /// Which of these `{t, id}` are stored.
    pub async fn present(&self, db: impl AnyExecutor<'_>, rows: &impl Serialize) -> StoreResult<HashSet<String>> {
        let rows = query(self.present.sql()).bind(to_json(rows)).fetch_all(db).await?;
        rows.iter().map(|r| Ok(r.try_get(0)?)).collect()
    }

    /// Which of these `{t, id, token}` have an open attempt under that lease.
    pub async fn started(&self, db: impl AnyExecutor<'_>, rows: &impl Serialize) -> StoreResult<HashSet<String>> {
        let rows = query(self.started.sql()).bind(to_json(rows)).fetch_all(db).await?;
        rows.iter().map(|r| Ok(r.try_get(0)?)).collect()
    }

    /// Leases up to `limit` due rows of a lane, transactional ones first.
    pub async fn claim(&self, conn: &mut AnyConnection, claim: &Claim<'_>) -> StoreResult<Vec<StoreResult<Delivery>>> {
        let mut found = Vec::new();
        for priority in [Category::Transactional.priority(), Category::Marketing.priority()] {
            let left = claim.limit.saturating_sub(found.len());
            if left == 0 {
                break;
            }
            let statement = if claim.only_chains { &self.claim_chains } else { &self.claim };
            let rows = query(statement.sql())
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
    /// Leave rows that have only one channel to go.
    pub only_chains: bool,
}

fn claim(narrower: &str) -> Statement {
    Statement::new(format!(
        "update notifications set lease_token = $6, due_at = $5, \
         status = case when status = 'scheduled' then 'queued' else status end \
         where tenant_id = $1 and notification_id in (select notification_id from notifications \
         where tenant_id = $1 and lane = $2 and priority = $3 and due_at <= $4 {narrower}order by due_at limit $7) \
         and due_at <= $4 returning {DELIVERY}"
    ))
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
    /// The clock was set by so many milliseconds: what has begun began as long ago as before.
    pub fn clock_was_set(&mut self, by: i64) {
        for at in [&mut self.step_began_at, &mut self.attempt_began_at].into_iter().flatten() {
            *at = at.moved(by);
        }
    }

    pub(super) fn read(row: &AnyRow, token: &Arc<str>) -> StoreResult<Self> {
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
            chain: json_column::<Vec<Hop>>(row, "chain")?.into(),
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

/// The first answer of an Idempotency-Key.
pub struct FirstAnswer {
    pub body_hash: String,
    pub request_id: String,
    pub status: u16,
    /// `None`: one notification that was simply queued or scheduled.
    pub response: Option<String>,
}

/// `key`: as stored, with its route.
pub async fn find_first_answer(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    key: &str,
    now: Timestamp,
) -> StoreResult<Option<FirstAnswer>> {
    let row = query(
        "select body_hash, request_id, status, response from idempotency_keys \
         where tenant_id = $1 and idempotency_key = $2 and created_at >= $3",
    )
    .bind(tenant.as_str())
    .bind(key)
    .bind(now.0 - 86_400_000)
    .fetch_optional(db)
    .await?;
    row.map(|r| {
        Ok(FirstAnswer {
            body_hash: r.try_get(0)?,
            request_id: r.try_get(1)?,
            status: r.try_get::<i64, _>(2)? as u16,
            response: r.try_get(3)?,
        })
    })
    .transpose()
}

/// Replaces a first answer by the final one the caller waited for.
pub async fn update_first_answer(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    key: &str,
    status: u16,
    response: &str,
) -> StoreResult<()> {
    query("update idempotency_keys set status = $3, response = $4 where tenant_id = $1 and idempotency_key = $2")
        .bind(tenant.as_str())
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

/// Since when the oldest due and unclaimed work waits, for `/metrics`. Asks each lane that may have some.
pub async fn oldest_due_any_tenant(db: impl AnyExecutor<'_>, now: Timestamp) -> StoreResult<Option<Timestamp>> {
    let due: Option<i64> = query_scalar(
        "select min(d) from (\
         select (select min(due_at) from notifications n where n.tenant_id = l.tenant_id and n.lane = l.lane \
         and n.priority = 0 and n.due_at is not null) as d from lanes l where l.wake_at <= $1 \
         union all \
         select (select min(due_at) from notifications n where n.tenant_id = l.tenant_id and n.lane = l.lane \
         and n.priority = 1 and n.due_at is not null) as d from lanes l where l.wake_at <= $1) as x where d <= $1",
    )
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
            chain: json_column::<Vec<Hop>>(row, "chain")?.into_iter().map(|hop| hop.channel).collect(),
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
    let rows = query(
        "select event, detail, at from events where tenant_id = $1 and notification_id = $2 order by at, event_id",
    )
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

/// The clock was set by `by` milliseconds, and shows `now`: leases, retries and what waits for its turn fall due as much
/// later as they would have. What was planned for a moment stays planned for that moment.
pub async fn move_due_any_tenant(db: impl AnyExecutor<'_>, by: i64, now: Timestamp) -> StoreResult<u64> {
    let done = query(
        "update notifications set due_at = due_at + $1, step_began_at = step_began_at + $1, \
         attempt_began_at = attempt_began_at + $1 where due_at is not null and due_at > $2 and status <> 'scheduled'",
    )
    .bind(by)
    // What is due by either reading needs no move.
    .bind(now.0.min(now.moved(-by).0))
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Leases of an earlier process on this file are void: only one process can have it open.
pub async fn void_leases_any_tenant(db: impl AnyExecutor<'_>, now: Timestamp) -> StoreResult<u64> {
    let done = query("update notifications set due_at = $1 where due_at is not null and lease_token is not null")
        .bind(now.0)
        .execute(db)
        .await?;
    Ok(done.rows_affected())
}
