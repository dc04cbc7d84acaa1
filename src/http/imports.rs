//! Files in and out: imports with their reports, and the export. Both stream, also the report.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use futures_util::StreamExt;
use futures_util::stream::{once, try_unfold};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::auth::{Reader, Sender};
use super::body::{Id, Params};
use super::contacts::{ContactItem, object};
use super::error::Problem;
use super::header_value;
use super::page::{self, Page};
use crate::app::App;
use crate::clock::Timestamp;
use crate::error::{Error, Fault, Result, StoreError};
use crate::ids::TenantId;
use crate::import::{self, ColumnItem, Format};
use crate::store::imports::{self as store, ImportRow};
use crate::store::{contacts, to_json};

/// How an import went, or goes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImportItem {
    pub id: String,
    /// `contacts` or `appointments`.
    pub kind: String,
    pub state: ImportState,
    /// The last line that was dealt with.
    pub line: i64,
    /// Rows that became something new.
    pub created: i64,
    /// Rows that changed something known.
    pub updated: i64,
    pub refused: i64,
    /// What each column of a CSV was taken for.
    #[schema(value_type = Vec<ColumnItem>)]
    pub columns: Box<RawValue>,
    /// Why it stopped before the end of the file.
    #[schema(value_type = Option<Fault>)]
    pub problem: Option<Box<RawValue>>,
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ImportState {
    /// Under way; or cut off with its server, when `updatedAt` stands still.
    Running,
    Done,
    /// Ended before the file did.
    Stopped,
}

impl From<ImportRow> for ImportItem {
    fn from(row: ImportRow) -> Self {
        let state = match (&row.problem, row.finished_at) {
            (Some(_), _) => ImportState::Stopped,
            (None, Some(_)) => ImportState::Done,
            (None, None) => ImportState::Running,
        };
        Self {
            id: row.id.to_string(),
            kind: row.kind,
            state,
            line: row.line,
            created: row.created,
            updated: row.updated,
            refused: row.refused,
            columns: object(row.columns),
            problem: row.problem.map(object),
            started_at: row.started_at,
            updated_at: row.updated_at,
            finished_at: row.finished_at,
        }
    }
}

/// An import and every line that was refused.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImportReport {
    #[serde(flatten)]
    pub import: ImportItem,
    /// In the order of the file. Of a tenant's older imports, only the counts are kept.
    pub errors: Vec<RefusedLine>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RefusedLine {
    pub line: i64,
    #[serde(flatten)]
    pub fault: Fault,
}

/// Import contacts
///
/// The body is the file, of any length: CSV with a header line (`text/csv`) or one JSON object a line
/// (`application/x-ndjson`), in UTF-8. Every row is a contact as in PATCH: found by externalId, then by phone in any
/// spelling, then by e-mail, else made. Headers may be our own names or the usual Spanish and English ones (nombre,
/// teléfono, correo, …); other columns become attributes, `consent.email` (yes or no) a consent to marketing. A row
/// that can't be taken is refused with its line and reason, the others are taken; a second row for the same person is
/// refused. How far a running import is can be read from `/v1/imports`.
#[utoipa::path(post, path = "/v1/contacts/import", tag = "People",
    request_body(content((String = "text/csv"), (String = "application/x-ndjson"))), responses(
    (status = 200, description = "The whole file was read", body = ImportReport), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 408, body = Problem), (status = 415, body = Problem),
    (status = 422, description = "It can't be understood, from a line on", body = Problem), (status = 503, body = Problem)))]
pub(super) async fn contacts(
    State(app): State<Arc<App>>,
    Sender(tenant): Sender,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let (format, settled) = (format(&headers)?, app.tenants.get(&tenant).await?);
    let row = import::contacts(&app, &settled, format, body).await?;
    Ok(report(&app, tenant, row))
}

/// Import appointments
///
/// As the import of contacts; every row is an appointment as in PUT, with its `externalId` and the contact's
/// `contactId`, `phone` or `email`. In a CSV times may come without an offset, as `2026-03-01 09:00`: then they are the
/// branch's local time.
#[utoipa::path(post, path = "/v1/appointments/import", tag = "Appointments",
    request_body(content((String = "text/csv"), (String = "application/x-ndjson"))), responses(
    (status = 200, description = "The whole file was read", body = ImportReport), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 408, body = Problem), (status = 415, body = Problem),
    (status = 422, description = "It can't be understood, from a line on", body = Problem), (status = 503, body = Problem)))]
pub(super) async fn appointments(
    State(app): State<Arc<App>>,
    Sender(tenant): Sender,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let (format, settled) = (format(&headers)?, app.tenants.get(&tenant).await?);
    let row = import::appointments(&app, &settled, format, body).await?;
    Ok(report(&app, tenant, row))
}

fn format(headers: &HeaderMap) -> Result<Format> {
    let text = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let mut parts = text.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    let charset = parts.find_map(|p| p.split_once('=').filter(|(k, _)| k.trim().eq_ignore_ascii_case("charset")));
    let utf8 = charset.is_none_or(|(_, value)| value.trim_matches(['"', ' ']).eq_ignore_ascii_case("utf-8"));
    match kind.as_str() {
        "text/csv" if utf8 => Ok(Format::Csv),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" if utf8 => Ok(Format::Ndjson),
        _ => Err(Error::refused(
            "unsupported-media-type",
            "send the file itself, in UTF-8, with Content-Type: text/csv or application/x-ndjson",
        )),
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct ImportQuery {
    limit: Option<String>,
    cursor: Option<String>,
}

/// List imports
///
/// Newest first, those that are under way included.
#[utoipa::path(get, path = "/v1/imports", tag = "People", params(ImportQuery), responses(
    (status = 200, body = Page<ImportItem>), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Reader(tenant): Reader,
    Params(query): Params<ImportQuery>,
) -> Result<Json<Page<ImportItem>>> {
    let limit = page::limit(query.limit.as_deref())?;
    let before = page::cursor(query.cursor.as_deref())?;
    let rows = store::list(&app.db.pool, &tenant, before.as_deref(), limit + 1).await?;
    Ok(Json(page::page(rows, limit, |row| row.id.as_str(), ImportItem::from)))
}

/// Read an import's report
#[utoipa::path(get, path = "/v1/imports/{id}", tag = "People", params(("id" = String, Path)), responses(
    (status = 200, body = ImportReport), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem)))]
pub(super) async fn get(State(app): State<Arc<App>>, Reader(tenant): Reader, Id(id): Id) -> Result<Response> {
    let row = store::find(&app.db.pool, &tenant, &id).await?.ok_or(Error::NotFound)?;
    Ok(report(&app, tenant, row))
}

/// So many rows are read at once where an answer streams.
const PAGE: usize = 500;

/// An [`ImportReport`], whose refused lines are read while it is sent.
fn report(app: &Arc<App>, tenant: TenantId, row: ImportRow) -> Response {
    let id = row.id.clone();
    let location = header_value(&format!("/v1/imports/{id}"));
    let mut head = to_json(&ImportItem::from(row));
    head.pop();
    head.push_str(",\"errors\":[");
    let app = Arc::clone(app);
    let lines = try_unfold((0, true), move |(after, first)| {
        let (app, tenant, id) = (Arc::clone(&app), tenant.clone(), id.clone());
        async move {
            let refused = store::refusals(&app.db.pool, &tenant, &id, after, PAGE).await?;
            let Some((last, _)) = refused.last() else { return Ok(None) };
            let last = *last;
            let mut text = String::new();
            for (n, (line, fault)) in refused.into_iter().enumerate() {
                if n > 0 || !first {
                    text.push(',');
                }
                text.push_str(&to_json(&RefusedLine { line, fault }));
            }
            Ok::<_, StoreError>(Some((Bytes::from(text), (last, false))))
        }
    });
    let whole = once(async { Ok(Bytes::from(head)) }).chain(lines).chain(once(async { Ok(Bytes::from_static(b"]}")) }));
    let mut response = stream("application/json", whole);
    response.headers_mut().insert(header::CONTENT_LOCATION, location);
    response
}

fn stream(kind: &'static str, parts: impl Stream<Item = Result<Bytes, StoreError>> + Send + 'static) -> Response {
    let parts = parts.inspect(|part| {
        if let Err(e) = part {
            // The answer has begun; all that is left is to break it off, which callers notice.
            tracing::error!(error = %e, "store, while an answer was streaming");
        }
    });
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], Body::from_stream(parts)).into_response()
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    /// `ndjson` (default) or `csv`.
    format: Option<String>,
}

/// Export contacts
///
/// All of them, newest first, in a form that the import takes: one JSON object a line, or CSV.
#[utoipa::path(get, path = "/v1/contacts/export", tag = "People", params(ExportQuery), responses(
    (status = 200, content((String = "application/x-ndjson"), (String = "text/csv"))), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn export(
    State(app): State<Arc<App>>,
    Reader(tenant): Reader,
    Params(query): Params<ExportQuery>,
) -> Result<Response> {
    let (kind, csv) = match query.format.as_deref() {
        None | Some("ndjson") => ("application/x-ndjson", false),
        Some("csv") => ("text/csv; charset=utf-8", true),
        Some(_) => return Err(Error::fault("/format", "out_of_range", "must be ndjson or csv")),
    };
    let head = if csv { row(EXPORTED)? } else { Vec::new() };
    let pages = try_unfold(None, move |before: Option<String>| {
        let (app, tenant) = (Arc::clone(&app), tenant.clone());
        async move {
            let filter = contacts::Filter { before, ..contacts::Filter::default() };
            let rows = contacts::list(&app.db.pool, &tenant, &filter, PAGE, app.now()).await?;
            let Some(last) = rows.last() else { return Ok(None) };
            let last = last.contact.id.to_string();
            let mut text = Vec::new();
            for listed in rows {
                let item = ContactItem::from(listed);
                if csv {
                    text.extend(csv_row(&item)?);
                } else {
                    text.extend(to_json(&item).into_bytes());
                    text.push(b'\n');
                }
            }
            Ok::<_, StoreError>(Some((Bytes::from(text), Some(last))))
        }
    });
    let mut response = stream(kind, once(async { Ok(Bytes::from(head)) }).chain(pages));
    let name = if csv { "attachment; filename=\"contacts.csv\"" } else { "attachment; filename=\"contacts.ndjson\"" };
    response.headers_mut().insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(name));
    let sniff = HeaderName::from_static("x-content-type-options");
    response.headers_mut().insert(sniff, HeaderValue::from_static("nosniff"));
    Ok(response)
}

const EXPORTED: [&str; 13] = [
    "id",
    "externalId",
    "name",
    "phone",
    "email",
    "locale",
    "timezone",
    "attributes",
    "preferences",
    "consents",
    "appointments",
    "createdAt",
    "updatedAt",
];

fn csv_row(c: &ContactItem) -> Result<Vec<u8>, StoreError> {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    row([
        c.id.to_string(),
        text(&c.external_id),
        text(&c.name),
        text(&c.phone),
        text(&c.email),
        text(&c.locale),
        text(&c.timezone),
        c.attributes.get().to_owned(),
        to_json(&c.preferences),
        to_json(&c.consents),
        to_json(&c.appointments),
        c.created_at.to_string(),
        c.updated_at.to_string(),
    ])
}

fn row<const N: usize>(cells: [impl AsRef<[u8]>; N]) -> Result<Vec<u8>, StoreError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells).map_err(|e| StoreError::Unreadable(format!("a CSV row: {e}")))?;
    writer.into_inner().map_err(|e| StoreError::Unreadable(format!("a CSV row: {e}")))
}
