//! One account's settings, parsed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use plugin_api::http::Url;
use plugin_api::{Secrets, Settings, SettingsError, base_url};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Given {
    account_sid: String,
    auth_token: String,
    from: Option<String>,
    messaging_service_sid: Option<String>,
    base_url: String,
}

pub(crate) struct Account {
    base: Url,
    pub(crate) sid: String,
    /// With account SID and auth token.
    pub(crate) headers: HeaderMap,
    /// The auth tokens, which sign callbacks.
    pub(crate) tokens: Secrets,
    pub(crate) sender: Sender,
}

pub(crate) enum Sender {
    /// E.164 with the plus.
    Number(String),
    /// Twilio picks the number.
    Service(String),
}

impl Account {
    pub(crate) fn parse(settings: &Settings) -> Result<Self, SettingsError> {
        let given: Given = settings.parse()?;
        let sid = sid("accountSid", "AC", &given.account_sid)?;
        let tokens = Secrets::parse(Some(&given.auth_token));
        let first = tokens.first().ok_or_else(|| SettingsError::new("authToken", "required", "must not be empty"))?;
        let mut basic = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(format!("{sid}:{first}"))))
            .expect("base64 is a header value");
        basic.set_sensitive(true);
        Ok(Self {
            base: base_url("baseUrl", &given.base_url)?,
            headers: HeaderMap::from_iter([(AUTHORIZATION, basic)]),
            sender: sender(given.from.as_deref(), given.messaging_service_sid.as_deref())?,
            sid,
            tokens,
        })
    }

    /// Of something in the account.
    pub(crate) fn url(&self, path: &str) -> Url {
        self.at(&format!("/{path}"))
    }

    /// Of the account.
    pub(crate) fn itself(&self) -> Url {
        self.at(".json")
    }

    fn at(&self, rest: &str) -> Url {
        let mut url = self.base.clone();
        let prefix = self.base.path().trim_end_matches('/');
        url.set_path(&format!("{prefix}/2010-04-01/Accounts/{}{rest}", self.sid));
        url
    }
}

/// Two letters and 32 hexadecimal digits.
pub(crate) fn is_sid(kind: &str, text: &str) -> bool {
    text.strip_prefix(kind).is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn sid(setting: &str, kind: &str, text: &str) -> Result<String, SettingsError> {
    let text = text.trim();
    if is_sid(kind, text) {
        return Ok(text.to_owned());
    }
    Err(SettingsError::new(setting, "malformed", format!("must be {kind} and 32 hexadecimal digits")))
}

fn sender(from: Option<&str>, service: Option<&str>) -> Result<Sender, SettingsError> {
    let given = |text: Option<&str>| text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    match (given(from), given(service)) {
        (Some(from), None) => number(&from).map(Sender::Number),
        (None, Some(service)) => sid("messagingServiceSid", "MG", &service).map(Sender::Service),
        (Some(_), Some(_)) => {
            Err(SettingsError::new("messagingServiceSid", "conflict", "give either this or from, not both"))
        }
        (None, None) => {
            Err(SettingsError::new("from", "required", "give the WhatsApp sender's number, or messagingServiceSid"))
        }
    }
}

/// Kept as it is registered with Twilio, which knows a sender by one spelling only.
fn number(text: &str) -> Result<String, SettingsError> {
    let plain: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '(' | ')')).collect();
    let plain = plain.strip_prefix("whatsapp:").unwrap_or(&plain);
    match plain.strip_prefix('+') {
        Some(digits) if (6..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) => {
            Ok(plain.to_owned())
        }
        _ => Err(SettingsError::new("from", "malformed", "must be a number with its country code: +523330000000")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn with(change: Value) -> Result<Account, SettingsError> {
        let mut all = json!({"accountSid": "AC0123456789abcdef0123456789abcdef", "authToken": "new old",
            "from": "whatsapp:+52 33 3000-0000", "baseUrl": "https://proxy.example/twilio/"});
        all.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        Account::parse(&all.as_object().unwrap().clone().into_iter().collect())
    }

    #[test]
    fn the_first_token_signs_in_and_the_sender_is_plain() {
        let account = with(json!({})).unwrap();
        let sent = account.headers[AUTHORIZATION].to_str().unwrap().strip_prefix("Basic ").unwrap();
        assert_eq!(STANDARD.decode(sent).unwrap(), b"AC0123456789abcdef0123456789abcdef:new");
        assert!(matches!(&account.sender, Sender::Number(n) if n == "+523330000000"));
        let url = account.url("Messages.json");
        assert_eq!(url.path(), "/twilio/2010-04-01/Accounts/AC0123456789abcdef0123456789abcdef/Messages.json");
        assert!(account.itself().path().ends_with("abcdef.json"));
        assert!(!format!("{:?}", account.headers).contains(sent));
    }

    #[test]
    fn a_wrong_setting_is_named() {
        let service = "MG0123456789abcdef0123456789abcdef";
        assert!(with(json!({"from": null, "messagingServiceSid": service})).is_ok());
        for (name, change) in [
            ("accountSid", json!({"accountSid": "SK0123456789abcdef0123456789abcdef"})),
            ("authToken", json!({"authToken": "  "})),
            ("from", json!({"from": "Salon"})),
            ("from", json!({"from": null})),
            ("messagingServiceSid", json!({"from": "", "messagingServiceSid": "MG1"})),
            ("messagingServiceSid", json!({"messagingServiceSid": service})),
        ] {
            assert_eq!(with(change.clone()).err().unwrap().setting, name, "{change}");
        }
    }
}
