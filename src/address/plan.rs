//! What each country's numbers look like: the few columns of the phone metadata that every request needs.
//!
//! The whole metadata costs 70 ms and 5 MiB to load and locks a global cache on each look; this extract costs neither.
//! A test compares it with the `phonenumber` crate and rewrites it when `UPDATE_PLAN` is set.

use std::sync::{LazyLock, OnceLock};

use regex::Regex;

static TABLE: &str = include_str!("plan.tsv");
static PLAN: LazyLock<Vec<Region>> = LazyLock::new(|| TABLE.lines().filter_map(Region::read).collect());

/// One country under its calling code; patterns are compiled when first needed.
pub(super) struct Region {
    pub(super) code: u16,
    pub(super) id: &'static str,
    /// What is dialled before a number inside the country.
    pub(super) prefix: &'static str,
    general: Pattern,
    premium: Pattern,
}

impl Region {
    fn read(line: &'static str) -> Option<Self> {
        let mut columns = line.split('\t');
        Some(Self {
            code: columns.next()?.parse().ok()?,
            id: columns.next()?,
            prefix: columns.next()?,
            general: Pattern::new(columns.next()?),
            premium: Pattern::new(columns.next()?),
        })
    }

    pub(super) fn fits(&self, national: &str) -> bool {
        self.general.is_match(national)
    }

    pub(super) fn is_premium(&self, national: &str) -> bool {
        self.premium.is_match(national)
    }
}

/// Splits E.164 digits into the regions of their country code (the main one first) and the national part.
pub(super) fn split(digits: &str) -> Option<(&'static [Region], &str)> {
    // No code begins with 0, and "052" must not be read as 52.
    let lengths = if digits.starts_with('0') { 0..=0 } else { 1..=3 };
    lengths.into_iter().find_map(|length| {
        let code = digits.get(..length)?.parse().ok()?;
        let regions = by_code(code);
        (!regions.is_empty()).then(|| (regions, &digits[length..]))
    })
}

pub(super) fn region(id: &str) -> Option<&'static Region> {
    PLAN.iter().find(|region| region.id == id)
}

/// The table is sorted by code, the main country of a code first.
fn by_code(code: u16) -> &'static [Region] {
    let start = PLAN.partition_point(|region| region.code < code);
    let end = PLAN.partition_point(|region| region.code <= code);
    &PLAN[start..end]
}

struct Pattern {
    source: &'static str,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    fn new(source: &'static str) -> Self {
        Self { source, compiled: OnceLock::new() }
    }

    fn is_match(&self, text: &str) -> bool {
        let compile =
            || (!self.source.is_empty()).then(|| Regex::new(&format!("^(?:{})$", self.source)).ok()).flatten();
        self.compiled.get_or_init(compile).as_ref().is_some_and(|pattern| pattern.is_match(text))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fmt::Write;

    use super::*;

    fn extract() -> String {
        let mut lines = String::new();
        for code in 1..1000u16 {
            for metadata in phonenumber::metadata::DATABASE.by_code(&code).unwrap_or_default() {
                let descriptors = metadata.descriptors();
                // ASCII classes: \d would match every script's digits.
                let plain = |pattern: &str| pattern.split_whitespace().collect::<String>().replace("\\d", "[0-9]");
                let premium = descriptors.premium_rate().map(|d| plain(d.national_number().as_str()));
                let general = plain(descriptors.general().national_number().as_str());
                let prefix = metadata.national_prefix().unwrap_or_default();
                let premium = premium.unwrap_or_default();
                let _ = writeln!(lines, "{code}\t{}\t{prefix}\t{general}\t{premium}", metadata.id());
            }
        }
        lines
    }

    #[test]
    fn the_extract_is_that_of_the_metadata_in_use() {
        let current = extract();
        if std::env::var_os("UPDATE_PLAN").is_some() {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/address/plan.tsv"), &current).unwrap();
        } else {
            assert!(current == TABLE, "plan.tsv is stale: run this test once with UPDATE_PLAN=1");
        }
    }

    #[test]
    fn every_pattern_compiles() {
        for region in PLAN.iter() {
            for source in [region.general.source, region.premium.source] {
                Regex::new(source).unwrap();
            }
        }
    }
}
