//! Stored people: written, read, searched, erased, and what they agreed to.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::auth::{Manager, Reader, Sender};
use super::body::{Id, JsonBody, Params};
use super::error::Problem;
use super::page::{self, Page};
use super::room::Room;
use crate::address;
use crate::app::App;
use crate::clock::Timestamp;
use crate::contact::{
    self, Change, Consent, ConsentBody, Contact, ContactBody, Figures, How, Incoming, Preferences, Rules,
};
use crate::error::{Error, Fault, Result};
use crate::ids::{ContactId, TenantId};
use crate::json::OneOrMany;
use crate::store::contacts::{self as store, Filter, Listed};
use crate::store::{begin_alone, commit_alone, consents};

/// A stored person.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContactItem {
    #[schema(value_type = String)]
    pub id: ContactId,
    /// The app's own id.
    pub external_id: Option<String>,
    pub name: Option<String>,
    /// E.164.
    pub phone: Option<String>,
    pub email: Option<String>,
    pub locale: Option<String>,
    pub timezone: Option<String>,
    #[schema(value_type = Object)]
    pub attributes: Box<RawValue>,
    pub preferences: Preferences,
    /// What holds now; what was said before is at `/v1/contacts/{id}/consents`.
    pub consents: Vec<Consent>,
    /// What the person's appointments come to.
    pub appointments: Figures,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// Since then only the counts are known.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub erased_at: Option<Timestamp>,
}

impl From<Listed> for ContactItem {
    fn from(Listed { contact: c, figures }: Listed) -> Self {
        Self {
            id: c.id,
            external_id: c.external_id,
            name: c.name,
            phone: c.phone,
            email: c.email,
            locale: c.locale,
            timezone: c.timezone,
            attributes: object(c.attributes),
            preferences: c.preferences,
            consents: c.consents,
            appointments: figures,
            created_at: c.created_at,
            updated_at: c.updated_at,
            erased_at: c.erased_at,
        }
    }
}

/// A stored JSON object, as it stands.
pub(super) fn object(json: String) -> Box<RawValue> {
    RawValue::from_string(json).unwrap_or_default()
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct ContactQuery {
    /// 1 to 200, 50 by default.
    limit: Option<String>,
    cursor: Option<String>,
    /// Part of a name, an externalId or an address; case and accents don't matter.
    q: Option<String>,
    /// In any spelling.
    phone: Option<String>,
    email: Option<String>,
}

/// List contacts
///
/// Newest first, narrowed by any of the parameters.
#[utoipa::path(get, path = "/v1/contacts", tag = "People", params(ContactQuery), responses(
    (status = 200, body = Page<ContactItem>), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Reader(tenant): Reader,
    Params(query): Params<ContactQuery>,
) -> Result<Json<Page<ContactItem>>> {
    let limit = page::limit(query.limit.as_deref())?;
    let phone = match &query.phone {
        Some(text) => {
            let tenant = app.tenants.get(&tenant).await?;
            let country = tenant.levels(None).country(&tenant.platform).value;
            let phone = address::phone(text, Some(country));
            Some(phone.map_err(|e| Error::fault("/phone", e.code, e.detail))?)
        }
        None => None,
    };
    let email = query.email.as_deref().map(address::email).transpose();
    let filter = Filter {
        q: query.q.filter(|q| !q.is_empty()),
        phone,
        email: email.map_err(|e| Error::fault("/email", e.code, e.detail))?,
        before: page::cursor(query.cursor.as_deref())?,
    };
    let rows = store::list(&app.db.pool, &tenant, &filter, limit + 1, app.now()).await?;
    Ok(Json(page::page(rows, limit, |row| row.contact.id.as_str(), ContactItem::from)))
}

/// Read a contact
///
/// By its id or its externalId. Of an erased one, only the counts are left, under its id.
#[utoipa::path(get, path = "/v1/contacts/{id}", tag = "People", params(("id" = String, Path, description = "The id or the externalId")),
    responses((status = 200, body = ContactItem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem)))]
pub(super) async fn get(State(app): State<Arc<App>>, Reader(tenant): Reader, Id(id): Id) -> Result<Json<ContactItem>> {
    Ok(Json(read(&app, &tenant, &id).await?.into()))
}

async fn read(app: &App, tenant: &TenantId, id: &str) -> Result<Listed> {
    store::find(&app.db.pool, tenant, id, app.now()).await?.ok_or(Error::NotFound)
}

/// Write a contact
///
/// Replaces the contact of this id or externalId. Where there is none, the person is found by phone (in any spelling),
/// then by e-mail, if nobody's externalId is theirs yet, and gets this one; else the contact is made.
#[utoipa::path(put, path = "/v1/contacts/{id}", tag = "People", params(("id" = String, Path, description = "The id or the externalId")),
    request_body = ContactBody, responses((status = 200, description = "Replaced", body = ContactItem),
        (status = 201, description = "Made", body = ContactItem), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 409, description = "Erased", body = Problem), (status = 415, body = Problem),
        (status = 422, body = Problem)))]
pub(super) async fn put(
    State(app): State<Arc<App>>,
    Sender(tenant): Sender,
    _: Room,
    Id(id): Id,
    JsonBody(body): JsonBody<ContactBody>,
) -> Result<(StatusCode, Json<ContactItem>)> {
    write(&app, &tenant, &id, body, How::Replace).await
}

/// Change a contact
///
/// What is left out stays, null empties.
#[utoipa::path(patch, path = "/v1/contacts/{id}", tag = "People", params(("id" = String, Path, description = "The id or the externalId")),
    request_body = ContactBody, responses((status = 200, body = ContactItem), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, description = "Erased", body = Problem), (status = 415, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn patch(
    State(app): State<Arc<App>>,
    Sender(tenant): Sender,
    _: Room,
    Id(id): Id,
    JsonBody(body): JsonBody<ContactBody>,
) -> Result<Json<ContactItem>> {
    let (_, item) = write(&app, &tenant, &id, body, How::Merge).await?;
    Ok(item)
}

async fn write(
    app: &App,
    tenant: &TenantId,
    id: &str,
    body: ContactBody,
    how: How,
) -> Result<(StatusCode, Json<ContactItem>)> {
    let now = app.now();
    let settled = app.tenants.get(tenant).await?;
    let rules = Rules { app, tenant: &settled, now };
    let mut change = body.check(&rules).map_err(|faults| Error::Invalid { slug: "validation", faults })?;
    let mut conn = app.db.pool.acquire().await?;
    let mut alone = begin_alone(&mut conn, app.db.engine, tenant).await?;
    let known = match store::find(&mut *alone, tenant, id, now).await? {
        Some(found) => Some(not_erased(found.contact)?),
        None if how == How::Merge => return Err(Error::NotFound),
        None => {
            name_as(&mut change, id)?;
            None
        }
    };
    let saved = save_one(app, &mut alone, tenant, Incoming { line: 0, change, how, known }).await?;
    commit_alone(alone).await?;
    drop(conn);
    if !settled.has_contacts {
        app.tenants.refresh(tenant);
    }
    let status = if saved.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(read(app, tenant, saved.id.as_str()).await?.into())))
}

/// A contact that is made under an externalId has that one.
fn name_as(change: &mut Change, id: &str) -> Result<()> {
    let id = address::line(id, "externalId", 200).map_err(|e| Error::fault("/externalId", e.code, e.detail))?;
    match &change.external_id {
        Some(Some(given)) if *given != id => {
            Err(Error::fault("/externalId", "exactly_one_of", "the path names another externalId"))
        }
        _ => {
            change.external_id = Some(Some(id));
            Ok(())
        }
    }
}

async fn save_one(
    app: &App,
    conn: &mut sqlx::AnyConnection,
    tenant: &TenantId,
    row: Incoming,
) -> Result<contact::Saved> {
    let saved = contact::save(conn, app.db.engine, tenant, None, vec![row], app.now()).await?;
    let only =
        saved.into_iter().next().ok_or_else(|| Error::Internal("a contact was neither saved nor refused".into()))?;
    only.map_err(|fault| Error::Invalid { slug: "validation", faults: vec![fault] })
}

fn not_erased(contact: Contact) -> Result<Contact> {
    if contact.erased_at.is_some() {
        return Err(Error::refused("wrong-state", "this contact was erased; the person can be stored anew"));
    }
    Ok(contact)
}

/// Erase a contact
///
/// Everything that says who it was is forgotten, also in what they were sent, and what waits for them is cancelled.
/// Their appointments and notifications still count. Suppressions of their addresses stay.
#[utoipa::path(delete, path = "/v1/contacts/{id}", tag = "People", params(("id" = String, Path, description = "The id or the externalId")),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn delete(State(app): State<Arc<App>>, Manager(tenant): Manager, Id(id): Id) -> Result<StatusCode> {
    let now = app.now();
    let mut conn = app.db.pool.acquire().await?;
    // What waits goes first, and once more in the end: what the person was sent meanwhile still names them.
    if let Some(found) = store::find(&mut *conn, &tenant, &id, now).await?.filter(|f| f.contact.erased_at.is_none()) {
        forget_waiting(&mut conn, &tenant, &found.contact, now).await?;
    }
    let mut alone = begin_alone(&mut conn, app.db.engine, &tenant).await?;
    let found = store::find(&mut *alone, &tenant, &id, now).await?.ok_or(Error::NotFound)?;
    if found.contact.erased_at.is_some() {
        return Ok(StatusCode::NO_CONTENT);
    }
    store::erase(&mut alone, &tenant, &found.contact, now).await?;
    commit_alone(alone).await?;
    forget_waiting(&mut conn, &tenant, &found.contact, now).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn forget_waiting(
    conn: &mut sqlx::AnyConnection,
    tenant: &TenantId,
    contact: &Contact,
    now: Timestamp,
) -> Result<()> {
    for notification in store::waiting(&mut *conn, tenant, contact).await? {
        store::forget_waiting(&mut *conn, tenant, &contact.id, &notification, now).await?;
    }
    Ok(())
}

/// A line of the history.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsentItem {
    pub id: String,
    #[serde(flatten)]
    pub consent: Consent,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct ConsentQuery {
    limit: Option<String>,
    cursor: Option<String>,
}

/// List what a contact agreed to or refused
///
/// The whole history, what was heard last first.
#[utoipa::path(get, path = "/v1/contacts/{id}/consents", tag = "People",
    params(("id" = String, Path, description = "The id or the externalId"), ConsentQuery), responses(
    (status = 200, body = Page<ConsentItem>), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn list_consents(
    State(app): State<Arc<App>>,
    Reader(tenant): Reader,
    Id(id): Id,
    Params(query): Params<ConsentQuery>,
) -> Result<Json<Page<ConsentItem>>> {
    let limit = page::limit(query.limit.as_deref())?;
    let before = page::cursor(query.cursor.as_deref())?;
    let contact = read(&app, &tenant, &id).await?.contact;
    let rows = consents::list(&app.db.pool, &tenant, &contact.id, before.as_deref(), limit + 1).await?;
    let show = |row: consents::ConsentRow| ConsentItem { id: row.id, consent: row.consent };
    Ok(Json(page::page(rows, limit, |row| row.id.as_str(), show)))
}

/// Note what a contact agrees to or refuses
///
/// For one channel or all, and one category. The later word about a channel holds, whether it was said about this
/// channel or about all; what was said before stays in the history.
#[utoipa::path(post, path = "/v1/contacts/{id}/consents", tag = "People",
    params(("id" = String, Path, description = "The id or the externalId")), request_body = ConsentBody, responses(
    (status = 201, description = "The contact, with what holds now", body = ContactItem), (status = 400, body = Problem),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 409, description = "Erased", body = Problem), (status = 415, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn post_consent(
    State(app): State<Arc<App>>,
    Sender(tenant): Sender,
    Id(id): Id,
    JsonBody(body): JsonBody<ConsentBody>,
) -> Result<(StatusCode, Json<ContactItem>)> {
    let body = ContactBody { consents: Some(OneOrMany::One(body)), ..ContactBody::default() };
    let (_, item) = write(&app, &tenant, &id, body, How::Merge).await.map_err(at_the_top)?;
    Ok((StatusCode::CREATED, item))
}

/// The consent is the whole body here.
fn at_the_top(e: Error) -> Error {
    match e {
        Error::Invalid { slug, faults } => {
            let strip = |fault: Fault| {
                let pointer = fault.pointer.strip_prefix("/consents/0").unwrap_or(&fault.pointer).to_owned();
                Fault { pointer, ..fault }
            };
            Error::Invalid { slug, faults: faults.into_iter().map(strip).collect() }
        }
        other => other,
    }
}
