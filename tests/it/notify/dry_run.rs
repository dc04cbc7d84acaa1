//! dryRun: the whole decision and no side effect.

use super::*;
use crate::support::dump;

on_each_store!(a_dry_run_explains_everything_and_changes_nothing, async |app: TestApp| {
    let shop = app.shop().await;
    let branch = shop.branch(json!({"locale": "en", "timezone": "America/Tijuana"})).await;
    let sandbox = json!({"provider": "sandbox"});
    shop.put(&format!("/v1/channels/sms?branchId={branch}"), &sandbox).await.expect(200);
    shop.change(json!({"channelOrder": ["sms", "email"]})).await;
    let body = json!({
        "type": "appointment_reminder", "dryRun": true, "branchId": branch, "channels": ["sms", "chatwoot"],
        "to": {"phone": "33 1234 5678", "name": "Ana López", "externalId": "p-7"}, "sendAt": "2026-03-02T17:00:00Z",
        "data": {"appointmentDate": "mañana"}, "dedupeKey": "once",
    });
    let before = dump(&app.app.db).await;
    let answer = shop.post("/v1/notify", &body).header("idempotency-key", "k").await.expect(200);
    assert_eq!(answer["dryRun"], true);
    let explained = &answer["notifications"][0];
    let recipient =
        json!({"contactId": null, "externalId": "p-7", "name": "Ana López", "phone": "+523312345678", "email": null});
    assert_eq!(explained["recipient"], recipient);
    let settings = &explained["settings"];
    assert_eq!(settings["locale"], json!({"value": "en", "level": "branch"}));
    assert_eq!(settings["timezone"], json!({"value": "America/Tijuana", "level": "branch"}));
    assert_eq!(settings["country"], json!({"value": "MX", "level": "tenant"}));
    assert_eq!(settings["channelOrder"], json!({"value": ["sms", "email"], "level": "tenant"}));
    let channels = explained["channels"].as_array().unwrap();
    let reason =
        |name: &str| channels.iter().find(|c| c["channel"] == name).map(|c| (c["taken"].clone(), c["reason"].clone()));
    assert_eq!(reason("sms"), Some((json!(true), Value::Null)));
    assert_eq!(reason("chatwoot"), Some((json!(false), json!("not_configured"))));
    assert_eq!(reason("email"), Some((json!(false), json!("no_address"))));
    assert_eq!(reason("whatsapp"), Some((json!(false), json!("not_named"))));
    assert_eq!(channels.len(), app.app.plugins.names().len());
    let steps = explained["steps"].as_array().unwrap();
    assert_eq!((steps.len(), &steps[0]["channel"]), (1, &json!("sms")));
    assert_eq!(steps[0]["sendAt"], "2026-03-02T17:00:00.000Z");
    assert_eq!((&steps[0]["content"]["subject"], &steps[0]["content"]["html"]), (&Value::Null, &Value::Null));
    assert!(steps[0]["content"]["text"].as_str().unwrap().contains("Appointment reminder"), "{steps:?}");
    assert_eq!(steps[0]["sms"]["segments"], 1);
    assert_eq!(dump(&app.app.db).await, before);
    // Its key was not used up.
    let mut real = body;
    real["dryRun"] = json!(false);
    shop.post("/v1/notify", &real).header("idempotency-key", "k").await.expect(202);
    app.advance(3 * HOUR).await;
    assert_eq!(shop.captured().await.len(), 1);
});

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_counts_what_an_sms_costs() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    let cost = async |text: &str| {
        let answer = shop.post("/v1/notify", &with(json!({"dryRun": true, "message": text}))).await.expect(200);
        answer["notifications"][0]["steps"][0]["sms"].clone()
    };
    assert_eq!(cost(&"a".repeat(160)).await, json!({"encoding": "GSM-7", "segments": 1}));
    assert_eq!(cost(&"a".repeat(161)).await, json!({"encoding": "GSM-7", "segments": 2}));
    assert_eq!(cost("Mañana a las 2").await["encoding"], "GSM-7");
    assert_eq!(cost("Está confirmado").await["encoding"], "UCS-2", "á is not in the alphabet");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_is_refused_for_the_same_reasons_as_the_real_thing() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    let body = with(json!({"dryRun": true, "to": {"phone": "+1"}}));
    shop.post("/v1/notify", &body).await.has_fault("validation", "/to/phone", "phone");
}

on_each_store!(accents_are_left_away_where_that_saves_a_text_message, async |app: TestApp| {
    let shop = app.shop().await;
    let text = "Tu cita de mañana está confirmada: te esperamos en la sucursal de María, a las diez en punto";
    let mut body = hello();
    body["message"] = json!(text);
    let id = shop.send(&body).await;
    app.deliver_due().await;
    assert_eq!(shop.captured().await[0]["text"], text);
    shop.change(json!({"accentFolding": true})).await;
    body["dryRun"] = json!(true);
    let shown = shop.post("/v1/notify", &body).await.expect(200);
    assert_eq!(shown["notifications"][0]["steps"][0]["sms"]["segments"], 1);
    body["dryRun"] = json!(false);
    shop.send(&body).await;
    app.deliver_due().await;
    let plain = "Tu cita de mañana esta confirmada: te esperamos en la sucursal de Maria, a las diez en punto";
    assert_eq!(shop.captured().await[0]["text"], plain);
    assert_eq!(shop.status(&id).await, "sent");
    // Where it saves nothing, the accents stay.
    body["message"] = json!("Está confirmada");
    shop.send(&body).await;
    app.deliver_due().await;
    assert_eq!(shop.captured().await[0]["text"], "Está confirmada");
});
