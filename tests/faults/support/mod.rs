//! The program as a process, callers over the network, a receiver that counts, and the sums at the end.

mod api;
mod audit;
mod house;
mod load;
mod mail;
mod pg_proxy;
mod sink;
// What the other suite has already; it has a use for all of it.
#[allow(dead_code)]
#[path = "../../it/support/hostile.rs"]
pub mod hostile;
#[allow(dead_code)]
#[path = "../../it/support/pager.rs"]
mod pager;
#[allow(dead_code)]
#[path = "../../it/support/store.rs"]
mod store;

use std::future::Future;
use std::time::{Duration, Instant};

pub use api::{Answer, Api, Shop, note};
pub use audit::{audit, drained, number, time_passes};
pub use house::{House, Server};
pub use load::{Ledger, Load};
pub use mail::MailSink;
pub use pager::pager_with;
pub use pg_proxy::{PgProxy, Rule};
pub use sink::Sink;
pub use store::TestStore;

/// One test for each database: `on_each_store!(name, async |store: TestStore| { … });`.
macro_rules! on_each_store {
    ($name:ident, $test:expr) => {
        mod $name {
            use super::*;
            use crate::support::TestStore;

            async fn behaviour(store: TestStore) {
                let test = $test;
                test(store).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                behaviour(TestStore::sqlite()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                if let Some(store) = TestStore::postgres().await {
                    behaviour(store).await;
                }
            }
        }
    };
}

/// Looks again and again until it is so; the process outside can't be asked to tell.
pub async fn eventually<F: Future<Output = bool>>(what: &str, patience: Duration, mut so: impl FnMut() -> F) {
    let end = Instant::now() + patience;
    while !so().await {
        assert!(Instant::now() < end, "within {patience:?} it did not come about that {what}");
        pause(Duration::from_millis(50)).await;
    }
}

/// Lets the process outside go on for a while.
pub async fn pause(for_so_long: Duration) {
    tokio::time::sleep(for_so_long).await;
}
