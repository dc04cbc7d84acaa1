//! The suite every channel passes, with free text and with forms.

use std::net::SocketAddr;

use plugin_api::conformance::{Behaviour, Harness, HttpHarness, run, sample_message};
use plugin_api::{Message, Plugin, Settings};
use plugin_whatsapp::double::{MetaDouble, Template, TwilioDouble};

use crate::support::*;

/// Only the message is another.
struct Closed(HttpHarness, Message);

impl Harness for Closed {
    fn message(&self) -> Message {
        self.1.clone()
    }
    fn plugin(&self) -> &dyn Plugin {
        self.0.plugin()
    }
    fn provider(&self) -> &str {
        self.0.provider()
    }
    fn settings(&self, at: SocketAddr) -> Settings {
        Harness::settings(&self.0, at)
    }
    fn address(&self) -> SocketAddr {
        self.0.address()
    }
    fn behave(&self, behaviour: Behaviour) {
        self.0.behave(behaviour);
    }
    fn calls(&self) -> usize {
        self.0.calls()
    }
    fn taken(&self) -> usize {
        self.0.taken()
    }
}

fn phone() -> String {
    sample_message("whatsapp").recipient.phone.unwrap()
}

fn meta_harness(double: &MetaDouble) -> HttpHarness {
    HttpHarness {
        plugin: plugin_whatsapp::plugin(),
        provider: "meta",
        double: double.http.clone(),
        settings: MetaDouble::settings,
        unusual: vec![],
        check_proves_credentials: true,
    }
}

fn twilio_harness(double: &TwilioDouble) -> HttpHarness {
    HttpHarness {
        provider: "twilio",
        double: double.http.clone(),
        settings: TwilioDouble::settings,
        plugin: plugin_whatsapp::plugin(),
        unusual: vec![],
        check_proves_credentials: true,
    }
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
    run(&Closed(meta_harness(&double), message)).await;
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
    run(&Closed(twilio_harness(&double), message)).await;
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
