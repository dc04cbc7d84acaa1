//! What the sandbox provider captured instead of sending.

use sqlx::{AnyExecutor, Row, query};

use super::{StoreResult, json_column};
use crate::clock::Timestamp;
use crate::ids::TenantId;

#[derive(Debug, Clone)]
pub struct CapturedRow {
    pub id: String,
    pub notification_id: String,
    pub channel: String,
    pub recipient: plugin_api::Recipient,
    pub subject: Option<String>,
    pub text: String,
    pub html: Option<String>,
    pub actions: Vec<plugin_api::Action>,
    pub captured_at: Timestamp,
}

/// Newest first; `before` is an id from an earlier page.
pub async fn list(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    channel: Option<&str>,
    before: Option<&str>,
    limit: usize,
) -> StoreResult<Vec<CapturedRow>> {
    let rows = query(
        "select sandbox_message_id, notification_id, channel, recipient, subject, body, html, actions, captured_at \
         from sandbox_messages where tenant_id = $1 and ($2 is null or channel = $2) \
         and ($3 is null or sandbox_message_id < $3) order by sandbox_message_id desc limit $4",
    )
    .bind(tenant.as_str())
    .bind(channel)
    .bind(before)
    .bind(limit as i64)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|r| {
            Ok(CapturedRow {
                id: r.try_get("sandbox_message_id")?,
                notification_id: r.try_get("notification_id")?,
                channel: r.try_get("channel")?,
                recipient: json_column(r, "recipient")?,
                subject: r.try_get("subject")?,
                text: r.try_get("body")?,
                html: r.try_get("html")?,
                actions: json_column(r, "actions")?,
                captured_at: Timestamp(r.try_get("captured_at")?),
            })
        })
        .collect()
}
