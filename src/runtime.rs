//! The threads that the gateway works on: its own, and some with stacks as large as those of the pool, apart from them.
//! Channels that scripts describe are worked on there, call and all, so that a script that is over at once costs no change
//! of threads. One that is not goes to the pool, where each has its turn ([`crate::script::Script::call_at_once`]).

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::sync::LazyLock;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::pool::STACK;

thread_local! {
    static ROOMY: Cell<bool> = const { Cell::new(false) };
}

/// Made with the first message for a channel that a script describes.
static WITH_ROOM: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = builder();
    // Connections are looked after between any few calls, which take longer than what other tasks do at a time. Looking
    // up names is all that blocks, and needs no such stacks.
    builder.event_interval(16).max_blocking_threads(16);
    builder.thread_name("tenant-calls").thread_stack_size(STACK).on_thread_start(|| ROOMY.set(true));
    builder.build().expect("a process that can't start threads can't serve either")
});

/// The one that everything runs on but scripts.
pub fn gateway() -> io::Result<Runtime> {
    builder().build()
}

/// With a thread on every core, they and the store's thread spend a good part of their time waking each other up.
fn builder() -> Builder {
    let cores = available_parallelism().map_or(1, usize::from);
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(cores.saturating_sub(1).max(1)).enable_all();
    builder
}

/// As [`tokio::spawn`], on threads with room for scripts.
pub fn spawn_with_room<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    WITH_ROOM.spawn(task)
}

/// Whether this thread has room for a script, and may be held up by a short one.
pub(crate) fn has_room() -> bool {
    ROOMY.get()
}
