//! Cancelling and retrying by hand.

use plugin_api::conformance::{Behaviour, HttpDouble};

use super::*;

on_each_store!(what_was_cancelled_is_never_sent, async |app: TestApp| {
    let shop = app.shop().await;
    let id = shop.send(&with(json!({"sendAt": "2026-03-02T16:00:00Z"}))).await;
    let path = format!("/v1/notifications/{id}/cancel");
    for _ in 0..2 {
        let answer = shop.post(&path, &json!({})).await.expect(200);
        assert_eq!((&answer["id"], &answer["status"]), (&json!(id), &json!("cancelled")));
    }
    app.advance(2 * HOUR).await;
    let found = shop.find(&id).await;
    assert_eq!(
        (&found["status"], &found["dueAt"], &found["attempts"]),
        (&json!("cancelled"), &Value::Null, &json!([]))
    );
    assert!(shop.captured().await.is_empty());
});

on_each_store!(a_failed_message_can_be_sent_again_by_hand, async |app: TestApp| {
    let shop = app.shop().await;
    let sink = sink(&shop).await;
    sink.behave(Behaviour::Refuse);
    let id = shop.send(&with(json!({"channel": "webhook"}))).await;
    app.deliver_due().await;
    assert_eq!(shop.status(&id).await, "failed");
    sink.behave(Behaviour::Accept);
    let answer = shop.post(&format!("/v1/notifications/{id}/retry"), &json!({})).await.expect(200);
    assert_eq!((&answer["id"], &answer["status"]), (&json!(id), &json!("queued")));
    app.deliver_due().await;
    let found = shop.find(&id).await;
    assert_eq!(found["status"], "sent");
    assert_eq!(texts(found["attempts"].as_array().unwrap(), "outcome"), ["rejected", "accepted"]);
    assert_eq!(sink.calls(), 2);
});

on_each_store!(failed_messages_can_be_sent_again_by_filter, async |app: TestApp| {
    let shop = app.shop().await;
    let sink = sink(&shop).await;
    sink.behave(Behaviour::Refuse);
    for (kind, channel) in [("a", "webhook"), ("a", "webhook"), ("b", "webhook")] {
        shop.send(&with(json!({"type": kind, "channel": channel}))).await;
    }
    let sms = shop.send(&with(json!({"type": "a", "to": {"phone": "+523312340001"}}))).await;
    app.deliver_due().await;
    sink.behave(Behaviour::Accept);
    let retry = |filter: Value| shop.post("/v1/notifications/retry", &filter).into_future();
    let answer = retry(json!({"type": "a", "channel": "webhook"})).await.expect(200);
    assert_eq!(answer, json!({"retried": 2}));
    app.deliver_due().await;
    let sent = shop.get("/v1/notifications?status=sent").await.expect(200);
    assert_eq!(texts(sent["items"].as_array().unwrap(), "type"), ["a", "a"]);
    assert_eq!(retry(json!({"channel": "email"})).await.expect(200), json!({"retried": 0}));
    assert_eq!(retry(json!({"logId": sms})).await.expect(200), json!({"retried": 1}));
    app.deliver_due().await;
    assert_eq!(shop.status(&sms).await, "failed", "that address plays a refusal again");
    retry(json!({"chanel": "sms"})).await.has_fault("validation", "/chanel", "unknown_field");
});

async fn sink(shop: &Shop) -> HttpDouble {
    let sink = HttpDouble::start().await;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    shop.set("webhook", json!({"provider": "webhook", "settings": {"url": sink.url("/in"), "secret": secret}})).await;
    sink
}
