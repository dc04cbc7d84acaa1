//! THE entrance: a request becomes notifications, or is refused with every reason at once.

mod explain;
mod request;
mod route;
mod rule;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;
use utoipa::ToSchema;

use crate::app::App;
use crate::clock::Timestamp;
use crate::content::{Body, Content, Hop, Recipient};
use crate::deliver::with_name;
use crate::error::{Error, Fault, Result, StoreError};
use crate::ids::NotificationId;
use crate::quiet::QUIET_HOURS;
use crate::standing::{self, Standing};
use crate::status::{Category, Status};
use crate::store::notifications::{Delivery, NewNotification};
use crate::store::to_json;
use crate::tenant::{Account, Tenant};
use crate::writer::{Accept, Accepted, Fate, IdempotencyKey, QueueFull};

pub use explain::{DryRun, explain};
pub use request::{NotifyRequest, To};
pub use route::{Considered, Person, Wanted, Way, order, route};
pub use rule::{RouteScript, Ruling};

/// Content above this size is stored beside the notification, not in its row.
const INLINE: usize = 4096;

/// One recipient's line of the answer, and of lists.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotificationItem {
    pub id: String,
    pub status: Status,
    pub recipient: PublicRecipient,
    pub channel: String,
    /// Why it has this status, where there is something to say.
    pub reason: Option<String>,
    /// The provider's id of the message.
    pub message_id: Option<String>,
}

/// Who a notification is for, as the API shows it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublicRecipient {
    pub contact_id: Option<String>,
    pub external_id: Option<String>,
    pub name: Option<String>,
    /// E.164.
    pub phone: Option<String>,
    pub email: Option<String>,
}

impl From<&Recipient> for PublicRecipient {
    fn from(r: &Recipient) -> Self {
        Self {
            contact_id: r.contact_id.clone(),
            external_id: r.external_id.clone(),
            name: r.name.clone(),
            phone: r.phone.clone(),
            email: r.email.clone(),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotifyResponse {
    pub success: bool,
    /// Groups the notifications of one request; with one recipient it is that notification's id.
    pub log_id: String,
    /// With one recipient, the provider's id of its message once there is one.
    pub message_id: Option<String>,
    pub notifications: Vec<NotificationItem>,
}

/// A request that has passed every check, with its notifications made but not stored.
pub struct Draft {
    pub notifications: Vec<NewNotification>,
    /// What a route script decided, for each of them; empty where there is none.
    pub rulings: Vec<Ruling>,
    pub content: Arc<Content>,
    content_json: String,
    shared: bool,
    dedupe_key: Option<String>,
    check_suppressed: bool,
    cap: Option<u32>,
    /// What is known of each notification's person.
    standings: Vec<Standing>,
}

/// Checks everything that can be checked now and makes the notifications.
pub async fn draft(app: &App, tenant: &Arc<Tenant>, request: NotifyRequest) -> Result<Draft> {
    let now = app.clock.now();
    let checked = request::check(app, tenant, request, now).await?;
    let rulings = match checked.channels {
        None => rule::rule(app, tenant, &checked, now).await?,
        Some(_) => vec![],
    };
    let ruled: Vec<Option<Vec<String>>> = rulings.iter().map(Ruling::names).collect();
    let plain = checked.channels.as_deref().map_or(Wanted::Any, Wanted::Named);
    let content_json = to_json(&checked.content);
    if holds_nul(&content_json) {
        return Err(Error::fault("/data", "control_characters", "must not hold the NUL character"));
    }
    let content = Arc::new(checked.content);
    let many = checked.recipients.len() > 1;
    let shared = many || content_json.len() > INLINE || !content.attachments.is_empty();
    let config = app.config.load();
    let branch = checked.branch.as_deref();
    let mut faults = Vec::new();
    let mut templates = TemplateCheck { tenant, branch, content: &content, now, seen: Vec::new() };
    let lease: Arc<str> = NotificationId::fresh().0;
    let marketing = checked.category == Category::Marketing;
    let cap = tenant.marketing_per_week(branch).filter(|_| marketing);
    let quiet = tenant.quiet(branch).filter(|_| marketing);
    let asked = checked.send_at.unwrap_or(now).max(now);
    let held_until = quiet.map(|q| q.end_of(asked)).filter(|until| *until > asked);
    let all_standings = standing::look_up(&app.db, tenant, &checked.recipients.iter().collect::<Vec<_>>()).await?;
    let mut standings = Vec::with_capacity(all_standings.len());
    let mut notifications = Vec::with_capacity(checked.recipients.len());
    let ids = ids(checked.recipients.len());
    let request_id = Arc::clone(&ids[0].0);
    let kind: Arc<str> = checked.kind.as_str().into();
    let each = checked.recipients.into_iter().zip(ids).zip(all_standings);
    for (n, ((recipient, id), standing)) in each.enumerate() {
        let wanted = ruled.get(n).and_then(Option::as_deref).map_or(plain, Wanted::Named);
        let ruling = rulings.get(n);
        let pointer = if checked.to_is_list { format!("/to/{n}") } else { "/to".to_owned() };
        let person = Person { recipient: &recipient, standing: &standing, category: checked.category };
        let way = route(&config, tenant, branch, person, wanted).chain(wanted, &pointer)?;
        let (steps, refused) = match way {
            Ok(Way::Open(steps)) => (steps, None),
            Ok(Way::Closed(steps, reason)) => (steps, Some(reason)),
            Err(fault) => {
                faults.push(fault);
                continue;
            }
        };
        for account in &steps {
            templates.check(account, &recipient).await?;
        }
        let first = steps[0];
        let address = recipient.address(first.1.address).map(Into::into);
        let delivery = Delivery {
            tenant: tenant.id.clone(),
            id,
            request_id: Arc::clone(&request_id),
            branch: checked.branch.clone(),
            kind: Arc::clone(&kind),
            category: checked.category,
            recipient: Arc::new(recipient),
            chain: steps
                .iter()
                .map(|(channel, _)| Hop {
                    channel: (*channel).to_owned(),
                    after: ruling.and_then(|ruling| ruling.after(channel)),
                })
                .collect(),
            step: 0,
            channel: first.0.into(),
            address,
            lane: Arc::clone(&first.1.lane),
            status: Status::Queued,
            attempts: 0,
            step_attempts: 0,
            step_began_at: None,
            attempt_began_at: None,
            expires_at: checked.expires_at,
            send_at: held_until.or(checked.send_at),
            created_at: now,
            content: (!shared).then(|| Arc::clone(&content)),
            lease: Arc::clone(&lease),
        };
        app.engine.prepare_with(tenant, &delivery.lane);
        notifications.push(NewNotification {
            recipient: to_json(&*delivery.recipient),
            chain: to_json(&delivery.chain),
            content: (!shared).then(|| content_json.clone()),
            appointment_id: checked.appointment_id.clone(),
            routed: ruling.and_then(Ruling::said),
            person: cap.map(|_| standing.person.clone()).filter(|p| !p.is_empty()),
            refused,
            waits_for: held_until.map(|_| QUIET_HOURS),
            delivery,
        });
        standings.push(standing);
    }
    if !faults.is_empty() {
        return Err(Error::Invalid { slug: "validation", faults });
    }
    Ok(Draft {
        notifications,
        rulings,
        content,
        content_json,
        shared,
        dedupe_key: checked.dedupe_key,
        check_suppressed: tenant.has_suppressions,
        cap,
        standings,
    })
}

/// Ids of one request's notifications: UUIDv7, rising in the order of the recipients.
fn ids(count: usize) -> Vec<NotificationId> {
    // `Uuid::now_v7` counts within a millisecond, so calls in a row rise.
    (0..count).map(|_| NotificationId::fresh()).collect()
}

/// What became of an accepted request.
pub enum Submitted {
    /// Durable; the answer's JSON.
    Accepted(String),
    /// The Idempotency-Key had been used.
    KeyTaken,
}

/// Stores a draft; resolves once it is durable.
pub async fn submit(app: &App, tenant: &Tenant, draft: Draft, key: Option<IdempotencyKey>) -> Result<Submitted> {
    app.db.check_room()?;
    let (reply, stored) = oneshot::channel();
    let accept = Accept {
        tenant: tenant.id.clone(),
        answer: to_json(&answer(&draft.notifications, None)),
        answer_again: |accept, fates| to_json(&answer(&accept.notifications, Some(fates))),
        notifications: draft.notifications,
        key,
        dedupe_key: draft.dedupe_key,
        check_suppressed: draft.check_suppressed,
        cap: draft.cap,
        shared_content: draft.shared.then_some(draft.content_json),
        reply,
    };
    let count = accept.notifications.len() as u64;
    app.engine
        .writer
        .try_accept(Box::new(accept))
        .map_err(|QueueFull| Error::refused("overloaded", "too much is waiting to be stored; try again in a moment"))?;
    match stored.await {
        Ok(Ok(Accepted::Done(answer))) => {
            metrics::counter!("recado_notifications_accepted_total").increment(count);
            Ok(Submitted::Accepted(answer))
        }
        Ok(Ok(Accepted::KeyTaken)) => Ok(Submitted::KeyTaken),
        Ok(Err(e)) => Err(e.into()),
        Err(_) => Err(StoreError::Unavailable("the server is stopping".into()).into()),
    }
}

fn answer(notifications: &[NewNotification], fates: Option<&[Fate]>) -> NotifyResponse {
    let item = |(n, new): (usize, &NewNotification)| {
        let d = &new.delivery;
        let waiting = if d.send_at.is_some() { Status::Scheduled } else { Status::Queued };
        let (id, status, reason) = match fates.map(|f| &f[n]) {
            None | Some(Fate::Queued) => (d.id.to_string(), waiting, new.waits_for.map(str::to_owned)),
            Some(Fate::Suppressed(reason)) => (d.id.to_string(), Status::Suppressed, Some(reason.clone())),
            Some(Fate::Duplicate(first)) => (first.clone(), Status::Suppressed, Some("duplicate".to_owned())),
        };
        NotificationItem {
            id,
            status,
            recipient: PublicRecipient::from(&*d.recipient),
            channel: d.channel.to_string(),
            reason,
            message_id: None,
        }
    };
    let items: Vec<_> = notifications.iter().enumerate().map(item).collect();
    let request_id = notifications.first().map(|n| n.delivery.request_id.to_string()).unwrap_or_default();
    let log_id = if let [only] = items.as_slice() { only.id.clone() } else { request_id };
    NotifyResponse { success: true, log_id, message_id: None, notifications: items }
}

/// Variables a template needs, checked once for each kind of recipient of a request.
struct TemplateCheck<'a> {
    tenant: &'a Tenant,
    branch: Option<&'a str>,
    content: &'a Content,
    now: Timestamp,
    seen: Vec<(String, bool, Option<String>)>,
}

impl TemplateCheck<'_> {
    async fn check(&mut self, (channel, _account): &(&str, &Account), recipient: &Recipient) -> Result<()> {
        let Body::Template(name) = &self.content.body else { return Ok(()) };
        let named = recipient.name.is_some();
        let alike = |(c, n, l): &(String, bool, Option<String>)| c == channel && *n == named && *l == recipient.locale;
        if self.seen.iter().any(alike) {
            return Ok(());
        }
        let parts = self.tenant.parts(channel, self.branch, self.now);
        let locale = recipient.locale.as_deref().or(parts.fallback).unwrap_or_default();
        let data = with_name(&self.content.data, recipient);
        let refused = |detail: String| Error::fault("/template", "unknown_template", detail);
        let found = self.tenant.templates.find(name, self.branch);
        let found = found.ok_or_else(|| refused(format!("there is no template {name} any more")))?;
        let missing = found.missing(locale, parts, &data).await.map_err(|e| match e.code {
            "template_limit" => {
                let faults = vec![Fault::new("/data", "template_limit", e.detail)];
                Error::Invalid { slug: "template-limit", faults }
            }
            _ => refused(e.to_string()),
        })?;
        if !missing.is_empty() {
            let faults = missing
                .iter()
                .map(|v| {
                    Fault::new(
                        format!("/data/{}", v.replace('.', "/")),
                        "required",
                        format!("the template {name} needs {v}"),
                    )
                })
                .collect();
            return Err(Error::Invalid { slug: "template-data", faults });
        }
        self.seen.push(((*channel).to_owned(), named, recipient.locale.clone()));
        Ok(())
    }
}

/// Whether a category waits for its moment.
pub fn when(send_at: Option<Timestamp>, now: Timestamp) -> Timestamp {
    send_at.filter(|at| *at > now).unwrap_or(now)
}

/// What a caller may put in `data`: an object.
pub(crate) fn data_or_empty(data: Option<serde_json::Map<String, Value>>) -> Arc<Value> {
    Arc::new(Value::Object(data.unwrap_or_default()))
}

/// The category's default.
pub(crate) fn category(given: Option<Category>) -> Category {
    given.unwrap_or_default()
}

/// NUL is the one character that PostgreSQL's texts can't hold. In JSON it is an escape, unless the backslash before it
/// is itself an escaped one.
fn holds_nul(json: &str) -> bool {
    json.match_indices("\\u0000").any(|(at, _)| {
        let before = json[..at].bytes().rev().take_while(|b| *b == b'\\').count();
        before.is_multiple_of(2)
    })
}

#[cfg(test)]
mod tests {
    use super::holds_nul;

    #[test]
    fn a_nul_is_told_from_a_text_about_one() {
        for (text, nul) in [("a\0b", true), ("\\u0000", false), ("\\\0", true), ("u0000", false), ("\\\\u0000", false)]
        {
            let json = serde_json::to_string(text).expect("a text");
            assert_eq!(holds_nul(&json), nul, "{json}");
        }
    }
}
