//! serde's complaints in the words of the API: a pointer, a stable code, and a sentence that says what would be right.

use std::fmt::{Display, Write};

use serde::de;
use serde_path_to_error::{Path, Segment};

use super::{BodyError, scan};
use crate::suggest::nearest;

/// The codes a type may raise with [`custom`]; they are part of the API.
pub const CODES: &[&str] = &[
    "control_characters",
    "cron",
    "cron_never_fires",
    "cron_too_frequent",
    "email",
    "exactly_one_of",
    "header_not_allowed",
    "item_count",
    "no_address",
    "out_of_range",
    "phone",
    "phone_not_allowed",
    "required",
    "sender_not_allowed",
    "timestamp",
    "timezone",
    "too_long",
    "unknown_channel",
    "unknown_field",
    "unknown_template",
    "wrong_type",
];

/// Not listed in a sentence beyond so many: the rest is in the reference.
const LISTED: usize = 12;

/// An error for use inside `Deserialize`, with a code of its own; one that is not in [`CODES`] answers as `out_of_range`.
pub fn custom<E: de::Error>(code: &'static str, detail: impl Display) -> E {
    debug_assert!(CODES.contains(&code), "{code} is not in CODES");
    E::custom(format_args!("{code}|{detail}"))
}

pub(super) fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => drop(write!(pointer, "/{index}")),
            Segment::Map { key } => push(&mut pointer, key),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

fn push(pointer: &mut String, key: &str) {
    pointer.push('/');
    pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
}

/// serde_json keeps only the sentence of an error, so the sentence is read.
pub(super) fn from_serde(mut pointer: String, e: &serde_json::Error) -> BodyError {
    if !e.is_data() {
        return scan::malformed(e);
    }
    let text = e.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);

    let (code, detail) = if let Some(rest) = text.strip_prefix("unknown field ") {
        ("unknown_field", unknown_field(rest, &mut pointer))
    } else if let Some(name) = text.strip_prefix("missing field ") {
        let name = name.trim_matches('`');
        push(&mut pointer, name);
        ("required", format!("\"{name}\" is required"))
    } else if let Some(rest) = text.strip_prefix("invalid type: ") {
        invalid_type(rest)
    } else if let Some(rest) = text.strip_prefix("invalid value: ") {
        let (found, expected) = rest.split_once(", expected ").unwrap_or((rest, "another value"));
        ("out_of_range", format!("{found} does not fit, expected {}", plain(expected)))
    } else if let Some(rest) = text.strip_prefix("unknown variant ") {
        ("out_of_range", unknown_variant(rest))
    } else if let Some(rest) = text.strip_prefix("invalid length ") {
        let (found, expected) = rest.split_once(", expected ").unwrap_or((rest, "another number"));
        ("wrong_type", format!("has {found} items, expected {}", plain(expected)))
    } else {
        own(text)
    };
    BodyError::Fault { pointer, code, detail }
}

/// `` `chanel`, expected one of `type`, `to` `` or `` `x`, there are no fields ``.
fn unknown_field(rest: &str, pointer: &mut String) -> String {
    let (name, expected) = named(rest);
    // The path ends with the key where the format could tell it.
    if !pointer.ends_with(&format!("/{}", name.replace('~', "~0").replace('/', "~1"))) {
        push(pointer, &name);
    }
    let name = brief(&name);
    match nearest(&name, expected.iter().copied()) {
        Some(near) => format!("unknown field \"{name}\": did you mean \"{near}\"?"),
        None if expected.is_empty() => format!("unknown field \"{name}\": no field is expected here"),
        None => format!("unknown field \"{name}\": expected {}", listed(&expected)),
    }
}

fn unknown_variant(rest: &str) -> String {
    let (name, expected) = named(rest);
    let name = brief(&name);
    match nearest(&name, expected.iter().copied()) {
        Some(near) => format!("unknown value \"{name}\": did you mean \"{near}\"?"),
        None => format!("unknown value \"{name}\": expected {}", listed(&expected)),
    }
}

/// The name that was found and the names that were expected. The found one comes from outside and may hold anything,
/// also backticks: so it ends where the last fixed phrase begins.
fn named(rest: &str) -> (String, Vec<&str>) {
    let phrases = ["`, expected one of ", "`, expected ", "`, there are no "];
    let end = phrases.iter().find_map(|phrase| rest.rfind(phrase).map(|at| (at, at + phrase.len())));
    let (name, tail) = end.map_or((rest, ""), |(end, next)| (&rest[..end], &rest[next..]));
    let expected = tail.split('`').skip(1).step_by(2).collect();
    (name.trim_start_matches('`').to_owned(), expected)
}

fn listed(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(LISTED).map(|name| format!("\"{name}\"")).collect();
    let more = if names.len() > LISTED { ", ..." } else { "" };
    let one_of = if names.len() > 1 { "one of " } else { "" };
    format!("{one_of}{}{more}", shown.join(", "))
}

fn invalid_type(rest: &str) -> (&'static str, String) {
    let (found, expected) = rest.rsplit_once(", expected ").unwrap_or((rest, "another type"));
    let expected = plain(expected);
    // A word before the value: "string \"abc\"", "integer `5`". The value itself is the caller's and is left out.
    match found.split([' ', '`', '"']).next().unwrap_or_default() {
        "null" => ("required", format!("must not be null, expected {expected}")),
        "map" => ("wrong_type", format!("is an object, expected {expected}")),
        "sequence" => ("wrong_type", format!("is an array, expected {expected}")),
        "string" => ("wrong_type", format!("is a string, expected {expected}")),
        "boolean" => ("wrong_type", format!("is a boolean, expected {expected}")),
        "integer" | "floating" => ("wrong_type", format!("is a number, expected {expected}")),
        other => ("wrong_type", format!("is {other}, expected {expected}")),
    }
}

/// What serde wanted, in the words of JSON.
fn plain(expected: &str) -> &str {
    match expected {
        "a map" => "an object",
        "a sequence" => "an array",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0",
        "a nonzero u8" | "a nonzero u16" | "a nonzero u32" | "a nonzero u64" | "a nonzero usize" => {
            "a whole number from 1"
        }
        "f32" | "f64" => "a number",
        other if other.starts_with("struct ") => "an object",
        other if other.starts_with("enum ") || other == "string or map" => "a string",
        other => other,
    }
}

/// A type's own error: `code|detail`, or a bare sentence.
fn own(text: &str) -> (&'static str, String) {
    let split = text
        .split_once('|')
        .and_then(|(code, detail)| CODES.iter().find(|known| **known == code).map(|known| (*known, detail.to_owned())));
    split.unwrap_or_else(|| ("out_of_range", text.to_owned()))
}

fn brief(name: &str) -> String {
    if name.chars().count() <= 64 { name.to_owned() } else { name.chars().take(64).chain(['…']).collect() }
}
