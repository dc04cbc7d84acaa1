//! Addresses that must not be written to.

use sqlx::{AnyExecutor, Row, query, query_scalar};

use super::{Engine, PerEngine, StoreResult, to_json};
use crate::clock::Timestamp;
use crate::ids::TenantId;
use crate::status::Category;

/// How an address is kept here, and looked for: who wants no more mail wants it in no spelling. Of phones there is one
/// spelling anyway.
pub fn spelling(address: &str) -> String {
    address.to_lowercase()
}

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
    .bind(spelling(address))
    .bind(category.as_str())
    .fetch_optional(db)
    .await?)
}

/// An address, in the spelling it is kept in, and why and for what it must not be written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppressed {
    pub address: String,
    pub category: String,
    pub reason: String,
}

/// Everything that stops messages to any of these addresses.
pub async fn among(
    db: impl AnyExecutor<'_>,
    engine: Engine,
    tenant: &TenantId,
    addresses: &[&str],
) -> StoreResult<Vec<Suppressed>> {
    #[derive(serde::Serialize)]
    struct Asked {
        a: String,
    }
    static SQL: PerEngine = PerEngine::new();
    let sql = SQL.get(engine, || {
        format!(
            "with v as materialized (select distinct $2 as t, a from {}) \
             select s.address, s.category, s.reason from v cross join suppressions s \
             where s.tenant_id = v.t and s.address = v.a order by s.address, s.category",
            engine.rows("a text")
        )
    });
    let asked: Vec<Asked> = addresses.iter().map(|a| Asked { a: spelling(a) }).collect();
    let rows = query(sql).bind(to_json(&asked)).bind(tenant.as_str()).fetch_all(db).await?;
    rows.iter()
        .map(|r| {
            Ok(Suppressed {
                address: r.try_get("address")?,
                category: r.try_get("category")?,
                reason: r.try_get("reason")?,
            })
        })
        .collect()
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
    .bind(spelling(address))
    .bind(category)
    .bind(reason)
    .bind(source)
    .bind(now.0)
    .execute(db)
    .await?;
    Ok(())
}

/// One category's, or all of an address.
pub async fn delete(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    address: &str,
    category: Option<&str>,
) -> StoreResult<bool> {
    let text = "delete from suppressions where tenant_id = $1 and address = $2 and ($3 is null or category = $3)";
    let done = query(text).bind(tenant.as_str()).bind(spelling(address)).bind(category).execute(db).await?;
    Ok(done.rows_affected() > 0)
}

/// What a list may be narrowed by; everything optional.
#[derive(Debug, Default, Clone, Copy)]
pub struct Filter<'a> {
    pub address: Option<&'a str>,
    pub category: Option<&'a str>,
    /// Only what comes after this address and category, in that order.
    pub after: Option<(&'a str, &'a str)>,
}

/// By address, then category.
pub async fn list(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    filter: Filter<'_>,
    limit: usize,
) -> StoreResult<Vec<SuppressionRow>> {
    let Filter { address, category, after } = filter;
    let rows = query(
        "select address, category, reason, source, created_at from suppressions \
         where tenant_id = $1 and ($2 is null or address > $2 or (address = $2 and category > $3)) \
         and ($5 is null or address = $5) and ($6 is null or category = $6) order by address, category limit $4",
    )
    .bind(tenant.as_str())
    .bind(after.map(|(address, _)| address))
    .bind(after.map(|(_, category)| category))
    .bind(limit as i64)
    .bind(address.map(spelling))
    .bind(category)
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
