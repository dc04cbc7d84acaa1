//! Tenants and their branches.

use serde_json::Value;
use sqlx::{AnyExecutor, Row, query, query_scalar};

use super::{StoreResult, json_column, to_json};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::ids::{BranchId, TenantId};
use crate::settings::TenantSettings;

#[derive(Debug, Clone)]
pub struct TenantRow {
    pub id: TenantId,
    pub name: String,
    pub settings: TenantSettings,
    pub version: i64,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone)]
pub struct BranchRow {
    pub id: BranchId,
    pub name: String,
    pub settings: TenantSettings,
    pub created_at: Timestamp,
}

fn read_tenant(row: &sqlx::any::AnyRow) -> StoreResult<TenantRow> {
    Ok(TenantRow {
        id: row.try_get::<String, _>("tenant_id")?.into(),
        name: row.try_get("name")?,
        settings: json_column(row, "settings")?,
        version: row.try_get("version")?,
        created_at: Timestamp(row.try_get("created_at")?),
    })
}

pub async fn insert(
    db: impl AnyExecutor<'_>,
    id: &TenantId,
    name: &str,
    settings: &TenantSettings,
    now: Timestamp,
) -> StoreResult<()> {
    query("insert into tenants (tenant_id, name, settings, version, created_at) values ($1, $2, $3, 1, $4)")
        .bind(id.as_str())
        .bind(name)
        .bind(to_json(settings))
        .bind(now.0)
        .execute(db)
        .await?;
    Ok(())
}

pub async fn find(db: impl AnyExecutor<'_>, id: &TenantId) -> StoreResult<Option<TenantRow>> {
    let row = query("select tenant_id, name, settings, version, created_at from tenants where tenant_id = $1")
        .bind(id.as_str())
        .fetch_optional(db)
        .await?;
    row.as_ref().map(read_tenant).transpose()
}

/// The operator's list, newest first.
pub async fn list_any_tenant(
    db: impl AnyExecutor<'_>,
    before: Option<&str>,
    limit: usize,
) -> StoreResult<Vec<TenantRow>> {
    let rows = query(
        "select tenant_id, name, settings, version, created_at from tenants \
         where $1 is null or tenant_id < $1 order by tenant_id desc limit $2",
    )
    .bind(before)
    .bind(limit as i64)
    .fetch_all(db)
    .await?;
    rows.iter().map(read_tenant).collect()
}

pub async fn update(
    db: impl AnyExecutor<'_>,
    id: &TenantId,
    name: &str,
    settings: &TenantSettings,
) -> StoreResult<bool> {
    let done = query("update tenants set name = $2, settings = $3, version = version + 1 where tenant_id = $1")
        .bind(id.as_str())
        .bind(name)
        .bind(to_json(settings))
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Tells every node's cache that something about how this tenant sends has changed.
pub async fn bump(db: impl AnyExecutor<'_>, id: &TenantId) -> StoreResult<()> {
    query("update tenants set version = version + 1 where tenant_id = $1").bind(id.as_str()).execute(db).await?;
    Ok(())
}

/// As [`bump`], where the tenant knows nobody yet: from its first contact on, people are looked up before they are
/// written to.
pub async fn bump_before_first_contact(db: impl AnyExecutor<'_>, id: &TenantId) -> StoreResult<()> {
    query(
        "update tenants set version = version + 1 where tenant_id = $1 \
         and not exists (select 1 from contacts where tenant_id = $1)",
    )
    .bind(id.as_str())
    .execute(db)
    .await?;
    Ok(())
}

pub async fn version(db: impl AnyExecutor<'_>, id: &TenantId) -> StoreResult<Option<i64>> {
    Ok(query_scalar("select version from tenants where tenant_id = $1").bind(id.as_str()).fetch_optional(db).await?)
}

pub async fn insert_branch(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    id: &BranchId,
    name: &str,
    settings: &TenantSettings,
    now: Timestamp,
) -> StoreResult<()> {
    query("insert into branches (tenant_id, branch_id, name, settings, created_at) values ($1, $2, $3, $4, $5)")
        .bind(tenant.as_str())
        .bind(id.as_str())
        .bind(name)
        .bind(to_json(settings))
        .bind(now.0)
        .execute(db)
        .await?;
    Ok(())
}

pub async fn update_branch(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    id: &BranchId,
    name: &str,
    settings: &TenantSettings,
) -> StoreResult<bool> {
    let done = query("update branches set name = $3, settings = $4 where tenant_id = $1 and branch_id = $2")
        .bind(tenant.as_str())
        .bind(id.as_str())
        .bind(name)
        .bind(to_json(settings))
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn list_branches(db: impl AnyExecutor<'_>, tenant: &TenantId) -> StoreResult<Vec<BranchRow>> {
    let rows =
        query("select branch_id, name, settings, created_at from branches where tenant_id = $1 order by branch_id")
            .bind(tenant.as_str())
            .fetch_all(db)
            .await?;
    rows.iter()
        .map(|row| {
            let settings: Value = json_column(row, "settings")?;
            Ok(BranchRow {
                id: row.try_get::<String, _>("branch_id")?.into(),
                name: row.try_get("name")?,
                settings: serde_json::from_value(settings).map_err(|e| StoreError::Unreadable(e.to_string()))?,
                created_at: Timestamp(row.try_get("created_at")?),
            })
        })
        .collect()
}
