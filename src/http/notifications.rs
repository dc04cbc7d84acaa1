//! Reading notifications, and the little that can be done to one by hand.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::auth::{Reach, ReaderWithin, SenderWithin};
use super::body::{Id, JsonBody, Params};
use super::error::Problem;
use super::page::{self, Page};
use super::room::Room;
use crate::address;
use crate::app::App;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::ids::TenantId;
use crate::notify::{NotificationItem, PublicRecipient};
use crate::status::{Category, Outcome, Status};
use crate::store::notifications::{self as store, Filter, Listed};
use crate::writer::Op;

pub(super) fn item(row: &Listed) -> NotificationItem {
    NotificationItem {
        id: row.id.clone(),
        status: row.status,
        recipient: PublicRecipient::from(&row.recipient),
        channel: row.channel.clone(),
        reason: row.reason.clone(),
        message_id: row.message_id.clone(),
    }
}

/// A line of the list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    #[serde(flatten)]
    item: NotificationItem,
    log_id: String,
    #[serde(rename = "type")]
    kind: String,
    category: String,
    branch_id: Option<String>,
    appointment_id: Option<String>,
    /// When it is looked at next, while it waits.
    #[schema(value_type = Option<String>, format = DateTime)]
    due_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    send_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

fn summary(row: Listed) -> Summary {
    Summary {
        item: item(&row),
        log_id: row.request_id,
        kind: row.kind,
        category: row.category,
        branch_id: row.branch_id,
        appointment_id: row.appointment_id,
        due_at: row.due_at,
        send_at: row.send_at,
        created_at: row.created_at,
    }
}

/// One notification, whole.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Detail {
    #[serde(flatten)]
    summary: Summary,
    /// The channels in the order they are tried.
    chain: Vec<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// What was asked to be told: template or literal text, data, actions.
    #[schema(value_type = Object)]
    content: Value,
    attempts: Vec<AttemptItem>,
    timeline: Vec<TimelineItem>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptItem {
    number: u32,
    channel: String,
    provider: String,
    /// Null while the attempt is open.
    outcome: Option<Outcome>,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
    http_status: Option<u16>,
    message_id: Option<String>,
    error: Option<AttemptError>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct AttemptError {
    /// A stable word.
    reason: Option<String>,
    detail: Option<String>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TimelineItem {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    event: String,
    detail: Option<String>,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// 1 to 200, 50 by default.
    limit: Option<String>,
    cursor: Option<String>,
    status: Option<String>,
    channel: Option<String>,
    /// The kind of notification.
    #[serde(rename = "type")]
    kind: Option<String>,
    category: Option<String>,
    /// A phone or an e-mail address.
    recipient: Option<String>,
    contact_id: Option<String>,
    appointment_id: Option<String>,
    campaign_id: Option<String>,
    branch_id: Option<String>,
    log_id: Option<String>,
    /// Accepted at or after; RFC 3339.
    from: Option<String>,
    /// Accepted before; RFC 3339.
    to: Option<String>,
    /// Words in the recipient or the kind.
    q: Option<String>,
}

impl ListQuery {
    fn filter(&self, app: &App) -> Result<Filter> {
        if let Some(status) = &self.status
            && status.parse::<Status>().is_err()
        {
            let known: Vec<_> = Status::ALL.iter().map(|s| s.as_str()).collect();
            return Err(Error::fault("/status", "out_of_range", format!("must be one of: {}", known.join(", "))));
        }
        let category = [Category::Transactional, Category::Marketing].map(Category::as_str);
        if self.category.as_deref().is_some_and(|c| !category.contains(&c)) {
            return Err(Error::fault("/category", "out_of_range", "must be transactional or marketing"));
        }
        let country = app.config.load().defaults.country.clone();
        // A recipient that is no address finds nothing, which is the truth.
        let recipient = self.recipient.as_ref().map(|text| {
            address::phone(text, Some(&country)).or_else(|_| address::email(text)).unwrap_or_else(|_| text.clone())
        });
        Ok(Filter {
            status: self.status.clone(),
            channel: self.channel.clone(),
            kind: self.kind.clone(),
            category: self.category.clone(),
            recipient,
            contact_id: self.contact_id.clone(),
            appointment_id: self.appointment_id.clone(),
            branch_id: self.branch_id.clone(),
            log_id: self.log_id.clone(),
            from: time("/from", self.from.as_deref())?,
            to: time("/to", self.to.as_deref())?,
            q: self.q.clone().filter(|q| !q.is_empty()),
            before: page::cursor(self.cursor.as_deref())?,
        })
    }
}

pub(super) fn time(pointer: &str, text: Option<&str>) -> Result<Option<Timestamp>> {
    let Some(text) = text else { return Ok(None) };
    Timestamp::parse(text).map(Some).ok_or_else(|| {
        Error::fault(pointer, "timestamp", "must be RFC 3339 with an offset, e.g. 2026-03-01T09:00:00-06:00")
    })
}

/// List notifications
///
/// Newest first, narrowed by any of the parameters.
#[utoipa::path(get, path = "/v1/notifications", tag = "Notifications", params(ListQuery), responses(
    (status = 200, body = Page<Summary>), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    ReaderWithin(tenant, reach): ReaderWithin,
    Params(query): Params<ListQuery>,
) -> Result<Json<Page<Summary>>> {
    let limit = page::limit(query.limit.as_deref())?;
    let mut filter = query.filter(&app)?;
    filter.branch_id = reach.branch(filter.branch_id)?;
    if query.campaign_id.is_some() {
        return Ok(Json(Page { items: vec![], next_cursor: None }));
    }
    let rows = store::list(&app.db.pool, &tenant, &filter, limit + 1).await?;
    Ok(Json(page::page(rows, limit, |row| row.id.as_str(), summary)))
}

/// Read one notification
///
/// With its content, its attempts and its timeline: what happened, and why.
#[utoipa::path(get, path = "/v1/notifications/{id}", tag = "Notifications", params(("id" = String, Path)), responses(
    (status = 200, body = Detail), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem)))]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    ReaderWithin(tenant, reach): ReaderWithin,
    Id(id): Id,
) -> Result<Json<Detail>> {
    let row = store::find(&app.db.pool, &tenant, &id).await?.ok_or(Error::NotFound)?;
    reach.find(row.branch_id.as_deref())?;
    Ok(Json(detail(&app, &tenant, row).await?))
}

async fn detail(app: &App, tenant: &TenantId, row: Listed) -> Result<Detail> {
    let pool = &app.db.pool;
    let content = match &row.content {
        Some(json) => serde_json::from_str(json).unwrap_or_default(),
        None => store::find_shared_content(pool, tenant, &row.request_id)
            .await?
            .map(|c| serde_json::to_value(&*c).unwrap_or_default())
            .unwrap_or_default(),
    };
    let attempts = store::attempts(pool, tenant, &row.id).await?;
    let events = store::events(pool, tenant, &row.id).await?;
    let mut timeline = vec![TimelineItem { at: row.created_at, event: "accepted".into(), detail: None }];
    for attempt in &attempts {
        let what = attempt.error.clone().or_else(|| attempt.reason.clone());
        timeline.push(TimelineItem {
            at: attempt.finished_at,
            event: format!("attempt.{}", attempt.outcome.as_str()),
            detail: Some(match what {
                Some(what) => format!("#{} through {}: {what}", attempt.number, attempt.channel),
                None => format!("#{} through {}", attempt.number, attempt.channel),
            }),
        });
    }
    timeline.extend(events.into_iter().map(|e| TimelineItem { at: e.at, event: e.event, detail: e.detail }));
    timeline.sort_by_key(|item| item.at);
    let mut shown: Vec<AttemptItem> = attempts.into_iter().map(attempt_item).collect();
    if let (Status::Sending, Some(began)) = (row.status, row.attempt_began_at) {
        shown.push(AttemptItem {
            number: row.attempts,
            channel: row.channel.clone(),
            provider: String::new(),
            outcome: None,
            started_at: began,
            finished_at: None,
            http_status: None,
            message_id: None,
            error: None,
        });
    }
    Ok(Detail {
        chain: row.chain.clone(),
        expires_at: row.expires_at,
        content,
        attempts: shown,
        timeline,
        summary: summary(row),
    })
}

fn attempt_item(a: store::Attempt) -> AttemptItem {
    let error = (a.reason.is_some() || a.error.is_some()).then_some(AttemptError { reason: a.reason, detail: a.error });
    AttemptItem {
        number: a.number,
        channel: a.channel,
        provider: a.provider,
        outcome: Some(a.outcome),
        started_at: a.began_at,
        finished_at: Some(a.finished_at),
        http_status: a.http_status,
        message_id: a.message_id,
        error,
    }
}

/// A notification's branch never changes, so it may be looked at before.
async fn within(app: &App, tenant: &TenantId, reach: &Reach, id: &str) -> Result<()> {
    if reach.only().is_some() {
        let row = store::find(&app.db.pool, tenant, id).await?.ok_or(Error::NotFound)?;
        reach.find(row.branch_id.as_deref())?;
    }
    Ok(())
}

/// Cancel a notification
///
/// Possible until it is handed to a provider. Answered 200, no call starts afterwards.
#[utoipa::path(post, path = "/v1/notifications/{id}/cancel", tag = "Notifications", params(("id" = String, Path)),
    responses((status = 200, body = NotificationItem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    SenderWithin(tenant, reach): SenderWithin,
    Id(id): Id,
) -> Result<Json<NotificationItem>> {
    let pool = &app.db.pool;
    within(&app, &tenant, &reach, &id).await?;
    let cancelled = store::cancel(pool, &tenant, &id, app.now()).await?;
    let row = store::find(pool, &tenant, &id).await?.ok_or(Error::NotFound)?;
    if cancelled || row.status == Status::Cancelled {
        return Ok(Json(item(&row)));
    }
    let slug = if row.attempts > 0 { "already-handed-over" } else { "wrong-state" };
    Err(Error::refused(slug, format!("it is {}; only what was not handed to a provider can be cancelled", row.status)))
}

/// Retry a failed notification
///
/// Starts again at its present channel.
#[utoipa::path(post, path = "/v1/notifications/{id}/retry", tag = "Notifications", params(("id" = String, Path)),
    responses((status = 200, body = NotificationItem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn retry(
    State(app): State<Arc<App>>,
    SenderWithin(tenant, reach): SenderWithin,
    _: Room,
    Id(id): Id,
) -> Result<Json<NotificationItem>> {
    within(&app, &tenant, &reach, &id).await?;
    let now = app.now();
    let lane = store::retry(&app.db.pool, &tenant, &id, now).await?;
    let row = store::find(&app.db.pool, &tenant, &id).await?.ok_or(Error::NotFound)?;
    match lane {
        Some(lane) => {
            app.engine.writer.send(Op::Touch(tenant, lane.into(), now)).await;
            Ok(Json(item(&row)))
        }
        None => Err(Error::refused("wrong-state", format!("it is {}; only failed ones can be retried", row.status))),
    }
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RetryFilter {
    channel: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    category: Option<Category>,
    branch_id: Option<String>,
    log_id: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Retried {
    /// How many were put back in the queue.
    retried: usize,
}

/// Retry failed notifications by filter
#[utoipa::path(post, path = "/v1/notifications/retry", tag = "Notifications", request_body = RetryFilter,
    responses((status = 200, body = Retried), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 415, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn retry_many(
    State(app): State<Arc<App>>,
    SenderWithin(tenant, reach): SenderWithin,
    _: Room,
    JsonBody(wanted): JsonBody<RetryFilter>,
) -> Result<Json<Retried>> {
    let mut filter = Filter {
        status: Some(Status::Failed.as_str().into()),
        channel: wanted.channel,
        kind: wanted.kind,
        category: wanted.category.map(|c| c.as_str().to_owned()),
        branch_id: reach.branch(wanted.branch_id)?,
        log_id: wanted.log_id,
        from: wanted.from,
        to: wanted.to,
        ..Filter::default()
    };
    let now = app.now();
    let mut retried = 0;
    loop {
        let rows = store::list(&app.db.pool, &tenant, &filter, 200).await?;
        let Some(last) = rows.last() else { break };
        filter.before = Some(last.id.clone());
        for row in &rows {
            if let Some(lane) = store::retry(&app.db.pool, &tenant, &row.id, now).await? {
                app.engine.writer.send(Op::Touch(tenant.clone(), lane.into(), now)).await;
                retried += 1;
            }
        }
    }
    Ok(Json(Retried { retried }))
}
