//! Secrets that verify what a provider sends. Two are valid while one replaces the other.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// At least one; no `Debug`, so that it can't be shown.
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    /// Separated by blanks; `None` for blanks only.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let all: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
        (!all.is_empty()).then_some(Self(all))
    }

    /// The one to present ourselves with.
    pub(crate) fn first(&self) -> &str {
        &self.0[0]
    }

    /// Whether `text` is one of them, in constant time.
    pub(crate) fn contain(&self, text: &str) -> bool {
        self.0.iter().fold(false, |found, secret| found | bool::from(secret.as_bytes().ct_eq(text.as_bytes())))
    }

    /// Whether the hexadecimal `signature` is the HMAC-SHA256 of `body` under one of them.
    pub(crate) fn signed_sha256(&self, body: &[u8], signature: &str) -> bool {
        unhex(signature).is_some_and(|signature| self.signed::<Hmac<Sha256>>(body, &signature))
    }

    /// Whether the base64 `signature` is the HMAC-SHA1 of `text` under one of them.
    pub(crate) fn signed_sha1(&self, text: &str, signature: &str) -> bool {
        STANDARD.decode(signature).is_ok_and(|signature| self.signed::<Hmac<Sha1>>(text.as_bytes(), &signature))
    }

    fn signed<M: Mac + KeyInit>(&self, bytes: &[u8], signature: &[u8]) -> bool {
        self.0.iter().any(|secret| {
            let mac = <M as KeyInit>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
            mac.chain_update(bytes).verify_slice(signature).is_ok()
        })
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| if let [a, b] = pair { Some(digit(*a)? << 4 | digit(*b)?) } else { None }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn metas_vector_verifies_and_nothing_else_does() {
        let body = br#"{"object":"whatsapp_business_account","entry":[]}"#;
        let good = "8b31864510d7b477b277b09d92f19a60ec8328efe61a033398bf1d3d22a08304";
        assert!(Secrets::parse("appSecretMadeUp").unwrap().signed_sha256(body, good));
        assert!(Secrets::parse("another appSecretMadeUp").unwrap().signed_sha256(body, good));
        assert!(!Secrets::parse("another").unwrap().signed_sha256(body, good));
        let secrets = Secrets::parse("appSecretMadeUp").unwrap();
        for bad in ["", "8b", &good[1..], "zz31864510d7b477b277b09d92f19a60ec8328efe61a033398bf1d3d22a08304", "é"] {
            assert!(!secrets.signed_sha256(body, bad), "{bad}");
        }
        assert!(!secrets.signed_sha256(&body[1..], good));
    }

    #[test]
    fn blanks_are_no_secret() {
        assert!(Secrets::parse(" \n ").is_none());
        let two = Secrets::parse(" new\told ").unwrap();
        assert_eq!(two.first(), "new");
        assert!(two.contain("old") && !two.contain("ne") && !two.contain("new old"));
    }
}
