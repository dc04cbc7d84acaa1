//! API keys: only the hash of the secret part is kept.

use sqlx::{AnyExecutor, Row, query};

use super::StoreResult;
use crate::clock::Timestamp;
use crate::ids::{KeyId, TenantId};

#[derive(Debug, Clone)]
pub struct KeyRow {
    pub id: KeyId,
    /// `None`: an operator's key.
    pub tenant: Option<TenantId>,
    pub name: String,
    pub scopes: String,
    pub hash: String,
    pub hint: String,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

fn read(row: &sqlx::any::AnyRow) -> StoreResult<KeyRow> {
    Ok(KeyRow {
        id: row.try_get::<String, _>("key_id")?.into(),
        tenant: row.try_get::<Option<String>, _>("tenant_id")?.map(Into::into),
        name: row.try_get("name")?,
        scopes: row.try_get("scopes")?,
        hash: row.try_get("hash")?,
        hint: row.try_get("hint")?,
        created_at: Timestamp(row.try_get("created_at")?),
        revoked_at: row.try_get::<Option<i64>, _>("revoked_at")?.map(Timestamp),
    })
}

pub async fn insert(db: impl AnyExecutor<'_>, key: &KeyRow) -> StoreResult<()> {
    query(
        "insert into api_keys (key_id, tenant_id, name, scopes, hash, hint, created_at) \
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(key.id.as_str())
    .bind(key.tenant.as_ref().map(TenantId::as_str))
    .bind(&key.name)
    .bind(&key.scopes)
    .bind(&key.hash)
    .bind(&key.hint)
    .bind(key.created_at.0)
    .execute(db)
    .await?;
    Ok(())
}

/// Whose key this is is what the caller wants to learn, so no tenant can be named.
pub async fn find_any_tenant(db: impl AnyExecutor<'_>, id: &str) -> StoreResult<Option<KeyRow>> {
    let row = query(
        "select key_id, tenant_id, name, scopes, hash, hint, created_at, revoked_at from api_keys where key_id = $1",
    )
    .bind(id)
    .fetch_optional(db)
    .await?;
    row.as_ref().map(read).transpose()
}

/// A tenant's keys; without a tenant the operator's.
pub async fn list(db: impl AnyExecutor<'_>, tenant: Option<&TenantId>) -> StoreResult<Vec<KeyRow>> {
    let rows = query(
        "select key_id, tenant_id, name, scopes, hash, hint, created_at, revoked_at from api_keys \
         where (tenant_id = $1) or ($1 is null and tenant_id is null) order by key_id",
    )
    .bind(tenant.map(TenantId::as_str))
    .fetch_all(db)
    .await?;
    rows.iter().map(read).collect()
}

/// True when there was such a key and it was not revoked yet.
pub async fn revoke(
    db: impl AnyExecutor<'_>,
    tenant: Option<&TenantId>,
    id: &str,
    now: Timestamp,
) -> StoreResult<bool> {
    let done = query(
        "update api_keys set revoked_at = $3 where key_id = $2 and revoked_at is null \
         and ((tenant_id = $1) or ($1 is null and tenant_id is null))",
    )
    .bind(tenant.map(TenantId::as_str))
    .bind(id)
    .bind(now.0)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
