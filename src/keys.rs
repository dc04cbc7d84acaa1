//! API keys: `rcd_<id>_<secret>`, shown once, found by id, kept as a hash. The secret is 32 random bytes, so a fast
//! hash is enough: there is nothing to guess.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const PREFIX: &str = "rcd_";
const ID_LENGTH: usize = 12;
const SECRET_LENGTH: usize = 43;
/// No `_`, which separates, and no letters that are easily taken for digits.
const ID_LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A key just made: the text goes to its owner, the rest into the store.
#[derive(Debug)]
pub struct NewKey {
    pub id: String,
    pub text: SecretString,
    pub hash: KeyHash,
    /// The last four characters, to recognise it by.
    pub hint: String,
}

pub fn generate() -> NewKey {
    let id: String =
        rand::random::<[u8; ID_LENGTH]>().iter().map(|b| ID_LETTERS[usize::from(b % 32)] as char).collect();
    let secret = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    let hint = secret[SECRET_LENGTH - 4..].to_owned();
    let hash = KeyHash::of(&secret);
    NewKey { text: format!("{PREFIX}{id}_{secret}").into(), id, hash, hint }
}

/// A key as a caller presented it: well formed, not yet known to be right.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    pub id: &'a str,
    secret: &'a str,
}

impl<'a> Presented<'a> {
    /// `None` when the text is no key of ours at all.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let shaped = id.len() == ID_LENGTH
            && id.bytes().all(|b| ID_LETTERS.contains(&b))
            && secret.len() == SECRET_LENGTH
            && secret.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        shaped.then_some(Self { id, secret })
    }

    pub fn hash(&self) -> KeyHash {
        KeyHash::of(self.secret)
    }

    /// In constant time.
    pub fn matches(&self, stored: &KeyHash) -> bool {
        self.hash().0.ct_eq(&stored.0).into()
    }
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented").field("id", &self.id).finish_non_exhaustive()
    }
}

/// SHA-256 of a key's secret; written and read as 64 hex digits. Not comparable with `==`, on purpose.
#[derive(Clone, Copy)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret).into())
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash")
    }
}

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("not a key hash: 64 hex digits are expected")]
pub struct NotAHash;

impl FromStr for KeyHash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Self, NotAHash> {
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(NotAHash);
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| NotAHash)?;
        }
        Ok(Self(bytes))
    }
}

/// Is it the configured secret (operator key, cron secret)? In constant time, and without showing its length.
pub fn same_secret(presented: &str, configured: &str) -> bool {
    let digest = |text: &str| <[u8; 32]>::from(Sha256::digest(text));
    digest(presented).ct_eq(&digest(configured)).into()
}

/// What a key may do. Each is given by itself: `admin` does not imply `send`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    Send,
    Read,
    Admin,
}

impl Scope {
    pub const ALL: [Self; 3] = [Self::Send, Self::Read, Self::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("unknown scope \"{0}\": use send, read or admin")]
pub struct UnknownScope(String);

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or_else(|| UnknownScope(text.to_owned()))
    }
}

/// A set of scopes: `send,read` as text, `["send", "read"]` as JSON.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    pub const fn all() -> Self {
        Self(0b111)
    }

    pub fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.contains(*scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |set, scope| set | scope.bit()))
    }
}

impl FromStr for Scopes {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::parse).collect()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.iter().map(Scope::as_str).collect();
        f.write_str(&words.join(","))
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scopes({self})")
    }
}

impl serde::Serialize for Scopes {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.iter())
    }
}

impl<'de> serde::Deserialize<'de> for Scopes {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Vec::<Scope>::deserialize(d)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_generated_key_is_found_by_its_id_and_matches_its_stored_hash() {
        let key = generate();
        let presented = Presented::parse(key.text.expose_secret()).unwrap();
        assert_eq!(presented.id, key.id);
        assert!(key.text.expose_secret().ends_with(&key.hint));
        let stored: KeyHash = key.hash.to_string().parse().unwrap();
        assert!(presented.matches(&stored));
        assert!(!presented.matches(&generate().hash));
    }

    #[test]
    fn what_is_no_key_is_not_taken_for_one() {
        let key = generate();
        let text = key.text.expose_secret();
        let wrong = ["", "undefined", "null", "rcd_", "rcd__", "rcd_abc_def", &text[1..], &text[..text.len() - 1]];
        for text in wrong {
            assert!(Presented::parse(text).is_none(), "{text}");
        }
        assert!(Presented::parse(&format!("{text}x")).is_none());
        assert!(Presented::parse(&text.replace("rcd_", "RCD_")).is_none());
        assert!("zz".repeat(32).parse::<KeyHash>().is_err());
        assert!("é".repeat(32).parse::<KeyHash>().is_err());
    }

    #[test]
    fn neither_key_nor_secret_shows_in_debug() {
        let key = generate();
        let secret = key.text.expose_secret().rsplit_once(&key.id).unwrap().1.to_owned();
        let shown = format!("{key:?} {:?}", Presented::parse(key.text.expose_secret()).unwrap());
        assert!(!shown.contains(&secret[1..]), "{shown}");
        assert!(!shown.contains(&key.hash.to_string()), "{shown}");
    }

    #[test]
    fn scopes_are_read_and_written_as_text_and_json() {
        let scopes: Scopes = "read, send".parse().unwrap();
        assert_eq!(scopes.to_string(), "send,read");
        assert_eq!(serde_json::to_string(&scopes).unwrap(), r#"["send","read"]"#);
        assert_eq!(serde_json::from_str::<Scopes>(r#"["read","send","read"]"#).unwrap(), scopes);
        assert!(scopes.contains(Scope::Read) && !scopes.contains(Scope::Admin));
        assert_eq!(Scopes::all(), Scope::ALL.into_iter().collect());
        assert!("".parse::<Scopes>().unwrap().is_empty());
        assert_eq!(
            "send,root".parse::<Scopes>().unwrap_err().to_string(),
            "unknown scope \"root\": use send, read or admin"
        );
    }

    #[test]
    fn a_configured_secret_matches_only_itself() {
        assert!(same_secret("0123456789abcdef", "0123456789abcdef"));
        assert!(!same_secret("0123456789abcde", "0123456789abcdef"));
        assert!(!same_secret("", "0123456789abcdef"));
    }
}
