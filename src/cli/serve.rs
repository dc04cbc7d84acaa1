//! `recado serve`: listen, reload, and stop in order.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use super::{Done, Failure, start_failure};
use crate::app::{App, check_channels};
use crate::config::{Config, DEFAULT_FILE, LogFormat, process_env};
use crate::plugins::Registry;

/// Changes the log level of the running process.
type SetLevel = Box<dyn Fn(&str) + Send + Sync>;

pub(super) async fn serve(config: Config, file: Option<PathBuf>) -> Done {
    let set_level = logging(&config);
    let lock = lock_store(&config)?;
    let listen = config.server.listen;
    let app = App::build(config, None).await.map_err(start_failure)?;
    let listener = bind(listen).await?;
    app.start().await?;
    tracing::info!(address = %listener.local_addr()?, store = app.db.engine.name(), "listening");
    let reloads = tokio::spawn(watch(Arc::clone(&app), file, set_level));
    let served = listen_and_serve(Listening { app, listener, on_start: Box::pin(async {}) }).await;
    reloads.abort();
    drop(lock);
    served
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    let bound = TcpListener::bind(address).await;
    Ok(bound.with_context(|| format!("server.listen: can't listen on {address}; is another server running?"))?)
}

/// What is served, and what is done once it is.
pub(crate) struct Listening {
    pub app: Arc<App>,
    pub listener: TcpListener,
    pub on_start: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Serves until SIGTERM or SIGINT, then finishes what is under way; a second signal ends the process at once.
pub(crate) async fn listen_and_serve(listening: Listening) -> Done {
    let Listening { app, listener, on_start } = listening;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    app.run();
    tokio::spawn(on_start);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(crate::http::serve(listener, Arc::clone(&app), async {
        let _ = stopped.await;
    }));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    app.set_ready(false);
    let _ = stop.send(());
    let finish = async {
        // Requests first, so that none is accepted after the writer has gone; stalled callers are not waited for.
        let _ = tokio::time::timeout(Duration::from_secs(3), server).await;
        app.stop().await;
    };
    tokio::select! {
        () = finish => {}
        () = again(&mut terminate, &mut interrupt) => return Err(Failure { code: 130, message: "stopped at once by a second signal".into() }),
    }
    tracing::info!("stopped");
    Ok(())
}

async fn again(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// One process per SQLite file. The lock lies beside it and is the kernel's, so a killed process leaves none behind.
fn lock_store(config: &Config) -> Result<Option<std::fs::File>, Failure> {
    if !config.store.url.is_sqlite() {
        return Ok(None);
    }
    let url = config.store.url.expose();
    let path = url.trim_start_matches("sqlite:").trim_start_matches("//");
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    if let Some(folder) = Path::new(path).parent().filter(|f| !f.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("store.url: can't make the folder {}", folder.display()))?;
    }
    let file = std::fs::File::create(format!("{path}.lock"))
        .with_context(|| format!("store.url: can't write beside {path}"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Err(Failure {
            code: super::SOFTWARE,
            message: format!(
                "store.url: another recado serves {path}; stop it, or move to PostgreSQL for several nodes"
            ),
        }),
        Err(std::fs::TryLockError::Error(e)) => Err(e.into()),
    }
}

/// Logs to stdout. `RUST_LOG` goes before `log.level`.
fn logging(config: &Config) -> SetLevel {
    let from_environment = std::env::var("RUST_LOG").ok().filter(|f| !f.is_empty());
    let fixed = from_environment.is_some();
    let filter = EnvFilter::new(from_environment.unwrap_or_else(|| config.log.level.clone()));
    let (filter, handle) = reload::Layer::new(filter);
    let registry = tracing_subscriber::registry().with(filter);
    let _ = match config.log.format {
        LogFormat::Json => registry.with(tracing_subscriber::fmt::layer().json().flatten_event(true)).try_init(),
        LogFormat::Text => registry.with(tracing_subscriber::fmt::layer()).try_init(),
    };
    Box::new(move |level| {
        if !fixed {
            let _ = handle.reload(EnvFilter::new(level));
        }
    })
}

/// Reloads on SIGHUP and when the file changes, within two seconds.
async fn watch(app: Arc<App>, file: Option<PathBuf>, set_level: SetLevel) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    let path = file.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    let mut seen = changed_at(&path);
    loop {
        tokio::select! {
            _ = hangup.recv() => {}
            () = tokio::time::sleep(Duration::from_secs(1)) => {
                let now = changed_at(&path);
                if now == seen {
                    continue;
                }
                seen = now;
            }
        }
        match Config::load(file.as_deref(), process_env()) {
            Ok(fresh) => match plugins_of(&fresh) {
                Ok(plugins) => {
                    set_level(&fresh.log.level);
                    app.exchange_plugins(plugins);
                    app.reload(fresh);
                }
                Err(e) => tracing::error!(error = %e, "configuration not reloaded"),
            },
            Err(e) => tracing::error!(error = %e, "configuration not reloaded"),
        }
    }
}

/// The channels a configuration makes, each of which it may mention.
fn plugins_of(config: &Config) -> anyhow::Result<Registry> {
    let plugins = Registry::load(config.paths.plugins.as_deref())?;
    check_channels(config, &plugins)?;
    Ok(plugins)
}

fn changed_at(path: &Path) -> Option<(SystemTime, u64)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}
