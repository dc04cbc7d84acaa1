//! What belongs to the call under way on this thread: how far it may go, its log, the secrets lent to it.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use rhai::Dynamic;

use super::Secrets;
use super::engine::Budget;

/// Lines of log that are kept, and characters of each.
const LINES: usize = 50;
const LINE: usize = 200;

/// Looked at before each operation, so it holds nothing that must be borrowed.
struct Meter {
    operations: Cell<u64>,
    allowed: Cell<Allowed>,
    /// Set when the call has lasted long enough to be worth the question what time it is.
    deadline: Cell<Option<Instant>>,
    /// What the process held when the call had lasted long enough to be worth that question.
    held: Cell<Option<usize>>,
    stop: Cell<Option<Stop>>,
}

/// What a call may use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowed {
    pub operations: u64,
    pub time: Duration,
    /// Less than a script of its kind may: stopped here it is not at fault.
    pub short: bool,
}

impl Allowed {
    const NOTHING: Self = Self { operations: 0, time: Duration::ZERO, short: false };
}

impl From<Budget> for Allowed {
    fn from(budget: Budget) -> Self {
        Self { operations: budget.operations, time: budget.time, short: false }
    }
}

/// Why the engine was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Late,
    /// The process grew too much meanwhile.
    Bloated,
    /// It needs more than a short call may.
    Long,
}

/// How often the clock is asked, in a short call and in others, and how often the memory.
const CLOCK_WHEN_SHORT: u64 = 32;
const CLOCK: u64 = 64;
const MEMORY: u64 = 2048;
/// Bytes by which the process may grow while a script runs that has lasted so long. The engine weighs what functions
/// return, but neither keys that are put into a map one by one nor items that take another's place: with those, a script
/// could hold a gigabyte before its operations are used up.
const GROWTH: usize = 256 * 1024 * 1024;

thread_local! {
    static METER: Meter = const {
        Meter {
            operations: Cell::new(0),
            allowed: Cell::new(Allowed::NOTHING),
            deadline: Cell::new(None),
            held: Cell::new(None),
            stop: Cell::new(None),
        }
    };
    static LOG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static SECRETS: RefCell<Option<Secrets>> = const { RefCell::new(None) };
}

/// What a call left behind.
pub(super) struct Run {
    pub operations: u64,
    /// It was stopped, or should have been.
    pub stop: Option<Stop>,
    /// It lasted long enough for somebody to look at the clock.
    pub timed: bool,
    pub log: Vec<String>,
}

pub(super) fn begin(allowed: Allowed) {
    // A call that panicked has taken nothing along.
    LOG.take();
    SECRETS.take();
    METER.with(|meter| {
        meter.operations.set(0);
        meter.allowed.set(allowed);
        // A long call would have run for a while before its time began to count.
        meter.deadline.set(allowed.short.then(|| Instant::now() + allowed.time));
        meter.held.set(None);
        meter.stop.set(None);
    });
}

pub(super) fn end() -> Run {
    METER.with(|meter| Run {
        operations: meter.operations.get(),
        stop: meter.stop.get(),
        timed: meter.deadline.get().is_some(),
        log: LOG.take(),
    })
}

pub(super) fn lend(secrets: Secrets) {
    SECRETS.set(Some(secrets));
}

/// The secrets lent, and what was made of them.
pub(super) fn give_back() -> Secrets {
    SECRETS.take().unwrap_or_default()
}

/// Called by the engine before each operation; a value ends the script.
pub(super) fn progress(operations: u64) -> Option<Dynamic> {
    METER.with(|meter| {
        meter.operations.set(operations);
        // Asking for the time costs more than an operation.
        let clock = if meter.allowed.get().short { CLOCK_WHEN_SHORT } else { CLOCK };
        if operations.is_multiple_of(clock) {
            let now = Instant::now();
            match meter.deadline.get() {
                Some(deadline) if now > deadline => meter.stop(meter.late()),
                Some(_) => {}
                None => meter.deadline.set(Some(now + meter.allowed.get().time)),
            }
            if meter.allowed.get().short && operations > meter.allowed.get().operations {
                meter.stop(Stop::Long);
            }
            if operations.is_multiple_of(MEMORY)
                && let Some(holds) = resident()
            {
                match meter.held.get() {
                    Some(held) if holds > held + GROWTH => meter.stop(Stop::Bloated),
                    Some(_) => {}
                    None => meter.held.set(Some(holds)),
                }
            }
        }
        meter.stop.get().map(|_| Dynamic::UNIT)
    })
}

impl Meter {
    fn late(&self) -> Stop {
        if self.allowed.get().short { Stop::Long } else { Stop::Late }
    }

    /// The first reason counts.
    fn stop(&self, why: Stop) {
        if self.stop.get().is_none() {
            self.stop.set(Some(why));
        }
    }
}

/// Bytes of memory that this process holds, where the system says so.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?;
    kilobytes.parse::<usize>().ok().map(|kilobytes| kilobytes * 1024)
}

pub(super) fn print(text: &str) {
    LOG.with_borrow_mut(|log| {
        if log.len() < LINES {
            log.push(text.chars().take(LINE).flat_map(escape).collect());
        }
    });
}

/// A line stays a line, and a terminal is not spoken to.
fn escape(c: char) -> impl Iterator<Item = char> {
    let escaped = c.is_control().then(|| c.escape_default());
    let plain = escaped.is_none().then_some(c);
    escaped.into_iter().flatten().chain(plain)
}

/// The secrets lent to this call.
pub(super) fn secrets<T: Default>(f: impl FnOnce(&mut Secrets) -> T) -> T {
    SECRETS.with_borrow_mut(|secrets| secrets.as_mut().map(f).unwrap_or_default())
}
