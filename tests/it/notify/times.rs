//! sendAt, expiresAt, and what changes between acceptance and the moment of sending.

use recado::config::Config;

use super::*;

on_each_store!(a_message_waits_for_its_moment, async |app: TestApp| {
    let shop = app.shop().await;
    let answer = shop.notify(&with(json!({"sendAt": "2026-03-02T11:00:00-06:00"}))).await;
    let item = &answer["notifications"][0];
    let id = item["id"].as_str().unwrap();
    assert_eq!(item["status"], "scheduled");
    assert_eq!(shop.find(id).await["sendAt"], "2026-03-02T17:00:00.000Z");
    app.advance(HOUR + 59 * MINUTE).await;
    assert_eq!(shop.status(id).await, "scheduled");
    app.advance(MINUTE).await;
    assert_eq!(shop.status(id).await, "sent");
});

on_each_store!(after_its_time_a_message_is_no_longer_sent, async |app: TestApp| {
    let shop = app.shop().await;
    let id = shop.send(&with(json!({"sendAt": "2026-03-02T16:00:00Z", "expiresAt": "2026-03-02T16:30:00Z"}))).await;
    // The server was down when it fell due.
    app.advance(HOUR + 30 * MINUTE).await;
    let found = shop.find(&id).await;
    assert_eq!((&found["status"], &found["reason"]), (&json!("expired"), &json!("expired")));
    assert!(shop.captured().await.is_empty());
});

on_each_store!(a_retry_that_comes_too_late_expires, async |app: TestApp| {
    let shop = app.shop().await;
    let body = with(json!({"to": {"phone": "+523312340002"}, "expiresAt": "2026-03-02T15:10:00Z"}));
    let id = shop.send(&body).await;
    app.deliver_due().await;
    app.advance(HOUR).await;
    let found = shop.find(&id).await;
    assert_eq!((&found["status"], &found["reason"]), (&json!("expired"), &json!("expired")), "{found}");
});

on_each_store!(a_moment_missed_by_more_than_six_hours_is_over, async |app: TestApp| {
    let shop = app.shop().await;
    let useful = shop.send(&with(json!({"sendAt": "2026-03-02T17:00:00Z"}))).await;
    let missed = shop.send(&with(json!({"sendAt": "2026-03-02T16:00:00Z", "channel": "whatsapp"}))).await;
    // Both were due in a downtime that ended at 22:59.
    app.advance(7 * HOUR + 59 * MINUTE).await;
    assert_eq!(shop.status(&useful).await, "sent");
    let found = shop.find(&missed).await;
    assert_eq!((&found["status"], &found["reason"]), (&json!("expired"), &json!("missed")));
    assert_eq!(shop.captured().await.len(), 1);
});

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_switched_off_by_the_operator_makes_messages_wait_and_loses_none() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    let id = shop.send(&with(json!({"sendAt": "2026-03-02T16:00:00Z"}))).await;
    let switched = |on: &str| {
        let env = [("RECADO_CHANNELS__SMS__ENABLED".to_owned(), on.to_owned())];
        app.app.reload(Config::from_text(None, env).unwrap());
    };
    switched("false");
    app.clock.advance(HOUR);
    app.deliver_due().await;
    assert_eq!(shop.find(&id).await["attempts"], json!([]));
    shop.post("/v1/notify", &hello()).await.is_problem(422, "channel-unavailable");
    switched("true");
    app.advance(MINUTE).await;
    assert_eq!(shop.status(&id).await, "sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_removed_meanwhile_fails_with_the_reason() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    let id = shop.send(&with(json!({"sendAt": "2026-03-02T16:00:00Z"}))).await;
    shop.delete("/v1/channels/sms").await.expect(204);
    app.advance(HOUR).await;
    let found = shop.find(&id).await;
    assert_eq!((&found["status"], &found["reason"]), (&json!("failed"), &json!("not_configured")));
    assert_eq!(found["attempts"], json!([]));
}
