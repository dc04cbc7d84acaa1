//! One account's settings, parsed: where it is, which inbox, and the token that never shows.

use std::fmt;

use http::HeaderValue;
use plugin_api::http::Url;
use plugin_api::{Settings, SettingsError, base_url};

use serde::Deserialize;

/// `webhookSecret` is checked where deliveries arrive, not here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Given {
    base_url: String,
    account_id: i64,
    inbox_id: i64,
    api_access_token: String,
}

pub(crate) struct Account {
    base: Url,
    pub(crate) account_id: u64,
    pub(crate) inbox_id: u64,
    pub(crate) token: HeaderValue,
}

impl Account {
    pub(crate) fn parse(settings: &Settings) -> Result<Self, SettingsError> {
        let given: Given = settings.parse()?;
        Ok(Self {
            base: base_url("baseUrl", &given.base_url)?,
            account_id: id("accountId", given.account_id)?,
            inbox_id: id("inboxId", given.inbox_id)?,
            token: token(&given.api_access_token)?,
        })
    }

    /// The URL of an API path, below whatever path the server itself lives at.
    pub(crate) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url
    }

    /// As [`Account::url`], inside the account.
    pub(crate) fn account_url(&self, path: &str) -> Url {
        self.url(&format!("/api/v1/accounts/{}{path}", self.account_id))
    }

    /// Names server, account and inbox. Ids remembered at one place mean other people at another.
    pub(crate) fn place(&self) -> String {
        format!("{} {} {}", self.base.as_str().trim_end_matches('/'), self.account_id, self.inbox_id)
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Account").field(&self.place()).finish()
    }
}

fn id(setting: &str, number: i64) -> Result<u64, SettingsError> {
    match u64::try_from(number) {
        Ok(id) if id > 0 => Ok(id),
        _ => Err(SettingsError::new(setting, "out_of_range", "must be 1 or more")),
    }
}

/// Blanks around a pasted token are dropped; anything a header cannot carry is refused here rather than at send.
fn token(text: &str) -> Result<HeaderValue, SettingsError> {
    let text = text.trim();
    let wrong = |code, detail: &str| SettingsError::new("apiAccessToken", code, detail);
    if text.is_empty() {
        return Err(wrong("required", "must not be empty"));
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(wrong("malformed", "must hold visible ASCII characters only, without spaces"));
    }
    let mut value = HeaderValue::from_str(text).expect("visible ASCII is a header value");
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn settings(base: &str, token: &str) -> Settings {
        let json = serde_json::json!({"baseUrl": base, "accountId": 1, "inboxId": 7, "apiAccessToken": token});
        Settings(json.as_object().unwrap().clone())
    }

    #[test]
    fn a_path_prefix_and_a_trailing_slash_are_kept_apart() {
        for base in ["https://example.com/soporte", "https://example.com/soporte/"] {
            let account = Account::parse(&settings(base, "t")).unwrap();
            assert_eq!(
                account.account_url("/contacts").as_str(),
                "https://example.com/soporte/api/v1/accounts/1/contacts"
            );
        }
        let account = Account::parse(&settings("https://example.com/", "t")).unwrap();
        assert_eq!(account.url("/api/v1/profile").as_str(), "https://example.com/api/v1/profile");
    }

    #[test]
    fn a_wrong_setting_is_named() {
        let fault = |s: &Settings| Account::parse(s).unwrap_err().setting;
        for base in ["chat", "ftp://example.com", "https://u:p@example.com", "https://example.com/?a=1"] {
            assert_eq!(fault(&settings(base, "t")), "baseUrl", "{base}");
        }
        for token in ["", "  ", "two words", "clave\u{f1}"] {
            assert_eq!(fault(&settings("https://example.com", token)), "apiAccessToken");
        }
        let mut zero = settings("https://example.com", "t");
        zero.0.insert("inboxId".into(), 0.into());
        assert_eq!(fault(&zero), "inboxId");
    }

    #[test]
    fn the_token_is_not_in_debug() {
        let account = Account::parse(&settings("https://example.com", " hush-hush\n")).unwrap();
        assert!(!format!("{account:?} {:?}", account.token).contains("hush"));
    }
}
