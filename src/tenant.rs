//! A tenant as sending sees it: settings, branches and opened channel accounts, loaded once and kept while unchanged.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use plugin_api::{AddressKind, Channel, Host, Provider, Settings, SettingsError};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::app::SharedConfig;
use crate::clock::Timestamp;
use crate::config::{Config, Defaults};
use crate::error::{Error, Result};
use crate::hook::{self, Hook};
use crate::ids::TenantId;
use crate::lane::{Lane, Limits};
use crate::notify::RouteScript;
use crate::plugins::{Catalog, Registry};
use crate::quiet::Quiet;
use crate::retry::OnUnknown;
use crate::scripts::ROUTE;
use crate::secrets::Keyring;
use crate::settings::{Level, Levels, TenantSettings};
use crate::store::callbacks::last_inbound;
use crate::store::channels::{AccountRow, IntegrationRow, find_memory};
use crate::store::documents::{self, Kind};
use crate::store::notifications::Delivery;
use crate::store::{Db, channels, contacts, suppressions, tenants};
use crate::template::{OwnTemplates, Parts, Templates, TenantTemplates};

/// How long another node's (or the command line's) change may go unnoticed.
const FRESH_FOR: Duration = Duration::from_secs(2);

/// One tenant, as of its version.
pub struct Tenant {
    pub id: TenantId,
    pub name: String,
    pub settings: TenantSettings,
    pub branches: HashMap<String, Branch>,
    pub has_suppressions: bool,
    /// It knows people, who may have said how they want to be written to.
    pub has_contacts: bool,
    /// What it can send through, set up or not.
    pub channels: Catalog,
    /// By branch; the tenant's own under "".
    routes: HashMap<String, Arc<RouteScript>>,
    pub platform: Arc<Defaults>,
    pub templates: TenantTemplates,
    version: i64,
    keyring: Arc<Keyring>,
    public_url: String,
    /// By channel, then branch ("" for the tenant).
    integrations: HashMap<String, HashMap<String, Integration>>,
}

pub struct Branch {
    pub name: String,
    pub settings: TenantSettings,
}

/// One channel's settings at one level.
pub struct Integration {
    pub row: IntegrationRow,
    pub level: Level,
    pub accounts: Vec<Account>,
}

/// An opened provider account.
pub struct Account {
    /// Names it within its tenant: channel, branch and account.
    pub key: String,
    pub provider: Arc<Provider>,
    pub address: AddressKind,
    pub lane: Arc<str>,
    /// Where its provider reports to, if it does.
    pub hook_url: Option<Arc<str>>,
    /// What opening it gave: settings that a newer version no longer accepts are an error here, not at start.
    pub channel: Result<Arc<dyn Channel>, SettingsError>,
    row: AccountRow,
}

impl Tenant {
    pub fn levels(&self, branch: Option<&str>) -> Levels<'_> {
        Levels { branch: branch.and_then(|b| self.branches.get(b)).map(|b| &b.settings), tenant: &self.settings }
    }

    /// Every level's settings for a channel.
    pub fn integrations_of(&self, channel: &str) -> impl Iterator<Item = &Integration> {
        self.integrations.get(channel).into_iter().flat_map(HashMap::values)
    }

    /// Where and when a message of this branch is read; parts in the tenant's language where the reader's are missing.
    pub fn parts<'a>(&'a self, channel: &'a str, branch: Option<&str>, now: Timestamp) -> Parts<'a> {
        let levels = self.levels(branch);
        let zone = levels.timezone(&self.platform).value.parse().unwrap_or_default();
        let country = levels.country(&self.platform).value;
        let formatting = self.channels.manifest(channel).and_then(|manifest| manifest.formatting);
        let parts = Parts::of(channel).formatted(formatting).or_locale(levels.locale(&self.platform).value);
        parts.at(now, zone, country).for_whom(self.id.as_str())
    }

    /// The route script of a branch, else the tenant's.
    pub fn route_script(&self, branch: Option<&str>) -> Option<(Level, &RouteScript)> {
        let own = branch.and_then(|b| self.routes.get(b)).map(|script| (Level::Branch, &**script));
        own.or_else(|| self.routes.get("").map(|script| (Level::Tenant, &**script)))
    }

    /// The integration that holds for a branch: its own, else the tenant's.
    pub fn integration(&self, channel: &str, branch: Option<&str>) -> Option<&Integration> {
        let levels = self.integrations.get(channel)?;
        branch.and_then(|b| levels.get(b)).or_else(|| levels.get(""))
    }

    /// The account that sends first, unless the tenant switched the channel off.
    pub fn account(&self, channel: &str, branch: Option<&str>) -> Option<&Account> {
        self.accounts(channel, branch).first()
    }

    /// The account whose lane this is; the first, when that account is gone.
    pub fn account_of(&self, channel: &str, branch: Option<&str>, lane: &str) -> Option<&Account> {
        let accounts = self.accounts(channel, branch);
        accounts.iter().find(|a| &*a.lane == lane).or_else(|| accounts.first())
    }

    /// The account to turn to when the one of this lane does not deliver.
    pub fn account_after(&self, channel: &str, branch: Option<&str>, lane: &str) -> Option<&Account> {
        let accounts = self.accounts(channel, branch);
        accounts.get(accounts.iter().position(|a| &*a.lane == lane)? + 1)
    }

    /// In the order in which they are tried; none when the tenant switched the channel off.
    fn accounts(&self, channel: &str, branch: Option<&str>) -> &[Account] {
        let integration = self.integration(channel, branch).filter(|i| i.row.disabled_at.is_none());
        integration.map_or(&[], |i| &i.accounts)
    }

    /// The account that a hook belongs to, whether or not it sends at present.
    pub fn account_of_hook(&self, hook: &Hook) -> Option<&Account> {
        let integration = self.integrations.get(&hook.channel)?.get(&hook.branch)?;
        integration.accounts.iter().find(|a| a.row.name == hook.account)
    }

    /// What plugin and operator allow a lane.
    pub fn limits(&self, lane: &Lane, config: &Config) -> Limits {
        let account = self.account_of(lane.channel(), lane.branch(), &lane.name);
        let plugin = account.map(|a| a.provider.limits).unwrap_or_default();
        let operator = config.channel(lane.channel());
        let lower = |a: Option<u32>, b: Option<u32>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Limits {
            call_span: account.map(|a| a.call_span(config)).unwrap_or_default(),
            concurrency: operator.max_concurrency.map_or(plugin.concurrency, |most| plugin.concurrency.min(most.get())),
            rate_per_minute: lower(plugin.rate_per_minute, operator.rate_per_minute.map(std::num::NonZeroU32::get)),
        }
    }

    /// When marketing waits, where that is set.
    pub fn quiet(&self, branch: Option<&str>) -> Option<Quiet> {
        let levels = self.levels(branch);
        let hours = levels.find(|s| s.quiet_hours.as_ref())?;
        Quiet::new(hours.value, levels.timezone(&self.platform).value)
    }

    /// Marketing messages a person gets in seven days at most.
    pub fn marketing_per_week(&self, branch: Option<&str>) -> Option<u32> {
        self.levels(branch).find(|s| s.caps.as_ref()).map(|caps| caps.value.marketing_per_week)
    }

    pub fn on_unknown(&self, channel: &str, branch: Option<&str>) -> Option<OnUnknown> {
        self.levels(branch).on_unknown(channel)
    }

    /// The secrets of the account whose hook this is, in clear.
    pub fn secrets_of(&self, hook: &Hook) -> Vec<SecretString> {
        let Some(account) = self.account_of_hook(hook) else { return vec![] };
        let record = record(&hook.channel, &hook.branch, &hook.account);
        let sealed = account.row.settings.iter().filter(|(name, _)| account.provider.is_secret(name));
        let open = |(name, sealed): (&String, &Value)| {
            self.keyring.open(self.id.as_str(), &record, name, sealed.as_str()?).ok()
        };
        sealed.filter_map(open).collect()
    }

    /// Where this person leaves the tenant's marketing.
    pub fn unsubscribe_link(&self, address: &str) -> String {
        crate::unsubscribe::link(&self.keyring, &self.public_url, &self.id, address)
    }

    /// What is known of a delivery's recipient on this account.
    pub async fn known(&self, db: &Db, account: &Account, d: &Delivery, now: Timestamp) -> Result<Known> {
        let memory = self.memory(db, account, d).await?;
        let window_open = self.window_open(db, account, (&d.channel, d.address.as_deref()), now).await?;
        Ok(Known { memory, window_open })
    }

    /// Whether free text may be sent to this address now; always so for accounts without a window.
    pub async fn window_open(
        &self,
        db: &Db,
        account: &Account,
        (channel, address): (&str, Option<&str>),
        now: Timestamp,
    ) -> Result<bool> {
        match (account.provider.window_hours, address) {
            (Some(hours), Some(address)) => {
                let last = last_inbound(&db.pool, &self.id, channel, address).await?;
                Ok(last.is_some_and(|at| now.since(at) < Duration::from_secs(3600 * u64::from(hours))))
            }
            _ => Ok(true),
        }
    }

    async fn memory(&self, db: &Db, account: &Account, d: &Delivery) -> Result<Option<Value>> {
        match &d.address {
            Some(address) if account.provider.remembers => {
                Ok(find_memory(&db.pool, &self.id, &account.key, address).await?)
            }
            _ => Ok(None),
        }
    }
}

impl Integration {
    /// Where the provider of the account of this name reports.
    pub fn hook_url_of(&self, account: &str) -> Option<String> {
        self.accounts.iter().find(|a| a.row.name == account)?.hook_url.as_deref().map(str::to_owned)
    }
}

impl Account {
    /// The address it sends from, where that is an e-mail's.
    pub fn sender(&self) -> Option<&str> {
        (self.address == AddressKind::Email).then(|| self.row.settings.get("from")?.as_str()).flatten()
    }

    /// How long a call may last, the contract's own time-outs and a margin included.
    pub fn call_span(&self, config: &Config) -> Duration {
        let contract = config.delivery.call_timeout;
        self.provider.limits.call_seconds.map_or(contract, Duration::from_secs).max(contract) + Duration::from_secs(5)
    }
}

/// What an account knows of a recipient.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// What its plugin asked to remember.
    pub memory: Option<Value>,
    /// Free text may be sent now; always so for accounts without a window.
    pub window_open: bool,
}

/// The cache of tenants, and the way accounts are opened.
pub struct Tenants {
    db: Db,
    config: SharedConfig,
    plugins: Arc<Registry>,
    keyring: Arc<Keyring>,
    templates: Arc<Templates>,
    host: Host,
    cached: RwLock<HashMap<TenantId, Cached>>,
    /// One load at a time: a change of a busy tenant is read once, not by every request that waits.
    loading: tokio::sync::Mutex<()>,
}

struct Cached {
    tenant: Arc<Tenant>,
    checked_at: Instant,
    stale: bool,
}

impl Tenants {
    pub fn new(
        db: Db,
        config: SharedConfig,
        plugins: Arc<Registry>,
        keyring: Arc<Keyring>,
        templates: Arc<Templates>,
        host: Host,
    ) -> Arc<Self> {
        let loading = tokio::sync::Mutex::new(());
        Arc::new(Self { db, config, plugins, keyring, templates, host, cached: RwLock::default(), loading })
    }

    pub async fn get(&self, id: &TenantId) -> Result<Arc<Tenant>> {
        if let Some(tenant) = self.fresh(id) {
            return Ok(tenant);
        }
        let _turn = self.loading.lock().await;
        if let Some(tenant) = self.fresh(id) {
            return Ok(tenant);
        }
        let known = self.read(|cached| cached.get(id).map(|c| (Arc::clone(&c.tenant), c.stale)));
        if let Some((tenant, false)) = &known
            && tenants::version(&self.db.pool, id).await? == Some(tenant.version)
        {
            self.keep(Arc::clone(tenant));
            return Ok(Arc::clone(tenant));
        }
        let tenant = Arc::new(self.load(id, known.map(|(t, _)| t).as_deref()).await?);
        self.keep(Arc::clone(&tenant));
        Ok(tenant)
    }

    /// This node changed something: the next look reads it.
    pub fn refresh(&self, id: &TenantId) {
        let mut cached = self.cached.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = cached.get_mut(id) {
            entry.stale = true;
        }
    }

    /// Something changed that may concern all: each next look reads anew.
    pub fn refresh_all(&self) {
        let mut cached = self.cached.write().unwrap_or_else(PoisonError::into_inner);
        cached.values_mut().for_each(|entry| entry.stale = true);
    }

    fn fresh(&self, id: &TenantId) -> Option<Arc<Tenant>> {
        self.read(|cached| {
            let entry = cached.get(id)?;
            (!entry.stale && entry.checked_at.elapsed() < FRESH_FOR).then(|| Arc::clone(&entry.tenant))
        })
    }

    fn read<T>(&self, look: impl FnOnce(&HashMap<TenantId, Cached>) -> T) -> T {
        look(&self.cached.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep(&self, tenant: Arc<Tenant>) {
        let mut cached = self.cached.write().unwrap_or_else(PoisonError::into_inner);
        // Tenants that fell silent make room; a bound on memory, not a policy.
        if cached.len() > 10_000 {
            cached.retain(|_, c| c.checked_at.elapsed() < Duration::from_secs(60));
        }
        cached.insert(tenant.id.clone(), Cached { tenant, checked_at: Instant::now(), stale: false });
    }

    async fn load(&self, id: &TenantId, before: Option<&Tenant>) -> Result<Tenant> {
        // The version first: what changes while the rest is read makes the next check load again.
        let row = tenants::find(&self.db.pool, id).await?.ok_or(Error::NotFound)?;
        let branches = tenants::list_branches(&self.db.pool, id).await?;
        let rows = channels::list(&self.db.pool, id).await?;
        let has_suppressions = suppressions::any(&self.db.pool, id).await?;
        let has_contacts = contacts::any(&self.db.pool, id).await?;
        let uploads = documents::list(&self.db.pool, id, Kind::Plugin).await?;
        let own = Catalog::new(Arc::clone(&self.plugins), &uploads, before.map(|t| &t.channels));
        let templates = self.own_templates(id, before).await?;
        let routes = documents::named(&self.db.pool, id, Kind::Script, ROUTE).await?;
        let routes = RouteScript::all(routes, |branch, version| {
            before?.routes.get(branch).filter(|script| script.version() == version).cloned()
        })?;
        let mut integrations: HashMap<String, HashMap<String, Integration>> = HashMap::new();
        for row in rows {
            let old = before.and_then(|t| t.integrations.get(&row.channel)?.get(&row.branch));
            let integration = self.open(id, &own, row, old);
            integrations
                .entry(integration.row.channel.clone())
                .or_default()
                .insert(integration.row.branch.clone(), integration);
        }
        Ok(Tenant {
            id: row.id,
            name: row.name,
            settings: row.settings,
            version: row.version,
            branches: branches
                .into_iter()
                .map(|b| (b.id.to_string(), Branch { name: b.name, settings: b.settings }))
                .collect(),
            has_suppressions,
            has_contacts,
            channels: own,
            routes,
            keyring: Arc::clone(&self.keyring),
            public_url: self.config.load().server.public_url.clone(),
            platform: Arc::new(self.config.load().defaults.clone()),
            templates,
            integrations,
        })
    }

    /// What is unchanged is neither read nor compiled again.
    async fn own_templates(&self, id: &TenantId, before: Option<&Tenant>) -> Result<TenantTemplates> {
        let before = before.and_then(|tenant| tenant.templates.own.as_ref());
        let stamps = documents::stamps(&self.db.pool, id, Kind::Template).await?;
        let own = match before {
            _ if stamps.is_empty() => None,
            Some(before) if before.stamps() == stamps => Some(Arc::clone(before)),
            _ => {
                let unescaped = self.config.load().templates.allow_unescaped_html;
                let documents = documents::list(&self.db.pool, id, Kind::Template).await?;
                Some(Arc::new(OwnTemplates::read(documents, before.map(|b| &**b), &self.templates, unescaped)))
            }
        };
        Ok(TenantTemplates { program: Arc::clone(&self.templates), own })
    }

    fn open(
        &self,
        tenant: &TenantId,
        known: &Catalog,
        row: IntegrationRow,
        before: Option<&Integration>,
    ) -> Integration {
        let level = if row.branch.is_empty() { Level::Tenant } else { Level::Branch };
        let base = match level {
            Level::Branch => format!("{}/{}", row.channel, row.branch),
            _ => row.channel.clone(),
        };
        let accounts = row
            .accounts
            .iter()
            .enumerate()
            .filter_map(|(n, account)| {
                let provider = known.provider(&row.channel, &account.provider)?;
                let kept = before
                    .and_then(|i| i.accounts.iter().find(|a| a.row.name == account.name))
                    .filter(|a| a.row.provider == account.provider && a.row.settings == account.settings)
                    // A plugin that was reloaded has another provider of the same name.
                    .filter(|a| Arc::ptr_eq(&a.provider, &provider))
                    .and_then(|a| a.channel.as_ref().ok().cloned());
                let hook_url = self.hook_url(tenant, &row, account, &provider);
                let reopen = || {
                    let settings = unseal(&self.keyring, tenant, &row, account, &provider)?;
                    self.open_account(known, &row.channel, account, &settings, hook_url.clone())
                };
                let channel = kept.map_or_else(reopen, Ok);
                let key = format!("{base}#{}", account.name);
                Some(Account {
                    lane: if n == 0 { base.as_str() } else { key.as_str() }.into(),
                    key,
                    hook_url,
                    address: known.manifest(&row.channel).map_or(AddressKind::None, |m| m.address),
                    provider,
                    channel,
                    row: account.clone(),
                })
            })
            .collect();
        Integration { row, level, accounts }
    }

    fn open_account(
        &self,
        known: &Catalog,
        channel: &str,
        account: &AccountRow,
        settings: &Settings,
        hook_url: Option<Arc<str>>,
    ) -> Result<Arc<dyn Channel>, SettingsError> {
        // A provider on the internet can't reach a server that is only known to its own machine.
        let hook_url = hook_url.filter(|_| hook::is_public(&self.config.load().server.public_url));
        known.open(channel, &account.provider, settings, &Host { hook_url, ..self.host.clone() })
    }

    fn hook_url(
        &self,
        tenant: &TenantId,
        row: &IntegrationRow,
        account: &AccountRow,
        provider: &Provider,
    ) -> Option<Arc<str>> {
        let hook = Hook {
            tenant: tenant.clone(),
            channel: row.channel.clone(),
            branch: row.branch.clone(),
            account: account.name.clone(),
        };
        let reports = provider.callbacks || provider.inbound;
        reports.then(|| hook.url(&self.keyring, &self.config.load().server.public_url).into())
    }

    pub fn host(&self) -> &Host {
        &self.host
    }
}

/// The record a secret belongs to: a sealed text moved elsewhere does not open.
pub fn record(row_channel: &str, branch: &str, account: &str) -> String {
    format!("{row_channel}/{branch}#{account}")
}

fn unseal(
    keyring: &Keyring,
    tenant: &TenantId,
    row: &IntegrationRow,
    account: &AccountRow,
    provider: &Provider,
) -> Result<Settings, SettingsError> {
    let record = record(&row.channel, &row.branch, &account.name);
    let mut settings = account.settings.clone();
    for (name, value) in &mut settings {
        if provider.is_secret(name)
            && let Value::String(sealed) = &value
        {
            let plain = keyring.open(tenant.as_str(), &record, name, sealed).map_err(|_| {
                SettingsError::new(name.as_str(), "unreadable", "can't be decrypted with this key file; set it again")
            })?;
            *value = Value::String(plain.expose_secret().to_owned());
        }
    }
    Ok(Settings(settings))
}
