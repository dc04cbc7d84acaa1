//! B17 to B23: lists, ids, methods, Idempotency-Keys and states.

use super::*;

const LISTS: [&str; 5] =
    ["/v1/notifications", "/v1/suppressions", "/v1/sandbox/messages", "/v1/contacts", "/v1/appointments"];

on_each_store!(b17_limits_and_cursors_are_checked, async |app: TestApp| {
    let door = Door::to(app).await;
    for list in LISTS {
        for limit in ["0", "-1", "abc", "1e9", "201", ""] {
            let answer = door.shop.get(&format!("{list}?limit={limit}")).await;
            answer.has_fault("validation", "/limit", "out_of_range");
        }
        // The last one is well formed but holds a control character.
        for cursor in ["zzz", "", "%00", "MTo", "MToACg"] {
            door.shop.get(&format!("{list}?cursor={cursor}")).await.is_problem(400, "cursor-invalid");
        }
        door.shop.get(&format!("{list}?limt=5")).await.is_problem(422, "validation");
    }
    door.app.operator().get("/v1/tenants?limit=0").await.has_fault("validation", "/limit", "out_of_range");
    door.app.operator().get("/v1/tenants?cursor=zzz").await.is_problem(400, "cursor-invalid");
    door.still_works().await;
});

on_each_store!(b18_what_cannot_be_an_id_is_not_found, async |app: TestApp| {
    let door = Door::to(app).await;
    let long = "x".repeat(4000);
    for id in
        ["not-an-id", "%00", "..%2Fx", "../x", "%ff%fe", "%F0%9F%92%A9", "%27%20or%201%3D1", long.as_str(), "a%0Ab"]
    {
        door.shop.get(&format!("/v1/notifications/{id}")).await.is_problem(404, "not-found");
        for act in ["cancel", "retry"] {
            let path = format!("/v1/notifications/{id}/{act}");
            door.shop.call(axum::http::Method::POST, &path).await.is_problem(404, "not-found");
        }
    }
    door.shop.get("/v1/no-such-thing").await.is_problem(404, "not-found");
    door.still_works().await;
});

#[tokio::test(flavor = "multi_thread")]
async fn b19_a_method_that_is_not_there_is_answered_with_those_that_are() {
    let door = Door::open().await;
    let answer = door.shop.patch("/v1/notify", &hello()).await;
    answer.is_problem(405, "method-not-allowed");
    assert_eq!(answer.header("allow"), Some("POST"));
    let answer = door.shop.delete("/v1/notifications").await;
    answer.is_problem(405, "method-not-allowed");
    assert!(answer.header("allow").is_some_and(|a| a.contains("GET")));
    door.still_works().await;
}

on_each_store!(b20_a_used_idempotency_key_with_another_body_is_refused, async |app: TestApp| {
    let door = Door::to(app).await;
    let first = door.shop.post("/v1/notify", &hello()).header("idempotency-key", "order-1").await;
    assert_eq!(first.status, 202);
    let other = with(json!({"message": "Adiós"}));
    let refused = door.shop.post("/v1/notify", &other).header("idempotency-key", "order-1").await;
    refused.is_problem(422, "idempotency-mismatch");
    // A body that is refused by itself does not hide the mismatch.
    let invalid = door.shop.post("/v1/notify", &json!({})).header("idempotency-key", "order-1").await;
    invalid.is_problem(422, "idempotency-mismatch");
    door.app.deliver_due().await;
    assert_eq!(door.shop.captured().await.len(), 1);
    door.still_works().await;
});

on_each_store!(b21_a_key_in_flight_is_told_to_wait, async |app: TestApp| {
    let door = Door::to(app).await;
    let tenant = door.shop.id.as_str().into();
    let running = door.app.app.enter(&tenant, "POST /v1/notify order-1").unwrap();
    let answer = door.shop.post("/v1/notify", &hello()).header("idempotency-key", "order-1").await;
    answer.is_problem(409, "idempotency-in-flight");
    assert_eq!(answer.header("retry-after"), Some("1"));
    drop(running);
    door.shop.post("/v1/notify", &hello()).header("idempotency-key", "order-1").await.expect(202);
    door.still_works().await;
});

on_each_store!(b22_an_idempotency_key_is_short_visible_ascii, async |app: TestApp| {
    let door = Door::to(app).await;
    let long = "k".repeat(256);
    let keys: [&[u8]; 5] = [b"", long.as_bytes(), b"a\tb", "clé".as_bytes(), b"a\xffb"];
    for key in keys {
        let answer = door.shop.post("/v1/notify", &hello()).header("idempotency-key", key).await;
        answer.is_problem(400, "idempotency-key-invalid");
    }
    door.shop.post("/v1/notify", &hello()).header("idempotency-key", &long[..255]).await.expect(202);
    door.still_works().await;
});

on_each_store!(b23_what_was_handed_over_cannot_be_cancelled_nor_what_went_well_retried, async |app: TestApp| {
    let door = Door::to(app).await;
    let id = door.shop.send(&hello()).await;
    door.app.deliver_due().await;
    let cancel = door.shop.post(&format!("/v1/notifications/{id}/cancel"), &json!({})).await;
    cancel.is_problem(409, "already-handed-over");
    let retry = door.shop.post(&format!("/v1/notifications/{id}/retry"), &json!({})).await;
    retry.is_problem(409, "wrong-state");
    assert_eq!(door.shop.status(&id).await, "sent");
    door.still_works().await;
});
