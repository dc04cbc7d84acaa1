//! What every test needs: a running app on a store of its own, callers, and doubles to write to.

mod app;
mod call;
mod gate;
mod hooks;
pub mod hostile;
mod log;
mod mail_server;
mod pager;
mod shop;
mod store;
mod token;

pub use app::{JWT_SECRET, OPERATOR_KEY, TestApp};
pub use call::{Answer, Call, Caller};
pub use gate::Gate;
pub use log::{Log, on_one_thread};
pub use mail_server::MailServer;
pub use pager::{PAGER, pager, pager_with};
pub use shop::{Shop, hello};
pub use store::{TestStore, dump};
pub use token::token;

/// One test for each database: `on_each_store!(name, async |app: TestApp| { … });`, with settings after the name where
/// a test wants its own.
macro_rules! on_each_store {
    ($name:ident, $test:expr) => {
        on_each_store!($name, &[], $test);
    };
    ($name:ident, $settings:expr, $test:expr) => {
        mod $name {
            use super::*;
            use crate::support::TestStore;

            async fn behaviour(app: TestApp) {
                let test = $test;
                test(app).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                behaviour(TestApp::with(TestStore::sqlite(), $settings).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                if let Some(store) = TestStore::postgres().await {
                    behaviour(TestApp::with(store, $settings).await).await;
                }
            }
        }
    };
}
