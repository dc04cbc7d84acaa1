//! What belongs to the call under way on this thread: its deadline, its log, the secrets lent to it.

use std::cell::RefCell;
use std::time::Instant;

use rhai::Dynamic;

use super::Secrets;

/// Lines of log that are kept, and characters of each.
const LINES: usize = 50;
const LINE: usize = 200;

pub(super) struct Run {
    deadline: Instant,
    /// The deadline has passed.
    pub late: bool,
    pub operations: u64,
    pub log: Vec<String>,
    pub secrets: Secrets,
}

thread_local! {
    static RUN: RefCell<Option<Run>> = const { RefCell::new(None) };
}

pub(super) fn begin(deadline: Instant, secrets: Secrets) {
    RUN.set(Some(Run { deadline, late: false, operations: 0, log: vec![], secrets }));
}

pub(super) fn end() -> Run {
    RUN.take().unwrap_or_else(|| Run {
        deadline: Instant::now(),
        late: false,
        operations: 0,
        log: vec![],
        secrets: Secrets::default(),
    })
}

fn with<T: Default>(f: impl FnOnce(&mut Run) -> T) -> T {
    RUN.with_borrow_mut(|run| run.as_mut().map(f).unwrap_or_default())
}

/// Called by the engine before each operation; a value ends the script.
pub(super) fn progress(operations: u64) -> Option<Dynamic> {
    with(|run| {
        run.operations = operations;
        // Asking for the time costs more than an operation.
        run.late = run.late || (operations.is_multiple_of(64) && Instant::now() > run.deadline);
        run.late.then_some(Dynamic::UNIT)
    })
}

pub(super) fn print(text: &str) {
    with(|run| {
        if run.log.len() < LINES {
            run.log.push(text.chars().take(LINE).flat_map(escape).collect());
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
    with(|run| f(&mut run.secrets))
}
