//! The route script: it decides, it is explained, and whatever it does nothing is lost.

use super::*;

/// A route script of this body.
fn route(body: &str) -> Value {
    json!({"kind": "route", "source": format!("fn route(notification, contact, channels, now) {{\n{body}\n}}")})
}

async fn write(shop: &Shop, body: &str) {
    let answer = shop.put("/v1/scripts/route", &route(body)).await;
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
}

/// To somebody whom every channel of the shop can reach, by no channel in particular.
fn to_all(changes: Value) -> Value {
    let to = json!({"phone": "33 1234 5678", "email": "ana@example.com", "name": "Ana López"});
    let mut body = with(json!({"channel": null, "to": to}));
    body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    body
}

async fn explained(shop: &Shop, changes: Value) -> Value {
    let mut body = to_all(changes);
    body["dryRun"] = json!(true);
    shop.post("/v1/notify", &body).await.expect(200)["notifications"][0].clone()
}

async fn chain(shop: &Shop, changes: Value) -> Value {
    let id = shop.send(&to_all(changes)).await;
    shop.find(&id).await["chain"].clone()
}

on_each_store!(a_route_script_decides_unless_the_caller_does, async |app: TestApp| {
    let shop = app.shop().await;
    assert_eq!(chain(&shop, json!({})).await, json!(["whatsapp", "sms", "email"]), "the platform's order");
    shop.change(json!({"channelOrder": ["sms", "whatsapp"]})).await;
    assert_eq!(chain(&shop, json!({})).await, json!(["sms", "whatsapp"]), "the tenant's order");
    write(
        &shop,
        "if notification.category == \"marketing\" { return [\"email\"]; }\n\
         if contact.appointments.count >= 2 { return [\"whatsapp\", \"email\"]; }\n\
         if notification.type == \"urgent\" && notification.data.level > 3 { return \"sms\"; }\n\
         if now.hour >= 20 { return [\"email\"]; }\n\
         channels",
    )
    .await;
    assert_eq!(chain(&shop, json!({})).await, json!(["sms", "whatsapp"]), "what it was given");
    assert_eq!(chain(&shop, json!({"category": "marketing"})).await, json!(["email"]));
    assert_eq!(chain(&shop, json!({"type": "urgent", "data": {"level": 5}})).await, json!(["sms"]));
    assert_eq!(chain(&shop, json!({"category": "marketing", "channels": ["sms"]})).await, json!(["sms"]), "named");
    shop.put("/v1/contacts/ana", &json!({"phone": "33 1234 5678", "email": "ana@example.com"})).await.expect(201);
    for visit in ["v1", "v2"] {
        let body = json!({"contactId": "ana", "startsAt": "2026-02-01T15:00:00Z", "status": "COMPLETED"});
        shop.put(&format!("/v1/appointments/{visit}"), &body).await.expect(201);
    }
    let ana = json!({"to": {"contactId": "ana"}});
    assert_eq!(chain(&shop, ana).await, json!(["whatsapp", "email"]));
    app.advance(11 * HOUR).await;
    assert_eq!(chain(&shop, json!({})).await, json!(["email"]), "in the evening");
    app.deliver_due().await;
    // Each of many recipients is decided about on their own.
    let many = json!({"to": [{"contactId": "ana"}, {"phone": "33 8765 4321", "email": "b@example.com"}]});
    let sent = shop.notify(&to_all(many)).await;
    let channels: Vec<_> = sent["notifications"].as_array().unwrap().iter().map(|n| n["channel"].clone()).collect();
    assert_eq!(channels, ["whatsapp", "email"]);
    shop.delete("/v1/scripts/route").await.expect(204);
    assert_eq!(chain(&shop, json!({})).await, json!(["sms", "whatsapp"]), "the tenant's order again");
    app.deliver_due().await;
});

on_each_store!(a_branch_has_a_route_of_its_own_and_tenants_do_not_share_theirs, async |app: TestApp| {
    let (shop, other) = (app.shop().await, Shop::new(&app, "Salón Dos").await);
    let branch = shop.branch(json!({})).await;
    write(&shop, "[\"email\"]").await;
    shop.put(&format!("/v1/scripts/route?branchId={branch}"), &route("[\"sms\"]")).await.expect(201);
    assert_eq!(chain(&shop, json!({})).await, json!(["email"]));
    assert_eq!(chain(&shop, json!({"branchId": branch})).await, json!(["sms"]));
    assert_eq!(chain(&other, json!({})).await, json!(["whatsapp", "sms", "email"]));
    let at_branch = explained(&shop, json!({"branchId": branch})).await;
    assert_eq!((&at_branch["route"]["level"], &at_branch["route"]["version"]), (&json!("branch"), &json!(1)));
    let answer = shop.delete(&format!("/v1/scripts/route?branchId={branch}")).await;
    answer.expect(204);
    assert_eq!(chain(&shop, json!({"branchId": branch})).await, json!(["email"]), "the tenant's");
    app.deliver_due().await;
});

on_each_store!(a_dry_run_shows_what_the_route_script_decided_and_said, async |app: TestApp| {
    let shop = app.shop().await;
    assert!(explained(&shop, json!({})).await.get("route").is_none(), "there is none");
    write(&shop, "print(`for ${contact.name}: ${channels.len} channels`);\n[#{channel: \"sms\", after: \"10m\"}, \"email\", \"chatwoot\"]").await;
    let dry = explained(&shop, json!({})).await;
    let route = &dry["route"];
    assert_eq!((&route["level"], &route["version"], &route["error"]), (&json!("tenant"), &json!(1), &Value::Null));
    assert_eq!(route["channels"], json!([{"channel": "sms", "after": 600}, "email", "chatwoot"]));
    assert_eq!(route["log"], json!(["for Ana López: 3 channels"]));
    assert!(route["operations"].as_u64().unwrap() > 3, "{route}");
    let steps: Vec<_> = dry["steps"].as_array().unwrap().iter().map(|s| s["channel"].clone()).collect();
    assert_eq!(steps, ["sms", "email"], "those that can reach the person");
    let channels = dry["channels"].as_array().unwrap();
    let reason = |name: &str| channels.iter().find(|c| c["channel"] == name).unwrap()["reason"].clone();
    assert_eq!((reason("chatwoot"), reason("whatsapp")), (json!("not_configured"), json!("not_named")));
    let named = explained(&shop, json!({"channels": ["email"]})).await;
    assert!(named.get("route").is_none(), "the caller decided");
    assert_eq!(shop.captured().await.len(), 0);
});

on_each_store!(a_route_script_that_fails_loses_nothing_and_says_why, async |app: TestApp| {
    let shop = app.shop().await;
    for (body, said) in [
        ("throw \"no\"", "the script threw: no"),
        ("loop {}", "script_limit"),
        ("let s = \"x\"; loop { s += s; }", "script_limit"),
        ("contact.nmae", "did you mean `name`?"),
        ("5", "list of channels"),
        ("[]", "no channel"),
        ("[\"pigeon\"]", "pigeon, which can't reach this person; what can: whatsapp, sms, email"),
        ("[\"chatwoot\"]", "can't reach this person"),
        ("[\"sms\", \"sms\"]", "twice"),
        ("[#{channel: \"sms\", after: \"1s\"}]", "1 minute"),
    ] {
        write(&shop, body).await;
        let dry = explained(&shop, json!({})).await;
        let error = dry["route"]["error"].as_str().unwrap_or_default().to_owned();
        let limit = error.contains("operations") || error.contains("bytes of text") || error.contains(" ms");
        assert!(error.contains(said) || (said == "script_limit" && limit), "{body}: {error}");
        let id = shop.send(&to_all(json!({}))).await;
        app.deliver_due().await;
        let found = shop.find(&id).await;
        assert_eq!(
            (&found["status"], &found["chain"]),
            (&json!("sent"), &json!(["whatsapp", "sms", "email"])),
            "{body}"
        );
        let timeline = found["timeline"].as_array().unwrap();
        let routed = timeline.iter().find(|e| e["event"] == "routed").unwrap_or_else(|| panic!("{body}: {timeline:?}"));
        let detail = routed["detail"].as_str().unwrap();
        assert!(
            detail.starts_with("the route script failed, so the plain order was taken") && detail.contains(&error),
            "{detail}"
        );
    }
    write(&shop, "[\"sms\"]").await;
    let id = shop.send(&to_all(json!({}))).await;
    app.deliver_due().await;
    let found = shop.find(&id).await;
    assert_eq!((&found["status"], &found["channel"]), (&json!("sent"), &json!("sms")));
    assert!(found["timeline"].as_array().unwrap().iter().all(|e| e["event"] != "routed"), "nothing to say");
});
