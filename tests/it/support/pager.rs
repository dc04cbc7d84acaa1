//! A small channel that a tenant could bring: it writes to the `url` of its settings, and reports.

use serde_json::{Value, json};

pub const PAGER: &str = r#"
channel = "pager"
title = "Pager"
address = "phone"
[[provider]]
name = "pager"
callbacks = true
limits = { concurrency = 4 }
[[provider.settings]]
name = "url"
kind = "url"
required = true
help = "Where pages go."
[[provider.settings]]
name = "token"
kind = "secret"
required = true
help = "The API key."
"#;

const SCRIPT: &str = r#"fn request(message, settings) {
    #{
        url: settings.url,
        headers: #{Authorization: "Bearer " + settings.token, },
        json: #{id: message.id, to: message.recipient.phone, text: message.text},
    }
}
fn outcome(response, message) { if response.status == 200 { #{accepted: pick(response.json, "id")} } else { () } }
fn check(settings) { #{method: "GET", url: settings.url} }
fn receive(callback, settings) {
    if pick(callback, "headers.x-token") != settings.token { return #{unverified: "another token"}; }
    [#{delivered: pick(callback, "json.id")}]
}
"#;

/// The body that brings it under this name.
pub fn pager(name: &str) -> Value {
    json!({
        "manifest": PAGER.replace("channel = \"pager\"", &format!("channel = \"{name}\"")),
        "script": SCRIPT,
        "cases": {
            "settings": {"url": "https://api.pager.example/v1", "token": "abc-0123456789"},
            "cases": [
                {"name": "a text", "message": {"id": "m", "text": "At ten.", "recipient": {"phone": "+525512345678"}},
                 "request": {"url": "https://api.pager.example/v1", "headers": {"authorization": "Bearer abc-0123456789"},
                    "json": {"id": "m", "to": "+525512345678", "text": "At ten."}}},
                {"name": "taken", "response": {"status": 200, "json": {"id": "7"}}, "outcome": {"accepted": "7"}},
                {"name": "delivered", "callback": {"headers": {"x-token": "abc-0123456789"}, "json": {"id": "7"}},
                 "events": [{"delivered": "7"}]},
            ],
        },
    })
}

/// With a piece of its script in the place of another, and only the cases that hold for both.
pub fn pager_with(name: &str, from: &str, to: &str) -> Value {
    let mut body = pager(name);
    assert!(SCRIPT.contains(from), "there is no {from}");
    body["script"] = json!(SCRIPT.replace(from, to));
    body["cases"]["cases"].as_array_mut().unwrap().remove(0);
    body
}
