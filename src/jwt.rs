//! Bearer tokens of the app's own sign-on. Which algorithm belongs to which key is fixed by the configuration; a token
//! can only name one of these pairs, never make a new one.

#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use secrecy::ExposeSecret;
use serde::Deserialize;

use crate::config::Auth;

/// Clocks differ.
const LEEWAY_SECONDS: f64 = 60.0;

/// Longer texts are not worth the arithmetic.
const LONGEST_TOKEN: usize = 8 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Role {
    /// Reads its tenant's widget configuration and nothing else.
    User,
    /// Manages its tenant, or the one branch that the token names.
    Admin,
    /// An operator.
    Superadmin,
}

/// Who the token speaks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    pub subject: String,
    /// Always there for `User` and `Admin`; an operator may name the tenant with each request instead.
    pub tenant_id: Option<String>,
    pub role: Role,
    pub branch_id: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// Deliberately without a reason: the answer to a forger says nothing.
    #[error("the token is not valid")]
    Invalid,
    #[error("the token has expired")]
    Expired,
}

/// The configured key is of no use.
#[derive(Debug, thiserror::Error)]
#[error("auth.jwt_public_key_file: {path}: {detail}")]
pub struct KeyFileError {
    path: String,
    detail: String,
}

pub struct Verifier {
    keys: Vec<Key>,
}

struct Key {
    /// A JWKS names its keys.
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
    validation: Validation,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawClaims {
    sub: String,
    // RFC 7519 allows fractions of a second.
    exp: f64,
    nbf: Option<f64>,
    tenant_id: Option<String>,
    role: Role,
    branch_id: Option<String>,
}

impl Verifier {
    /// Without any configured key every token is invalid.
    pub fn new(auth: &Auth) -> Result<Self, KeyFileError> {
        let mut keys = vec![];
        if let Some(secret) = &auth.jwt_secret {
            let key = DecodingKey::from_secret(secret.expose_secret().as_bytes());
            keys.push(Key::new(None, Algorithm::HS256, key, auth));
        }
        if let Some(path) = &auth.jwt_public_key_file {
            let found = read_keys(path).map_err(|detail| KeyFileError { path: path.display().to_string(), detail })?;
            keys.extend(found.into_iter().map(|(id, algorithm, key)| Key::new(id, algorithm, key, auth)));
        }
        Ok(Self { keys })
    }

    /// Judged at `now`, in seconds since 1970.
    pub fn verify(&self, token: &str, now: i64) -> Result<Claims, JwtError> {
        if token.len() > LONGEST_TOKEN {
            return Err(JwtError::Invalid);
        }
        let header = decode_header(token).map_err(|_| JwtError::Invalid)?;
        let named = |key: &&Key| header.kid.is_none() || key.id.is_none() || header.kid == key.id;
        let mut candidates = self.keys.iter().filter(|key| key.algorithm == header.alg).filter(named);
        let claims = candidates
            .find_map(|key| decode::<RawClaims>(token, &key.key, &key.validation).ok())
            .ok_or(JwtError::Invalid)?;
        judge(claims.claims, now as f64)
    }
}

fn judge(claims: RawClaims, now: f64) -> Result<Claims, JwtError> {
    if now > claims.exp + LEEWAY_SECONDS {
        return Err(JwtError::Expired);
    }
    let too_early = claims.nbf.is_some_and(|nbf| now < nbf - LEEWAY_SECONDS);
    let tenant_id = claims.tenant_id.filter(|id| !id.is_empty());
    if too_early || claims.sub.is_empty() || (tenant_id.is_none() && claims.role != Role::Superadmin) {
        return Err(JwtError::Invalid);
    }
    let branch_id = claims.branch_id.filter(|id| !id.is_empty());
    Ok(Claims { subject: claims.sub, tenant_id, role: claims.role, branch_id })
}

impl Key {
    fn new(id: Option<String>, algorithm: Algorithm, key: DecodingKey, auth: &Auth) -> Self {
        let mut validation = Validation::new(algorithm);
        // The library asks the wall clock; time is judged here, by the clock that is handed in.
        validation.validate_exp = false;
        validation.validate_aud = auth.jwt_audience.is_some();
        let mut required = vec!["exp", "sub"];
        if let Some(issuer) = &auth.jwt_issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        if let Some(audience) = &auth.jwt_audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        Self { id, algorithm, key, validation }
    }
}

type Found = (Option<String>, Algorithm, DecodingKey);

fn read_keys(path: &Path) -> Result<Vec<Found>, String> {
    let text = fs::read_to_string(path).map_err(|e| e.to_string())?;
    if text.trim_start().starts_with('{') {
        return read_jwks(&text);
    }
    if text.contains("PRIVATE KEY") {
        return Err("holds a private key: only the public one belongs here".into());
    }
    let pem = text.as_bytes();
    if let Ok(key) = DecodingKey::from_rsa_pem(pem) {
        return Ok(vec![(None, Algorithm::RS256, key)]);
    }
    match DecodingKey::from_ec_pem(pem) {
        Ok(key) => Ok(vec![(None, Algorithm::ES256, key)]),
        Err(_) => Err("neither an RSA nor a P-256 public key in PEM, nor a JWKS".into()),
    }
}

fn read_jwks(text: &str) -> Result<Vec<Found>, String> {
    let set: JwkSet = serde_json::from_str(text).map_err(|e| format!("not a JWKS: {e}"))?;
    let keys: Vec<Found> = set.keys.iter().filter_map(usable).collect();
    if keys.is_empty() {
        return Err("holds neither an RSA nor a P-256 key".into());
    }
    Ok(keys)
}

/// The kind of key fixes the algorithm; whatever else the set holds is left alone, symmetric keys above all.
fn usable(jwk: &Jwk) -> Option<Found> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => Algorithm::ES256,
        _ => return None,
    };
    Some((jwk.common.key_id.clone(), algorithm, DecodingKey::from_jwk(jwk).ok()?))
}
