//! What the three vendors' settings have in common: an address, and secrets of which two hold while one is replaced.

use std::fmt;

use plugin_api::SettingsError;
use plugin_api::http::Url;
use secrecy::{ExposeSecret, SecretString};

/// A vendor's address, below whatever path a proxy puts it at.
pub(crate) struct Base(Url);

impl Base {
    pub(crate) fn parse(text: &str) -> Result<Self, SettingsError> {
        let wrong = |detail: &str| SettingsError::new("baseUrl", "malformed", detail);
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
        Ok(Self(url))
    }

    /// `path` begins with a slash.
    pub(crate) fn url(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}{path}", self.0.path().trim_end_matches('/')));
        url
    }
}

/// The values of a secret setting, the newest first. `Debug` shows nothing.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Vec<SecretString>);

impl Secrets {
    /// Blanks separate; an absent or empty setting has none.
    pub(crate) fn parse(setting: Option<&str>) -> Self {
        Self(setting.unwrap_or_default().split_whitespace().map(SecretString::from).collect())
    }

    pub(crate) fn first(&self) -> Option<&str> {
        self.iter().next()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(ExposeSecret::expose_secret)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any of them passes. All are tried, so that the time taken does not tell which one is in use.
    pub(crate) fn any(&self, passes: impl Fn(&str) -> bool) -> bool {
        self.iter().fold(false, |passed, secret| passes(secret) | passed)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_path_prefix_belongs_to_the_address() {
        for base in ["https://proxy.example/twilio", "https://proxy.example/twilio/", " https://proxy.example/twilio"] {
            assert_eq!(Base::parse(base).unwrap().url("/a/b.json").as_str(), "https://proxy.example/twilio/a/b.json");
        }
    }

    #[test]
    fn a_wrong_address_is_named() {
        for base in ["", "twilio", "ftp://example.com", "https://u:p@example.com", "https://example.com/?a=1"] {
            assert_eq!(Base::parse(base).err().unwrap().setting, "baseUrl", "{base}");
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let secrets = Secrets::parse(Some(" new-hush  old-hush\n"));
        assert_eq!(secrets.iter().collect::<Vec<_>>(), ["new-hush", "old-hush"]);
        assert_eq!(format!("{secrets:?}"), "2 secrets");
        assert!(Secrets::parse(None).is_empty() && Secrets::parse(Some(" ")).is_empty());
    }
}
