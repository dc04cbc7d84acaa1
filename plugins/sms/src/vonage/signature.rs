//! Vonage's signature over a webhook's parameters: `&name=value` of each, sorted, hashed as the account chose.

use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use plugin_api::{Refused, Secrets};
use serde::Deserialize;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

use crate::form::field;
use crate::time;

/// How far the signed time may be from ours.
const TOLERANCE: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Method {
    /// MD5 of the parameters followed by the secret; the others are HMACs.
    Md5hash,
    Md5,
    Sha1,
    Sha256,
    Sha512,
}

/// The secrets of one account; two hold while one is replaced.
pub(crate) struct Keys {
    secrets: Secrets,
    method: Method,
}

impl Keys {
    pub(crate) fn new(secrets: Secrets, method: Method) -> Self {
        Self { secrets, method }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// Compares in constant time, and then judges the signed time.
    pub(crate) fn verify(&self, parameters: &[(String, String)], received_at: SystemTime) -> Result<(), Refused> {
        let unverified = |said: &str| Err(Refused::Unverified(said.to_owned()));
        let Some(theirs) = field(parameters, "sig") else {
            return unverified("there is no sig; switch signed webhooks on at Vonage");
        };
        let Ok(theirs) = hex::decode(theirs) else {
            return unverified("the sig is not hexadecimal");
        };
        let text = signed_text(parameters);
        if !self.secrets.any(|secret| digest(self.method, secret, &text).ct_eq(&theirs).into()) {
            return unverified(
                "the sig is not Vonage's; compare signatureSecret and signatureMethod with its dashboard",
            );
        }
        let Some(signed_at) = field(parameters, "timestamp").and_then(time::unix) else {
            return unverified("the signature covers no timestamp");
        };
        let apart = received_at.duration_since(signed_at).unwrap_or_else(|ahead| ahead.duration());
        if apart > TOLERANCE {
            let said = "it was signed more than 300 seconds ago or ahead; compare the clocks";
            return Err(Refused::Stale(said.to_owned()));
        }
        Ok(())
    }
}

/// In values `&` and `=` count as `_`, so that nothing can be moved from one parameter into another.
fn signed_text(parameters: &[(String, String)]) -> String {
    let mut sorted: Vec<_> = parameters.iter().filter(|(name, _)| name != "sig").collect();
    sorted.sort();
    sorted
        .into_iter()
        .fold(String::new(), |text, (name, value)| text + "&" + name + "=" + &value.replace(['&', '='], "_"))
}

fn digest(method: Method, secret: &str, text: &str) -> Vec<u8> {
    match method {
        Method::Md5hash => Md5::new().chain_update(text).chain_update(secret).finalize().to_vec(),
        Method::Md5 => keyed::<Hmac<Md5>>(secret, text),
        Method::Sha1 => keyed::<Hmac<Sha1>>(secret, text),
        Method::Sha256 => keyed::<Hmac<Sha256>>(secret, text),
        Method::Sha512 => keyed::<Hmac<Sha512>>(secret, text),
    }
}

fn keyed<M: Mac + KeyInit>(secret: &str, text: &str) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(secret.as_bytes()).expect("an HMAC takes a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Signs as Vonage would: in capitals, but for the plain hash.
#[cfg(any(test, feature = "double"))]
pub(crate) fn sign(method: Method, secret: &str, parameters: &[(String, String)]) -> String {
    let sig = hex::encode(digest(method, secret, &signed_text(parameters)));
    if method == Method::Md5hash { sig } else { sig.to_uppercase() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SECRET: &str = "signatureSecretMadeUp";

    const VECTORS: [&str; 5] = [
        "b0a179e42d2acfe4a6fe93f516afa07c",
        "1434c61ef3bf98717d0a8e529e612dd0",
        "41fc7dce3e1effbfa7b17a0e25162335810649b3",
        "d71679573c9f8c0f5c5e5774140f56c352321be7848fee53df9082fcf9f75ad7",
        "9bd5a321431e861c423bc5c6dec3181ec30184d1d690909e05deac7df8307247b84045d5f7bde236ce75c42004cf8c75082fef24ed39db19b77ffb1ab308697b",
    ];

    fn parameters() -> Vec<(String, String)> {
        let pairs = [("timestamp", "1785250803"), ("text", "a&b=c ñ"), ("msisdn", "523331234567"), ("nonce", "n-1")];
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    /// The HMACs were made with the vendor's Python client 1.5.1, the plain hash with `md5sum`.
    #[test]
    fn each_way_of_signing_is_reproduced() {
        for (method, expected) in [
            (Method::Md5hash, VECTORS[0]),
            (Method::Md5, VECTORS[1]),
            (Method::Sha1, VECTORS[2]),
            (Method::Sha256, VECTORS[3]),
            (Method::Sha512, VECTORS[4]),
        ] {
            assert_eq!(sign(method, SECRET, &parameters()).to_lowercase(), expected, "{method:?}");
        }
    }

    #[test]
    fn the_time_is_judged_on_both_sides() {
        let keys = Keys::new(Secrets::parse(Some(SECRET)), Method::Sha256);
        let signed_at = time::unix("1785250803").unwrap();
        let mut signed = parameters();
        let sig = sign(Method::Sha256, SECRET, &signed);
        signed.push(("sig".into(), sig));
        let at = |seconds: i64| {
            let apart = Duration::from_secs(seconds.unsigned_abs());
            keys.verify(&signed, if seconds < 0 { signed_at - apart } else { signed_at + apart })
        };
        assert_eq!((at(0), at(300), at(-300)), (Ok(()), Ok(()), Ok(())));
        assert!(at(301).is_err() && at(-301).is_err());
    }
}
