//! `POST /v1/notify`: the one endpoint apps call.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::auth::{Reach, SenderWithin};
use super::body::{self, RawJson};
use super::error::Problem;
use super::notifications::item;
use crate::app::{App, InFlight};
use crate::error::{Error, Result};
use crate::ids::{NotificationId, TenantId};
use crate::json;
use crate::notify::{self, DryRun, NotificationItem, NotifyRequest, NotifyResponse, Submitted};
use crate::status::Status;
use crate::store::notifications::{Listed, find, find_first_answer, update_first_answer};
use crate::store::to_json;
use crate::tenant::Tenant;
use crate::writer::IdempotencyKey;

/// How keys of this route are stored.
const ROUTE: &str = "POST /v1/notify ";
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Send a notification
///
/// Answers 202 once the notification is durable. With `Prefer: wait=N` it answers 200 when every notification was sent
/// or has ended within N seconds. With `dryRun` it answers 200 with the whole decision and sends nothing.
#[utoipa::path(post, path = "/v1/notify", tag = "Notifications", request_body = NotifyRequest,
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "The same key and body within 24 h answers the first answer again"),
        ("Prefer" = Option<String>, Header, description = "`wait=N`, 1 to 30 seconds")
    ),
    responses(
        (status = 202, description = "Durable", body = NotifyResponse),
        (status = 200, description = "With `dryRun`: the decision. With `Prefer: wait`: the final state", body = DryRun),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, description = "The first request with this key still runs", body = Problem),
        (status = 413, body = Problem), (status = 415, body = Problem),
        (status = 422, description = "Not valid; `errors` names every bad field", body = Problem),
        (status = 503, body = Problem)
    ))]
pub(super) async fn post(
    State(app): State<Arc<App>>,
    SenderWithin(tenant, reach): SenderWithin,
    headers: HeaderMap,
    RawJson(bytes): RawJson,
) -> Result<Response> {
    let key = body::idempotency_key(&headers)?;
    let wait = body::wait(&headers);
    let Some(key) = key else {
        return accept(&app, &tenant, &reach, &bytes, None, wait).await;
    };
    let once = Once { body_hash: hash(&bytes, &reach), key: format!("{ROUTE}{key}").into() };
    let Some(running) = app.enter(&tenant, &once.key) else {
        return Err(Error::refused("idempotency-in-flight", "wait for the first answer, then repeat"));
    };
    let result = accept(&app, &tenant, &reach, &bytes, Some(&once), wait).await;
    let result = match result {
        // What is refused now may have been accepted under this key before.
        Err(Error::Invalid { .. } | Error::Refused { .. }) => match replay(&app, &tenant, &once).await? {
            Some(replayed) => replayed,
            None => result,
        },
        other => other,
    };
    drop::<InFlight>(running);
    result
}

/// An Idempotency-Key and what came with it.
struct Once {
    /// With its route, as stored.
    key: Arc<str>,
    body_hash: String,
}

/// The same words mean something else to a caller of another branch.
fn hash(bytes: &[u8], reach: &Reach) -> String {
    use base64::Engine as _;
    let digest = Sha256::new().chain_update(bytes).chain_update(reach.only().unwrap_or_default());
    base64::engine::general_purpose::STANDARD_NO_PAD.encode(digest.finalize())
}

async fn accept(
    app: &Arc<App>,
    tenant: &TenantId,
    reach: &Reach,
    bytes: &[u8],
    once: Option<&Once>,
    wait: Option<Duration>,
) -> Result<Response> {
    let mut request: NotifyRequest = json::parse(bytes)?;
    request.branch_id = reach.branch(request.branch_id)?;
    let tenant = app.tenants.get(tenant).await?;
    let dry_run = request.dry_run;
    let draft = notify::draft(app, &tenant, request).await?;
    if dry_run {
        return Ok(answer(StatusCode::OK, to_json(&notify::explain(app, &tenant, &draft).await?)));
    }
    let waiting = wait.map(|patience| Waiting::new(app, &draft, patience));
    let key = once.map(|once| IdempotencyKey { key: Arc::clone(&once.key), body_hash: once.body_hash.clone() });
    let log_id = draft.notifications.first().map(|n| n.delivery.request_id.to_string()).unwrap_or_default();
    let accepted = match notify::submit(app, &tenant, draft, key).await? {
        Submitted::Accepted(answer) => answer,
        Submitted::KeyTaken => {
            let once = once.ok_or_else(|| Error::Internal("a key was taken that was not given".into()))?;
            return match replay(app, &tenant.id, once).await? {
                Some(replayed) => replayed,
                None => Err(Error::refused("idempotency-in-flight", "wait for the first answer, then repeat")),
            };
        }
    };
    crate::failpoint::reach("before_answer");
    if let Some(waiting) = waiting
        && let Some(reached) = waiting.finish(&tenant, &accepted).await?
    {
        let reached: Arc<str> = to_json(&reached).into();
        if let Some(once) = once {
            // Also for a caller who hangs up now.
            let (app, tenant, key, reached) =
                (Arc::clone(app), tenant.id.clone(), Arc::clone(&once.key), Arc::clone(&reached));
            let updating = async move { update_first_answer(&app.db.pool, &tenant, &key, 200, &reached).await };
            tokio::spawn(updating).await.map_err(|e| Error::Internal(e.to_string()))??;
        }
        return Ok(answer(StatusCode::OK, reached.to_string()));
    }
    let mut response = answer(StatusCode::ACCEPTED, accepted);
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/notifications/{log_id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn answer(status: StatusCode, json: String) -> Response {
    (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response()
}

/// The first answer of a key, if there is one for this body.
async fn replay(app: &App, tenant: &TenantId, once: &Once) -> Result<Option<Result<Response>>> {
    let Some(first) = find_first_answer(&app.db.pool, tenant, &once.key, app.now()).await? else {
        return Ok(None);
    };
    if first.body_hash != once.body_hash {
        let detail = "this Idempotency-Key was used with another body; use a new key for a new request";
        return Ok(Some(Err(Error::refused("idempotency-mismatch", detail))));
    }
    let status = StatusCode::from_u16(first.status).unwrap_or(StatusCode::ACCEPTED);
    let body = match first.response {
        Some(stored) => stored,
        None => match find(&app.db.pool, tenant, &first.request_id).await? {
            Some(row) => to_json(&first_answer(&row)),
            None => return Ok(None),
        },
    };
    let mut response = answer(status, body);
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(Some(Ok(response)))
}

/// What one plainly accepted notification was answered, whatever has become of it since.
fn first_answer(row: &Listed) -> NotifyResponse {
    let status = if row.send_at.is_some() { Status::Scheduled } else { Status::Queued };
    let channel = row.chain.first().unwrap_or(&row.channel).clone();
    let first = NotificationItem { status, channel, reason: None, message_id: None, ..item(row) };
    NotifyResponse { success: true, log_id: row.request_id.clone(), message_id: None, notifications: vec![first] }
}

/// `Prefer: wait`: told by this node's engine, and looking every quarter second for what another node did.
struct Waiting {
    app: Arc<App>,
    ids: Vec<NotificationId>,
    told: Vec<tokio::sync::oneshot::Receiver<()>>,
    patience: Duration,
}

/// Also when the caller has hung up.
impl Drop for Waiting {
    fn drop(&mut self) {
        for id in &self.ids {
            self.app.engine.stop_waiting(id);
        }
    }
}

impl Waiting {
    fn new(app: &Arc<App>, draft: &notify::Draft, patience: Duration) -> Self {
        let ids: Vec<_> = draft.notifications.iter().map(|n| n.delivery.id.clone()).collect();
        let told = ids.iter().map(|id| app.engine.wait_for(id)).collect();
        Self { app: Arc::clone(app), ids, told, patience }
    }

    /// What all notifications have come to, if they have. `accepted`: the answer given without waiting; some may have come
    /// to their end with it, and a duplicate (dedupeKey) has no row of its own.
    async fn finish(mut self, tenant: &Tenant, accepted: &str) -> Result<Option<NotifyResponse>> {
        let mut answer: NotifyResponse =
            serde_json::from_str(accepted).map_err(|e| Error::Internal(format!("our own answer: {e}")))?;
        let open: Vec<bool> = answer.notifications.iter().map(|item| !item.status.is_terminal()).collect();
        let told =
            std::mem::take(&mut self.told).into_iter().zip(&open).filter_map(|(told, open)| open.then_some(told));
        let all_told = futures_util::future::join_all(told);
        tokio::pin!(all_told);
        let deadline = tokio::time::Instant::now() + self.patience;
        loop {
            let look_again = tokio::time::Instant::now() + Duration::from_millis(250);
            let last = tokio::select! {
                _ = &mut all_told => true,
                () = tokio::time::sleep_until(look_again.min(deadline)) => tokio::time::Instant::now() >= deadline,
            };
            if self.all_ended(tenant, &open, &mut answer).await? {
                if let [only] = answer.notifications.as_slice() {
                    answer.message_id.clone_from(&only.message_id);
                }
                return Ok(Some(answer));
            }
            if last {
                return Ok(None);
            }
        }
    }

    async fn all_ended(&self, tenant: &Tenant, open: &[bool], answer: &mut NotifyResponse) -> Result<bool> {
        for ((id, ended), _) in self.ids.iter().zip(&mut answer.notifications).zip(open).filter(|(_, open)| **open) {
            match find(&self.app.db.pool, &tenant.id, id.as_str()).await? {
                Some(row) if row.status.is_terminal() => *ended = item(&row),
                _ => return Ok(false),
            }
        }
        Ok(true)
    }
}
