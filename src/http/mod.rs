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
use axum::handler::Handler;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, get, on};
use bytes::Bytes;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::{PathItemExt, routes};
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

/// Makes of each handler a route, and an entry of the document. The document is megabytes of program and memory that most
/// servers never need, so it is made by itself, when somebody asks for it.
macro_rules! operations {
    ($($module:ident::$handler:ident,)+) => {
        fn routes() -> Router<Arc<App>> {
            let router = Router::new();
            utoipa_axum::paste! {
                $(let router = add::<$module::[<__path_ $handler>], _, _>(router, $module::$handler);)+
            }
            router
        }

        /// The generated OpenAPI 3.1 document.
        pub fn openapi() -> utoipa::openapi::OpenApi {
            let of: OpenApiRouter<Arc<App>> = OpenApiRouter::with_openapi(Document::openapi());
            of$(.routes(routes!($module::$handler)))+.into_openapi()
        }
    };
}

operations! {
    notify::post,
    notifications::list,
    notifications::get,
    notifications::cancel,
    notifications::retry,
    notifications::retry_many,
    channels::list,
    channels::test_all,
    channels::get,
    channels::put,
    channels::delete,
    channels::test,
    plugins::list,
    plugins::get,
    plugins::put,
    plugins::delete,
    plugins::versions,
    plugins::rollback,
    callbacks::list,
    hooks::get,
    hooks::post,
    sandbox::list,
    suppressions::list,
    suppressions::post,
    suppressions::delete,
    unsubscribe::get,
    unsubscribe::post,
    contacts::list,
    imports::contacts,
    imports::export,
    contacts::get,
    contacts::put,
    contacts::patch,
    contacts::delete,
    contacts::list_consents,
    contacts::post_consent,
    templates::list,
    preview::post,
    templates::get,
    templates::put,
    templates::delete,
    templates::versions,
    templates::rollback,
    appointments::list,
    imports::appointments,
    appointments::get,
    appointments::put,
    appointments::delete,
    imports::list,
    imports::get,
    scripts::list,
    playground::post,
    scripts::get,
    scripts::put,
    scripts::delete,
    scripts::versions,
    scripts::roll_back,
    segments::list,
    segments::count,
    segments::contacts,
    segments::preview,
    tenants::list,
    tenants::post,
    tenants::get,
    tenants::patch,
    tenants::list_branches,
    tenants::post_branch,
    tenants::patch_branch,
    keys::list,
    keys::post,
    keys::revoke,
    health::healthz,
    health::readyz,
    health::metrics,
}

/// A route to the handler, as its `utoipa::path` says.
fn add<P: utoipa::Path, H: Handler<T, Arc<App>>, T: 'static>(router: Router<Arc<App>>, handler: H) -> Router<Arc<App>> {
    let methods = P::methods().iter().map(PathItemExt::to_method_filter).reduce(MethodFilter::or);
    router.route(&P::path(), methods.map_or_else(MethodRouter::new, |methods| on(methods, handler)))
}

async fn document() -> Response {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| to_json(&openapi()).into());
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], DOCUMENT.clone()).into_response()
}

/// The whole service.
pub fn router(app: Arc<App>) -> Router {
    let docs = SwaggerUi::new("/docs").config(utoipa_swagger_ui::Config::from("/openapi.json"));
    routes()
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
