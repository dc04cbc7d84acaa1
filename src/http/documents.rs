//! What the routes of templates, scripts and plugins share: versions, going back, deleting.

use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::Page;
use crate::app::App;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::ids::TenantId;
use crate::store::documents::{self as store, Document, Key};
use crate::store::{begin_alone, commit_alone};

/// One version of a document.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    version: i64,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// This version holds.
    current: bool,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rollback {
    /// Which version shall hold again; absent: the one before the current.
    version: Option<i64>,
}

/// Writes the next version of a document, which holds from now on. Of each kind a tenant has at most `most`.
pub(super) async fn save(app: &App, tenant: &TenantId, key: Key<'_>, body: &str, most: i64) -> Result<Document> {
    let mut conn = app.db.pool.acquire().await?;
    let mut alone = begin_alone(&mut conn, app.db.engine, tenant).await?;
    if store::count(&mut *alone, tenant, key.kind).await? >= most
        && store::find(&mut *alone, tenant, key).await?.is_none()
    {
        let detail = format!("a tenant has at most {most} of these; delete one that is not needed");
        return Err(Error::refused("wrong-state", detail));
    }
    store::save(&mut alone, tenant, key, body, app.now()).await?;
    let saved = store::find(&mut *alone, tenant, key).await?;
    commit_alone(alone).await?;
    app.tenants.refresh(tenant);
    saved.ok_or_else(|| Error::Internal("a saved document is not there".into()))
}

/// The document that holds, or 404.
pub(super) async fn get(app: &App, tenant: &TenantId, key: Key<'_>) -> Result<Document> {
    store::find(&app.db.pool, tenant, key).await?.ok_or(Error::NotFound)
}

pub(super) async fn versions(app: &App, tenant: &TenantId, key: Key<'_>) -> Result<Json<Page<Version>>> {
    let versions = store::versions(&app.db.pool, tenant, key).await?;
    if versions.is_empty() {
        return Err(Error::NotFound);
    }
    let show = |d: Document| Version { version: d.version, created_at: d.created_at, current: d.current };
    Ok(Json(Page { items: versions.into_iter().map(show).collect(), next_cursor: None }))
}

/// Lets an earlier version hold again.
pub(super) async fn roll_back(app: &App, tenant: &TenantId, key: Key<'_>, wanted: Rollback) -> Result<Document> {
    roll_back_if(app, tenant, key, wanted, |_| Ok(())).await
}

/// As [`roll_back`], unless there is something against the version that is meant.
pub(super) async fn roll_back_if(
    app: &App,
    tenant: &TenantId,
    key: Key<'_>,
    wanted: Rollback,
    judge: impl FnOnce(&Document) -> Result<()> + Send,
) -> Result<Document> {
    let mut conn = app.db.pool.acquire().await?;
    let mut alone = begin_alone(&mut conn, app.db.engine, tenant).await?;
    let kept = store::versions(&mut *alone, tenant, key).await?;
    let meant = meant(&kept, &wanted)?;
    judge(meant)?;
    let version = meant.version;
    store::roll_back(&mut alone, tenant, key, version).await?;
    let held = store::find(&mut *alone, tenant, key).await?;
    commit_alone(alone).await?;
    app.tenants.refresh(tenant);
    held.ok_or(Error::NotFound)
}

/// The version, of those that are kept, to which a rollback goes.
pub(super) fn meant<'a>(kept: &'a [Document], wanted: &Rollback) -> Result<&'a Document> {
    let current = kept.iter().find(|d| d.current).ok_or(Error::NotFound)?.version;
    match wanted.version {
        Some(version) => kept.iter().find(|d| d.version == version).ok_or_else(|| {
            let numbers: Vec<_> = kept.iter().map(|d| d.version.to_string()).collect();
            let detail = format!("there is no such version; there are: {}", numbers.join(", "));
            Error::fault("/version", "out_of_range", detail)
        }),
        None => kept
            .iter()
            .find(|d| d.version < current)
            .ok_or_else(|| Error::refused("wrong-state", "there is no version before the current one")),
    }
}

pub(super) async fn delete(app: &App, tenant: &TenantId, key: Key<'_>) -> Result<StatusCode> {
    let mut conn = app.db.pool.acquire().await?;
    let mut alone = begin_alone(&mut conn, app.db.engine, tenant).await?;
    if !store::delete(&mut alone, tenant, key).await? {
        return Err(Error::NotFound);
    }
    commit_alone(alone).await?;
    app.tenants.refresh(tenant);
    Ok(StatusCode::NO_CONTENT)
}
