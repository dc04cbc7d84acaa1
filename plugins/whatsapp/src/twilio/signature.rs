//! `X-Twilio-Signature`: base64 of the HMAC-SHA1 of the address and the form under the auth token (twilio-python 9.13.0,
//! `RequestValidator`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::Hmac;
use plugin_api::{Secrets, address_and_form};
use sha1::Sha1;

/// Whether Twilio signed a request to `url` with these parameters, decoded.
pub(crate) fn verifies(tokens: &Secrets, url: &str, parameters: &[(String, String)], signature: &str) -> bool {
    let Ok(signature) = STANDARD.decode(signature) else { return false };
    let texts = address_and_form(url, parameters.to_vec());
    texts.iter().any(|text| tokens.signed::<Hmac<Sha1>>(text.as_bytes(), &signature))
}

#[cfg(test)]
mod tests {
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
            let tokens = Secrets::parse(Some(token));
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
        let tokens = Secrets::parse(Some("authTokenMadeUp"));
        let good = "lS/BVRrKFk+FpjzJDUuRWW6eTlo=";
        let mut twice = parameters();
        twice.push(twice[0].clone());
        assert!(verifies(&tokens, URL, &twice, good));
        twice.push(("Forged".into(), String::new()));
        assert!(!verifies(&tokens, URL, &twice, good));
        assert!(!verifies(&tokens, URL, &parameters(), "not base64!"));
    }
}
