//! Segments: which there are, whom they hold, and what it costs to find out.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Reader;
use super::body::{Id, JsonBody, Params};
use super::contacts::ContactItem;
use super::error::Problem;
use super::page::{self, Page};
use crate::app::App;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::scripts::Kind;
use crate::segment::{ScriptFault, Segment, Walk, written};
use crate::settings::Level;
use crate::store::documents::{self, Kind as DocumentKind};
use crate::store::{contacts, segments as store};

/// A segment.
#[derive(Debug, Serialize, ToSchema)]
pub struct SegmentItem {
    name: String,
    /// Who wrote it.
    level: Level,
    /// Null for one of the platform's.
    version: Option<i64>,
}

/// List segments
///
/// The tenant's own, and the platform's that are not replaced by them.
#[utoipa::path(get, path = "/v1/segments", tag = "Scripts", responses((status = 200, body = Page<SegmentItem>),
    (status = 401, body = Problem), (status = 403, body = Problem)))]
pub(super) async fn list(State(app): State<Arc<App>>, Reader(tenant): Reader) -> Result<Json<Page<SegmentItem>>> {
    let mut items = Vec::new();
    for document in documents::list(&app.db.pool, &tenant, DocumentKind::Script).await? {
        let (document, script) = written(document)?;
        if script.kind == Kind::Segment {
            items.push(SegmentItem { name: document.name, level: Level::Tenant, version: Some(document.version) });
        }
    }
    for (kind, name, _) in app.scripts.iter() {
        if kind == Kind::Segment && !items.iter().any(|item| item.name == name) {
            items.push(SegmentItem { name: name.to_owned(), level: Level::Platform, version: None });
        }
    }
    items.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Json(Page { items, next_cursor: None }))
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SegmentCount {
    count: u64,
    /// Contacts on which the script failed; they are not counted.
    #[serde(skip_serializing_if = "is_zero")]
    failed: u64,
    /// The first of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ScriptFault>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

fn errors(segment: &Segment, walk: &Walk) -> Vec<ScriptFault> {
    walk.faults.iter().map(|(contact, e)| ScriptFault::new(&segment.name, contact, e)).collect()
}

/// Count a segment
///
/// Asks its script about every contact. Two runs of a tenant's segments go on at once and eight more wait; beyond that
/// the answer is 429.
#[utoipa::path(get, path = "/v1/segments/{name}/count", tag = "Scripts", params(("name" = String, Path)), responses(
    (status = 200, body = SegmentCount), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, description = "The script can't be run to the end", body = Problem),
    (status = 429, description = "Too many runs at once", body = Problem)))]
pub(super) async fn count(
    State(app): State<Arc<App>>,
    Reader(tenant): Reader,
    Id(name): Id,
) -> Result<Json<SegmentCount>> {
    let segment = Segment::find(&app, &tenant, &name).await?;
    let tenant = app.tenants.get(&tenant).await?;
    let mut count = 0;
    let walk = segment
        .walk(&app, &tenant, None, |_, verdict| {
            count += u64::from(verdict.included == Ok(true));
            ControlFlow::Continue(())
        })
        .await?;
    let errors = errors(&segment, &walk);
    Ok(Json(SegmentCount { count, failed: walk.failed, errors }))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct SegmentQuery {
    /// 1 to 200, 50 by default.
    limit: Option<String>,
    cursor: Option<String>,
}

/// Contacts looked at for one page: a page of a small segment among many contacts may have fewer than were asked for, and
/// a cursor all the same.
const LOOKED_AT: u64 = 100_000;

/// List a segment's contacts
///
/// Newest first. Where few of many contacts are in, a page may hold fewer than `limit` and still have a `nextCursor`.
#[utoipa::path(get, path = "/v1/segments/{name}/contacts", tag = "Scripts", params(("name" = String, Path), SegmentQuery),
    responses((status = 200, body = Page<ContactItem>), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem),
    (status = 429, description = "Too many runs at once", body = Problem)))]
pub(super) async fn contacts(
    State(app): State<Arc<App>>,
    Reader(tenant): Reader,
    Id(name): Id,
    Params(query): Params<SegmentQuery>,
) -> Result<Json<Page<ContactItem>>> {
    let limit = page::limit(query.limit.as_deref())?;
    let from = page::cursor(query.cursor.as_deref())?;
    let segment = Segment::find(&app, &tenant, &name).await?;
    let (found, walk) = first(&app, &segment, &tenant, from, limit).await?;
    let next_cursor = walk.last.as_deref().map(page::encode);
    let mut shown = shown(&app, &tenant, &found, walk.now).await?;
    let items = found.iter().filter_map(|found| shown.remove(&found.id)).collect();
    Ok(Json(Page { items, next_cursor }))
}

/// A contact that is in, and what the script said.
struct Found {
    id: String,
    log: Vec<String>,
    operations: u64,
}

async fn first(
    app: &App,
    segment: &Segment,
    tenant: &crate::ids::TenantId,
    from: Option<String>,
    limit: usize,
) -> Result<(Vec<Found>, Walk)> {
    let tenant = app.tenants.get(tenant).await?;
    let (mut found, mut looked) = (Vec::new(), 0);
    let walk = segment
        .walk(app, &tenant, from, |person, verdict| {
            looked += 1;
            if verdict.included == Ok(true) {
                let (id, log) = (person.facts().id.clone(), verdict.log.clone());
                found.push(Found { id, log, operations: verdict.operations });
            }
            let enough = found.len() == limit || looked == LOOKED_AT;
            if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .await?;
    Ok((found, walk))
}

/// The contacts found, as they are shown elsewhere, by id.
async fn shown(
    app: &App,
    tenant: &crate::ids::TenantId,
    found: &[Found],
    now: Timestamp,
) -> Result<HashMap<String, ContactItem>> {
    let ids: Vec<&str> = found.iter().map(|found| found.id.as_str()).collect();
    let listed = contacts::listed(&app.db.pool, app.db.engine, tenant, &ids, now).await?;
    Ok(listed.into_iter().map(|row| (row.contact.id.to_string(), ContactItem::from(row))).collect())
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PreviewBody {}

/// The first of a segment, and why they are in it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    name: String,
    level: Level,
    version: Option<i64>,
    #[schema(value_type = String, format = DateTime)]
    now: Timestamp,
    /// At most ten.
    items: Vec<Previewed>,
    /// Contacts on which the script failed on the way.
    failed: u64,
    errors: Vec<ScriptFault>,
    /// What it took to find these.
    cost: Cost,
    /// What it would take to ask about every contact.
    whole_run: Cost,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Previewed {
    /// With the figures that decided.
    contact: ContactItem,
    /// What the script printed.
    log: Vec<String>,
    operations: u64,
}

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// Contacts read.
    contacts: u64,
    operations: u64,
    elapsed_ms: f64,
}

impl Cost {
    fn of(walk: &Walk) -> Self {
        let elapsed_ms = (walk.elapsed.as_secs_f64() * 1e5).round() / 100.0;
        Self { contacts: walk.contacts, operations: walk.operations, elapsed_ms }
    }

    /// As much for each of `contacts`.
    fn times(self, contacts: u64) -> Self {
        let factor = contacts as f64 / self.contacts.max(1) as f64;
        let operations = (self.operations as f64 * factor).round() as u64;
        Self { contacts, operations, elapsed_ms: (self.elapsed_ms * factor).round() }
    }
}

const PREVIEWED: usize = 10;

/// Preview a segment
///
/// The first ten contacts with the figures and the script's own words, what that cost, and what the whole would.
#[utoipa::path(post, path = "/v1/segments/{name}/preview", tag = "Scripts", params(("name" = String, Path)),
    request_body = PreviewBody, responses((status = 200, body = Preview), (status = 400, body = Problem),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 415, body = Problem), (status = 422, body = Problem),
    (status = 429, description = "Too many runs at once", body = Problem)))]
pub(super) async fn preview(
    State(app): State<Arc<App>>,
    Reader(tenant): Reader,
    Id(name): Id,
    JsonBody(PreviewBody {}): JsonBody<PreviewBody>,
) -> Result<Json<Preview>> {
    let segment = Segment::find(&app, &tenant, &name).await?;
    let (found, walk) = first(&app, &segment, &tenant, None, PREVIEWED).await?;
    let mut shown = shown(&app, &tenant, &found, walk.now).await?;
    let cost = Cost::of(&walk);
    let whole = store::size(&app.db.pool, &tenant).await?;
    let item =
        |Found { id, log, operations }: Found| shown.remove(&id).map(|contact| Previewed { contact, log, operations });
    Ok(Json(Preview {
        items: found.into_iter().filter_map(item).collect(),
        failed: walk.failed,
        errors: errors(&segment, &walk),
        cost,
        whole_run: cost.times(u64::try_from(whole).unwrap_or(0)),
        name: segment.name,
        level: segment.level,
        version: segment.version,
        now: walk.now,
    }))
}
