//! What belongs to the call under way on this thread: how far it may go, its log, the secrets lent to it.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use rhai::Dynamic;

use super::Secrets;

/// Lines of log that are kept, and characters of each.
const LINES: usize = 50;
const LINE: usize = 200;

/// Looked at before each operation, so it holds nothing that must be borrowed.
struct Meter {
    operations: Cell<u64>,
    /// More are not done, whatever the engine would allow.
    most: Cell<u64>,
    budget: Cell<Duration>,
    /// Set when the call has lasted long enough to be worth the question what time it is.
    deadline: Cell<Option<Instant>>,
    /// The deadline has passed.
    late: Cell<bool>,
}

thread_local! {
    static METER: Meter = const {
        Meter {
            operations: Cell::new(0),
            most: Cell::new(0),
            budget: Cell::new(Duration::ZERO),
            deadline: Cell::new(None),
            late: Cell::new(false),
        }
    };
    static LOG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static SECRETS: RefCell<Option<Secrets>> = const { RefCell::new(None) };
}

/// What a call left behind.
pub(super) struct Run {
    pub operations: u64,
    /// It was stopped, or should have been, by the clock.
    pub late: bool,
    /// It lasted long enough for somebody to look at the clock.
    pub timed: bool,
    pub log: Vec<String>,
}

/// A call begins that may last so long and do so many operations, or as many as its engine allows.
pub(super) fn begin(budget: Duration, most: Option<u64>) {
    METER.with(|meter| {
        meter.operations.set(0);
        meter.most.set(most.unwrap_or(u64::MAX));
        meter.budget.set(budget);
        meter.deadline.set(None);
        meter.late.set(false);
    });
}

pub(super) fn end() -> Run {
    METER.with(|meter| Run {
        operations: meter.operations.get(),
        late: meter.late.get(),
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
        if operations.is_multiple_of(64) {
            let now = Instant::now();
            match meter.deadline.get() {
                Some(deadline) => meter.late.set(meter.late.get() || now > deadline),
                None => meter.deadline.set(Some(now + meter.budget.get())),
            }
        }
        (meter.late.get() || operations >= meter.most.get()).then_some(Dynamic::UNIT)
    })
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
