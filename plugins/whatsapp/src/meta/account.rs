//! One account's settings, parsed. Three ids are easily mixed up: the phone number's, the business account's, and the
//! number itself.

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use plugin_api::http::Url;
use plugin_api::{Secrets, Settings, SettingsError, base_url};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Given {
    phone_number_id: String,
    waba_id: Option<String>,
    access_token: String,
    app_secret: Option<String>,
    verify_token: Option<String>,
    api_version: String,
    base_url: String,
    list_label: String,
}

pub(crate) struct Account {
    base: Url,
    version: String,
    pub(crate) phone_number_id: String,
    pub(crate) waba_id: Option<String>,
    /// With the access token.
    pub(crate) headers: HeaderMap,
    pub(crate) app_secret: Secrets,
    pub(crate) verify_token: Secrets,
    pub(crate) list_label: String,
}

impl Account {
    pub(crate) fn parse(settings: &Settings) -> Result<Self, SettingsError> {
        let given: Given = settings.parse()?;
        Ok(Self {
            base: base_url("baseUrl", &given.base_url)?,
            version: version(&given.api_version)?,
            phone_number_id: id("phoneNumberId", &given.phone_number_id)?,
            waba_id: given.waba_id.map(|text| id("wabaId", &text)).transpose()?,
            headers: HeaderMap::from_iter([(AUTHORIZATION, bearer(&given.access_token)?)]),
            app_secret: Secrets::parse(given.app_secret.as_deref()),
            verify_token: Secrets::parse(given.verify_token.as_deref()),
            list_label: label(&given.list_label)?,
        })
    }

    /// Of a path below the version, without a slash before it.
    pub(crate) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{}/{path}", self.base.path().trim_end_matches('/'), self.version));
        url
    }
}

fn version(text: &str) -> Result<String, SettingsError> {
    let text = text.trim();
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    match text.strip_prefix('v').and_then(|rest| rest.split_once('.')) {
        Some((major, minor)) if number(major) && number(minor) => Ok(text.to_owned()),
        _ => Err(SettingsError::new("apiVersion", "malformed", "must be written like v23.0")),
    }
}

fn id(setting: &str, text: &str) -> Result<String, SettingsError> {
    let text = text.trim();
    if text.is_empty() || text.len() > 32 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(SettingsError::new(setting, "malformed", "must be digits only: Meta's id, not the phone number"));
    }
    Ok(text.to_owned())
}

/// Blanks around a pasted token are dropped; anything a header cannot carry is refused here rather than at send.
fn bearer(text: &str) -> Result<HeaderValue, SettingsError> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        let detail = "must hold visible ASCII characters only, without spaces";
        return Err(SettingsError::new("accessToken", "malformed", detail));
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {text}")).expect("visible ASCII is a header value");
    value.set_sensitive(true);
    Ok(value)
}

fn label(text: &str) -> Result<String, SettingsError> {
    let text = text.trim();
    if (1..=20).contains(&text.chars().count()) {
        return Ok(text.to_owned());
    }
    Err(SettingsError::new("listLabel", "out_of_range", "must have 1 to 20 characters"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn with(name: &str, value: Value) -> Result<Account, SettingsError> {
        let all = json!({"phoneNumberId": "106540352242922", "accessToken": "t", "apiVersion": "v23.0",
            "baseUrl": "https://graph.example/meta/", "listLabel": "Opciones", name: value});
        Account::parse(&all.as_object().unwrap().clone().into_iter().collect())
    }

    #[test]
    fn a_path_prefix_stays_before_the_version() {
        let account = with("apiVersion", json!(" v24.0 ")).unwrap();
        assert_eq!(account.url("1/messages").as_str(), "https://graph.example/meta/v24.0/1/messages");
    }

    #[test]
    fn a_wrong_setting_is_named() {
        for (name, value) in [
            ("phoneNumberId", json!("+523330000000")),
            ("wabaId", json!("")),
            ("accessToken", json!("two words")),
            ("apiVersion", json!("23")),
            ("apiVersion", json!("v23.0/x")),
            ("baseUrl", json!("graph.facebook.com")),
            ("listLabel", json!("Mira todas las opciones")),
        ] {
            assert_eq!(with(name, value.clone()).err().unwrap().setting, name, "{value}");
        }
    }
}
