//! A few threads with large stacks, for what tenants write: scripts and templates. Deep values and calls that they may
//! still make fit into them with room to spare; on a stack of the usual size an overflow would end the process.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tokio::sync::{Semaphore, oneshot};

/// Reserved, not resident: only what is touched costs memory.
const STACK: usize = 64 * 1024 * 1024;

/// Calls that wait for a thread; who comes later waits outside.
const QUEUE: usize = 256;

/// The job ended in a panic. The thread goes on.
#[derive(Debug)]
pub(crate) struct Panicked;

type Job = Box<dyn FnOnce() + Send>;

thread_local! {
    /// This thread's stack is as large as the pool's.
    static ROOMY: Cell<bool> = const { Cell::new(false) };
}

/// The program's runtime. Its threads have the same large stacks, so that what is over soon need not change threads,
/// which takes longer than most scripts do.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().thread_stack_size(STACK).on_thread_start(|| ROOMY.set(true)).build()
}

/// Runs `job`, which is over soon, on this thread; `None` where the stack is too small for it.
pub(crate) fn run_here<T>(job: impl FnOnce() -> T) -> Option<Result<T, Panicked>> {
    ROOMY.get().then(|| catch_unwind(AssertUnwindSafe(job)).map_err(|_| Panicked))
}

struct Pool {
    jobs: Sender<Job>,
    room: Arc<Semaphore>,
    /// One fewer than there are threads: long work leaves one to whoever has a message to send.
    bulk: Arc<Semaphore>,
}

static POOL: LazyLock<Pool> = LazyLock::new(|| {
    let (jobs, queue) = channel();
    let queue = Arc::new(Mutex::new(queue));
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
    for n in 0..threads {
        let queue = Arc::clone(&queue);
        let thread = std::thread::Builder::new().name(format!("tenant-{n}")).stack_size(STACK);
        thread.spawn(move || work(&queue)).expect("a process that can't start threads can't serve either");
    }
    Pool { jobs, room: Arc::new(Semaphore::new(QUEUE + threads)), bulk: Arc::new(Semaphore::new(threads - 1)) }
});

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}

/// Runs `job` on a thread of the pool.
pub(crate) async fn run<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Result<T, Panicked> {
    let room = Arc::clone(&POOL.room).acquire_owned().await;
    let (tell, told) = oneshot::channel();
    let job = move || {
        // The place is kept until the work is done, also when nobody waits for it any more.
        let _room = room;
        let _ = tell.send(catch_unwind(AssertUnwindSafe(job)));
    };
    let _ = POOL.jobs.send(Box::new(job));
    told.await.ok().and_then(Result::ok).ok_or(Panicked)
}

/// As [`run`], for one of many pieces of long work.
pub(crate) async fn run_bulk<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Result<T, Panicked> {
    let turn = Arc::clone(&POOL.bulk).acquire_owned().await;
    run(move || {
        let _turn = turn;
        job()
    })
    .await
}

/// Runs `job`, which is short, on a thread of its own while the caller waits: accounts are opened while others wait for
/// their tenant, and must not stand behind somebody's slow calls.
pub(crate) fn run_blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Result<T, Panicked> {
    let job = || catch_unwind(AssertUnwindSafe(job));
    let thread = std::thread::Builder::new().name("tenant-compile".to_owned()).stack_size(STACK).spawn(job);
    thread.ok().and_then(|t| t.join().ok()).and_then(Result::ok).ok_or(Panicked)
}
