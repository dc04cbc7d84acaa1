#![allow(clippy::unwrap_used)]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::NamedTempFile;

use super::*;
use crate::config::Config;

/// Before the `exp` of every token here.
const NOW: i64 = 1_900_000_000;
const SECRET: &str = "a-secret-of-the-tests";

// Keys and tokens made once with the openssl command; their private halves are gone.
const RSA: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA9R2SY6VLVHGJ3QrC527u
7JZqfQw5i7wrfUcEfFBKs8oyXtO0rRrNZXaeU9g4CJccJpGIgQluf7lfPa7rhXDc
Szo0zfrnrWinPMZ6hQvuvFfzDh2PNughXGYpKBFEWZpPe3fJYmdV6t/FmC76fBx2
CCs7YmwHeqrCK2E4T7vNw/cwzC1V7pb8KzpuREaSnwdulJpgIarwiBK63/NeoL5g
L3qU1PGuWcjrRrpHb+X8faIDMyTi4T+oitt+OM0Dmjb6Q0OduvWQ7loSqvxrO45+
/0uux0UgYBD8y4wr7y/lPw80eWrUL7La1dq91t5XZW9w6VzkbFhQaIbwvW2W/qBG
FwIDAQAB
-----END PUBLIC KEY-----
";
const EC: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE9/hhEeSYbPRNO7QTdvL/Ak2uZCRp
Xfa8OFiu36MM07YaAei/lW1djqUXLXAz1haPI0izOj89cItNz/H68hh76Q==
-----END PUBLIC KEY-----
";
/// sub u1, tenantId t1, role ADMIN, exp 2000000000.
const RS256: &str = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ1MSIsInRlbmFudElkIjoidDEiLCJyb2xlIjoiQURNSU4iLCJleHAiOjIwMDAwMDAwMDB9.LT7IET9fEGtrK3tN3Rk7mDcw9Wl0s7oyBvcxIbq1tZwQ6NdsnZJ5qZKH7FQIHp8N4EBMYK7GtYmbfk0PKtquPTtuwnuK2zxrm3VN7SM_vhJwnNo73K3j0cN6kU2aBO5F6YXLnN22mHyrHEEAqyLVTj17FJO8lJVaWLXKR9MfPi82sz0UKFNeXEKEYSYZUm85_l_tMEjGX7xMqQNX3yRGHq4vf1P80LxgQ3CyqO0ar7Zg5JjC7BQo_skaXPp4H7mOjdqrPTYAK3EVaiLXDbDqHrkMOt2ItuupWXxxnrCQx44pNA10TM-AICKuVuJejRa6l1Tt8fT4TVVPXrkR2upZ9Q";
/// The same with `kid` r1.
const RS256_R1: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6InIxIn0.eyJzdWIiOiJ1MSIsInRlbmFudElkIjoidDEiLCJyb2xlIjoiQURNSU4iLCJleHAiOjIwMDAwMDAwMDB9.fB2z-MNBxKDr0oapUn9CwBDTQHx3sqa44uoDE-8YTdTpWBMT6oySdHKloiXD93OMPP2-53oPKjrS8szr35RUIb8nsB5F8tAkMDK_0mpQeW67YvVtqjzL1fABPbEYE3RdA9Jki6QSXd3T3laUX7OgsR15UM1O2_JAIY_vrBG5iTMvIx9rLPqfvUniMtFfZUOWiYCeVEK8IIC5G3cmW4xXbsf6rYLW0DDsAOo_jANdFzw2HlUhnftqYs2TaafdMX84NNYV7Qeoy9J0ekiEzq2fjag2nDHY8k-jzYzWjHFldNDPz5seGCFkNIU4AgruR6kS3SSsHWYqu_0UTGARxbSZzw";
const ES256: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ1MSIsInRlbmFudElkIjoidDEiLCJyb2xlIjoiQURNSU4iLCJleHAiOjIwMDAwMDAwMDB9.QvOUPwXeIGOiKPOV2zF101Sw5RAYNKwtOeaNrjSyibnkMoQ-ahDuZZKTTi0n-JQvRUV85pmILpiEb0tf3M5ntQ";
/// The two keys above and a symmetric one.
const JWKS: &str = r#"{"keys": [{"kty": "RSA", "kid": "r1", "n": "9R2SY6VLVHGJ3QrC527u7JZqfQw5i7wrfUcEfFBKs8oyXtO0rRrNZXaeU9g4CJccJpGIgQluf7lfPa7rhXDcSzo0zfrnrWinPMZ6hQvuvFfzDh2PNughXGYpKBFEWZpPe3fJYmdV6t_FmC76fBx2CCs7YmwHeqrCK2E4T7vNw_cwzC1V7pb8KzpuREaSnwdulJpgIarwiBK63_NeoL5gL3qU1PGuWcjrRrpHb-X8faIDMyTi4T-oitt-OM0Dmjb6Q0OduvWQ7loSqvxrO45-_0uux0UgYBD8y4wr7y_lPw80eWrUL7La1dq91t5XZW9w6VzkbFhQaIbwvW2W_qBGFw", "e": "AQAB"}, {"kty": "EC", "kid": "e1", "crv": "P-256", "x": "9_hhEeSYbPRNO7QTdvL_Ak2uZCRpXfa8OFiu36MM07Y", "y": "GgHov5VtXY6lFy1wM9YWjyNIszo_PXCLTc_x-vIYe-k"}, {"kty": "oct", "kid": "s1", "k": "YS1zeW1tZXRyaWMtc2VjcmV0LWluLXRoZS1zZXQ"}]}"#;

fn verifier(secret: &str, key_file: Option<&NamedTempFile>, more: &str) -> Result<Verifier, KeyFileError> {
    let path = key_file.map(|file| file.path().display().to_string()).unwrap_or_default();
    let text = format!("[auth]\njwt_secret = {secret:?}\njwt_public_key_file = {path:?}\n{more}");
    Verifier::new(&Config::from_text(Some((Path::new("test.toml"), &text)), []).unwrap().auth)
}

fn with_secret(more: &str) -> Verifier {
    verifier(SECRET, None, more).unwrap()
}

fn with_key(text: &str) -> Result<Verifier, KeyFileError> {
    let file = NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    verifier("", Some(&file), "")
}

fn token_with(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let mac = Hmac::<Sha256>::new_from_slice(secret).unwrap().chain_update(&signed).finalize().into_bytes();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
}

fn token(claims: &Value) -> String {
    token_with(&json!({"alg": "HS256"}), claims, SECRET.as_bytes())
}

fn claims(more: Value) -> Value {
    let mut claims = json!({"sub": "u1", "tenantId": "t1", "role": "ADMIN", "exp": NOW + 100});
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

#[test]
fn a_good_token_tells_who_it_speaks_for() {
    let found = with_secret("").verify(&token(&claims(json!({"branchId": "b1", "role": "USER"}))), NOW).unwrap();
    assert_eq!((found.subject.as_str(), found.tenant_id.as_deref()), ("u1", Some("t1")));
    assert_eq!((found.role, found.branch_id.as_deref()), (Role::User, Some("b1")));
}

#[test]
fn public_keys_verify_their_own_algorithm() {
    for (key, token) in [(RSA, RS256), (RSA, RS256_R1), (EC, ES256), (JWKS, RS256), (JWKS, RS256_R1), (JWKS, ES256)] {
        assert_eq!(with_key(key).unwrap().verify(token, NOW).unwrap().role, Role::Admin);
    }
    assert_eq!(with_key(RSA).unwrap().verify(ES256, NOW), Err(JwtError::Invalid));
    assert_eq!(with_key(EC).unwrap().verify(RS256, NOW), Err(JwtError::Invalid));
    assert_eq!(with_secret("").verify(RS256, NOW), Err(JwtError::Invalid));
}

#[test]
fn secret_and_public_key_work_side_by_side() {
    let file = NamedTempFile::new().unwrap();
    fs::write(file.path(), RSA).unwrap();
    let both = verifier(SECRET, Some(&file), "").unwrap();
    assert!(both.verify(RS256, NOW).is_ok() && both.verify(&token(&claims(json!({}))), NOW).is_ok());
}

#[test]
fn b25_no_algorithm_is_no_signature() {
    for alg in ["none", "nOnE", "None", "", "HS512", "HS256 "] {
        let unsigned = token_with(&json!({"alg": alg}), &claims(json!({})), SECRET.as_bytes());
        let (head, _) = unsigned.rsplit_once('.').unwrap();
        for token in [unsigned.clone(), format!("{head}."), head.to_owned()] {
            assert_eq!(with_secret("").verify(&token, NOW), Err(JwtError::Invalid), "{alg}");
        }
    }
}

#[test]
fn b25_a_public_key_is_no_hmac_secret() {
    for secret in [RSA.as_bytes(), RSA.trim().as_bytes(), b"a-symmetric-secret-in-the-set"] {
        let forged = token_with(&json!({"alg": "HS256", "kid": "s1"}), &claims(json!({})), secret);
        for key in [RSA, JWKS] {
            assert_eq!(with_key(key).unwrap().verify(&forged, NOW), Err(JwtError::Invalid));
        }
    }
}

#[test]
fn b25_a_bad_signature_is_refused() {
    let other = token_with(&json!({"alg": "HS256"}), &claims(json!({})), b"another-secret-of-16");
    assert_eq!(with_secret("").verify(&other, NOW), Err(JwtError::Invalid));
    let good = token(&claims(json!({})));
    let mine = token(&claims(json!({"tenantId": "t2"})));
    let (body, _) = mine.rsplit_once('.').unwrap();
    let (_, signature) = good.rsplit_once('.').unwrap();
    assert_eq!(with_secret("").verify(&format!("{body}.{signature}"), NOW), Err(JwtError::Invalid));
    // An expired token that is forged is a forgery, not an expired token.
    assert_eq!(with_secret("").verify(&other, NOW + 10_000), Err(JwtError::Invalid));
    for rubbish in ["", ".", "..", "a.b.c", "undefined", "null", &"a".repeat(9_000)] {
        assert_eq!(with_secret("").verify(rubbish, NOW), Err(JwtError::Invalid));
    }
}

#[test]
fn b26_a_token_expires_with_a_minute_of_grace() {
    let good = token(&claims(json!({})));
    let verifier = with_secret("");
    assert!(verifier.verify(&good, NOW + 160).is_ok());
    assert_eq!(verifier.verify(&good, NOW + 161), Err(JwtError::Expired));
    assert_eq!(with_key(RSA).unwrap().verify(RS256, 2_000_000_061), Err(JwtError::Expired));
}

#[test]
fn b26_a_token_without_a_usable_expiry_is_invalid() {
    for exp in [Value::Null, json!("soon"), json!("1999999999"), json!({})] {
        assert_eq!(with_secret("").verify(&token(&claims(json!({"exp": exp}))), NOW), Err(JwtError::Invalid), "{exp}");
    }
    let without = json!({"sub": "u1", "tenantId": "t1", "role": "ADMIN"});
    assert_eq!(with_secret("").verify(&token(&without), NOW), Err(JwtError::Invalid));
}

#[test]
fn a_token_that_is_not_yet_valid_is_refused() {
    assert!(with_secret("").verify(&token(&claims(json!({"nbf": NOW + 60}))), NOW).is_ok());
    assert_eq!(with_secret("").verify(&token(&claims(json!({"nbf": NOW + 61}))), NOW), Err(JwtError::Invalid));
}

#[test]
fn tenant_and_role_are_required_but_an_operator_needs_no_tenant() {
    let verify = |more| with_secret("").verify(&token(&claims(more)), NOW);
    for wrong in [
        json!({"tenantId": null}),
        json!({"tenantId": ""}),
        json!({"tenantId": 5}),
        json!({"sub": ""}),
        json!({"sub": null}),
        json!({"role": "admin"}),
        json!({"role": "ROOT"}),
        json!({"role": null}),
    ] {
        assert_eq!(verify(wrong.clone()), Err(JwtError::Invalid), "{wrong}");
    }
    assert_eq!(verify(json!({"role": "SUPERADMIN", "tenantId": null})).unwrap().tenant_id, None);
}

#[test]
fn issuer_and_audience_are_checked_when_configured() {
    let strict = with_secret("jwt_issuer = \"https://app\"\njwt_audience = \"recado\"");
    let verify = |more| strict.verify(&token(&claims(more)), NOW);
    assert!(verify(json!({"iss": "https://app", "aud": "recado"})).is_ok());
    assert!(verify(json!({"iss": "https://app", "aud": ["other", "recado"]})).is_ok());
    for wrong in [
        json!({}),
        json!({"iss": "https://app"}),
        json!({"aud": "recado"}),
        json!({"iss": "x", "aud": "recado"}),
        json!({"iss": "https://app", "aud": "x"}),
    ] {
        assert_eq!(verify(wrong.clone()), Err(JwtError::Invalid), "{wrong}");
    }
    assert!(with_secret("").verify(&token(&claims(json!({"iss": "any", "aud": "any"}))), NOW).is_ok());
}

#[test]
fn without_a_key_no_token_is_valid() {
    let closed = verifier("", None, "").unwrap();
    assert_eq!(
        closed.verify(&token_with(&json!({"alg": "HS256"}), &claims(json!({})), b""), NOW),
        Err(JwtError::Invalid)
    );
}

#[test]
fn a_key_file_of_no_use_is_named() {
    for (text, said) in [
        ("rubbish", "neither an RSA nor"),
        ("-----BEGIN PRIVATE KEY-----", "private key"),
        ("{}", "not a JWKS"),
        (r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#, "neither an RSA nor"),
    ] {
        let error = with_key(text).err().unwrap().to_string();
        assert!(error.starts_with("auth.jwt_public_key_file: ") && error.contains(said), "{error}");
    }
}
