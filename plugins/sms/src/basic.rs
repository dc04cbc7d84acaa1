//! `Authorization: Basic`, as two vendors want it and one sends it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

/// The header's value, marked so that nothing prints it.
pub(crate) fn header(user: &str, password: &str) -> HeaderValue {
    let text = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    let mut value = HeaderValue::from_str(&text).expect("base64 is a header value");
    value.set_sensitive(true);
    value
}

/// The password of such a header.
pub(crate) fn password(header: &str) -> Option<Vec<u8>> {
    let (scheme, credentials) = header.split_once(' ')?;
    let decoded = STANDARD.decode(credentials.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some(decoded[colon + 1..].to_vec())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let header = header("user", "a:b ñ");
        assert_eq!(password(header.to_str().unwrap()).unwrap(), "a:b ñ".as_bytes());
        assert!(header.is_sensitive());
        for wrong in ["", "Basic", "Basic %%", "Bearer dTpw", "Basic dQ=="] {
            assert_eq!(password(wrong), None, "{wrong}");
        }
    }
}
