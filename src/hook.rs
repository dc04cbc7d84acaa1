//! The address at which an account's provider reports. It names tenant, channel, branch and account, sealed, so that
//! nobody can make one up; it stays the same for as long as the key file does.

use url::Url;

use crate::ids::TenantId;
use crate::secrets::Keyring;

const PURPOSE: &str = "hook";

/// Whose hook it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    pub tenant: TenantId,
    pub channel: String,
    /// Empty for the whole tenant.
    pub branch: String,
    /// The account's name.
    pub account: String,
}

impl Hook {
    pub fn url(&self, keyring: &Keyring, public_url: &str) -> String {
        let Self { tenant, channel, branch, account } = self;
        let token = keyring.seal_link(PURPOSE, &[tenant.as_str(), channel, branch, account].join("\n"));
        format!("{}/hooks/{channel}/{token}", public_url.trim_end_matches('/'))
    }

    /// `None` for a token that is not ours.
    pub fn read(keyring: &Keyring, token: &str) -> Option<Self> {
        let text = keyring.open_link(PURPOSE, token)?;
        let mut parts = text.splitn(4, '\n').map(str::to_owned);
        let mut next = || parts.next();
        Some(Self { tenant: TenantId::from(next()?), channel: next()?, branch: next()?, account: next()? })
    }
}

/// Whether a provider on the internet could reach this address at all.
pub fn is_public(public_url: &str) -> bool {
    let Ok(url) = Url::parse(public_url) else { return false };
    match url.host() {
        Some(url::Host::Domain(name)) => name != "localhost" && !name.ends_with(".localhost"),
        Some(url::Host::Ipv4(ip)) => !(ip.is_loopback() || ip.is_unspecified()),
        Some(url::Host::Ipv6(ip)) => !(ip.is_loopback() || ip.is_unspecified()),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_known_only_to_its_own_machine_is_not_public() {
        for (url, public) in [
            ("http://localhost:8080", false),
            ("http://127.0.0.1:8080", false),
            ("http://[::1]", false),
            ("https://recado.example", true),
            ("http://10.0.0.7:8080", true),
        ] {
            assert_eq!(is_public(url), public, "{url}");
        }
    }
}
