//! Channels that a tenant brings itself.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use plugin_api::{Manifest, Plugin};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::auth::{Manager, Reader};
use super::body::{Id, JsonBody};
use super::documents::{self, Rollback, Version};
use super::error::Problem;
use super::page::Page;
use super::room::Room;
use crate::app::App;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::plugins::{SANDBOX, Texts};
use crate::store::documents::{Document, Key, Kind, list as list_documents};
use crate::store::to_json;
use crate::tenant::Tenant;

/// How many channels a tenant may bring.
const MOST: i64 = 20;

/// The three texts of a plugin's folder.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PluginBody {
    /// `plugin.toml`.
    manifest: String,
    /// `plugin.rhai`.
    script: String,
    /// `cases.json`, as it is or as a text.
    #[schema(value_type = Object)]
    cases: Value,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginItem {
    /// The channel's name.
    name: String,
    /// What people call it.
    title: String,
    version: i64,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct PluginDetail {
    #[serde(flatten)]
    item: PluginItem,
    manifest: String,
    script: String,
    #[schema(value_type = Object)]
    cases: Value,
}

fn key(name: &str) -> Key<'_> {
    Key { kind: Kind::Plugin, branch: "", name, locale: "" }
}

fn texts(document: &Document) -> Result<Texts> {
    serde_json::from_str(&document.body).map_err(|e| Error::Internal(format!("plugin {}: {e}", document.name)))
}

fn item(document: &Document, texts: &Texts) -> PluginItem {
    let manifest = Manifest::parse("plugin.toml", &texts.manifest);
    PluginItem {
        name: document.name.clone(),
        title: manifest.map_or_else(|_| document.name.clone(), |m| m.title),
        version: document.version,
        created_at: document.created_at,
    }
}

fn detail(document: &Document) -> Result<PluginDetail> {
    let texts = texts(document)?;
    let item = item(document, &texts);
    let Texts { manifest, script, cases } = texts;
    Ok(PluginDetail { item, manifest, script, cases: serde_json::from_str(&cases).unwrap_or(Value::String(cases)) })
}

/// List your own channels
///
/// Those this tenant brought; `GET /v1/channels` lists all that it can use.
#[utoipa::path(get, path = "/v1/plugins", tag = "Plugins", responses((status = 200, body = Page<PluginItem>),
    (status = 401, body = Problem), (status = 403, body = Problem)))]
pub(super) async fn list(State(app): State<Arc<App>>, Reader(tenant): Reader) -> Result<Json<Page<PluginItem>>> {
    let found = list_documents(&app.db.pool, &tenant, Kind::Plugin).await?;
    let items = found.iter().map(|d| Ok(item(d, &texts(d)?))).collect::<Result<_>>()?;
    Ok(Json(Page { items, next_cursor: None }))
}

/// Read one of your own channels
#[utoipa::path(get, path = "/v1/plugins/{name}", tag = "Plugins", params(("name" = String, Path)), responses(
    (status = 200, body = PluginDetail), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem)))]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Reader(tenant): Reader,
    Id(name): Id,
) -> Result<Json<PluginDetail>> {
    detail(&documents::get(&app, &tenant, key(&name)).await?).map(Json)
}

/// Bring a channel
///
/// A folder's `plugin.toml`, `plugin.rhai` and `cases.json` (the README's "Add a channel"). All of it is checked and every
/// case tried before anything is kept; each PUT is a new version, and accounts that are set up use it at once. Nobody
/// else sees it.
#[utoipa::path(put, path = "/v1/plugins/{name}", tag = "Plugins", params(("name" = String, Path)),
    request_body = PluginBody, responses((status = 200, description = "A new version", body = PluginDetail),
        (status = 201, description = "Made", body = PluginDetail), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 409, body = Problem),
        (status = 415, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn put(
    State(app): State<Arc<App>>,
    Manager(tenant): Manager,
    _: Room,
    Id(name): Id,
    JsonBody(body): JsonBody<PluginBody>,
) -> Result<(StatusCode, Json<PluginDetail>)> {
    let cases = match body.cases {
        Value::String(text) => text,
        value => value.to_string(),
    };
    let texts = Texts { manifest: body.manifest, script: body.script, cases };
    let plugin = texts.check(&name, &app.plugins, &app.tenants.host().guard).await?;
    keeps_accounts(&*app.tenants.get(&tenant).await?, &name, plugin.manifest())?;
    let document = documents::save(&app, &tenant, key(&name), &to_json(&texts), MOST).await?;
    let status = if document.version == 1 { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(detail(&document)?)))
}

/// List the versions of one of your own channels
#[utoipa::path(get, path = "/v1/plugins/{name}/versions", tag = "Plugins", params(("name" = String, Path)), responses(
    (status = 200, body = Page<Version>), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem)))]
pub(super) async fn versions(
    State(app): State<Arc<App>>,
    Reader(tenant): Reader,
    Id(name): Id,
) -> Result<Json<Page<Version>>> {
    documents::versions(&app, &tenant, key(&name)).await
}

/// Go back to an earlier version
#[utoipa::path(post, path = "/v1/plugins/{name}/rollback", tag = "Plugins", params(("name" = String, Path)),
    request_body = Rollback, responses((status = 200, body = PluginDetail), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn rollback(
    State(app): State<Arc<App>>,
    Manager(tenant): Manager,
    _: Room,
    Id(name): Id,
    JsonBody(wanted): JsonBody<Rollback>,
) -> Result<Json<PluginDetail>> {
    let known = app.tenants.get(&tenant).await?;
    let judge = |meant: &Document| {
        let plugin = texts(meant)?.plugin().map_err(|faults| Error::Invalid { slug: "plugin-invalid", faults })?;
        keeps_accounts(&known, &name, plugin.manifest())
    };
    detail(&documents::roll_back_if(&app, &tenant, key(&name), wanted, judge).await?).map(Json)
}

/// Remove one of your own channels
///
/// First remove its settings: `DELETE /v1/channels/{channel}`.
#[utoipa::path(delete, path = "/v1/plugins/{name}", tag = "Plugins", params(("name" = String, Path)), responses(
    (status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 409, body = Problem)))]
pub(super) async fn delete(State(app): State<Arc<App>>, Manager(tenant): Manager, Id(name): Id) -> Result<StatusCode> {
    let known = app.tenants.get(&tenant).await?;
    let uses = if known.channels.is_own(&name) { uses(&known, &name) } else { vec![] };
    if !uses.is_empty() {
        return Err(Error::refused("wrong-state", format!("the channel {name} is in use: {}", uses.join("; "))));
    }
    documents::delete(&app, &tenant, key(&name)).await
}

/// Where a channel is set up or named, and how that is undone.
fn uses(tenant: &Tenant, name: &str) -> Vec<String> {
    let mut uses = Vec::new();
    for integration in tenant.integrations_of(name) {
        uses.push(match integration.row.branch.as_str() {
            "" => format!("DELETE /v1/channels/{name} first"),
            branch => format!("DELETE /v1/channels/{name}?branchId={branch} first"),
        });
    }
    let settings = std::iter::once(&tenant.settings).chain(tenant.branches.values().map(|b| &b.settings));
    if settings.flat_map(|s| s.channel_order.iter().flatten()).any(|channel| channel == name) {
        uses.push("take it out of channelOrder first".to_owned());
    }
    uses
}

/// Accounts are kept by their provider's name; one that is called otherwise would silently leave them without.
fn keeps_accounts(tenant: &Tenant, name: &str, manifest: &Manifest) -> Result<()> {
    let accounts = tenant.integrations_of(name).flat_map(|i| &i.row.accounts);
    let lost = accounts.map(|a| &a.provider).find(|p| *p != SANDBOX && manifest.provider(p).is_none());
    match lost {
        Some(provider) => Err(Error::refused(
            "wrong-state",
            format!(
                "the channel {name} is set up with the provider {provider}; keep that name, or DELETE /v1/channels/{name} first"
            ),
        )),
        None => Ok(()),
    }
}
