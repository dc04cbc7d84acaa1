//! One account's settings, checked once when it is opened.

use std::net::IpAddr;

use lettre::Address;
use lettre::message::Mailbox;
use plugin_api::net::Guard;
use plugin_api::{SendError, Settings, SettingsError};
use serde::Deserialize;
use url::Host;

use crate::dkim::Dkim;
use crate::mail;
use crate::proof::Proof;

pub(crate) struct Account {
    /// An address, or a name in ASCII as certificates and name servers know it.
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) security: Security,
    pub(crate) login: Option<Login>,
    /// Envelope sender: where bounces go, if not back to `from`.
    pub(crate) bounce: Option<Address>,
    pub(crate) from: Mailbox,
    pub(crate) reply_to: Option<Mailbox>,
    pub(crate) dkim: Option<Dkim>,
    /// Reports are taken in, and believed when they bring back what this made.
    pub(crate) hook: Option<Proof>,
}

/// Has no `Debug`, so that a password cannot end up in a log.
pub(crate) struct Login {
    pub(crate) username: String,
    pub(crate) password: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Security {
    /// TLS from the first byte.
    Tls,
    /// A plain greeting, then TLS or nothing.
    Starttls,
    /// Plain text, only inside networks the operator opened.
    None,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    host: String,
    port: i64,
    security: Security,
    username: Option<String>,
    password: Option<String>,
    from: String,
    from_name: Option<String>,
    reply_to: Option<String>,
    #[serde(rename = "dkim.domain")]
    dkim_domain: Option<String>,
    #[serde(rename = "dkim.selector")]
    dkim_selector: Option<String>,
    #[serde(rename = "dkim.privateKey")]
    dkim_private_key: Option<String>,
    bounce_address: Option<String>,
    hook_secret: Option<String>,
}

/// The longest part before the @ of a bounce address that leaves room for a delivery's id and its mark.
const LONGEST_BASE: usize = 10;

/// What can be guessed is no secret.
const SHORTEST_SECRET: usize = 16;

impl Account {
    pub(crate) fn new(settings: &Settings, guard: &Guard) -> Result<Self, SettingsError> {
        let raw: Raw = settings.parse()?;
        let host = host(&raw.host)?;
        let port = u16::try_from(raw.port).ok().filter(|p| *p != 0);
        let port = port.ok_or_else(|| SettingsError::new("port", "out_of_range", "must be 1 to 65535"))?;
        if raw.security == Security::None
            && let Some(ip) = literal(&host)
            && !guard.allows(ip)
        {
            let detail = "none sends in clear and is only for networks in outbound.allow; use tls or starttls";
            return Err(SettingsError::new("security", "plaintext_not_allowed", detail));
        }
        let from = mailbox("from", &raw.from, raw.from_name)?;
        let reply_to = present(raw.reply_to).map(|address| mailbox("replyTo", &address, None)).transpose()?;
        let bounce = present(raw.bounce_address).map(|address| mailbox("bounceAddress", &address, None)).transpose()?;
        let bounce = bounce.map(|mailbox| mailbox.email);
        if bounce.as_ref().is_some_and(|address| address.user().len() > LONGEST_BASE) {
            let detail = format!("must have at most {LONGEST_BASE} characters before the @: each message adds its own");
            return Err(SettingsError::new("bounceAddress", "too_long", detail));
        }
        let hook = present(raw.hook_secret);
        if hook.as_ref().is_some_and(|secret| secret.len() < SHORTEST_SECRET) {
            let detail = format!("must have at least {SHORTEST_SECRET} characters, as `openssl rand -hex 32` prints");
            return Err(SettingsError::new("hookSecret", "too_short", detail));
        }
        Ok(Self {
            host,
            port,
            security: raw.security,
            login: login(raw.username, raw.password)?,
            bounce,
            from,
            reply_to,
            dkim: dkim(raw.dkim_domain, raw.dkim_selector, raw.dkim_private_key)?,
            hook: hook.as_deref().map(Proof::new),
        })
    }

    /// The envelope sender of a message, by its id as the `Message-ID` spells it.
    pub(crate) fn sender(&self, id: &str) -> String {
        let plain = self.bounce.as_ref().unwrap_or(&self.from.email);
        if let (Some(bounce), Some(hook)) = (&self.bounce, &self.hook) {
            let local = hook.envelope(bounce.user(), id);
            // Ids of the core's are short enough; RFC 5321 has no room for longer ones.
            if local.len() <= 64 {
                return format!("{local}@{}", bounce.domain());
            }
        }
        plain.to_string()
    }

    /// `smtp.example.com:587`, for sentences.
    pub(crate) fn endpoint(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The host as an address, where it was given as one.
    pub(crate) fn literal(&self) -> Option<IpAddr> {
        literal(&self.host)
    }
}

fn literal(host: &Host) -> Option<IpAddr> {
    match host {
        Host::Domain(_) => None,
        Host::Ipv4(ip) => Some((*ip).into()),
        Host::Ipv6(ip) => Some((*ip).into()),
    }
}

fn host(text: &str) -> Result<Host, SettingsError> {
    // An address of version 6 may be written with or without its brackets.
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<std::net::Ipv6Addr>() {
        return Ok(Host::Ipv6(ip));
    }
    Host::parse(text)
        .map_err(|_| SettingsError::new("host", "malformed", "must be a host name alone, such as smtp.example.com"))
}

fn mailbox(setting: &str, address: &str, name: Option<String>) -> Result<Mailbox, SettingsError> {
    let address = mail::address(address).map_err(|e| SettingsError::new(setting, "email", e.detail))?;
    if name.as_deref().is_some_and(mail::breaks_a_line) {
        return Err(SettingsError::new("fromName", "control_characters", "must be one line"));
    }
    Ok(Mailbox::new(name.filter(|n| !n.trim().is_empty()), address))
}

fn present(text: Option<String>) -> Option<String> {
    text.filter(|t| !t.is_empty())
}

fn dkim(domain: Option<String>, selector: Option<String>, key: Option<String>) -> Result<Option<Dkim>, SettingsError> {
    let missing = |setting| Err(SettingsError::new(setting, "required", "is required: DKIM takes all three or none"));
    match (present(domain), present(selector), present(key)) {
        (None, None, None) => Ok(None),
        (Some(domain), Some(selector), Some(key)) => Dkim::new(&domain, &selector, &key).map(Some),
        (None, ..) => missing("dkim.domain"),
        (_, None, _) => missing("dkim.selector"),
        (_, _, None) => missing("dkim.privateKey"),
    }
}

fn login(username: Option<String>, password: Option<String>) -> Result<Option<Login>, SettingsError> {
    let login = match (present(username), present(password)) {
        (None, None) => return Ok(None),
        (Some(username), Some(password)) => Login { username, password },
        (Some(_), None) => return Err(SettingsError::new("password", "required", "is required beside username")),
        (None, Some(_)) => return Err(SettingsError::new("username", "required", "is required beside password")),
    };
    for (setting, value) in [("username", &login.username), ("password", &login.password)] {
        if value.contains('\0') {
            return Err(SettingsError::new(setting, "control_characters", "must not hold NUL"));
        }
    }
    Ok(Some(login))
}

/// What is wrong, and what an operator or a tenant can do about it.
pub(crate) fn cure(e: &SendError) -> String {
    let cure = match e.reason.as_ref() {
        "name_not_resolved" => "check the host name",
        "blocked_address" => "use a public mail server, or have the operator add its network to outbound.allow",
        "connect_failed" | "timeout" => {
            "check host and port (587 with starttls, 465 with tls) and any firewall between"
        }
        "tls_failed" => "check that the host is named as its certificate is, and that port and security fit together",
        "starttls_not_offered" => "use security \"tls\" with port 465, or ask the provider",
        "plaintext_not_allowed" => "use tls or starttls, or have the operator add the network to outbound.allow",
        "auth_failed" => "check username and password; with two-step sign-in an app password is needed",
        "auth_not_offered" => "leave username and password out, or use the provider's submission port",
        "sender_refused" => "use a from address that this account may send as",
        _ => "ask the provider, or try again later",
    };
    format!("{}; {cure}", e.detail)
}
