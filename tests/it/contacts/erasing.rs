//! Forgetting a person.

use super::*;
use crate::support::dump;

on_each_store!(nothing_that_names_an_erased_person_is_left, async |app: TestApp| {
    let shop = app.shop().await;
    let ana = put(
        &shop,
        "client-77",
        json!({"name": "Ana Secreta", "phone": "3377777777", "email": "ana.secreta@x.example",
        "attributes": {"allergy": "secreta-nuts"}, "consents": [{"granted": true, "source": "signed by Ana Secreta"}]}),
    )
    .await;
    let id = ana["id"].as_str().unwrap();
    let other = put(&shop, "beto", json!({"name": "Beto", "phone": "3388888888"})).await;
    let visit = json!({"contactId": id, "startsAt": "2026-02-01T10:00:00Z", "status": "COMPLETED", "attributes": {"note": "Ana Secreta likes it short"}});
    shop.put("/v1/appointments/v1", &visit).await.expect(201);
    let sent = shop.send(&json!({"type": "note", "channel": "sms", "message": "Hola Ana Secreta", "to": {"contactId": id}, "dedupeKey": "k"})).await;
    let inline = shop.send(&json!({"type": "note", "channel": "email", "message": "Ana Secreta", "to": {"email": "ANA.secreta@x.example", "name": "Ana Secreta"}})).await;
    let many = json!({"type": "note", "channel": "sms", "message": "Hola", "to": [{"contactId": "beto"}, {"phone": "3377777777", "name": "Ana Secreta"}]});
    let many = shop.post("/v1/notify", &many).header("idempotency-key", "once").await.expect(202);
    app.deliver_due().await;
    let waits = shop.send(&json!({"type": "note", "channel": "sms", "message": "Ana Secreta", "to": {"contactId": id}, "sendAt": "2026-03-03T15:00:00Z"})).await;
    shop.post("/v1/suppressions", &json!({"address": "+523399999999"})).await.expect(201);
    shop.delete("/v1/contacts/client-77").await.expect(204);

    let marks = ["Secreta", "secreta", "77777777", "client-77"];
    for (table, row) in dump(&app.app.db).await {
        assert!(marks.iter().all(|mark| !row.contains(mark)), "{table}: {row}");
    }
    let left = contact(&shop, id).await;
    assert_eq!((&left["name"], &left["attributes"], &left["externalId"]), (&Value::Null, &json!({}), &Value::Null));
    assert_eq!(
        (&left["appointments"]["completed"], &left["erasedAt"]),
        (&json!(1), &json!("2026-03-02T15:00:00.000Z"))
    );
    for (notification, status) in [(&sent, "sent"), (&inline, "sent"), (&waits, "cancelled")] {
        let shown = shop.find(notification).await;
        assert_eq!(shown["status"], status);
        assert_eq!((&shown["recipient"]["contactId"], &shown["recipient"]["name"]), (&json!(id), &Value::Null));
    }
    assert_eq!(shop.find(&waits).await["reason"], "contact_erased");
    app.advance(std::time::Duration::from_hours(48)).await;
    let captured = shop.captured().await;
    assert_eq!(captured.len(), 1, "only the other's is left, and nothing new was sent: {captured:?}");
    assert_eq!(captured[0]["recipient"]["contactId"], other["id"]);
    assert_eq!(many["notifications"].as_array().unwrap().len(), 2);

    shop.delete(&format!("/v1/contacts/{id}")).await.expect(204);
    shop.put(&format!("/v1/contacts/{id}"), &json!({"name": "x"})).await.is_problem(409, "wrong-state");
    let note = json!({"type": "note", "channel": "sms", "message": "Hola", "to": {"contactId": id}});
    shop.post("/v1/notify", &note).await.has_fault("validation", "/to/contactId", "unknown_contact");
    let again = json!({"contactId": id, "startsAt": "2026-02-01T10:00:00Z"});
    shop.put("/v1/appointments/v2", &again).await.has_fault("validation", "/contactId", "unknown_contact");
    assert_eq!(contacts(&shop, "").await.len(), 1);
    // The same person may come again, as somebody new.
    let anew = shop.put("/v1/contacts/client-77", &json!({"phone": "3377777777"})).await.expect(201);
    assert_ne!(anew["id"], id);
});
