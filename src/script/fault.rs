//! What is wrong with a script, said so that its writer can mend it.

use std::fmt;

use rhai::{EvalAltResult, ParseError, ParseErrorType, Position};

use super::engine::{CALL_LEVELS, FUNCTIONS, Kind, VARIABLES};
use super::run::Stop;
use super::{natives, person};
use crate::suggest::nearest;

/// The longest sentence about a fault.
const LONGEST: usize = 500;

/// Why a script can't be used, or what stopped it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{detail}", Place(*.line, *.column))]
pub struct ScriptError {
    /// `script_invalid`: does not compile. `script_limit`: used more than it may. `script_failed`: an error while it
    /// ran. `script_result`: returned something that means nothing.
    pub code: &'static str,
    pub line: Option<usize>,
    pub column: Option<usize>,
    pub detail: String,
}

struct Place(Option<usize>, Option<usize>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (Some(line), Some(column)) => write!(f, "line {line} column {column}: "),
            (Some(line), None) => write!(f, "line {line}: "),
            _ => Ok(()),
        }
    }
}

impl ScriptError {
    fn new(code: &'static str, detail: impl Into<String>) -> Self {
        let mut detail: String = detail.into();
        if let Some((cut, _)) = detail.char_indices().nth(LONGEST) {
            detail.truncate(cut);
            detail.push('…');
        }
        Self { code, line: None, column: None, detail }
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new("script_invalid", detail)
    }

    pub(crate) fn limit(detail: impl Into<String>) -> Self {
        Self::new("script_limit", detail)
    }

    pub(super) fn failed(detail: impl Into<String>) -> Self {
        Self::new("script_failed", detail)
    }

    pub(crate) fn result(detail: impl Into<String>) -> Self {
        Self::new("script_result", detail)
    }

    fn at(self, position: Position) -> Self {
        Self { line: position.line(), column: position.position(), ..self }
    }
}

pub(super) fn of_parsing(e: &ParseError, kind: Kind, source: &str) -> ScriptError {
    let detail = match &*e.0 {
        ParseErrorType::VariableUndefined(name) => {
            let guess = meant(name, identifiers(source));
            let elsewhere = guess.is_empty() && identifiers(source).filter(|word| word == name).count() > 1;
            let hint = if elsewhere { " here; a function written as |x| sees only its own parameters" } else { "" };
            format!("there is no variable `{name}`{guess}{hint}")
        }
        ParseErrorType::Reserved(word) => format!("`{word}` is not available in these scripts"),
        ParseErrorType::ExprTooDeep => {
            format!("nested deeper than {} levels; put a part of it into a function or a variable", kind.budget().depth)
        }
        ParseErrorType::TooManyFunctions => format!("more than {FUNCTIONS} functions"),
        ParseErrorType::UnexpectedEOF => "the script ends too early; a } or ) may be missing".to_owned(),
        other => unavailable(&other.to_string()),
    };
    ScriptError::invalid(detail).at(e.1)
}

/// `stop`: why the engine was told to stop, if it was.
pub(super) fn of_running(
    e: EvalAltResult,
    stop: Option<Stop>,
    kind: Kind,
    functions: &[(String, Vec<String>)],
) -> ScriptError {
    let budget = kind.budget();
    let (mut e, called_at) = innermost(e, Position::NONE);
    let position = Some(e.take_position()).filter(|p| !p.is_none()).unwrap_or(called_at);
    let error = match e {
        EvalAltResult::ErrorTooManyOperations(_) => of_limits(kind, None),
        EvalAltResult::ErrorTerminated(..) => of_limits(kind, stop),
        EvalAltResult::ErrorStackOverflow(_) => {
            ScriptError::limit(format!("functions call each other more than {CALL_LEVELS} deep"))
        }
        EvalAltResult::ErrorTooManyVariables(_) => {
            ScriptError::limit(format!("more than {VARIABLES} variables at once"))
        }
        EvalAltResult::ErrorDataTooLarge(what, _) => ScriptError::limit(format!(
            "{}: at most {} bytes of text, {} list items and {} map fields",
            what.to_lowercase(),
            budget.string,
            budget.array,
            budget.map
        )),
        EvalAltResult::ErrorParsing(inner, _) => ScriptError::invalid(inner.to_string()),
        EvalAltResult::ErrorFunctionNotFound(signature, _) => {
            let signature = signature.replace("&str | ImmutableString | String", "string");
            let name = signature.split([' ', '(']).next().unwrap_or_default();
            let guess = if known(functions).contains(&name) {
                " that takes these".to_owned()
            } else {
                meant(name, known(functions))
            };
            ScriptError::failed(format!("there is no function `{signature}`{guess}"))
        }
        EvalAltResult::ErrorPropertyNotFound(name, _) => ScriptError::failed(format!(
            "there is no field `{name}` here; `pick(value, \"{name}\")` gives () for a missing one"
        )),
        EvalAltResult::ErrorDotExpr(text, _) => ScriptError::failed(unknown_field(&text)),
        EvalAltResult::ErrorVariableNotFound(name, _) => ScriptError::failed(format!("there is no variable `{name}`")),
        EvalAltResult::ErrorRuntime(value, _) => ScriptError::failed(format!("the script threw: {value}")),
        other => ScriptError::failed(other.to_string()),
    };
    error.at(position)
}

/// Too much, by what stopped it or else by the number of operations.
pub(super) fn of_limits(kind: Kind, stop: Option<Stop>) -> ScriptError {
    let budget = kind.budget();
    ScriptError::limit(match stop {
        Some(Stop::Late | Stop::Long) => format!("ran for more than {} ms", budget.time.as_millis()),
        Some(Stop::Bloated) => "took too much memory".to_owned(),
        None => format!("more than {} operations", budget.operations),
    })
}

/// What can be called: the script's own functions, and the common ones.
fn known(functions: &[(String, Vec<String>)]) -> Vec<&str> {
    let mut known: Vec<&str> = functions.iter().map(|(name, _)| name.as_str()).collect();
    for name in natives::names() {
        known.push(name);
    }
    known
}

/// Errors in functions are wrapped once for each call. With the innermost one comes the place of the last call that is
/// known: some have no place of their own.
fn innermost(e: EvalAltResult, called_at: Position) -> (EvalAltResult, Position) {
    match e {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, at) => {
            innermost(*inner, if at.is_none() { called_at } else { at })
        }
        other => (other, called_at),
    }
}

/// A call of `sleep`: unlike a keyword it can't be switched off, so it is looked for.
pub(super) fn sleeping(source: &str) -> Option<ScriptError> {
    for (n, line) in source.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for (at, _) in code.match_indices("sleep") {
            let part_of_a_word = code[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
            if !part_of_a_word && code[at + "sleep".len()..].trim_start().starts_with('(') {
                let (line, column) = (Some(n + 1), Some(code[..at].chars().count() + 1));
                let refused = ScriptError::invalid("`sleep` is not available in these scripts");
                return Some(ScriptError { line, column, ..refused });
            }
        }
    }
    None
}

/// A word that was switched off, where Rhai calls it "disabled".
fn unavailable(text: &str) -> String {
    match text.split('\'').nth(1).filter(|_| text.ends_with("is disabled")) {
        Some(word) => format!("`{word}` is not available in these scripts"),
        None => text.to_owned(),
    }
}

/// Of one of our own types; Rhai says which field and of what.
fn unknown_field(text: &str) -> String {
    let mut quoted = text.split('\'').skip(1).step_by(2);
    let known: &[&str] = match (quoted.next(), quoted.next()) {
        (Some(_), Some("Contact")) => &person::FIELDS,
        (Some(_), Some("Appointments")) => &person::FIGURES,
        _ => return text.to_owned(),
    };
    let name = text.split('\'').nth(1).unwrap_or_default();
    let guess = meant(name, known.iter().copied());
    format!("there is no field `{name}` here{guess}; there are: {}", known.join(", "))
}

/// A kind of value as a sentence has it.
pub(super) fn a(kind: &str) -> String {
    match kind {
        "()" => "nothing".into(),
        "i64" => "a number".into(),
        "f64" => "a number with a point".into(),
        "array" => "a list".into(),
        other => format!("a {other}"),
    }
}

fn meant<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let near = nearest(word, known.into_iter().filter(|known| *known != word));
    near.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default()
}

/// The words of a script, keywords aside.
fn identifiers(source: &str) -> impl Iterator<Item = &str> {
    const KEYWORDS: [&str; 18] = [
        "fn", "let", "const", "if", "else", "for", "in", "while", "loop", "do", "until", "switch", "return", "true",
        "false", "throw", "try", "catch",
    ];
    source
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.len() > 1 && !word.starts_with(|c: char| c.is_ascii_digit()) && !KEYWORDS.contains(word))
}
