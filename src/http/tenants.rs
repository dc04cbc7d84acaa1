//! Tenants, their branches and settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::{Operator, OperatorOrManager};
use super::body::{Id, Ids, JsonBody, Params};
use super::error::Problem;
use super::page::{self, Page};
use super::room::Room;
use crate::address;
use crate::app::App;
use crate::clock::Timestamp;
use crate::error::{Error, Fault, Result};
use crate::ids::{BranchId, TenantId};
use crate::json::{Given, given, given_object};
use crate::plugins::Catalog;
use crate::retry::OnUnknown;
use crate::settings::{Caps, QuietHours, TenantSettings};
use crate::store::tenants::{self as store, BranchRow, TenantRow};

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantItem {
    pub id: String,
    pub name: String,
    #[serde(flatten)]
    pub settings: TenantSettings,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl From<TenantRow> for TenantItem {
    fn from(row: TenantRow) -> Self {
        Self { id: row.id.to_string(), name: row.name, settings: row.settings, created_at: row.created_at }
    }
}

impl From<BranchRow> for TenantItem {
    fn from(row: BranchRow) -> Self {
        Self { id: row.id.to_string(), name: row.name, settings: row.settings, created_at: row.created_at }
    }
}

macro_rules! settings_bodies {
    ($($(#[$doc:meta])* $name:ident { $($head:tt)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Default, Deserialize, ToSchema)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name {
            $($head)*
            #[serde(default, deserialize_with = "given")]
            #[schema(value_type = Option<String>, example = "es-MX")]
            pub locale: Given<String>,
            #[serde(default, deserialize_with = "given")]
            #[schema(value_type = Option<String>, example = "America/Mexico_City")]
            pub timezone: Given<String>,
            #[serde(default, deserialize_with = "given")]
            #[schema(value_type = Option<String>, example = "MX")]
            pub country: Given<String>,
            #[serde(default, deserialize_with = "given_object")]
            #[schema(value_type = Option<QuietHours>)]
            pub quiet_hours: Given<QuietHours>,
            #[serde(default, deserialize_with = "given_object")]
            #[schema(value_type = Option<Caps>)]
            pub caps: Given<Caps>,
            #[serde(default, deserialize_with = "given")]
            #[schema(value_type = Option<Vec<String>>)]
            pub channel_order: Given<Vec<String>>,
            #[serde(default, deserialize_with = "given")]
            #[schema(value_type = Option<Vec<String>>)]
            pub allowed_countries: Given<Vec<String>>,
            #[serde(default, deserialize_with = "given")]
            #[schema(value_type = Option<Vec<String>>)]
            pub allowed_senders: Given<Vec<String>>,
            #[serde(default, deserialize_with = "given")]
            #[schema(value_type = Option<bool>)]
            pub accent_folding: Given<bool>,
            /// By channel; those not named stay as they were, null removes one.
            #[serde(default, deserialize_with = "given")]
            #[schema(value_type = Option<Object>)]
            pub on_unknown: Given<BTreeMap<String, Option<OnUnknown>>>,
        }

        impl $name {
            /// What was given replaces what was set at this level, null removes it; the rest stays.
            fn over(self, old: TenantSettings) -> TenantSettings {
                TenantSettings {
                    locale: self.locale.unwrap_or(old.locale),
                    timezone: self.timezone.unwrap_or(old.timezone),
                    country: self.country.unwrap_or(old.country),
                    quiet_hours: self.quiet_hours.unwrap_or(old.quiet_hours),
                    caps: self.caps.unwrap_or(old.caps),
                    channel_order: self.channel_order.unwrap_or(old.channel_order),
                    allowed_countries: self.allowed_countries.unwrap_or(old.allowed_countries),
                    allowed_senders: self.allowed_senders.unwrap_or(old.allowed_senders),
                    accent_folding: self.accent_folding.unwrap_or(old.accent_folding),
                    on_unknown: merged(self.on_unknown, old.on_unknown),
                }
            }
        }
    )*};
}

fn merged<T>(
    given: Given<BTreeMap<String, Option<T>>>,
    old: Option<BTreeMap<String, T>>,
) -> Option<BTreeMap<String, T>> {
    let Some(given) = given else { return old };
    let mut all = old.unwrap_or_default();
    for (name, value) in given? {
        match value {
            Some(value) => drop(all.insert(name, value)),
            None => drop(all.remove(&name)),
        }
    }
    Some(all).filter(|all| !all.is_empty())
}

settings_bodies! {
    /// A new tenant or branch; settings left out are inherited.
    NewTenant {
        #[schema(example = "Salón Uno")]
        pub name: String,
    }
    /// Changes of a tenant or branch: what is left out stays, and null removes a setting at this level, so that the next
    /// one's holds.
    TenantChange {
        #[serde(default, deserialize_with = "given")]
        #[schema(value_type = Option<String>)]
        pub name: Given<String>,
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct TenantQuery {
    limit: Option<String>,
    cursor: Option<String>,
}

/// Create a tenant
#[utoipa::path(post, path = "/v1/tenants", tag = "Tenants", request_body = NewTenant, responses(
    (status = 201, body = TenantItem), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 415, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn post(
    State(app): State<Arc<App>>,
    _: Operator,
    _: Room,
    JsonBody(new): JsonBody<NewTenant>,
) -> Result<(StatusCode, Json<TenantItem>)> {
    let item = create(&app, new).await?;
    Ok((StatusCode::CREATED, Json(item)))
}

/// Makes a tenant; also what the command line does.
pub(crate) async fn create(app: &App, new: NewTenant) -> Result<TenantItem> {
    let name = name(&new.name)?;
    let settings = new.over(TenantSettings::default());
    check(&Catalog::shared(Arc::clone(&app.plugins)), &settings)?;
    let (id, now) = (TenantId::fresh(), app.now());
    store::insert(&app.db.pool, &id, &name, &settings, now).await?;
    Ok(TenantItem { id: id.to_string(), name, settings, created_at: now })
}

/// List tenants
#[utoipa::path(get, path = "/v1/tenants", tag = "Tenants", params(TenantQuery), responses(
    (status = 200, body = Page<TenantItem>), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(query): Params<TenantQuery>,
) -> Result<Json<Page<TenantItem>>> {
    let limit = page::limit(query.limit.as_deref())?;
    let before = page::cursor(query.cursor.as_deref())?;
    let rows = store::list_any_tenant(&app.db.pool, before.as_deref(), limit + 1).await?;
    Ok(Json(page::page(rows, limit, |row| row.id.as_str(), TenantItem::from)))
}

/// Read a tenant
#[utoipa::path(get, path = "/v1/tenants/{id}", tag = "Tenants", params(("id" = String, Path)), responses(
    (status = 200, body = TenantItem), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem)))]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    caller: OperatorOrManager,
    Id(id): Id,
) -> Result<Json<TenantItem>> {
    let row = store::find(&app.db.pool, &caller.of(&id)?).await?.ok_or(Error::NotFound)?;
    Ok(Json(row.into()))
}

/// Change a tenant's name or settings
///
/// What is left out stays. `null` removes a setting, so that the platform's holds again.
#[utoipa::path(patch, path = "/v1/tenants/{id}", tag = "Tenants", params(("id" = String, Path)),
    request_body = TenantChange, responses(
    (status = 200, body = TenantItem), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem), (status = 415, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn patch(
    State(app): State<Arc<App>>,
    caller: OperatorOrManager,
    _: Room,
    Id(id): Id,
    JsonBody(change): JsonBody<TenantChange>,
) -> Result<Json<TenantItem>> {
    let id = caller.of(&id)?;
    let mut row = store::find(&app.db.pool, &id).await?.ok_or(Error::NotFound)?;
    if let Some(given) = &change.name {
        row.name = name(given.as_deref().unwrap_or_default())?;
    }
    row.settings = change.over(row.settings);
    check(&app.tenants.get(&id).await?.channels, &row.settings)?;
    store::update(&app.db.pool, &id, &row.name, &row.settings).await?;
    app.tenants.refresh(&id);
    Ok(Json(row.into()))
}

/// Create a branch
#[utoipa::path(post, path = "/v1/tenants/{id}/branches", tag = "Tenants", params(("id" = String, Path)),
    request_body = NewTenant, responses(
    (status = 201, body = TenantItem), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem), (status = 415, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn post_branch(
    State(app): State<Arc<App>>,
    caller: OperatorOrManager,
    _: Room,
    Id(id): Id,
    JsonBody(new): JsonBody<NewTenant>,
) -> Result<(StatusCode, Json<TenantItem>)> {
    let item = create_branch(&app, &caller.of(&id)?, new).await?;
    Ok((StatusCode::CREATED, Json(item)))
}

/// Makes a branch; also what the demo does.
pub(crate) async fn create_branch(app: &App, tenant: &TenantId, new: NewTenant) -> Result<TenantItem> {
    store::find(&app.db.pool, tenant).await?.ok_or(Error::NotFound)?;
    let name = name(&new.name)?;
    let settings = new.over(TenantSettings::default());
    check(&app.tenants.get(tenant).await?.channels, &settings)?;
    let (id, now) = (BranchId::fresh(), app.now());
    store::insert_branch(&app.db.pool, tenant, &id, &name, &settings, now).await?;
    changed(app, tenant).await?;
    Ok(TenantItem { id: id.to_string(), name, settings, created_at: now })
}

/// List a tenant's branches
#[utoipa::path(get, path = "/v1/tenants/{id}/branches", tag = "Tenants", params(("id" = String, Path)), responses(
    (status = 200, body = Page<TenantItem>), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem)))]
pub(super) async fn list_branches(
    State(app): State<Arc<App>>,
    caller: OperatorOrManager,
    Id(id): Id,
) -> Result<Json<Page<TenantItem>>> {
    let id = caller.of(&id)?;
    store::find(&app.db.pool, &id).await?.ok_or(Error::NotFound)?;
    let rows = store::list_branches(&app.db.pool, &id).await?;
    Ok(Json(Page { items: rows.into_iter().map(TenantItem::from).collect(), next_cursor: None }))
}

/// Change a branch's name or settings
///
/// What is left out stays. `null` removes a setting, so that the tenant's or the platform's holds again.
#[utoipa::path(patch, path = "/v1/tenants/{id}/branches/{branch}", tag = "Tenants",
    params(("id" = String, Path), ("branch" = String, Path)), request_body = TenantChange, responses(
    (status = 200, body = TenantItem), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem), (status = 415, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn patch_branch(
    State(app): State<Arc<App>>,
    caller: OperatorOrManager,
    _: Room,
    Ids(id, branch): Ids,
    JsonBody(change): JsonBody<TenantChange>,
) -> Result<Json<TenantItem>> {
    let id = caller.of_branch(&id, &branch)?;
    let branches = store::list_branches(&app.db.pool, &id).await?;
    let mut row = branches.into_iter().find(|b| b.id.as_str() == branch).ok_or(Error::NotFound)?;
    if let Some(given) = &change.name {
        row.name = name(given.as_deref().unwrap_or_default())?;
    }
    row.settings = change.over(row.settings);
    check(&app.tenants.get(&id).await?.channels, &row.settings)?;
    store::update_branch(&app.db.pool, &id, &row.id, &row.name, &row.settings).await?;
    changed(&app, &id).await?;
    Ok(Json(row.into()))
}

/// Tells every node that this tenant must be read again.
pub(super) async fn changed(app: &App, tenant: &TenantId) -> Result<()> {
    store::bump(&app.db.pool, tenant).await?;
    app.tenants.refresh(tenant);
    Ok(())
}

fn name(given: &str) -> Result<String> {
    let name = address::name(given).map_err(|e| Error::fault("/name", e.code, e.detail))?;
    if name.is_empty() { Err(Error::fault("/name", "required", "must not be empty")) } else { Ok(name) }
}

fn check(channels: &Catalog, settings: &TenantSettings) -> Result<()> {
    let mut faults = Vec::new();
    let mut add = |pointer: &str, code: &'static str, detail: String| faults.push(Fault::new(pointer, code, detail));
    let locale = settings.locale.as_deref().map(|locale| ("/locale", address::locale(locale)));
    let zone = settings.timezone.as_deref().map(|zone| ("/timezone", address::timezone(zone)));
    for (pointer, checked) in [locale, zone].into_iter().flatten() {
        if let Err(e) = checked {
            add(pointer, e.code, e.detail);
        }
    }
    let is_country = |c: &str| c.len() == 2 && c.bytes().all(|b| b.is_ascii_uppercase());
    if settings.country.as_deref().is_some_and(|c| !is_country(c)) {
        add("/country", "country", "must be two capital letters, e.g. MX".into());
    }
    for (n, country) in settings.allowed_countries.iter().flatten().enumerate() {
        if !is_country(country) {
            add(&format!("/allowedCountries/{n}"), "country", "must be two capital letters, e.g. MX".into());
        }
    }
    for (n, sender) in settings.allowed_senders.iter().flatten().enumerate() {
        if let Err(e) = address::email(sender) {
            add(&format!("/allowedSenders/{n}"), e.code, e.detail);
        }
    }
    if let Some(quiet) = &settings.quiet_hours {
        for (field, text) in [("start", &quiet.start), ("end", &quiet.end)] {
            if chrono::NaiveTime::parse_from_str(text, "%H:%M").is_err() {
                add(&format!("/quietHours/{field}"), "timestamp", "must be HH:MM".into());
            }
        }
    }
    for (n, channel) in settings.channel_order.iter().flatten().enumerate() {
        faults.extend(channels.unless_known(channel, || format!("/channelOrder/{n}")));
    }
    if faults.is_empty() { Ok(()) } else { Err(Error::Invalid { slug: "validation", faults }) }
}
