//! A channel that a script describes. The folder holds a `plugin.toml` and a `plugin.rhai`; the script says what to ask
//! of the provider and what an answer means, the host makes the call. `README.md`, "Add a channel", goes through it.
//!
//! ```text
//! fn request(message, settings)    what is asked of the provider: a request, or #{rejected: …} to refuse a message
//! fn outcome(response, message)    what its answer means; left out: what the status says
//! fn check(settings)               a request that proves the account and reaches nobody; left out: OPTIONS to where
//!                                  `request` would go
//! fn checked(response)             what the answer to it means: a sentence, or #{problem: "…"}; left out: the status
//! fn receive(callback, settings)   what a callback of the provider means; left out: it has none
//! ```
//!
//! `message` has `id`, `type`, `channel`, `recipient` (`contactId`, `externalId`, `name`, `phone`, `email`), `subject`,
//! `text`, `textWithActions`, `html`, `actions` (`title`, `value`), `data`, `attempt`, `memory` and `now` (Unix
//! seconds); what is missing is `()`. `settings` has the account's settings, those not set as `()`; a secret is a
//! placeholder, whose value the host fills in when it makes the call, and only there. `settings.hookUrl` is where the
//! provider may report to, `()` while the server has no public address.
//!
//! **A request** is `#{method, url, headers, query, json | form | body}`; only `url` is needed, `method` is `POST`. Its
//! host must be named in `hosts` of `plugin.toml`, or be that of a `url` setting.
//!
//! **A response** has `status`, `headers` (lower case), `body`, and `json`: the body read, or `()`. Redirects and
//! connections that break are judged by the host and never seen here.
//!
//! **An outcome** is `()` for what the status says (2xx accepted; 401 and 403 refused, account at fault; other 4xx
//! refused; 429, and 503 with `Retry-After`, later again; the rest unknown), or one of
//!
//! ```text
//! #{accepted: id}                  taken; () or true where the provider gives no id
//! #{rejected: "reason"}            refused for good
//! #{throttled: "reason", after: 30}   certainly not taken, later it may be; `after` in seconds
//! #{unknown: "reason"}             nobody can say
//! ```
//!
//! `reason` is a word such as `chat_not_found`. Beside it `detail`, a sentence for people; `hint`, either
//! `"suppress_address"` (never write there again), `"misconfigured"` (the account is at fault) or
//! `"only_this_recipient"` (a limit on messages to this person, none of the account); `remember`, which
//! comes back as `message.memory`; with `accepted` also `note`, something odd worth a line in the log.
//!
//! **A callback** has `method`, `url`, `query`, `headers`, `body`, `json` and `receivedAt` (Unix seconds). A secret in
//! it shows as the same placeholder that `settings` has, so that `callback.headers["x-token"] == settings.token`
//! compares them. Its meaning is a list of events, or `#{events: […], answer: "…", contentType: "…", unread: "…"}`, or
//! `#{unverified: "…"}`, `#{stale: "…"}`, `#{malformed: "…"}`. `unread` says what in it was not understood: the callback
//! is then set aside for people to read, as a malformed one is. An event is one of
//!
//! ```text
//! #{sent: id}  #{delivered: id}  #{read: id}   what became of the message with this id; `reference` is our own id
//! #{failed: id, reason, detail, hint}
//! #{inbound: id, from, name, text, action, inReplyTo}
//! #{optOut: address, reason, marketingOnly}
//! ```
//!
//! each with `at` (Unix seconds) where the provider tells.

mod account;
mod cases;
mod compare;
mod events;
mod folder;
mod hosts;
mod named;
mod outcome;
mod request;
mod view;

use std::sync::{Arc, OnceLock};

use plugin_api::{Channel, Host, Manifest, Plugin, Provider, SettingKind, Settings, SettingsError, manifest_faults};
use secrecy::SecretString;

use crate::script::{Kind, Script, ScriptError};

pub use cases::{CaseResult, run_cases};
pub use folder::{FolderFault, read_folder};

/// A folder's channel.
pub struct ScriptPlugin {
    manifest: Manifest,
    manifest_text: Box<str>,
    source: Arc<str>,
    /// Compiled when it is first needed: most of those shipped never are.
    compiled: OnceLock<Result<Script, ScriptError>>,
    /// A tenant brought it.
    uploaded: bool,
}

/// The functions a script may define for the host, and their parameters.
const FUNCTIONS: [(&str, usize); 5] = [("request", 2), ("outcome", 2), ("check", 1), ("checked", 1), ("receive", 2)];

impl ScriptPlugin {
    /// Reads the manifest; the script is compiled by [`ScriptPlugin::compile`] or at first use. `path` is only named
    /// in errors. All faults of the manifest at once.
    pub fn new(path: &str, manifest_text: &str, source: impl Into<Arc<str>>) -> Result<Self, Vec<String>> {
        let manifest = Manifest::parse(path, manifest_text).map_err(|e| vec![e.0.trim_end().to_owned()])?;
        let faults: Vec<_> = faults(&manifest).into_iter().map(|fault| format!("{path}: {fault}")).collect();
        if faults.is_empty() {
            let (manifest_text, source) = (manifest_text.into(), source.into());
            Ok(Self { manifest, manifest_text, source, compiled: OnceLock::new(), uploaded: false })
        } else {
            Err(faults)
        }
    }

    /// Of a tenant: its calls hold up nobody else's.
    #[must_use]
    pub fn uploaded(self) -> Self {
        Self { uploaded: true, ..self }
    }

    pub fn compile(&self) -> Result<&Script, &ScriptError> {
        self.compiled.get_or_init(|| compile(&self.source, &self.manifest.providers[0])).as_ref()
    }

    /// The same texts.
    pub fn is_the_same(&self, other: &Self) -> bool {
        self.manifest_text == other.manifest_text && self.source == other.source
    }

    fn provider(&self) -> &Provider {
        &self.manifest.providers[0]
    }
}

fn compile(source: &str, provider: &Provider) -> Result<Script, ScriptError> {
    let script = Script::compile(Kind::Channel, source)?;
    for (name, parameters) in FUNCTIONS {
        let same_name: Vec<_> = script.functions().filter(|(n, _)| *n == name).collect();
        if same_name.iter().any(|(_, given)| *given != parameters) {
            return Err(ScriptError::invalid(format!("`{name}` must take {parameters} parameters: {}", shape(name))));
        }
    }
    if !script.has("request") {
        let near = crate::suggest::nearest("request", script.functions().map(|(name, _)| name));
        let guess = near.map(|n| format!(" (is it `{n}`?)")).unwrap_or_default();
        return Err(ScriptError::invalid(format!("there is no {}{guess}", shape("request"))));
    }
    let receives = provider.callbacks || provider.inbound;
    if receives && !script.has("receive") {
        return Err(ScriptError::invalid(format!(
            "plugin.toml promises callbacks, but there is no {}",
            shape("receive")
        )));
    }
    Ok(script)
}

fn shape(function: &str) -> &'static str {
    match function {
        "request" => "fn request(message, settings)",
        "outcome" => "fn outcome(response, message)",
        "check" => "fn check(settings)",
        "checked" => "fn checked(response)",
        _ => "fn receive(callback, settings)",
    }
}

/// What a script's manifest can have wrong, beyond what any manifest can.
fn faults(manifest: &Manifest) -> Vec<String> {
    let mut faults = manifest_faults(manifest);
    if let [provider] = manifest.providers.as_slice() {
        if provider.attachments {
            faults.push("attachments = true: a script can't send attachments".to_owned());
        }
        if provider.unknown.lookup {
            faults.push("unknown.lookup = true: a script can't look messages up".to_owned());
        }
        faults.extend(provider.settings.iter().filter(|s| s.name.contains('.')).map(|s| {
            let name = &s.name;
            format!("setting \"{name}\": a script's settings have no dots in their names")
        }));
        if manifest.hosts.is_empty() && !provider.settings.iter().any(|s| s.kind == SettingKind::Url) {
            faults.push(
                "missing \"hosts\": name the hosts the script calls, e.g. hosts = [\"api.example.com\"]".to_owned(),
            );
        }
    } else {
        faults.push("a script has exactly one [[provider]]".to_owned());
    }
    faults.extend(manifest.hosts.iter().filter_map(|host| hosts::fault(host)));
    faults
}

impl Plugin for ScriptPlugin {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn open(&self, _: &str, settings: &Settings, host: &Host) -> Result<Arc<dyn Channel>, SettingsError> {
        let script = self.compile().map_err(|e| SettingsError::new("provider", e.code, format!("plugin.rhai: {e}")))?;
        let account = account::Account::new(self, script.clone(), settings, host.clone())?;
        Ok(Arc::new(account))
    }
}

/// A setting that is one, by name.
type Secret = (String, Arc<SecretString>);

/// Settings as a script sees them: secrets apart, and a field for each setting there is.
fn split(provider: &Provider, settings: &Settings) -> (serde_json::Map<String, serde_json::Value>, Vec<Secret>) {
    let mut open = serde_json::Map::new();
    let mut secrets = Vec::new();
    for setting in &provider.settings {
        let value = settings.0.get(&setting.name).cloned().unwrap_or_default();
        match value {
            serde_json::Value::String(text) if setting.kind == SettingKind::Secret && !text.is_empty() => {
                secrets.push((setting.name.clone(), Arc::new(text.into())));
            }
            value => drop(open.insert(setting.name.clone(), value)),
        }
    }
    (open, secrets)
}
