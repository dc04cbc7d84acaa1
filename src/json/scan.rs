//! The strict scan: the JSON grammar itself is serde_json's; on top of it no key twice in one object and no nesting
//! deeper than 64. One small allocation for a body of usual size.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::BodyError;

const DEEPEST: usize = 64;

/// Up to so many keys an object is searched from end to end; beyond, the search would be quadratic.
const FEW: usize = 32;

pub(super) fn check(bytes: &[u8]) -> Result<(), BodyError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let mut keys = Vec::with_capacity(FEW);
    let scanned = Value { keys: &mut keys, depth: 0 }.deserialize(&mut reader);
    scanned.and_then(|()| reader.end()).map_err(|e| malformed(&e))
}

pub(super) fn malformed(e: &serde_json::Error) -> BodyError {
    let text = e.to_string();
    // The position has its own fields.
    let detail = text.rsplit_once(" at line ").map_or(text.as_str(), |(detail, _)| detail);
    BodyError::Malformed { detail: detail.to_owned(), line: e.line().max(1), column: e.column().max(1) }
}

/// One value at a depth. The keys of all open objects lie in one vector, each object's from its own start.
struct Value<'a, 'de> {
    keys: &'a mut Vec<Cow<'de, str>>,
    depth: usize,
}

impl<'de> Value<'_, 'de> {
    fn inner(&mut self) -> Value<'_, 'de> {
        Value { keys: &mut *self.keys, depth: self.depth + 1 }
    }

    fn enter<E: Error>(&self) -> Result<(), E> {
        if self.depth < DEEPEST { Ok(()) } else { Err(E::custom(format_args!("nested deeper than {DEEPEST}"))) }
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        self.enter()?;
        while items.next_element_seed(self.inner())?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        self.enter()?;
        let start = self.keys.len();
        let mut many: Option<HashSet<Cow<'de, str>>> = None;
        while let Some(key) = entries.next_key_seed(Key)? {
            let seen = match &many {
                Some(many) => many.contains(&key),
                None => self.keys[start..].contains(&key),
            };
            if seen {
                return Err(A::Error::custom(format_args!("duplicate key \"{}\"", shortened(&key))));
            }
            match &mut many {
                Some(many) => drop(many.insert(key)),
                None => self.keys.push(key),
            }
            if many.is_none() && self.keys.len() - start > FEW {
                many = Some(self.keys.drain(start..).collect());
            }
            entries.next_value_seed(self.inner())?;
        }
        self.keys.truncate(start);
        Ok(())
    }
}

fn shortened(key: &str) -> &str {
    key.char_indices().nth(64).map_or(key, |(end, _)| &key[..end])
}

/// A key as it reads without escapes: `"a"` and `"\u0061"` are the same.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}
