//! Each inbox type reaches some people, in its own way.

use plugin_api::{Failure, Hint};
use plugin_chatwoot::double::{Inbox, Status};
use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn inboxes_that_cannot_start_a_conversation_refuse_before_anything_is_written() {
    let closed = [Inbox::Website, Inbox::Facebook, Inbox::Instagram, Inbox::Telegram, Inbox::Line, Inbox::Tiktok];
    for inbox in closed {
        let (double, channel) = double(inbox).await;
        let error = channel.send(&message("Hola")).await.unwrap_err();
        assert_eq!((error.failure, error.reason.as_ref()), (Failure::Rejected, "inbox_cannot_reach"), "{inbox:?}");
        assert_eq!(error.hint, Some(Hint::Misconfigured));
        assert_eq!(double.take_counts(), [("getInbox", 1)].into());
    }
}

#[tokio::test]
async fn sms_inboxes_need_a_phone_and_number_the_choices() {
    for inbox in [Inbox::Sms, Inbox::TwilioSms] {
        let (double, channel) = double(inbox).await;
        let mut ask = message("¿Confirmas?");
        ask.actions = buttons();
        channel.send(&ask).await.unwrap();
        let sent = &double.sent()[0];
        assert_eq!(sent.content, "¿Confirmas?\n\n1. Confirmar\n2. Cancelar");
        assert_eq!(sent.content_type, "text");

        ask.recipient.phone = None;
        assert_eq!(channel.send(&ask).await.unwrap_err().reason, "no_address", "{inbox:?}");
    }
}

#[tokio::test]
async fn an_email_inbox_needs_an_email_and_takes_the_subject() {
    let (double, channel) = double(Inbox::Email).await;
    let mut mail = message("Hola");
    mail.subject = Some("Tu cita".into());
    channel.send(&mail).await.unwrap();

    let seen = double.requests().into_iter().find(|r| r.operation == "createConversation").unwrap();
    assert_eq!(seen.body["additional_attributes"], json!({"mail_subject": "Tu cita"}));
    assert_eq!(double.contacts()[0]["email"], "ana@example.com");

    mail.recipient.email = None;
    assert_eq!(channel.send(&mail).await.unwrap_err().reason, "no_address");
}

#[tokio::test]
async fn actions_become_buttons_in_an_api_inbox() {
    let (double, channel) = double(Inbox::Api).await;
    let mut ask = message("¿Confirmas tu cita?");
    ask.actions = buttons();
    let first = channel.send(&ask).await.unwrap();
    ask.memory = first.remember;
    channel.send(&ask).await.unwrap();

    for sent in double.sent() {
        assert_eq!((sent.content.as_str(), sent.content_type.as_str()), ("¿Confirmas tu cita?", "input_select"));
        let items =
            json!([{"title": "Confirmar", "value": "confirm:apt-1"}, {"title": "Cancelar", "value": "cancel:apt-1"}]);
        assert_eq!(sent.content_attributes["items"], items);
    }
    assert!(double.requests().iter().all(|r| r.body["source_id"].is_null()), "Chatwoot would not send it");
}

#[tokio::test]
async fn whatsapp_outside_the_window_is_refused_before_anything_is_written() {
    for inbox in [Inbox::Whatsapp, Inbox::TwilioWhatsapp] {
        let (double, channel) = double(inbox).await;
        let stranger = channel.send(&message("Hola")).await.unwrap_err();
        assert_eq!((stranger.failure, stranger.reason.as_ref()), (Failure::Rejected, "outside_whatsapp_window"));

        let contact = double.add_contact(Some(ANA), None);
        assert_eq!(channel.send(&message("Hola")).await.unwrap_err().reason, "outside_whatsapp_window");
        double.add_conversation(contact, inbox);
        assert_eq!(channel.send(&message("Hola")).await.unwrap_err().reason, "outside_whatsapp_window");
        assert_eq!((double.count("createContact"), double.count("createConversation"), double.sent().len()), (0, 0, 0));
    }
}

#[tokio::test]
async fn whatsapp_inside_the_window_is_two_requests_and_notices_when_it_shuts() {
    let (double, channel) = double(Inbox::Whatsapp).await;
    let contact = double.add_contact(Some(ANA), None);
    let conversation = double.add_conversation(contact, Inbox::Whatsapp);
    double.receive(conversation, "hola");
    let first = channel.send(&message("uno")).await.unwrap();
    double.take_counts();

    channel.send(&after(&first, "dos")).await.unwrap();
    assert_eq!(double.take_counts(), [("contactConversations", 1), ("createMessage", 1)].into());

    double.close_window(conversation);
    let error = channel.send(&after(&first, "tres")).await.unwrap_err();
    assert_eq!((error.reason.as_ref(), double.sent().len()), ("outside_whatsapp_window", 2));
}

#[tokio::test]
async fn whatsapp_uses_a_resolved_conversation_when_only_its_window_is_open() {
    let (double, channel) = double(Inbox::Whatsapp).await;
    let contact = double.add_contact(Some(ANA), None);
    let resolved = double.add_conversation(contact, Inbox::Whatsapp);
    double.receive(resolved, "gracias");
    double.set_status(resolved, Status::Resolved);
    double.add_conversation(contact, Inbox::Whatsapp);
    channel.send(&message("Hola")).await.unwrap();
    assert_eq!(double.sent()[0].conversation, resolved);
}
