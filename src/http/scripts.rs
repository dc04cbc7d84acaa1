//! Scripts that decide, as tenants write them: in versions, compiled before they are kept.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::{Manager, Reader};
use super::body::{Id, JsonBody, Params};
use super::documents::{self, Rollback, Version};
use super::error::Problem;
use super::page::Page;
use super::room::Room;
use crate::app::App;
use crate::clock::Timestamp;
use crate::error::{Error, Fault, Result};
use crate::ids::TenantId;
use crate::scripts::{Kind, MOST, ROUTE, Written};
use crate::segment::{script_key, written};
use crate::settings::Level;
use crate::store::documents::{self as store, Document, Kind as DocumentKind};
use crate::store::to_json;

/// A script.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScriptItem {
    name: String,
    kind: Kind,
    /// Who wrote it.
    level: Level,
    branch_id: Option<String>,
    /// Null for one of the platform's.
    version: Option<i64>,
    /// Left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Timestamp>,
}

impl ScriptItem {
    fn of(document: Document) -> Result<Self> {
        let (d, Written { kind, source }) = written(document)?;
        let branch_id = Some(d.branch).filter(|branch| !branch.is_empty());
        Ok(Self {
            name: d.name,
            kind,
            level: if branch_id.is_some() { Level::Branch } else { Level::Tenant },
            branch_id,
            version: Some(d.version),
            source: Some(source),
            created_at: Some(d.created_at),
        })
    }

    fn shipped(name: &str, kind: Kind, source: &str) -> Self {
        let (name, source) = (name.to_owned(), Some(source.to_owned()));
        Self { name, kind, level: Level::Platform, branch_id: None, version: None, source, created_at: None }
    }

    fn brief(self) -> Self {
        Self { source: None, ..self }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScriptBody {
    kind: Kind,
    /// Rhai.
    #[schema(example = "fn include(contact, now) { contact.appointments.count >= 10 }")]
    source: String,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct ScriptQuery {
    /// A branch's own `route`; without it, the tenant's.
    branch_id: Option<String>,
}

impl ScriptQuery {
    /// The branch named, which must be the tenant's.
    async fn branch(self, app: &App, tenant: &TenantId) -> Result<String> {
        let Some(branch) = self.branch_id else { return Ok(String::new()) };
        if app.tenants.get(tenant).await?.branches.contains_key(&branch) {
            return Ok(branch);
        }
        Err(Error::fault("/branchId", "unknown_branch", "this tenant has no such branch"))
    }
}

/// List scripts
///
/// The tenant's own and, where it has none of the name and kind, the platform's. Without their sources.
#[utoipa::path(get, path = "/v1/scripts", tag = "Scripts", responses((status = 200, body = Page<ScriptItem>),
    (status = 401, body = Problem), (status = 403, body = Problem)))]
pub(super) async fn list(State(app): State<Arc<App>>, Reader(tenant): Reader) -> Result<Json<Page<ScriptItem>>> {
    let own = store::list(&app.db.pool, &tenant, DocumentKind::Script).await?;
    let mut items = own.into_iter().map(ScriptItem::of).collect::<Result<Vec<_>>>()?;
    for (kind, name, shipped) in app.scripts.iter() {
        if !items.iter().any(|item| item.kind == kind && item.name == name && item.branch_id.is_none()) {
            items.push(ScriptItem::shipped(name, kind, &shipped.source));
        }
    }
    items.sort_by(|a, b| (&a.name, &a.branch_id).cmp(&(&b.name, &b.branch_id)));
    Ok(Json(Page { items: items.into_iter().map(ScriptItem::brief).collect(), next_cursor: None }))
}

/// Read a script
///
/// The tenant's own, else the platform's.
#[utoipa::path(get, path = "/v1/scripts/{name}", tag = "Scripts", params(("name" = String, Path), ScriptQuery), responses(
    (status = 200, body = ScriptItem), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Reader(tenant): Reader,
    Id(name): Id,
    Params(query): Params<ScriptQuery>,
) -> Result<Json<ScriptItem>> {
    let branch = query.branch(&app, &tenant).await?;
    match documents::get(&app, &tenant, script_key(&name, &branch)).await {
        Err(Error::NotFound) => {}
        own => return Ok(Json(ScriptItem::of(own?)?)),
    }
    let shipped = app.scripts.iter().find(|(_, n, _)| *n == name && branch.is_empty());
    let (kind, name, shipped) = shipped.ok_or(Error::NotFound)?;
    Ok(Json(ScriptItem::shipped(name, kind, &shipped.source)))
}

/// Write a script
///
/// Compiled first; what holds from now on is this version. A segment of a name that the platform has takes its place. The
/// script named `route` is asked for the channels of each notification that names none.
#[utoipa::path(put, path = "/v1/scripts/{name}", tag = "Scripts", params(("name" = String, Path), ScriptQuery),
    request_body = ScriptBody, responses((status = 200, description = "A new version", body = ScriptItem),
    (status = 201, description = "The first version", body = ScriptItem), (status = 400, body = Problem),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 409, description = "Too many scripts", body = Problem), (status = 415, body = Problem),
    (status = 422, body = Problem)))]
pub(super) async fn put(
    State(app): State<Arc<App>>,
    Manager(tenant): Manager,
    _: Room,
    Id(name): Id,
    Params(query): Params<ScriptQuery>,
    JsonBody(body): JsonBody<ScriptBody>,
) -> Result<(StatusCode, Json<ScriptItem>)> {
    let branch = query.branch(&app, &tenant).await?;
    check(&name, &branch, body.kind)?;
    body.kind.compile_for(&tenant, &body.source).await.map_err(|e| Error::script(&e, "/source"))?;
    let written = to_json(&Written { kind: body.kind, source: body.source });
    let saved = documents::save(&app, &tenant, script_key(&name, &branch), &written, MOST).await?;
    let status = if saved.version == 1 { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(ScriptItem::of(saved)?)))
}

fn check(name: &str, branch: &str, kind: Kind) -> Result<()> {
    let mut faults = Vec::new();
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if name.len() > 64 || !name.bytes().all(fine) {
        faults.push(Fault::new("/name", "name", "must be 1 to 64 of a to z, 0 to 9, - and _"));
    }
    if name == ROUTE && kind != Kind::Route {
        faults.push(Fault::new("/kind", "wrong_type", "the script named route must be of the kind route"));
    }
    if !branch.is_empty() && name != ROUTE {
        faults.push(Fault::new("/branchId", "not_allowed", "a branch has one script of its own: route"));
    }
    if faults.is_empty() { Ok(()) } else { Err(Error::Invalid { slug: "validation", faults }) }
}

/// List a script's versions
#[utoipa::path(get, path = "/v1/scripts/{name}/versions", tag = "Scripts", params(("name" = String, Path), ScriptQuery),
    responses((status = 200, body = Page<Version>), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn versions(
    State(app): State<Arc<App>>,
    Reader(tenant): Reader,
    Id(name): Id,
    Params(query): Params<ScriptQuery>,
) -> Result<Json<Page<Version>>> {
    let branch = query.branch(&app, &tenant).await?;
    documents::versions(&app, &tenant, script_key(&name, &branch)).await
}

/// Let an earlier version of a script hold again
#[utoipa::path(post, path = "/v1/scripts/{name}/rollback", tag = "Scripts", params(("name" = String, Path), ScriptQuery),
    request_body = Rollback, responses((status = 200, body = ScriptItem), (status = 400, body = Problem),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 409, description = "There is none before", body = Problem), (status = 415, body = Problem),
    (status = 422, body = Problem)))]
pub(super) async fn roll_back(
    State(app): State<Arc<App>>,
    Manager(tenant): Manager,
    _: Room,
    Id(name): Id,
    Params(query): Params<ScriptQuery>,
    JsonBody(wanted): JsonBody<Rollback>,
) -> Result<Json<ScriptItem>> {
    let branch = query.branch(&app, &tenant).await?;
    let held = documents::roll_back(&app, &tenant, script_key(&name, &branch), wanted).await?;
    Ok(Json(ScriptItem::of(held)?))
}

/// Delete a script
///
/// Where the platform has one of this name, that one holds again.
#[utoipa::path(delete, path = "/v1/scripts/{name}", tag = "Scripts", params(("name" = String, Path), ScriptQuery), responses(
    (status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem)))]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Manager(tenant): Manager,
    Id(name): Id,
    Params(query): Params<ScriptQuery>,
) -> Result<StatusCode> {
    let branch = query.branch(&app, &tenant).await?;
    documents::delete(&app, &tenant, script_key(&name, &branch)).await
}
