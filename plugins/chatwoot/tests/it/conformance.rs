//! The suite every channel passes, on the way to a new conversation and on the short way to a remembered one.

use std::net::SocketAddr;
use std::time::Duration;

use plugin_api::conformance::{Behaviour, HttpDouble, HttpHarness, Reply, loopback_host, run, sample_message};
use plugin_api::{Message, Settings};
use serde_json::{Value, json};

fn settings(at: SocketAddr) -> Settings {
    let json = json!({"baseUrl": format!("http://{at}"), "accountId": 1, "inboxId": 9,
        "apiAccessToken": "token-canary-0001", "webhookSecret": "secret-canary-0001"});
    json.as_object().unwrap().clone().into_iter().collect()
}

fn makes_message(path: &str) -> bool {
    path.ends_with("/messages") || path.ends_with("/accounts/1/conversations")
}

/// Look-ups go well whatever happens to messages; only the profile knows a wrong token.
fn reply(behaviour: Behaviour, path: &str) -> Option<Reply> {
    let ok = |body: Value| Some(Reply::json(200, &body));
    let message = json!({"id": 9001, "content": "…", "message_type": 1, "created_at": 1_753_900_100});
    match path {
        _ if path.ends_with("/profile") && behaviour == Behaviour::Unauthorized => {
            Some(Reply::json(401, &json!({"error": "Invalid Access Token"})))
        }
        _ if path.ends_with("/profile") => ok(json!({"id": 2, "name": "Bot", "accounts": [{"id": 1}]})),
        _ if path.ends_with("/inboxes/9") => ok(json!({"id": 9, "name": "API", "channel_type": "Channel::Api"})),
        _ if path.ends_with("/filter") => ok(json!({"meta": {}, "payload": [{"id": 51}]})),
        _ if path.ends_with("/51/conversations") => ok(json!({"payload": []})),
        _ if behaviour != Behaviour::Accept => None,
        _ if path.ends_with("/messages") => ok(message),
        _ => ok(json!({"id": 42, "inbox_id": 9, "status": "open", "messages": [message]})),
    }
}

async fn harness() -> HttpHarness {
    let double = HttpDouble::with(
        |seen| seen.method == "POST" && makes_message(&seen.path),
        |behaviour, seen| reply(behaviour, &seen.path),
    );
    HttpHarness::new(plugin_chatwoot::plugin(), "chatwoot", double.await, settings)
}

#[tokio::test]
async fn it_conforms_when_it_starts_a_conversation() {
    run(&harness().await).await;
}

#[tokio::test]
async fn it_conforms_when_it_remembers_a_conversation() {
    let first = harness().await;
    let host = loopback_host(Duration::from_secs(20));
    let channel = first.plugin.open("chatwoot", &settings(first.double.address()), &host).unwrap();
    let memory = channel.send(&sample_message("chatwoot")).await.unwrap().remember;
    assert!(memory.is_some());
    let message = Message { memory, ..sample_message("chatwoot") };
    let before = first.double.seen().len();
    channel.send(&message).await.unwrap();
    let seen = first.double.seen().split_off(before);
    assert!(seen.iter().all(|s| s.path.ends_with("/42/messages")), "no look-up was needed");
    run(&HttpHarness { message, ..first }).await;
}
