//! Callbacks that were verified and not understood, set aside for people to read.

use std::time::Duration;

use sqlx::{AnyConnection, AnyExecutor, Row, query};

use super::{StoreResult, like_pattern};
use crate::clock::Timestamp;
use crate::ids::TenantId;

/// Of each channel so many are kept, the newest, and so long.
pub const MOST: usize = 100;
pub const KEPT_FOR: Duration = Duration::from_hours(30 * 24);

#[derive(Debug, Clone)]
pub struct UnreadRow {
    pub id: String,
    pub tenant: TenantId,
    pub channel: String,
    /// The account's name.
    pub account: String,
    pub problem: String,
    pub method: String,
    pub query: String,
    pub content_type: String,
    /// Its beginning.
    pub body: String,
    /// How long it was.
    pub bytes: usize,
    pub received_at: Timestamp,
}

/// Adds one, and lets go of those of its channel that it crowds out.
pub async fn insert(conn: &mut AnyConnection, row: &UnreadRow) -> StoreResult<()> {
    query(
        "insert into unread_callbacks (tenant_id, channel, callback_id, account, problem, method, query, content_type, \
         body, bytes, received_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(row.tenant.as_str())
    .bind(&row.channel)
    .bind(&row.id)
    .bind(&row.account)
    .bind(&row.problem)
    .bind(&row.method)
    .bind(&row.query)
    .bind(&row.content_type)
    .bind(&row.body)
    .bind(row.bytes as i64)
    .bind(row.received_at.0)
    .execute(&mut *conn)
    .await?;
    query(
        "delete from unread_callbacks where tenant_id = $1 and channel = $2 and callback_id <= \
         (select callback_id from unread_callbacks where tenant_id = $1 and channel = $2 \
         order by callback_id desc limit 1 offset $3)",
    )
    .bind(row.tenant.as_str())
    .bind(&row.channel)
    .bind(MOST as i64)
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets go of what is older than it may become.
pub async fn expire_any_tenant(db: impl AnyExecutor<'_>, now: Timestamp) -> StoreResult<()> {
    query("delete from unread_callbacks where received_at < $1").bind(now.minus(KEPT_FOR).0).execute(db).await?;
    Ok(())
}

/// Lets go of those that name a person: an id, a phone (E.164), an e-mail address.
pub async fn erase(
    conn: &mut AnyConnection,
    tenant: &TenantId,
    [id, phone, email]: [Option<&str>; 3],
) -> StoreResult<()> {
    // A provider may leave out the country, and a form writes an `@` as a code.
    let digits = phone.map(|phone| phone.trim_start_matches('+')).map(|d| &d[d.len().saturating_sub(10)..]);
    let [id, digits, email] = [id, digits, email].map(|text| text.map(|text| like_pattern(&text.to_lowercase())));
    let email = email.map(|email| email.replace('@', "%"));
    query(
        "delete from unread_callbacks where tenant_id = $1 and (lower(problem || body || query) like $2 escape '\\' \
         or lower(problem || body || query) like $3 escape '\\' or lower(problem || body || query) like $4 escape '\\')",
    )
    .bind(tenant.as_str())
    .bind(id)
    .bind(digits)
    .bind(email)
    .execute(conn)
    .await?;
    Ok(())
}

/// Newest first; `before` is an id from an earlier page.
pub async fn list(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    channel: &str,
    before: Option<&str>,
    limit: usize,
    now: Timestamp,
) -> StoreResult<Vec<UnreadRow>> {
    let rows = query(
        "select callback_id, account, problem, method, query, content_type, body, bytes, received_at \
         from unread_callbacks where tenant_id = $1 and channel = $2 and ($3 is null or callback_id < $3) \
         and received_at >= $4 order by callback_id desc limit $5",
    )
    .bind(tenant.as_str())
    .bind(channel)
    .bind(before)
    .bind(now.minus(KEPT_FOR).0)
    .bind(limit as i64)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|r| {
            Ok(UnreadRow {
                id: r.try_get("callback_id")?,
                tenant: tenant.clone(),
                channel: channel.to_owned(),
                account: r.try_get("account")?,
                problem: r.try_get("problem")?,
                method: r.try_get("method")?,
                query: r.try_get("query")?,
                content_type: r.try_get("content_type")?,
                body: r.try_get("body")?,
                bytes: r.try_get::<i64, _>("bytes")? as usize,
                received_at: Timestamp(r.try_get("received_at")?),
            })
        })
        .collect()
}
