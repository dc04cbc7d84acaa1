//! Which channels can reach a recipient now, and in which order they are tried.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

use crate::config::Config;
use crate::content::Recipient;
use crate::error::{Error, Fault, Result};
use crate::standing::{OPTED_OUT, Standing};
use crate::status::Category;
use crate::tenant::{Account, Tenant};

/// What the caller asked for.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// These, in this order.
    Named(&'a [String]),
    /// Whatever the settings say.
    Any,
}

/// A channel and why it was taken or not.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Considered {
    pub channel: String,
    pub taken: bool,
    /// `unknown_channel`, `disabled_by_operator`, `disabled_by_tenant`, `not_configured`, `no_address`, `not_named`,
    /// `opted_out`, `capped`, `outside_whatsapp_window`; of one that was taken `quiet_hours`: it waits.
    pub reason: Option<&'static str>,
}

pub struct Route<'a> {
    pub considered: Vec<Considered>,
    pub steps: Vec<(&'a str, &'a Account)>,
    /// Channels that could reach the person, who does not want it or must be left alone; with the reason.
    refused: Vec<((&'a str, &'a Account), String)>,
}

/// Whom a message is for.
#[derive(Clone, Copy)]
pub struct Person<'p> {
    pub recipient: &'p Recipient,
    pub standing: &'p Standing,
    pub category: Category,
}

/// Tried in this order where neither caller nor tenant says otherwise.
const PLATFORM_ORDER: [&str; 5] = ["whatsapp", "chatwoot", "sms", "email", "webhook"];

/// The tenant's order, else the platform's, then whatever else there is.
pub fn order<'a>(tenant: &'a Tenant, branch: Option<&str>) -> Vec<Cow<'a, str>> {
    let own = tenant.levels(branch).find(|s| s.channel_order.as_ref());
    if let Some(own) = own {
        return own.value.iter().map(|name| name.as_str().into()).collect();
    }
    let names = tenant.channels.names();
    let rest = names.iter().filter(|n| !PLATFORM_ORDER.contains(&&***n)).map(|n| Cow::Owned(n.to_string()));
    PLATFORM_ORDER.into_iter().filter(|n| tenant.channels.has(n)).map(Cow::Borrowed).chain(rest).collect()
}

/// Looks at each channel wanted.
pub fn route<'a>(
    config: &Config,
    tenant: &'a Tenant,
    branch: Option<&str>,
    person: Person<'_>,
    wanted: Wanted<'a>,
) -> Route<'a> {
    let channels: Vec<Cow<'a, str>> = match wanted {
        Wanted::Named(names) => names.iter().map(|name| name.as_str().into()).collect(),
        Wanted::Any => preferred(order(tenant, branch), &person.standing.preferences.channels),
    };
    let mut route = Route { considered: Vec::new(), steps: Vec::new(), refused: Vec::new() };
    for channel in channels {
        let channel = channel.into_owned();
        match judge(config, tenant, branch, person.recipient, &channel) {
            Ok(step) => {
                let address = person.recipient.address(step.1.address);
                if let Some(reason) = person.standing.refusal(&channel, address, person.category) {
                    route.considered.push(Considered { channel, taken: false, reason: Some(OPTED_OUT) });
                    route.refused.push((step, reason));
                    continue;
                }
                route.considered.push(Considered { channel, taken: true, reason: None });
                route.steps.push(step);
            }
            Err(reason) => {
                route.considered.push(Considered { channel, taken: false, reason: Some(reason) });
            }
        }
    }
    route
}

/// The person's own favourites first, among the channels there are.
fn preferred<'a>(mut order: Vec<Cow<'a, str>>, favourites: &[String]) -> Vec<Cow<'a, str>> {
    let rank = |channel: &str| favourites.iter().position(|f| f == channel).unwrap_or(usize::MAX);
    order.sort_by_key(|channel| rank(channel));
    order
}

fn judge<'a>(
    config: &Config,
    tenant: &'a Tenant,
    branch: Option<&str>,
    recipient: &Recipient,
    channel: &str,
) -> Result<(&'a str, &'a Account), &'static str> {
    let manifest = tenant.channels.manifest(channel).ok_or("unknown_channel")?;
    if !config.channel(channel).enabled {
        return Err("disabled_by_operator");
    }
    let integration = tenant.integration(channel, branch).ok_or("not_configured")?;
    if integration.row.disabled_at.is_some() {
        return Err("disabled_by_tenant");
    }
    let account = integration.accounts.first().ok_or("not_configured")?;
    if manifest.address != plugin_api::AddressKind::None && recipient.address(manifest.address).is_none() {
        return Err("no_address");
    }
    Ok((&integration.row.channel, account))
}

type Steps<'a> = Vec<(&'a str, &'a Account)>;

/// What a route came to.
pub enum Way<'a> {
    /// To be tried in this order.
    Open(Steps<'a>),
    /// It would have gone this way, but the person must not be written to.
    Closed(Steps<'a>, String),
}

impl<'a> Route<'a> {
    /// The chain to try. The outer error refuses the request (a channel that can't be used by anybody), the inner one
    /// is this recipient's fault.
    pub fn chain(self, wanted: Wanted<'_>, pointer: &str) -> Result<Result<Way<'a>, Fault>> {
        if !self.steps.is_empty() {
            return Ok(Ok(Way::Open(self.steps)));
        }
        if let Some((_, reason)) = self.refused.first() {
            let reason = reason.clone();
            return Ok(Ok(Way::Closed(self.refused.into_iter().map(|(step, _)| step).collect(), reason)));
        }
        let reason = |word: &str| self.considered.iter().any(|c| c.reason == Some(word));
        if reason("no_address") {
            let channels: Vec<_> = self.considered.iter().map(|c| c.channel.as_str()).collect();
            let detail = format!("has no address that {} could write to", channels.join(" or "));
            return Ok(Err(Fault::new(pointer, "no_address", detail)));
        }
        let detail = match wanted {
            Wanted::Named(names) => {
                let why: Vec<String> = self
                    .considered
                    .iter()
                    .map(|c| format!("{}: {}", c.channel, words(c.reason.unwrap_or_default())))
                    .collect();
                debug_assert!(!names.is_empty());
                why.join("; ")
            }
            Wanted::Any => "no channel is configured; set one with PUT /v1/channels/{channel}".to_owned(),
        };
        Err(Error::refused("channel-unavailable", detail))
    }
}

fn words(reason: &str) -> &str {
    match reason {
        "disabled_by_operator" => "switched off by the operator",
        "disabled_by_tenant" => "switched off; PUT /v1/channels/{channel} with enabled: true",
        "not_configured" => "not configured; PUT /v1/channels/{channel}",
        other => other,
    }
}
