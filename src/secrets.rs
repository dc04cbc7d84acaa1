//! Secrets at rest: sealed with a key per tenant derived from the master key, and bound to tenant, record and field, so
//! that a value copied into another row does not open.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::{Digest, Sha256};

const VERSION: &str = "v1";
const KEY_LENGTH: usize = 32;
const NONCE_LENGTH: usize = 24;

#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    #[error("{path}: {source}")]
    File { path: String, source: io::Error },
    #[error("{path}:{line}: not a key: base64 of 32 bytes is expected, as `openssl rand -base64 32` prints it")]
    NotAKey { path: String, line: usize },
    #[error("{path}: holds no key: put back the file that this store was used with")]
    Empty { path: String },
    #[error("not a sealed value")]
    NotSealed,
    #[error("sealed with the key {0}, which is not in the key file: put its line back")]
    UnknownKey(String),
    #[error("does not open: altered, or moved from another place")]
    DoesNotOpen,
}

/// The master keys: the first seals, all open.
#[derive(Debug)]
pub struct Keyring(Vec<MasterKey>);

#[derive(Debug)]
struct MasterKey {
    /// Names the key in what it sealed; says nothing about it.
    id: String,
    key: SecretBox<[u8; KEY_LENGTH]>,
}

impl MasterKey {
    fn new(key: SecretBox<[u8; KEY_LENGTH]>) -> Self {
        let digest: [u8; 32] =
            Sha256::new().chain_update(b"recado key id").chain_update(key.expose_secret()).finalize().into();
        let [a, b, c, d, ..] = digest;
        Self { id: format!("{:08x}", u32::from_be_bytes([a, b, c, d])), key }
    }

    fn cipher(&self, tenant: &str) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.derive::<KEY_LENGTH>(&["recado tenant key", tenant])).into())
    }

    fn link_cipher(&self, purpose: &str) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.derive::<KEY_LENGTH>(&["recado link key", purpose])).into())
    }

    fn derive<const LENGTH: usize>(&self, info: &[&str]) -> Zeroizing<[u8; LENGTH]> {
        let mut derived = Zeroizing::new([0; LENGTH]);
        Hkdf::<Sha256>::new(None, self.key.expose_secret())
            .expand(&bound(info), &mut *derived)
            .expect("HKDF-SHA256 gives up to 8160 bytes");
        derived
    }
}

impl Keyring {
    /// Reads the key file; at the first start makes it, with its folders, readable by its owner alone.
    pub fn load_or_create(path: &Path) -> Result<Self, SecretsError> {
        let failed = |source| SecretsError::File { path: path.display().to_string(), source };
        let text = match fs::read_to_string(path) {
            Ok(text) => Zeroizing::new(text),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                create(path).map_err(failed)?;
                Zeroizing::new(fs::read_to_string(path).map_err(failed)?)
            }
            Err(e) => return Err(failed(e)),
        };
        let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            // Not an error: mounted secrets often come so, and the operator may know better.
            tracing::warn!(path = %path.display(), "the key file can be read by others: chmod 600");
        }
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, SecretsError> {
        let mut keys = vec![];
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bytes = STANDARD.decode(line).map(Zeroizing::new).ok();
            let key = bytes.and_then(|bytes| <[u8; KEY_LENGTH]>::try_from(bytes.as_slice()).ok());
            let key = key.ok_or_else(|| SecretsError::NotAKey { path: path.display().to_string(), line: at + 1 })?;
            keys.push(MasterKey::new(SecretBox::new(Box::new(key))));
        }
        if keys.is_empty() {
            return Err(SecretsError::Empty { path: path.display().to_string() });
        }
        Ok(Self(keys))
    }

    /// As text for the store: `v1:<key id>:<base64url of nonce and ciphertext>`.
    pub fn seal(&self, tenant: &str, record: &str, field: &str, plain: &str) -> String {
        let master = &self.0[0];
        let nonce = rand::random::<[u8; NONCE_LENGTH]>();
        let aad = bound(&[tenant, record, field]);
        let sealed = master
            .cipher(tenant)
            .encrypt(&XNonce::from(nonce), Payload { msg: plain.as_bytes(), aad: &aad })
            .expect("encryption fails only beyond 256 GiB");
        format!("{VERSION}:{}:{}", master.id, URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
    }

    pub fn open(&self, tenant: &str, record: &str, field: &str, sealed: &str) -> Result<SecretString, SecretsError> {
        let mut parts = sealed.splitn(3, ':');
        let (Some(VERSION), Some(id), Some(body)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(SecretsError::NotSealed);
        };
        let body = URL_SAFE_NO_PAD.decode(body).map_err(|_| SecretsError::NotSealed)?;
        let (nonce, msg) = body.split_first_chunk::<NONCE_LENGTH>().ok_or(SecretsError::NotSealed)?;
        let aad = bound(&[tenant, record, field]);
        // The short id may, once in four billion, stand for two keys.
        let mut keys = self.0.iter().filter(|key| key.id == id).peekable();
        if keys.peek().is_none() {
            return Err(SecretsError::UnknownKey(id.chars().take(8).collect()));
        }
        let plain = keys
            .find_map(|key| key.cipher(tenant).decrypt(&XNonce::from(*nonce), Payload { msg, aad: &aad }).ok())
            .ok_or(SecretsError::DoesNotOpen)?;
        String::from_utf8(plain).map(SecretString::from).map_err(|_| SecretsError::DoesNotOpen)
    }

    /// Seals a text for a link that people get: in letters fit for a URL, and always the same for the same text. That
    /// shows who got the same link twice, and no more: the nonce is a keyed hash of the text.
    pub fn seal_link(&self, purpose: &str, text: &str) -> String {
        let master = &self.0[0];
        let nonce = *master.derive::<NONCE_LENGTH>(&["recado link nonce", purpose, text]);
        let sealed = master
            .link_cipher(purpose)
            .encrypt(&XNonce::from(nonce), text.as_bytes())
            .expect("encryption fails only beyond 256 GiB");
        format!("{}{}", master.id, URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
    }

    /// `None` for whatever this keyring did not seal for this purpose.
    pub fn open_link(&self, purpose: &str, link: &str) -> Option<String> {
        let (id, body) = link.split_at_checked(8)?;
        let body = URL_SAFE_NO_PAD.decode(body).ok()?;
        let (nonce, sealed) = body.split_first_chunk::<NONCE_LENGTH>()?;
        let keys = self.0.iter().filter(|key| key.id == id);
        let plain =
            keys.into_iter().find_map(|key| key.link_cipher(purpose).decrypt(&XNonce::from(*nonce), sealed).ok())?;
        String::from_utf8(plain).ok()
    }

    /// Was it sealed with the first key? If not, sealing it again finishes a rotation.
    pub fn is_current(&self, sealed: &str) -> bool {
        sealed.split(':').nth(1) == Some(self.0[0].id.as_str())
    }
}

/// Each part with its length before it, so that no two lists of parts read the same.
fn bound(parts: &[&str]) -> Vec<u8> {
    parts.iter().flat_map(|part| [&(part.len() as u64).to_be_bytes(), part.as_bytes()].concat()).collect()
}

/// Whole and durable or not at all, and never over a key that is there: without its key a store cannot be read.
fn create(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}", rand::random::<u64>()));
    let beside = folder.join(name);

    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let key = Zeroizing::new(STANDARD.encode(*Zeroizing::new(rand::random::<[u8; KEY_LENGTH]>())));
    let written = writeln!(file, "{}", *key).and_then(|()| file.sync_all());
    // A link, not a rename: of two processes that start at once the second must find the key of the first.
    let placed = written.and_then(|()| match fs::hard_link(&beside, path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    });
    fs::remove_file(&beside)?;
    placed?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn keyring() -> Keyring {
        let key = rand::random::<[u8; KEY_LENGTH]>();
        Keyring(vec![MasterKey::new(SecretBox::new(Box::new(key)))])
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_and_nowhere_else() {
        let keys = keyring();
        let sealed = keys.seal("t1", "sms", "authToken", "contraseña");
        assert!(sealed.starts_with("v1:") && !sealed.contains("contra"));
        assert_eq!(keys.open("t1", "sms", "authToken", &sealed).unwrap().expose_secret(), "contraseña");
        for (tenant, record, field) in [
            ("t2", "sms", "authToken"),
            ("t1", "email", "authToken"),
            ("t1", "sms", "apiKey"),
            ("t1", "smsa", "uthToken"),
        ] {
            assert!(matches!(keys.open(tenant, record, field, &sealed), Err(SecretsError::DoesNotOpen)));
        }
        assert_ne!(sealed, keys.seal("t1", "sms", "authToken", "contraseña"));
    }

    #[test]
    fn a_link_is_the_same_each_time_and_opens_only_whole_and_for_its_purpose() {
        let keys = keyring();
        let link = keys.seal_link("unsubscribe", "t1\nana@x.example");
        assert_eq!(link, keys.seal_link("unsubscribe", "t1\nana@x.example"));
        assert!(link.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{link}");
        assert_eq!(keys.open_link("unsubscribe", &link).as_deref(), Some("t1\nana@x.example"));
        assert_eq!(keys.open_link("other", &link), None);
        assert_eq!(keyring().open_link("unsubscribe", &link), None);
        for at in 0..link.len() {
            let swapped = if &link[at..=at] == "A" { "B" } else { "A" };
            let altered = format!("{}{swapped}{}", &link[..at], &link[at + 1..]);
            assert_eq!(keys.open_link("unsubscribe", &altered), None, "{altered}");
            assert_eq!(keys.open_link("unsubscribe", &link[..at]), None);
        }
        assert_eq!(keys.open_link("unsubscribe", "ñ"), None);
    }

    #[test]
    fn what_was_altered_or_never_sealed_does_not_open() {
        let keys = keyring();
        let sealed = keys.seal("t", "r", "f", "secret");
        let swapped = if &sealed[20..21] == "A" { "B" } else { "A" };
        let altered = format!("{}{swapped}{}", &sealed[..20], &sealed[21..]);
        assert!(matches!(keys.open("t", "r", "f", &altered), Err(SecretsError::DoesNotOpen)));
        for wrong in ["", "secret", "v1:x", "v2:a:b", "v1:aaaaaaaa:%%", "v1:aaaaaaaa:QQ"] {
            assert!(keys.open("t", "r", "f", wrong).is_err(), "{wrong}");
        }
        assert!(matches!(keyring().open("t", "r", "f", &sealed), Err(SecretsError::UnknownKey(_))));
    }

    #[test]
    fn the_key_file_is_made_once_with_its_folders_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/recado.key");
        let sealed = Keyring::load_or_create(&path).unwrap().seal("t", "r", "f", "secret");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
        let again = Keyring::load_or_create(&path).unwrap();
        assert_eq!(again.open("t", "r", "f", &sealed).unwrap().expose_secret(), "secret");
    }

    #[test]
    fn a_key_that_is_there_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recado.key");
        create(&path).unwrap();
        let first = fs::read_to_string(&path).unwrap();
        create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), first);
    }

    #[test]
    fn after_a_rotation_the_old_key_opens_and_the_new_one_seals() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recado.key");
        let old = Keyring::load_or_create(&path).unwrap().seal("t", "r", "f", "secret");
        let line = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("# new\n{}\n\n{line}", STANDARD.encode([7; KEY_LENGTH]))).unwrap();
        let rotated = Keyring::load_or_create(&path).unwrap();
        assert_eq!(rotated.open("t", "r", "f", &old).unwrap().expose_secret(), "secret");
        assert!(!rotated.is_current(&old));
        assert!(rotated.is_current(&rotated.seal("t", "r", "f", "secret")));
    }

    #[test]
    fn a_bad_key_file_is_refused_with_its_line_and_without_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recado.key");
        fs::write(&path, "# key\nnot-a-key\n").unwrap();
        let said = Keyring::load_or_create(&path).unwrap_err().to_string();
        assert!(said.contains("recado.key:2:") && !said.contains("not-a-key"), "{said}");
        fs::write(&path, "\n").unwrap();
        assert!(matches!(Keyring::load_or_create(&path), Err(SecretsError::Empty { .. })));
    }

    #[test]
    fn no_key_shows_in_debug() {
        let key = [0x41; KEY_LENGTH];
        let shown = format!("{:?}", Keyring(vec![MasterKey::new(SecretBox::new(Box::new(key)))]));
        assert!(!shown.contains("65, 65") && !shown.contains("AAAA"), "{shown}");
    }
}
