//! The native channel `webhook`, written as a script: the same suite, the same requests, the same outcomes.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use plugin_api::conformance::{HttpDouble, HttpHarness, Reply, Seen, loopback_host, run, sample_message};
use plugin_api::{Channel, Plugin, Settings};
use recado::plugins::{ScriptPlugin, read_folder};
use serde_json::json;
use sha2::Sha256;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn twin() -> ScriptPlugin {
    read_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plugins/webhook")).unwrap()
}

fn settings(at: SocketAddr) -> Settings {
    super::settings(json!({
        "url": format!("http://{at}/hook?key=url-canary"), "secret": SECRET, "headers": {"X-Source": "recado"},
    }))
}

fn both(at: SocketAddr) -> [Arc<dyn Channel>; 2] {
    let host = loopback_host(Duration::from_secs(20));
    [
        plugin_webhook::plugin().open("webhook", &settings(at), &host).unwrap(),
        twin().open("webhook", &settings(at), &host).unwrap(),
    ]
}

#[tokio::test]
async fn it_conforms() {
    run(&HttpHarness {
        check_proves_credentials: false,
        ..HttpHarness::new(Box::new(twin()), "webhook", HttpDouble::start().await, settings)
    })
    .await;
}

fn is_signed(seen: &Seen) -> bool {
    let part = |name: &str| seen.header(name).unwrap_or_default().to_owned();
    let key = STANDARD.decode(SECRET.trim_start_matches("whsec_")).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{}.{}.", part("webhook-id"), part("webhook-timestamp")).as_bytes());
    mac.update(&seen.body);
    part("webhook-signature") == format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[tokio::test]
async fn a_receiver_cannot_tell_them_apart() {
    let double = HttpDouble::start().await;
    let message = sample_message("webhook");
    for channel in both(double.address()) {
        channel.send(&message).await.unwrap();
    }
    let [native, script] = double.seen().try_into().unwrap();
    assert!(is_signed(&native) && is_signed(&script));
    assert_eq!((&native.method, &native.path, native.json()), (&script.method, &script.path, script.json()));
    let apart = ["webhook-timestamp", "webhook-signature"];
    let headers = |seen: &Seen| {
        let mut headers = seen.headers.clone();
        headers.retain(|(name, _)| !apart.contains(&name.as_str()));
        headers.sort();
        headers
    };
    assert_eq!(headers(&native), headers(&script));
}

#[tokio::test]
async fn answers_mean_the_same_to_both() {
    for status in [200, 202, 204, 301, 400, 401, 403, 404, 408, 410, 425, 429, 500, 502, 503] {
        let reply = Reply::new(status, "").header("retry-after", "7");
        let double = HttpDouble::with(|seen| seen.method == "POST", move |_, _| Some(reply.clone())).await;
        let [native, script] = both(double.address());
        let message = sample_message("webhook");
        let (native, script) = (native.send(&message).await, script.send(&message).await);
        let decided = |outcome: &Result<plugin_api::Receipt, plugin_api::SendError>| match outcome {
            Ok(receipt) => format!("{receipt:?}"),
            Err(e) => format!("{:?} {} {:?} {:?} {:?}", e.failure, e.reason, e.http_status, e.retry_after, e.hint),
        };
        assert_eq!(decided(&native), decided(&script), "{status}");
        let [native, script] = both(double.address());
        assert_eq!(native.check().await.is_ok(), script.check().await.is_ok(), "check against {status}");
    }
}
