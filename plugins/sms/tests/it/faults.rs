//! Connections that break at a chosen point, before each of the three vendors. What a vendor says in words is tried
//! elsewhere.

use plugin_api::conformance::{Cut, Fault, Proxy};
use plugin_api::{Channel, Failure, Lookup};
use plugin_sms::double::{Infobip, Twilio, Vonage};

use crate::support::*;

/// Through a proxy: one account, and how many messages its vendor took.
struct Stage<'a> {
    proxy: Proxy,
    channel: std::sync::Arc<dyn Channel>,
    taken: &'a dyn Fn() -> usize,
    can_look_up: bool,
}

/// The same for every vendor.
async fn breaks(stage: Stage<'_>) {
    let Stage { proxy, channel, taken, can_look_up } = stage;
    let next_goes_well = async || {
        proxy.set(Fault::Pass);
        let mut next = message("y ahora");
        next.id = "01930000-0000-7000-8000-0000000000d2".into();
        channel.send(&next).await.unwrap();
    };
    let since = now();
    for how in [Cut::Reset, Cut::Close] {
        let text = format!("Hola {how:?}");
        let before = taken();
        proxy.set(Fault::CutAfterRequest(how));
        let error = channel.send(&message(&text)).await.unwrap_err();
        assert_eq!((error.failure, taken() - before), (Failure::Unknown, 1), "{error:?}");
        proxy.set(Fault::Pass);
        let found = channel.lookup(&message(&text), since).await;
        assert_eq!(matches!(found, Lookup::Found { message_id: Some(_) }), can_look_up, "{found:?}");
        next_goes_well().await;

        let before = taken();
        proxy.set(Fault::CutInside { at: 120, how });
        let error = channel.send(&message("a medias")).await.unwrap_err();
        assert_eq!((error.failure, taken() - before), (Failure::Unknown, 0), "{error:?}");
        next_goes_well().await;
    }
    for head in ["\0\0\0\0\r\n\r\n", "HTTP/1.1 abc OK\r\n\r\n", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n"] {
        proxy.set(Fault::say(head));
        let error = channel.send(&message("Hola")).await.unwrap_err();
        assert_eq!(error.failure, Failure::Unknown, "{head:?}: {error:?}");
        next_goes_well().await;
    }
    for body in ["", "{}", "[]", "null", "<html></html>", r#"{"sid": 5, "messages": 5}"#, r#"{"messages": [{}]}"#] {
        let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}", body.len());
        proxy.set(Fault::say(format!("{head}\r\n\r\n{body}")));
        let receipt = channel.send(&message("Hola")).await.unwrap();
        assert!(receipt.message_id.is_none() && receipt.note.is_some(), "{body}: {receipt:?}");
        next_goes_well().await;
    }
    proxy.set(Fault::endless());
    let receipt = channel.send(&message("Hola")).await.unwrap();
    assert!(receipt.message_id.is_none() && receipt.note.is_some(), "{receipt:?}");
    next_goes_well().await;
}

#[tokio::test]
async fn twilio_breaks_in_every_way() {
    let double = Twilio::start().await;
    let proxy = Proxy::start(double.http().address()).await;
    let channel = open("twilio", &Twilio::settings_at(proxy.address()));
    breaks(Stage { proxy, channel, taken: &|| double.sent().len(), can_look_up: true }).await;
}

#[tokio::test]
async fn vonage_breaks_in_every_way() {
    let double = Vonage::start().await;
    let proxy = Proxy::start(double.http().address()).await;
    let channel = open("vonage", &Vonage::settings_at(proxy.address()));
    breaks(Stage { proxy, channel, taken: &|| double.sent().len(), can_look_up: false }).await;
}

#[tokio::test]
async fn infobip_breaks_in_every_way() {
    let double = Infobip::start().await;
    let proxy = Proxy::start(double.http().address()).await;
    let channel = open("infobip", &Infobip::settings_at(proxy.address()));
    breaks(Stage { proxy, channel, taken: &|| double.sent().len(), can_look_up: true }).await;
}
