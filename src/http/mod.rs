//! The router: every route on one page, and what all of them share.

mod appointments;
pub mod auth;
mod body;
mod callbacks;
mod channels;
mod contacts;
mod documents;
mod error;
mod health;
mod hooks;
mod imports;
mod keys;
mod notifications;
mod notify;
mod page;
mod playground;
mod plugins;
mod preview;
mod room;
mod sandbox;
mod scripts;
mod segments;
mod serve;
mod shell;
mod suppressions;
mod templates;
mod tenants;
mod unsubscribe;

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

use crate::app::App;
use crate::store::to_json;

pub use body::IDEMPOTENCY_KEY;
pub use serve::serve;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Recado",
        description = "A notification gateway: post to /v1/notify, and the log can say what happened and why. \
            Errors are application/problem+json with a stable type."
    ),
    modifiers(&Security),
    security(("bearer" = []))
)]
struct Document;

struct Security;

impl Modify for Security {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.description = Some(
            "An API key, or a JWT with `sub`, `tenantId`, `role` (`USER`, `ADMIN` or `SUPERADMIN`) and `exp`. An `ADMIN` with \
             a `branchId` sends for that branch, sees its notifications and sets up its channels, templates and settings: \
             a `branchId` left out means that one, another is 403, another's things are 404, and what concerns the whole \
             tenant is 403."
                .into(),
        );
        let scheme = SecurityScheme::Http(scheme);
        openapi.components.get_or_insert_default().add_security_scheme("bearer", scheme);
        openapi.info.license = None;
        openapi.info.contact = None;
    }
}

/// What is made of the operations: a router, or their document. That is two megabytes in memory, so it is made when
/// somebody asks for it.
trait Operations {
    fn routes(self, operations: UtoipaMethodRouter<Arc<App>>) -> Self;
}

impl Operations for Router<Arc<App>> {
    fn routes(self, (_, paths, methods): UtoipaMethodRouter<Arc<App>>) -> Self {
        paths.paths.into_keys().fold(self, |router, path| router.route(&path, methods.clone()))
    }
}

impl Operations for OpenApiRouter<Arc<App>> {
    fn routes(self, operations: UtoipaMethodRouter<Arc<App>>) -> Self {
        self.routes(operations)
    }
}

fn operations<T: Operations>(of: T) -> T {
    of.routes(routes!(notify::post))
        .routes(routes!(notifications::list))
        .routes(routes!(notifications::get))
        .routes(routes!(notifications::cancel))
        .routes(routes!(notifications::retry))
        .routes(routes!(notifications::retry_many))
        .routes(routes!(channels::list))
        .routes(routes!(channels::test_all))
        .routes(routes!(channels::get, channels::put, channels::delete))
        .routes(routes!(channels::test))
        .routes(routes!(callbacks::list))
        .routes(routes!(plugins::list))
        .routes(routes!(plugins::get, plugins::put, plugins::delete))
        .routes(routes!(plugins::versions))
        .routes(routes!(plugins::rollback))
        .routes(routes!(hooks::get, hooks::post))
        .routes(routes!(sandbox::list))
        .routes(routes!(suppressions::list, suppressions::post))
        .routes(routes!(suppressions::delete))
        .routes(routes!(unsubscribe::get, unsubscribe::post))
        .routes(routes!(contacts::list))
        .routes(routes!(imports::contacts))
        .routes(routes!(imports::export))
        .routes(routes!(contacts::get, contacts::put, contacts::patch, contacts::delete))
        .routes(routes!(contacts::list_consents, contacts::post_consent))
        .routes(routes!(templates::list))
        .routes(routes!(preview::post))
        .routes(routes!(templates::get, templates::put, templates::delete))
        .routes(routes!(templates::versions))
        .routes(routes!(templates::rollback))
        .routes(routes!(appointments::list))
        .routes(routes!(imports::appointments))
        .routes(routes!(appointments::get, appointments::put, appointments::delete))
        .routes(routes!(imports::list))
        .routes(routes!(imports::get))
        .routes(routes!(scripts::list))
        .routes(routes!(playground::post))
        .routes(routes!(scripts::get, scripts::put, scripts::delete))
        .routes(routes!(scripts::versions))
        .routes(routes!(scripts::roll_back))
        .routes(routes!(segments::list))
        .routes(routes!(segments::count))
        .routes(routes!(segments::contacts))
        .routes(routes!(segments::preview))
        .routes(routes!(tenants::list, tenants::post))
        .routes(routes!(tenants::get, tenants::patch))
        .routes(routes!(tenants::list_branches, tenants::post_branch))
        .routes(routes!(tenants::patch_branch))
        .routes(routes!(keys::list, keys::post))
        .routes(routes!(keys::revoke))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
}

/// The generated OpenAPI 3.1 document.
pub fn openapi() -> utoipa::openapi::OpenApi {
    operations(OpenApiRouter::with_openapi(Document::openapi())).into_openapi()
}

async fn document() -> Response {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| to_json(&openapi()).into());
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], DOCUMENT.clone()).into_response()
}

/// The whole service.
pub fn router(app: Arc<App>) -> Router {
    let docs = SwaggerUi::new("/docs").config(utoipa_swagger_ui::Config::from("/openapi.json"));
    operations(Router::new())
        .route("/openapi.json", get(document))
        .merge(Router::from(docs))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(axum::middleware::from_fn(shell::shell))
        .with_state(app)
}

/// Every answer's own name in the logs.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(crate) fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

// What the command line does as well.
pub(crate) use keys::{CreatedKey, create as create_key};
pub(crate) use tenants::{NewTenant, create as create_tenant, create_branch};

/// One POST to a server on this machine, for the command line.
pub(crate) async fn local_client(
    url: &plugin_api::http::Url,
    headers: &[(&'static str, String)],
    body: &serde_json::Value,
) -> Result<(u16, serde_json::Value), plugin_api::SendError> {
    use plugin_api::net::Guard;
    let loopback = ["127.0.0.0/8", "::1/128"].iter().filter_map(|n| n.parse().ok()).collect();
    let guard = Arc::new(Guard { allow: loopback, allow_http: true, ..Guard::default() });
    let http = plugin_api::http::Http::new(guard, std::time::Duration::from_secs(30));
    let mut request = http.post(url).json(body);
    for (name, value) in headers {
        request = request.header(HeaderName::from_static(name), header_value(value));
    }
    let answer = request.send().await?;
    Ok((answer.status, answer.json().unwrap_or_default()))
}
