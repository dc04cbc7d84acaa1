//! Opened accounts, and messages for Ana.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use plugin_api::conformance::loopback_host;
use plugin_api::{
    Action, Channel, Event, Failure, Hint, Host, Inbound, Message, Recipient, SendError, Settings, State, Status,
};
use serde_json::Value;

pub(crate) const ANA: &str = "+523331234567";
/// Where the account's vendor may report to.
pub(crate) const HOOK: &str = "https://gateway.example.test/hooks/sms/t-1";

/// What the core acts on.
pub(crate) type Decision = (Failure, &'static str, Option<Hint>);

pub(crate) fn decided(error: &SendError) -> (Failure, &str, Option<Hint>) {
    (error.failure, &error.reason, error.hint)
}

pub(crate) fn host(hook: Option<&str>) -> Host {
    Host { hook_url: hook.map(Into::into), ..loopback_host(Duration::from_secs(20)) }
}

/// An account whose server has a public address.
pub(crate) fn open(provider: &str, settings: &Settings) -> Arc<dyn Channel> {
    plugin_sms::plugin().open(provider, settings, &host(Some(HOOK))).unwrap()
}

/// The settings with some of them replaced; null takes one away.
pub(crate) fn with(settings: Settings, changes: Value) -> Settings {
    let mut settings = settings;
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            settings.0.remove(name);
        } else {
            settings.0.insert(name.clone(), value.clone());
        }
    }
    settings
}

pub(crate) fn message(text: &str) -> Message {
    Message {
        id: "01930000-0000-7000-8000-0000000000d1".into(),
        kind: "appointment_reminder".into(),
        channel: "sms".into(),
        recipient: Recipient { phone: Some(ANA.into()), name: Some("Ana Lopez".into()), ..Recipient::default() },
        subject: None,
        text: text.into(),
        html: None,
        headers: vec![],
        actions: vec![],
        attachments: vec![],
        data: Arc::new(Value::Null),
        attempt: 1,
        memory: None,
        window_open: true,
        form: None,
        unsubscribe_url: None,
        began_at: std::time::SystemTime::UNIX_EPOCH,
    }
}

pub(crate) fn message_to(phone: &str) -> Message {
    let mut message = message("Hola");
    message.recipient.phone = Some(phone.into());
    message
}

pub(crate) fn with_actions(text: &str) -> Message {
    let action = |title: &str| Action { title: title.into(), value: title.to_lowercase() };
    Message { actions: vec![action("Confirmar"), action("Cancelar")], ..message(text) }
}

/// What goes to logs and operators holds neither the number nor a secret.
pub(crate) fn is_discreet(error: &SendError, secrets: &[&str]) {
    let said = format!("{error} {error:?}");
    for private in secrets.iter().chain(&["3331234567", "Ana Lopez"]) {
        assert!(!said.contains(private), "gives away {private}: {said}");
    }
}

/// The only status among the events.
pub(crate) fn status(events: &[Event]) -> &Status {
    match events {
        [Event::Status(status)] => status,
        other => panic!("not one status: {other:?}"),
    }
}

pub(crate) fn inbound(events: &[Event]) -> &Inbound {
    match events {
        [.., Event::Inbound(inbound)] => inbound,
        other => panic!("no message: {other:?}"),
    }
}

/// Reason and hint of a failure.
pub(crate) fn failure(state: &State) -> (&str, Option<Hint>) {
    match state {
        State::Failed { reason, detail, hint } => {
            assert!(!detail.contains("3331234567"), "gives the number away: {detail}");
            (reason, *hint)
        }
        other => panic!("not failed: {other:?}"),
    }
}

#[expect(clippy::disallowed_methods, reason = "vendors sign and list by the real time")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}
