//! Channels: their state, their settings, and whether they work.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::auth::{ManagerWithin, ReaderWithin};
use super::body::{Id, JsonBody, Params};
use super::error::Problem;
use super::room::Room;
use crate::app::App;
use crate::error::{Error, Result};
use crate::ids::NotificationId;
use crate::integrations::{self, ChannelSettings, ChannelState, TestResult};
use crate::json::{self, OneOrMany};
use crate::notify::{self, NotifyRequest, Submitted, To};
use crate::status::Status;
use crate::store::notifications::{Listed, find};
use crate::tenant::Tenant;

#[derive(Debug, Serialize, ToSchema)]
pub struct ChannelList {
    items: Vec<ChannelState>,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct BranchQuery {
    /// The branch whose settings are meant; absent: the tenant's, or those of the branch that the token is for.
    branch_id: Option<String>,
}

/// List channels
///
/// Every channel with its state for this tenant: on or off by the operator, configured or not, by which level, and
/// what it can do.
#[utoipa::path(get, path = "/v1/channels", tag = "Channels", params(BranchQuery), responses(
    (status = 200, body = ChannelList), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 422, body = Problem)))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    ReaderWithin(tenant, reach): ReaderWithin,
    Params(query): Params<BranchQuery>,
) -> Result<Json<ChannelList>> {
    let tenant = app.tenants.get(&tenant).await?;
    let branch = reach.branch(query.branch_id)?;
    let branch = known_branch(&tenant, branch.as_deref())?;
    let items =
        tenant.channels.names().iter().filter_map(|name| integrations::state(&app, &tenant, branch, name)).collect();
    Ok(Json(ChannelList { items }))
}

pub(super) fn known_branch<'a>(tenant: &Tenant, branch: Option<&'a str>) -> Result<Option<&'a str>> {
    match branch {
        Some(id) if !tenant.branches.contains_key(id) => {
            Err(Error::fault("/branchId", "unknown_branch", "this tenant has no such branch"))
        }
        other => Ok(other),
    }
}

/// Read a channel's settings
#[utoipa::path(get, path = "/v1/channels/{channel}", tag = "Channels", params(("channel" = String, Path), BranchQuery),
    responses((status = 200, body = ChannelState), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    ReaderWithin(tenant, reach): ReaderWithin,
    Id(channel): Id,
    Params(query): Params<BranchQuery>,
) -> Result<Json<ChannelState>> {
    let tenant = app.tenants.get(&tenant).await?;
    let branch = reach.branch(query.branch_id)?;
    let branch = known_branch(&tenant, branch.as_deref())?;
    integrations::state(&app, &tenant, branch, &channel).map(Json).ok_or(Error::NotFound)
}

/// Set up a channel
///
/// Provider and settings, checked against the provider's schema. Secrets are write-only: they answer as `********`, and
/// given so the stored one is kept.
#[utoipa::path(put, path = "/v1/channels/{channel}", tag = "Channels", params(("channel" = String, Path), BranchQuery),
    request_body = ChannelSettings, responses(
        (status = 200, body = ChannelState), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 415, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn put(
    State(app): State<Arc<App>>,
    ManagerWithin(tenant, reach): ManagerWithin,
    _: Room,
    Id(channel): Id,
    Params(query): Params<BranchQuery>,
    JsonBody(given): JsonBody<ChannelSettings>,
) -> Result<Json<ChannelState>> {
    let branch = reach.branch(query.branch_id)?.unwrap_or_default();
    integrations::save(&app, &tenant, &branch, &channel, given).await?;
    let tenant = app.tenants.get(&tenant).await?;
    let branch = Some(branch.as_str()).filter(|b| !b.is_empty());
    integrations::state(&app, &tenant, branch, &channel).map(Json).ok_or(Error::NotFound)
}

/// Remove a channel's settings
#[utoipa::path(delete, path = "/v1/channels/{channel}", tag = "Channels", params(("channel" = String, Path), BranchQuery),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    ManagerWithin(tenant, reach): ManagerWithin,
    Id(channel): Id,
    Params(query): Params<BranchQuery>,
) -> Result<StatusCode> {
    let branch = reach.branch(query.branch_id)?.unwrap_or_default();
    integrations::remove(&app, &tenant, &branch, &channel).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whom a test message goes to.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestRequest {
    /// Absent: nobody gets anything.
    #[serde(default, deserialize_with = "json::optional_object")]
    to: Option<To>,
}

/// Test a channel
///
/// Without a body: would the provider take a message? Nobody gets one. With `to`: a marked test message is sent.
#[utoipa::path(post, path = "/v1/channels/{channel}/test", tag = "Channels", params(("channel" = String, Path), BranchQuery),
    request_body = Option<TestRequest>, responses(
        (status = 200, body = TestResult), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn test(
    State(app): State<Arc<App>>,
    ManagerWithin(tenant, reach): ManagerWithin,
    Id(channel): Id,
    Params(query): Params<BranchQuery>,
    bytes: Bytes,
) -> Result<Json<TestResult>> {
    let tenant = app.tenants.get(&tenant).await?;
    tenant.channels.manifest(&channel).ok_or(Error::NotFound)?;
    let wanted: TestRequest = if bytes.is_empty() { TestRequest::default() } else { json::parse(&bytes)? };
    let named = reach.branch(query.branch_id)?;
    let branch = known_branch(&tenant, named.as_deref())?;
    match wanted.to {
        None => Ok(Json(integrations::test(&app, &tenant, branch, &channel).await)),
        Some(to) => Ok(Json(send_test(&app, &tenant, named, channel, to).await?)),
    }
}

/// Sends the built-in test message the way every message goes, and waits for what becomes of it.
async fn send_test(
    app: &App,
    tenant: &Arc<Tenant>,
    branch: Option<String>,
    channel: String,
    to: To,
) -> Result<TestResult> {
    let watch = std::time::Instant::now();
    let request = NotifyRequest::test_message(channel, branch, OneOrMany::One(to));
    let draft = notify::draft(app, tenant, request).await?;
    let id: NotificationId = draft.notifications[0].delivery.id.clone();
    let told = app.engine.wait_for(&id);
    if let Submitted::KeyTaken = notify::submit(app, tenant, draft, None).await? {
        return Err(Error::Internal("a key was taken that was not given".into()));
    }
    let row = decided(app, tenant, &id, told).await;
    app.engine.stop_waiting(&id);
    let row = row?;
    let reason = row.reason.map(|r| format!(": {r}")).unwrap_or_default();
    let ok = matches!(row.status, Status::Sent | Status::Delivered);
    let detail = format!("test message {id} is {}{reason}", row.status);
    Ok(TestResult { ok, latency_ms: watch.elapsed().as_millis() as u64, detail })
}

/// The notification once something is known: it ended, or its first attempt did. At most 20 s later in any case.
async fn decided(
    app: &App,
    tenant: &Tenant,
    id: &NotificationId,
    mut told: tokio::sync::oneshot::Receiver<()>,
) -> Result<Listed> {
    for _ in 0..40 {
        let ended = tokio::time::timeout(Duration::from_millis(500), &mut told).await.is_ok();
        let row = find(&app.db.pool, &tenant.id, id.as_str()).await?.ok_or(Error::NotFound)?;
        if ended || row.status.is_terminal() || (row.attempts > 0 && row.status != Status::Sending) {
            return Ok(row);
        }
    }
    find(&app.db.pool, &tenant.id, id.as_str()).await?.ok_or(Error::NotFound)
}

/// Test all channels
///
/// One key per channel, and `details` with what was found. Nobody gets a message.
#[utoipa::path(post, path = "/v1/channels/test", tag = "Channels", params(BranchQuery), responses(
    (status = 200, body = Object, example = json!({"email": true, "whatsapp": false, "details": {"whatsapp": {"ok": false, "problem": "not configured"}}})),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn test_all(
    State(app): State<Arc<App>>,
    ManagerWithin(tenant, reach): ManagerWithin,
    Params(query): Params<BranchQuery>,
) -> Result<Json<Map<String, Value>>> {
    let tenant = app.tenants.get(&tenant).await?;
    let branch = reach.branch(query.branch_id)?;
    let branch = known_branch(&tenant, branch.as_deref())?;
    Ok(Json(integrations::test_all(&app, &tenant, branch).await))
}
