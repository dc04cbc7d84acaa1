//! The engines: one for each kind of script, built at first use and shared by all threads.

use std::sync::LazyLock;
use std::time::Duration;

use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicFnPackage, BasicIteratorPackage, BasicMapPackage, BasicMathPackage,
    BasicStringPackage, LanguageCorePackage, LogicPackage, MoreStringPackage, Package,
};
use rhai::{Engine, OptimizationLevel, def_package};

use super::{moment, natives, person, run};

/// What a script is for, and so how much it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One question about one contact or appointment: a segment, a rule's `when`.
    Predicate,
    /// A decision that is taken once per notification: a route, a campaign's message.
    Rule,
    /// A channel's request or outcome.
    Channel,
}

def_package! {
    /// What Rhai has of its own, as one package: where a function is looked for, each package is looked into.
    /// Not among them: BLOBs, bit fields, and anything that knows the time.
    Language(_module) : LanguageCorePackage, ArithmeticPackage, LogicPackage, BasicMathPackage, BasicStringPackage,
        MoreStringPackage, BasicIteratorPackage, BasicFnPackage, BasicArrayPackage, BasicMapPackage
    {}
}

#[derive(Clone, Copy)]
pub(super) struct Budget {
    /// Bytes of source.
    pub source: usize,
    pub operations: u64,
    pub time: Duration,
    /// Bytes of one text, or of all texts in one list or map.
    pub string: usize,
    pub array: usize,
    pub map: usize,
    /// Levels of expressions and blocks inside functions.
    pub depth: usize,
}

pub(super) const CALL_LEVELS: usize = 16;
pub(super) const VARIABLES: usize = 64;
pub(super) const FUNCTIONS: usize = 32;
/// Levels of expressions and blocks outside functions.
const TOP_DEPTH: usize = 32;

/// They run code that was not compiled before, or double memory on each use.
const DISABLED: [&str; 5] = ["eval", "curry", "Fn", "import", "export"];

const PREDICATE: Budget = Budget {
    source: 32 * 1024,
    operations: 20_000,
    time: Duration::from_millis(50),
    string: 16 * 1024,
    array: 2_000,
    map: 500,
    depth: 16,
};
const RULE: Budget = Budget { operations: 200_000, time: Duration::from_millis(500), ..PREDICATE };
/// A provider's answer may hold 64 KiB, and the maps of a request nest by themselves.
const CHANNEL: Budget = Budget { string: 64 * 1024, depth: 32, ..RULE };

impl Kind {
    pub(super) fn budget(self) -> Budget {
        match self {
            Self::Predicate => PREDICATE,
            Self::Rule => RULE,
            Self::Channel => CHANNEL,
        }
    }
}

pub(super) fn of(kind: Kind) -> &'static Engine {
    static PREDICATE: LazyLock<Engine> = LazyLock::new(|| build(Kind::Predicate));
    static RULE: LazyLock<Engine> = LazyLock::new(|| build(Kind::Rule));
    static CHANNEL: LazyLock<Engine> = LazyLock::new(|| build(Kind::Channel));
    match kind {
        Kind::Predicate => &PREDICATE,
        Kind::Rule => &RULE,
        Kind::Channel => &CHANNEL,
    }
}

fn build(kind: Kind) -> Engine {
    let budget = kind.budget();
    let mut engine = Engine::new_raw();
    Language::new().register_into_engine(&mut engine);
    natives::register(&mut engine);
    if kind != Kind::Channel {
        moment::register(&mut engine);
        person::register(&mut engine);
    }

    engine
        .set_max_operations(budget.operations)
        .set_max_call_levels(CALL_LEVELS)
        .set_max_expr_depths(TOP_DEPTH, budget.depth)
        .set_max_variables(VARIABLES)
        .set_max_functions(FUNCTIONS)
        .set_max_string_size(budget.string)
        .set_max_array_size(budget.array)
        .set_max_map_size(budget.map)
        .set_strict_variables(true)
        .set_fail_on_invalid_map_property(true)
        .set_optimization_level(OptimizationLevel::Simple);
    for symbol in DISABLED {
        engine.disable_symbol(symbol);
    }
    engine.on_progress(run::progress);
    engine.on_print(run::print);
    engine.on_debug(|text, _, position| match position.line() {
        Some(line) => run::print(&format!("line {line}: {text}")),
        None => run::print(text),
    });
    engine
}
