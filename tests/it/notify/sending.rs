//! One and many recipients, and what they get.

use super::*;

on_each_store!(a_message_reaches_one_recipient_and_the_log_can_say_how, async |app: TestApp| {
    let shop = app.shop().await;
    let answer = shop.post("/v1/notify", &hello()).await;
    let location = answer.header("location").unwrap().to_owned();
    let answer = answer.expect(202);
    let item = &answer["notifications"][0];
    let id = item["id"].as_str().unwrap();
    assert_eq!(
        answer,
        json!({"success": true, "logId": id, "messageId": null, "notifications": [{
            "id": id, "status": "queued", "channel": "sms", "reason": null, "messageId": null,
            "recipient": {"contactId": null, "externalId": null, "name": "Ana López", "phone": "+523312345678", "email": null},
        }]})
    );
    assert_eq!(location, format!("/v1/notifications/{id}"));
    app.deliver_due().await;
    let found = shop.find(id).await;
    assert_eq!(
        (&found["status"], &found["type"], &found["category"]),
        (&json!("sent"), &json!("note"), &json!("transactional"))
    );
    assert_eq!(found["createdAt"], "2026-03-02T15:00:00.000Z");
    assert_eq!(found["content"]["message"], "Hola");
    assert_eq!(found["chain"], json!(["sms"]));
    assert_eq!(found["messageId"], format!("sandbox-{id}-1"));
    let attempt = &found["attempts"].as_array().unwrap()[..];
    assert_eq!(attempt.len(), 1);
    assert_eq!(
        (&attempt[0]["number"], &attempt[0]["outcome"], &attempt[0]["provider"]),
        (&json!(1), &json!("accepted"), &json!("sandbox"))
    );
    let events = texts(found["timeline"].as_array().unwrap(), "event");
    assert_eq!(events, ["accepted", "attempt.accepted", "segments"]);
    assert_eq!(found["timeline"][2]["detail"], "1 of GSM-7, 4 units");
    let captured = shop.captured().await;
    assert_eq!((captured.len(), &captured[0]["text"], &captured[0]["notificationId"]), (1, &json!("Hola"), &json!(id)));
});

#[test]
fn what_an_sms_cost_is_in_the_line_of_its_attempt_and_nowhere_on_other_channels() {
    on_one_thread(async {
        let log = Log::default();
        let _capture = log.capture("recado=info");
        let app = TestApp::sqlite().await;
        let shop = app.shop().await;
        let long = json!({"message": "á".repeat(71), "actions": [{"title": "Sí", "value": "yes"}]});
        let sms = shop.send(&with(long.clone())).await;
        let mut other = with(long);
        other["channel"] = json!("whatsapp");
        let other = shop.send(&other).await;
        app.deliver_due().await;
        let line = |id: &str| {
            let lines = log.text();
            let mine: Vec<_> = lines.lines().filter(|l| l.contains(id) && l.contains("attempt")).collect();
            assert_eq!(mine.len(), 1, "one line per attempt: {lines}");
            mine[0].to_owned()
        };
        assert!(line(&sms).contains("encoding=\"UCS-2\" segments=2"), "{}", line(&sms));
        assert!(!line(&other).contains("segments"), "{}", line(&other));
        let costs = |found: &Value| texts(found["timeline"].as_array().unwrap(), "detail").pop().unwrap();
        assert_eq!(costs(&shop.find(&sms).await), "2 of UCS-2, 78 units");
        let events = texts(shop.find(&other).await["timeline"].as_array().unwrap(), "event");
        assert_eq!(events, ["accepted", "attempt.accepted"]);
        app.close().await;
    });
}

on_each_store!(each_of_many_recipients_gets_a_notification_of_its_own, async |app: TestApp| {
    let shop = app.shop().await;
    let to: Vec<Value> =
        (0..25).map(|n| json!({"phone": format!("+5233123456{n:02}"), "name": format!("P{n}")})).collect();
    let body = json!({"type": "welcome", "channel": "whatsapp", "to": to, "data": {"businessName": "Salón Uno"}});
    let answer = shop.notify(&body).await;
    let items = answer["notifications"].as_array().unwrap();
    assert_eq!((items.len(), &answer["messageId"]), (25, &Value::Null));
    let names: Vec<String> = items.iter().map(|i| i["recipient"]["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, (0..25).map(|n| format!("P{n}")).collect::<Vec<_>>());
    app.deliver_due().await;
    let log = answer["logId"].as_str().unwrap();
    let listed = shop.get(&format!("/v1/notifications?logId={log}&status=sent")).await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 25);
    let captured = shop.captured().await;
    assert_eq!(captured.len(), 25);
    for message in captured {
        let name = message["recipient"]["name"].as_str().unwrap();
        assert!(message["text"].as_str().unwrap().contains(&format!("Hola {name},")), "{message}");
    }
    let one = shop.find(items[7]["id"].as_str().unwrap()).await;
    assert_eq!(one["content"]["template"], "welcome", "content shared by many is found for each");
});

on_each_store!(one_invalid_recipient_refuses_the_whole_request, async |app: TestApp| {
    let shop = app.shop().await;
    let good = json!({"phone": "3312345678"});
    let to = json!([good, good, good, {"phone": "+1"}, {"email": "nobody"}]);
    let answer = shop.post("/v1/notify", &with(json!({"to": to}))).await;
    answer.has_fault("validation", "/to/3/phone", "phone");
    answer.has_fault("validation", "/to/4/email", "email");
    app.deliver_due().await;
    assert_eq!(shop.get("/v1/notifications").await.expect(200)["items"], json!([]));
    assert!(shop.captured().await.is_empty());
});

on_each_store!(a_thousand_recipients_are_one_request, async |app: TestApp| {
    let shop = app.shop().await;
    let to: Vec<Value> = (1000..2000).map(|n| json!({"phone": format!("+52331234{n}")})).collect();
    let body = with(json!({"to": to, "channel": "whatsapp"}));
    let answer = shop.notify(&body).await;
    assert_eq!(answer["notifications"].as_array().unwrap().len(), 1000);
    app.deliver_due().await;
    let count = "select count(*) from notifications where status = 'sent'";
    let sent: i64 = sqlx::query_scalar(count).fetch_one(&app.app.db.pool).await.unwrap();
    assert_eq!(sent, 1000);
});

#[tokio::test(flavor = "multi_thread")]
async fn the_recipients_name_is_the_templates_client_unless_data_says_otherwise() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    let to = json!({"phone": "3312345678", "name": "Ana López"});
    let plain = json!({"type": "welcome", "channel": "whatsapp", "to": to});
    shop.notify(&plain).await;
    app.deliver_due().await;
    assert!(shop.captured().await[0]["text"].as_str().unwrap().contains("Hola Ana López,"));
    let mut other = plain.clone();
    other["data"] = json!({"clientName": "Anita"});
    shop.notify(&other).await;
    app.deliver_due().await;
    assert!(shop.captured().await[0]["text"].as_str().unwrap().contains("Hola Anita,"));
    let mut nameless = plain;
    nameless["to"] = json!({"phone": "3312345678"});
    shop.notify(&nameless).await;
    app.deliver_due().await;
    assert!(shop.captured().await[0]["text"].as_str().unwrap().contains("Hola,"));
}

#[tokio::test(flavor = "multi_thread")]
async fn template_message_and_content_each_become_what_the_channel_can_show() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    let to = json!({"phone": "3312345678", "email": "ana@x.example"});
    let content = json!({"subject": "Asunto", "text": "Texto", "html": "<p>Texto</p>"});
    for channel in ["email", "sms"] {
        let body = json!({"type": "note", "channel": channel, "to": to, "content": content});
        shop.notify(&body).await;
        app.deliver_due().await;
    }
    let captured = shop.captured().await;
    assert_eq!(
        (&captured[0]["channel"], &captured[0]["subject"], &captured[0]["html"]),
        (&json!("sms"), &Value::Null, &Value::Null)
    );
    assert_eq!((&captured[1]["subject"], &captured[1]["html"]), (&json!("Asunto"), &json!("<p>Texto</p>")));
    assert!(captured.iter().all(|c| c["text"] == "Texto"));
    // `template` names another one than `type` does.
    shop.notify(&json!({"type": "anything", "template": "welcome", "channel": "email", "to": to})).await;
    app.deliver_due().await;
    let mail = &shop.captured().await[0];
    assert!(
        mail["html"].as_str().unwrap().contains("<html") && !mail["subject"].as_str().unwrap().is_empty(),
        "{mail}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_reach_the_channel() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    let actions = json!([{"title": "Confirmar", "value": "confirm"}, {"title": "Cancelar", "value": "cancel"}]);
    shop.notify(&with(json!({"channel": "whatsapp", "actions": actions}))).await;
    app.deliver_due().await;
    assert_eq!(shop.captured().await[0]["actions"], actions);
}

#[tokio::test(flavor = "multi_thread")]
async fn prefer_wait_answers_with_the_final_state() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    let answer = shop.post("/v1/notify", &hello()).header("prefer", "wait=10").await.expect(200);
    let item = &answer["notifications"][0];
    assert_eq!((&item["status"], &answer["messageId"]), (&json!("sent"), &item["messageId"]));
    assert!(answer["messageId"].as_str().unwrap().starts_with("sandbox-"));
    let to: Vec<Value> = (10..15).map(|n| json!({"phone": format!("+5233123456{n}")})).collect();
    let many = shop.post("/v1/notify", &with(json!({"to": to}))).header("prefer", "wait=10").await.expect(200);
    assert!(many["notifications"].as_array().unwrap().iter().all(|i| i["status"] == "sent"), "{many}");
    let failed = with(json!({"to": {"phone": "+523312340001"}}));
    let failed = shop.post("/v1/notify", &failed).header("prefer", "wait=10").await.expect(200);
    assert_eq!(failed["notifications"][0]["status"], "failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn prefer_wait_does_not_wait_for_a_duplicate() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    let send = async |to: Value| {
        let notification = with(json!({"to": to, "dedupeKey": "visit-7"}));
        // 202 is for whoever waited in vain.
        shop.post("/v1/notify", &notification).header("prefer", "wait=10").await.expect(200)
    };
    let ana = json!({"phone": "+523312345610"});
    let first = send(ana.clone()).await;
    let again = send(ana.clone()).await;
    assert_eq!(again["notifications"][0]["reason"], "duplicate");
    assert_eq!(again["notifications"][0]["id"], first["notifications"][0]["id"]);
    let both = send(json!([ana, {"phone": "+523312345611"}])).await;
    let ends: Vec<&Value> = both["notifications"].as_array().unwrap().iter().map(|item| &item["status"]).collect();
    assert_eq!(ends, ["suppressed", "sent"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn prefer_wait_does_not_wait_for_what_comes_later() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    let later = with(json!({"sendAt": "2026-03-03T15:00:00Z"}));
    let answer = shop.post("/v1/notify", &later).header("prefer", "wait=1").await.expect(202);
    assert_eq!(answer["notifications"][0]["status"], "scheduled");
}
