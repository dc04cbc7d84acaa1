//! Connections between messages. One is kept a short while, and given out again only if the server has not said a
//! word since.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::connection::Connection;

/// Servers close idle connections after some minutes; going first avoids the race.
const IDLE: Duration = Duration::from_mins(1);
/// Messages over one connection: large receivers cut off at a hundred or so.
const MESSAGES: u32 = 100;
/// Kept at most; beyond it a finished connection is closed at once.
const KEPT: usize = 64;

#[derive(Default)]
pub(crate) struct Pool {
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// The freshest last.
    connections: Vec<Connection>,
    /// A task is waiting to close what grows old.
    watched: bool,
}

impl Pool {
    /// The freshest connection that is still good.
    pub(crate) fn take(&self) -> Option<Connection> {
        let mut idle = self.lock();
        while let Some(mut connection) = idle.connections.pop() {
            if connection.idle_since.elapsed() < IDLE && connection.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection that is fit for another message, and drops any other.
    pub(crate) fn put(self: &Arc<Self>, mut connection: Connection) {
        if !connection.in_step || connection.carried >= MESSAGES {
            if connection.in_step {
                tokio::spawn(connection.quit());
            }
            return;
        }
        connection.idle_since = Instant::now();
        let mut idle = self.lock();
        if idle.connections.len() < KEPT {
            idle.connections.push(connection);
        }
        if !idle.watched {
            idle.watched = true;
            tokio::spawn(close_when_old(Arc::downgrade(self)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        // What a panicking thread left behind is still a list of connections.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs while there is something to close, and ends with the account.
async fn close_when_old(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(IDLE).await;
        let Some(pool) = pool.upgrade() else { return };
        let (old, done) = {
            let mut idle = pool.lock();
            let fresh = idle.connections.iter().position(|c| c.idle_since.elapsed() < IDLE);
            let count = fresh.unwrap_or(idle.connections.len());
            let old: Vec<_> = idle.connections.drain(..count).collect();
            idle.watched = !idle.connections.is_empty();
            (old, !idle.watched)
        };
        for connection in old {
            connection.quit().await;
        }
        if done {
            return;
        }
    }
}
