//! `dryRun`: the whole decision, and no side effect.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::app::App;
use crate::clock::Timestamp;
use crate::content::Content;
use crate::deliver::{OUTSIDE_WINDOW, form, render, sms_cost};
use crate::error::{Error, Result};
use crate::settings::{Levels, Resolved};
use crate::standing::Standing;
use crate::store::notifications::{Delivery, NewNotification};
use crate::tenant::{Account, Tenant};
use crate::writer::{CAPPED, would_be_capped};

use super::{Considered, Draft, Person, PublicRecipient, Ruling, Wanted, route, when};

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DryRun {
    pub dry_run: bool,
    pub notifications: Vec<Explained>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Explained {
    pub recipient: PublicRecipient,
    /// Each setting used, and the level it came from.
    #[schema(value_type = Object)]
    pub settings: BTreeMap<&'static str, Value>,
    /// What the route script decided, where there is one and the caller named no channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Ruling>,
    /// Every channel, and why it was taken or not.
    pub channels: Vec<Considered>,
    /// What would be tried, in order.
    pub steps: Vec<Step>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    pub channel: String,
    pub content: StepContent,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sms: Option<SmsCost>,
    #[schema(value_type = String, format = DateTime)]
    pub send_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct StepContent {
    pub subject: Option<String>,
    pub text: String,
    pub html: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SmsCost {
    /// `GSM-7` or `UCS-2`.
    pub encoding: &'static str,
    pub segments: usize,
}

/// Explains what a draft would do.
pub async fn explain(app: &App, tenant: &Tenant, draft: &Draft) -> Result<DryRun> {
    let config = app.config.load();
    let now = app.clock.now();
    let mut notifications = Vec::new();
    for (n, (new, standing)) in draft.notifications.iter().zip(&draft.standings).enumerate() {
        let d = &new.delivery;
        let branch = d.branch.as_deref();
        let capped = match (draft.cap, &new.person) {
            (Some(most), Some(person)) => {
                would_be_capped(&app.db, &tenant.id, person, when(d.send_at, now), most).await?
            }
            _ => false,
        };
        let nowhere = capped || new.refused.is_some();
        let (mut steps, mut closed) = (Vec::new(), Vec::new());
        for channel in d.chain.iter().map(|hop| &hop.channel).filter(|_| !nowhere) {
            let account = tenant.account(channel, branch).ok_or(Error::NotFound)?;
            if !may_send(app, tenant, account, channel, d, &draft.content).await? {
                closed.push(channel.as_str());
                continue;
            }
            let text =
                render(tenant, account, channel, branch, &d.recipient, &draft.content, now).await.map_err(|e| {
                    let slug = if e.reason == "template_limit" { "template-limit" } else { "template-invalid" };
                    Error::refused(slug, e.detail)
                })?;
            let cost = sms_cost(channel, &text.text, &text.actions)
                .map(|counted| SmsCost { encoding: counted.encoding, segments: counted.segments });
            steps.push(Step {
                channel: channel.clone(),
                content: StepContent { subject: text.subject, text: text.text, html: text.html },
                sms: cost,
                send_at: when(d.send_at, now),
            });
        }
        notifications.push(Explained {
            recipient: PublicRecipient::from(&*d.recipient),
            settings: settings(tenant.levels(branch), tenant),
            route: draft.rulings.get(n).cloned(),
            channels: consider_all(&config, tenant, new, standing, &closed)
                .into_iter()
                .map(|c| match (c.taken, capped) {
                    (true, true) => Considered { taken: false, reason: Some(CAPPED), ..c },
                    (true, false) => Considered { reason: new.waits_for, ..c },
                    (false, _) => c,
                })
                .collect(),
            steps,
        });
    }
    Ok(DryRun { dry_run: true, notifications })
}

/// False where only an approved form may be sent now, and there is none.
async fn may_send(
    app: &App,
    tenant: &Tenant,
    account: &Account,
    channel: &str,
    d: &Delivery,
    content: &Content,
) -> Result<bool> {
    let address = d.recipient.address(account.address);
    let open = tenant.window_open(&app.db, account, (channel, address), app.clock.now()).await?;
    let form = form(tenant, account, d, content, app.clock.now()).await;
    let form = form.map_err(|e| Error::refused("template-invalid", e.detail))?;
    Ok(open || form.is_some())
}

/// Every channel there is: those of the chain in its order, then the others with the reason they were not taken.
fn consider_all(
    config: &crate::config::Config,
    tenant: &Tenant,
    new: &NewNotification,
    standing: &Standing,
    closed: &[&str],
) -> Vec<Considered> {
    let d = &new.delivery;
    let all: Vec<String> = {
        let names = tenant.channels.names();
        let rest = names.iter().filter(|n| !d.chain.iter().any(|hop| *hop.channel == ***n)).map(ToString::to_string);
        d.chain.iter().map(|hop| hop.channel.clone()).chain(rest).collect()
    };
    let person = Person { recipient: &d.recipient, standing, category: d.category };
    let looked = route(config, tenant, d.branch.as_deref(), person, Wanted::Named(&all));
    looked
        .considered
        .into_iter()
        .map(|c| {
            if closed.contains(&c.channel.as_str()) {
                return Considered { taken: false, reason: Some(OUTSIDE_WINDOW), ..c };
            }
            if c.taken && !d.chain.iter().any(|hop| hop.channel == c.channel) {
                return Considered { taken: false, reason: Some("not_named"), ..c };
            }
            c
        })
        .collect()
}

fn settings(levels: Levels<'_>, tenant: &Tenant) -> BTreeMap<&'static str, Value> {
    fn entry<T: Serialize>(resolved: Resolved<T>) -> Value {
        json!({"value": resolved.value, "level": resolved.level})
    }
    let platform = &tenant.platform;
    let mut out = BTreeMap::from([
        ("country", entry(levels.country(platform))),
        ("locale", entry(levels.locale(platform))),
        ("timezone", entry(levels.timezone(platform))),
    ]);
    if let Some(order) = levels.find(|s| s.channel_order.as_ref()) {
        out.insert("channelOrder", entry(order));
    }
    if let Some(quiet) = levels.find(|s| s.quiet_hours.as_ref()) {
        out.insert("quietHours", entry(quiet));
    }
    if let Some(caps) = levels.find(|s| s.caps.as_ref()) {
        out.insert("caps", entry(caps));
    }
    if let Some(unknown) = levels.find(|s| s.on_unknown.as_ref()) {
        out.insert("onUnknown", entry(unknown));
    }
    out
}
