//! The real app and router in process, with a clock that stands still.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use plugin_api::net::Names;
use recado::app::App;
use recado::clock::{Clock, FakeClock, Timestamp};
use recado::config::Config;
use sqlx::Row;
use tokio::runtime::RuntimeFlavor;

use super::{Caller, Shop, TestStore};

pub const OPERATOR_KEY: &str = "operator-key-of-the-tests-000001";
pub const JWT_SECRET: &str = "jwt-secret-of-the-tests-00000001";

/// Nine in the morning in Mexico City.
const MORNING: &str = "2026-03-02T15:00:00Z";

pub struct TestApp {
    pub app: Arc<App>,
    pub clock: Arc<FakeClock>,
    pub router: Router,
    store: Option<TestStore>,
    settings: Vec<(String, String)>,
    may_leave_work: AtomicBool,
    finished: bool,
}

impl TestApp {
    pub async fn sqlite() -> Self {
        Self::with(TestStore::sqlite(), &[]).await
    }

    /// With other settings, written as variables.
    pub async fn with(store: TestStore, settings: &[(&str, &str)]) -> Self {
        Self::build(store, settings, Names::default(), FakeClock::at(MORNING)).await
    }

    /// Where tenants' addresses get no more than in production, and names mean what `names` says.
    pub async fn strict(names: Names) -> Self {
        let settings = [("RECADO_OUTBOUND__ALLOW", "[]"), ("RECADO_OUTBOUND__ALLOW_HTTP", "false")];
        Self::build(TestStore::sqlite(), &settings, names, FakeClock::at(MORNING)).await
    }

    async fn build(store: TestStore, settings: &[(&str, &str)], names: Names, clock: Arc<FakeClock>) -> Self {
        if std::env::var_os("RUST_LOG").is_some() {
            // For whoever looks into a failure.
            let filter = tracing_subscriber::EnvFilter::from_default_env();
            let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        }
        let settings: Vec<_> = settings.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let app = App::build_with(config(&store, &settings), Some(Arc::clone(&clock) as _), names).await.unwrap();
        app.start().await.unwrap();
        let router = recado::http::router(Arc::clone(&app));
        Self { app, clock, router, store: Some(store), settings, may_leave_work: false.into(), finished: false }
    }

    /// Another process on the same store.
    pub async fn another_node(&self) -> Self {
        let store = self.store.as_ref().unwrap();
        let app = App::build(config(store, &self.settings), Some(Arc::clone(&self.clock) as _)).await.unwrap();
        let router = recado::http::router(Arc::clone(&app));
        let (clock, settings) = (Arc::clone(&self.clock), self.settings.clone());
        Self { app, clock, router, store: None, settings, may_leave_work: true.into(), finished: false }
    }

    /// The process ends in order and starts again.
    pub async fn restart(mut self) -> Self {
        self.stop().await;
        self.may_leave_work();
        let (store, clock) = (self.store.take().unwrap(), Arc::clone(&self.clock));
        Self::build(store, &[], Names::default(), clock).await
    }

    pub fn nobody(&self) -> Caller {
        Caller::nobody(self.router.clone())
    }

    pub fn operator(&self) -> Caller {
        self.nobody().with_key(OPERATOR_KEY)
    }

    /// A tenant with every phone and mail channel in the sandbox.
    pub async fn shop(&self) -> Shop {
        Shop::new(self, "Salón Uno").await
    }

    /// Sends whatever is due at the present moment.
    pub async fn deliver_due(&self) {
        let done = tokio::time::timeout(Duration::from_secs(30), self.app.engine.run_until_idle()).await;
        let state = self.app.engine.figures();
        assert!(done.is_ok(), "the engine finds no end; in memory, under way, open circuits: {state:?}");
    }

    /// Moves the clock, then sends what fell due.
    pub async fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.deliver_due().await;
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// This test ends with work that is due.
    pub fn may_leave_work(&self) {
        self.may_leave_work.store(true, Ordering::SeqCst);
    }

    pub async fn stop(&self) {
        self.app.stop().await;
    }

    /// Ends the app where it cannot be left to its drop: on a runtime of one thread.
    pub async fn close(mut self) {
        let overdue = self.finish().await;
        assert!(overdue.is_empty(), "deliveries are still due: {overdue:?}");
    }

    async fn overdue(&self) -> Vec<String> {
        let sql = "select notification_id, status, due_at from notifications where due_at <= $1";
        let rows = sqlx::query(sql).bind(self.now().0).fetch_all(&self.app.db.pool).await.unwrap();
        rows.iter()
            .map(|r| format!("{} {} {}", r.get::<String, _>(0), r.get::<String, _>(1), r.get::<i64, _>(2)))
            .collect()
    }

    async fn finish(&mut self) -> Vec<String> {
        self.finished = true;
        self.stop().await;
        let overdue = if self.may_leave_work.load(Ordering::SeqCst) { vec![] } else { self.overdue().await };
        self.app.db.pool.close().await;
        if let Some(mut store) = self.store.take() {
            store.remove().await;
        }
        overdue
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let runtime = tokio::runtime::Handle::current();
        if std::thread::panicking() {
            self.may_leave_work();
            if runtime.runtime_flavor() == RuntimeFlavor::CurrentThread {
                return; // Nothing can be waited for here, and the test has failed already.
            }
        }
        let overdue = tokio::task::block_in_place(|| runtime.block_on(self.finish()));
        assert!(overdue.is_empty(), "deliveries are still due: {overdue:?}");
    }
}

fn config(store: &TestStore, settings: &[(String, String)]) -> Config {
    let text = format!(
        "[store]\nurl = \"{}\"\nkeep_free_mib = 0\n[auth]\noperator_key = \"{OPERATOR_KEY}\"\njwt_secret = \"{JWT_SECRET}\"\n\
         [secrets]\nkey_file = \"{}\"\n[outbound]\nallow = [\"127.0.0.0/8\"]\nallow_http = true\n\
         [delivery]\ncall_timeout = \"500ms\"\nshutdown_grace = \"10s\"\n",
        store.url,
        store.folder.path().join("recado.key").display(),
    );
    Config::from_text(Some((Path::new("config.toml"), &text)), settings.iter().cloned()).unwrap()
}
