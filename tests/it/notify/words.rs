//! The wording that the first callers rely on, as the person sees it.

use plugin_chatwoot::double::{Double, Inbox};

use super::*;

const CONFIRMATION: &str = "✅ *Cita Confirmada*

Hola María González, tu cita ha sido confirmada.

📅 Fecha: 15 de Noviembre, 2025
⏰ Hora: 10:00 AM
💼 Servicio: Corte de Cabello Premium
💼 Profesional: Carlos García
💼 Sucursal: Sucursal Centro

¡Te esperamos!";

const REMINDER: &str = "⏱ *Recordatorio de Cita*

Hola Ana López, te recordamos que tienes una cita:

📅 mañana
⏱ 2:00 PM
💼 Manicure y Pedicure

¡No olvides asistir!";

fn confirmation() -> Value {
    json!({
        "type": "appointment_confirmation",
        "to": {"phone": "33 1234 5678", "name": "María González", "email": "maria@x.example"},
        "data": {"appointmentDate": "15 de Noviembre, 2025", "appointmentTime": "10:00 AM",
            "serviceName": "Corte de Cabello Premium", "professionalName": "Carlos García", "branchName": "Sucursal Centro"},
    })
}

fn reminder() -> Value {
    json!({
        "type": "appointment_reminder",
        "to": {"phone": "33 1234 5679", "name": "Ana López", "email": "ana@x.example", "locale": "es-MX"},
        "data": {"appointmentDate": "mañana", "appointmentTime": "2:00 PM", "serviceName": "Manicure y Pedicure"},
    })
}

on_each_store!(confirmation_and_reminder_read_as_agreed, async |app: TestApp| {
    let shop = app.shop().await;
    for (mut body, wanted) in [(confirmation(), CONFIRMATION), (reminder(), REMINDER)] {
        body["channel"] = json!("whatsapp");
        shop.notify(&body).await;
        app.deliver_due().await;
        assert_eq!(shop.captured().await[0]["text"], wanted);
    }
});

#[tokio::test(flavor = "multi_thread")]
async fn confirmation_and_reminder_reach_chatwoot_as_agreed() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    let chatwoot = Double::start().await;
    let settings = Value::Object(chatwoot.settings(Inbox::Api).0);
    shop.set("chatwoot", json!({"provider": "chatwoot", "settings": settings})).await;
    for (mut body, wanted) in [(confirmation(), CONFIRMATION), (reminder(), REMINDER)] {
        body["channel"] = json!("chatwoot");
        let id = shop.send(&body).await;
        app.deliver_due().await;
        assert_eq!(shop.status(&id).await, "sent");
        let sent = chatwoot.sent();
        assert_eq!(sent.last().unwrap().content, wanted);
        // The second message to the same person is one request: the conversation is remembered.
        drop(chatwoot.take_counts());
        let again = shop.send(&body).await;
        app.deliver_due().await;
        assert_eq!(shop.status(&again).await, "sent");
        assert_eq!(chatwoot.take_counts().into_iter().collect::<Vec<_>>(), [("createMessage", 1)]);
    }
    assert_eq!(chatwoot.sent().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_whose_value_is_absent_is_left_out() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    let mut body = confirmation();
    body["channel"] = json!("whatsapp");
    for field in ["professionalName", "branchName"] {
        body["data"].as_object_mut().unwrap().remove(field);
    }
    shop.notify(&body).await;
    app.deliver_due().await;
    let wanted = CONFIRMATION.replace("💼 Profesional: Carlos García\n💼 Sucursal: Sucursal Centro\n", "");
    assert_eq!(shop.captured().await[0]["text"], wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_has_subject_text_and_html_of_the_same_content() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    let mut body = confirmation();
    body["channel"] = json!("email");
    body["data"]["serviceName"] = json!("Corte & Color <Premium>");
    shop.notify(&body).await;
    app.deliver_due().await;
    let mail = &shop.captured().await[0];
    let (subject, text, html) =
        (mail["subject"].as_str().unwrap(), mail["text"].as_str().unwrap(), mail["html"].as_str().unwrap());
    assert!(!subject.is_empty() && !subject.contains('\n'));
    assert!(text.contains("Corte & Color <Premium>") && text.contains("María González"), "{text}");
    assert!(html.contains("Corte &amp; Color &lt;Premium&gt;") && html.contains("María González"), "{html}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_written_to_in_their_language() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    let mut body = reminder();
    body["channel"] = json!("whatsapp");
    body["to"]["locale"] = json!("en-US");
    shop.notify(&body).await;
    app.deliver_due().await;
    assert!(shop.captured().await[0]["text"].as_str().unwrap().contains("Appointment Reminder"));
    // Without one of their own: the branch's, else the tenant's.
    body["to"].as_object_mut().unwrap().remove("locale");
    let branch = shop.branch(json!({"locale": "en"})).await;
    body["branchId"] = json!(branch);
    shop.notify(&body).await;
    app.deliver_due().await;
    assert!(shop.captured().await[0]["text"].as_str().unwrap().contains("Appointment Reminder"));
}
