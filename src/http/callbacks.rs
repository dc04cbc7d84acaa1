//! Callbacks that were verified and not understood: what is kept of one, and the list of them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use plugin_api::Callback;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::auth::Reader;
use super::body::{Id, Params};
use super::error::Problem;
use super::page::{self, Page};
use crate::app::App;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::hook::Hook;
use crate::integrations::COVERED;
use crate::script::Secrets;
use crate::store::to_json;
use crate::store::unread::{self, UnreadRow};
use crate::tenant::Tenant;

/// Characters of a body that are kept, and of a query.
const LONGEST: usize = 4096;
/// Parts of the names under which a query carries what nobody should read.
const SECRET_WORDS: [&str; 6] = ["key", "sig", "token", "secret", "pass", "auth"];

/// A secret as it is, as a form writes it, and as JSON does.
fn spellings(secret: &str) -> [String; 4] {
    let form = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let json = to_json(&secret).trim_matches('"').to_owned();
    let slashed = json.replace('/', "\\/");
    [secret.to_owned(), form, json, slashed]
}

/// A callback to be set aside. Of its headers nothing is kept: they prove who it is from.
pub(super) fn set_aside(tenant: &Tenant, hook: &Hook, callback: &Callback, problem: &str) -> UnreadRow {
    let settings = tenant.secrets_of(hook);
    // A setting may hold several, with spaces between them.
    let secrets = settings.iter().flat_map(|setting| setting.expose_secret().split_whitespace());
    let secrets: Vec<Arc<SecretString>> = secrets.flat_map(spellings).map(|s| Arc::new(s.into())).collect();
    let cover = |text: &str| {
        let covered = Secrets::lend(secrets.iter().map(|s| ("", s))).cover(text);
        let fit = |c: &char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
        covered.chars().filter(fit).take(LONGEST).collect::<String>()
    };
    let query = callback.query.iter().map(|(name, value)| {
        let lower = name.to_ascii_lowercase();
        let hidden = SECRET_WORDS.iter().any(|word| lower.contains(word));
        (name, if hidden { COVERED } else { value })
    });
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    UnreadRow {
        id: Uuid::now_v7().to_string(),
        tenant: hook.tenant.clone(),
        channel: hook.channel.clone(),
        account: hook.account.clone(),
        problem: cover(problem),
        method: callback.method.to_string(),
        query: cover(&query),
        content_type: cover(callback.header("content-type").unwrap_or_default()),
        body: cover(&String::from_utf8_lossy(&callback.body)),
        bytes: callback.body.len(),
        received_at: Timestamp::from_system(callback.received_at),
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnreadCallback {
    pub id: String,
    /// The account whose hook it came to.
    pub account: String,
    /// What was not understood.
    pub problem: String,
    pub method: String,
    /// With what may be secret covered, as in the body.
    pub query: String,
    pub content_type: String,
    /// Its beginning: at most 4,096 characters.
    pub body: String,
    /// How many bytes it had.
    pub bytes: usize,
    #[schema(value_type = String, format = DateTime)]
    pub received_at: Timestamp,
}

impl From<UnreadRow> for UnreadCallback {
    fn from(row: UnreadRow) -> Self {
        let UnreadRow { id, account, problem, method, query, content_type, body, bytes, received_at, .. } = row;
        Self { id, account, problem, method, query, content_type, body, bytes, received_at }
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct CallbackQuery {
    limit: Option<String>,
    cursor: Option<String>,
}

/// List callbacks that were not understood
///
/// They were the provider's and got their 200, but held something unknown or unreadable: it sends something new, or the
/// plugin is wrong. Newest first; of each channel the last hundred, for thirty days.
#[utoipa::path(get, path = "/v1/channels/{channel}/callbacks", tag = "Channels",
    params(("channel" = String, Path), CallbackQuery), responses(
    (status = 200, body = Page<UnreadCallback>), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Reader(tenant): Reader,
    Id(channel): Id,
    Params(query): Params<CallbackQuery>,
) -> Result<Json<Page<UnreadCallback>>> {
    app.tenants.get(&tenant).await?.channels.manifest(&channel).ok_or(Error::NotFound)?;
    let limit = page::limit(query.limit.as_deref())?;
    let before = page::cursor(query.cursor.as_deref())?;
    let rows = unread::list(&app.db.pool, &tenant, &channel, before.as_deref(), limit + 1, app.now()).await?;
    Ok(Json(page::page(rows, limit, |row| row.id.as_str(), UnreadCallback::from)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_in_every_spelling() {
        assert_eq!(spellings("a/+\"b"), ["a/+\"b", "a%2F%2B%22b", "a/+\\\"b", "a\\/+\\\"b"]);
    }
}
