//! Opened accounts at the doubles, and messages for Ana.

use std::sync::Arc;
use std::time::Duration;

use plugin_api::conformance::{loopback_host, sample_message};
use plugin_api::{
    Action, ApprovedForm, Callback, Channel, Event, FormButton, FormButtonValue, FormHeader, FormValue, Host, Inbound,
    Message, Received, Recipient, Refused, Settings, Status,
};
use plugin_whatsapp::double::{MetaDouble, TwilioDouble};
use serde_json::{Value, json};

pub(crate) const ANA: &str = "+523331234567";
/// As her WhatsApp spells it.
pub(crate) const ANA_WA_ID: &str = "5213331234567";
pub(crate) const HOOK: &str = "https://recado.example/hooks/whatsapp/4f00";
pub(crate) const CONTENT: &str = "HX0123456789abcdef0123456789abcdef";

fn host() -> Host {
    Host { hook_url: Some(HOOK.into()), ..loopback_host(Duration::from_secs(10)) }
}

pub(crate) fn open_meta(settings: &Settings) -> Arc<dyn Channel> {
    plugin_whatsapp::plugin().open("meta", settings, &host()).unwrap()
}

pub(crate) fn open_twilio(settings: &Settings) -> Arc<dyn Channel> {
    plugin_whatsapp::plugin().open("twilio", settings, &host()).unwrap()
}

/// With a setting changed; null takes it away.
pub(crate) fn with(mut settings: Settings, name: &str, value: Value) -> Settings {
    settings.0.remove(name);
    settings.0.extend((!value.is_null()).then(|| (name.to_owned(), value)));
    settings
}

pub(crate) async fn meta() -> (MetaDouble, Arc<dyn Channel>) {
    let double = MetaDouble::start().await;
    let channel = open_meta(&MetaDouble::settings(double.http.address()));
    (double, channel)
}

/// Ana has just written, so anything may be sent to her.
pub(crate) async fn meta_open() -> (MetaDouble, Arc<dyn Channel>) {
    let (double, channel) = meta().await;
    double.writes(ANA, text("Hola"));
    (double, channel)
}

pub(crate) async fn twilio() -> (TwilioDouble, Arc<dyn Channel>) {
    let double = TwilioDouble::start().await;
    let channel = open_twilio(&TwilioDouble::settings(double.http.address()));
    (double, channel)
}

pub(crate) async fn twilio_open() -> (TwilioDouble, Arc<dyn Channel>) {
    let (double, channel) = twilio().await;
    double.writes(ANA, HOOK, &[]);
    (double, channel)
}

/// What a person writes, as Meta's webhook has it.
pub(crate) fn text(body: &str) -> Value {
    json!({"type": "text", "text": {"body": body}})
}

pub(crate) fn message(text: &str) -> Message {
    Message {
        id: "0198-d1".into(),
        recipient: Recipient { phone: Some(ANA.into()), name: Some("Ana López".into()), ..Recipient::default() },
        text: text.into(),
        actions: vec![],
        ..sample_message("whatsapp")
    }
}

pub(crate) fn actions(titles: &[&str]) -> Vec<Action> {
    let action = |(n, title): (usize, &&str)| Action { title: (*title).into(), value: format!("choice:{n}") };
    titles.iter().enumerate().map(action).collect()
}

pub(crate) fn form() -> ApprovedForm {
    ApprovedForm {
        name: "appointment_reminder".into(),
        language: "es_MX".into(),
        body: vec![unnamed("Ana"), unnamed("10:00")],
        ..ApprovedForm::default()
    }
}

/// With every part that can have a variable.
pub(crate) fn rich_form() -> ApprovedForm {
    let button = |index, value| FormButton { index, value };
    ApprovedForm {
        header: Some(FormHeader::Image("https://cdn.example.test/logo.png".into())),
        buttons: vec![
            button(0, FormButtonValue::Payload("confirm:apt-1".into())),
            button(1, FormButtonValue::UrlSuffix("apt-1".into())),
            button(2, FormButtonValue::Code("VUELVE10".into())),
        ],
        ..form()
    }
}

pub(crate) fn unnamed(text: &str) -> FormValue {
    FormValue { name: None, text: text.into() }
}

pub(crate) fn outside(form: Option<ApprovedForm>) -> Message {
    Message { window_open: false, form, ..message("Tu cita es mañana a las 10:00.") }
}

pub(crate) async fn heard(channel: &Arc<dyn Channel>, callback: &Callback) -> Vec<Event> {
    channel.receive(callback).await.unwrap().events
}

pub(crate) async fn refused(channel: &Arc<dyn Channel>, callback: &Callback) -> Refused {
    let refused: Result<Received, Refused> = channel.receive(callback).await;
    refused.unwrap_err()
}

/// The only event, a status.
pub(crate) fn status(events: &[Event]) -> &Status {
    let [Event::Status(status)] = events else { panic!("not one status: {events:?}") };
    status
}

/// The only event, a message from a person.
pub(crate) fn inbound(events: &[Event]) -> &Inbound {
    let [Event::Inbound(inbound)] = events else { panic!("not one message: {events:?}") };
    inbound
}
