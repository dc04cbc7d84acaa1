//! Setting up a channel for a tenant or branch: checked against the plugin's schema, its addresses against the
//! outbound rules, its secrets sealed. And asking whether it works.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use plugin_api::{AddressKind, Provider, SettingKind, Settings, SettingsError};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::app::App;
use crate::error::{Error, Fault, Result};
use crate::ids::TenantId;
use crate::settings::Level;
use crate::store::channels::{self as store, AccountRow, IntegrationRow};
use crate::store::tenants;
use crate::tenant::{Integration, Tenant, record};

/// What a secret answers as; given back unchanged, the stored one is kept.
pub const COVERED: &str = "********";

/// The body of `PUT /v1/channels/{channel}`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelSettings {
    /// The provider of a single account.
    #[schema(example = "smtp")]
    pub provider: Option<String>,
    /// Its settings; which there are, the provider's schema says.
    #[schema(value_type = Option<Object>)]
    pub settings: Option<Map<String, Value>>,
    /// Several accounts, tried in order, instead of `provider` and `settings`.
    pub accounts: Option<Vec<AccountSettings>>,
    /// False switches the channel off and keeps its settings.
    pub enabled: Option<bool>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountSettings {
    pub name: String,
    pub provider: String,
    #[serde(default)]
    #[schema(value_type = Object)]
    pub settings: Map<String, Value>,
}

/// A channel and its state for one tenant.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChannelState {
    pub channel: String,
    pub title: String,
    /// The operator's word: false stops it for everybody.
    pub enabled_by_operator: bool,
    pub configured: bool,
    /// Configured, and off neither here nor by the operator.
    pub enabled: bool,
    /// The level whose settings hold.
    pub level: Option<Level>,
    /// Of the first account.
    pub provider: Option<String>,
    #[schema(value_type = Option<Object>)]
    pub settings: Option<Map<String, Value>>,
    pub accounts: Vec<AccountState>,
    /// Where the provider reports back, when it does.
    pub webhook_url: Option<String>,
    /// Which of a recipient's addresses it writes to.
    pub address: &'static str,
    /// Providers to choose from.
    pub providers: Vec<String>,
    pub can: Abilities,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountState {
    pub name: String,
    pub provider: String,
    /// Where the provider reports back, when it does.
    pub webhook_url: Option<String>,
    /// Secrets are covered.
    #[schema(value_type = Object)]
    pub settings: Map<String, Value>,
}

/// What the channel's provider can do.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Abilities {
    pub subject: bool,
    pub html: bool,
    pub buttons: bool,
    pub attachments: bool,
    /// Tells what became of a message.
    pub status: bool,
    /// Hands on what people answer.
    pub inbound: bool,
    /// In characters.
    pub max_length: Option<usize>,
}

impl Abilities {
    /// In words, for a line of a list.
    pub fn describe(&self) -> String {
        let words = [
            (self.subject, "subject"),
            (self.html, "HTML"),
            (self.buttons, "buttons"),
            (self.attachments, "attachments"),
            (self.status, "status"),
            (self.inbound, "inbound"),
        ];
        let can = words.into_iter().filter(|(can, _)| *can).map(|(_, word)| word.to_owned());
        let length = self.max_length.map(|most| format!("up to {most} characters"));
        let all: Vec<_> = can.chain(length).collect();
        if all.is_empty() { "plain text".to_owned() } else { all.join(", ") }
    }
}

/// What a test found.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestResult {
    pub ok: bool,
    pub latency_ms: u64,
    /// A sentence for people: what was proved, or what is wrong and what cures it.
    pub detail: String,
}

/// Stores a channel's settings.
pub async fn save(app: &App, tenant: &TenantId, branch: &str, channel: &str, given: ChannelSettings) -> Result<()> {
    let known = app.tenants.get(tenant).await?;
    known.channels.manifest(channel).ok_or(Error::NotFound)?;
    if !branch.is_empty() && !known.branches.contains_key(branch) {
        return Err(Error::fault("/branchId", "unknown_branch", "this tenant has no such branch"));
    }
    let old = known.integration(channel, Some(branch)).filter(|i| i.row.branch == branch);
    let now = app.now();
    let disabled_at = match given.enabled {
        Some(true) => None,
        Some(false) => Some(old.and_then(|i| i.row.disabled_at).unwrap_or(now)),
        None => old.and_then(|i| i.row.disabled_at),
    };
    let accounts = match (given.accounts, given.provider) {
        (Some(_), Some(_)) => {
            return Err(Error::fault("/accounts", "exactly_one_of", "give accounts, or provider and settings"));
        }
        (Some(accounts), None) => many(accounts)?,
        (None, Some(provider)) => {
            let settings = given.settings.unwrap_or_default();
            vec![(AccountSettings { name: "default".into(), provider, settings }, String::new())]
        }
        (None, None) => match (old, given.enabled, given.settings) {
            // Only the switch is moved.
            (Some(old), Some(_), None) => {
                let row = IntegrationRow { disabled_at, updated_at: now, ..old.row.clone() };
                return write(app, tenant, &row).await;
            }
            _ => return Err(Error::fault("/provider", "required", provider_help(&known, channel))),
        },
    };
    let mut rows = Vec::with_capacity(accounts.len());
    for (account, pointer) in accounts {
        rows.push(prepare(app, &known, branch, channel, account, &pointer, old).await?);
    }
    let row = IntegrationRow {
        branch: branch.to_owned(),
        channel: channel.to_owned(),
        accounts: rows,
        disabled_at,
        updated_at: now,
    };
    write(app, tenant, &row).await
}

fn many(accounts: Vec<AccountSettings>) -> Result<Vec<(AccountSettings, String)>> {
    if accounts.is_empty() || accounts.len() > 10 {
        return Err(Error::fault("/accounts", "item_count", "must hold 1 to 10 accounts"));
    }
    for (n, account) in accounts.iter().enumerate() {
        let fine = (1..=64).contains(&account.name.len())
            && account.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !fine || accounts[..n].iter().any(|a| a.name == account.name) {
            let detail = "must be a name of its own, of letters, digits, - _ and .";
            return Err(Error::fault(format!("/accounts/{n}/name"), "out_of_range", detail));
        }
    }
    Ok(accounts.into_iter().enumerate().map(|(n, a)| (a, format!("/accounts/{n}"))).collect())
}

fn provider_help(tenant: &Tenant, channel: &str) -> String {
    format!("must be one of: {}", tenant.channels.provider_names(channel).join(", "))
}

/// Checks one account and seals its secrets.
async fn prepare(
    app: &App,
    tenant: &Tenant,
    branch: &str,
    channel: &str,
    account: AccountSettings,
    pointer: &str,
    old: Option<&Integration>,
) -> Result<AccountRow> {
    let provider = tenant
        .channels
        .provider(channel, &account.provider)
        .ok_or_else(|| Error::fault(format!("{pointer}/provider"), "out_of_range", provider_help(tenant, channel)))?;
    let pointer = format!("{pointer}/settings");
    let record = record(channel, branch, &account.name);
    let stored =
        old.and_then(|i| i.row.accounts.iter().find(|a| a.name == account.name && a.provider == account.provider));
    let mut clear = provider.flatten(Settings(account.settings)).map_err(|errors| faults(&pointer, errors))?;
    for (name, value) in &mut clear.0 {
        if provider.is_secret(name) && value == COVERED {
            let sealed = stored.and_then(|a| a.settings.get(name)).and_then(Value::as_str);
            let plain = sealed.and_then(|s| app.keyring.open(tenant.id.as_str(), &record, name, s).ok());
            *value = plain.map_or(Value::Null, |p| Value::String(p.expose_secret().to_owned()));
        }
    }
    let settings = provider.validate(clear).map_err(|errors| faults(&pointer, errors))?;
    check_addresses(app, &provider, &settings, &pointer).await?;
    check_sender(tenant, branch, channel, &settings, &pointer)?;
    let host = app.tenants.host();
    tenant.channels.open(channel, &account.provider, &settings, host).map_err(|e| faults(&pointer, vec![e]))?;
    let mut settings = settings.0;
    for (name, value) in &mut settings {
        if let (true, Value::String(plain)) = (provider.is_secret(name), &*value) {
            *value = Value::String(app.keyring.seal(tenant.id.as_str(), &record, name, plain));
        }
    }
    Ok(AccountRow { name: account.name, provider: account.provider, settings })
}

fn faults(pointer: &str, errors: Vec<SettingsError>) -> Error {
    let faults = errors.into_iter().map(|e| fault(pointer, &e.setting, e.code, e.detail)).collect();
    Error::Invalid { slug: "validation", faults }
}

fn fault(pointer: &str, setting: &str, code: &'static str, detail: impl Into<String>) -> Fault {
    Fault::new(format!("{pointer}/{}", setting.replace('.', "/")), code, detail)
}

/// URLs and hosts are judged when they are saved, and again each time they are connected to.
async fn check_addresses(app: &App, provider: &Provider, settings: &Settings, pointer: &str) -> Result<()> {
    let guard = &app.tenants.host().guard;
    let mut wrong = Vec::new();
    for setting in &provider.settings {
        let Some(Value::String(text)) = settings.0.get(&setting.name) else { continue };
        let refused = match setting.kind {
            SettingKind::Url => guard.check_url(text).await.err(),
            SettingKind::Host => {
                let port = settings.0.get("port").and_then(Value::as_u64).unwrap_or(0) as u16;
                guard.check_host(text, port).await.err()
            }
            SettingKind::Email => match crate::address::email(text) {
                Ok(_) => None,
                Err(e) => {
                    let faults = vec![fault(pointer, &setting.name, e.code, e.detail)];
                    return Err(Error::Invalid { slug: "validation", faults });
                }
            },
            _ => None,
        };
        wrong.extend(refused.map(|e| fault(pointer, &setting.name, e.code, e.detail)));
    }
    if wrong.is_empty() { Ok(()) } else { Err(Error::Invalid { slug: "url-not-allowed", faults: wrong }) }
}

/// An e-mail account sends only as an address that the tenant, or the branch, may use.
fn check_sender(tenant: &Tenant, branch: &str, channel: &str, settings: &Settings, pointer: &str) -> Result<()> {
    let by_mail = tenant.channels.manifest(channel).is_some_and(|m| m.address == AddressKind::Email);
    let Some(from) = settings.0.get("from").and_then(Value::as_str).filter(|_| by_mail) else { return Ok(()) };
    tenant
        .levels(Some(branch))
        .check_sender(from)
        .map_err(|detail| Error::fault(format!("{pointer}/from"), "sender_not_allowed", detail))
}

async fn write(app: &App, tenant: &TenantId, row: &IntegrationRow) -> Result<()> {
    store::upsert(&app.db.pool, tenant, row).await?;
    tenants::bump(&app.db.pool, tenant).await?;
    app.tenants.refresh(tenant);
    Ok(())
}

/// Removes a level's settings; what lies below holds again.
pub async fn remove(app: &App, tenant: &TenantId, branch: &str, channel: &str) -> Result<()> {
    if !store::delete(&app.db.pool, tenant, branch, channel).await? {
        return Err(Error::NotFound);
    }
    tenants::bump(&app.db.pool, tenant).await?;
    app.tenants.refresh(tenant);
    Ok(())
}

/// The state of one channel.
pub fn state(app: &App, tenant: &Tenant, branch: Option<&str>, channel: &str) -> Option<ChannelState> {
    let manifest = tenant.channels.manifest(channel)?;
    let integration = tenant.integration(channel, branch);
    let by_operator = app.config.load().channel(channel).enabled;
    let accounts: Vec<AccountState> = integration
        .iter()
        .flat_map(|i| &i.row.accounts)
        .map(|a| AccountState {
            name: a.name.clone(),
            provider: a.provider.clone(),
            webhook_url: integration.and_then(|i| i.hook_url_of(&a.name)),
            settings: cover(tenant, channel, a),
        })
        .collect();
    let provider = integration
        .and_then(|i| i.accounts.first())
        .map(|a| std::sync::Arc::clone(&a.provider))
        .or_else(|| tenant.channels.provider(channel, &manifest.providers.first()?.name))?;
    Some(ChannelState {
        channel: channel.to_owned(),
        title: manifest.title.clone(),
        enabled_by_operator: by_operator,
        configured: integration.is_some(),
        enabled: by_operator && integration.is_some_and(|i| i.row.disabled_at.is_none()),
        level: integration.map(|i| i.level),
        provider: accounts.first().map(|a| a.provider.clone()),
        settings: accounts.first().map(|a| a.settings.clone()),
        webhook_url: accounts.first().and_then(|a| a.webhook_url.clone()),
        accounts,
        address: match manifest.address {
            AddressKind::Phone => "phone",
            AddressKind::Email => "email",
            AddressKind::PhoneOrEmail => "phone-or-email",
            AddressKind::None => "none",
        },
        providers: tenant.channels.provider_names(channel),
        can: Abilities {
            subject: provider.subject,
            html: provider.html,
            buttons: provider.buttons,
            attachments: provider.attachments,
            status: provider.callbacks,
            inbound: provider.inbound,
            max_length: provider.max_length,
        },
    })
}

fn cover(tenant: &Tenant, channel: &str, account: &AccountRow) -> Map<String, Value> {
    let provider = tenant.channels.provider(channel, &account.provider);
    let covered = |name: &str| provider.as_ref().is_none_or(|p| p.is_secret(name));
    let settings = account.settings.iter();
    let settings: Settings = settings
        .map(|(name, value)| (name.clone(), if covered(name) { Value::from(COVERED) } else { value.clone() }))
        .collect();
    settings.nested()
}

/// Asks one channel whether it would take a message. Never reaches a person.
pub async fn test(app: &App, tenant: &Tenant, branch: Option<&str>, channel: &str) -> TestResult {
    let watch = Instant::now();
    let result = check(app, tenant, branch, channel).await;
    let latency_ms = watch.elapsed().as_millis() as u64;
    match result {
        Ok(detail) => TestResult { ok: true, latency_ms, detail },
        Err(detail) => TestResult { ok: false, latency_ms, detail },
    }
}

async fn check(app: &App, tenant: &Tenant, branch: Option<&str>, channel: &str) -> Result<String, String> {
    if !app.config.load().channel(channel).enabled {
        return Err(format!("switched off by the operator ([channels.{channel}] enabled = false)"));
    }
    let integration = tenant.integration(channel, branch).ok_or("not configured")?;
    if integration.row.disabled_at.is_some() {
        return Err("switched off by the tenant".into());
    }
    let mut details = Vec::new();
    for account in &integration.accounts {
        let opened = account.channel.as_ref().map_err(ToString::to_string)?;
        let patience = app.config.load().delivery.call_timeout + Duration::from_secs(5);
        match tokio::time::timeout(patience, opened.check()).await {
            Ok(found) => details.push(found?),
            Err(_) => return Err("no answer in time".into()),
        }
    }
    if details.is_empty() { Err("no account is configured".into()) } else { Ok(details.join("; ")) }
}

/// testAllChannels: one key per channel, and `details` beside them.
pub async fn test_all(app: &App, tenant: &Tenant, branch: Option<&str>) -> Map<String, Value> {
    let names = tenant.channels.names();
    let results = futures_util::future::join_all(names.iter().map(|name| test(app, tenant, branch, name))).await;
    let mut out = Map::new();
    let mut details = BTreeMap::new();
    for (name, result) in names.into_iter().zip(results) {
        out.insert(name.to_string(), result.ok.into());
        let mut detail = serde_json::json!({"ok": result.ok, "latencyMs": result.latency_ms});
        detail[if result.ok { "detail" } else { "problem" }] = result.detail.into();
        details.insert(name.to_string(), detail);
    }
    out.insert("details".into(), serde_json::to_value(details).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_list_says_what_a_channel_can_do() {
        let no = Abilities {
            subject: false,
            html: false,
            buttons: false,
            attachments: false,
            status: false,
            inbound: false,
            max_length: None,
        };
        assert_eq!(no.describe(), "plain text");
        let some = Abilities { buttons: true, inbound: true, max_length: Some(1024), ..no };
        assert_eq!(some.describe(), "buttons, inbound, up to 1024 characters");
    }
}
