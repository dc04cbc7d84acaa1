//! A tenant's API keys. The key itself is shown once.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::Operator;
use super::body::{Id, Ids, JsonBody};
use super::error::Problem;
use super::page::Page;
use super::room::Room;
use crate::address;
use crate::app::App;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::ids::TenantId;
use crate::keys::{Scope, Scopes, generate};
use crate::store::keys::{self as store, KeyRow};
use crate::store::tenants;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// What it is for.
    name: String,
    /// `send`, `read`, `admin`; each is given by itself.
    #[schema(value_type = Vec<String>)]
    scopes: Vec<Scope>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedKey {
    pub id: String,
    /// The key. It is not stored and can't be shown again.
    pub key: String,
    #[schema(value_type = Vec<String>)]
    pub scopes: Vec<Scope>,
    pub name: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyItem {
    pub id: String,
    pub name: String,
    #[schema(value_type = Vec<String>)]
    pub scopes: Vec<Scope>,
    /// The key's last four characters.
    pub hint: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
}

impl From<KeyRow> for KeyItem {
    fn from(row: KeyRow) -> Self {
        Self {
            id: row.id.to_string(),
            name: row.name,
            scopes: row.scopes.parse::<Scopes>().unwrap_or_default().iter().collect(),
            hint: row.hint,
            created_at: row.created_at,
            revoked_at: row.revoked_at,
        }
    }
}

/// Create an API key for a tenant
#[utoipa::path(post, path = "/v1/tenants/{id}/keys", tag = "Tenants", params(("id" = String, Path)),
    request_body = NewKey, responses(
    (status = 201, body = CreatedKey), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem), (status = 415, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn post(
    State(app): State<Arc<App>>,
    _: Operator,
    _: Room,
    Id(id): Id,
    JsonBody(new): JsonBody<NewKey>,
) -> Result<(StatusCode, Json<CreatedKey>)> {
    let tenant: TenantId = id.into();
    tenants::find(&app.db.pool, &tenant).await?.ok_or(Error::NotFound)?;
    if new.scopes.is_empty() {
        return Err(Error::fault("/scopes", "item_count", "must hold at least one of send, read, admin"));
    }
    let created = create(&app, Some(tenant), &new.name, new.scopes.into_iter().collect()).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// Makes a key; also what the command line does. Without a tenant it is an operator's.
pub(crate) async fn create(app: &App, tenant: Option<TenantId>, name: &str, scopes: Scopes) -> Result<CreatedKey> {
    let name = address::name(name).map_err(|e| Error::fault("/name", e.code, e.detail))?;
    let fresh = generate();
    let row = KeyRow {
        id: fresh.id.as_str().into(),
        tenant,
        name: name.clone(),
        scopes: scopes.to_string(),
        hash: fresh.hash.to_string(),
        hint: fresh.hint,
        created_at: app.now(),
        revoked_at: None,
    };
    store::insert(&app.db.pool, &row).await?;
    let key = fresh.text.expose_secret().to_owned();
    Ok(CreatedKey { id: fresh.id, key, scopes: scopes.iter().collect(), name })
}

/// List a tenant's API keys
#[utoipa::path(get, path = "/v1/tenants/{id}/keys", tag = "Tenants", params(("id" = String, Path)), responses(
    (status = 200, body = Page<KeyItem>), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem)))]
pub(super) async fn list(State(app): State<Arc<App>>, _: Operator, Id(id): Id) -> Result<Json<Page<KeyItem>>> {
    let tenant: TenantId = id.into();
    tenants::find(&app.db.pool, &tenant).await?.ok_or(Error::NotFound)?;
    let rows = store::list(&app.db.pool, Some(&tenant)).await?;
    Ok(Json(Page { items: rows.into_iter().map(KeyItem::from).collect(), next_cursor: None }))
}

/// Revoke an API key
///
/// It is refused on every node within five seconds.
#[utoipa::path(delete, path = "/v1/tenants/{id}/keys/{key}", tag = "Tenants",
    params(("id" = String, Path), ("key" = String, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn revoke(State(app): State<Arc<App>>, _: Operator, Ids(id, key): Ids) -> Result<StatusCode> {
    let tenant: TenantId = id.into();
    if !store::revoke(&app.db.pool, Some(&tenant), &key, app.now()).await? {
        return Err(Error::NotFound);
    }
    app.keys.forget(&key);
    Ok(StatusCode::NO_CONTENT)
}
