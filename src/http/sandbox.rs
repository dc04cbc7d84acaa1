//! What the sandbox captured: the message as a phone or mailbox would show it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Reader;
use super::body::Params;
use super::error::Problem;
use super::page::{self, Page};
use crate::app::App;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::notify::PublicRecipient;
use crate::store::sandbox::{self, CapturedRow};

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CapturedMessage {
    pub id: String,
    pub notification_id: String,
    pub channel: String,
    pub recipient: PublicRecipient,
    pub subject: Option<String>,
    pub text: String,
    pub html: Option<String>,
    #[schema(value_type = Vec<Object>)]
    pub actions: Vec<plugin_api::Action>,
    #[schema(value_type = String, format = DateTime)]
    pub captured_at: Timestamp,
}

impl From<CapturedRow> for CapturedMessage {
    fn from(row: CapturedRow) -> Self {
        let r = row.recipient;
        Self {
            id: row.id,
            notification_id: row.notification_id,
            channel: row.channel,
            recipient: PublicRecipient {
                contact_id: r.contact_id,
                external_id: r.external_id,
                name: r.name,
                phone: r.phone,
                email: r.email,
            },
            subject: row.subject,
            text: row.text,
            html: row.html,
            actions: row.actions,
            captured_at: row.captured_at,
        }
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct SandboxQuery {
    limit: Option<String>,
    cursor: Option<String>,
    channel: Option<String>,
}

/// List what the sandbox captured
///
/// Newest first.
#[utoipa::path(get, path = "/v1/sandbox/messages", tag = "Channels", params(SandboxQuery), responses(
    (status = 200, body = Page<CapturedMessage>), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Reader(tenant): Reader,
    Params(query): Params<SandboxQuery>,
) -> Result<Json<Page<CapturedMessage>>> {
    let limit = page::limit(query.limit.as_deref())?;
    let before = page::cursor(query.cursor.as_deref())?;
    let rows = sandbox::list(&app.db.pool, &tenant, query.channel.as_deref(), before.as_deref(), limit + 1).await?;
    Ok(Json(page::page(rows, limit, |row| row.id.as_str(), CapturedMessage::from)))
}
