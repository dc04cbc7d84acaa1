//! Appointments as data.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::auth::{Reader, Sender};
use super::body::{Id, JsonBody, Params};
use super::contacts::object;
use super::error::Problem;
use super::notifications::time;
use super::page::{self, Page};
use super::room::Room;
use crate::app::App;
use crate::appointment::{self, Appointment, AppointmentBody, AppointmentStatus, Times};
use crate::clock::Timestamp;
use crate::contact::Rules;
use crate::error::{Error, Result};
use crate::ids::ContactId;
use crate::store::appointments::{self as store, Filter};
use crate::store::{begin_alone, commit_alone, contacts};

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppointmentItem {
    /// The app's own id.
    pub external_id: String,
    #[schema(value_type = String)]
    pub contact_id: ContactId,
    pub branch_id: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<Timestamp>,
    pub status: AppointmentStatus,
    pub service: Option<String>,
    pub professional: Option<String>,
    #[schema(value_type = Object)]
    pub attributes: Box<RawValue>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl From<Appointment> for AppointmentItem {
    fn from(a: Appointment) -> Self {
        Self {
            external_id: a.external_id,
            contact_id: a.contact_id,
            branch_id: a.branch_id,
            starts_at: a.starts_at,
            ends_at: a.ends_at,
            status: a.status,
            service: a.service,
            professional: a.professional,
            attributes: object(a.attributes),
            created_at: a.created_at,
            updated_at: a.updated_at,
        }
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct AppointmentQuery {
    /// 1 to 200, 50 by default.
    limit: Option<String>,
    cursor: Option<String>,
    /// A contact's id or externalId.
    contact_id: Option<String>,
    branch_id: Option<String>,
    status: Option<String>,
    /// Beginning at or after; RFC 3339.
    from: Option<String>,
    /// Beginning before; RFC 3339.
    to: Option<String>,
}

/// List appointments
///
/// By beginning, the earliest first, narrowed by any of the parameters.
#[utoipa::path(get, path = "/v1/appointments", tag = "Appointments", params(AppointmentQuery), responses(
    (status = 200, body = Page<AppointmentItem>), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Reader(tenant): Reader,
    Params(query): Params<AppointmentQuery>,
) -> Result<Json<Page<AppointmentItem>>> {
    let limit = page::limit(query.limit.as_deref())?;
    let status = query.status.as_deref().map(|text| {
        let known: Vec<_> = AppointmentStatus::ALL.iter().map(|s| s.as_str()).collect();
        let refuse = || Error::fault("/status", "out_of_range", format!("must be one of: {}", known.join(", ")));
        AppointmentStatus::of(text).ok_or_else(refuse)
    });
    let after = page::cursor(query.cursor.as_deref())?.map(|key| {
        let (at, id) = key.split_once(' ')?;
        Some((Timestamp(at.parse().ok()?), id.to_owned()))
    });
    let after = match after {
        Some(None) => return Err(Error::refused("cursor-invalid", "give a nextCursor as it was answered")),
        Some(after) => after,
        None => None,
    };
    let mut filter = Filter {
        contact: None,
        branch: query.branch_id,
        status: status.transpose()?,
        from: time("/from", query.from.as_deref())?,
        to: time("/to", query.to.as_deref())?,
        after,
    };
    if let Some(id) = &query.contact_id {
        // Nobody has no appointments.
        let Some(found) = contacts::find(&app.db.pool, &tenant, id, app.now()).await? else {
            return Ok(Json(Page { items: vec![], next_cursor: None }));
        };
        filter.contact = Some(found.contact.id);
    }
    let rows = store::list(&app.db.pool, &tenant, &filter, limit + 1).await?;
    let rows = rows.into_iter().map(|row| (format!("{} {}", row.starts_at.0, row.external_id), row)).collect();
    Ok(Json(page::page(rows, limit, |(key, _)| key.as_str(), |(_, row): (_, Appointment)| row.into())))
}

/// Read an appointment
#[utoipa::path(get, path = "/v1/appointments/{externalId}", tag = "Appointments", params(("externalId" = String, Path)),
    responses((status = 200, body = AppointmentItem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem)))]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Reader(tenant): Reader,
    Id(id): Id,
) -> Result<Json<AppointmentItem>> {
    let found = store::find(&app.db.pool, &tenant, &id).await?.ok_or(Error::NotFound)?;
    Ok(Json(found.into()))
}

/// Write an appointment
///
/// Makes or replaces it; its contact's figures follow at once.
#[utoipa::path(put, path = "/v1/appointments/{externalId}", tag = "Appointments", params(("externalId" = String, Path)),
    request_body = AppointmentBody, responses((status = 200, description = "Replaced", body = AppointmentItem),
        (status = 201, description = "Made", body = AppointmentItem), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 415, body = Problem),
        (status = 422, body = Problem)))]
pub(super) async fn put(
    State(app): State<Arc<App>>,
    Sender(tenant): Sender,
    _: Room,
    Id(id): Id,
    JsonBody(mut body): JsonBody<AppointmentBody>,
) -> Result<(StatusCode, Json<AppointmentItem>)> {
    match &body.external_id {
        Some(given) if *given != id => {
            return Err(Error::fault("/externalId", "exactly_one_of", "the path names another externalId"));
        }
        _ => body.external_id = Some(id),
    }
    let now = app.now();
    let settled = app.tenants.get(&tenant).await?;
    let rules = Rules { app: &app, tenant: &settled, now };
    let invalid = |faults| Error::Invalid { slug: "validation", faults };
    let new = body.check(&rules, Times::Absolute, 0).map_err(invalid)?;
    let id = new.appointment.external_id.clone();
    let mut conn = app.db.pool.acquire().await?;
    let mut alone = begin_alone(&mut conn, app.db.engine, &tenant).await?;
    let saved = appointment::save(&mut alone, app.db.engine, &tenant, None, vec![new], now).await?;
    let only = saved.into_iter().next().ok_or_else(|| Error::Internal("neither saved nor refused".into()))?;
    let saved = only.map_err(|fault| invalid(vec![fault]))?;
    commit_alone(alone).await?;
    drop(conn);
    let stored = store::find(&app.db.pool, &tenant, &id).await?.ok_or(Error::NotFound)?;
    let status = if saved.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(stored.into())))
}

/// Delete an appointment
///
/// As if it had never been; to keep it in the counts, PUT it as `CANCELLED`.
#[utoipa::path(delete, path = "/v1/appointments/{externalId}", tag = "Appointments", params(("externalId" = String, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn delete(State(app): State<Arc<App>>, Sender(tenant): Sender, Id(id): Id) -> Result<StatusCode> {
    let mut conn = app.db.pool.acquire().await?;
    let mut alone = begin_alone(&mut conn, app.db.engine, &tenant).await?;
    if !appointment::remove(&mut alone, app.db.engine, &tenant, &id, app.now()).await? {
        return Err(Error::NotFound);
    }
    commit_alone(alone).await?;
    Ok(StatusCode::NO_CONTENT)
}
