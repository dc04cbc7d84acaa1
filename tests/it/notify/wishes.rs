//! What people and tenants want: consent, preferences, quiet hours, caps.

use super::*;

const ANA: &str = "+523312345678";

fn promo(changes: Value) -> Value {
    let mut body = with(json!({"category": "marketing", "message": "Oferta"}));
    body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    body.as_object_mut().unwrap().retain(|_, v| !v.is_null());
    body
}

async fn ana(shop: &Shop, changes: Value) {
    let mut person = json!({"name": "Ana López", "phone": ANA, "email": "ana@x.example"});
    person.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let answer = shop.put("/v1/contacts/ana", &person).await;
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
}

async fn says(shop: &Shop, channel: &str, category: &str, granted: bool) {
    let said = json!({"channel": channel, "category": category, "granted": granted});
    assert!(matches!(shop.post("/v1/contacts/ana/consents", &said).await.status, 200 | 201));
}

async fn first(shop: &Shop, body: &Value) -> Value {
    shop.notify(body).await["notifications"][0].clone()
}

/// Status, channel and reason of an answer's only notification.
fn fate(item: &Value) -> (&str, &str, Option<&str>) {
    (item["status"].as_str().unwrap(), item["channel"].as_str().unwrap(), item["reason"].as_str())
}

async fn explained(shop: &Shop, body: &Value) -> Value {
    let mut body = body.clone();
    body["dryRun"] = json!(true);
    shop.post("/v1/notify", &body).await.expect(200)["notifications"][0].clone()
}

fn considered<'a>(explained: &'a Value, channel: &str) -> (bool, Option<&'a str>) {
    let found = explained["channels"].as_array().unwrap().iter().find(|c| c["channel"] == channel).unwrap();
    (found["taken"].as_bool().unwrap(), found["reason"].as_str())
}

on_each_store!(who_opted_out_of_a_channel_is_tried_on_the_next_and_of_all_on_none, async |app: TestApp| {
    let shop = app.shop().await;
    ana(&shop, json!({})).await;
    let both = promo(json!({"channel": null, "channels": ["sms", "email"], "to": {"contactId": "ana"}}));
    assert_eq!(fate(&first(&shop, &both).await), ("queued", "sms", None));
    says(&shop, "sms", "marketing", false).await;
    // As a contact, and by any of her addresses: the spelling with the old mobile prefix is hers, too.
    for to in [json!({"contactId": "ana"}), json!({"phone": "+52 1 33 1234 5678", "email": "ana@x.example"})] {
        let body = promo(json!({"channel": null, "channels": ["sms", "email"], "to": to}));
        assert_eq!(fate(&first(&shop, &body).await), ("queued", "email", None));
        let sms = promo(json!({"to": to}));
        assert_eq!(fate(&first(&shop, &sms).await), ("suppressed", "sms", Some("opted_out")));
        let why = explained(&shop, &body).await;
        assert_eq!((considered(&why, "sms"), considered(&why, "email")), ((false, Some("opted_out")), (true, None)));
        let why = explained(&shop, &sms).await;
        assert_eq!((considered(&why, "sms"), &why["steps"]), ((false, Some("opted_out")), &json!([])));
    }
    // What she asked for still comes, and what she says next counts at once.
    assert_eq!(fate(&first(&shop, &with(json!({"to": {"phone": ANA}}))).await), ("queued", "sms", None));
    says(&shop, "all", "marketing", false).await;
    assert_eq!(fate(&first(&shop, &both).await), ("suppressed", "sms", Some("opted_out")));
    says(&shop, "all", "transactional", false).await;
    assert_eq!(
        fate(&first(&shop, &with(json!({"to": {"phone": ANA}}))).await),
        ("suppressed", "sms", Some("opted_out"))
    );
    app.clock.advance(MINUTE);
    says(&shop, "all", "transactional", true).await;
    says(&shop, "email", "marketing", true).await;
    assert_eq!(fate(&first(&shop, &both).await), ("queued", "email", None));
    app.deliver_due().await;
});

on_each_store!(one_suppressed_address_leaves_the_other_ways_open, async |app: TestApp| {
    let shop = app.shop().await;
    shop.post("/v1/suppressions", &json!({"address": ANA, "category": "marketing", "reason": "said_stop"}))
        .await
        .expect(201);
    let to = json!({"phone": ANA, "email": "ana@x.example"});
    let both = promo(json!({"channel": null, "channels": ["sms", "whatsapp", "email"], "to": to}));
    assert_eq!(fate(&first(&shop, &both).await), ("queued", "email", None));
    assert_eq!(fate(&first(&shop, &promo(json!({"to": to}))).await), ("suppressed", "sms", Some("said_stop")));
    assert_eq!(fate(&first(&shop, &with(json!({"to": to}))).await), ("queued", "sms", None));
    shop.post("/v1/suppressions", &json!({"address": ANA, "reason": "moved_away"})).await.expect(201);
    assert_eq!(fate(&first(&shop, &with(json!({"to": to}))).await), ("suppressed", "sms", Some("moved_away")));
    app.deliver_due().await;
});

on_each_store!(an_opt_out_that_comes_between_is_seen_before_the_call, async |app: TestApp| {
    let shop = app.shop().await;
    ana(&shop, json!({})).await;
    let at = json!("2026-03-02T18:00:00Z");
    let one = shop.send(&promo(json!({"to": {"phone": ANA}, "sendAt": at}))).await;
    let two = shop
        .send(&promo(json!({"channel": null, "channels": ["sms", "email"], "to": {"contactId": "ana"}, "sendAt": at})))
        .await;
    let asked_for = shop.send(&with(json!({"to": {"phone": ANA}, "sendAt": at}))).await;
    says(&shop, "sms", "marketing", false).await;
    app.advance(3 * HOUR).await;
    let found = shop.find(&one).await;
    assert_eq!((&found["status"], &found["reason"]), (&json!("suppressed"), &json!("opted_out")), "{found}");
    let found = shop.find(&two).await;
    assert_eq!((&found["status"], &found["channel"]), (&json!("sent"), &json!("email")), "{found}");
    assert!(found["timeline"].to_string().contains("sms: opted_out"), "{found}");
    assert_eq!(shop.status(&asked_for).await, "sent");
    let channels = texts(&shop.captured().await, "channel");
    assert_eq!(channels.iter().filter(|c| *c == "sms").count(), 1, "{channels:?}");
});

on_each_store!(a_persons_favourite_channels_come_first, async |app: TestApp| {
    let shop = app.shop().await;
    ana(&shop, json!({"preferences": {"channels": ["email", "sms"]}})).await;
    let any = |to: Value| with(json!({"channel": null, "to": to}));
    assert_eq!(first(&shop, &any(json!({"contactId": "ana"}))).await["channel"], "email");
    assert_eq!(first(&shop, &any(json!({"phone": ANA, "email": "ana@x.example"}))).await["channel"], "email");
    assert_eq!(first(&shop, &any(json!({"phone": ANA}))).await["channel"], "sms", "no address for the first");
    assert_eq!(
        first(&shop, &any(json!({"phone": "+523312345679", "email": "b@x.example"}))).await["channel"],
        "whatsapp"
    );
    assert_eq!(
        first(&shop, &with(json!({"channel": "whatsapp", "to": {"contactId": "ana"}}))).await["channel"],
        "whatsapp"
    );
    // The tenant's own order says which there are.
    shop.change(json!({"channelOrder": ["whatsapp", "sms"]})).await;
    assert_eq!(first(&shop, &any(json!({"contactId": "ana"}))).await["channel"], "sms");
    ana(&shop, json!({"preferences": {"channels": []}})).await;
    assert_eq!(first(&shop, &any(json!({"contactId": "ana"}))).await["channel"], "whatsapp");
    app.deliver_due().await;
});

// The tests begin at nine in the morning in Mexico City, 15:00 UTC.
on_each_store!(marketing_waits_for_the_end_of_quiet_hours, async |app: TestApp| {
    let shop = app.shop().await;
    shop.change(json!({"quietHours": {"start": "21:00", "end": "09:30"}})).await;
    let held = first(&shop, &promo(json!({}))).await;
    assert_eq!(fate(&held), ("scheduled", "sms", Some("quiet_hours")));
    let id = held["id"].as_str().unwrap().to_owned();
    let found = shop.find(&id).await;
    assert_eq!(
        (&found["reason"], &found["dueAt"]),
        (&json!("quiet_hours"), &json!("2026-03-02T15:30:00.000Z")),
        "{found}"
    );
    let why = explained(&shop, &promo(json!({}))).await;
    assert_eq!(considered(&why, "sms"), (true, Some("quiet_hours")));
    assert_eq!(why["steps"][0]["sendAt"], "2026-03-02T15:30:00.000Z");
    assert_eq!(why["settings"]["quietHours"]["level"], "tenant");
    // A branch further west sleeps longer, one without quiet hours of its own as long as its zone says.
    let branch = shop.branch(json!({"timezone": "America/Tijuana"})).await;
    let west = shop.send(&promo(json!({"branchId": branch}))).await;
    assert_eq!(shop.find(&west).await["dueAt"], "2026-03-02T17:30:00.000Z");
    // What the person asked for goes at once; what is planned for the night waits for the morning after.
    assert_eq!(fate(&first(&shop, &with(json!({}))).await), ("queued", "sms", None));
    let night = shop.send(&promo(json!({"sendAt": "2026-03-03T05:00:00Z"}))).await;
    assert_eq!(shop.find(&night).await["dueAt"], "2026-03-03T15:30:00.000Z");
    let late = shop.send(&promo(json!({"expiresAt": "2026-03-02T15:10:00Z"}))).await;
    // The same answer to the same key.
    let keyed = || shop.post("/v1/notify", &promo(json!({}))).header("idempotency-key", "k");
    let (once, again) = (keyed().await, keyed().await);
    assert_eq!(again.body, once.body);
    assert_eq!(once.json()["notifications"][0]["reason"], "quiet_hours");
    app.deliver_due().await;
    assert_eq!(shop.captured().await.len(), 1);
    app.advance(30 * MINUTE).await;
    assert_eq!(shop.status(&late).await, "expired", "the night was longer than it may wait");
    assert_eq!((shop.status(&id).await, shop.status(&west).await), ("sent".into(), "scheduled".into()));
    app.advance(2 * HOUR).await;
    assert_eq!(shop.status(&west).await, "sent");
    app.advance(22 * HOUR).await;
    assert_eq!(shop.status(&night).await, "sent");
});

on_each_store!(quiet_hours_that_begin_meanwhile_hold_what_waits, async |app: TestApp| {
    let shop = app.shop().await;
    let at = json!("2026-03-02T16:00:00Z");
    let id = shop.send(&promo(json!({"sendAt": at}))).await;
    let asked_for = shop.send(&with(json!({"sendAt": at}))).await;
    shop.change(json!({"quietHours": {"start": "09:30", "end": "08:30"}})).await;
    app.advance(HOUR).await;
    let found = shop.find(&id).await;
    assert_eq!(
        (&found["status"], &found["reason"], &found["dueAt"]),
        (&json!("scheduled"), &json!("quiet_hours"), &json!("2026-03-03T14:30:00.000Z")),
        "{found}"
    );
    assert!(found["timeline"].to_string().contains("quiet_hours until"), "{found}");
    assert_eq!(shop.status(&asked_for).await, "sent");
    // A night of 23 hours has made it no less welcome.
    app.advance(23 * HOUR).await;
    assert_eq!(shop.status(&id).await, "sent", "{}", shop.find(&id).await);
    assert_eq!(shop.captured().await.len(), 2);
});

on_each_store!(nobody_gets_more_marketing_in_a_week_than_the_cap, async |app: TestApp| {
    let shop = app.shop().await;
    ana(&shop, json!({})).await;
    shop.change(json!({"caps": {"marketingPerWeek": 2}})).await;
    let spellings = [
        json!({"phone": "33 1234 5678"}),
        json!({"contactId": "ana"}),
        json!({"phone": "+5213312345678"}),
        json!({"email": "Ana@x.example"}),
        json!({"contactId": "ana", "phone": "+523312340099"}),
    ];
    let mail = |to: &Value| promo(json!({"to": to, "channel": null, "channels": ["sms", "email"]}));
    assert_eq!(first(&shop, &mail(&spellings[0])).await["status"], "queued");
    assert_eq!(considered(&explained(&shop, &mail(&spellings[0])).await, "sms"), (true, None));
    assert_eq!(first(&shop, &mail(&spellings[1])).await["status"], "queued");
    for to in &spellings {
        assert_eq!(fate(&first(&shop, &mail(to)).await).2, Some("capped"), "{to}");
        let channel = if to["email"].is_string() { "email" } else { "sms" };
        let why = explained(&shop, &mail(to)).await;
        assert_eq!((considered(&why, channel), &why["steps"]), ((false, Some("capped")), &json!([])), "{to}");
        assert_eq!(why["settings"]["caps"]["level"], "tenant");
    }
    // Others, and what she asked for, are not concerned.
    assert_eq!(first(&shop, &promo(json!({"to": {"phone": "+523312345679"}}))).await["status"], "queued");
    assert_eq!(first(&shop, &with(json!({}))).await["status"], "queued");
    app.deliver_due().await;
    // What came to nothing does not count.
    let failing = json!({"phone": "+523312340001"});
    for _ in 0..3 {
        let id = shop.send(&promo(json!({"to": failing}))).await;
        app.deliver_due().await;
        assert_eq!(shop.status(&id).await, "failed");
    }
    let planned = shop.send(&promo(json!({"to": {"phone": "+523312345670"}, "sendAt": "2026-03-04T15:00:00Z"}))).await;
    shop.send(&promo(json!({"to": {"phone": "+523312345670"}}))).await;
    assert_eq!(
        fate(&first(&shop, &promo(json!({"to": {"phone": "+523312345670"}}))).await).2,
        Some("capped"),
        "what is planned counts"
    );
    shop.post(&format!("/v1/notifications/{planned}/cancel"), &json!({})).await.expect(200);
    assert_eq!(first(&shop, &promo(json!({"to": {"phone": "+523312345670"}}))).await["status"], "queued");
    // A week later is another week.
    app.advance((7 * 24 * HOUR).saturating_sub(MINUTE)).await;
    assert_eq!(fate(&first(&shop, &mail(&spellings[0])).await).2, Some("capped"));
    app.advance(MINUTE).await;
    assert_eq!(first(&shop, &mail(&spellings[0])).await["status"], "queued");
    app.deliver_due().await;
});

on_each_store!(of_many_at_once_only_as_many_pass_as_the_cap_says, async |app: TestApp| {
    let shop = app.shop().await;
    shop.change(json!({"caps": {"marketingPerWeek": 3}})).await;
    let other = app.another_node().await;
    let nodes = [shop.at(app.router.clone()), shop.at(other.router.clone())];
    let all = (0..40).map(|n| {
        let node = nodes[n % 2].clone();
        async move {
            node.post("/v1/notify", &promo(json!({"to": [{"phone": ANA}, {"phone": "+5213312345678"}]})))
                .await
                .expect(202)
        }
    });
    let answers = futures_util::future::join_all(all).await;
    let items: Vec<Value> = answers.iter().flat_map(|a| a["notifications"].as_array().unwrap().clone()).collect();
    let reasons = texts(&items, "reason");
    assert_eq!((items.len(), reasons.iter().filter(|r| *r == "capped").count()), (80, 77));
    app.deliver_due().await;
    other.deliver_due().await;
    other.close().await;
    assert_eq!(shop.captured().await.len(), 3);
});
