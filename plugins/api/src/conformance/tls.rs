//! Certificates of the tests' own, and a server that shows one.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A certificate authority that only the tests know.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// For whoever is to believe it.
    pub roots: RootCertStore,
}

/// A server's certificate.
pub struct Leaf {
    pub config: Arc<ServerConfig>,
    pub certificate_pem: String,
    pub key_pem: String,
}

impl Authority {
    #[expect(clippy::new_without_default, reason = "each one is another")]
    pub fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).expect("no name is a bad one");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("the machine has randomness");
        let mut roots = RootCertStore::empty();
        let own = params.self_signed(&key).expect("the key signs");
        roots.add(own.der().clone()).expect("a certificate just made is readable");
        Self { issuer: Issuer::new(params, key), roots }
    }

    pub fn leaf(&self, name: &str) -> Leaf {
        self.leaf_until(name, 4000)
    }

    /// A certificate for `name` that ends with the year `until`.
    pub fn leaf_until(&self, name: &str, until: i32) -> Leaf {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name or an address");
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 12, 31);
        let key = KeyPair::generate().expect("the machine has randomness");
        let certificate = params.signed_by(&key, &self.issuer).expect("the key signs");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring speaks the default TLS versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .expect("the key is the certificate's");
        Leaf { config: Arc::new(config), certificate_pem: certificate.pem(), key_pem: key.serialize_pem() }
    }
}

/// Listens on loopback with this certificate, and hands what comes inside on to a server without TLS.
pub(super) async fn front(leaf: &Leaf, upstream: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    let acceptor = TlsAcceptor::from(Arc::clone(&leaf.config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut client = acceptor.accept(stream).await?;
                let mut server = TcpStream::connect(upstream).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    address
}
