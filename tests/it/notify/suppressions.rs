//! Addresses that must not be written to.

use super::*;

on_each_store!(a_suppressed_address_gets_nothing, async |app: TestApp| {
    let shop = app.shop().await;
    let made =
        shop.post("/v1/suppressions", &json!({"address": "33 1234 5678", "reason": "asked us to"})).await.expect(201);
    assert_eq!(
        (&made["address"], &made["category"], &made["source"]),
        (&json!("+523312345678"), &json!("all"), &json!("api"))
    );
    let to = json!([{"phone": "3312345678"}, {"phone": "3312345679"}]);
    let answer = shop.post("/v1/notify", &with(json!({"to": to}))).header("idempotency-key", "k").await;
    let items = answer.json()["notifications"].clone();
    assert_eq!((&items[0]["status"], &items[0]["reason"]), (&json!("suppressed"), &json!("asked us to")));
    assert_eq!(items[1]["status"], "queued");
    let again = shop.post("/v1/notify", &with(json!({"to": to}))).header("idempotency-key", "k").await;
    assert_eq!(again.body, answer.body, "the answer that is kept says so, too");
    app.deliver_due().await;
    let captured = shop.captured().await;
    assert_eq!((captured.len(), &captured[0]["recipient"]["phone"]), (1, &json!("+523312345679")));
    shop.delete("/v1/suppressions/+523312345678").await.expect(204);
    shop.delete("/v1/suppressions/+523312345678").await.is_problem(404, "not-found");
    let id = shop.send(&hello()).await;
    app.deliver_due().await;
    assert_eq!(shop.status(&id).await, "sent");
});

on_each_store!(a_suppression_that_comes_between_is_seen_just_before_the_call, async |app: TestApp| {
    let shop = app.shop().await;
    let id = shop.send(&with(json!({"sendAt": "2026-03-02T16:00:00Z"}))).await;
    shop.post("/v1/suppressions", &json!({"address": "+523312345678"})).await.expect(201);
    app.advance(HOUR).await;
    assert_eq!(shop.status(&id).await, "suppressed");
    assert!(shop.captured().await.is_empty());
});

on_each_store!(who_wants_no_marketing_still_gets_what_they_asked_for, async |app: TestApp| {
    let shop = app.shop().await;
    let stop = json!({"address": "Ana.L@X.Example", "category": "marketing"});
    assert_eq!(shop.post("/v1/suppressions", &stop).await.expect(201)["address"], "ana.l@x.example");
    let mail_to =
        |email: &str, category: &str| with(json!({"channel": "email", "to": {"email": email}, "category": category}));
    let mail = |category: &str| mail_to("aNA.l@x.example", category);
    assert_eq!(shop.notify(&mail("marketing")).await["notifications"][0]["status"], "suppressed");
    // Nor one that has waited.
    let later = |mut body: Value| {
        body["sendAt"] = json!("2026-03-02T16:00:00Z");
        body
    };
    let waits = shop.send(&later(mail_to("Eva@x.example", "marketing"))).await;
    shop.post("/v1/suppressions", &json!({"address": "eva@x.example", "category": "marketing"})).await.expect(201);
    assert_eq!(shop.notify(&mail("transactional")).await["notifications"][0]["status"], "queued");
    app.deliver_due().await;
    assert_eq!(shop.captured().await.len(), 1);
    app.advance(HOUR).await;
    assert_eq!((shop.status(&waits).await.as_str(), shop.captured().await.len()), ("suppressed", 1));
    shop.delete("/v1/suppressions/EVA@x.example").await.expect(204);
});

on_each_store!(suppressions_are_listed_page_by_page, async |app: TestApp| {
    let shop = app.shop().await;
    for n in 0..5 {
        shop.post("/v1/suppressions", &json!({"address": format!("p{n}@x.example")})).await.expect(201);
    }
    shop.post("/v1/suppressions", &json!({"address": "p1@x.example", "category": "marketing"})).await.expect(201);
    let mut seen = Vec::new();
    let mut path = "/v1/suppressions?limit=2".to_owned();
    loop {
        let page = shop.get(&path).await.expect(200);
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        seen.extend(
            items.iter().map(|i| format!("{} {}", i["address"].as_str().unwrap(), i["category"].as_str().unwrap())),
        );
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        path = format!("/v1/suppressions?limit=2&cursor={cursor}");
    }
    let wanted = [
        "p0@x.example all",
        "p1@x.example all",
        "p1@x.example marketing",
        "p2@x.example all",
        "p3@x.example all",
        "p4@x.example all",
    ];
    assert_eq!(seen, wanted);
    let of = async |query: &str| {
        let page = shop.get(&format!("/v1/suppressions?{query}")).await.expect(200);
        let items = page["items"].as_array().unwrap();
        items
            .iter()
            .map(|i| format!("{} {}", i["address"].as_str().unwrap(), i["category"].as_str().unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(of("address=p1@X.example").await, wanted[1..3]);
    assert_eq!(of("category=marketing").await, wanted[2..3]);
    assert_eq!(of("address=p2@x.example&category=marketing").await, Vec::<String>::new());
    shop.get("/v1/suppressions?category=none").await.has_fault("validation", "/category", "out_of_range");
    shop.get("/v1/suppressions?address=nobody").await.is_problem(422, "validation");
    shop.delete("/v1/suppressions/p1@x.example?category=none").await.is_problem(422, "validation");
    shop.delete("/v1/suppressions/p1@x.example?category=all").await.expect(204);
    assert_eq!(of("address=p1@x.example").await, wanted[2..3]);
    shop.delete("/v1/suppressions/p1@x.example?category=all").await.is_problem(404, "not-found");
    shop.post("/v1/suppressions", &json!({"address": "nobody"})).await.has_fault("validation", "/address", "phone");
    shop.post("/v1/suppressions", &json!({"address": "a@b.example", "category": "x"}))
        .await
        .is_problem(422, "validation");
});
