//! The 24 hours, and approved forms.

use std::time::Duration;

use plugin_api::{
    ApprovedForm, Event, Failure, FormButton, FormButtonValue, FormHeader, FormValue, Hint, Message, State,
};
use plugin_whatsapp::double::{MetaDouble, Template};
use serde_json::{Value, json};

use crate::support::*;

const PLAIN: Template = Template {
    name: "appointment_reminder",
    language: "es_MX",
    status: "APPROVED",
    body: 2,
    names: &[],
    header: None,
    buttons: &[],
};

const RICH: Template = Template { header: Some("image"), buttons: &["quick_reply", "url", "copy_code"], ..PLAIN };

async fn template(approved: Template, form: ApprovedForm) -> Value {
    let (double, channel) = meta().await;
    double.add_template(approved);
    let receipt = channel.send(&outside(Some(form))).await.unwrap();
    assert_eq!((receipt.note, receipt.remember), (None, None));
    double.sent()[0]["template"].clone()
}

#[tokio::test]
async fn outside_the_window_the_form_is_sent() {
    let body = json!({"type": "body",
        "parameters": [{"type": "text", "text": "Ana"}, {"type": "text", "text": "10:00"}]});
    let expected = json!({"name": "appointment_reminder", "language": {"code": "es_MX"}, "components": [body]});
    assert_eq!(template(PLAIN, form()).await, expected);
}

#[tokio::test]
async fn every_variable_part_has_its_component() {
    let sent = template(RICH, rich_form()).await;
    let components = sent["components"].as_array().unwrap();
    let link = json!({"type": "image", "image": {"link": "https://cdn.example.test/logo.png"}});
    assert_eq!(components[0], json!({"type": "header", "parameters": [link]}));
    assert_eq!(components[1]["type"], "body");
    let button = |index: &str, kind: &str, parameter: Value| json!({"type": "button", "sub_type": kind, "index": index, "parameters": [parameter]});
    assert_eq!(
        components[2..],
        [
            button("0", "quick_reply", json!({"type": "payload", "payload": "confirm:apt-1"})),
            button("1", "url", json!({"type": "text", "text": "apt-1"})),
            button("2", "copy_code", json!({"type": "coupon_code", "coupon_code": "VUELVE10"})),
        ]
    );
}

#[tokio::test]
async fn headers_come_in_four_kinds() {
    let link = "https://cdn.example.test/a";
    for (kind, header, expected) in [
        ("text", FormHeader::Text(unnamed("Hoy")), json!({"type": "text", "text": "Hoy"})),
        ("video", FormHeader::Video(link.into()), json!({"type": "video", "video": {"link": link}})),
        ("document", FormHeader::Document(link.into()), json!({"type": "document", "document": {"link": link}})),
    ] {
        let form = ApprovedForm { header: Some(header), ..form() };
        let sent = template(Template { header: Some(kind), ..PLAIN }, form).await;
        assert_eq!(sent["components"][0]["parameters"], json!([expected]));
    }
}

#[tokio::test]
async fn named_values_carry_their_names() {
    let named = |name: &str, text: &str| FormValue { name: Some(name.into()), text: text.into() };
    let form = ApprovedForm { body: vec![named("time", "10:00"), named("client", "Ana")], ..form() };
    let sent = template(Template { names: &["client", "time"], ..PLAIN }, form).await;
    assert_eq!(
        sent["components"][0]["parameters"][0],
        json!({"type": "text", "parameter_name": "time", "text": "10:00"})
    );
}

#[tokio::test]
async fn a_form_without_variables_has_no_components() {
    let form = ApprovedForm { body: vec![], ..form() };
    let sent = template(Template { body: 0, ..PLAIN }, form).await;
    assert_eq!(sent, json!({"name": "appointment_reminder", "language": {"code": "es_MX"}}));
}

#[tokio::test]
async fn line_breaks_never_reach_a_form() {
    let form = ApprovedForm { body: vec![unnamed("Corte\r\ny tinte"), unnamed("a\t     b")], ..form() };
    let sent = template(PLAIN, form).await;
    let parameters = &sent["components"][0]["parameters"];
    assert_eq!((&parameters[0]["text"], &parameters[1]["text"]), (&json!("Corte y tinte"), &json!("a    b")));
}

#[tokio::test]
async fn a_form_that_cannot_be_is_refused_before_it_is_sent() {
    let (double, channel) = meta().await;
    let with_button = |index, value| ApprovedForm { buttons: vec![FormButton { index, value }], ..form() };
    for form in [
        ApprovedForm { name: String::new(), ..form() },
        ApprovedForm { language: String::new(), ..form() },
        with_button(0, FormButtonValue::Payload("x".repeat(129))),
        with_button(0, FormButtonValue::Code("x".repeat(16))),
        with_button(10, FormButtonValue::Payload("x".into())),
    ] {
        let error = channel.send(&outside(Some(form))).await.unwrap_err();
        assert_eq!((error.failure, error.reason.as_ref()), (Failure::Rejected, "form_invalid"));
    }
    assert_eq!(double.http.calls(), 0);
}

#[tokio::test]
async fn what_the_form_does_not_fit_is_refused_by_its_name() {
    let (double, channel) = meta().await;
    double.add_template(RICH);
    double.add_template(Template { name: "paused", status: "PAUSED", ..PLAIN });
    double.add_template(Template { name: "disabled", status: "DISABLED", ..PLAIN });
    double.add_template(Template { name: "pending", status: "PENDING", ..PLAIN });
    let named = |name: &str| ApprovedForm { name: name.into(), ..form() };
    for (form, reason) in [
        (ApprovedForm { language: "es".into(), ..rich_form() }, "unknown_form"),
        (named("nobody_made_it"), "unknown_form"),
        (named("pending"), "unknown_form"),
        (named("paused"), "form_paused"),
        (named("disabled"), "form_disabled"),
        (ApprovedForm { body: vec![unnamed("Ana")], ..rich_form() }, "form_values"),
        (ApprovedForm { header: None, ..rich_form() }, "form_values"),
        (ApprovedForm { buttons: vec![], ..rich_form() }, "missing_parameter"),
    ] {
        let error = channel.send(&outside(Some(form))).await.unwrap_err();
        // Other messages of the account pass, so it is not called misconfigured.
        assert_eq!((error.failure, error.reason.as_ref(), error.hint), (Failure::Rejected, reason, None));
    }
    channel.send(&outside(Some(rich_form()))).await.unwrap();
}

#[tokio::test]
async fn without_a_form_nothing_is_sent_outside_the_window() {
    let (double, channel) = meta().await;
    let error = channel.send(&outside(None)).await.unwrap_err();
    assert_eq!((error.failure, error.reason.as_ref()), (Failure::Rejected, "outside_whatsapp_window"));
    assert_eq!(double.http.calls(), 0);
}

#[tokio::test]
async fn inside_the_window_text_is_preferred_to_the_form() {
    let (double, channel) = meta_open().await;
    double.add_template(PLAIN);
    channel.send(&Message { form: Some(form()), ..message("Hola") }).await.unwrap();
    assert_eq!(double.sent()[0]["type"], "text");
}

#[tokio::test]
async fn a_window_found_closed_is_remembered_and_the_next_attempt_is_the_form() {
    let (double, channel) = meta_open().await;
    double.add_template(PLAIN);
    double.advance(Duration::from_hours(24));
    let first = Message { form: Some(form()), ..message("Hola") };
    let error = channel.send(&first).await.unwrap_err();
    assert_eq!(double.http.calls(), 1, "one attempt makes one call");
    assert_eq!((error.failure, error.reason.as_ref()), (Failure::Throttled, "outside_whatsapp_window"));
    // The others in the lane need not wait.
    assert_eq!((error.hint, error.retry_after), (Some(Hint::OnlyThisRecipient), None));
    assert_eq!(error.http_status, Some(400));

    let second = Message { attempt: 2, memory: error.remember, ..first };
    channel.send(&second).await.unwrap();
    assert_eq!(double.sent()[0]["type"], "template");
}

#[tokio::test]
async fn a_window_found_closed_without_a_form_is_a_refusal() {
    let (_double, channel) = meta().await;
    let error = channel.send(&message("Hola")).await.unwrap_err();
    assert_eq!((error.failure, error.reason.as_ref()), (Failure::Rejected, "outside_whatsapp_window"));
    assert_eq!(error.remember, None);
}

#[tokio::test]
async fn what_is_remembered_never_stops_a_text_that_has_no_form() {
    let (double, channel) = meta_open().await;
    double.add_template(PLAIN);
    double.advance(Duration::from_hours(24));
    let error = channel.send(&Message { form: Some(form()), ..message("Hola") }).await.unwrap_err();
    double.writes(ANA, text("¿Sigue en pie?"));
    channel.send(&Message { memory: error.remember, ..message("Sí") }).await.unwrap();
    assert_eq!(double.sent()[0]["text"]["body"], "Sí");
}

#[tokio::test]
async fn an_old_memory_is_forgotten() {
    let (double, channel) = meta_open().await;
    for memory in [json!({"windowClosedAt": 1_753_900_000}), json!("rubbish"), Value::Null] {
        channel.send(&Message { memory: Some(memory), form: Some(form()), ..message("Hola") }).await.unwrap();
    }
    assert!(double.sent().iter().all(|m| m["type"] == "text"));
}

#[tokio::test]
async fn a_closed_window_reported_late_fails_the_message() {
    let (double, channel) = meta().await;
    double.report_late();
    let receipt = channel.send(&message("Hola")).await.unwrap();
    let events = heard(&channel, &double.callback(HOOK, &double.pending())).await;
    let status = status(&events);
    assert_eq!(Some(&status.message_id), receipt.message_id.as_ref());
    assert!(matches!(&status.state, State::Failed { reason, .. } if reason == "outside_whatsapp_window"));
}

#[tokio::test]
async fn a_held_or_paused_form_is_noted() {
    for word in ["held_for_quality_assessment", "paused"] {
        let (double, channel) = meta().await;
        let answer = json!({"messaging_product": "whatsapp", "contacts": [{"input": "52"}],
            "messages": [{"id": "wamid.1", "message_status": word}]});
        double.answer_next(plugin_api::conformance::Reply::json(200, &answer));
        let receipt = channel.send(&outside(Some(form()))).await.unwrap();
        assert_eq!(receipt.message_id.as_deref(), Some("wamid.1"));
        assert!(receipt.note.is_some());
    }
}

#[tokio::test]
async fn one_person_has_one_window_in_both_spellings() {
    let (double, channel) = meta().await;
    double.spell(ANA, ANA_WA_ID);
    let events = heard(&channel, &double.callback(HOOK, &[double.writes(ANA, text("Hola"))])).await;
    assert!(matches!(&events[..], [Event::Inbound(i)] if i.from == ANA));
    channel.send(&message("Hola")).await.unwrap();
    assert_eq!(double.sent()[0]["to"], ANA.trim_start_matches('+'));
    assert_eq!(double.status("wamid.OUT1", "sent")["statuses"][0]["recipient_id"], ANA_WA_ID);
    let events = heard(&channel, &double.callback(HOOK, &[double.status("wamid.OUT1", "sent")])).await;
    assert_eq!(status(&events).state, State::Sent);
    drop::<MetaDouble>(double);
}
