//! JSON to Rhai and back.

use rhai::{Dynamic, ImmutableString, Map};
use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::{Number, Value};

use super::Moment;

/// Levels of a result; JSON from outside has no more either.
const DEPTH: usize = 64;

/// `null` becomes `()`; a number too large for Rhai's integers a float.
pub(super) fn to_dynamic(value: &Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(b) => (*b).into(),
        Value::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(i), _) => i.into(),
            (None, Some(f)) => f.into(),
            (None, None) => Dynamic::UNIT,
        },
        Value::String(s) => ImmutableString::from(s.as_str()).into(),
        // Not `into`, which moves each item to another list.
        Value::Array(items) => Dynamic::from_array(items.iter().map(to_dynamic).collect()),
        Value::Object(fields) => {
            // One by one: collecting sorts what is sorted already.
            let mut map = Map::new();
            for (name, field) in fields {
                map.insert(name.as_str().into(), to_dynamic(field));
            }
            Dynamic::from_map(map)
        }
    }
}

/// The error says where the value is not data, and what it is.
pub(super) fn to_json(value: Dynamic) -> Result<Value, String> {
    convert(value, 0).map_err(|NoData { path, what }| {
        let path = path.trim_start_matches('.');
        format!("{} {what}", if path.is_empty() { "it" } else { path })
    })
}

/// The JSON of a value, written as it is walked through. The error is that of [`to_json`].
pub(super) fn to_text(value: &Dynamic) -> Result<String, String> {
    serde_json::to_string(&Data { value, depth: 0 }).map_err(|_| why_not(value.clone()))
}

/// As [`to_text`].
pub(super) fn map_to_text(fields: &Map) -> Result<String, String> {
    serde_json::to_string(&DataMap { fields, depth: 0 }).map_err(|_| why_not(Dynamic::from_map(fields.clone())))
}

fn why_not(value: Dynamic) -> String {
    to_json(value).err().unwrap_or_else(|| "it can't be written".to_owned())
}

struct Data<'a> {
    value: &'a Dynamic,
    depth: usize,
}

struct DataMap<'a> {
    fields: &'a Map,
    depth: usize,
}

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { value, depth } = *self;
        if depth > DEPTH {
            return Err(S::Error::custom("nested too deep"));
        }
        if let Ok(text) = value.as_immutable_string_ref() {
            return serializer.serialize_str(&text);
        }
        if let Ok(fields) = value.as_map_ref() {
            return DataMap { fields: &fields, depth }.serialize(serializer);
        }
        if let Ok(items) = value.as_array_ref() {
            return serializer.collect_seq(items.iter().map(|value| Data { value, depth: depth + 1 }));
        }
        // The rest is small, or no data.
        convert(value.clone(), depth).map_err(|_| S::Error::custom("no data"))?.serialize(serializer)
    }
}

impl Serialize for DataMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let depth = self.depth + 1;
        serializer.collect_map(self.fields.iter().map(|(name, value)| (name.as_str(), Data { value, depth })))
    }
}

/// Where, told from the inside out, and what is wrong there.
struct NoData {
    path: String,
    what: String,
}

impl NoData {
    fn new(what: impl Into<String>) -> Self {
        Self { path: String::new(), what: what.into() }
    }

    fn within(self, step: &str) -> Self {
        Self { path: format!("{step}{}", self.path), ..self }
    }
}

fn convert(value: Dynamic, depth: usize) -> Result<Value, NoData> {
    if depth > DEPTH {
        return Err(NoData::new(format!("is nested deeper than {DEPTH} levels")));
    }
    if value.is_unit() {
        return Ok(Value::Null);
    }
    if value.is_string() {
        return Ok(value.into_string().map_or(Value::Null, Value::String));
    }
    if let Ok(b) = value.as_bool() {
        return Ok(b.into());
    }
    if let Ok(i) = value.as_int() {
        return Ok(i.into());
    }
    if let Ok(f) = value.as_float() {
        return Number::from_f64(f).map(Value::Number).ok_or_else(|| NoData::new("is not a finite number"));
    }
    if let Ok(c) = value.as_char() {
        return Ok(c.to_string().into());
    }
    if value.is_array() {
        let items = value.into_array().unwrap_or_default().into_iter().enumerate();
        return items.map(|(n, item)| convert(item, depth + 1).map_err(|e| e.within(&format!("[{n}]")))).collect();
    }
    let kind = value.type_name();
    if let Some(moment) = value.read_lock::<Moment>() {
        return Ok(moment.at.to_string().into());
    }
    match value.try_cast::<Map>() {
        Some(fields) => fields
            .into_iter()
            .map(|(name, field)| match convert(field, depth + 1) {
                Ok(field) => Ok((name.to_string(), field)),
                Err(e) => Err(e.within(&format!(".{name}"))),
            })
            .collect::<Result<serde_json::Map<_, _>, _>>()
            .map(Value::Object),
        None => Err(NoData::new(format!("is a {kind}"))),
    }
}
