//! Channels that scripts describe: those that ship, a twin of a native one, and scripts that mean no good.

mod careless;
mod check;
mod conformance;
mod registry;
mod twin;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use plugin_api::conformance::loopback_host;
use plugin_api::{Channel, Plugin, Settings};
use recado::plugins::ScriptPlugin;
use serde_json::Value;

/// Those that come with the program.
const SHIPPED: [&str; 7] = ["discord", "gotify", "ntfy", "pushover", "slack", "teams", "telegram"];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins").join(name)
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn plugin(manifest: &str, source: &str) -> ScriptPlugin {
    ScriptPlugin::new("plugin.toml", manifest, source).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn settings(value: Value) -> Settings {
    let Value::Object(map) = value else { panic!("settings are an object") };
    Settings(map)
}

/// A channel with a `url` and a secret `token`, on loopback.
const SMALL: &str = r#"
channel = "small"
title = "Small"
address = "none"
[[provider]]
name = "small"
[[provider.settings]]
name = "url"
kind = "url"
required = true
help = "Where."
[[provider.settings]]
name = "token"
kind = "secret"
help = "Which."
"#;

const TOKEN: &str = "token-canary-0123456789";

/// Opens the small channel with this script.
fn open(source: &str, at: SocketAddr) -> Arc<dyn Channel> {
    let settings = settings(serde_json::json!({"url": format!("http://{at}/in"), "token": TOKEN}));
    let opened = plugin(SMALL, source).open("small", &settings, &loopback_host(Duration::from_secs(20)));
    opened.unwrap_or_else(|e| panic!("{e}\n{source}"))
}
