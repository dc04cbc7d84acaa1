//! Trying scripts out.

use super::*;
use crate::support::{hello, hostile};

on_each_store!(a_script_is_tried_on_given_contacts, async |app: TestApp| {
    let shop = app.shop().await;
    let mut body =
        script("segment", "fn include(contact, now) { print(contact.name); contact.appointments.count >= 10 }");
    body["contacts"] = json!([{"name": "Ana", "appointments": {"count": 12}}, {"name": "Beto", "externalId": "beto"}]);
    let tried = try_out(&shop, &body).await.expect(200);
    assert_eq!((&tried["kind"], &tried["contacts"], &tried["failed"]), (&json!("segment"), &json!("given"), &json!(0)));
    let results = tried["results"].as_array().unwrap();
    assert_eq!((&results[0]["result"], &results[0]["log"]), (&json!(true), &json!(["Ana"])));
    assert_eq!((&results[1]["result"], &results[1]["contact"]["externalId"]), (&json!(false), &json!("beto")));
    let operations = |value: &Value| value["operations"].as_u64().unwrap();
    assert_eq!(operations(&tried), operations(&results[0]) + operations(&results[1]));
    assert!(operations(&results[0]) > 2 && tried["elapsedMs"].is_number(), "{tried}");
});

on_each_store!(a_script_is_tried_on_stored_contacts_at_any_moment, async |app: TestApp| {
    let shop = app.shop().await;
    let empty = try_out(&shop, &json!({"name": "vip"})).await.expect(200);
    assert_eq!((&empty["contacts"], &empty["results"][0]["result"]), (&json!("example"), &json!(true)));
    import(&shop, "contacts", (0..30).map(|n| json!({"externalId": n.to_string(), "name": format!("Ana {n}")}))).await;
    let visit = json!({"contactId": "29", "startsAt": "2026-02-01T15:00:00Z", "status": "COMPLETED"});
    shop.put("/v1/appointments/v", &visit).await.expect(201);
    let tried = try_out(&shop, &json!({"name": "inactive", "limit": 3})).await.expect(200);
    let ids: Vec<_> = tried["results"].as_array().unwrap().iter().map(|r| &r["contact"]["externalId"]).collect();
    assert_eq!(
        (&tried["contacts"], ids),
        (&json!("stored"), vec!["29", "28", "27"].into_iter().map(|t| json!(t)).collect::<Vec<_>>().iter().collect())
    );
    assert_eq!(tried["results"][0]["result"], false);
    let later =
        try_out(&shop, &json!({"name": "inactive", "limit": 1, "now": "2026-08-01T00:00:00Z"})).await.expect(200);
    assert_eq!((&later["results"][0]["result"], &later["now"]), (&json!(true), &json!("2026-08-01T00:00:00.000Z")));
    assert_eq!(try_out(&shop, &json!({"name": "all"})).await.expect(200)["results"].as_array().unwrap().len(), 10);
    try_out(&shop, &json!({"name": "none"})).await.is_problem(404, "not-found");
    write(&shop, "mine", &segment("contact.externalId == \"28\"")).await;
    let mine = try_out(&shop, &json!({"name": "mine", "limit": 2})).await.expect(200);
    assert_eq!((&mine["results"][0]["result"], &mine["results"][1]["result"]), (&json!(false), &json!(true)));
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn campaigns_and_routes_are_tried_too() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    let campaign = "fn include(contact, now) { contact.appointments.count > 0 }\n\
        fn message(contact, now) { #{template: \"marketing\", channel: \"sms\", data: #{n: contact.appointments.count}} }\n\
        fn sendAt(contact, now) { now.plus(\"1h\") }";
    let mut body = script("campaign", campaign);
    body["contacts"] = json!([{"appointments": {"count": 2}}, {}]);
    let tried = try_out(&shop, &body).await.expect(200);
    let expected = json!({"include": true, "message": {"template": "marketing", "channel": "sms", "data": {"n": 2}},
        "sendAt": "2026-03-02T16:00:00.000Z"});
    assert_eq!(tried["results"][0]["result"], expected);
    assert_eq!(tried["results"][1]["result"], json!({"include": false}));
    let route = "fn route(notification, contact, channels, now) {\n\
        if notification.category == \"marketing\" { [\"email\"] } else { [#{channel: \"whatsapp\", after: \"10m\"}, channels[0]] } }";
    let mut body = script("route", route);
    body["notification"] = json!({"category": "marketing"});
    assert_eq!(try_out(&shop, &body).await.expect(200)["results"][0]["result"], json!(["email"]));
    (body["notification"], body["channels"]) = (json!({"category": "transactional"}), json!(["sms"]));
    let result = try_out(&shop, &body).await.expect(200)["results"][0]["result"].clone();
    assert_eq!(result, json!([{"channel": "whatsapp", "after": "10m"}, "sms"]));
    // What it was given it may return, and those are all there are.
    let given = "fn route(notification, contact, channels, now) { channels }";
    let result = try_out(&shop, &script("route", given)).await.expect(200)["results"][0]["result"].clone();
    assert!(result.as_array().unwrap().len() > 10, "{result}");
    for (kind, source, said) in [
        ("campaign", "fn message(contact, now) { #{tempalte: \"x\"} }", "`tempalte`"),
        ("campaign", "fn sendAt(contact, now) { \"tomorrow\" }", "a moment"),
        ("route", "fn route(notification, contact, channels, now) { 5 }", "list of channels"),
    ] {
        let answer = try_out(&shop, &script(kind, source)).await;
        assert!(answer.has_fault("script-result", "/source", "script_result").contains(said), "{}", answer.text());
    }
}

/// One contact's fault is shown beside the others' results.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_is_told_for_its_contact() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    let mut body = script("segment", "fn include(contact, now) {\n  contact.name.len > 3\n}");
    body["contacts"] = json!([{"id": "c1", "name": "Beatriz"}, {"id": "c2"}]);
    let tried = try_out(&shop, &body).await.expect(200);
    assert_eq!((&tried["failed"], &tried["results"][0]["result"]), (&json!(1), &json!(true)));
    let error = &tried["results"][1]["error"];
    assert_eq!(
        (&error["contactId"], &error["line"], &error["code"]),
        (&json!("c2"), &json!(2), &json!("script_failed"))
    );
}

on_each_store!(b66_what_runs_away_is_stopped_and_the_next_message_goes_out, async |app: TestApp| {
    let shop = app.shop().await;
    for condition in hostile::RUNAWAY {
        let answer = try_out(&shop, &segment(condition)).await;
        answer.has_fault("script-limit", "/source", "script_limit");
    }
    for kind in ["segment", "campaign"] {
        try_out(&shop, &script(kind, hostile::RECURSION)).await.has_fault("script-limit", "/source", "script_limit");
    }
    let mut given = segment("loop {}");
    given["contacts"] = json!([{"id": "c1"}]);
    try_out(&shop, &given).await.has_fault("script-limit", "/contacts/0", "script_limit");
    for (condition, said) in hostile::WRONG_RESULT {
        let answer = try_out(&shop, &segment(condition)).await;
        let detail = answer.has_fault("script-result", "/source", "script_result");
        assert!(detail.contains(said), "{condition}: {detail}");
    }
    let id = shop.send(&hello()).await;
    app.deliver_due().await;
    assert_eq!(shop.status(&id).await, "sent");
    assert_eq!(shop.get("/v1/scripts").await.expect(200)["items"].as_array().unwrap().len(), 3, "nothing was kept");
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trial_says_what_is_wrong_with_itself() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    let with = |changes: Value| {
        let mut body = segment("true");
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        body
    };
    for (body, pointer, code) in [
        (json!({}), "/source", "required"),
        (json!({"source": "x"}), "/kind", "required"),
        (with(json!({"name": "vip"})), "/name", "exactly_one_of"),
        (with(json!({"contacts": []})), "/contacts", "item_count"),
        (with(json!({"contacts": vec![json!({}); 101]})), "/contacts", "item_count"),
        (with(json!({"limit": 0})), "/limit", "out_of_range"),
        (with(json!({"limit": 101})), "/limit", "out_of_range"),
        (with(json!({"now": "today"})), "/now", "timestamp"),
        (with(json!({"contacts": [{"nmae": "Ana"}]})), "/contacts/0/nmae", "unknown_field"),
        (
            with(json!({"contacts": [{"appointments": {"count": "many"}}]})),
            "/contacts/0/appointments/count",
            "wrong_type",
        ),
        (with(json!({"contact": {}})), "/contact", "unknown_field"),
    ] {
        try_out(&shop, &body).await.has_fault("validation", pointer, code);
    }
    shop.key(&["send"]).await.post("/v1/scripts/test", &segment("true")).await.is_problem(403, "forbidden");
    assert_eq!(try_out(&shop, &segment("true")).await.expect(200)["failed"], 0);
}
