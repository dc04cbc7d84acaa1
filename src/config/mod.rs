//! The settings as types. Three layers: the compiled-in `config.toml`, the operator's file, `RECADO_SECTION__KEY`
//! variables. Every fault is found in one go and named with its place, its key and the nearest right one.

mod describe;
mod layers;
mod values;

pub use values::read_duration;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;
use serde::Deserialize;

pub use describe::{Origin, Setting, reloadable};
pub use values::{LogFormat, StoreUrl};

/// The documented defaults: the text that is compiled in.
pub const DEFAULTS: &str = include_str!("../../config.toml");

/// Read when `--config` names no other file.
pub const DEFAULT_FILE: &str = "config.toml";

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub server: Server,
    pub store: Store,
    pub auth: Auth,
    pub secrets: Secrets,
    pub outbound: Outbound,
    pub delivery: Delivery,
    pub log: Log,
    pub paths: Paths,
    pub templates: Templates,
    pub defaults: Defaults,
    /// By channel name. Names are checked against the registry elsewhere; ask [`Config::channel`].
    pub channels: BTreeMap<String, ChannelSwitch>,
    /// The file that was read, to be watched for changes.
    #[serde(skip)]
    pub file: Option<PathBuf>,
    #[serde(skip)]
    effective: describe::Effective,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    #[serde(deserialize_with = "values::listen")]
    pub listen: SocketAddr,
    /// Without a trailing slash.
    #[serde(deserialize_with = "values::public_url")]
    pub public_url: String,
    #[serde(deserialize_with = "values::duration")]
    pub request_timeout: Duration,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    pub url: StoreUrl,
    #[serde(deserialize_with = "values::limit")]
    pub keep_free_mib: Option<NonZeroU32>,
}

/// `None` closes that way in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    #[serde(deserialize_with = "values::secret")]
    pub operator_key: Option<SecretString>,
    #[serde(deserialize_with = "values::secret")]
    pub jwt_secret: Option<SecretString>,
    #[serde(deserialize_with = "values::path")]
    pub jwt_public_key_file: Option<PathBuf>,
    #[serde(deserialize_with = "values::text")]
    pub jwt_issuer: Option<String>,
    #[serde(deserialize_with = "values::text")]
    pub jwt_audience: Option<String>,
    #[serde(deserialize_with = "values::secret")]
    pub cron_secret: Option<SecretString>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    #[serde(deserialize_with = "values::required_path")]
    pub key_file: PathBuf,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outbound {
    #[serde(deserialize_with = "values::networks")]
    pub allow: Vec<IpNet>,
    pub allow_http: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    #[serde(deserialize_with = "values::at_least_one")]
    pub max_in_memory: usize,
    #[serde(deserialize_with = "values::duration")]
    pub call_timeout: Duration,
    #[serde(deserialize_with = "values::duration")]
    pub fallback_after: Duration,
    #[serde(deserialize_with = "values::duration")]
    pub lease: Duration,
    #[serde(deserialize_with = "values::duration")]
    pub shutdown_grace: Duration,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub format: LogFormat,
    #[serde(deserialize_with = "values::level")]
    pub level: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paths {
    #[serde(deserialize_with = "values::path")]
    pub templates: Option<PathBuf>,
    #[serde(deserialize_with = "values::path")]
    pub scripts: Option<PathBuf>,
    #[serde(deserialize_with = "values::path")]
    pub plugins: Option<PathBuf>,
}

/// What tenants may write.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Templates {
    pub allow_unescaped_html: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    #[serde(deserialize_with = "values::country")]
    pub country: String,
    #[serde(deserialize_with = "values::locale")]
    pub locale: String,
    #[serde(deserialize_with = "values::timezone")]
    pub timezone: String,
}

/// What the operator says about a channel; a limit that is `None` is the plugin's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChannelSwitch {
    pub enabled: bool,
    #[serde(deserialize_with = "values::limit")]
    pub max_concurrency: Option<NonZeroU32>,
    #[serde(deserialize_with = "values::limit")]
    pub rate_per_minute: Option<NonZeroU32>,
}

impl Default for ChannelSwitch {
    fn default() -> Self {
        Self { enabled: true, max_concurrency: None, rate_per_minute: None }
    }
}

impl Config {
    /// Reads the file (`path`, else `./config.toml` when there is one) and takes the `RECADO_*` ones of `env`.
    pub fn load(path: Option<&Path>, env: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigErrors> {
        let named = path.unwrap_or(Path::new(DEFAULT_FILE));
        match std::fs::read_to_string(named) {
            Ok(text) => Self::from_text(Some((named, &text)), env),
            Err(e) if path.is_none() && e.kind() == std::io::ErrorKind::NotFound => Self::from_text(None, env),
            Err(e) => Err(ConfigErrors(vec![ConfigFault {
                place: named.display().to_string(),
                key: String::new(),
                detail: format!("cannot be read: {e}"),
            }])),
        }
    }

    /// As [`Config::load`], from a text already read (with the name to show for it).
    pub fn from_text(
        file: Option<(&Path, &str)>,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        layers::merge(file, env)
    }

    /// The switch of one channel; a channel nobody mentions is on.
    pub fn channel(&self, name: &str) -> ChannelSwitch {
        self.channels.get(name).copied().unwrap_or_default()
    }
}

/// The process's own variables. Those that are not Unicode are left out: no setting of ours can be.
pub fn process_env() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Everything that is wrong, one line each.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigFault>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// One fault. The detail never holds the value of a secret.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ConfigFault {
    /// `config.toml:12`, or the name of the variable.
    pub place: String,
    /// `server.listen`; empty when the whole file is meant.
    pub key: String,
    pub detail: String,
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            return write!(f, "{}: {}", self.place, self.detail);
        }
        write!(f, "{}: {}: {}", self.place, self.key, self.detail)
    }
}
