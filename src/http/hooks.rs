//! Where providers report: delivery receipts, replies, opt-outs, bounces.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use plugin_api::{Answer, Callback, Event, Received, Refused};
use tokio::sync::oneshot;

use super::body::collect_within;
use super::callbacks::set_aside;
use super::error::Problem;
use super::room::Room;
use crate::address;
use crate::app::App;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::hook::Hook;
use crate::opt_out;
use crate::status::Status;
use crate::store::callbacks::{InboundRow, Report, find_by_message};
use crate::tenant::Account;
use crate::writer::{Events, Op, OptedOut, ReportOp};

/// A provider's report
///
/// For providers only: the address is the account's `webhookUrl`, and each request is verified as its vendor signs. What
/// it says is stored before it is answered, so a repeat does no harm.
#[utoipa::path(post, path = "/hooks/{channel}/{token}", tag = "Two-way", security(()),
    params(("channel" = String, Path), ("token" = String, Path)),
    responses((status = 200, description = "Taken"), (status = 401, body = Problem), (status = 413, body = Problem),
        (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn post(
    State(app): State<Arc<App>>,
    _: Room,
    Path((channel, token)): Path<(String, String)>,
    request: Request,
) -> Result<Response> {
    take(&app, &channel, &token, request).await
}

/// A provider's verification
///
/// Some providers ask once whether the address is ours before they report to it.
#[utoipa::path(get, path = "/hooks/{channel}/{token}", tag = "Two-way", security(()),
    params(("channel" = String, Path), ("token" = String, Path)),
    responses((status = 200, description = "The answer the provider expects"), (status = 403, body = Problem),
        (status = 404, body = Problem)))]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Path((channel, token)): Path<(String, String)>,
    request: Request,
) -> Result<Response> {
    take(&app, &channel, &token, request).await
}

async fn take(app: &App, channel: &str, token: &str, request: Request) -> Result<Response> {
    let hook = Hook::read(&app.keyring, token).filter(|hook| hook.channel == channel).ok_or(Error::NotFound)?;
    let tenant = app.tenants.get(&hook.tenant).await?;
    let account = tenant.account_of_hook(&hook).ok_or(Error::NotFound)?;
    let open = account.channel.as_ref().map_err(|_| Error::NotFound)?;
    let callback = callback(app, request).await?;
    let label = tenant.channels.label(channel);
    let count = |result: &'static str| {
        metrics::counter!("recado_callbacks_total", "channel" => label.clone(), "result" => result).increment(1);
    };
    let received = match open.receive(&callback).await {
        Ok(received) => received,
        // Anything but a 200 would come back for a week.
        Err(Refused::Malformed(detail)) => Received::default().unread(Some(detail)),
        Err(why) => {
            count("refused");
            return Err(refused(why, &callback.method));
        }
    };
    let mut events = Events::default();
    if let Some(problem) = &received.unread {
        // Not what was wrong with it: a script may have said it in a person's words.
        tracing::warn!(tenant.id = %hook.tenant, channel, "a callback is set aside; see /v1/channels/{channel}/callbacks");
        events.unread = Some(set_aside(&tenant, &hook, &callback, problem).into());
    }
    count(if received.unread.is_some() { "unread" } else { "taken" });
    for event in received.events {
        add(app, &hook, account, event, &mut events).await?;
    }
    // What a provider took for an opt-out itself it has also answered.
    let left = |address: &str| events.opt_outs.iter().any(|left| left.address == address);
    for message in &mut events.inbound {
        message.opts_out = opt_out::is_meant(channel, &message.body) && !left(&message.sender);
    }
    let leaving: Vec<_> = events.inbound.iter().filter(|m| m.opts_out).map(|m| m.sender.clone()).collect();
    if !events.is_empty() {
        let (reply, stored) = oneshot::channel();
        app.engine.writer.send(Op::Report(ReportOp { events, kept: false, reply })).await;
        stored.await.map_err(|_| Error::Internal("the writer ended".into()))??;
    }
    for phone in leaving {
        if let Err(e) = opt_out::confirm(app, &tenant, &hook, phone).await {
            tracing::warn!(tenant.id = %hook.tenant, channel, error = %e, "an opt-out could not be confirmed");
        }
    }
    Ok(answer(received.answer))
}

async fn callback(app: &App, request: Request) -> Result<Callback> {
    let (parts, body) = request.into_parts();
    let body = collect_within(app, body).await?;
    let target = parts.uri.path_and_query().map_or("/", |p| p.as_str());
    let query = parts.uri.query().unwrap_or_default();
    Ok(Callback {
        method: parts.method,
        url: format!("{}{target}", app.config.load().server.public_url.trim_end_matches('/')),
        query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        headers: parts.headers,
        body,
        received_at: app.now().to_system(),
    })
}

fn refused(why: Refused, method: &Method) -> Error {
    match why {
        Refused::Unsupported(_) | Refused::Malformed(_) => Error::NotFound,
        Refused::Unverified(detail) if method == Method::GET => Error::refused("forbidden", detail),
        Refused::Unverified(detail) => Error::refused("bad-signature", detail),
        Refused::Stale(detail) => Error::refused("stale-signature", detail),
    }
}

/// An event in the store's words.
async fn add(app: &App, hook: &Hook, account: &Account, event: Event, events: &mut Events) -> Result<()> {
    let now = app.now();
    let at = |time: Option<std::time::SystemTime>| time.map_or(now, Timestamp::from_system);
    let tenant = hook.tenant.clone();
    match event {
        Event::Status(status) => {
            let (state, reason, detail, hint) = match status.state {
                plugin_api::State::Sent => (Status::Sent, None, None, None),
                plugin_api::State::Delivered => (Status::Delivered, None, None, None),
                plugin_api::State::Read => (Status::Read, None, None, None),
                plugin_api::State::Failed { reason, detail, hint } => {
                    (Status::Failed, Some(reason.into_owned()), Some(detail), hint)
                }
            };
            events.reports.push(Report {
                tenant,
                account: account.key.clone(),
                message_id: status.message_id,
                reference: status.reference,
                state,
                reason,
                detail,
                hint,
                happened_at: at(status.at),
                received_at: now,
            });
        }
        Event::Inbound(message) => {
            let notification_id = match &message.in_reply_to {
                Some(id) => find_by_message(&app.db.pool, &hook.tenant, id).await?,
                None => None,
            };
            events.inbound.push(InboundRow {
                tenant,
                account: account.key.clone(),
                message_id: message.id,
                channel: hook.channel.clone(),
                sender: normalised(&message.from),
                name: message.name,
                body: message.text,
                action: message.action,
                notification_id,
                happened_at: at(message.at),
                received_at: now,
                opts_out: false,
            });
        }
        Event::OptOut(left) => events.opt_outs.push(OptedOut {
            tenant,
            address: normalised(&left.address),
            category: if left.marketing_only { "marketing" } else { "all" },
            reason: left.reason.into_owned(),
        }),
    }
    Ok(())
}

/// The spelling under which a person is known; what can't be read stays as it came.
fn normalised(text: &str) -> String {
    let known = if text.contains('@') { address::email(text) } else { address::phone(text, None) };
    known.unwrap_or_else(|_| text.to_owned())
}

fn answer(answer: Answer) -> Response {
    let mut response = Body::from(answer.body).into_response();
    if !answer.content_type.is_empty()
        && let Ok(kind) = HeaderValue::from_str(&answer.content_type)
    {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}
