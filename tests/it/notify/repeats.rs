//! The same request twice: Idempotency-Key and dedupeKey.

use futures_util::future::join_all;

use super::*;

const DAY: Duration = Duration::from_hours(24);

on_each_store!(a_repeated_request_gets_the_first_answer_again, async |app: TestApp| {
    let shop = app.shop().await;
    let send = || shop.post("/v1/notify", &hello()).header("idempotency-key", "order 1");
    let first = send().await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (202, None));
    app.deliver_due().await;
    let again = send().await;
    assert_eq!((again.status, &again.body), (202, &first.body));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    app.deliver_due().await;
    assert_eq!(shop.captured().await.len(), 1);
    // Another tenant's key of the same name is another key.
    let other = Shop::new(&app, "Salón Dos").await;
    let theirs = other.post("/v1/notify", &hello()).header("idempotency-key", "order 1").await;
    assert_eq!((theirs.status, theirs.header("idempotency-replayed")), (202, None));
    app.advance(DAY + Duration::from_secs(1)).await;
    let next_day = send().await;
    assert_eq!((next_day.status, next_day.header("idempotency-replayed")), (202, None));
    assert_ne!(next_day.body, first.body);
    app.deliver_due().await;
    assert_eq!(shop.captured().await.len(), 2);
});

on_each_store!(the_first_answer_outlives_the_process_and_holds_on_every_node, async |app: TestApp| {
    let shop = app.shop().await;
    let key = shop.make_key(&["send", "read"]).await;
    let key = key["key"].as_str().unwrap();
    let send = |app: &TestApp| app.nobody().with_key(key).post("/v1/notify", &hello()).header("idempotency-key", "k");
    let first = send(&app).await;
    app.deliver_due().await;
    {
        let node = app.another_node().await;
        let there = send(&node).await;
        assert_eq!((there.header("idempotency-replayed"), &there.body), (Some("true"), &first.body));
    }
    let app = app.restart().await;
    let after = send(&app).await;
    assert_eq!((after.status, after.header("idempotency-replayed"), &after.body), (202, Some("true"), &first.body));
});

on_each_store!(what_was_refused_can_be_sent_again_under_its_key, async |app: TestApp| {
    let shop = app.shop().await;
    let send = |body: &Value| shop.post("/v1/notify", body).header("idempotency-key", "k");
    send(&with(json!({"channel": "pigeon"}))).await.is_problem(422, "validation");
    send(&hello()).await.expect(202);
    app.deliver_due().await;
    // What is invalid by now was accepted then: the first answer holds.
    shop.delete("/v1/channels/sms").await.expect(204);
    let again = send(&hello()).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (202, Some("true")));
});

on_each_store!(the_answer_of_a_wait_is_the_one_that_is_replayed, async |app: TestApp| {
    let shop = app.shop().await;
    let send = || shop.post("/v1/notify", &hello()).header("idempotency-key", "k").header("prefer", "wait=10");
    let first = send().await;
    assert_eq!(first.status, 200, "{}", first.text());
    let again = send().await;
    assert_eq!((again.status, &again.body, again.header("idempotency-replayed")), (200, &first.body, Some("true")));
});

on_each_store!(a_hundred_at_once_with_one_key_make_one_notification, async |app: TestApp| {
    let shop = app.shop().await;
    let calls = (0..100).map(|_| shop.post("/v1/notify", &hello()).header("idempotency-key", "k").into_future());
    let answers = join_all(calls).await;
    let first = answers.iter().find(|a| a.status == 202).unwrap();
    for answer in &answers {
        match answer.status {
            202 => assert_eq!(answer.body, first.body),
            _ => drop(answer.is_problem(409, "idempotency-in-flight")),
        }
    }
    app.deliver_due().await;
    assert_eq!(shop.captured().await.len(), 1);
});

on_each_store!(the_same_dedupe_key_is_sent_once_a_day_to_each_recipient, async |app: TestApp| {
    let shop = app.shop().await;
    let body = with(json!({"dedupeKey": "cita-1"}));
    let first = shop.send(&body).await;
    let second = shop.notify(&body).await;
    let item = &second["notifications"][0];
    assert_eq!(
        (&item["id"], &item["status"], &item["reason"]),
        (&json!(first), &json!("suppressed"), &json!("duplicate"))
    );
    assert_eq!(second["logId"], json!(first));
    let other = shop.notify(&with(json!({"dedupeKey": "cita-1", "to": {"phone": "3312345679"}}))).await;
    assert_eq!(other["notifications"][0]["status"], "queued");
    app.deliver_due().await;
    assert_eq!(shop.captured().await.len(), 2);
    app.advance(DAY + Duration::from_secs(1)).await;
    assert_eq!(shop.notify(&body).await["notifications"][0]["status"], "queued");
    app.deliver_due().await;
    assert_eq!(shop.captured().await.len(), 3);
});

on_each_store!(one_person_named_twice_in_a_request_with_a_dedupe_key_gets_one_message, async |app: TestApp| {
    let shop = app.shop().await;
    let to = json!([{"phone": "3312345678"}, {"phone": "3312345679"}, {"phone": "+52 1 33 1234 5678"}]);
    let answer = shop.notify(&with(json!({"to": to, "dedupeKey": "cita-1"}))).await;
    let items = answer["notifications"].as_array().unwrap();
    assert_eq!(texts(items, "status"), ["queued", "queued", "suppressed"]);
    assert_eq!((&items[2]["id"], &items[2]["reason"]), (&items[0]["id"], &json!("duplicate")));
    app.deliver_due().await;
    assert_eq!(shop.captured().await.len(), 2);
});

on_each_store!(a_thousand_at_once_with_one_dedupe_key_send_once, async |app: TestApp| {
    let shop = app.shop().await;
    let body = with(json!({"dedupeKey": "cita-1"}));
    let answers = join_all((0..1000).map(|_| shop.post("/v1/notify", &body).into_future())).await;
    let items: Vec<Value> = answers.into_iter().map(|a| a.expect(202)["notifications"][0].clone()).collect();
    let queued: Vec<&Value> = items.iter().filter(|i| i["status"] == "queued").collect();
    assert_eq!(queued.len(), 1);
    assert!(items.iter().all(|i| i["id"] == queued[0]["id"]), "the others answer with the first one's id");
    assert_eq!(items.iter().filter(|i| i["status"] == "suppressed").count(), 999);
    app.deliver_due().await;
    assert_eq!(shop.captured().await.len(), 1);
    assert_eq!(shop.get("/v1/notifications").await.expect(200)["items"].as_array().unwrap().len(), 1);
});

on_each_store!(two_nodes_take_one_dedupe_key_once, async |app: TestApp| {
    let shop = app.shop().await;
    let key = shop.make_key(&["send"]).await;
    let node = app.another_node().await;
    let there = node.nobody().with_key(key["key"].as_str().unwrap());
    let body = with(json!({"dedupeKey": "cita-1"}));
    let calls =
        (0..40).map(|n| if n % 2 == 0 { shop.post("/v1/notify", &body) } else { there.post("/v1/notify", &body) });
    let answers = join_all(calls.map(IntoFuture::into_future)).await;
    let queued = answers.into_iter().filter(|a| a.json()["notifications"][0]["status"] == "queued").count();
    assert_eq!(queued, 1);
    node.stop().await;
    app.deliver_due().await;
    assert_eq!(shop.captured().await.len(), 1);
});
