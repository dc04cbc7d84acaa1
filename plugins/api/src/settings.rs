//! One account's settings: a JSON object whose secrets never show in `Debug`.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use url::Url;

/// The settings of one account, checked against its provider's schema.
#[derive(Clone, Default)]
pub struct Settings(pub Map<String, Value>);

/// What is wrong with a setting, by name.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{setting}: {detail}")]
pub struct SettingsError {
    /// Its name, dotted where nested, e.g. `dkim.selector`.
    pub setting: String,
    /// `required`, `unknown_field`, `wrong_type`, `out_of_range`, or a word of the plugin's own.
    pub code: &'static str,
    pub detail: String,
}

impl SettingsError {
    pub fn new(setting: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self { setting: setting.into(), code, detail: detail.into() }
    }
}

impl Settings {
    /// As callers write them: dotted names become objects.
    pub fn nested(self) -> Map<String, Value> {
        let mut nested = Map::new();
        for (name, value) in self.0 {
            match name.split_once('.') {
                None => drop(nested.insert(name, value)),
                Some((outer, inner)) => {
                    let fields = nested.entry(outer).or_insert_with(|| Map::new().into());
                    if let Value::Object(fields) = fields {
                        fields.insert(inner.to_owned(), value);
                    }
                }
            }
        }
        nested
    }

    /// The settings as the plugin's own type. The schema has been checked before, so an error here means that the
    /// manifest and the type disagree.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, SettingsError> {
        serde_json::from_value(Value::Object(self.0.clone()))
            .map_err(|e| SettingsError::new("settings", "wrong_type", e.to_string()))
    }
}

/// A setting that says where an API lives, path prefix included. Whether it may be reached is the guard's question.
pub fn base_url(setting: &str, text: &str) -> Result<Url, SettingsError> {
    let wrong = |detail: &str| SettingsError::new(setting, "malformed", detail);
    let url = Url::parse(text.trim()).map_err(|_| wrong("must be a URL such as https://api.example.com"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(wrong("must begin with https:// and name a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("must not hold a user name or password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("must end before any ? or #"));
    }
    Ok(url)
}

impl FromIterator<(String, Value)> for Settings {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(items: I) -> Self {
        Self(items.into_iter().collect())
    }
}

/// Names only: which value is secret is the manifest's knowledge, and a log line has no use for the others.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
