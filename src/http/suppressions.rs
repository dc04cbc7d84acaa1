//! Addresses that must not be written to.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::{Manager, Reader};
use super::body::{Id, JsonBody, Params};
use super::error::Problem;
use super::page::{self, Page};
use crate::address;
use crate::app::App;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::ids::TenantId;
use crate::store::suppressions::{self as store, Filter, SuppressionRow};
use crate::store::tenants;

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Suppression {
    /// A phone in E.164, or an e-mail address.
    address: String,
    /// `all` or `marketing`.
    category: String,
    reason: String,
    source: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl SuppressionCategory {
    fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Marketing => "marketing",
        }
    }

    /// As a query says it.
    fn read(given: Option<&str>) -> Result<Option<&'static str>> {
        match given {
            None => Ok(None),
            Some("all") => Ok(Some("all")),
            Some("marketing") => Ok(Some("marketing")),
            Some(_) => Err(Error::fault("/category", "out_of_range", "must be all or marketing")),
        }
    }
}

impl From<SuppressionRow> for Suppression {
    fn from(row: SuppressionRow) -> Self {
        Self {
            address: row.address,
            category: row.category,
            reason: row.reason,
            source: row.source,
            created_at: row.created_at,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSuppression {
    /// A phone or an e-mail address.
    address: String,
    #[serde(default)]
    category: SuppressionCategory,
    reason: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SuppressionCategory {
    /// Nothing at all is sent.
    #[default]
    All,
    /// No marketing.
    Marketing,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct SuppressionQuery {
    /// A phone or an e-mail address, in any spelling.
    address: Option<String>,
    /// `all` or `marketing`.
    category: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// List suppressed addresses
#[utoipa::path(get, path = "/v1/suppressions", tag = "People", params(SuppressionQuery), responses(
    (status = 200, body = Page<Suppression>), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Reader(tenant): Reader,
    Params(query): Params<SuppressionQuery>,
) -> Result<Json<Page<Suppression>>> {
    let limit = page::limit(query.limit.as_deref())?;
    let after = page::cursor(query.cursor.as_deref())?;
    // An address may stand twice, once for each category, and a page may end between the two.
    let after = after.as_deref().map(|key| key.rsplit_once(' ').unwrap_or((key, "")));
    let address = match &query.address {
        Some(text) => Some(normalise(&app, &tenant, text).await?),
        None => None,
    };
    let category = SuppressionCategory::read(query.category.as_deref())?;
    let filter = Filter { address: address.as_deref(), category, after };
    let rows = store::list(&app.db.pool, &tenant, filter, limit + 1).await?;
    let rows = rows.into_iter().map(|row| (format!("{} {}", row.address, row.category), row)).collect();
    Ok(Json(page::page(rows, limit, |(key, _)| key.as_str(), |(_, row): (_, SuppressionRow)| row.into())))
}

/// Suppress an address
#[utoipa::path(post, path = "/v1/suppressions", tag = "People", request_body = NewSuppression, responses(
    (status = 201, body = Suppression), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 415, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn post(
    State(app): State<Arc<App>>,
    Manager(tenant): Manager,
    JsonBody(new): JsonBody<NewSuppression>,
) -> Result<(StatusCode, Json<Suppression>)> {
    let address = normalise(&app, &tenant, &new.address).await?;
    let category = new.category.as_str();
    let reason = address::line(new.reason.as_deref().unwrap_or("suppressed"), "the reason", 200)
        .map_err(|e| Error::fault("/reason", e.code, e.detail))?;
    let now = app.now();
    store::insert(&app.db.pool, &tenant, &address, category, &reason, "api", now).await?;
    tenants::bump(&app.db.pool, &tenant).await?;
    app.tenants.refresh(&tenant);
    let address = store::spelling(&address);
    let shown = Suppression { address, category: category.into(), reason, source: "api".into(), created_at: now };
    Ok((StatusCode::CREATED, Json(shown)))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct LiftQuery {
    /// `all` or `marketing`; absent: both.
    category: Option<String>,
}

/// Lift a suppression
#[utoipa::path(delete, path = "/v1/suppressions/{address}", tag = "People",
    params(("address" = String, Path), LiftQuery), responses((status = 204), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Manager(tenant): Manager,
    Id(address): Id,
    Params(query): Params<LiftQuery>,
) -> Result<StatusCode> {
    let category = SuppressionCategory::read(query.category.as_deref())?;
    let address = normalise(&app, &tenant, &address).await.map_err(|_| Error::NotFound)?;
    if !store::delete(&app.db.pool, &tenant, &address, category).await? {
        return Err(Error::NotFound);
    }
    tenants::bump(&app.db.pool, &tenant).await?;
    app.tenants.refresh(&tenant);
    Ok(StatusCode::NO_CONTENT)
}

/// The one spelling in which addresses are stored and matched.
async fn normalise(app: &App, tenant: &TenantId, text: &str) -> Result<String> {
    let tenant = app.tenants.get(tenant).await?;
    let country = tenant.levels(None).country(&tenant.platform).value;
    let parsed = if text.contains('@') { address::email(text) } else { address::phone(text, Some(country)) };
    parsed.map_err(|e| Error::fault("/address", e.code, e.detail))
}
