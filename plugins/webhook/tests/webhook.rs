//! The channel as a whole, against a receiver on loopback.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use plugin_api::conformance::{HttpDouble, HttpHarness, Reply, loopback_host, run, sample_message};
use plugin_api::{Channel, Failure, Hint, Settings, SettingsError};
use serde_json::{Value, json};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn settings(at: SocketAddr) -> Settings {
    let Value::Object(map) = json!({
        "url": format!("http://{at}/hook?key=url-canary"),
        "secret": SECRET,
        "headers": {"X-Source": "recado"},
    }) else {
        unreachable!()
    };
    Settings(map)
}

fn open(settings: &Settings) -> Result<Arc<dyn Channel>, SettingsError> {
    plugin_webhook::plugin().open("webhook", settings, &loopback_host(Duration::from_secs(20)))
}

async fn answering(status: u16) -> (HttpDouble, Arc<dyn Channel>) {
    let reply = Reply::new(status, "").header("retry-after", "7");
    let double = HttpDouble::with(|seen| seen.method == "POST", move |_, _| Some(reply.clone())).await;
    let channel = open(&settings(double.address())).unwrap();
    (double, channel)
}

#[tokio::test]
async fn it_conforms() {
    let double = HttpDouble::start().await;
    run(&HttpHarness {
        // Receivers check signatures on POST, which would deliver.
        check_proves_credentials: false,
        ..HttpHarness::new(plugin_webhook::plugin(), "webhook", double, settings)
    })
    .await;
}

#[tokio::test]
async fn the_receiver_gets_the_message_signed_and_nothing_else() {
    let double = HttpDouble::start().await;
    let channel = open(&settings(double.address())).unwrap();
    let receipt = channel.send(&sample_message("webhook")).await.unwrap();
    assert_eq!((receipt.http_status, receipt.note), (Some(200), None));

    let seen = double.seen().remove(0);
    let message = sample_message("webhook");
    assert_eq!((&*seen.method, &*seen.path), ("POST", "/hook?key=url-canary"));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("x-source"), Some("recado"));
    assert_eq!(seen.header("webhook-id"), Some(&*message.id));
    assert!(seen.header("webhook-timestamp").unwrap().parse::<u64>().unwrap() > 1_700_000_000);
    assert!(seen.header("webhook-signature").unwrap().starts_with("v1,"));
    assert_eq!(
        seen.json(),
        json!({
            "id": message.id, "type": "appointment_reminder", "channel": "webhook",
            "recipient": {
                "contactId": message.recipient.contact_id, "externalId": "patient-77", "name": "Zoraida Quintanilla",
                "phone": "+5215512345678", "email": "zoraida@patients.example",
            },
            "subject": message.subject, "text": message.text, "html": message.html,
            "actions": [{"title": "Confirm", "value": "confirm"}, {"title": "Move", "value": "move"}],
            "data": {"visit": {"room": "data-canary"}}, "attempt": 1,
        })
    );
}

#[tokio::test]
async fn answers_mean_what_the_readme_says() {
    let cases = [
        (400, Failure::Rejected, None),
        (401, Failure::Rejected, Some(Hint::Misconfigured)),
        (404, Failure::Rejected, None),
        (408, Failure::Throttled, None),
        (410, Failure::Rejected, Some(Hint::Misconfigured)),
        (425, Failure::Throttled, None),
        (429, Failure::Throttled, None),
        (500, Failure::Unknown, None),
        (503, Failure::Throttled, None),
    ];
    for (status, failure, hint) in cases {
        let (_double, channel) = answering(status).await;
        let error = channel.send(&sample_message("webhook")).await.unwrap_err();
        assert_eq!((error.failure, error.hint, error.http_status), (failure, hint, Some(status)));
        let after = (failure == Failure::Throttled).then_some(Duration::from_secs(7));
        assert_eq!(error.retry_after, after, "{status}");
    }
}

#[tokio::test]
async fn check_delivers_nothing_and_takes_any_answer_for_reachable() {
    for (status, reachable) in [(200, true), (404, true), (405, true), (500, true), (308, false), (410, false)] {
        let (double, channel) = answering(status).await;
        assert_eq!(channel.check().await.is_ok(), reachable, "{status}");
        assert_eq!((double.calls(), &*double.seen()[0].method), (0, "OPTIONS"));
    }
}

#[tokio::test]
async fn headers_of_the_connection_or_the_signature_are_refused() {
    let names = ["Host", "content-length", "Connection", "Transfer-Encoding", "TE", "webhook-id", "Webhook-Signature"];
    for name in names.into_iter().chain(["X A", "X-A\r\nHost", ""]) {
        let mut settings = settings("127.0.0.1:1".parse().unwrap());
        settings.0.insert("headers".into(), json!({name: "x"}));
        let error = open(&settings).err().unwrap();
        assert_eq!(error.setting, format!("headers.{name}"));
    }
    let mut settings = settings("127.0.0.1:1".parse().unwrap());
    settings.0.insert("headers".into(), json!({"X-A": "a\r\nHost: b"}));
    assert_eq!(open(&settings).err().unwrap().code, "malformed");
}
