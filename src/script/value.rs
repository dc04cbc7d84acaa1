//! JSON to Rhai and back.

use rhai::{Dynamic, ImmutableString, Map};
use serde_json::{Number, Value};

use super::Moment;

/// Levels of a result; JSON from outside has no more either.
const DEPTH: usize = 64;

/// `null` becomes `()`; a number too large for Rhai's integers a float.
pub(super) fn to_dynamic(value: Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(b) => b.into(),
        Value::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(i), _) => i.into(),
            (None, Some(f)) => f.into(),
            (None, None) => Dynamic::UNIT,
        },
        Value::String(s) => ImmutableString::from(s).into(),
        Value::Array(items) => items.into_iter().map(to_dynamic).collect::<Vec<_>>().into(),
        Value::Object(fields) => fields.into_iter().map(|(k, v)| (k.into(), to_dynamic(v))).collect::<Map>().into(),
    }
}

/// The error says where the value is not data, and what it is.
pub(super) fn to_json(value: Dynamic) -> Result<Value, String> {
    convert(value, "", 0)
}

fn convert(value: Dynamic, path: &str, depth: usize) -> Result<Value, String> {
    let here = || if path.is_empty() { "it".to_owned() } else { path.to_owned() };
    if depth > DEPTH {
        return Err(format!("{} is nested deeper than {DEPTH} levels", here()));
    }
    if value.is_unit() {
        return Ok(Value::Null);
    }
    if let Ok(b) = value.as_bool() {
        return Ok(b.into());
    }
    if let Ok(i) = value.as_int() {
        return Ok(i.into());
    }
    if let Ok(f) = value.as_float() {
        return Number::from_f64(f).map(Value::Number).ok_or_else(|| format!("{} is not a finite number", here()));
    }
    if let Ok(c) = value.as_char() {
        return Ok(c.to_string().into());
    }
    if value.is_string() {
        return Ok(value.into_string().map_or(Value::Null, Value::String));
    }
    if let Some(moment) = value.clone().try_cast::<Moment>() {
        return Ok(moment.at.to_string().into());
    }
    let kind = value.type_name();
    if value.is_array() {
        let items = value.into_array().unwrap_or_default().into_iter().enumerate();
        return items.map(|(n, item)| convert(item, &format!("{path}[{n}]"), depth + 1)).collect();
    }
    match value.try_cast::<Map>() {
        Some(fields) => fields
            .into_iter()
            .map(|(name, field)| {
                let path = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
                convert(field, &path, depth + 1).map(|field| (name.to_string(), field))
            })
            .collect::<Result<serde_json::Map<_, _>, _>>()
            .map(Value::Object),
        None => Err(format!("{} is a {kind}", here())),
    }
}
