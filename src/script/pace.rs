//! Whether a script's calls are over so soon that they need no turn of their own.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use super::run::Allowed;

/// What a call may use where it holds up others. Less than changing threads there and back takes on a busy machine, many
/// times what a request takes to describe.
pub(super) const SHORT: Allowed = Allowed { operations: 2_000, time: Duration::from_millis(1), short: true };

/// A call that was over before anybody looked at the clock and still took longer than this was not short: few operations
/// may be much work each. Some of it may have been waiting for a processor.
pub(super) const LONG: Duration = Duration::from_millis(1);

/// After a call that was not short, so many wait for their turns before one is tried again.
const TURNS: u32 = 100;

/// Of one account's calls.
#[derive(Default)]
pub(super) struct Pace(AtomicU32);

impl Pace {
    pub(super) fn is_quick(&self) -> bool {
        self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_err()
    }

    pub(super) fn slow_down(&self) {
        self.0.store(TURNS, Relaxed);
    }
}
