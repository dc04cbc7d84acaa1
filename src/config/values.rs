//! The values a setting can have. Each is checked while it is read, so that a bad one is a fault of its own key; what
//! is said about it never repeats a secret.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use serde::de::{Deserialize, Deserializer, Error};
use url::Url;

use crate::suggest::nearest;

const SHORTEST_SECRET: usize = 16;
const REDACTED: &str = "********";

/// Where the data lives. Shown without its password.
#[derive(Clone)]
pub struct StoreUrl(SecretString);

impl StoreUrl {
    /// With the password: for connecting, not for showing.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    pub fn is_sqlite(&self) -> bool {
        self.expose().starts_with("sqlite:")
    }

    fn parse(text: &str) -> Result<Self, String> {
        const WANTED: &str = "use sqlite://PATH or postgres://USER@HOST/DATABASE";
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(format!("not a URL: {WANTED}"));
        };
        match scheme {
            "sqlite" if rest.trim_start_matches('/').is_empty() => Err(format!("names no file: {WANTED}")),
            "sqlite" => Ok(Self(text.into())),
            "postgres" | "postgresql" => match Url::parse(text) {
                Ok(url) if url.has_host() => Ok(Self(text.into())),
                // A socket's folder can stand in `?host=`, so only the shape is asked for.
                Ok(url) if url.query_pairs().any(|(key, _)| key == "host") => Ok(Self(text.into())),
                _ => Err(format!("not a postgres URL: {WANTED}")),
            },
            _ if !rest.starts_with("//") => Err(format!("not a URL: {WANTED}")),
            _ => {
                let guess = nearest(scheme, ["sqlite", "postgres"]).map(|s| format!(" (did you mean \"{s}\"?)"));
                Err(format!("unknown store scheme \"{scheme}\"{}: {WANTED}", guess.unwrap_or_default()))
            }
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_password(self.expose()))
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for StoreUrl {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        checked(d, Self::parse)
    }
}

/// The URL with its password, also one in the query, covered.
pub(super) fn without_password(text: &str) -> String {
    if text.starts_with("sqlite:") {
        return text.to_owned();
    }
    let Ok(mut url) = Url::parse(text) else { return REDACTED.to_owned() };
    if url.password().is_some() && url.set_password(Some(REDACTED)).is_err() {
        return REDACTED.to_owned();
    }
    if url.query_pairs().any(|(key, _)| key == "password") {
        let pairs: Vec<(String, String)> =
            url.query_pairs().into_owned().filter(|(key, _)| key != "password").collect();
        url.query_pairs_mut().clear().extend_pairs(pairs).append_pair("password", REDACTED);
    }
    url.into()
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl<'de> Deserialize<'de> for LogFormat {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        checked(d, |text| match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("\"{text}\" is not a format: use \"text\" or \"json\"")),
        })
    }
}

fn checked<'de, D: Deserializer<'de>, T>(d: D, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, D::Error> {
    parse(&String::deserialize(d)?).map_err(D::Error::custom)
}

pub(super) fn listen<'de, D: Deserializer<'de>>(d: D) -> Result<SocketAddr, D::Error> {
    checked(d, |text| {
        let wrong = || format!("\"{text}\" is not an address and port such as 127.0.0.1:8080 or [::]:8080");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        if port.is_empty() || port.bytes().any(|b| !b.is_ascii_digit()) {
            return Err(wrong());
        }
        let port = port.parse().map_err(|_| format!("port {port} is above 65535"))?;
        if host == "localhost" {
            return Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
        }
        text.parse().map_err(|_| wrong())
    })
}

pub(super) fn public_url<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    checked(d, |text| match Url::parse(text) {
        Err(e) => Err(format!("\"{text}\" is not a URL: {e}")),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => Err("begins with neither http:// nor https://".into()),
        Ok(url) if !url.username().is_empty() || url.password().is_some() => Err("must not carry credentials".into()),
        Ok(url) if url.query().is_some() || url.fragment().is_some() => Err("must end with its path".into()),
        Ok(url) => Ok(url.as_str().trim_end_matches('/').to_owned()),
    })
}

/// `"500ms"`, `"30s"`, `"5m"`, `"2h"`, `"1d"`.
pub(super) fn duration<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    checked(d, read_duration)
}

/// A duration as people write it: `30s`, `5m`, `2h`, `1d`.
pub fn read_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is not a duration such as \"500ms\", \"30s\", \"5m\", \"2h\" or \"1d\"");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit_millis = match unit.trim_start() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    match number.checked_mul(unit_millis) {
        Some(0) => Err("must be longer than nothing".into()),
        Some(millis) => Ok(Duration::from_millis(millis)),
        None => Err(wrong()),
    }
}

pub(super) fn secret<'de, D: Deserializer<'de>>(d: D) -> Result<Option<SecretString>, D::Error> {
    let secret = SecretString::from(String::deserialize(d)?);
    match secret.expose_secret().chars().count() {
        0 => Ok(None),
        n if n < SHORTEST_SECRET => Err(D::Error::custom(format!(
            "shorter than {SHORTEST_SECRET} characters: make one with `openssl rand -hex 32`"
        ))),
        _ => Ok(Some(secret)),
    }
}

pub(super) fn text<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    Ok(Some(String::deserialize(d)?).filter(|text| !text.is_empty()))
}

pub(super) fn path<'de, D: Deserializer<'de>>(d: D) -> Result<Option<PathBuf>, D::Error> {
    Ok(text(d)?.map(PathBuf::from))
}

pub(super) fn required_path<'de, D: Deserializer<'de>>(d: D) -> Result<PathBuf, D::Error> {
    path(d)?.ok_or_else(|| D::Error::custom("must name a file"))
}

pub(super) fn networks<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<IpNet>, D::Error> {
    let parse = |text: &String| {
        let text = text.trim();
        text.parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map_err(|_| D::Error::custom(format!("\"{text}\" is not a network such as 10.0.0.0/8 or fd00::/8")))
    };
    Vec::<String>::deserialize(d)?.iter().map(parse).collect()
}

pub(super) fn at_least_one<'de, D: Deserializer<'de>>(d: D) -> Result<usize, D::Error> {
    match i64::deserialize(d)? {
        n if n < 1 => Err(D::Error::custom(format!("{n} is below 1"))),
        n => usize::try_from(n).map_err(|_| D::Error::custom(format!("{n} is too large"))),
    }
}

pub(super) fn limit<'de, D: Deserializer<'de>>(d: D) -> Result<Option<NonZeroU32>, D::Error> {
    let n = i64::deserialize(d)?;
    let n = u32::try_from(n).map_err(|_| D::Error::custom(format!("{n} is not a limit: use 0 or more")))?;
    Ok(NonZeroU32::new(n))
}

pub(super) fn level<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    checked(d, |text| {
        for directive in text.split(',') {
            let word = directive.rsplit('=').next().unwrap_or(directive).trim();
            if !LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word)) {
                let guess = nearest(word, LEVELS).map(|level| format!(" (did you mean \"{level}\"?)"));
                let guess = guess.unwrap_or_default();
                return Err(format!("\"{word}\" is not a level{guess}: use one of {}", LEVELS.join(", ")));
            }
        }
        Ok(text.to_owned())
    })
}

pub(super) fn country<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    checked(d, |text| {
        let known = text.len() == 2 && text.parse::<phonenumber::country::Id>().is_ok();
        known.then(|| text.to_owned()).ok_or_else(|| format!("\"{text}\" is not a country such as \"MX\" or \"ES\""))
    })
}

pub(super) fn locale<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    checked(d, |text| {
        let mut parts = text.split('-');
        let language = parts.next().unwrap_or_default();
        let shaped = matches!(language.len(), 2 | 3)
            && language.bytes().all(|b| b.is_ascii_lowercase())
            && parts.all(|part| (2..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()));
        shaped.then(|| text.to_owned()).ok_or_else(|| format!("\"{text}\" is not a locale such as \"es-MX\" or \"en\""))
    })
}

pub(super) fn timezone<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    checked(d, |text| {
        if text.parse::<chrono_tz::Tz>().is_ok() {
            return Ok(text.to_owned());
        }
        let guess = nearest(text, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()));
        let guess = guess.map(|zone| format!(" (did you mean \"{zone}\"?)")).unwrap_or_default();
        Err(format!("\"{text}\" is not an IANA zone{guess}"))
    })
}
