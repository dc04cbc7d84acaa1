//! A few threads with large stacks, for what tenants write: scripts and templates. Deep values and calls that they may
//! still make fit into them with room to spare; usual stacks are a hundred times smaller, and an overflow would end the
//! process.
//!
//! A thread that is free goes to the next whose turn it is, not to the next call: whoever has a thousand slow templates
//! under way holds up one of somebody else's for as long as one of theirs takes.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Reserved, not resident: only what is touched costs memory.
pub(crate) const STACK: usize = 64 * 1024 * 1024;

/// The job ended in a panic. The thread goes on.
#[derive(Debug)]
pub(crate) struct Panicked;

/// Whose work it is: a tenant's, an account's; empty, the program's own.
pub(crate) type Whose = Arc<str>;

type Job = Box<dyn FnOnce() + Send>;

struct Pool {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Default)]
struct Waiting {
    short: Line,
    /// Long work: it never takes the last thread, which is for whoever has a message to send.
    bulk: Line,
    bulk_under_way: usize,
    most_bulk: usize,
}

/// Jobs that wait, in turns: each of those who have any is served one job, then stands behind the others.
#[derive(Default)]
struct Line {
    turns: VecDeque<Whose>,
    jobs: HashMap<Whose, VecDeque<Job>>,
}

impl Line {
    fn push(&mut self, whose: &str, job: Job) {
        if let Some(jobs) = self.jobs.get_mut(whose) {
            jobs.push_back(job);
            return;
        }
        let whose = Whose::from(whose);
        self.jobs.insert(Arc::clone(&whose), VecDeque::from([job]));
        self.turns.push_back(whose);
    }

    fn pop(&mut self) -> Option<Job> {
        let whose = self.turns.pop_front()?;
        let jobs = self.jobs.get_mut(&whose)?;
        let job = jobs.pop_front();
        if jobs.is_empty() {
            self.jobs.remove(&whose);
        } else {
            self.turns.push_back(whose);
        }
        job
    }
}

impl Pool {
    fn start(threads: usize) -> Arc<Self> {
        let waiting = Waiting { most_bulk: (threads - 1).max(1), ..Waiting::default() };
        let pool = Arc::new(Self { waiting: Mutex::new(waiting), more: Condvar::new() });
        for n in 0..threads {
            let pool = Arc::clone(&pool);
            let thread = std::thread::Builder::new().name(format!("tenant-{n}")).stack_size(STACK);
            thread.spawn(move || pool.work()).expect("a process that can't start threads can't serve either");
        }
        pool
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut waiting = self.waiting();
        loop {
            if let Some(job) = waiting.short.pop() {
                drop(waiting);
                job();
                waiting = self.waiting();
            } else if let Some(job) = waiting.next_bulk() {
                waiting.bulk_under_way += 1;
                drop(waiting);
                job();
                waiting = self.waiting();
                waiting.bulk_under_way -= 1;
                // While this thread goes on with something short, another may begin what is long.
                self.more.notify_one();
            } else {
                waiting = self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    async fn run<T: Send + 'static>(
        &self,
        whose: &str,
        line: fn(&mut Waiting) -> &mut Line,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        let (tell, told) = oneshot::channel();
        let job = Box::new(move || {
            // Nobody waits for it any more.
            if !tell.is_closed() {
                let _ = tell.send(catch_unwind(AssertUnwindSafe(job)));
            }
        });
        line(&mut self.waiting()).push(whose, job);
        self.more.notify_one();
        told.await.ok().and_then(Result::ok).ok_or(Panicked)
    }
}

impl Waiting {
    fn next_bulk(&mut self) -> Option<Job> {
        if self.bulk_under_way < self.most_bulk { self.bulk.pop() } else { None }
    }
}

static POOL: LazyLock<Arc<Pool>> = LazyLock::new(|| Pool::start(threads()));

/// How many threads there are for what tenants write.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8)
}

/// Runs `job` on a thread of the pool, when it is the turn of the one it is for.
pub(crate) async fn run<T: Send + 'static>(
    whose: &str,
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Panicked> {
    POOL.run(whose, |waiting| &mut waiting.short, job).await
}

/// As [`run`], for one of many pieces of long work.
pub(crate) async fn run_bulk<T: Send + 'static>(
    whose: &str,
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Panicked> {
    POOL.run(whose, |waiting| &mut waiting.bulk, job).await
}

/// Runs `job`, which is short, on a thread of its own while the caller waits: accounts are opened while others wait for
/// their tenant, and must not stand behind somebody's slow calls.
pub(crate) fn run_blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Result<T, Panicked> {
    with_stack(STACK, job)
}

fn with_stack<T: Send + 'static>(stack: usize, job: impl FnOnce() -> T + Send + 'static) -> Result<T, Panicked> {
    let job = || catch_unwind(AssertUnwindSafe(job));
    let thread = std::thread::Builder::new().name("tenant-compile".to_owned()).stack_size(stack).spawn(job);
    thread.ok().and_then(|t| t.join().ok()).and_then(Result::ok).ok_or(Panicked)
}

/// Runs `job` where there is a quarter of the room that there will be: what fits there has a margin.
#[cfg(test)]
pub(crate) fn run_in_a_quarter<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    with_stack(STACK / 4, job).expect("it panics")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    use futures_util::FutureExt;
    use futures_util::future::join_all;

    use super::*;

    /// A pool of one thread, which is busy until the sender is dropped.
    fn busy_pool() -> (Arc<Pool>, mpsc::Sender<()>) {
        let pool = Pool::start(1);
        let (hold, held) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        let first = Box::new(move || {
            begun.send(()).unwrap();
            let _ = held.recv();
        });
        pool.waiting().short.push("first", first);
        pool.more.notify_one();
        begins.recv().unwrap();
        (pool, hold)
    }

    /// In which order calls are served that came in this order.
    async fn served(calls: &[&'static str], line: fn(&mut Waiting) -> &mut Line) -> Vec<&'static str> {
        let (pool, hold) = busy_pool();
        let order: Arc<Mutex<Vec<&str>>> = Arc::default();
        let runs = calls.iter().map(|whose| {
            let (order, whose) = (Arc::clone(&order), *whose);
            pool.run(whose, line, move || order.lock().unwrap().push(whose))
        });
        let (all, ()) = tokio::join!(join_all(runs), async { drop(hold) });
        assert!(all.iter().all(Result::is_ok));
        Arc::into_inner(order).unwrap().into_inner().unwrap()
    }

    #[tokio::test]
    async fn a_thread_goes_to_the_next_tenant_not_to_the_next_call() {
        let calls = ["a", "a", "a", "a", "b", "a", "c", "b"];
        let expected = ["a", "b", "c", "a", "b", "a", "a", "a"];
        assert_eq!(served(&calls, |waiting| &mut waiting.short).await, expected);
        assert_eq!(served(&calls, |waiting| &mut waiting.bulk).await, expected);
    }

    #[tokio::test]
    async fn what_is_short_goes_before_long_work() {
        let (pool, hold) = busy_pool();
        let order: Arc<Mutex<Vec<&str>>> = Arc::default();
        let note = |word| {
            let order = Arc::clone(&order);
            move || order.lock().unwrap().push(word)
        };
        let long = pool.run("a", |waiting| &mut waiting.bulk, note("long"));
        let short = pool.run("a", |waiting| &mut waiting.short, note("short"));
        let _ = tokio::join!(long, short, async { drop(hold) });
        assert_eq!(*order.lock().unwrap(), ["short", "long"]);
    }

    #[tokio::test]
    async fn long_work_leaves_a_thread_free() {
        let pool = Pool::start(2);
        let (hold, held) = mpsc::channel::<()>();
        let held = Mutex::new(held);
        let long = pool.run("one", |waiting| &mut waiting.bulk, move || held.lock().unwrap().recv().is_err());
        let more = pool.run("two", |waiting| &mut waiting.bulk, || ());
        let short = async {
            // It would never be served if the other two had a thread each.
            pool.run("two", |waiting| &mut waiting.short, || ()).await.unwrap();
            drop(hold);
        };
        let (long, more, ()) = tokio::join!(long, more, short);
        assert!(long.unwrap() && more.is_ok());
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_not_begun_and_a_panic_ends_one_job() {
        let (pool, hold) = busy_pool();
        let begun = Arc::new(AtomicBool::new(false));
        let notes = Arc::clone(&begun);
        let abandoned = pool.run("a", |waiting| &mut waiting.short, move || notes.store(true, Ordering::SeqCst));
        assert!(abandoned.now_or_never().is_none());
        drop(hold);
        assert!(pool.run("a", |waiting| &mut waiting.short, || panic!("on purpose")).await.is_err());
        assert_eq!(pool.run("a", |waiting| &mut waiting.short, || 7).await.unwrap(), 7);
        assert!(!begun.load(Ordering::SeqCst));
    }
}
