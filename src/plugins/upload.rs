//! A channel that a tenant brings itself: the three texts of its folder, checked before they are kept.

use std::time::Duration;

use plugin_api::net::Guard;
use plugin_api::{Manifest, Plugin};
use serde::{Deserialize, Serialize};

use super::{Registry, SANDBOX, ScriptPlugin, run_cases};
use crate::error::{Error, Fault, Result};

/// How it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Texts {
    /// `plugin.toml`.
    pub manifest: String,
    /// `plugin.rhai`.
    pub script: String,
    /// `cases.json`.
    pub cases: String,
}

/// Words that mean something else where channels are named.
const RESERVED: [&str; 4] = ["all", "details", SANDBOX, "test"];

const LONGEST_NAME: usize = 40;
const LARGEST_MANIFEST: usize = 32 * 1024;
const LARGEST_CASES: usize = 256 * 1024;
const MOST_HOSTS: usize = 20;

/// What one tenant's channel may claim of the program that all share.
const MOST_CALLS_AT_ONCE: u32 = 16;
const LONGEST_CALL: u64 = 120;
const LONGEST_WAIT: u64 = 7 * 24 * 3600;

/// How long all cases together may take; a script in order needs a thousandth of it.
const PATIENCE: Duration = Duration::from_secs(10);

impl Texts {
    /// Reads the manifest; the script is compiled when it is needed.
    pub fn plugin(&self) -> Result<ScriptPlugin, Vec<Fault>> {
        let faults = |faults: Vec<String>| {
            faults.into_iter().map(|detail| Fault::new("/manifest", "manifest_invalid", detail)).collect()
        };
        let plugin = ScriptPlugin::new("plugin.toml", &self.manifest, self.script.as_str());
        plugin.map(ScriptPlugin::uploaded).map_err(faults)
    }

    /// As `recado plugin check` would, and what a tenant may not do beside: every fault at once.
    pub async fn check(&self, name: &str, others: &Registry, guard: &Guard) -> Result<ScriptPlugin> {
        let invalid = |faults| Error::Invalid { slug: "plugin-invalid", faults };
        self.check_sizes()?;
        let plugin = self.plugin().map_err(invalid)?;
        let mut faults = own_faults(name, plugin.manifest(), others);
        if let Err(e) = plugin.compile() {
            faults.push(Fault::new("/script", e.code, format!("plugin.rhai: {e}")));
        }
        if !faults.is_empty() {
            return Err(invalid(faults));
        }
        check_hosts(plugin.manifest(), guard).await?;
        let faults = self.try_cases(&plugin).await;
        if faults.is_empty() { Ok(plugin) } else { Err(invalid(faults)) }
    }

    fn check_sizes(&self) -> Result<()> {
        for (pointer, text, most) in
            [("/manifest", &self.manifest, LARGEST_MANIFEST), ("/cases", &self.cases, LARGEST_CASES)]
        {
            if text.len() > most {
                return Err(Error::fault(pointer, "too_long", format!("must have at most {} KiB", most / 1024)));
            }
        }
        let texts = [("/manifest", &self.manifest), ("/script", &self.script), ("/cases", &self.cases)];
        match texts.into_iter().find(|(_, text)| text.contains('\0')) {
            Some((pointer, _)) => Err(Error::fault(pointer, "control_characters", "must not hold the NUL character")),
            None => Ok(()),
        }
    }

    async fn try_cases(&self, plugin: &ScriptPlugin) -> Vec<Fault> {
        let fault = |code, detail| Fault::new("/cases", code, format!("cases.json: {detail}"));
        match tokio::time::timeout(PATIENCE, run_cases(plugin, &self.cases)).await {
            Err(_) => vec![fault("script_limit", format!("took more than {} s", PATIENCE.as_secs()))],
            Ok(Err(detail)) => vec![fault("malformed", detail)],
            Ok(Ok(cases)) => cases
                .iter()
                .flat_map(|case| case.faults.iter().map(|detail| (&case.name, detail)))
                .map(|(name, detail)| fault("case_failed", format!("\"{name}\": {detail}")))
                .collect(),
        }
    }
}

/// What a manifest that is in order may still not say for one tenant alone.
fn own_faults(name: &str, manifest: &Manifest, others: &Registry) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut add = |code, detail: String| faults.push(Fault::new("/manifest", code, format!("plugin.toml: {detail}")));
    if manifest.channel != name {
        add(
            "manifest_invalid",
            format!("channel = \"{}\", but the path says {name}; they must agree", manifest.channel),
        );
    }
    if name.len() > LONGEST_NAME {
        add("too_long", format!("channel: must have at most {LONGEST_NAME} characters"));
    }
    if RESERVED.contains(&name) || others.has(name) {
        add("name_taken", format!("the channel \"{name}\" exists already; give yours another name"));
    }
    if manifest.hosts.len() > MOST_HOSTS {
        add("item_count", format!("hosts: at most {MOST_HOSTS}"));
    }
    for provider in &manifest.providers {
        if provider.name == SANDBOX || provider.name.len() > LONGEST_NAME {
            add("name_taken", format!("provider \"{}\": give it another name", provider.name));
        }
        if provider.limits.concurrency > MOST_CALLS_AT_ONCE {
            add("out_of_range", format!("limits.concurrency: at most {MOST_CALLS_AT_ONCE}"));
        }
        if provider.limits.call_seconds.is_some_and(|s| s > LONGEST_CALL) {
            add("out_of_range", format!("limits.call-seconds: at most {LONGEST_CALL}"));
        }
        let waits = [Some(provider.unknown.wait_seconds), provider.idempotency.and_then(|i| i.window_seconds)];
        if waits.into_iter().flatten().any(|seconds| seconds > LONGEST_WAIT) {
            add("out_of_range", format!("wait-seconds and window-seconds: at most {LONGEST_WAIT}, a week"));
        }
    }
    faults
}

/// Hosts are judged like every address a tenant gives: now, and again each time one is connected to.
async fn check_hosts(manifest: &Manifest, guard: &Guard) -> Result<()> {
    let mut faults = Vec::new();
    for host in &manifest.hosts {
        let judged = match host.strip_prefix("*.") {
            Some(below) => guard.check_text(&format!("https://any.{below}/")).map(drop),
            None => guard.check_url(&format!("https://{host}/")).await.map(drop),
        };
        if let Err(e) = judged {
            faults.push(Fault::new("/manifest", e.code, format!("plugin.toml: hosts: {host}: {}", e.detail)));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Error::Invalid { slug: "url-not-allowed", faults }) }
}
