//! What surrounds every request: an id, and a task of its own. A caller that hangs up can't stop a handler half-way,
//! and a panic costs one request.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use uuid::Uuid;

use super::{REQUEST_ID, error, header_value};

pub(super) async fn shell(request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get(&REQUEST_ID)
        .filter(|v| (1..=128).contains(&v.len()) && v.as_bytes().iter().all(u8::is_ascii_graphic));
    let id = given.cloned().unwrap_or_else(|| header_value(&Uuid::now_v7().to_string()));
    let path = tracing::enabled!(tracing::Level::ERROR).then(|| request.uri().path().to_owned());
    let mut response = match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(e) => {
            tracing::error!(request.id = ?id, path, error = %e, "a handler panicked");
            error::internal()
        }
    };
    response.headers_mut().insert(REQUEST_ID, id);
    response
}
