//! One question about many contacts: a compiled predicate and a batch of them on one thread, where each costs what the
//! engine itself takes and little more.

use std::time::{Duration, Instant};

use rhai::{CallFnOptions, Dynamic, Scope};

use super::engine::{self, Budget};
use super::{Compiled, Moment, Person, Script, ScriptError, fault, pool, run};

/// What a predicate said of one contact.
#[derive(Debug)]
pub struct Verdict {
    pub included: Result<bool, ScriptError>,
    /// What it printed.
    pub log: Vec<String>,
    pub operations: u64,
}

/// Contacts of one batch at most, and how long all of them together may take.
pub const BATCH: usize = 1000;
const BATCH_TIME: Duration = Duration::from_secs(2);

const FUNCTION: &str = "include";

impl Script {
    /// Asks `include(contact, now)` about each, in their order. A fault is the contact's own: the next is asked all the
    /// same. Waits while the threads that may be used for this are busy.
    pub async fn include(&self, people: Vec<Person>, now: Moment) -> Vec<Verdict> {
        let (script, count) = (self.clone(), people.len());
        let judged = pool::run_bulk(&self.whose, move || script.judge(people, now)).await;
        judged.unwrap_or_else(|pool::Panicked| {
            let failed = || Err(ScriptError::failed("the script made the engine fail"));
            std::iter::repeat_with(|| Verdict { included: failed(), log: vec![], operations: 0 }).take(count).collect()
        })
    }

    fn judge(&self, people: Vec<Person>, now: Moment) -> Vec<Verdict> {
        let Compiled { ast, kind, functions } = &*self.compiled;
        let (engine, budget) = (engine::of(*kind), kind.budget());
        let options = || CallFnOptions::new().eval_ast(false);
        let ends = Instant::now() + BATCH_TIME;
        let mut over = false;
        let mut verdicts = Vec::with_capacity(people.len());
        let mut scope = Scope::new();
        for person in people {
            if over {
                verdicts.push(Verdict { included: Err(too_long()), log: vec![], operations: 0 });
                continue;
            }
            run::begin(budget.into());
            let said = engine.call_fn_with_options::<Dynamic>(options(), &mut scope, ast, FUNCTION, (person, now));
            let run::Run { operations, stop, timed, log } = run::end();
            let included = match said {
                Ok(_) if stopped(&budget, operations, stop) => Err(fault::of_limits(*kind, stop)),
                Ok(value) => value.as_bool().map_err(not_bool),
                Err(e) => Err(fault::of_running(*e, stop, *kind, functions)),
            };
            verdicts.push(Verdict { included, log, operations });
            // A contact that was done before anybody looked at the clock took next to no time.
            over = timed && Instant::now() > ends;
        }
        verdicts
    }
}

/// Some functions that take a function (`sort`) go on when it is stopped.
pub(super) fn stopped(budget: &Budget, operations: u64, stop: Option<run::Stop>) -> bool {
    stop.is_some() || operations >= budget.operations
}

fn not_bool(kind: &str) -> ScriptError {
    ScriptError::result(format!("{FUNCTION} must return true or false, but it returned {}", fault::a(kind)))
}

fn too_long() -> ScriptError {
    ScriptError::limit(format!("{BATCH} contacts took more than {} s", BATCH_TIME.as_secs()))
}
