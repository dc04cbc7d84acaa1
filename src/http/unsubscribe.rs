//! The page behind the unsubscribe link of an e-mail, and the one click that needs no page.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse, Response};

use super::body::Id;
use super::error::Problem;
use crate::app::App;
use crate::error::{Error, Result};
use crate::ids::TenantId;
use crate::tenant::Tenant;
use crate::unsubscribe as rule;

/// Ask before unsubscribing
///
/// Changes nothing: programs that look for danger follow every link of an e-mail.
#[utoipa::path(get, path = "/hooks/email/unsubscribe/{token}", tag = "People", security(()),
    params(("token" = String, Path)), responses((status = 200, content_type = "text/html", body = String),
    (status = 404, body = Problem)))]
pub(super) async fn get(State(app): State<Arc<App>>, Id(token): Id, headers: HeaderMap) -> Result<Response> {
    let (_, tenant, address) = known(&app, &token).await?;
    let words = Words::of(&headers, &tenant);
    let form = format!("<form method=\"post\"><button>{}</button></form>", words.confirm);
    Ok(page(&words, &tenant, &format!("{} <b>{}</b>", words.ask, escape(&masked(&address))), &form))
}

/// Unsubscribe from marketing
///
/// What the button does, and what a mail program does by itself when its own button is pressed (RFC 8058): no sign-in,
/// at once, and as often as one likes. Other notifications of the same business still arrive.
#[utoipa::path(post, path = "/hooks/email/unsubscribe/{token}", tag = "People", security(()),
    params(("token" = String, Path)), responses((status = 200, content_type = "text/html", body = String),
    (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn post(State(app): State<Arc<App>>, Id(token): Id, headers: HeaderMap) -> Result<Response> {
    let (id, tenant, address) = known(&app, &token).await?;
    rule::leave(&app.db, &id, &address, app.now()).await?;
    app.tenants.refresh(&id);
    let words = Words::of(&headers, &tenant);
    Ok(page(&words, &tenant, words.done, ""))
}

async fn known(app: &App, token: &str) -> Result<(TenantId, Arc<Tenant>, String)> {
    let (id, address) = rule::read(&app.keyring, token).ok_or(Error::NotFound)?;
    let tenant = app.tenants.get(&id).await?;
    Ok((id, tenant, address))
}

struct Words {
    lang: &'static str,
    title: &'static str,
    ask: &'static str,
    confirm: &'static str,
    done: &'static str,
}

const SPANISH: Words = Words {
    lang: "es",
    title: "Darse de baja",
    ask: "¿Dejar de recibir promociones en",
    confirm: "Sí, darme de baja",
    done: "Listo: no recibirá más promociones. Los avisos de sus citas seguirán llegando.",
};

const ENGLISH: Words = Words {
    lang: "en",
    title: "Unsubscribe",
    ask: "Stop receiving promotions at",
    confirm: "Yes, unsubscribe",
    done: "Done: you will get no more promotions. Notices about your appointments still arrive.",
};

impl Words {
    /// The browser's first language that we speak, else the tenant's.
    fn of(headers: &HeaderMap, tenant: &Tenant) -> Self {
        let asked = headers.get(header::ACCEPT_LANGUAGE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let settled = tenant.levels(None).locale(&tenant.platform).value;
        let mut languages = asked.split([',', ';']).map(str::trim).chain([settled]);
        let spoken = |tag: &str| match tag.get(..2).map(str::to_ascii_lowercase).as_deref() {
            Some("es") => Some(SPANISH),
            Some("en") => Some(ENGLISH),
            _ => None,
        };
        languages.find_map(spoken).unwrap_or(SPANISH)
    }
}

/// Runs nothing, loads nothing, tells nobody where it was, and is kept nowhere: the address is a key.
fn page(words: &Words, tenant: &Tenant, text: &str, form: &str) -> Response {
    let (lang, title, name) = (words.lang, words.title, escape(&tenant.name));
    let html = format!(
        "<!doctype html><html lang=\"{lang}\"><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:28rem;margin:15vh auto;padding:0 1rem}}\
         button{{font:inherit;padding:.6rem 1.2rem}}</style>\
         <main><h1>{name}</h1><p>{text}</p>{form}</main></html>\n"
    );
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
    ];
    (headers, Html(html)).into_response()
}

/// Enough to know one's own address by: a link is passed on more easily than meant.
fn masked(address: &str) -> String {
    let (local, domain) = address.rsplit_once('@').unwrap_or(("", address));
    let first: String = local.chars().take(1).collect();
    format!("{first}…@{domain}")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
