//! A runtime whose threads have stacks as large as those of the pool, apart from the gateway's own: channels that scripts
//! describe are worked on there, call and all, so that a script that is over at once costs no change of threads. One that
//! is not goes to the pool, where each has its turn ([`crate::script::Script::call_at_once`]).

use std::cell::Cell;
use std::future::Future;
use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::pool::{STACK, threads};

thread_local! {
    static HERE: Cell<bool> = const { Cell::new(false) };
}

/// Made with the first message for such a channel.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads()).thread_name("tenant-calls").thread_stack_size(STACK).enable_all();
    builder.on_thread_start(|| HERE.set(true));
    builder.build().expect("a process that can't start threads can't serve either")
});

/// As [`tokio::spawn`], on threads with room for scripts.
pub fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    RUNTIME.spawn(task)
}

/// Whether this thread has room for a script, and may be held up by a short one.
pub(crate) fn is_here() -> bool {
    HERE.get()
}
