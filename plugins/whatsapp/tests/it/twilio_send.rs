//! What Twilio is sent, and what `check` finds out.

use std::time::Duration;

use plugin_api::conformance::loopback_host;
use plugin_api::{ApprovedForm, Failure, FormValue, Host, Message};
use plugin_whatsapp::double::TwilioDouble;
use serde_json::{Value, json};

use crate::support::*;

fn content(form: ApprovedForm) -> ApprovedForm {
    ApprovedForm { name: CONTENT.into(), ..form }
}

#[tokio::test]
async fn a_text_goes_from_our_sender_with_a_callback_that_names_the_message() {
    let (double, channel) = twilio_open().await;
    let receipt = channel.send(&message("Hola Ana, ¿vienes?")).await.unwrap();
    assert_eq!(receipt.message_id.as_deref(), double.messages()[0]["sid"].as_str());
    assert_eq!((receipt.http_status, receipt.note), (Some(201), None));
    let sent = &double.requests()[0];
    let expected = [
        ("Body", "Hola Ana, ¿vienes?"),
        ("From", "whatsapp:+523330000000"),
        ("StatusCallback", "https://recado.example/hooks/whatsapp/4f00?message=0198-d1"),
        ("To", "whatsapp:+523331234567"),
    ];
    assert!(sent.iter().map(|(n, v)| (n.as_str(), v.as_str())).eq(expected), "{sent:?}");
}

#[tokio::test]
async fn actions_are_a_numbered_list() {
    let (double, channel) = twilio_open().await;
    channel.send(&Message { actions: actions(&["Confirmar", "Cancelar"]), ..message("¿Vienes?") }).await.unwrap();
    assert_eq!(double.requests()[0]["Body"], "¿Vienes?\n\n1. Confirmar\n2. Cancelar");
}

#[tokio::test]
async fn a_messaging_service_stands_in_for_the_number() {
    let (double, _) = twilio_open().await;
    let service = "MG0123456789abcdef0123456789abcdef";
    let settings = with(TwilioDouble::settings(double.http.address()), "from", Value::Null);
    let channel = open_twilio(&with(settings, "messagingServiceSid", json!(service)));
    channel.send(&message("Hola")).await.unwrap();
    let sent = &double.requests()[0];
    assert_eq!((sent.get("From"), sent["MessagingServiceSid"].as_str()), (None, service));
}

#[tokio::test]
async fn a_text_beyond_the_limit_is_refused_before_it_is_sent() {
    let (double, channel) = twilio_open().await;
    channel.send(&message(&"ñ".repeat(1600))).await.unwrap();
    let error = channel.send(&message(&"ñ".repeat(1601))).await.unwrap_err();
    assert_eq!((error.failure, error.reason.as_ref()), (Failure::Rejected, "too_long"));
    let mut nobody = message("Hola");
    nobody.recipient.phone = None;
    assert_eq!(channel.send(&nobody).await.unwrap_err().reason, "no_address");
    assert_eq!(double.http.calls(), 1);
}

#[tokio::test]
async fn outside_the_window_the_content_is_sent_with_its_variables() {
    let (double, channel) = twilio().await;
    double.add_content(CONTENT, &["1", "2", "3", "4", "5", "6"]);
    channel.send(&outside(Some(content(rich_form())))).await.unwrap();
    let sent = &double.requests()[0];
    assert_eq!((sent["ContentSid"].as_str(), sent.get("Body")), (CONTENT, None));
    let variables: Value = serde_json::from_str(&sent["ContentVariables"]).unwrap();
    let expected = json!({"1": "Ana", "2": "10:00", "3": "https://cdn.example.test/logo.png", "4": "confirm:apt-1",
        "5": "apt-1", "6": "VUELVE10"});
    assert_eq!(variables, expected);
}

#[tokio::test]
async fn named_values_go_by_their_names_and_none_need_no_field() {
    let (double, channel) = twilio().await;
    double.add_content(CONTENT, &["client", "2"]);
    let named = FormValue { name: Some("client".into()), text: "Ana\nLópez".into() };
    let form = ApprovedForm { body: vec![named, unnamed("10:00")], ..form() };
    channel.send(&outside(Some(content(form)))).await.unwrap();
    let variables: Value = serde_json::from_str(&double.requests()[0]["ContentVariables"]).unwrap();
    assert_eq!(variables, json!({"client": "Ana López", "2": "10:00"}));

    double.add_content(CONTENT, &[]);
    channel.send(&outside(Some(content(ApprovedForm::default())))).await.unwrap();
    assert!(!double.requests()[1].contains_key("ContentVariables"));
}

#[tokio::test]
async fn outside_the_window_nothing_but_content_is_sent() {
    let (double, channel) = twilio().await;
    let error = channel.send(&outside(None)).await.unwrap_err();
    assert_eq!((error.failure, error.reason.as_ref()), (Failure::Rejected, "outside_whatsapp_window"));
    // Meta's name of a form means nothing to Twilio.
    let error = channel.send(&outside(Some(form()))).await.unwrap_err();
    assert_eq!((error.failure, error.reason.as_ref()), (Failure::Rejected, "form_invalid"));
    assert!(error.detail.contains("HX"));
    assert_eq!(double.http.calls(), 0);
}

#[tokio::test]
async fn a_host_that_twilio_cannot_call_is_not_named() {
    let (double, _) = twilio_open().await;
    for hook in [None, Some("https://under_score.example/hooks/whatsapp/1"), Some("nonsense")] {
        let host = Host { hook_url: hook.map(Into::into), ..loopback_host(Duration::from_secs(10)) };
        let settings = TwilioDouble::settings(double.http.address());
        let channel = plugin_whatsapp::plugin().open("twilio", &settings, &host).unwrap();
        channel.send(&message("Hola")).await.unwrap();
        assert!(channel.check().await.unwrap().contains("statuses are not heard"));
    }
    assert!(double.requests().iter().all(|r| !r.contains_key("StatusCallback")));
}

#[tokio::test]
async fn check_names_the_account_and_never_its_token() {
    let (double, channel) = twilio().await;
    assert_eq!(channel.check().await.unwrap(), "the Twilio account \"Salon Uno\" is active");
    let settings = with(TwilioDouble::settings(double.http.address()), "authToken", json!("another"));
    let said = open_twilio(&settings).check().await.unwrap_err();
    assert!(said.contains("authToken") && !said.contains("another"), "{said}");
    assert_eq!(double.http.calls(), 0);
}

#[tokio::test]
async fn check_finds_a_suspended_account_and_a_trial() {
    for (account, word) in [
        (json!({"friendly_name": "Salon", "status": "suspended"}), "suspended"),
        (json!({"friendly_name": "Salon", "status": "active", "type": "Trial"}), "verified numbers only"),
        (json!({}), "baseUrl"),
        (json!("<html>"), "baseUrl"),
    ] {
        let reply = plugin_api::conformance::Reply::json(200, &account);
        let server = plugin_api::conformance::HttpDouble::with(|_| false, move |_, _| Some(reply.clone())).await;
        let (Ok(said) | Err(said)) = open_twilio(&TwilioDouble::settings(server.address())).check().await;
        assert!(said.contains(word), "{said}");
    }
}
