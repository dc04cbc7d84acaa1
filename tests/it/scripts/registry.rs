//! Scripts among the other channels: listed, tried, sent through, laid over and exchanged while the program runs.

use std::path::Path;

use plugin_api::conformance::HttpDouble;
use recado::config::Config;
use recado::plugins::{Catalog, Registry};
use serde_json::json;

use super::{SHIPPED, SMALL};
use crate::support::{Shop, TestApp, TestStore, hello};

const SCRIPT: &str = "fn request(message, settings) { #{url: settings.url, json: #{said: message.text, round: 1}} }";

fn write(folder: &Path, name: &str, manifest: &str, source: &str) {
    let plugin = folder.join(name);
    std::fs::create_dir_all(&plugin).unwrap();
    std::fs::write(plugin.join("plugin.toml"), manifest).unwrap();
    std::fs::write(plugin.join("plugin.rhai"), source).unwrap();
}

fn reload(app: &TestApp, folder: &Path) {
    let text = format!("[paths]\nplugins = \"{}\"\n", folder.display());
    let fresh = Config::from_text(Some((Path::new("config.toml"), &text)), []).unwrap();
    let plugins = Registry::load(fresh.paths.plugins.as_deref()).unwrap();
    app.app.exchange_plugins(plugins);
    app.app.reload(fresh);
}

fn note() -> serde_json::Value {
    let mut body = hello();
    body["channel"] = json!("small");
    body
}

fn load_fault(folder: &Path) -> String {
    Registry::load(Some(folder)).err().unwrap_or_else(|| panic!("was loaded")).to_string()
}

#[test]
fn what_ships_is_there_without_a_folder() {
    let registry = Catalog::shared(Registry::load(None).unwrap().into());
    for name in SHIPPED {
        assert_eq!(registry.provider_names(name), [name, "sandbox"]);
    }
}

#[test]
fn a_name_supplied_twice_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    write(scratch.path(), "email", &SMALL.replace("\"small\"", "\"email\""), SCRIPT);
    let said = load_fault(scratch.path());
    assert!(said.starts_with("paths.plugins: the channel \"email\" is supplied twice"), "{said}");
    assert!(said.contains(&scratch.path().display().to_string()), "{said}");
}

#[test]
fn every_fault_of_a_folder_is_named_at_once() {
    let scratch = tempfile::tempdir().unwrap();
    write(scratch.path(), "one", &SMALL.replace("channel = \"small\"", "channel = \"one\""), "fn request(message) {}");
    write(scratch.path(), "two", SMALL, SCRIPT);
    write(scratch.path(), "_notes", "not a plugin", "");
    let said = load_fault(scratch.path());
    assert!(said.lines().all(|line| line.starts_with("paths.plugins: ")), "{said}");
    assert!(said.contains("one/plugin.rhai: `request` must take 2 parameters"), "{said}");
    assert!(said.contains("two/plugin.toml: channel = \"small\", but the folder is called \"two\""), "{said}");
    let nowhere = load_fault(Path::new("/nowhere/at/all"));
    assert!(nowhere.starts_with("paths.plugins: /nowhere/at/all: "), "{nowhere}");
}

#[test]
fn a_shipped_script_can_be_laid_over() {
    let scratch = tempfile::tempdir().unwrap();
    let manifest = SMALL.replace("channel = \"small\"\ntitle = \"Small\"", "channel = \"ntfy\"\ntitle = \"Our own\"");
    write(scratch.path(), "ntfy", &manifest, SCRIPT);
    let registry = Catalog::shared(Registry::load(Some(scratch.path())).unwrap().into());
    assert_eq!(registry.manifest("ntfy").unwrap().title, "Our own");
    assert_eq!(registry.names().len(), Registry::load(None).unwrap().names().len());
}

on_each_store!(a_script_channel_is_set_up_listed_tried_and_sent_through, async |app: TestApp| {
    let double = HttpDouble::start().await;
    let shop = Shop::bare(&app, "Salón Uno").await;
    shop.set(
        "gotify",
        json!({"provider": "gotify", "settings": {"baseUrl": double.url(""), "token": "Atoken-canary"}}),
    )
    .await;
    let state = shop.get("/v1/channels/gotify").await.expect(200);
    assert_eq!(state["settings"]["token"], "********");
    assert_eq!((&state["can"]["subject"], &state["address"]), (&json!(true), &json!("none")));
    let all = shop.get("/v1/channels").await.expect(200);
    let listed: Vec<_> = all["items"].as_array().unwrap().iter().map(|c| c["channel"].as_str().unwrap()).collect();
    assert!(SHIPPED.iter().all(|name| listed.contains(name)), "{listed:?}");
    let tests = shop.post("/v1/channels/test", &json!({})).await.expect(200);
    // Something answers there, but it is no Gotify.
    assert_eq!(tests["gotify"], false);
    assert_eq!(tests["details"]["telegram"]["problem"], "not configured");

    let mut body = hello();
    body["channel"] = json!("gotify");
    let id = shop.send(&body).await;
    app.deliver_due().await;
    assert_eq!(shop.status(&id).await, "sent");
    let seen = double.seen().into_iter().find(|s| s.method == "POST").unwrap();
    assert_eq!((seen.header("x-gotify-key"), &seen.json()["message"]), (Some("Atoken-canary"), &json!("Hola")));
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_takes_scripts_away_brings_others_and_opens_accounts_anew() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    write(folder, "small", SMALL, SCRIPT);
    let path = folder.display().to_string();
    let app = TestApp::with(TestStore::sqlite(), &[("RECADO_PATHS__PLUGINS", &path)]).await;
    let double = HttpDouble::start().await;
    let shop = Shop::bare(&app, "Salón Uno").await;
    shop.set("small", json!({"provider": "small", "settings": {"url": double.url("/in")}})).await;
    shop.send(&note()).await;
    app.deliver_due().await;
    assert_eq!(double.seen().pop().unwrap().json(), json!({"said": "Hola", "round": 1}));

    write(folder, "small", SMALL, &SCRIPT.replace("round: 1", "round: 2"));
    reload(&app, folder);
    shop.send(&note()).await;
    app.deliver_due().await;
    assert_eq!(double.seen().pop().unwrap().json()["round"], 2);

    std::fs::remove_dir_all(folder.join("small")).unwrap();
    reload(&app, folder);
    let refused = shop.post("/v1/notify", &note()).await.expect(422);
    assert_eq!(refused["errors"][0]["code"], "unknown_channel", "{refused}");

    write(folder, "small", SMALL, SCRIPT);
    reload(&app, folder);
    let id = shop.send(&note()).await;
    app.deliver_due().await;
    assert_eq!(shop.status(&id).await, "sent");
}

/// B66 at send: the message fails with its reason, and others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b66_a_script_past_its_limits_fails_its_message_with_script_limit() {
    let scratch = tempfile::tempdir().unwrap();
    write(
        scratch.path(),
        "small",
        SMALL,
        "fn request(message, settings) { if message.text == \"loop\" { loop {} } #{url: settings.url} }",
    );
    let path = scratch.path().display().to_string();
    let app = TestApp::with(TestStore::sqlite(), &[("RECADO_PATHS__PLUGINS", &path)]).await;
    let double = HttpDouble::start().await;
    let shop = Shop::bare(&app, "Salón Uno").await;
    shop.set("small", json!({"provider": "small", "settings": {"url": double.url("/in")}})).await;
    let mut bad = note();
    bad["message"] = json!("loop");
    let (bad, good) = (shop.send(&bad).await, shop.send(&note()).await);
    app.deliver_due().await;
    let found = shop.find(&bad).await;
    assert_eq!((&found["status"], &found["reason"]), (&json!("failed"), &json!("script_limit")), "{found}");
    assert_eq!(shop.status(&good).await, "sent");
    assert_eq!(double.calls(), 1);
}
