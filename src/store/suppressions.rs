//! Addresses that must not be written to.

use sqlx::{AnyExecutor, Row, query, query_scalar};

use super::StoreResult;
use crate::clock::Timestamp;
use crate::ids::TenantId;
use crate::status::Category;

#[derive(Debug, Clone)]
pub struct SuppressionRow {
    pub address: String,
    pub category: String,
    pub reason: String,
    pub source: String,
    pub created_at: Timestamp,
}

/// The reason, if this address must not get a message of this category.
pub async fn find(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    address: &str,
    category: Category,
) -> StoreResult<Option<String>> {
    Ok(query_scalar(
        "select reason from suppressions where tenant_id = $1 and address = $2 and (category = 'all' or category = $3)",
    )
    .bind(tenant.as_str())
    .bind(address)
    .bind(category.as_str())
    .fetch_optional(db)
    .await?)
}

pub async fn insert(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    address: &str,
    category: &str,
    reason: &str,
    source: &str,
    now: Timestamp,
) -> StoreResult<()> {
    query(
        "insert into suppressions (tenant_id, address, category, reason, source, created_at) \
         values ($1, $2, $3, $4, $5, $6) on conflict (tenant_id, address, category) do nothing",
    )
    .bind(tenant.as_str())
    .bind(address)
    .bind(category)
    .bind(reason)
    .bind(source)
    .bind(now.0)
    .execute(db)
    .await?;
    Ok(())
}

pub async fn delete(db: impl AnyExecutor<'_>, tenant: &TenantId, address: &str) -> StoreResult<bool> {
    let done = query("delete from suppressions where tenant_id = $1 and address = $2")
        .bind(tenant.as_str())
        .bind(address)
        .execute(db)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// After `after`, an address and a category, in that order.
pub async fn list(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    after: Option<(&str, &str)>,
    limit: usize,
) -> StoreResult<Vec<SuppressionRow>> {
    let rows = query(
        "select address, category, reason, source, created_at from suppressions \
         where tenant_id = $1 and ($2 is null or address > $2 or (address = $2 and category > $3)) \
         order by address, category limit $4",
    )
    .bind(tenant.as_str())
    .bind(after.map(|(address, _)| address))
    .bind(after.map(|(_, category)| category))
    .bind(limit as i64)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|r| {
            Ok(SuppressionRow {
                address: r.try_get("address")?,
                category: r.try_get("category")?,
                reason: r.try_get("reason")?,
                source: r.try_get("source")?,
                created_at: Timestamp(r.try_get("created_at")?),
            })
        })
        .collect()
}

pub async fn any(db: impl AnyExecutor<'_>, tenant: &TenantId) -> StoreResult<bool> {
    let row = query("select 1 from suppressions where tenant_id = $1 limit 1")
        .bind(tenant.as_str())
        .fetch_optional(db)
        .await?;
    Ok(row.is_some())
}
