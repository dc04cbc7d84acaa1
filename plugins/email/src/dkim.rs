//! DKIM signatures (RFC 6376; Ed25519 after RFC 8463), relaxed in headers and body so that refolding on the way does
//! no harm. lettre signs too, but with the present moment in `t=`, and a second attempt must be the same bytes as the
//! first; the signing itself is the TLS library's.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use plugin_api::{SendError, SettingsError};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

use crate::mail::lines;

/// Named in every signature, present or not and once more than they are there: another one added on the way, which a
/// reader might show instead of ours, breaks the signature.
const SEALED: [&str; 7] = ["from", "to", "cc", "reply-to", "subject", "date", "message-id"];

/// Signed where they are present.
const SIGNED: [&str; 9] = [
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "auto-submitted",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "list-id",
    "in-reply-to",
    "references",
];

/// An account's key, and where its other half is published: `<selector>._domainkey.<domain>`.
pub(crate) struct Dkim {
    domain: String,
    selector: String,
    key: Key,
}

/// Has no `Debug`.
enum Key {
    Rsa(Box<RsaKeyPair>),
    Ed25519(Ed25519KeyPair),
}

impl Dkim {
    pub(crate) fn new(domain: &str, selector: &str, pem: &str) -> Result<Self, SettingsError> {
        let malformed = |setting, detail: &str| SettingsError::new(setting, "malformed", detail);
        let label = |l: &str| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        let domain = match url::Host::parse(domain) {
            Ok(url::Host::Domain(name)) if name.contains('.') && name.split('.').all(label) => name,
            _ => return Err(malformed("dkim.domain", "must be a domain name such as example.com")),
        };
        if selector.len() > 63 || !selector.split('.').all(label) {
            return Err(malformed("dkim.selector", "must be letters, digits and hyphens, such as mail2026"));
        }
        let selector = selector.to_ascii_lowercase();
        let key = Key::read(pem).ok_or_else(|| {
            let detail = "must be a private key without a passphrase in PEM: RSA of at least 2048 bits (PKCS#1 or \
                PKCS#8), or Ed25519 (PKCS#8)";
            malformed("dkim.privateKey", detail)
        })?;
        Ok(Self { domain, selector, key })
    }

    /// Who signs, for sentences.
    pub(crate) fn name(&self) -> String {
        format!("{}._domainkey.{}", self.selector, self.domain)
    }

    /// The header that goes before `content`, a whole message.
    pub(crate) fn signature(&self, content: &[u8], at: SystemTime) -> Result<String, SendError> {
        let (headers, body) = parts(content);
        let names = names(&headers);
        let at = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut header = format!(
            "DKIM-Signature: v=1; a={}; c=relaxed/relaxed; d={};\r\n s={}; t={at};\r\n h={};\r\n bh={};\r\n b=",
            self.key.algorithm(),
            self.domain,
            self.selector,
            folded(&names),
            STANDARD.encode(digest(&SHA256, &body)),
        );
        let mut signed = String::new();
        let mut left = headers;
        for name in &names {
            // The last of a name first, as a verifier takes them; a name that is used up stands for nothing.
            if let Some(found) = left.iter().rposition(|(n, _)| n == name) {
                let (name, value) = left.remove(found);
                let _ = write!(signed, "{name}:{value}\r\n");
            }
        }
        signed.push_str("dkim-signature:");
        signed.push_str(&relaxed(header.trim_start_matches("DKIM-Signature:")));
        let signature = STANDARD.encode(self.key.sign(signed.as_bytes())?);
        for (n, piece) in signature.as_bytes().chunks(72).enumerate() {
            header.push_str(if n == 0 { "" } else { "\r\n " });
            header.extend(piece.iter().map(|b| *b as char));
        }
        header.push_str("\r\n");
        Ok(header)
    }
}

impl Key {
    fn read(pem: &str) -> Option<Self> {
        // Pasted into JSON by hand, line ends are often written as backslash and n.
        let pem = pem.replace("\\n", "\n");
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()?;
        match &key {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).ok().map(Box::new).map(Self::Rsa),
            PrivateKeyDer::Pkcs8(der) => {
                let der = der.secret_pkcs8_der();
                let rsa = RsaKeyPair::from_pkcs8(der).ok().map(Box::new).map(Self::Rsa);
                // OpenSSL leaves the public half out, which the checking reader would want.
                rsa.or_else(|| Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok().map(Self::Ed25519))
            }
            _ => None,
        }
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "rsa-sha256",
            Self::Ed25519(_) => "ed25519-sha256",
        }
    }

    fn sign(&self, signed: &[u8]) -> Result<Vec<u8>, SendError> {
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed, &mut signature).map_err(|_| {
                    SendError::not_sent("dkim_failed", "the mail could not be signed with the DKIM key")
                })?;
                Ok(signature)
            }
            // RFC 8463: the signature is over the hash, not over the text.
            Self::Ed25519(key) => Ok(key.sign(digest(&SHA256, signed).as_ref()).as_ref().to_vec()),
        }
    }
}

type Header = (String, String);

/// Headers in order, name and value relaxed; and the relaxed body.
fn parts(content: &[u8]) -> (Vec<Header>, Vec<u8>) {
    let mut lines = lines(content);
    let mut headers: Vec<Header> = Vec::new();
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        let line = String::from_utf8_lossy(line);
        if let (true, Some((_, value))) = (line.starts_with([' ', '\t']), headers.last_mut()) {
            value.push(' ');
            value.push_str(&line);
        } else {
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            headers.push((name.trim_end().to_ascii_lowercase(), value.to_owned()));
        }
    }
    for (_, value) in &mut headers {
        *value = relaxed(value);
    }
    let mut body = Vec::with_capacity(content.len());
    let mut empty = 0;
    for line in lines {
        let start = body.len();
        body.extend(std::iter::repeat_n(*b"\r\n", empty).flatten());
        let text = body.len();
        relax(line, &mut body);
        if body.len() == text {
            // Only counts if something follows.
            body.truncate(start);
            empty += 1;
        } else {
            body.extend_from_slice(b"\r\n");
            empty = 0;
        }
    }
    (headers, body)
}

/// White space of any kind and length becomes one space, and at the end none.
fn relax(line: &[u8], out: &mut Vec<u8>) {
    let mut space = false;
    for byte in line {
        if matches!(byte, b' ' | b'\t') {
            space = true;
            continue;
        }
        if std::mem::take(&mut space) {
            out.push(b' ');
        }
        out.push(*byte);
    }
}

fn relaxed(value: &str) -> String {
    value.split([' ', '\t', '\r', '\n']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn names(headers: &[Header]) -> Vec<&'static str> {
    let count = |name: &str| headers.iter().filter(|(n, _)| n == name).count();
    let sealed = SEALED.iter().flat_map(|name| std::iter::repeat_n(*name, count(name) + 1));
    let signed = SIGNED.iter().flat_map(|name| std::iter::repeat_n(*name, count(name)));
    sealed.chain(signed).collect()
}

/// Joined by colons, on lines of a decent length.
fn folded(names: &[&str]) -> String {
    let (mut out, mut line) = (String::new(), 0);
    for (n, name) in names.iter().enumerate() {
        if n > 0 {
            out.push(':');
            line += 1;
        }
        if line + name.len() > 70 {
            out.push_str("\r\n ");
            line = 0;
        }
        out.push_str(name);
        line += name.len();
    }
    out
}
