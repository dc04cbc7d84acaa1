//! [`Error`] to status and `application/problem+json`: the only place with this knowledge.

use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{Error, Fault, StoreError};
use crate::json::BodyError;

/// RFC 9457.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Stable: `/problems/<slug>`.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: &'static str,
    pub status: u16,
    /// What is wrong and what would be right.
    pub detail: String,
    /// For `/problems/validation` and its like: every bad field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
}

/// Status and title of each slug. A slug that is not here is a bug, found by the tests of section 4.
fn known(slug: &str) -> (StatusCode, &'static str) {
    use StatusCode as S;
    match slug {
        "malformed-json" => (S::BAD_REQUEST, "The body is not valid JSON"),
        "validation" => (S::UNPROCESSABLE_ENTITY, "Some fields are not valid"),
        "template-data" => (S::UNPROCESSABLE_ENTITY, "The template needs data that is missing"),
        "template-invalid" => (S::UNPROCESSABLE_ENTITY, "The template can't be rendered"),
        "script-invalid" => (S::UNPROCESSABLE_ENTITY, "The script can't be used"),
        "script-limit" => (S::UNPROCESSABLE_ENTITY, "The script used more than it may"),
        "script-result" => (S::UNPROCESSABLE_ENTITY, "The script returned something that means nothing here"),
        "script-failed" => (S::UNPROCESSABLE_ENTITY, "The script failed"),
        "plugin-invalid" => (S::UNPROCESSABLE_ENTITY, "The channel is not in order"),
        "template-limit" => (S::UNPROCESSABLE_ENTITY, "Rendering the template takes more than is allowed"),
        "channel-unavailable" => (S::UNPROCESSABLE_ENTITY, "The channel can't be used"),
        "csv-invalid" => (S::UNPROCESSABLE_ENTITY, "The file is no CSV that can be read"),
        "import-stopped" => (S::UNPROCESSABLE_ENTITY, "The file could not be read to its end"),
        "url-not-allowed" => (S::UNPROCESSABLE_ENTITY, "The address must not be reached"),
        "idempotency-mismatch" => (S::UNPROCESSABLE_ENTITY, "The Idempotency-Key was used with another body"),
        "idempotency-in-flight" => (S::CONFLICT, "The first request with this Idempotency-Key still runs"),
        "idempotency-key-invalid" => (S::BAD_REQUEST, "The Idempotency-Key is not valid"),
        "cursor-invalid" => (S::BAD_REQUEST, "The cursor is not valid"),
        "header-invalid" => (S::BAD_REQUEST, "A header is not valid"),
        "tenant-required" => (S::BAD_REQUEST, "Name the tenant"),
        "bad-signature" => (S::UNAUTHORIZED, "The callback is not signed as its provider signs"),
        "stale-signature" => (S::UNAUTHORIZED, "The callback was signed at another time"),
        "unauthorized" => (S::UNAUTHORIZED, "Credentials are missing or not valid"),
        "token-expired" => (S::UNAUTHORIZED, "The token has expired"),
        "forbidden" => (S::FORBIDDEN, "Not allowed"),
        "method-not-allowed" => (S::METHOD_NOT_ALLOWED, "Method not allowed"),
        "request-timeout" => (S::REQUEST_TIMEOUT, "The request came too slowly"),
        "already-handed-over" => (S::CONFLICT, "Too late"),
        "wrong-state" => (S::CONFLICT, "Not in this state"),
        "body-too-large" => (S::PAYLOAD_TOO_LARGE, "The body is too large"),
        "unsupported-media-type" => (S::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type"),
        "rate-limited" => (S::TOO_MANY_REQUESTS, "Too many requests"),
        "overloaded" => (S::SERVICE_UNAVAILABLE, "Overloaded"),
        "store-unavailable" => (S::SERVICE_UNAVAILABLE, "The store can't be reached"),
        "storage-full" => (S::SERVICE_UNAVAILABLE, "The store is full"),
        "outcome-unknown" => (S::SERVICE_UNAVAILABLE, "It may or may not have been stored"),
        "not-ready" => (S::SERVICE_UNAVAILABLE, "Not ready"),
        _ => (S::INTERNAL_SERVER_ERROR, "Internal error"),
    }
}

fn problem(slug: &str, detail: String, errors: Vec<Fault>) -> Response {
    let (status, title) = known(slug);
    let body = Problem { kind: format!("/problems/{slug}"), title, status: status.as_u16(), detail, errors };
    let mut response = (status, Json(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    match slug {
        "unauthorized" => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        "token-expired" => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""));
        }
        "idempotency-in-flight" | "overloaded" | "store-unavailable" | "outcome-unknown" => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        "storage-full" | "rate-limited" => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
        }
        "body-too-large" | "request-timeout" => {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    response
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self {
            Self::Refused { slug, detail } => problem(slug, detail, vec![]),
            Self::Invalid { slug, faults } => {
                let first = faults.first().map(|f| format!("{}: {}", f.pointer, f.detail)).unwrap_or_default();
                problem(slug, first, faults)
            }
            Self::NotFound => problem_not_found(),
            Self::Store(e) => {
                tracing::error!(error = %e, "store");
                match e {
                    StoreError::Unavailable(_) => {
                        problem("store-unavailable", "nothing was stored; try again in a moment".into(), vec![])
                    }
                    StoreError::Full(_) => {
                        problem("storage-full", "nothing was stored; the store's disk is full".into(), vec![])
                    }
                    StoreError::OutcomeUnknown(_) => problem(
                        "outcome-unknown",
                        "the store's answer was lost; repeat with the same Idempotency-Key".into(),
                        vec![],
                    ),
                    StoreError::Statement(_) | StoreError::Unreadable(_) => internal(),
                }
            }
            Self::Internal(detail) => {
                tracing::error!(detail, "internal error");
                internal()
            }
        }
    }
}

impl From<BodyError> for Error {
    fn from(e: BodyError) -> Self {
        match e {
            BodyError::Malformed { .. } => Self::refused("malformed-json", e.to_string()),
            BodyError::Fault { pointer, code, detail } => Self::fault(pointer, code, detail),
        }
    }
}

/// Says nothing of what happened inside; the log does.
pub(super) fn internal() -> Response {
    problem("internal", "the request was not processed; the log knows why".into(), vec![])
}

fn problem_not_found() -> Response {
    let body = Problem {
        kind: "/problems/not-found".into(),
        title: "Not found",
        status: 404,
        detail: "there is no such thing, or it is not yours".into(),
        errors: vec![],
    };
    let mut response = (StatusCode::NOT_FOUND, Json(body)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

pub(super) async fn not_found() -> Error {
    Error::NotFound
}

pub(super) async fn method_not_allowed(method: Method) -> Error {
    Error::refused("method-not-allowed", format!("{method} is not possible here; see the Allow header"))
}
