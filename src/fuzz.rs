//! What must hold whatever the bytes are. The fuzzers in `fuzz/` look for bytes where it does not, and the tests repeat
//! all that were ever kept in `fuzz/corpus`.
#![allow(clippy::missing_panics_doc, reason = "a panic is how a fuzzer is told")]

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::import::{Format, read_in_pieces};
use crate::script::{Kind, Script, Secrets};
use crate::template::{Body, Own, OwnTemplates, Parts, TemplateError, Templates, TenantTemplates};
use crate::{address, pool};

type Target = (&'static str, fn(&[u8]));

/// By name, as the corpora's folders are called.
pub const TARGETS: [Target; 4] = [("csv", csv), ("phone", phone), ("script", script), ("template", template)];

/// A number that is taken is E.164, is taken again as it is, and is one of its own aliases, which all mean one person.
pub fn phone(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for country in [None, Some("MX"), Some("AR"), Some("BR"), Some("ES"), Some("US")] {
        let Ok(number) = address::phone(text, country) else { continue };
        let digits = number.strip_prefix('+').unwrap_or_default();
        assert!((5..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()), "{text:?}: {number}");
        assert_eq!(address::phone(&number, country).as_ref(), Ok(&number), "{text:?}");
        let aliases = address::aliases(&number);
        assert_eq!(aliases.first(), Some(&number), "{text:?}");
        for alias in &aliases {
            assert_eq!(address::aliases(alias), aliases, "{text:?}");
        }
    }
}

/// A file means the same in whatever pieces it arrives. The first byte is the length of a piece.
pub fn csv(bytes: &[u8]) {
    let Some((length, file)) = bytes.split_first() else { return };
    let whole = read_in_pieces(Format::Csv, file, file.len().max(1));
    let pieces = read_in_pieces(Format::Csv, file, usize::from(*length).max(1));
    assert_eq!(whole, pieces);
}

/// A script compiles or is refused, runs or is stopped, and says no more than it may.
pub fn script(bytes: &[u8]) {
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else { return };
    for (kind, most) in [(Kind::Predicate, 20_000), (Kind::Rule, 200_000)] {
        let script = match Script::compile(kind, source) {
            Ok(script) => script,
            Err(e) => {
                assert!(e.detail.chars().count() <= 1000, "{e}");
                continue;
            }
        };
        let parameters = script.functions().find(|(name, _)| *name == "include").map_or(2, |(_, count)| count);
        let contact = json!({"name": "Ana", "attributes": {"vip": true}, "appointments": {"count": 12}});
        let arguments = [contact, json!("2026-01-01T00:00:00Z")].into_iter().cycle().take(parameters.min(16));
        let said = runtime.block_on(script.call("include", arguments.collect::<Vec<Value>>(), Secrets::default()));
        assert!(said.operations <= most + 1 && said.log.len() <= 50, "{} operations", said.operations);
        assert!(said.log.iter().all(|line| line.chars().count() <= 200 * 10));
    }
}

/// A tenant's template is refused, or rendered within bounds. Texts with NUL between them: a text part, an HTML part, a
/// partial `p`, data as JSON.
pub fn template(bytes: &[u8]) {
    let Ok(input) = std::str::from_utf8(bytes) else { return };
    let input = input.to_owned();
    let ended = pool::run_blocking(move || judge_and_render(&input));
    assert!(ended.is_ok(), "it panics");
}

fn judge_and_render(input: &str) {
    let mut pieces = input.split('\0');
    let mut next = || pieces.next().unwrap_or_default().to_owned();
    let (text, html, partial, data) = (next(), next(), next(), next());
    let own = |name: &str, parts: [(&str, String); 2]| {
        let parts = parts.into_iter().filter(|(_, source)| !source.is_empty());
        let parts: BTreeMap<_, _> = parts.map(|(kind, source)| (kind.to_owned(), source)).collect();
        let body = Body { parts, ..Body::default() };
        Own { branch: String::new(), name: name.to_owned(), locale: String::new(), body }
    };
    let owns =
        vec![own("t", [("text", text), ("email.html", html)]), own("_p", [("text", partial), ("sms", String::new())])];
    let program = Arc::new(Templates::default());
    let templates = OwnTemplates::of(owns, &program, false);
    let flaws = templates.at("t", "").map(|template| template.flaws()).unwrap_or_default();
    flaws.iter().for_each(said);
    let data: Value =
        serde_json::from_str(&data).unwrap_or_else(|_| json!({"a": ["x", 1, null], "b": "<b>", "c": {"d": 2}}));
    let tenant = TenantTemplates { program, own: Some(Arc::new(templates)) };
    let Some(found) = tenant.find("t", None) else { return };
    for channel in ["sms", "email"] {
        if let Err(flaw) = found.render_here("es-MX", Parts::of(channel), &data) {
            said(&flaw);
        }
    }
}

fn said(flaw: &TemplateError) {
    let codes = ["template_part", "template_invalid", "template_data", "template_limit", "control_characters"];
    assert!(codes.contains(&flaw.code) && !flaw.detail.is_empty(), "{flaw:?}");
}
