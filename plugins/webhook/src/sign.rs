//! Signatures as Standard Webhooks define them: `v1,` and the HMAC-SHA256 of `id.timestamp.body`.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use plugin_api::SettingsError;
use sha2::Sha256;

/// The keys of one account, ready to sign.
pub(crate) struct Signer(Vec<Hmac<Sha256>>);

impl Signer {
    /// `secrets` holds one `whsec_…`, or several separated by spaces.
    pub(crate) fn new(secrets: &str) -> Result<Self, SettingsError> {
        let keys: Vec<_> = secrets.split_whitespace().map(key).collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Err(wrong("must hold a secret"));
        }
        Ok(Self(keys))
    }

    /// One signature for each key, separated by spaces.
    pub(crate) fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        let mut signatures = String::with_capacity(self.0.len() * 48);
        for key in &self.0 {
            let mut mac = key.clone();
            for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
                mac.update(part);
            }
            signatures.push_str(if signatures.is_empty() { "v1," } else { " v1," });
            STANDARD.encode_string(mac.finalize().into_bytes(), &mut signatures);
        }
        signatures
    }
}

fn key(secret: &str) -> Result<Hmac<Sha256>, SettingsError> {
    let text = secret.strip_prefix("whsec_").ok_or_else(|| wrong("must start with whsec_"))?;
    let bytes = decode(text).ok_or_else(|| wrong("must be base64 after whsec_"))?;
    // The standard recommends 24 to 64 bytes; from 16 on a key is out of reach of guessing.
    if !(16..=64).contains(&bytes.len()) {
        return Err(wrong("must hold 16 to 64 bytes after whsec_"));
    }
    Hmac::new_from_slice(&bytes).map_err(|_| wrong("is not a usable key"))
}

/// Base64, padded or not. Padded pieces put together, as some generators do, are the pieces' bytes one after the other.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for piece in text.split_inclusive('=') {
        if piece != "=" {
            bytes.extend(STANDARD_NO_PAD.decode(piece.trim_end_matches('=')).ok()?);
        }
    }
    Some(bytes)
}

fn wrong(detail: &str) -> SettingsError {
    SettingsError::new("secret", "malformed", detail)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn the_published_example_is_reproduced() {
        let signer = Signer::new(SECRET).unwrap();
        assert_eq!(signer.sign(ID, "1614265330", br#"{"test": 2432232314}"#), SIGNATURE);
    }

    #[test]
    fn each_secret_signs_while_one_is_replaced() {
        let signer = Signer::new(&format!("{SECRET}  whsec_{}", STANDARD.encode([7; 32]))).unwrap();
        let signatures = signer.sign(ID, "1614265330", br#"{"test": 2432232314}"#);
        let all: Vec<_> = signatures.split(' ').collect();
        assert_eq!((all.len(), all[0]), (2, SIGNATURE));
        assert!(all[1].starts_with("v1,") && all[1] != SIGNATURE);
    }

    #[test]
    fn unusable_secrets_are_named_without_being_shown() {
        for secret in ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_%%%%", "whsec_c2hvcnQ="] {
            let error = Signer::new(secret).err().unwrap();
            assert_eq!(error.setting, "secret");
            assert!(secret.len() < 8 || !error.to_string().contains(secret));
        }
    }
}
