//! Which channel is taken, what comes after it, and the outcomes that sandbox addresses play.

use super::*;

on_each_store!(a_refusal_moves_on_to_the_next_channel, async |app: TestApp| {
    let shop = app.shop().await;
    let to = json!({"phone": "+523312340001", "email": "ana@x.example"});
    let id = shop.send(&with(json!({"channel": null, "channels": ["sms", "email"], "to": to}))).await;
    app.deliver_due().await;
    let found = shop.find(&id).await;
    assert_eq!((&found["status"], &found["channel"]), (&json!("sent"), &json!("email")), "{found}");
    let attempts = found["attempts"].as_array().unwrap();
    assert_eq!(texts(attempts, "outcome"), ["rejected", "accepted"]);
    assert_eq!(texts(attempts, "channel"), ["sms", "email"]);
    // The clock stands still, so only what was first of all is certain.
    let mut events = texts(found["timeline"].as_array().unwrap(), "event");
    assert_eq!(events.remove(0), "accepted");
    events.sort();
    assert_eq!(events, ["attempt.accepted", "attempt.rejected", "fell_back"]);
    assert_eq!(shop.captured().await.len(), 1);
});

on_each_store!(when_the_last_channel_refuses_it_failed_with_the_reason, async |app: TestApp| {
    let shop = app.shop().await;
    let to = json!({"phone": "+523312340001", "email": "fail@sandbox.test"});
    let id = shop.send(&with(json!({"channel": null, "channels": ["whatsapp", "email", "sms"], "to": to}))).await;
    app.deliver_due().await;
    let found = shop.find(&id).await;
    assert_eq!(
        (&found["status"], &found["reason"], &found["channel"]),
        (&json!("failed"), &json!("sandbox_fail"), &json!("sms"))
    );
    assert_eq!(found["attempts"].as_array().unwrap().len(), 3);
});

#[tokio::test(flavor = "multi_thread")]
async fn channels_that_cannot_reach_the_person_are_passed_over() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    let id = shop.send(&with(json!({"channel": null, "channels": ["email", "chatwoot", "sms"]}))).await;
    app.deliver_due().await;
    let found = shop.find(&id).await;
    assert_eq!((&found["channel"], &found["chain"]), (&json!("sms"), &json!(["sms"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_channel_the_settings_decide_branch_before_tenant_before_platform() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    let branch = shop.branch(json!({"channelOrder": ["email"]})).await;
    let to = json!({"phone": "3312345678", "email": "ana@x.example"});
    let any = with(json!({"channel": null, "to": to}));
    assert_eq!(shop.notify(&any).await["notifications"][0]["channel"], "whatsapp");
    shop.change(json!({"channelOrder": ["sms", "email"]})).await;
    assert_eq!(shop.notify(&any).await["notifications"][0]["channel"], "sms");
    let at_branch = with(json!({"channel": null, "to": to, "branchId": branch}));
    assert_eq!(shop.notify(&at_branch).await["notifications"][0]["channel"], "email");
    app.deliver_due().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_message_waits_as_long_as_it_was_told_and_ends_some_day() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    let id = shop.send(&with(json!({"to": {"phone": "+523312340002"}}))).await;
    app.deliver_due().await;
    let found = shop.find(&id).await;
    assert_eq!((&found["status"], &found["attempts"][0]["outcome"]), (&json!("queued"), &json!("throttled")));
    let due = recado::clock::Timestamp::parse(found["dueAt"].as_str().unwrap()).unwrap();
    assert!(due.since(app.now()) >= Duration::from_secs(30), "{found}");
    for _ in 0..10 {
        app.advance(HOUR).await;
    }
    let found = shop.find(&id).await;
    assert_eq!((&found["status"], &found["reason"]), (&json!("failed"), &json!("attempts_exhausted")), "{found}");
    assert_eq!(found["attempts"].as_array().unwrap().len(), 8);
}

on_each_store!(what_nobody_can_know_is_unknown_tried_once_more_and_then_held, async |app: TestApp| {
    let shop = app.shop().await;
    let id = shop.send(&with(json!({"to": {"phone": "+523312340004"}}))).await;
    app.deliver_due().await;
    let found = shop.find(&id).await;
    assert_eq!((&found["status"], &found["attempts"][0]["outcome"]), (&json!("unknown"), &json!("unknown")));
    app.advance(HOUR).await;
    app.advance(HOUR).await;
    let found = shop.find(&id).await;
    assert_eq!((&found["status"], &found["dueAt"]), (&json!("unknown"), &Value::Null), "{found}");
    assert_eq!(found["attempts"].as_array().unwrap().len(), 2);
});

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_marketing_message_is_not_tried_again() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    let body = with(json!({"to": {"phone": "+523312340004"}, "category": "marketing"}));
    let id = shop.send(&body).await;
    app.advance(HOUR).await;
    app.advance(HOUR).await;
    let found = shop.find(&id).await;
    assert_eq!((&found["status"], found["attempts"].as_array().unwrap().len()), (&json!("unknown"), 1), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_may_want_unknown_to_count_as_failed() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    shop.change(json!({"onUnknown": {"sms": "fail"}})).await;
    let id = shop.send(&with(json!({"to": {"phone": "+523312340004"}}))).await;
    app.deliver_due().await;
    let found = shop.find(&id).await;
    assert_eq!((&found["status"], &found["reason"]), (&json!("failed"), &json!("unknown_outcome")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_provider_is_waited_for() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    let id = shop.send(&with(json!({"channel": "email", "to": {"email": "slow@sandbox.test"}}))).await;
    app.deliver_due().await;
    assert_eq!(shop.status(&id).await, "sent");
}
