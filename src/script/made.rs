//! Values made for scripts, and read from what they return, without a detour over JSON: what each message costs is paid
//! here.

use rhai::{Dynamic, ImmutableString, Map};
use serde_json::Value;

use super::value;

/// Plain data as a script sees it; what is missing is `()`. What a script returned may hold something else, which is
/// found out when it is read.
#[derive(Clone)]
pub struct Made(Dynamic);

/// The fields of a map.
pub struct Fields(Map);

impl Made {
    pub fn nothing() -> Self {
        Self(Dynamic::UNIT)
    }

    pub fn map<'a>(fields: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        let mut map = Map::new();
        for (name, field) in fields {
            map.insert(name.into(), field.0);
        }
        Self(Dynamic::from_map(map))
    }

    pub fn list(items: impl IntoIterator<Item = Self>) -> Self {
        Self(Dynamic::from_array(items.into_iter().map(|item| item.0).collect()))
    }

    /// A map with another field, or another value of one.
    #[must_use]
    pub fn with(mut self, name: &str, field: Self) -> Self {
        if let Some(mut map) = self.0.write_lock::<Map>() {
            map.insert(name.into(), field.0);
        }
        self
    }

    pub fn is_nothing(&self) -> bool {
        self.0.is_unit()
    }

    /// A text; else the value itself.
    pub fn into_text(self) -> Result<String, Self> {
        if self.0.is_string() { Ok(self.0.into_string().unwrap_or_default()) } else { Err(self) }
    }

    /// The items of a list; else the value itself.
    pub fn into_items(self) -> Result<Vec<Self>, Self> {
        if !self.0.is_array() {
            return Err(self);
        }
        Ok(self.0.into_array().unwrap_or_default().into_iter().map(Self).collect())
    }

    /// The fields of a map; else the value itself.
    pub fn into_fields(self) -> Result<Fields, Self> {
        if self.0.is_map() { Ok(Fields(self.0.cast())) } else { Err(self) }
    }

    /// The error says where it is no plain data, and what it is.
    pub fn into_value(self) -> Result<Value, String> {
        value::to_json(self.0)
    }
}

impl Fields {
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|name| &**name)
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Takes a field out; one that is not there is as one that holds nothing.
    pub fn take(&mut self, name: &str) -> Made {
        Made(self.0.remove(name).unwrap_or(Dynamic::UNIT))
    }

    /// Name by name, each with its value.
    pub fn each<E>(self, mut f: impl FnMut(&str, Made) -> Result<(), E>) -> Result<(), E> {
        self.0.into_iter().try_for_each(|(name, field)| f(&name, Made(field)))
    }
}

impl From<Dynamic> for Made {
    fn from(value: Dynamic) -> Self {
        Self(value)
    }
}

impl From<Fields> for Made {
    fn from(fields: Fields) -> Self {
        Self(Dynamic::from_map(fields.0))
    }
}

impl From<&str> for Made {
    fn from(text: &str) -> Self {
        Self(ImmutableString::from(text).into())
    }
}

impl From<&String> for Made {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<String> for Made {
    fn from(text: String) -> Self {
        Self(ImmutableString::from(text).into())
    }
}

impl From<i64> for Made {
    fn from(number: i64) -> Self {
        Self(number.into())
    }
}

impl From<&Value> for Made {
    fn from(value: &Value) -> Self {
        Self(value::to_dynamic(value))
    }
}

impl<T: Into<Made>> From<Option<T>> for Made {
    fn from(perhaps: Option<T>) -> Self {
        perhaps.map_or_else(Self::nothing, Into::into)
    }
}

impl From<Made> for Dynamic {
    fn from(made: Made) -> Self {
        made.0
    }
}
