//! Where a script's requests may go.

use plugin_api::http::Url;
use plugin_api::{Manifest, SettingKind, Settings};

/// The hosts of one account.
pub(super) struct Hosts {
    /// As in the manifest: a name, or `*.` and what it ends with.
    listed: Vec<String>,
    /// Scheme, host and port of the account's `url` settings.
    set: Vec<url::Origin>,
}

impl Hosts {
    pub(super) fn new(manifest: &Manifest, settings: &Settings) -> Self {
        let urls = manifest.providers.iter().flat_map(|p| &p.settings).filter(|s| s.kind == SettingKind::Url);
        let set = urls.filter_map(|s| settings.0.get(&s.name)?.as_str()).filter_map(|u| Url::parse(u).ok());
        Self { listed: manifest.hosts.clone(), set: set.map(|u| u.origin()).collect() }
    }

    pub(super) fn allow(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let host = host.trim_end_matches('.');
        let listed = self.listed.iter().any(|allowed| match allowed.strip_prefix('*') {
            Some(end) => host.len() > end.len() && host.ends_with(end),
            None => host == allowed,
        });
        listed || self.set.contains(&url.origin())
    }
}

/// What is wrong with an entry of `hosts`.
pub(super) fn fault(host: &str) -> Option<String> {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let fine = !name.is_empty()
        && !name.ends_with('.')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b));
    // `*.com` would be anybody.
    let wide = host.starts_with("*.") && !name.contains('.');
    let wrong = "must be a bare host name in lower case, such as \"api.example.com\" or \"*.example.com\"";
    (!fine || wide).then(|| format!("hosts: \"{host}\" {wrong}"))
}
