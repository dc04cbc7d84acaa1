//! What providers reported: status reports, matched to notifications or kept until they can be, and inbound messages.
//! Everything here runs inside the writer's transaction, but for the reads of the window and of the log.

use std::sync::OnceLock;

use plugin_api::Hint;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyExecutor, Row, query, query_scalar};

use super::notifications::DELIVERY;
use super::{Statement, StoreResult};
use crate::clock::Timestamp;
use crate::ids::TenantId;
use crate::status::Status;
use crate::store::notifications::Delivery;
use crate::writer::NextStep;

/// One report about a message.
#[derive(Debug, Clone)]
pub struct Report {
    pub tenant: TenantId,
    /// Key of the account whose hook it came to.
    pub account: String,
    pub message_id: String,
    /// The message's id as we gave it, where the provider echoes it.
    pub reference: Option<String>,
    pub state: Status,
    pub reason: Option<String>,
    pub detail: Option<String>,
    pub hint: Option<Hint>,
    pub happened_at: Timestamp,
    pub received_at: Timestamp,
}

/// A message that a person sent.
#[derive(Debug, Clone)]
pub struct InboundRow {
    pub tenant: TenantId,
    pub account: String,
    pub message_id: String,
    pub channel: String,
    pub sender: String,
    pub name: Option<String>,
    pub body: String,
    pub action: Option<String>,
    pub notification_id: Option<String>,
    pub happened_at: Timestamp,
    pub received_at: Timestamp,
    /// The person wants no more marketing. Not stored: it takes effect with the message, once.
    pub opts_out: bool,
}

/// Keeps a report until its message is known.
pub async fn keep_report(db: impl AnyExecutor<'_>, r: &Report) -> StoreResult<()> {
    query(
        "insert into reports (tenant_id, account, message_id, state, reference, reason, detail, hint, happened_at, \
         received_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
         on conflict (tenant_id, account, message_id, state) do nothing",
    )
    .bind(r.tenant.as_str())
    .bind(&r.account)
    .bind(&r.message_id)
    .bind(r.state.as_str())
    .bind(r.reference.as_deref())
    .bind(r.reason.as_deref())
    .bind(r.detail.as_deref())
    .bind(r.hint.map(Hint::as_str))
    .bind(r.happened_at.0)
    .bind(r.received_at.0)
    .execute(db)
    .await?;
    Ok(())
}

/// Kept reports that can be dealt with now, the oldest first: their message is known, or they came before `expired` and
/// are given up. Reports of messages that somebody else sent from the same account stay out of the way.
pub async fn ripe_reports_any_tenant(
    db: impl AnyExecutor<'_>,
    expired: Timestamp,
    limit: usize,
) -> StoreResult<Vec<Report>> {
    let rows = query(
        "select r.tenant_id, r.account, r.message_id, r.state, r.reference, r.reason, r.detail, r.hint, r.happened_at, \
         r.received_at \
         from reports r where received_at < $1 \
         or exists (select 1 from notifications n where n.tenant_id = r.tenant_id and n.message_id = r.message_id \
         and n.status not in ('scheduled', 'queued', 'sending')) \
         or exists (select 1 from notifications n where n.tenant_id = r.tenant_id \
         and n.notification_id = substr(r.reference, 1, 36) and n.status not in ('scheduled', 'queued', 'sending')) \
         order by received_at limit $2",
    )
    .bind(expired.0)
    .bind(limit as i64)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|r| {
            let state: String = r.try_get("state")?;
            Ok(Report {
                tenant: r.try_get::<String, _>("tenant_id")?.into(),
                account: r.try_get("account")?,
                message_id: r.try_get("message_id")?,
                reference: r.try_get("reference")?,
                state: state.parse().map_err(|()| crate::error::StoreError::Unreadable("state".into()))?,
                reason: r.try_get("reason")?,
                detail: r.try_get("detail")?,
                hint: r.try_get::<Option<String>, _>("hint")?.as_deref().and_then(Hint::of),
                happened_at: Timestamp(r.try_get("happened_at")?),
                received_at: Timestamp(r.try_get("received_at")?),
            })
        })
        .collect()
}

/// The clock was set by so many milliseconds: reports are kept as long as they would have been.
pub async fn move_reports_any_tenant(db: impl AnyExecutor<'_>, by: i64) -> StoreResult<()> {
    query("update reports set received_at = received_at + $1").bind(by).execute(db).await?;
    Ok(())
}

pub async fn drop_report(db: impl AnyExecutor<'_>, r: &Report) -> StoreResult<()> {
    query("delete from reports where tenant_id = $1 and account = $2 and message_id = $3 and state = $4")
        .bind(r.tenant.as_str())
        .bind(&r.account)
        .bind(&r.message_id)
        .bind(r.state.as_str())
        .execute(db)
        .await?;
    Ok(())
}

/// The notification a report is about, in whatever state: by our own id, else by the provider's.
pub async fn find_reported(conn: &mut AnyConnection, r: &Report) -> StoreResult<Option<Delivery>> {
    static BY_ID: OnceLock<Statement> = OnceLock::new();
    static BY_MESSAGE: OnceLock<Statement> = OnceLock::new();
    let text = |by: &str| {
        Statement::new(format!(
            "select {DELIVERY}, lease_token from notifications where tenant_id = $1 and {by} = $2 \
             order by notification_id desc limit 1"
        ))
    };
    // `id`, or `id.step` for a later channel of the chain: then an earlier step's report does not count.
    if let Some((id, step)) = r.reference.as_deref().map(|r| r.split_once('.').unwrap_or((r, "0"))) {
        let sql = BY_ID.get_or_init(|| text("notification_id")).sql();
        if let Some(row) = query(sql).bind(r.tenant.as_str()).bind(id).fetch_optional(&mut *conn).await? {
            return Ok(Some(read(&row)?).filter(|d| d.step.to_string() == step));
        }
    }
    let sql = BY_MESSAGE.get_or_init(|| text("message_id")).sql();
    let row = query(sql).bind(r.tenant.as_str()).bind(&r.message_id).fetch_optional(conn).await?;
    row.as_ref().map(read).transpose()
}

fn read(row: &AnyRow) -> StoreResult<Delivery> {
    let lease: Option<String> = row.try_get("lease_token")?;
    Delivery::read(row, &lease.unwrap_or_default().into())
}

/// Moves a notification to a reported state, unless it moved on meanwhile.
pub async fn apply_report(db: impl AnyExecutor<'_>, d: &Delivery, report: &Report, now: Timestamp) -> StoreResult<()> {
    query(
        "update notifications set status = $4, reason = $5, message_id = $6, due_at = null, lease_token = null, \
         updated_at = $7 where tenant_id = $1 and notification_id = $2 and status = $3",
    )
    .bind(d.tenant.as_str())
    .bind(d.id.as_str())
    .bind(d.status.as_str())
    .bind(report.state.as_str())
    .bind(report.reason.as_deref())
    .bind(&report.message_id)
    .bind(now.0)
    .execute(db)
    .await?;
    Ok(())
}

/// Sends a notification that was reported as failed on its next way, unless it moved on meanwhile.
pub async fn advance_reported(
    db: impl AnyExecutor<'_>,
    d: &Delivery,
    next: &NextStep,
    reason: Option<&str>,
    now: Timestamp,
) -> StoreResult<()> {
    query(
        "update notifications set status = 'queued', reason = $4, message_id = null, due_at = $5, lease_token = null, \
         updated_at = $5, step = $6, channel = $7, address = $8, lane = $9, step_attempts = 0, step_began_at = null \
         where tenant_id = $1 and notification_id = $2 and status = $3",
    )
    .bind(d.tenant.as_str())
    .bind(d.id.as_str())
    .bind(d.status.as_str())
    .bind(reason)
    .bind(now.0)
    .bind(next.step as i64)
    .bind(&*next.channel)
    .bind(next.address.as_deref())
    .bind(&*next.lane)
    .execute(db)
    .await?;
    Ok(())
}

/// A line of a notification's timeline; the same `event_id` is the same line.
pub async fn insert_event(
    db: impl AnyExecutor<'_>,
    d: &Delivery,
    event_id: &str,
    event: &str,
    detail: Option<&str>,
    at: Timestamp,
) -> StoreResult<()> {
    line(db, (&d.tenant, d.id.as_str()), event_id, event, detail, at).await
}

/// A person answered this notification; `action`: with a button.
pub async fn insert_reply(
    db: impl AnyExecutor<'_>,
    answered: (&TenantId, &str),
    event_id: &str,
    action: Option<&str>,
    at: Timestamp,
) -> StoreResult<()> {
    line(db, answered, event_id, "replied", action, at).await
}

async fn line(
    db: impl AnyExecutor<'_>,
    (tenant, id): (&TenantId, &str),
    event_id: &str,
    event: &str,
    detail: Option<&str>,
    at: Timestamp,
) -> StoreResult<()> {
    query(
        "insert into events (tenant_id, notification_id, event_id, event, detail, at) values ($1, $2, $3, $4, $5, $6) \
         on conflict (tenant_id, notification_id, event_id) do nothing",
    )
    .bind(tenant.as_str())
    .bind(id)
    .bind(event_id)
    .bind(event)
    .bind(detail)
    .bind(at.0)
    .execute(db)
    .await?;
    Ok(())
}

/// Stores what a person wrote; false when it was there already.
pub async fn insert_inbound(db: impl AnyExecutor<'_>, m: &InboundRow) -> StoreResult<bool> {
    let done = query(
        "insert into inbound_messages (tenant_id, account, message_id, channel, sender, name, body, action, \
         notification_id, happened_at, received_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
         on conflict (tenant_id, account, message_id) do nothing",
    )
    .bind(m.tenant.as_str())
    .bind(&m.account)
    .bind(&m.message_id)
    .bind(&m.channel)
    .bind(&m.sender)
    .bind(m.name.as_deref())
    .bind(&m.body)
    .bind(m.action.as_deref())
    .bind(m.notification_id.as_deref())
    .bind(m.happened_at.0)
    .bind(m.received_at.0)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The notification that carried a provider's message.
pub async fn find_by_message(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    message_id: &str,
) -> StoreResult<Option<String>> {
    Ok(query_scalar(
        "select notification_id from notifications where tenant_id = $1 and message_id = $2 \
         order by notification_id desc limit 1",
    )
    .bind(tenant.as_str())
    .bind(message_id)
    .fetch_optional(db)
    .await?)
}

/// When this person last wrote on this channel.
pub async fn last_inbound(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    channel: &str,
    sender: &str,
) -> StoreResult<Option<Timestamp>> {
    let at: Option<i64> = query_scalar(
        "select max(received_at) from inbound_messages where tenant_id = $1 and sender = $2 and channel = $3",
    )
    .bind(tenant.as_str())
    .bind(sender)
    .bind(channel)
    .fetch_one(db)
    .await?;
    Ok(at.map(Timestamp))
}
