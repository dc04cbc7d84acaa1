//! Reading what callers send: bodies, queries, path parts and the headers that steer a request, each refused in the
//! contract's words.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::error::{Error, Result};
use crate::json;

pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The largest JSON body.
const LARGEST: usize = 1024 * 1024;

/// A whole JSON body, not yet parsed.
pub(super) struct RawJson(pub Bytes);

/// A parsed JSON body.
pub(super) struct JsonBody<T>(pub T);

impl FromRequest<Arc<App>> for RawJson {
    type Rejection = Error;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self> {
        check_media_type(request.headers())?;
        collect_within(app, request.into_body()).await.map(RawJson)
    }
}

/// A whole body of any kind, of bounded size and within bounded time.
pub(super) async fn collect_within(app: &App, body: Body) -> Result<Bytes> {
    let patience = app.config.load().server.request_timeout;
    tokio::time::timeout(patience, collect(body)).await.map_err(|_| slow("body", patience))?
}

impl<T: DeserializeOwned> FromRequest<Arc<App>> for JsonBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self> {
        let RawJson(bytes) = RawJson::from_request(request, app).await?;
        Ok(Self(json::parse(&bytes)?))
    }
}

pub(super) fn slow(part: &str, patience: Duration) -> Error {
    Error::refused("request-timeout", format!("the {part} must arrive within {} s", patience.as_secs_f64()))
}

fn check_media_type(headers: &HeaderMap) -> Result<()> {
    let refuse = || Err(Error::refused("unsupported-media-type", "send Content-Type: application/json, in UTF-8"));
    let Some(text) = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()) else { return refuse() };
    let mut parts = text.split(';').map(str::trim);
    if !parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json")) {
        return refuse();
    }
    let charset = parts.find_map(|p| p.split_once('=').filter(|(k, _)| k.trim().eq_ignore_ascii_case("charset")));
    match charset {
        Some((_, value)) if !value.trim_matches(['"', ' ']).eq_ignore_ascii_case("utf-8") => refuse(),
        _ => Ok(()),
    }
}

async fn collect(body: Body) -> Result<Bytes> {
    let large = || Error::refused("body-too-large", "the body must have at most 1 MiB");
    if axum::body::HttpBody::size_hint(&body).lower() > LARGEST as u64 {
        return Err(large());
    }
    let mut stream = body.into_data_stream();
    let Some(first) = stream.next().await else { return Ok(Bytes::new()) };
    let broken = |_| Error::refused("malformed-json", "the body ended early");
    let first = first.map_err(broken)?;
    let mut whole = None;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(broken)?;
        let whole = whole.get_or_insert_with(|| first.to_vec());
        if whole.len() + chunk.len() > LARGEST {
            return Err(large());
        }
        whole.extend_from_slice(&chunk);
    }
    let bytes = whole.map_or(first, Bytes::from);
    if bytes.len() > LARGEST { Err(large()) } else { Ok(bytes) }
}

/// A query string; unknown or wrong parameters are refused by name.
pub(super) struct Params<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<App>> for Params<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(value)) => Ok(Self(value)),
            Err(e) => Err(Error::fault("", "unknown_field", e.body_text())),
        }
    }
}

/// A path segment. Something that can't be an id is as unknown as an id that does not exist.
pub(super) struct Id(pub String);

impl FromRequestParts<Arc<App>> for Id {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self> {
        let Path(id) = Path::<String>::from_request_parts(parts, app).await.map_err(|_| Error::NotFound)?;
        id_shaped(&id).then_some(Self(id)).ok_or(Error::NotFound)
    }
}

/// Two path segments.
pub(super) struct Ids(pub String, pub String);

impl FromRequestParts<Arc<App>> for Ids {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self> {
        let Path((a, b)) =
            Path::<(String, String)>::from_request_parts(parts, app).await.map_err(|_| Error::NotFound)?;
        if id_shaped(&a) && id_shaped(&b) { Ok(Self(a, b)) } else { Err(Error::NotFound) }
    }
}

fn id_shaped(id: &str) -> bool {
    (1..=320).contains(&id.len()) && id.chars().all(|c| !c.is_control())
}

/// The `Idempotency-Key`, checked.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>> {
    let mut values = headers.get_all(&IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let bytes = value.as_bytes();
    let fine = (1..=255).contains(&bytes.len()) && bytes.iter().all(|b| (0x20..0x7f).contains(b));
    if !fine || values.next().is_some() {
        let detail = "must be one header of 1 to 255 visible ASCII characters";
        return Err(Error::refused("idempotency-key-invalid", detail));
    }
    Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
}

/// `Prefer: wait=N`, 1 to 30 s; other preferences are nobody's duty.
pub(super) fn wait(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("prefer")?.to_str().ok()?;
    let seconds = text.split([',', ';']).find_map(|p| p.trim().strip_prefix("wait=")?.trim().parse::<u64>().ok())?;
    Some(Duration::from_secs(seconds.clamp(1, 30)))
}
