//! Integrations: a tenant's or branch's settings for a channel. Secrets come and go sealed.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::{AnyExecutor, Row, query, query_scalar};

use super::{StoreResult, json_column, to_json};
use crate::clock::Timestamp;
use crate::ids::TenantId;

/// One provider account; a channel may have several, tried in order.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountRow {
    pub name: String,
    pub provider: String,
    pub settings: Map<String, Value>,
}

#[derive(Debug, Clone)]
pub struct IntegrationRow {
    /// Empty for the whole tenant.
    pub branch: String,
    pub channel: String,
    pub accounts: Vec<AccountRow>,
    pub disabled_at: Option<Timestamp>,
    pub updated_at: Timestamp,
}

pub async fn upsert(db: impl AnyExecutor<'_>, tenant: &TenantId, row: &IntegrationRow) -> StoreResult<()> {
    query(
        "insert into integrations (tenant_id, branch_id, channel, accounts, disabled_at, updated_at) \
         values ($1, $2, $3, $4, $5, $6) on conflict (tenant_id, branch_id, channel) do update set \
         accounts = excluded.accounts, disabled_at = excluded.disabled_at, updated_at = excluded.updated_at",
    )
    .bind(tenant.as_str())
    .bind(&row.branch)
    .bind(&row.channel)
    .bind(to_json(&row.accounts))
    .bind(row.disabled_at.map(|t| t.0))
    .bind(row.updated_at.0)
    .execute(db)
    .await?;
    Ok(())
}

pub async fn list(db: impl AnyExecutor<'_>, tenant: &TenantId) -> StoreResult<Vec<IntegrationRow>> {
    let rows = query(
        "select branch_id, channel, accounts, disabled_at, updated_at from integrations \
         where tenant_id = $1 order by channel, branch_id",
    )
    .bind(tenant.as_str())
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(IntegrationRow {
                branch: row.try_get("branch_id")?,
                channel: row.try_get("channel")?,
                accounts: json_column(row, "accounts")?,
                disabled_at: row.try_get::<Option<i64>, _>("disabled_at")?.map(Timestamp),
                updated_at: Timestamp(row.try_get("updated_at")?),
            })
        })
        .collect()
}

pub async fn delete(db: impl AnyExecutor<'_>, tenant: &TenantId, branch: &str, channel: &str) -> StoreResult<bool> {
    let done = query("delete from integrations where tenant_id = $1 and branch_id = $2 and channel = $3")
        .bind(tenant.as_str())
        .bind(branch)
        .bind(channel)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// What a plugin remembered about an address.
pub async fn find_memory(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    account: &str,
    address: &str,
) -> StoreResult<Option<Value>> {
    let text: Option<String> =
        query_scalar("select memory from recipient_memory where tenant_id = $1 and account = $2 and address = $3")
            .bind(tenant.as_str())
            .bind(account)
            .bind(address)
            .fetch_optional(db)
            .await?;
    Ok(text.and_then(|t| serde_json::from_str(&t).ok()))
}
