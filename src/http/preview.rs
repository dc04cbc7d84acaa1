//! What a template looks like, before it is saved or sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use plugin_api::Action;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::auth::Reader;
use super::body::JsonBody;
use super::channels::known_branch;
use super::error::Problem;
use crate::address;
use crate::app::App;
use crate::error::{Error, Fault, Result};
use crate::template::{Shown, Warning, long_titles};
use crate::wording::{self, Wanted};

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PreviewRequest {
    /// The name of one that is saved, or of the program's.
    template: Option<String>,
    /// Or the parts of one that is not.
    parts: Option<BTreeMap<String, String>>,
    /// Absent: the template's sample.
    #[schema(value_type = Option<Object>)]
    data: Option<Map<String, Value>>,
    /// The reader's, and the language of parts that are not saved; absent: the tenant's.
    locale: Option<String>,
    /// Only what this channel takes, and the message as it would be sent.
    channel: Option<String>,
    branch_id: Option<String>,
    /// The buttons that will go with it, to see whether their titles fit.
    #[schema(value_type = Vec<Object>)]
    actions: Vec<Action>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct PreviewMessage {
    subject: Option<String>,
    text: String,
    html: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreviewResponse {
    /// By kind, those that could be rendered.
    parts: BTreeMap<String, Shown>,
    /// What is wrong with the others.
    faults: Vec<Fault>,
    /// With a channel: the message as it would be sent.
    message: Option<PreviewMessage>,
    /// Variables that are needed and not there; they are shown as `[name]`.
    missing: Vec<String>,
    warnings: Vec<Warning>,
    /// Turns of loops and partials, helpers called, pieces of text written.
    operations: u32,
    /// Turns of loops and partials alone; 10,000 are allowed.
    loops: u32,
    elapsed_ms: f64,
}

/// Preview a template
///
/// Saved (`template`) or not (`parts`), with data or its sample: every part that can be rendered, what is wrong with the
/// others, and warnings.
#[utoipa::path(post, path = "/v1/templates/preview", tag = "Templates", request_body = PreviewRequest, responses(
    (status = 200, body = PreviewResponse), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 403, body = Problem), (status = 415, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn post(
    State(app): State<Arc<App>>,
    Reader(tenant): Reader,
    JsonBody(request): JsonBody<PreviewRequest>,
) -> Result<Json<PreviewResponse>> {
    let watch = Instant::now();
    let tenant = app.tenants.get(&tenant).await?;
    known_branch(&tenant, request.branch_id.as_deref())?;
    if let Some(locale) = &request.locale {
        address::locale(locale).map_err(|e| Error::fault("/locale", e.code, e.detail))?;
    }
    let unknown = |channel: &String| tenant.channels.unless_known(channel, || "/channel".to_owned());
    if let Some(fault) = request.channel.as_ref().and_then(unknown) {
        return Err(Error::Invalid { slug: "validation", faults: vec![fault] });
    }
    let wanted = match (request.template, request.parts) {
        (Some(name), None) => Wanted::Saved(name),
        (None, Some(parts)) => Wanted::Parts(parts),
        _ => return Err(Error::fault("", "exactly_one_of", "give template or parts")),
    };
    let data = request.data.map(Value::Object);
    let shown = wording::preview(
        &app,
        &tenant,
        wording::Request { wanted, data, locale: request.locale, channel: request.channel, branch: request.branch_id },
    );
    let (shown, faults) = shown.await?;
    let mut warnings = shown.warnings;
    warnings.extend(long_titles(request.actions.iter().map(|action| action.title.as_str())));
    Ok(Json(PreviewResponse {
        parts: shown.parts,
        faults,
        message: shown.message.map(|m| PreviewMessage { subject: m.subject, text: m.text, html: m.html }),
        missing: shown.missing,
        warnings,
        operations: shown.operations,
        loops: shown.loops,
        elapsed_ms: watch.elapsed().as_secs_f64() * 1000.0,
    }))
}
