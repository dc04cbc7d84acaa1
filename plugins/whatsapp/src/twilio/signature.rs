//! `X-Twilio-Signature`: base64 of the HMAC-SHA1 of the URL followed by every parameter of the form, names sorted,
//! without separators, under the auth token (twilio-python 9.13.0, `RequestValidator`).

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::secrets::Secrets;

/// Whether Twilio signed a request to `url` with these parameters, decoded.
pub(crate) fn verifies(tokens: &Secrets, url: &str, parameters: &[(String, String)], signature: &str) -> bool {
    let rest = sorted(parameters);
    // Both are tried: Twilio signs now with, now without the port.
    spellings(url).iter().any(|url| tokens.signed_sha1(&format!("{url}{rest}"), signature))
}

/// Names in byte order, each with its distinct values in theirs.
fn sorted(parameters: &[(String, String)]) -> String {
    let mut by_name: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in parameters {
        by_name.entry(name).or_default().insert(value);
    }
    by_name.iter().flat_map(|(name, values)| values.iter().flat_map(move |value| [*name, *value])).collect()
}

/// The URL without a port and with one, both without a fragment.
fn spellings(url: &str) -> [String; 2] {
    let url = url.split('#').next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return [url.to_owned(), url.to_owned()] };
    let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if is_port(port) => (host, port),
        _ => (authority, if scheme.eq_ignore_ascii_case("http") { "80" } else { "443" }),
    };
    [format!("{scheme}://{host}{tail}"), format!("{scheme}://{host}:{port}{tail}")]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const URL: &str = "https://gateway.example.test/hooks/twilio/t-1?ch=sms";

    fn parameters() -> Vec<(String, String)> {
        [
            ("To", "+523331234567"),
            ("AccountSid", "AC0123456789abcdef0123456789abcdef"),
            ("From", "+15005550006"),
            ("MessageStatus", "delivered"),
            ("MessageSid", "SMfedcba9876543210fedcba9876543210"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    #[test]
    fn twilios_vector_verifies_with_and_without_port_and_fragment() {
        let verify = |token: &str, url: &str| {
            let tokens = Secrets::parse(token).unwrap();
            verifies(&tokens, url, &parameters(), "lS/BVRrKFk+FpjzJDUuRWW6eTlo=")
        };
        assert!(verify("authTokenMadeUp", URL));
        assert!(verify("new authTokenMadeUp", URL));
        assert!(verify("authTokenMadeUp", &URL.replace("test/", "test:443/")));
        assert!(verify("authTokenMadeUp", &format!("{URL}#rc=3")));
        assert!(!verify("another", URL));
        assert!(!verify("authTokenMadeUp", &URL.replace("t-1", "t-2")));
        assert!(!verify("authTokenMadeUp", "nonsense"));
    }

    #[test]
    fn each_parameter_counts_once_however_often_it_comes() {
        let tokens = Secrets::parse("authTokenMadeUp").unwrap();
        let good = "lS/BVRrKFk+FpjzJDUuRWW6eTlo=";
        let mut twice = parameters();
        twice.push(twice[0].clone());
        assert!(verifies(&tokens, URL, &twice, good));
        twice.push(("Forged".into(), String::new()));
        assert!(!verifies(&tokens, URL, &twice, good));
        assert!(!verifies(&tokens, URL, &parameters(), "not base64!"));
    }
}
