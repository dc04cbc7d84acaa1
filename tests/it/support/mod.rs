//! What every test needs: a running app on a store of its own, callers, and doubles to write to.

mod app;
mod call;
mod shop;
mod store;

pub use app::{JWT_SECRET, OPERATOR_KEY, TestApp};
pub use call::{Answer, Call, Caller};
pub use shop::{Shop, hello};
pub use store::{TestStore, dump};

/// One test for each database: `on_each_store!(name, async |app: TestApp| { … });`.
macro_rules! on_each_store {
    ($name:ident, $test:expr) => {
        mod $name {
            use super::*;

            async fn behaviour(app: TestApp) {
                let test = $test;
                test(app).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                behaviour(TestApp::sqlite().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                if let Some(app) = TestApp::postgres().await {
                    behaviour(app).await;
                }
            }
        }
    };
}
