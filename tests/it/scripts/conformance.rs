//! The suite that every channel passes, over those that ship as scripts.

use std::net::SocketAddr;

use plugin_api::Settings;
use plugin_api::conformance::{Behaviour, HttpDouble, HttpHarness, Reply, Seen, run};
use serde_json::{Value, json};

use super::{folder, plugin, text};

/// The shipped folder, with other words in places where its hosts are fixed.
fn moved(name: &str, manifest: &[(&str, &str)], source: &[(&str, &str)]) -> HttpPlugin {
    let changed = |file: &str, changes: &[(&str, &str)]| {
        changes.iter().fold(text(&folder(name).join(file)), |text, (from, to)| {
            assert!(text.contains(from), "{name}/{file} does not hold {from}");
            text.replace(from, to)
        })
    };
    Box::new(plugin(&changed("plugin.toml", manifest), &changed("plugin.rhai", source)))
}

type HttpPlugin = Box<dyn plugin_api::Plugin>;

struct Try {
    plugin: HttpPlugin,
    provider: &'static str,
    settings: fn(SocketAddr) -> Settings,
    makes_message: fn(&Seen) -> bool,
    /// How a message is taken; refusals and troubles are the double's plain statuses.
    taken: Value,
    check_proves_credentials: bool,
}

async fn conforms(given: Try) {
    let taken = given.taken;
    let reply = move |behaviour, _: &Seen| (behaviour == Behaviour::Accept).then(|| Reply::json(200, &taken));
    let double = HttpDouble::with(given.makes_message, reply).await;
    run(&HttpHarness {
        check_proves_credentials: given.check_proves_credentials,
        ..HttpHarness::new(given.plugin, given.provider, double, given.settings)
    })
    .await;
}

/// Where the double is, and where nobody is.
const HERE: &str = "\"127.0.0.1\", \"nobody.example\"";

fn posted(seen: &Seen) -> bool {
    seen.method == "POST"
}

fn webhook_url(at: SocketAddr) -> Settings {
    super::settings(json!({"webhookUrl": format!("http://{at}/services/T0/B0/url-canary-0001")}))
}

#[tokio::test]
async fn telegram_conforms() {
    conforms(Try {
        plugin: moved("telegram", &[], &[]),
        provider: "telegram",
        settings: |at| {
            super::settings(
                json!({"token": "1:token-canary-0001", "chatId": "-1001", "baseUrl": format!("http://{at}")}),
            )
        },
        makes_message: |seen| seen.path.ends_with("/sendMessage"),
        taken: json!({"ok": true, "result": {"message_id": 365, "username": "aurora_bot"}}),
        check_proves_credentials: true,
    })
    .await;
}

#[tokio::test]
async fn slack_conforms() {
    conforms(Try {
        plugin: moved("slack", &[("\"hooks.slack.com\"", HERE)], &[]),
        provider: "slack",
        settings: webhook_url,
        makes_message: posted,
        taken: json!("ok"),
        // A webhook can only be tried by posting.
        check_proves_credentials: false,
    })
    .await;
}

#[tokio::test]
async fn discord_conforms() {
    conforms(Try {
        plugin: moved("discord", &[("\"discord.com\"", HERE)], &[]),
        provider: "discord",
        settings: webhook_url,
        makes_message: posted,
        taken: json!({"id": "1100000000000000001", "name": "Salon"}),
        check_proves_credentials: true,
    })
    .await;
}

#[tokio::test]
async fn teams_conforms() {
    conforms(Try {
        plugin: moved("teams", &[("\"*.logic.azure.com\"", HERE)], &[]),
        provider: "teams",
        settings: webhook_url,
        makes_message: posted,
        taken: json!({}),
        // A workflow can only be tried by posting.
        check_proves_credentials: false,
    })
    .await;
}

#[tokio::test]
async fn ntfy_conforms() {
    conforms(Try {
        plugin: moved("ntfy", &[], &[]),
        provider: "ntfy",
        settings: |at| {
            super::settings(
                json!({"topic": "topic-canary-0001", "token": "tk_token-canary", "baseUrl": format!("http://{at}")}),
            )
        },
        makes_message: posted,
        taken: json!({"id": "hwQ2YpKdmg", "event": "message"}),
        check_proves_credentials: true,
    })
    .await;
}

#[tokio::test]
async fn gotify_conforms() {
    conforms(Try {
        plugin: moved("gotify", &[], &[]),
        provider: "gotify",
        settings: |at| super::settings(json!({"token": "AtokenCanary001", "baseUrl": format!("http://{at}")})),
        makes_message: posted,
        taken: json!({"id": 25, "version": "2.6.1"}),
        // Its token opens nothing but `/message`.
        check_proves_credentials: false,
    })
    .await;
}

#[tokio::test]
async fn pushover_conforms() {
    // Pushover has one address only; the double gets the same requests at another.
    let origin = "title = \"Pushover\"";
    let setting = "[[provider.settings]]\nname = \"origin\"\nkind = \"url\"\nhelp = \"The double.\"\n\n[[provider.settings]]\nname = \"device\"";
    let manifest = [
        ("hosts = [\"api.pushover.net\"]\n", ""),
        ("[[provider.settings]]\nname = \"device\"", setting),
        (origin, origin),
    ];
    conforms(Try {
        plugin: moved("pushover", &manifest, &[("\"https://api.pushover.net/", "settings.origin + \"/")]),
        provider: "pushover",
        settings: |at| {
            super::settings(
                json!({"token": "token-canary-0001", "user": "user-canary-0001", "origin": format!("http://{at}")}),
            )
        },
        makes_message: |seen| seen.path == "/1/messages.json",
        taken: json!({"status": 1, "request": "647d2300-702c-4b38-8b2f-d56326ae460b"}),
        check_proves_credentials: true,
    })
    .await;
}

/// The words a person reads arrive as the provider documents, whatever the cases say about the script alone.
#[tokio::test]
async fn a_request_reaches_the_wire_as_described() {
    let double = HttpDouble::start().await;
    let plugin = moved("telegram", &[], &[]);
    let settings = super::settings(
        json!({"token": "1:token-canary-0001", "chatId": "-1001", "baseUrl": double.url("/"), "silent": true}),
    );
    let settings = plugin.manifest().providers[0].validate(settings).unwrap();
    let host = plugin_api::conformance::loopback_host(std::time::Duration::from_secs(20));
    let channel = plugin.open("telegram", &settings, &host).unwrap();
    channel.send(&plugin_api::conformance::sample_message("telegram")).await.unwrap();
    let seen = double.seen().remove(0);
    assert_eq!(seen.path, "/bot1:token-canary-0001/sendMessage");
    assert_eq!(seen.header("content-type"), Some("application/json"));
    let body = seen.json();
    assert_eq!(body["text"], "See you tomorrow at ten, text-canary.");
    assert_eq!(body["reply_markup"]["inline_keyboard"][0], json!([{"text": "Confirm", "callback_data": "confirm"}]));
}
