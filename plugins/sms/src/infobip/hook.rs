//! How Infobip's requests to us are known to be Infobip's. The reports of a message go to an address we give with it,
//! which carries a key derived from the account's webhook password; replies are set up in the portal, with the password
//! as Basic credentials.

use hmac::{Hmac, KeyInit, Mac};
use plugin_api::http::Url;
use plugin_api::{Callback, Refused, Secrets, SettingsError};
use sha2::Sha256;

use crate::basic;

/// Two hold while one is replaced.
#[derive(Default)]
pub(crate) struct Passwords(Secrets);

impl Passwords {
    pub(crate) fn parse(setting: Option<&str>) -> Result<Self, SettingsError> {
        let secrets = Secrets::parse(setting);
        if secrets.iter().any(|password| password.len() < 16) {
            let detail = "each password must have 16 characters or more; `openssl rand -hex 16` makes one";
            return Err(SettingsError::new("webhookPassword", "too_short", detail));
        }
        Ok(Self(secrets))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The hook's address with the key. The password itself would end up in the logs of proxies.
    pub(crate) fn report_url(&self, hook: &str) -> Option<String> {
        let mut url = Url::parse(hook).ok()?;
        let key = hex::encode(derived(self.0.first()?).finalize().into_bytes());
        url.query_pairs_mut().append_pair("key", &key);
        Some(url.into())
    }

    /// Compares in constant time.
    pub(crate) fn verify(&self, callback: &Callback) -> Result<(), Refused> {
        let key = callback.query("key").and_then(|key| hex::decode(key).ok());
        let password = callback.header("authorization").and_then(basic::password);
        let verified = match (key, password) {
            (Some(key), _) => self.0.any(|password| derived(password).verify_slice(&key).is_ok()),
            (None, Some(given)) => self.0.contain(&given),
            (None, None) => {
                let said = "the request has neither our key nor Basic credentials; give Infobip the webhookPassword";
                return Err(Refused::Unverified(said.into()));
            }
        };
        let said = "the credentials are not this account's; compare webhookPassword with the webhook at Infobip";
        if verified { Ok(()) } else { Err(Refused::Unverified(said.into())) }
    }
}

fn derived(password: &str) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(password.as_bytes()).expect("any length is a key");
    mac.update(b"infobip delivery reports");
    mac
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_address_carries_a_key_but_no_password() {
        let passwords = Passwords::parse(Some("password-of-ours-1 password-of-ours-0")).unwrap();
        let url = passwords.report_url("https://recado.example/hooks/sms/t-1").unwrap();
        assert!(url.starts_with("https://recado.example/hooks/sms/t-1?key=") && !url.contains("ours"));
        assert_eq!(Passwords::default().report_url("https://recado.example/"), None);
        assert_eq!(Passwords::parse(Some("short")).err().unwrap().setting, "webhookPassword");
    }
}
