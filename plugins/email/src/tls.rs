//! TLS as a mail client: verified against the host name, always.

use std::sync::Arc;

use rustls::{CertificateError, ClientConfig, RootCertStore};

/// Mozilla's list, and what the operator installed on this machine.
pub(crate) fn public_roots() -> RootCertStore {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

pub(crate) fn config(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// A failed handshake in words, without the certificate's own.
pub(crate) fn describe(error: &std::io::Error) -> &'static str {
    let tls = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(why)) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired",
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name"
            }
            CertificateError::UnknownIssuer => "its certificate is not signed by a known authority",
            _ => "its certificate is not valid",
        },
        Some(rustls::Error::InvalidMessage(_)) => "it did not speak TLS",
        Some(_) => "the TLS handshake failed",
        None => "the connection broke during the TLS handshake",
    }
}
