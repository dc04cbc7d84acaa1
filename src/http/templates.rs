//! What a tenant says in its own words: templates in versions, and what they look like.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::auth::{ManagerWithin, ReaderWithin};
use super::body::{Id, JsonBody, Params};
use super::channels::known_branch;
use super::documents::{self, Rollback, Version};
use super::error::Problem;
use super::page::Page;
use super::room::Room;
use crate::address;
use crate::app::App;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::settings::Level;
use crate::store::documents::{Document, Key, Kind};
use crate::template::{Body, Template};
use crate::tenant::Tenant;
use crate::wording as rules;

/// Templates of a tenant: names, languages and branches together.
const MOST: i64 = 500;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct TemplateQuery {
    /// Absent: the tenant's own language, and the last resort for every other.
    locale: Option<String>,
    /// Absent: the whole tenant.
    branch_id: Option<String>,
}

/// A variable of a template.
#[derive(Debug, Serialize, ToSchema)]
pub struct VariableView {
    /// A request without it is refused.
    required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    example: Option<Value>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateView {
    name: String,
    /// Null: the tenant's own language.
    locale: Option<String>,
    branch_id: Option<String>,
    /// Whose words these are; `platform`: they ship with the program.
    level: Level,
    /// Null for those of the program.
    version: Option<i64>,
    parts: BTreeMap<String, String>,
    #[schema(value_type = Option<Object>)]
    sample: Option<Value>,
    /// Found in the parts, with what the author said about them.
    variables: BTreeMap<String, VariableView>,
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Timestamp>,
}

/// A template in a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateItem {
    name: String,
    locale: Option<String>,
    branch_id: Option<String>,
    level: Level,
    version: Option<i64>,
    /// The kinds of parts it has.
    parts: Vec<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Timestamp>,
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn level(branch: &str) -> Level {
    if branch.is_empty() { Level::Tenant } else { Level::Branch }
}

/// List templates
///
/// The tenant's own and its branches', then those of the program.
#[utoipa::path(get, path = "/v1/templates", tag = "Templates", responses(
    (status = 200, body = Page<TemplateItem>), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    ReaderWithin(tenant, reach): ReaderWithin,
) -> Result<Json<Page<TemplateItem>>> {
    let documents = crate::store::documents::list(&app.db.pool, &tenant, Kind::Template).await?;
    let shown = documents.into_iter().filter(|d| d.branch.is_empty() || reach.includes(Some(&d.branch)));
    let own = shown.filter_map(|d| {
        let body: Body = serde_json::from_str(&d.body).ok()?;
        Some(TemplateItem {
            locale: some(&d.locale),
            branch_id: some(&d.branch),
            level: level(&d.branch),
            version: Some(d.version),
            parts: body.parts.into_keys().collect(),
            created_at: Some(d.created_at),
            name: d.name,
        })
    });
    let program = app.templates.names().filter_map(|name| app.templates.get(name)).map(|template| TemplateItem {
        name: template.name().to_owned(),
        locale: None,
        branch_id: None,
        level: Level::Platform,
        version: None,
        parts: template.kinds(),
        created_at: None,
    });
    Ok(Json(Page { items: own.chain(program).collect(), next_cursor: None }))
}

/// Read a template
///
/// In exactly this language and for exactly this branch; a name that only the program has shows the program's words.
#[utoipa::path(get, path = "/v1/templates/{name}", tag = "Templates", params(("name" = String, Path), TemplateQuery),
    responses((status = 200, body = TemplateView), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    ReaderWithin(tenant, reach): ReaderWithin,
    Id(name): Id,
    Params(mut query): Params<TemplateQuery>,
) -> Result<Json<TemplateView>> {
    query.branch_id = reach.branch(query.branch_id)?;
    let tenant = app.tenants.get(&tenant).await?;
    let branch = known_branch(&tenant, query.branch_id.as_deref())?;
    let key = key(&name, &query, branch)?;
    match documents::get(&app, &tenant.id, key).await {
        Ok(document) => show(&tenant, document).await.map(Json),
        Err(Error::NotFound) if branch.is_none() => {
            let template = app.templates.get(&name).ok_or(Error::NotFound)?;
            Ok(Json(of_program(template, query.locale.as_deref().unwrap_or_default())))
        }
        Err(e) => Err(e),
    }
}

/// Write a template
///
/// Makes a new version, which holds at once. Everything is compiled and checked first, also what includes a partial that
/// changes. A name that begins with an underscore is a partial: `_footer` is included as `{{> footer}}`, and `_layout` is
/// the frame around every e-mail, those of the program as well.
#[utoipa::path(put, path = "/v1/templates/{name}", tag = "Templates", params(("name" = String, Path), TemplateQuery),
    request_body = Body, responses(
        (status = 200, body = TemplateView), (status = 201, body = TemplateView), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 415, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn put(
    State(app): State<Arc<App>>,
    ManagerWithin(tenant, reach): ManagerWithin,
    _: Room,
    Id(name): Id,
    Params(mut query): Params<TemplateQuery>,
    JsonBody(body): JsonBody<Body>,
) -> Result<(StatusCode, Json<TemplateView>)> {
    query.branch_id = reach.branch(query.branch_id)?;
    let tenant = app.tenants.get(&tenant).await?;
    let branch = known_branch(&tenant, query.branch_id.as_deref())?;
    rules::check_name(&name)?;
    let key = key(&name, &query, branch)?;
    rules::check(&app, &tenant, key, &body).await?;
    let saved = documents::save(&app, &tenant.id, key, &crate::store::to_json(&body), MOST).await?;
    let status = if saved.version == 1 { StatusCode::CREATED } else { StatusCode::OK };
    let tenant = app.tenants.get(&tenant.id).await?;
    Ok((status, Json(show(&tenant, saved).await?)))
}

/// List a template's versions
#[utoipa::path(get, path = "/v1/templates/{name}/versions", tag = "Templates",
    params(("name" = String, Path), TemplateQuery), responses(
        (status = 200, body = Page<Version>), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn versions(
    State(app): State<Arc<App>>,
    ReaderWithin(tenant, reach): ReaderWithin,
    Id(name): Id,
    Params(mut query): Params<TemplateQuery>,
) -> Result<Json<Page<Version>>> {
    query.branch_id = reach.branch(query.branch_id)?;
    let tenant = app.tenants.get(&tenant).await?;
    let branch = known_branch(&tenant, query.branch_id.as_deref())?;
    documents::versions(&app, &tenant.id, key(&name, &query, branch)?).await
}

/// Let an earlier version of a template hold again
#[utoipa::path(post, path = "/v1/templates/{name}/rollback", tag = "Templates",
    params(("name" = String, Path), TemplateQuery), request_body = Rollback, responses(
        (status = 200, body = TemplateView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 415, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn rollback(
    State(app): State<Arc<App>>,
    ManagerWithin(tenant, reach): ManagerWithin,
    _: Room,
    Id(name): Id,
    Params(mut query): Params<TemplateQuery>,
    JsonBody(wanted): JsonBody<Rollback>,
) -> Result<Json<TemplateView>> {
    query.branch_id = reach.branch(query.branch_id)?;
    let tenant = app.tenants.get(&tenant).await?;
    let branch = known_branch(&tenant, query.branch_id.as_deref())?;
    let key = key(&name, &query, branch)?;
    // Partials may have changed since that version was written.
    let kept = crate::store::documents::versions(&app.db.pool, &tenant.id, key).await?;
    let body = serde_json::from_str(&documents::meant(&kept, &wanted)?.body);
    rules::check(&app, &tenant, key, &body.map_err(|e| Error::Internal(e.to_string()))?).await?;
    let held = documents::roll_back(&app, &tenant.id, key, wanted).await?;
    let tenant = app.tenants.get(&tenant.id).await?;
    show(&tenant, held).await.map(Json)
}

/// Delete a template
///
/// What it stood in the place of, in the tenant or the program, holds again. A partial that is in use stays.
#[utoipa::path(delete, path = "/v1/templates/{name}", tag = "Templates", params(("name" = String, Path), TemplateQuery),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    ManagerWithin(tenant, reach): ManagerWithin,
    Id(name): Id,
    Params(mut query): Params<TemplateQuery>,
) -> Result<StatusCode> {
    query.branch_id = reach.branch(query.branch_id)?;
    let tenant = app.tenants.get(&tenant).await?;
    let branch = known_branch(&tenant, query.branch_id.as_deref())?;
    let key = key(&name, &query, branch)?;
    rules::check_unused(&app, &tenant, key).await?;
    documents::delete(&app, &tenant.id, key).await
}

fn key<'a>(name: &'a str, query: &'a TemplateQuery, branch: Option<&'a str>) -> Result<Key<'a>> {
    let locale = query.locale.as_deref().unwrap_or_default();
    if !locale.is_empty() {
        address::locale(locale).map_err(|e| Error::fault("/locale", e.code, e.detail))?;
    }
    Ok(Key { kind: Kind::Template, branch: branch.unwrap_or_default(), name, locale })
}

async fn show(tenant: &Tenant, document: Document) -> Result<TemplateView> {
    let body: Body = serde_json::from_str(&document.body).map_err(|e| Error::Internal(e.to_string()))?;
    let found = rules::variables(tenant, &document.name, &document.branch).await;
    let variables = found.into_iter().map(|(name, needed)| {
        let said = body.variables.get(&name).cloned().unwrap_or_default();
        let required = said.required.unwrap_or(needed);
        (name, VariableView { required, description: said.description, example: said.example })
    });
    Ok(TemplateView {
        locale: some(&document.locale),
        branch_id: some(&document.branch),
        level: level(&document.branch),
        version: Some(document.version),
        variables: variables.collect(),
        parts: body.parts,
        sample: body.sample.map(Value::Object),
        created_at: Some(document.created_at),
        name: document.name,
    })
}

fn of_program(template: &Template, locale: &str) -> TemplateView {
    let variables = template.variables().unwrap_or_default();
    let show = |required| VariableView { required, description: None, example: None };
    TemplateView {
        name: template.name().to_owned(),
        locale: some(locale),
        branch_id: None,
        level: Level::Platform,
        version: None,
        parts: template.sources(locale),
        sample: Some(template.sample(locale).clone()).filter(Value::is_object),
        variables: variables.into_iter().map(|(name, required)| (name, show(required))).collect(),
        created_at: None,
    }
}
