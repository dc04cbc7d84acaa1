//! What the program writes into its log.

use std::sync::{Arc, Mutex, Once};

use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;

#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Takes what this thread writes from this level on, for as long as the guard lives.
    pub fn capture(&self, level: &str) -> DefaultGuard {
        // Who logs remembers whether anybody listens at all. With a listener for good that is never found to be nobody,
        // while another test begins or ends.
        static SOMEBODY: Once = Once::new();
        SOMEBODY.call_once(|| {
            let nowhere = tracing_subscriber::fmt::layer().with_writer(std::io::sink);
            let _ = tracing_subscriber::registry()
                .with(tracing_subscriber::EnvFilter::new("info"))
                .with(nowhere)
                .try_init();
        });
        let filter = tracing_subscriber::EnvFilter::new(level);
        let layer = tracing_subscriber::fmt::layer().with_writer(self.clone()).with_ansi(false);
        tracing_subscriber::registry().with(filter).with(layer).set_default()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// On one thread, so that the log of other tests stays out of it, and theirs has none of it.
pub fn on_one_thread(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
