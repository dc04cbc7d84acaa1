//! `to.contactId`: whom the stored data says to write to, and how.

use super::*;

on_each_store!(a_contact_is_written_to_with_what_is_known_of_them, async |app: TestApp| {
    let shop = app.shop().await;
    let ana = put(
        &shop,
        "ana",
        json!({"name": "Ana López", "phone": "3312345678", "email": "ana@x.example", "locale": "en-US"}),
    )
    .await;
    let id = ana["id"].as_str().unwrap();
    let note = |to: Value| json!({"type": "note", "channel": "sms", "message": "Hola", "to": to});
    let sent = shop
        .notify(&note(json!([{"contactId": id}, {"contactId": "ana", "name": "Anita", "phone": "3387654321"}])))
        .await;
    let first = &sent["notifications"][0]["recipient"];
    let expected = json!({"contactId": id, "externalId": "ana", "name": "Ana López", "phone": "+523312345678", "email": "ana@x.example"});
    assert_eq!(*first, expected);
    let second = &sent["notifications"][1]["recipient"];
    assert_eq!(
        (&second["contactId"], &second["name"], &second["phone"]),
        (&ana["id"], &json!("Anita"), &json!("+523387654321"))
    );
    app.deliver_due().await;
    let captured = shop.captured().await;
    assert_eq!(captured.len(), 2);
    assert!(captured.iter().all(|c| c["recipient"]["contactId"] == id));
    let found = shop.get(&format!("/v1/notifications?contactId={id}")).await.expect(200);
    assert_eq!(found["items"].as_array().unwrap().len(), 2);
    let welcome = json!({"type": "welcome", "channel": "email", "to": {"contactId": "ana"}});
    shop.notify(&welcome).await;
    app.deliver_due().await;
    let mail = &shop.captured().await[0];
    assert_eq!(mail["subject"], "Welcome!", "in her language");
    assert!(mail["text"].as_str().unwrap().contains("Ana López"), "{mail}");
});

on_each_store!(a_contact_that_is_not_there_is_named_by_its_place, async |app: TestApp| {
    let shop = app.shop().await;
    put(&shop, "ana", json!({"phone": "3312345678"})).await;
    put(&shop, "mail", json!({"email": "mail@x.example"})).await;
    put(&shop, "abroad", json!({"phone": "+12025550123"})).await;
    let to = |to: Value| json!({"type": "note", "channel": "sms", "message": "Hola", "to": to});
    let answer = shop.post("/v1/notify", &to(json!([{"contactId": "ana"}, {"contactId": "beto"}]))).await;
    answer.has_fault("validation", "/to/1/contactId", "unknown_contact");
    let answer = shop.post("/v1/notify", &to(json!({"contactId": "a\u{0}"}))).await;
    answer.has_fault("validation", "/to/contactId", "unknown_contact");
    shop.post("/v1/notify", &to(json!({"contactId": "mail"}))).await.has_fault("validation", "/to", "no_address");
    shop.change(json!({"allowedCountries": ["MX"]})).await;
    let answer = shop.post("/v1/notify", &to(json!({"contactId": "abroad"}))).await;
    answer.has_fault("validation", "/to/contactId", "phone_not_allowed");
    shop.notify(&to(json!({"contactId": "ana"}))).await;
    app.deliver_due().await;
});
