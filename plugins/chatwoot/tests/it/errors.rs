//! Every shape in which the server can refuse, on a look-up and on the message.

use std::time::Duration;

use plugin_api::Failure::{NotSent, Rejected, Throttled, Unknown};
use plugin_api::{Failure, Hint, SendError};
use plugin_chatwoot::double::{Fault, Inbox, TOKEN};
use serde_json::json;

use crate::support::*;

/// The same fault while looking up, on the first message and on a later one.
async fn at_each_step(fault: Fault) -> [SendError; 3] {
    let (double, channel) = double(Inbox::Api).await;
    double.fail_next("filterContacts", fault.clone());
    let look_up = channel.send(&message("uno")).await.unwrap_err();
    double.fail_next("createConversation", fault.clone());
    let first = channel.send(&message("uno")).await.unwrap_err();
    let receipt = channel.send(&message("uno")).await.unwrap();
    double.fail_next("createMessage", fault);
    let later = channel.send(&after(&receipt, "dos")).await.unwrap_err();
    for error in [&look_up, &first, &later] {
        assert!(!format!("{error} {error:?}").contains(TOKEN));
    }
    [look_up, first, later]
}

async fn always(fault: Fault, failure: Failure, reason: &str, hint: Option<Hint>) {
    for error in at_each_step(fault).await {
        assert_eq!((error.failure, error.reason.as_ref(), error.hint), (failure, reason, hint), "{error:?}");
    }
}

#[tokio::test]
async fn every_401_and_403_is_a_misconfiguration_that_names_its_cure() {
    let texts = [
        ("Invalid Access Token", "invalid_token"),
        ("You are not authorized to access this account", "no_account_access"),
        ("You are not authorized to do this action", "not_permitted"),
        ("Access to this endpoint is not authorized for bots", "bot_token"),
        ("Account is suspended", "account_suspended"),
        ("Something new", "unauthorized"),
    ];
    for (text, reason) in texts {
        always(Fault::error(401, text), Rejected, reason, Some(Hint::Misconfigured)).await;
    }
    always(Fault::not_signed_in(), Rejected, "token_not_received", Some(Hint::Misconfigured)).await;
    let plan = Fault::error(403, "API access is not enabled for this account");
    always(plan, Rejected, "api_not_in_plan", Some(Hint::Misconfigured)).await;
}

#[tokio::test]
async fn a_wrong_token_is_refused_by_the_server_itself() {
    let (double, _) = double(Inbox::Api).await;
    let mut settings = double.settings(Inbox::Api);
    settings.0.insert("apiAccessToken".into(), "another".into());
    assert_eq!(open(&settings).send(&message("Hola")).await.unwrap_err().reason, "invalid_token");
}

#[tokio::test]
async fn an_unknown_account_or_inbox_is_a_misconfiguration() {
    let (double, channel) = double(Inbox::Api).await;
    let mut settings = double.settings(Inbox::Api);
    settings.0.insert("accountId".into(), 99.into());
    double.delete_inbox(Inbox::Api);
    for error in [open(&settings).send(&message("Hola")).await, channel.send(&message("Hola")).await] {
        let error = error.unwrap_err();
        assert_eq!((error.failure, error.reason.as_ref()), (Rejected, "not_found"));
        assert_eq!(error.hint, Some(Hint::Misconfigured));
    }
}

#[tokio::test]
async fn an_inbox_deleted_after_it_was_learnt_is_noticed() {
    let (double, channel) = double(Inbox::Api).await;
    channel.send(&message("uno")).await.unwrap();
    double.delete_inbox(Inbox::Api);
    double.delete_contact(double.contacts()[0]["id"].as_u64().unwrap());
    double.add_contact(Some(ANA), None);
    assert_eq!(channel.send(&message("dos")).await.unwrap_err().reason, "conversation_gone");
    assert_eq!(channel.send(&message("dos")).await.unwrap_err().reason, "not_found");
}

#[tokio::test]
async fn validation_faults_are_permanent() {
    let faults = [
        (Fault::error(422, "Validation failed: Content is too long (maximum is 150000 characters)"), "too_long"),
        (
            Fault::error(422, "Validation failed: Content attributes contains invalid keys for items : [...]"),
            "invalid_message",
        ),
        (Fault::error(422, "'buttons' is not a valid content_type"), "invalid_message"),
        (Fault::error(422, "param is missing or the value is empty: contact phone number"), "invalid_message"),
        (
            Fault::invalid("Source invalid source id for whatsapp inbox. valid Regex …", "source_id"),
            "invalid_source_id",
        ),
        (Fault::invalid("Phone number should be in e164 format", "phone_number"), "invalid_phone"),
        (Fault::invalid("Email Invalid email", "email"), "invalid_email"),
        (Fault::page(422), "invalid_message"),
    ];
    for (fault, reason) in faults {
        always(fault, Rejected, reason, None).await;
    }
}

#[tokio::test]
async fn a_full_conversation_waits_for_the_next_minute() {
    let (double, channel) = double(Inbox::Api).await;
    double.fail_next("createConversation", Fault::error(422, "Validation failed: Too many messages"));
    let error = channel.send(&message("uno")).await.unwrap_err();
    assert_eq!((error.failure, error.reason.as_ref()), (Throttled, "conversation_rate_limited"));
    assert!(error.retry_after.is_some_and(|d| (2..=61).contains(&d.as_secs())));
}

#[tokio::test]
async fn a_429_without_retry_after_waits_for_the_next_minute() {
    for error in at_each_step(Fault::throttled()).await {
        assert_eq!((error.failure, error.reason.as_ref()), (Throttled, "rate_limited"));
        assert!(error.retry_after.is_some_and(|d| (2..=61).contains(&d.as_secs())), "{error:?}");
    }
    for error in at_each_step(Fault::RetryAfter(429, 120)).await {
        assert_eq!(error.retry_after, Some(Duration::from_mins(2)));
    }
}

#[tokio::test]
async fn a_throttled_server_takes_the_message_once_it_is_not() {
    let (double, channel) = double(Inbox::Api).await;
    double.throttle(true);
    assert_eq!(channel.send(&message("Hola")).await.unwrap_err().failure, Throttled);
    double.throttle(false);
    channel.send(&message("Hola")).await.unwrap();
    assert_eq!(double.sent().len(), 1);
}

#[tokio::test]
async fn a_server_error_is_uncertain_only_when_the_message_was_in_the_request() {
    for status in [500, 502, 504, 503] {
        let [look_up, first, later] = at_each_step(Fault::page(status)).await;
        assert_eq!((look_up.failure, first.failure, later.failure), (NotSent, Unknown, Unknown), "{status}");
        assert_eq!(later.http_status, Some(status));
    }
    for error in at_each_step(Fault::RetryAfter(503, 30)).await {
        assert_eq!((error.failure, error.retry_after), (Throttled, Some(Duration::from_secs(30))));
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    always(Fault::page(302), Rejected, "redirect_not_followed", None).await;
}

#[tokio::test]
async fn rubbish_on_a_look_up_is_certainly_no_message() {
    let (double, channel) = double(Inbox::Api).await;
    let rubbish = [
        Fault::Text(200, "text/html", "<html>"),
        Fault::Text(200, "application/json", ""),
        Fault::Json(200, json!({})),
        Fault::Json(200, json!({"payload": "x"})),
    ];
    for operation in ["getInbox", "filterContacts", "createContact", "contactConversations"] {
        for fault in rubbish.clone() {
            if operation == "contactConversations" {
                double.add_contact(Some(ANA), None);
            }
            double.fail_next(operation, fault.clone());
            let error = channel.send(&message("Hola")).await.unwrap_err();
            assert_eq!((error.failure, error.reason.as_ref()), (NotSent, "unreadable_answer"), "{operation} {fault:?}");
        }
    }
    assert!(double.sent().is_empty());
}

#[tokio::test]
async fn silence_on_a_look_up_is_certainly_no_message() {
    let (double, _) = double(Inbox::Api).await;
    let channel = open_impatient(&double.settings(Inbox::Api));
    double.fail_next("filterContacts", Fault::Silence);
    assert_eq!(channel.send(&message("Hola")).await.unwrap_err().failure, NotSent);
    assert_eq!(double.sent().len(), 0);
}

#[tokio::test]
async fn nobody_listening_is_not_sent() {
    let (double, channel) = double(Inbox::Api).await;
    let first = channel.send(&message("uno")).await.unwrap();
    let mut settings = double.settings(Inbox::Api);
    settings.0.insert("baseUrl".into(), "http://127.0.0.1:9".into());
    let channel = open(&settings);
    assert_eq!(channel.send(&after(&first, "dos")).await.unwrap_err().failure, NotSent);
}

#[tokio::test]
async fn a_text_that_echoes_secrets_is_not_repeated() {
    let (double, channel) = double(Inbox::Api).await;
    let text = format!("Validation failed: {TOKEN} for {ANA} or {ANA_EMAIL}");
    double.fail_next("createConversation", Fault::error(422, &text));
    let error = channel.send(&message("Hola")).await.unwrap_err().to_string();
    assert!(![TOKEN, ANA, ANA_EMAIL].iter().any(|secret| error.contains(secret)), "{error}");
}
