//! Rhai with bounds: the only place that makes an engine, for channels that a script describes as well as for segments,
//! routes and reminder rules. Values go in, a value comes out; there is no way to a file, a socket, a clock or chance.
//!
//! What could run away is refused while compiling or stopped by a budget (`Kind`), and everything runs on threads with
//! large stacks, so that no script overflows one: on a few of its own, where each has its turn. Only the short calls of
//! channels that ship or are the operator's are made at once, on the gateway's threads; what tenants write never is.

mod engine;
mod fault;
mod judge;
mod made;
mod moment;
mod natives;
mod pace;
mod person;
mod run;
mod secrets;
mod value;

#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rhai::{AST, CallFnOptions, Dynamic, ParseError, Scope};
use serde_json::Value;

use crate::pool::{self, Whose};
use crate::runtime::has_room;
use pace::Pace;
use run::Allowed;

pub use engine::Kind;
pub use fault::ScriptError;
pub use judge::{BATCH, Verdict};
pub use made::{Fields, Made};
pub use moment::Moment;
pub use person::Person;
pub use secrets::Secrets;

/// A compiled script. Cheap to clone.
#[derive(Clone)]
pub struct Script {
    compiled: Arc<Compiled>,
    whose: Whose,
    /// None: each call waits for its turn.
    pace: Option<Arc<Pace>>,
}

struct Compiled {
    ast: AST,
    kind: Kind,
    /// What the functions of the script are called, with their parameters.
    functions: Vec<(String, Vec<String>)>,
}

/// What a call came to.
#[derive(Debug)]
pub struct Evaluation<T = Value> {
    pub result: Result<T, ScriptError>,
    /// What the script printed: at most 50 lines of 200 characters.
    pub log: Vec<String>,
    pub operations: u64,
    pub elapsed: Duration,
    /// Those lent to the call, and what the script made of them.
    pub secrets: Secrets,
}

impl<T> Evaluation<T> {
    fn failed() -> Self {
        Self {
            result: Err(ScriptError::failed("the script made the engine fail")),
            log: vec![],
            operations: 0,
            elapsed: Duration::ZERO,
            secrets: Secrets::default(),
        }
    }
}

impl Evaluation<Made> {
    /// With what the function returned as JSON.
    fn plain(self, function: &str) -> Evaluation {
        let Self { result, log, operations, elapsed, secrets } = self;
        let result = result.and_then(|made| {
            let no_data = |detail| ScriptError::result(format!("{function} must return plain data, but {detail}"));
            made.into_value().map_err(no_data)
        });
        Evaluation { result, log, operations, elapsed, secrets }
    }
}

/// What a function is given.
pub enum Argument {
    Data(Arc<Value>),
    Made(Made),
    Contact(Person),
    Moment(Moment),
}

impl From<Made> for Argument {
    fn from(made: Made) -> Self {
        Self::Made(made)
    }
}

impl From<Value> for Argument {
    fn from(value: Value) -> Self {
        Self::Data(Arc::new(value))
    }
}

impl From<&Arc<Value>> for Argument {
    fn from(value: &Arc<Value>) -> Self {
        Self::Data(Arc::clone(value))
    }
}

impl From<Argument> for Dynamic {
    fn from(argument: Argument) -> Self {
        match argument {
            Argument::Data(value) => value::to_dynamic(&value),
            Argument::Made(made) => made.into(),
            Argument::Contact(person) => Self::from(person),
            Argument::Moment(moment) => Self::from(moment),
        }
    }
}

impl Script {
    /// Compiles. A fault names line and column, and where one was mistyped the nearest right name. Holds the calling
    /// thread; in a request, [`Script::compile_in_turn`].
    pub fn compile(kind: Kind, source: &str) -> Result<Self, ScriptError> {
        let text = fitting(kind, source)?;
        Self::compiled(kind, source, "", pool::run_blocking(move || engine::of(kind).compile(&text)))
    }

    /// As [`Script::compile`], when it is the turn of the one whose script it is; so are its calls.
    pub async fn compile_in_turn(kind: Kind, source: &str, whose: &str) -> Result<Self, ScriptError> {
        let text = fitting(kind, source)?;
        Self::compiled(kind, source, whose, pool::run(whose, move || engine::of(kind).compile(&text)).await)
    }

    /// The same script, called in the turns of another.
    #[must_use]
    pub fn for_whom(&self, whose: &str) -> Self {
        Self { compiled: Arc::clone(&self.compiled), whose: whose.into(), pace: Some(Arc::default()) }
    }

    /// The same script, never called at once: whoever wrote it might mean no good.
    #[must_use]
    pub fn always_in_turn(self) -> Self {
        Self { pace: None, ..self }
    }

    fn compiled(
        kind: Kind,
        source: &str,
        whose: &str,
        compiled: Result<Result<AST, ParseError>, pool::Panicked>,
    ) -> Result<Self, ScriptError> {
        let ast = compiled
            .map_err(|pool::Panicked| ScriptError::invalid("the script made the compiler fail"))?
            .map_err(|e| fault::of_parsing(&e, kind, source))?;
        fault::sleeping(source).map_or(Ok(()), Err)?;
        let functions = ast
            .iter_functions()
            .map(|f| (f.name.to_owned(), f.params.iter().map(|p| (*p).to_owned()).collect()))
            .collect();
        let compiled = Arc::new(Compiled { ast, kind, functions });
        Ok(Self { compiled, whose: whose.into(), pace: Some(Arc::default()) })
    }

    /// The names of the functions it defines, and how many parameters each takes.
    pub fn functions(&self) -> impl Iterator<Item = (&str, usize)> {
        self.compiled.functions.iter().map(|(name, parameters)| (name.as_str(), parameters.len()))
    }

    pub fn has(&self, function: &str) -> bool {
        self.compiled.functions.iter().any(|(name, _)| name == function)
    }

    /// What a function of it calls its parameters.
    pub fn parameters(&self, function: &str) -> Option<&[String]> {
        self.compiled.functions.iter().find(|(name, _)| name == function).map(|(_, parameters)| parameters.as_slice())
    }

    /// Calls one of its functions, when it is its turn.
    pub async fn call<A: Into<Argument>>(
        &self,
        function: &'static str,
        arguments: Vec<A>,
        secrets: Secrets,
    ) -> Evaluation {
        pool::run(&self.whose, self.calling(function, arguments, secrets))
            .await
            .unwrap_or_else(|pool::Panicked| Evaluation::failed())
    }

    /// As [`Script::call`], at once where there is room for it ([`crate::runtime`]) and the script's calls are short. It is
    /// begun there with little time; if that is not enough it is called again in its turn, which does no harm: scripts
    /// change nothing.
    pub async fn call_at_once(
        &self,
        function: &'static str,
        arguments: impl Fn(&Secrets) -> Vec<Argument>,
        mut secrets: Secrets,
    ) -> Evaluation<Made> {
        if let Some(pace) = self.pace.as_ref().filter(|pace| has_room() && pace.is_quick()) {
            let given = arguments(&secrets);
            let tried = AssertUnwindSafe(|| self.evaluate(function, given, secrets, pace::SHORT));
            match catch_unwind(tried) {
                Ok(Ok(evaluation)) => {
                    if evaluation.elapsed > pace::LONG {
                        pace.slow_down();
                    }
                    return evaluation;
                }
                Ok(Err(given_back)) => secrets = given_back,
                Err(_) => return Evaluation::failed(),
            }
            pace.slow_down();
        }
        let Evaluation { result, log, operations, elapsed, secrets } =
            self.call(function, arguments(&secrets), secrets).await;
        // Anything but plain data stays on the thread that it was made on: as deep as it may be nested, dropping it takes
        // a large stack.
        Evaluation { result: result.map(|value| Made::from(&value)), log, operations, elapsed, secrets }
    }

    /// As [`Script::call`], for what nobody's message waits for: it never takes the last thread.
    pub async fn call_in_turn<A: Into<Argument>>(
        &self,
        function: &'static str,
        arguments: Vec<A>,
        secrets: Secrets,
    ) -> Evaluation {
        let called = pool::run_bulk(&self.whose, self.calling(function, arguments, secrets)).await;
        called.unwrap_or_else(|pool::Panicked| Evaluation::failed())
    }

    fn calling<A: Into<Argument>>(
        &self,
        function: &'static str,
        arguments: Vec<A>,
        secrets: Secrets,
    ) -> impl FnOnce() -> Evaluation + Send + 'static + use<A> {
        let script = self.clone();
        let arguments: Vec<Argument> = arguments.into_iter().map(Into::into).collect();
        move || {
            let allowed = script.compiled.kind.budget().into();
            let evaluated = script.evaluate(function, arguments, secrets, allowed);
            evaluated.map_or_else(|_| Evaluation::failed(), |evaluation| evaluation.plain(function))
        }
    }

    /// The call itself, on a thread with room for it. Was it allowed less than scripts of its kind are, and needed more,
    /// then the secrets lent to it are the answer.
    fn evaluate(
        &self,
        function: &str,
        arguments: Vec<Argument>,
        secrets: Secrets,
        allowed: Allowed,
    ) -> Result<Evaluation<Made>, Secrets> {
        let began = Instant::now();
        let Compiled { ast, kind, functions } = &*self.compiled;
        run::begin(allowed);
        run::lend(secrets);
        let arguments: Vec<Dynamic> = arguments.into_iter().map(Into::into).collect();
        let options = CallFnOptions::new().eval_ast(false);
        let called =
            engine::of(*kind).call_fn_with_options::<Dynamic>(options, &mut Scope::new(), ast, function, arguments);
        let run::Run { log, operations, stop, .. } = run::end();
        let secrets = run::give_back();
        if stop == Some(run::Stop::Long) {
            return Err(secrets.into_lent());
        }
        let result = match called {
            Ok(_) if judge::stopped(&kind.budget(), operations, stop) => Err(fault::of_limits(*kind, stop)),
            Ok(value) => Ok(Made::from(value)),
            Err(e) => Err(fault::of_running(*e, stop, *kind, functions)),
        };
        Ok(Evaluation { result, log, operations, elapsed: began.elapsed(), secrets })
    }
}

/// A source that is not too long to be compiled.
fn fitting(kind: Kind, source: &str) -> Result<String, ScriptError> {
    let most = kind.budget().source;
    if source.len() > most {
        return Err(ScriptError::invalid(format!("the script has more than {} KiB", most / 1024)));
    }
    Ok(source.to_owned())
}
