//! The threads that the gateway works on. Their stacks are as large as those of the pool, so that the operator's scripts
//! which are over at once run where their message is worked on and cost no change of threads; whatever takes longer, and
//! whatever a tenant wrote, goes to the pool, where each has its turn ([`crate::script::Script::call_at_once`]).

use std::cell::Cell;
use std::io;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Runtime};

use crate::pool::STACK;

thread_local! {
    static ROOMY: Cell<bool> = const { Cell::new(false) };
}

/// The one that everything runs on.
pub fn gateway() -> io::Result<Runtime> {
    // With a thread on every core, they and the store's thread spend a good part of their time waking each other up.
    let cores = available_parallelism().map_or(1, usize::from);
    Builder::new_multi_thread()
        .worker_threads(cores.saturating_sub(1).max(1))
        // Not hundreds of such stacks: looking up names and files is all that blocks.
        .max_blocking_threads(32)
        .thread_stack_size(STACK)
        .on_thread_start(|| ROOMY.set(true))
        .enable_all()
        .build()
}

/// Whether this thread has room for a script, and may be held up by a short one.
pub(crate) fn has_room() -> bool {
    ROOMY.get()
}
