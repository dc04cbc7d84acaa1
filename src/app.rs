//! Everything that is built once and shared.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use plugin_api::Host;
use plugin_api::http::Http;
use plugin_api::net::{Guard, Names};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::clock::{AnchoredClock, SharedClock, SystemClock, Timestamp};
use crate::config::Config;
use crate::deliver::Engine;
use crate::http::auth::{BadCredentials, KeyCache};
use crate::ids::TenantId;
use crate::jwt::Verifier;
use crate::plugins::Registry;
use crate::scripts::Scripts;
use crate::secrets::Keyring;
use crate::store::{Db, Engine as StoreEngine, lanes, notifications};
use crate::template::Templates;
use crate::tenant::Tenants;
use crate::turns::Turns;
use crate::writer::{self, Op, Writer};

/// The configuration of this moment; a reload puts another one in its place.
pub type SharedConfig = Arc<ArcSwap<Config>>;

const IMPORTS_AT_ONCE: usize = 4;
/// Of each tenant.
const SEGMENTS_AT_ONCE: usize = 2;
const SEGMENTS_WAITING: usize = 8;

pub struct App {
    pub config: SharedConfig,
    pub db: Db,
    pub clock: SharedClock,
    pub plugins: Arc<Registry>,
    pub templates: Arc<Templates>,
    pub scripts: Arc<Scripts>,
    pub keyring: Arc<Keyring>,
    pub tenants: Arc<Tenants>,
    pub engine: Arc<Engine>,
    pub tokens: Verifier,
    pub keys: KeyCache,
    pub bad_credentials: BadCredentials,
    pub metrics: PrometheusHandle,
    /// Turns at taking a file in: each holds a connection and a batch.
    pub imports: Semaphore,
    /// Turns at running a segment: each holds batches of contacts.
    pub segment_runs: Turns,
    in_flight: Mutex<HashSet<(TenantId, String)>>,
    ready: std::sync::atomic::AtomicBool,
    writer_task: Mutex<Option<tokio::task::JoinHandle<()>>>,
    /// PostgreSQL only: read again and again, so that nodes agree on the time.
    anchor: Option<Arc<AnchoredClock>>,
}

impl App {
    /// Opens the store and starts the writer; nothing is sent until [`App::start`]. `clock` replaces the real one.
    pub async fn build(config: Config, clock: Option<SharedClock>) -> anyhow::Result<Arc<Self>> {
        Self::build_with(config, clock, Names::default()).await
    }

    /// As [`App::build`], with somebody else to ask what a host name means.
    pub async fn build_with(config: Config, clock: Option<SharedClock>, names: Names) -> anyhow::Result<Arc<Self>> {
        let reserve = config.store.keep_free_mib.map_or(0, |mib| u64::from(mib.get()) << 20);
        let db = Db::open(config.store.url.expose()).await?.keep_free(reserve)?;
        let keyring = Arc::new(Keyring::load_or_create(&config.secrets.key_file).context("secrets.key_file")?);
        let tokens = Verifier::new(&config.auth)?;
        let plugins = Arc::new(Registry::load(config.paths.plugins.as_deref())?);
        check_channels(&config, &plugins)?;
        let templates = Arc::new(match &config.paths.templates {
            Some(folder) => Templates::with_overlay(folder)?,
            None => Templates::builtin(),
        });
        let scripts = Arc::new(match &config.paths.scripts {
            Some(folder) => Scripts::with_overlay(folder).await?,
            None => Scripts::builtin(),
        });
        let mut anchor = None;
        let clock = match clock {
            Some(clock) => clock,
            None if db.engine == StoreEngine::Postgres => {
                let anchored = Arc::new(AnchoredClock::new(db.server_time().await?));
                anchor = Some(Arc::clone(&anchored));
                anchored
            }
            None => Arc::new(SystemClock) as SharedClock,
        };
        let host = host(&config, names);
        let settings = writer::Settings {
            node: Uuid::now_v7().to_string().into(),
            lease: config.delivery.lease,
            lane_lease: Duration::from_secs(15),
        };
        let config: SharedConfig = Arc::new(ArcSwap::from_pointee(config));
        let tenants = Tenants::new(
            db.clone(),
            Arc::clone(&config),
            Arc::clone(&plugins),
            Arc::clone(&keyring),
            Arc::clone(&templates),
            host,
        );
        let (handle, ops) = Writer::new();
        let engine = Engine::new(handle, Arc::clone(&clock), Arc::clone(&config), db.clone(), Arc::clone(&tenants));
        let task = tokio::spawn(writer::run(ops, db.clone(), Arc::clone(&clock), Arc::clone(&engine), settings));
        Ok(Arc::new(Self {
            config,
            db,
            clock,
            plugins,
            templates,
            scripts,
            keyring,
            tenants,
            engine,
            tokens,
            keys: KeyCache::default(),
            bad_credentials: BadCredentials::default(),
            metrics: recorder(),
            imports: Semaphore::new(IMPORTS_AT_ONCE),
            segment_runs: Turns::new(SEGMENTS_AT_ONCE, SEGMENTS_WAITING),
            in_flight: Mutex::default(),
            ready: false.into(),
            writer_task: Mutex::new(Some(task)),
            anchor,
        }))
    }

    /// Voids what an earlier process on this store left behind, and opens for business.
    pub async fn start(self: &Arc<Self>) -> anyhow::Result<()> {
        if self.db.engine == StoreEngine::Sqlite {
            lanes::void_owners_any_tenant(&self.db.pool).await?;
            let voided = notifications::void_leases_any_tenant(&self.db.pool, self.clock.now()).await?;
            if voided > 0 {
                tracing::info!(notifications = voided, "taken over from a process that ended without saying goodbye");
            }
        }
        self.set_ready(true);
        Ok(())
    }

    /// Runs the loops until [`App::stop`].
    pub fn run(self: &Arc<Self>) {
        tokio::spawn(Arc::clone(&self.engine).run());
        if let Some(anchor) = self.anchor.clone() {
            let db = self.db.clone();
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(Duration::from_secs(30)).await;
                    if let Ok(now) = db.server_time().await {
                        anchor.anchor(now);
                    }
                }
            });
        }
    }

    /// Stops claiming, finishes calls, writes what is owed.
    pub async fn stop(&self) {
        self.set_ready(false);
        let grace = self.config.load().delivery.shutdown_grace;
        self.engine.stop(grace).await;
        self.engine.writer.send(Op::Stop).await;
        let task = self.writer_task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            let _ = tokio::time::timeout(Duration::from_secs(5), task).await;
        }
    }

    pub fn is_ready(&self) -> bool {
        self.ready.load(std::sync::atomic::Ordering::Relaxed)
    }

    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, std::sync::atomic::Ordering::Relaxed);
    }

    /// Puts other channels in the place of those there are. Accounts whose plugin changed are opened anew; calls under
    /// way end as they began.
    pub fn exchange_plugins(&self, fresh: Registry) {
        self.plugins.replace(fresh);
        self.tenants.refresh_all();
    }

    /// Puts a freshly read configuration in force; what needs a restart keeps its old value and is named in the log.
    pub fn reload(&self, fresh: Config) {
        let old = self.config.load_full();
        for key in crate::config::reloadable(&old, &fresh) {
            tracing::warn!(key, "changed, but only a restart puts it in force");
        }
        let mut merged = (*old).clone();
        merged.channels = fresh.channels;
        merged.paths.plugins = fresh.paths.plugins;
        self.config.store(Arc::new(merged));
        self.engine.stir();
        tracing::info!("configuration reloaded");
    }

    /// Marks an Idempotency-Key as running on this node; `None` when it already is.
    pub fn enter(self: &Arc<Self>, tenant: &TenantId, key: &str) -> Option<InFlight> {
        let entry = (tenant.clone(), key.to_owned());
        let mut running = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        running.insert(entry.clone()).then(|| InFlight { app: Arc::clone(self), entry })
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// While it lives, the key counts as running.
pub struct InFlight {
    app: Arc<App>,
    entry: (TenantId, String),
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.app.in_flight.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.entry);
    }
}

fn host(config: &Config, names: Names) -> Host {
    let own = url::Url::parse(&config.server.public_url).ok();
    let own_host = own.as_ref().and_then(url::Url::host_str).unwrap_or("localhost").to_owned();
    let guard = Arc::new(Guard {
        allow: config.outbound.allow.clone(),
        allow_http: config.outbound.allow_http,
        own_hosts: vec![own_host.clone()],
        names,
    });
    Host {
        http: Http::new(Arc::clone(&guard), config.delivery.call_timeout),
        guard,
        timeout: config.delivery.call_timeout,
        hostname: own_host.into(),
        hook_url: None,
    }
}

/// A switch for a channel that does not exist is a typing mistake.
pub fn check_channels(config: &Config, plugins: &Registry) -> anyhow::Result<()> {
    for name in config.channels.keys() {
        if !plugins.has(name) {
            let known = plugins.names();
            let nearest = crate::suggest::nearest(name, known.iter().map(|n| &**n))
                .map(|n| format!(" (did you mean \"{n}\"?)"))
                .unwrap_or_default();
            anyhow::bail!("channels.{name}: there is no such channel{nearest}");
        }
    }
    Ok(())
}

fn recorder() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let seconds = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0];
            let builder = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &seconds)
                .expect("the buckets are constants");
            let recorder = builder.build_recorder();
            let handle = recorder.handle();
            // Fails only where somebody else counts already; then this handle stays empty.
            let _ = metrics::set_global_recorder(recorder);
            handle
        })
        .clone()
}
