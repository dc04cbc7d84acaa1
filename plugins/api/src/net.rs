//! Which addresses may be reached. One table, asked when a URL is saved and again for each address that is
//! connected to, so that a name which changes its mind in between gains nothing.

mod special;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use url::{Host, Url};

use crate::outcome::SendError;

/// The longest URL that is looked at.
const URL_LIMIT: usize = 2048;

/// Names of cloud metadata services, which are addresses in disguise.
const METADATA_NAMES: [&str; 2] = ["metadata.google.internal", "metadata.goog"];

/// Ports above 1023 behind which something listens that takes HTTP for its own language, or obeys without asking.
const SERVICE_PORTS: [u16; 31] = [
    1433, 1521, 2049, 2181, 2375, 2376, 2379, 2380, 3306, 3389, 4369, 5060, 5061, 5432, 5672, 5900, 5984, 6000, 6379,
    6443, 6667, 6697, 8086, 9042, 9092, 9200, 9300, 10250, 11211, 27017, 27018,
];

/// The outbound rules of the operator (`[outbound]` in `config.toml`).
#[derive(Debug, Default)]
pub struct Guard {
    /// Networks that may be reached beside the public internet.
    pub allow: Vec<IpNet>,
    /// Plain http is accepted to addresses inside `allow`.
    pub allow_http: bool,
    /// Host names of this server itself, which tenants must not call back into.
    pub own_hosts: Vec<String>,
    /// Who is asked what a name means.
    pub names: Names,
}

/// Who is asked what a name means: the system, or in tests a function.
#[derive(Clone, Default)]
pub struct Names(Option<Arc<Lookup>>);

type Lookup = dyn Fn(&str) -> Vec<IpAddr> + Send + Sync;

/// Why a URL may not be reached. The codes are those of the `url-not-allowed` problem.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{detail}")]
pub struct UrlError {
    /// `address`, `host`, `scheme`, `credentials`, `port` or `malformed`.
    pub code: &'static str,
    pub detail: String,
}

/// Whether a destination lies in the operator's `allow`, where plain http and any port are accepted.
#[derive(Clone, Copy, PartialEq)]
enum Inside {
    Yes,
    No,
    /// A name that nobody has looked up yet.
    Perhaps,
}

impl Guard {
    /// May this address be connected to?
    pub fn permits(&self, address: IpAddr) -> bool {
        self.allows(address) || special::is_public(address)
    }

    /// Did the operator name a network that holds this address?
    pub fn allows(&self, address: IpAddr) -> bool {
        let inside = |address| self.allow.iter().any(|net| net.contains(&address));
        inside(address) || special::embedded(address).is_some_and(|v4| inside(v4.into()))
    }

    /// Everything that can be said about a URL's text, without asking a name server.
    pub fn check_text(&self, text: &str) -> Result<Url, UrlError> {
        let url = parse(text)?;
        let inside = self.place(url.host())?;
        self.check_way(&url, inside)?;
        Ok(url)
    }

    /// As [`Guard::check_text`], and every address its name resolves to now is permitted. A name that does not
    /// resolve yet passes, unless only `allow` could make its scheme or port acceptable.
    pub async fn check_url(&self, text: &str) -> Result<Url, UrlError> {
        let url = parse(text)?;
        let inside = match (self.place(url.host())?, url.domain()) {
            (Inside::No | Inside::Perhaps, Some(name)) => self.check_name(name).await?,
            (inside, _) => inside,
        };
        self.check_way(&url, inside)?;
        Ok(url)
    }

    /// The check for a `host` setting (SMTP): literal or name, resolved now.
    pub async fn check_host(&self, host: &str, port: u16) -> Result<(), UrlError> {
        let parsed = match host.parse() {
            Ok(IpAddr::V6(v6)) => Host::Ipv6(v6),
            _ if is_host_text(host) => Host::parse(host).map_err(|_| malformed("is not a host name or an address"))?,
            _ => return Err(malformed("must be a bare host name or address, with no scheme, port or path")),
        };
        let borrowed = match &parsed {
            Host::Domain(name) => Host::Domain(name.as_str()),
            Host::Ipv4(v4) => Host::Ipv4(*v4),
            Host::Ipv6(v6) => Host::Ipv6(*v6),
        };
        let inside = match (self.place(Some(borrowed))?, &parsed) {
            (Inside::No | Inside::Perhaps, Host::Domain(name)) => self.check_name(name).await?,
            (inside, _) => inside,
        };
        if inside == Inside::Yes || matches!(port, 25 | 465 | 587) || is_public_port(port) {
            return Ok(());
        }
        Err(UrlError { code: "port", detail: format!("port {port} belongs to another kind of service") })
    }

    /// The resolver is not asked for literal hosts, so they are judged here before each call.
    pub fn check_literal(&self, url: &Url) -> Result<(), SendError> {
        let inside = self.place(url.host()).map_err(|_| blocked())?;
        self.check_way(url, inside).map_err(|_| blocked())
    }

    /// The permitted addresses of a name, for plugins that open their own sockets; none permitted is
    /// `not_sent: blocked_address`.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, SendError> {
        self.resolve_where(host, port, |address| self.permits(address)).await
    }

    /// True where only an address inside `allow` may be connected to: plain http, or an unusual port.
    pub(crate) fn only_inside(url: &Url) -> bool {
        url.scheme() != "https" || !url.port().is_none_or(is_public_port)
    }

    async fn resolve_where(
        &self,
        host: &str,
        port: u16,
        may: impl Fn(IpAddr) -> bool,
    ) -> Result<Vec<SocketAddr>, SendError> {
        let mut found = self.names.lookup(host, port).await;
        if found.is_empty() {
            return Err(SendError::not_sent("name_not_resolved", "the host name does not resolve"));
        }
        found.retain(|a| may(a.ip()));
        if found.is_empty() { Err(blocked()) } else { Ok(found) }
    }

    /// Judges the host as written.
    fn place(&self, host: Option<Host<&str>>) -> Result<Inside, UrlError> {
        let address: IpAddr = match host {
            None => return Err(malformed("has no host")),
            Some(Host::Domain(name)) => return self.place_name(name.trim_end_matches('.')),
            Some(Host::Ipv4(v4)) => v4.into(),
            Some(Host::Ipv6(v6)) => v6.into(),
        };
        match self.allows(address) {
            true => Ok(Inside::Yes),
            false if special::is_public(address) => Ok(Inside::No),
            false => Err(forbidden_address()),
        }
    }

    fn place_name(&self, name: &str) -> Result<Inside, UrlError> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        let below = |suffix: &str| {
            let start = name.len().checked_sub(suffix.len());
            start.and_then(|at| name.get(at..)).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
        };
        if name.is_empty() {
            return Err(malformed("has no host"));
        }
        if METADATA_NAMES.into_iter().any(is) {
            return Err(forbidden_address());
        }
        if self.own_hosts.iter().any(|own| is(own.trim_end_matches('.'))) {
            return Err(UrlError { code: "host", detail: "must not lead back to this server".into() });
        }
        if is("localhost") && self.allows(Ipv4Addr::LOCALHOST.into()) {
            return Ok(Inside::Yes);
        }
        if is("localhost") || [".localhost", ".local", ".internal"].into_iter().any(below) {
            return Err(UrlError { code: "host", detail: "must be a public host name".into() });
        }
        Ok(if self.allow.is_empty() { Inside::No } else { Inside::Perhaps })
    }

    /// Judges what a name means now.
    async fn check_name(&self, name: &str) -> Result<Inside, UrlError> {
        let found = self.names.lookup(name, 0).await;
        if !found.iter().all(|a| self.permits(a.ip())) {
            return Err(forbidden_address());
        }
        let inside = !found.is_empty() && found.iter().all(|a| self.allows(a.ip()));
        Ok(if inside { Inside::Yes } else { Inside::No })
    }

    /// Judges scheme and port.
    fn check_way(&self, url: &Url, inside: Inside) -> Result<(), UrlError> {
        let inside = inside != Inside::No;
        if url.scheme() != "https" && !(url.scheme() == "http" && self.allow_http && inside) {
            return Err(UrlError { code: "scheme", detail: "must start with https://".into() });
        }
        match url.port() {
            Some(port) if !inside && !is_public_port(port) => {
                let detail = format!("port {port} belongs to another kind of service; use 443");
                Err(UrlError { code: "port", detail })
            }
            _ => Ok(()),
        }
    }
}

impl Names {
    /// Answers come from `lookup`; an empty one is a name that does not resolve.
    #[cfg(any(test, feature = "testing"))]
    pub fn from_fn(lookup: impl Fn(&str) -> Vec<IpAddr> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(lookup)))
    }

    /// All addresses of a name or literal; none if it does not resolve.
    async fn lookup(&self, host: &str, port: u16) -> Vec<SocketAddr> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if let Some(lookup) = &self.0 {
            return lookup(host).into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
        }
        tokio::net::lookup_host((host, port)).await.map(Iterator::collect).unwrap_or_default()
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Names(function)" } else { "Names(system)" })
    }
}

/// Reads a URL, refusing what the lenient parser would quietly repair into something else.
fn parse(text: &str) -> Result<Url, UrlError> {
    if text.len() > URL_LIMIT && text.chars().count() > URL_LIMIT {
        return Err(malformed("must have at most 2048 characters"));
    }
    if text.chars().any(|c| c == '\\' || c.is_whitespace() || c.is_control()) {
        return Err(malformed("must not hold spaces, control characters or backslashes"));
    }
    let (scheme, rest) = text.split_once(':').ok_or_else(|| malformed("must start with https://"))?;
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return Err(UrlError { code: "scheme", detail: "must start with https://".into() });
    }
    let rest = rest.strip_prefix("//").ok_or_else(|| malformed("needs // after its scheme"))?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        let detail = "must not hold a user name or password; put credentials into their own setting";
        return Err(UrlError { code: "credentials", detail: detail.into() });
    }
    if authority.is_empty() || authority.starts_with(':') {
        return Err(malformed("has no host"));
    }
    Url::parse(text).map_err(|e| malformed(&e.to_string()))
}

fn is_host_text(host: &str) -> bool {
    let literal_v6 = host.starts_with('[') && host.ends_with(']');
    let odd = |c: char| c.is_whitespace() || c.is_control() || "/\\@?#%".contains(c) || (c == ':' && !literal_v6);
    !host.is_empty() && host.len() <= 253 && !host.chars().any(odd)
}

fn is_public_port(port: u16) -> bool {
    matches!(port, 80 | 443) || (port >= 1024 && !SERVICE_PORTS.contains(&port))
}

fn malformed(detail: &str) -> UrlError {
    UrlError { code: "malformed", detail: detail.to_owned() }
}

fn forbidden_address() -> UrlError {
    let detail = "leads to a private or special address; the operator can permit a network with outbound.allow";
    UrlError { code: "address", detail: detail.into() }
}

fn blocked() -> SendError {
    SendError::not_sent("blocked_address", "the outbound rules do not permit this destination")
}

/// The client's name resolver: drops every address the guard does not permit.
pub struct Resolver {
    guard: Arc<Guard>,
    only_inside: bool,
}

impl Resolver {
    pub fn new(guard: Arc<Guard>) -> Self {
        Self { guard, only_inside: false }
    }

    /// Drops the public internet too: for plain http and unusual ports.
    pub(crate) fn only_inside(guard: Arc<Guard>) -> Self {
        Self { guard, only_inside: true }
    }
}

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let guard = Arc::clone(&self.guard);
        let only_inside = self.only_inside;
        Box::pin(async move {
            let may = |address| if only_inside { guard.allows(address) } else { guard.permits(address) };
            let found = guard.resolve_where(name.as_str(), 0, may).await?;
            Ok(Box::new(found.into_iter()) as reqwest::dns::Addrs)
        })
    }
}
