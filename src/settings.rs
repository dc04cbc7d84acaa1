//! What platform, tenant and branch may set, and the one resolver that says which value holds and who set it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::Defaults;
use crate::retry::OnUnknown;

/// The settings of a tenant or a branch; absent ones are inherited.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TenantSettings {
    /// A language tag, e.g. `es-MX`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// An IANA zone, e.g. `America/Mexico_City`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// ISO 3166 alpha-2: what phone numbers without a country code belong to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiet_hours: Option<QuietHours>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caps: Option<Caps>,
    /// Which channel is tried first when the caller names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_order: Option<Vec<String>>,
    /// Phones of other countries are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_countries: Option<Vec<String>>,
    /// E-mail senders the tenant may use; none: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_senders: Option<Vec<String>>,
    /// Replace accents in SMS where they would cost a second segment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accent_folding: Option<bool>,
    /// By channel: what to do when nobody knows whether a provider took a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_unknown: Option<BTreeMap<String, OnUnknown>>,
}

/// Local times between which marketing is held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QuietHours {
    /// `HH:MM`.
    pub start: String,
    /// `HH:MM`; before `start` means the next morning.
    pub end: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Caps {
    /// Marketing messages a person gets in seven days at most.
    pub marketing_per_week: u32,
}

/// Nobody has two mailboxes that differ in case alone, whatever the standard allows.
fn same_address(a: &str, b: &str) -> bool {
    let spelt = |text: &str| crate::address::email(text).unwrap_or_else(|_| text.to_owned());
    spelt(a).eq_ignore_ascii_case(&spelt(b))
}

/// Who set a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Platform,
    Tenant,
    Branch,
}

/// A value and the level it came from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Resolved<T> {
    pub value: T,
    pub level: Level,
}

/// The levels that apply to one notification.
#[derive(Clone, Copy)]
pub struct Levels<'a> {
    pub branch: Option<&'a TenantSettings>,
    pub tenant: &'a TenantSettings,
}

impl<'a> Levels<'a> {
    /// The value of the innermost level that has one.
    pub fn find<T>(self, pick: impl Fn(&'a TenantSettings) -> Option<&'a T>) -> Option<Resolved<&'a T>> {
        if let Some(value) = self.branch.and_then(&pick) {
            return Some(Resolved { value, level: Level::Branch });
        }
        pick(self.tenant).map(|value| Resolved { value, level: Level::Tenant })
    }

    pub fn locale(self, platform: &'a Defaults) -> Resolved<&'a str> {
        self.text(|s| s.locale.as_ref(), &platform.locale)
    }

    pub fn timezone(self, platform: &'a Defaults) -> Resolved<&'a str> {
        self.text(|s| s.timezone.as_ref(), &platform.timezone)
    }

    pub fn country(self, platform: &'a Defaults) -> Resolved<&'a str> {
        self.text(|s| s.country.as_ref(), &platform.country)
    }

    pub fn on_unknown(self, channel: &str) -> Option<OnUnknown> {
        self.find(|s| s.on_unknown.as_ref()?.get(channel)).map(|r| *r.value)
    }

    /// Refuses a sender outside the list of the innermost level that has one; an empty list allows all.
    pub fn check_sender(self, address: &str) -> Result<(), String> {
        let Some(list) = self.find(|s| s.allowed_senders.as_ref()) else { return Ok(()) };
        if list.value.is_empty() || list.value.iter().any(|sender| same_address(sender, address)) {
            return Ok(());
        }
        let level = if list.level == Level::Branch { "branch" } else { "tenant" };
        Err(format!("{address} is not among the {level}'s allowedSenders: {}", list.value.join(", ")))
    }

    fn text(self, pick: impl Fn(&'a TenantSettings) -> Option<&'a String>, platform: &'a str) -> Resolved<&'a str> {
        self.find(pick).map_or(Resolved { value: platform, level: Level::Platform }, |r| Resolved {
            value: r.value.as_str(),
            level: r.level,
        })
    }
}
