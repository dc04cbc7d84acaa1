//! The suite every channel passes, with free text and with forms.

use plugin_api::Message;
use plugin_api::conformance::{HttpHarness, run, sample_message};
use plugin_whatsapp::double::{MetaDouble, Template, TwilioDouble};

use crate::support::*;

fn phone() -> String {
    sample_message("whatsapp").recipient.phone.unwrap()
}

fn meta_harness(double: &MetaDouble) -> HttpHarness {
    double.without_pair_limit();
    HttpHarness::new(plugin_whatsapp::plugin(), "meta", double.http.clone(), MetaDouble::settings)
}

fn twilio_harness(double: &TwilioDouble) -> HttpHarness {
    HttpHarness::new(plugin_whatsapp::plugin(), "twilio", double.http.clone(), TwilioDouble::settings)
}

#[tokio::test]
async fn meta_conforms_inside_the_window() {
    let double = MetaDouble::start().await;
    double.writes(&phone(), text("Hola"));
    run(&meta_harness(&double)).await;
    assert!(double.sent().iter().all(|m| m["type"] == "interactive"));
}

#[tokio::test]
async fn meta_conforms_outside_the_window() {
    let double = MetaDouble::start().await;
    double.add_template(approved());
    let message = Message { window_open: false, form: Some(form()), ..sample_message("whatsapp") };
    run(&HttpHarness { message, ..meta_harness(&double) }).await;
    assert!(double.sent().iter().all(|m| m["type"] == "template"));
}

#[tokio::test]
async fn twilio_conforms_inside_the_window() {
    let double = TwilioDouble::start().await;
    double.writes(&phone(), HOOK, &[]);
    run(&twilio_harness(&double)).await;
    assert!(double.messages().len() > 8);
}

#[tokio::test]
async fn twilio_conforms_outside_the_window() {
    let double = TwilioDouble::start().await;
    double.add_content(CONTENT, &["1", "2"]);
    let form = plugin_api::ApprovedForm { name: CONTENT.into(), ..form() };
    let message = Message { window_open: false, form: Some(form), ..sample_message("whatsapp") };
    run(&HttpHarness { message, ..twilio_harness(&double) }).await;
    assert!(double.requests().iter().all(|r| r["ContentSid"] == CONTENT));
}

fn approved() -> Template {
    Template {
        name: "appointment_reminder",
        language: "es_MX",
        status: "APPROVED",
        body: 2,
        names: &[],
        header: None,
        buttons: &[],
    }
}
