//! What makes a report believable: anybody can write a mail that looks like a bounce or a complaint. What we send
//! carries marks that only the holder of the account's hook secret could make, and a report has to bring one back.

use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

/// Names the recipient to ourselves, in a complaint whose other addresses were blacked out.
pub(crate) const RECIPIENT: &str = "X-Recado-Recipient";

/// Has no `Debug`.
pub(crate) struct Proof(hmac::Key);

impl Proof {
    pub(crate) fn new(secret: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
    }

    /// Is it the secret? In constant time: what is compared are two keyed hashes.
    pub(crate) fn is_secret(&self, given: &str) -> bool {
        let expected = hmac::sign(&self.0, b"hook secret");
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, given.as_bytes()), b"hook secret", expected.as_ref()).is_ok()
    }

    /// `<base>+<id>.<mark>`: the part before the @ of an envelope sender. `id` as it is spelt in the `Message-ID`.
    pub(crate) fn envelope(&self, base: &str, id: &str) -> String {
        let id = id.to_ascii_lowercase();
        format!("{base}+{id}.{}", self.mark("envelope", &id, 6))
    }

    /// The id in such a part, if the mark is ours. Relays may have changed its case.
    pub(crate) fn id_in(&self, base: &str, local: &str) -> Option<Result<String, ()>> {
        let local = local.to_ascii_lowercase();
        let (id, mark) = local.strip_prefix(&base.to_ascii_lowercase())?.strip_prefix('+')?.rsplit_once('.')?;
        Some(if self.verifies("envelope", id, mark, 6) { Ok(id.to_owned()) } else { Err(()) })
    }

    /// The value of [`RECIPIENT`].
    pub(crate) fn recipient(&self, address: &str) -> String {
        format!("{}.{}", URL_SAFE_NO_PAD.encode(address), self.mark("recipient", address, 16))
    }

    /// The address in such a value, if the mark is ours.
    pub(crate) fn recipient_in(&self, value: &str) -> Option<String> {
        let (address, mark) = value.trim().split_once('.')?;
        let address = String::from_utf8(URL_SAFE_NO_PAD.decode(address).ok()?).ok()?;
        self.verifies("recipient", &address, mark, 16).then_some(address)
    }

    fn mark(&self, what: &str, text: &str, bytes: usize) -> String {
        let tag = hmac::sign(&self.0, format!("{what} {text}").as_bytes());
        tag.as_ref()[..bytes].iter().fold(String::new(), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
    }

    fn verifies(&self, what: &str, text: &str, mark: &str, bytes: usize) -> bool {
        // Told apart by keyed hashes again, so that the time says nothing about where two marks differ.
        let expected = hmac::sign(&self.0, self.mark(what, text, bytes).as_bytes());
        hmac::verify(&self.0, mark.as_bytes(), expected.as_ref()).is_ok()
    }
}
