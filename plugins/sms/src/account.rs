//! What the three vendors' settings have in common.

use plugin_api::http::Url;
use plugin_api::{SettingsError, base_url};

/// A vendor's address, below whatever path a proxy puts it at.
pub(crate) struct Base(Url);

impl Base {
    pub(crate) fn parse(text: &str) -> Result<Self, SettingsError> {
        base_url("baseUrl", text).map(Self)
    }

    /// `path` begins with a slash.
    pub(crate) fn url(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}{path}", self.0.path().trim_end_matches('/')));
        url
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
}
