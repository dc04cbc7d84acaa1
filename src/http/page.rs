//! Lists: `limit`, the opaque `cursor`, and the shape of a page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{Error, Result};

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Give it as `cursor` for the next page; null at the end.
    pub next_cursor: Option<String>,
}

const DEFAULT: usize = 50;
const MOST: usize = 200;

/// How many items, as asked: text, so that nonsense gets the contract's answer.
pub(super) fn limit(given: Option<&str>) -> Result<usize> {
    let Some(text) = given else { return Ok(DEFAULT) };
    text.parse::<usize>()
        .ok()
        .filter(|n| (1..=MOST).contains(n))
        .ok_or_else(|| Error::fault("/limit", "out_of_range", format!("must be a number from 1 to {MOST}")))
}

/// The key of the last item of the page before.
pub(super) fn cursor(given: Option<&str>) -> Result<Option<String>> {
    let Some(text) = given else { return Ok(None) };
    let invalid = || Error::refused("cursor-invalid", "give a nextCursor as it was answered");
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid())?;
    let key = String::from_utf8(bytes).map_err(|_| invalid())?;
    let key = key.strip_prefix("1:").filter(|k| !k.is_empty() && !k.chars().any(char::is_control));
    key.map(|k| Some(k.to_owned())).ok_or_else(invalid)
}

/// The cursor that goes on after this key.
pub(super) fn encode(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("1:{key}"))
}

/// A page from one item more than was asked for.
pub(super) fn page<R, T>(mut rows: Vec<R>, limit: usize, key: impl Fn(&R) -> &str, show: impl Fn(R) -> T) -> Page<T> {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = rows.last().filter(|_| more).map(|last| encode(key(last)));
    Page { items: rows.into_iter().map(show).collect(), next_cursor }
}
