//! The values of a secret setting by which a provider's requests are known. Two hold while one replaces the other.

use std::fmt;

use hmac::{KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

/// The newest first. `Debug` shows nothing, and how long a comparison takes does not tell which one is in use.
#[derive(Clone, Default)]
pub struct Secrets(Vec<SecretString>);

impl Secrets {
    /// Blanks separate; an absent or empty setting has none.
    pub fn parse(setting: Option<&str>) -> Self {
        Self(setting.unwrap_or_default().split_whitespace().map(SecretString::from).collect())
    }

    /// The one to present ourselves with.
    pub fn first(&self) -> Option<&str> {
        self.iter().next()
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(ExposeSecret::expose_secret)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any of them passes. All are tried.
    pub fn any(&self, passes: impl Fn(&str) -> bool) -> bool {
        self.iter().fold(false, |passed, secret| passes(secret) | passed)
    }

    /// Whether this is one of them.
    pub fn contain(&self, given: &[u8]) -> bool {
        self.any(|secret| secret.as_bytes().ct_eq(given).into())
    }

    /// Whether this is an HMAC of the text under one of them.
    pub fn signed<M: Mac + KeyInit>(&self, text: &[u8], signature: &[u8]) -> bool {
        self.any(|secret| is_hmac::<M>(secret, text, signature))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

/// Compares in constant time.
pub fn is_hmac<M: Mac + KeyInit>(key: &str, text: &[u8], signature: &[u8]) -> bool {
    let Ok(mac) = <M as KeyInit>::new_from_slice(key.as_bytes()) else { return false };
    mac.chain_update(text).verify_slice(signature).is_ok()
}

/// What is signed where an address is signed together with the fields of a form (Twilio, and who signs like it): the
/// address, then every field by name, name and value without anything between; a repeated one counts once for each
/// value. Such signers are not consistent about the port that goes without saying, so there are two spellings, the
/// address as it is first. Nothing else may change: a parser would normalise what was signed as it stood.
pub fn address_and_form(url: &str, mut fields: Vec<(String, String)>) -> [String; 2] {
    fields.sort();
    fields.dedup();
    let rest: String = fields.into_iter().flat_map(|(name, value)| [name, value]).collect();
    let url = url.split('#').next().unwrap_or_default();
    [format!("{url}{rest}"), format!("{}{rest}", with_other_port(url))]
}

/// Without the port that is there, or with the usual one.
fn with_other_port(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let port_at = authority.rfind(':').filter(|at| authority[at + 1..].bytes().all(|b| b.is_ascii_digit()));
    match port_at {
        Some(at) => format!("{scheme}://{}{path}", &authority[..at]),
        None => format!("{scheme}://{authority}:{}{path}", if scheme == "https" { 443 } else { 80 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show() {
        let secrets = Secrets::parse(Some(" new-hush  old-hush\n"));
        assert_eq!(secrets.iter().collect::<Vec<_>>(), ["new-hush", "old-hush"]);
        assert_eq!(format!("{secrets:?}"), "2 secrets");
        assert!(Secrets::parse(None).is_empty() && Secrets::parse(Some(" ")).is_empty());
    }

    #[test]
    fn each_of_two_holds_and_a_part_of_one_does_not() {
        let two = Secrets::parse(Some(" new\told "));
        assert_eq!(two.first(), Some("new"));
        assert!(two.contain(b"old") && two.contain(b"new") && !two.contain(b"ne") && !two.contain(b"new old"));
        assert!(!Secrets::default().contain(b""));
    }

    #[test]
    fn a_repeated_field_counts_once_for_each_value() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let fields = vec![pair("To", "1"), pair("MediaUrl", "b"), pair("MediaUrl", "a"), pair("MediaUrl", "b")];
        assert_eq!(address_and_form("x", fields)[0], "xMediaUrlaMediaUrlbTo1");
    }

    #[test]
    fn the_usual_port_may_be_there_or_not() {
        let forms = |url| address_and_form(url, vec![]);
        assert_eq!(forms("https://a.example/x?y=1#z"), ["https://a.example/x?y=1", "https://a.example:443/x?y=1"]);
        assert_eq!(forms("https://a.example:443/x"), ["https://a.example:443/x", "https://a.example/x"]);
        assert_eq!(forms("http://a.example?x=:1"), ["http://a.example?x=:1", "http://a.example:80?x=:1"]);
        assert_eq!(forms("https://[::1]/x"), ["https://[::1]/x", "https://[::1]:443/x"]);
        assert_eq!(forms("nonsense"), ["nonsense", "nonsense"]);
    }
}
