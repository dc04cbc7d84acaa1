//! Twilio's signature over a callback: HMAC-SHA1 with the auth token, or HMAC-SHA256 with a shared key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::Hmac;
#[cfg(any(test, feature = "double"))]
use hmac::{KeyInit, Mac};
use plugin_api::{Callback, Refused, Secrets, SettingsError, address_and_form, is_hmac};
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::form;

/// With what Twilio may sign. Two tokens hold while one is replaced.
#[derive(Default)]
pub(crate) struct Keys {
    tokens: Secrets,
    /// By id.
    shared: Vec<(String, SecretString)>,
}

impl Keys {
    /// `shared` holds `id:secret` pairs separated by blanks.
    pub(crate) fn new(tokens: Secrets, shared: Option<&str>) -> Result<Self, SettingsError> {
        let pair = |text: &str| {
            let (id, secret) = text.split_once(':').filter(|(id, secret)| !id.is_empty() && !secret.is_empty())?;
            Some((id.to_owned(), SecretString::from(secret)))
        };
        let pairs: Option<Vec<_>> = shared.unwrap_or_default().split_whitespace().map(pair).collect();
        let wrong = || SettingsError::new("webhookKeys", "malformed", "must hold id:secret, separated by spaces");
        Ok(Self { tokens, shared: pairs.ok_or_else(wrong)? })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.shared.is_empty()
    }

    /// Compares in constant time. A JSON body is covered by its hash in the URL, a form by its fields.
    pub(crate) fn verify(&self, callback: &Callback) -> Result<(), Refused> {
        let unverified = |said: &str| Err(Refused::Unverified(said.to_owned()));
        let Some(signature) = callback.header("x-twilio-signature") else {
            return unverified("the request has no X-Twilio-Signature");
        };
        let Ok(signature) = STANDARD.decode(signature.trim()) else {
            return unverified("X-Twilio-Signature is not base64");
        };
        let fields = match callback.query("bodySHA256") {
            Some(expected) if form::is_json(callback) => {
                if !expected.eq_ignore_ascii_case(&hex::encode(Sha256::digest(&callback.body))) {
                    return unverified("the body is not the one the signature was made over");
                }
                vec![]
            }
            _ if form::is_json(callback) => return unverified("a JSON body needs bodySHA256 in the query"),
            _ => form::pairs(&callback.body),
        };
        let texts = address_and_form(&callback.url, fields);
        let by = |passes: &dyn Fn(&[u8]) -> bool| texts.iter().fold(false, |passed, t| passes(t.as_bytes()) | passed);
        let verified = match shared_key(callback) {
            Some(id) => {
                let mine = self.shared.iter().filter(|(known, _)| *known == id);
                mine.fold(false, |passed, (_, secret)| {
                    by(&|text| is_hmac::<Hmac<Sha256>>(secret.expose_secret(), text, &signature)) | passed
                })
            }
            None => by(&|text| self.tokens.signed::<Hmac<Sha1>>(text, &signature)),
        };
        if verified {
            Ok(())
        } else {
            unverified("the signature is not Twilio's; compare authToken and the public_url")
        }
    }
}

/// Signs as Twilio would, over the URL as it is.
#[cfg(any(test, feature = "double"))]
pub(crate) fn sign(token: &str, url: &str, fields: Vec<(String, String)>) -> String {
    let mut mac = <Hmac<Sha1> as KeyInit>::new_from_slice(token.as_bytes()).expect("any length is a key");
    mac.update(address_and_form(url, fields)[0].as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// As [`sign`], with a shared key.
#[cfg(any(test, feature = "double"))]
pub(crate) fn sign_shared(secret: &str, url: &str, fields: Vec<(String, String)>) -> String {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.as_bytes()).expect("any length is a key");
    mac.update(address_and_form(url, fields)[0].as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// The id of the shared key that signed, if one did.
fn shared_key(callback: &Callback) -> Option<String> {
    let settings = callback.header("x-twilio-webhooks-signature-settings")?;
    let part = |name: &str| {
        settings
            .split(',')
            .filter_map(|part| part.split_once('='))
            .find(|(n, _)| n.trim() == name)
            .map(|(_, v)| v.trim())
    };
    // Without an algorithm it is the token and SHA-1 after all.
    part("algorithm").filter(|algorithm| algorithm.eq_ignore_ascii_case("HMAC_SHA256"))?;
    Some(part("key").unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_contracts_vector_is_reproduced() {
        let fields = [
            ("To", "+523331234567"),
            ("MessageStatus", "delivered"),
            ("AccountSid", "AC0123456789abcdef0123456789abcdef"),
            ("MessageSid", "SMfedcba9876543210fedcba9876543210"),
            ("From", "+15005550006"),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let url = "https://gateway.example.test/hooks/twilio/t-1?ch=sms";
        assert_eq!(sign("authTokenMadeUp", url, fields), "lS/BVRrKFk+FpjzJDUuRWW6eTlo=");
    }

    #[test]
    fn shared_keys_are_read_or_refused() {
        assert!(!Keys::new(Secrets::default(), Some("key1:hush key2:hush:2")).unwrap().is_empty());
        assert!(Keys::new(Secrets::default(), None).unwrap().is_empty());
        for text in ["key1", ":hush", "key1:"] {
            let error = Keys::new(Secrets::default(), Some(text)).err().unwrap();
            assert_eq!(error.setting, "webhookKeys");
            assert!(!error.to_string().contains("hush"));
        }
    }
}
