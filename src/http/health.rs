//! Is it up, is it ready, and what does it count.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::Problem;
use crate::app::App;
use crate::error::{Error, Result};
use crate::store::notifications::oldest_due_any_tenant;

#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    status: &'static str,
    version: &'static str,
}

const HEALTH: Health = Health { status: "ok", version: env!("CARGO_PKG_VERSION") };

/// The process is up
#[utoipa::path(get, path = "/healthz", tag = "Operating", security(()), responses((status = 200, body = Health)))]
pub(super) async fn healthz() -> Json<Health> {
    Json(HEALTH)
}

/// Store and migrations are ready
#[utoipa::path(get, path = "/readyz", tag = "Operating", security(()),
    responses((status = 200, body = Health), (status = 503, body = Problem)))]
pub(super) async fn readyz(State(app): State<Arc<App>>) -> Result<Json<Health>> {
    if !app.is_ready() {
        return Err(Error::refused("not-ready", "the server is starting or stopping"));
    }
    app.db.ping().await?;
    Ok(Json(HEALTH))
}

/// Figures for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "Operating", security(()),
    responses((status = 200, content_type = "text/plain", body = String)))]
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Result<String> {
    let now = app.now();
    let oldest = oldest_due_any_tenant(&app.db.pool, now).await?;
    let age = oldest.map_or(0.0, |due| now.since(due).as_secs_f64());
    metrics::gauge!("recado_queue_oldest_due_seconds").set(age);
    let (queued, calls, open) = app.engine.figures();
    metrics::gauge!("recado_queue_in_memory").set(queued as f64);
    metrics::gauge!("recado_calls_under_way").set(calls as f64);
    metrics::gauge!("recado_circuits_open").set(open as f64);
    if let Some(free) = app.db.free_bytes() {
        metrics::gauge!("recado_store_free_bytes").set(free as f64);
    }
    metrics::gauge!("recado_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    app.metrics.run_upkeep();
    Ok(app.metrics.render())
}
