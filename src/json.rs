//! Request bodies: a strict scan that refuses what JSON parsers let through, then serde, whose complaints become the
//! pointer, code and sentence of a validation fault.

mod fault;
mod scan;

#[cfg(test)]
mod tests;

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

pub use fault::{CODES, custom};

/// Why a body was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BodyError {
    /// Not JSON, or JSON that two readers could understand differently. Line and column count from 1.
    #[error("{detail} (line {line}, column {column})")]
    Malformed { detail: String, line: usize, column: usize },
    /// JSON, but not what was asked for; the pointer is that of RFC 6901.
    #[error("{pointer}: {detail}")]
    Fault { pointer: String, code: &'static str, detail: String },
}

/// Reads a request body, which is always an object.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BodyError> {
    scan::check(bytes)?;
    // Nearly every body is right, and following the path costs an allocation per field: so only for the wrong ones.
    let reader = || serde_json::Deserializer::from_slice(bytes);
    object(&mut reader()).or_else(|_| read_with_path(&mut reader()))
}

fn read_with_path<'de, T, D>(d: D) -> Result<T, BodyError>
where
    T: DeserializeOwned,
    D: Deserializer<'de, Error = serde_json::Error>,
{
    let mut track = serde_path_to_error::Track::new();
    object(serde_path_to_error::Deserializer::new(d, &mut track))
        .map_err(|e| fault::from_serde(fault::pointer(&track.path()), &e))
}

/// As [`parse`], for an object that was already read, such as a body's free-form part.
pub fn from_value<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, BodyError> {
    object(&value).or_else(|_| read_with_path(value))
}

/// For `deserialize_with` on a field that is a struct. serde also reads a struct from an array of its fields in order;
/// that is no part of the contract. Bodies and [`OneOrMany`] are strict by themselves.
pub fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<T, D::Error> {
    Object(PhantomData).deserialize(d)
}

/// As [`object`], for `Option` fields, together with `default`.
pub fn optional_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Option<T>, D::Error> {
    struct Inner<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Inner<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_none<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
            object(d).map(Some)
        }
    }

    d.deserialize_option(Inner(PhantomData))
}

/// A field that may be absent (`None`), null (`Some(None)`) or there; together with `default`.
pub type Given<T> = Option<Option<T>>;

/// For `deserialize_with` on a [`Given`] field.
pub fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Given<T>, D::Error> {
    Option::deserialize(d).map(Some)
}

/// As [`given`], for a struct.
pub fn given_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Given<T>, D::Error> {
    optional_object(d).map(Some)
}

struct Object<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Object<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<T, D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// One object or an array of them. Unlike an untagged enum it keeps the path and the words of a fault inside.
#[derive(Debug, Clone, PartialEq)]
pub enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    pub fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(item) => vec![item],
            Self::Many(items) => items,
        }
    }

    pub fn as_slice(&self) -> &[T] {
        match self {
            Self::One(item) => std::slice::from_ref(item),
            Self::Many(items) => items,
        }
    }

    /// The pointer of the item at `index` below the pointer of the whole: `/to` or `/to/3`.
    pub fn pointer(&self, whole: &str, index: usize) -> String {
        match self {
            Self::One(_) => whole.to_owned(),
            Self::Many(_) => format!("{whole}/{index}"),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object or an array of objects")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Object(PhantomData).visit_map(map).map(OneOrMany::One)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = vec![];
                while let Some(item) = seq.next_element_seed(Object(PhantomData))? {
                    items.push(item);
                }
                Ok(OneOrMany::Many(items))
            }
        }

        d.deserialize_any(Either(PhantomData))
    }
}
