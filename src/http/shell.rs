//! What surrounds every request: an id, and the promise that a caller who hangs up stops no handler half-way and
//! that a panic costs one request.

use std::panic::AssertUnwindSafe;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt;
use uuid::Uuid;

use super::{REQUEST_ID, error, header_value};

pub(super) async fn shell(request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get(&REQUEST_ID)
        .filter(|v| (1..=128).contains(&v.len()) && v.as_bytes().iter().all(u8::is_ascii_graphic));
    let id = given.cloned().unwrap_or_else(|| header_value(&Uuid::now_v7().to_string()));
    let path = tracing::enabled!(tracing::Level::ERROR).then(|| request.uri().path().to_owned());
    // What `notify` stores is one operation of the writer's, which nothing can stop half-way, and what it does beside that
    // only reads; the other handlers make several steps and get a task of their own.
    let outcome = if request.uri().path() == "/v1/notify" {
        AssertUnwindSafe(next.run(request)).catch_unwind().await.map_err(|_| "a handler panicked".to_owned())
    } else {
        tokio::spawn(next.run(request)).await.map_err(|e| e.to_string())
    };
    let mut response = outcome.unwrap_or_else(|e| {
        tracing::error!(request.id = ?id, path, error = e, "a handler panicked");
        error::internal()
    });
    response.headers_mut().insert(REQUEST_ID, id);
    response
}
