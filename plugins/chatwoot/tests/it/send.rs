//! From a person to a conversation, in as few requests as can be.

use plugin_api::Failure;
use plugin_chatwoot::double::{Fault, Inbox, Status};
use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn the_first_message_creates_contact_and_conversation() {
    let (double, channel) = double(Inbox::Api).await;

    let receipt = channel.send(&message("Hola Ana")).await.unwrap();

    let contact = &double.contacts()[0];
    assert_eq!(
        (&contact["phone_number"], &contact["name"], &contact["identifier"]),
        (&json!(ANA), &json!("Ana Lopez"), &json!("client-456"))
    );
    let sent = double.sent();
    assert_eq!((sent.len(), sent[0].content.as_str(), sent[0].content_type.as_str()), (1, "Hola Ana", "text"));
    assert_eq!(receipt.message_id, Some(sent[0].id.to_string()));
    assert_eq!((receipt.http_status, receipt.note), (Some(200), None));
    assert_eq!(double.count("createMessage"), 0, "the message travels inside the conversation");
    assert_eq!(double.count("searchContacts"), 0, "a search matches parts");
}

#[tokio::test]
async fn the_second_message_is_one_request() {
    let (double, channel) = double(Inbox::Api).await;
    let first = channel.send(&message("uno")).await.unwrap();
    double.take_counts();

    let second = channel.send(&after(&first, "dos")).await.unwrap();

    assert_eq!(double.take_counts(), [("createMessage", 1)].into());
    assert_eq!(second.remember, None, "nothing new was learnt");
    assert_eq!(second.message_id, Some(double.sent()[1].id.to_string()));
    assert_eq!(double.conversations().len(), 1);
}

#[tokio::test]
async fn the_inbox_is_asked_for_once() {
    let (double, channel) = double(Inbox::Api).await;
    for text in ["uno", "dos", "tres"] {
        channel.send(&message(text)).await.unwrap();
    }
    assert_eq!(double.count("getInbox"), 1);
}

#[tokio::test]
async fn a_known_person_and_an_open_conversation_are_used() {
    let (double, channel) = double(Inbox::Api).await;
    let contact = double.add_contact(Some(ANA), None);
    let open = double.add_conversation(contact, Inbox::Api);
    double.add_conversation(contact, Inbox::Whatsapp);
    let resolved = double.add_conversation(contact, Inbox::Api);
    double.set_status(resolved, Status::Resolved);

    channel.send(&message("Hola")).await.unwrap();

    assert_eq!(double.sent()[0].conversation, open);
    assert_eq!(double.contacts().len(), 1);
}

#[tokio::test]
async fn a_resolved_conversation_is_not_looked_up_again_but_a_new_one_is_started() {
    let (double, channel) = double(Inbox::Api).await;
    let contact = double.add_contact(Some(ANA), None);
    let resolved = double.add_conversation(contact, Inbox::Api);
    double.set_status(resolved, Status::Resolved);

    let first = channel.send(&message("uno")).await.unwrap();
    let started = double.sent()[0].conversation;
    assert_ne!(started, resolved);

    double.set_status(started, Status::Resolved);
    channel.send(&after(&first, "dos")).await.unwrap();
    assert_eq!(double.sent()[1].conversation, started);
}

#[tokio::test]
async fn a_person_stored_under_the_other_form_of_the_number_is_found() {
    let (double, channel) = double(Inbox::Api).await;
    let contact = double.add_contact(Some(ANA_ALIAS), None);
    let open = double.add_conversation(contact, Inbox::Api);

    channel.send(&message("Hola")).await.unwrap();

    assert_eq!((double.contacts().len(), double.sent()[0].conversation), (1, open));
}

#[tokio::test]
async fn similar_numbers_are_other_people() {
    let (double, channel) = double(Inbox::Api).await;
    double.add_contact(Some("+5233312345678"), None);
    double.add_contact(Some("+52333123456"), None);
    channel.send(&message("Hola")).await.unwrap();
    assert_eq!(double.contacts().len(), 3);
}

#[tokio::test]
async fn without_a_phone_the_email_is_looked_up() {
    let (double, channel) = double(Inbox::Api).await;
    let contact = double.add_contact(None, Some("ana@example.com"));
    let open = double.add_conversation(contact, Inbox::Api);
    let mut hello = message("Hola");
    hello.recipient.phone = None;
    channel.send(&hello).await.unwrap();
    assert_eq!(double.sent()[0].conversation, open);
}

#[tokio::test]
async fn who_loses_the_race_to_create_a_person_finds_the_winners() {
    let (double, channel) = double(Inbox::Api).await;
    double.race_on_create();

    channel.send(&message("Hola")).await.unwrap();

    assert_eq!((double.contacts().len(), double.sent().len()), (1, 1));
    assert_eq!(double.contacts()[0]["name"], "Somebody else's");
}

#[tokio::test]
async fn an_identifier_taken_by_another_number_does_not_redirect_the_message() {
    let (double, channel) = double(Inbox::Api).await;
    let mut elsewhere = message("uno");
    elsewhere.recipient.phone = Some("+523339999999".into());
    channel.send(&elsewhere).await.unwrap();

    channel.send(&message("dos")).await.unwrap();

    let contacts = double.contacts();
    assert_eq!((contacts[1]["phone_number"].as_str(), contacts[1]["identifier"].as_str()), (Some(ANA), None));
    assert_ne!(double.sent()[0].conversation, double.sent()[1].conversation);
}

#[tokio::test]
async fn a_remembered_conversation_that_is_gone_is_looked_up_again_in_the_same_attempt() {
    let (double, channel) = double(Inbox::Api).await;
    let first = channel.send(&message("uno")).await.unwrap();
    double.delete_contact(double.contacts()[0]["id"].as_u64().unwrap());
    let merged = double.add_contact(Some(ANA), None);
    let open = double.add_conversation(merged, Inbox::Api);

    let second = channel.send(&after(&first, "dos")).await.unwrap();

    assert_eq!(double.sent().last().unwrap().conversation, open);
    assert_eq!(second.remember.unwrap()["conversationId"], open);
}

#[tokio::test]
async fn what_vanishes_while_sending_is_tried_again_later() {
    let (double, channel) = double(Inbox::Api).await;
    channel.send(&message("uno")).await.unwrap();
    double.fail_next("createMessage", Fault::error(404, "Resource could not be found"));

    let error = channel.send(&message("dos")).await.unwrap_err();

    assert_eq!((error.failure, error.reason.as_ref()), (Failure::NotSent, "conversation_gone"));
    assert_eq!(error.remember, Some(json!(null)));
}

#[tokio::test]
async fn memories_of_another_server_or_inbox_are_not_trusted() {
    let (old, channel) = double(Inbox::Api).await;
    let first = channel.send(&message("uno")).await.unwrap();
    drop(old);
    let (new, channel) = double(Inbox::Api).await;
    let stranger = new.add_contact(Some("+34600123456"), None);
    for _ in 0..3 {
        new.add_conversation(stranger, Inbox::Api);
    }

    channel.send(&after(&first, "dos")).await.unwrap();

    let hers = new.contacts().into_iter().find(|c| c["phone_number"] == ANA).unwrap();
    assert_eq!(new.count("createMessage"), 0);
    assert_eq!(hers["contact_inboxes"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn memory_of_any_other_shape_is_ignored() {
    let (double, channel) = double(Inbox::Api).await;
    for memory in [json!(null), json!("x"), json!({"conversationId": 1}), json!([1])] {
        let mut hello = message("Hola");
        hello.memory = Some(memory);
        channel.send(&hello).await.unwrap();
    }
    assert_eq!(double.sent().len(), 4);
}

#[tokio::test]
async fn requests_go_below_the_path_of_the_base_url() {
    let (double, _) = double(Inbox::Api).await;
    let mut settings = double.settings(Inbox::Api);
    settings.0.insert("baseUrl".into(), format!("{}/soporte/", double.url()).into());

    open(&settings).send(&message("Hola")).await.unwrap();

    let requests = double.requests();
    assert!(requests.iter().all(|r| r.path.starts_with("/soporte/api/v1/accounts/1/")), "{requests:?}");
}

#[tokio::test]
async fn a_rubbish_answer_to_an_accepted_message_is_noted() {
    let (double, channel) = double(Inbox::Api).await;
    let first = channel.send(&message("uno")).await.unwrap();
    let rubbish = [
        Fault::Text(200, "text/html", "<html>"),
        Fault::Text(200, "application/json", ""),
        Fault::Json(200, json!({})),
        Fault::Json(200, json!({"id": "nine"})),
        Fault::Json(200, json!([null])),
    ];
    for fault in rubbish {
        double.fail_next("createMessage", fault.clone());
        let receipt = channel.send(&after(&first, "dos")).await.unwrap();
        assert_eq!((receipt.message_id, receipt.note.is_some()), (None, true), "{fault:?}");
        double.fail_next("createConversation", fault);
        double.delete_contact(double.contacts()[0]["id"].as_u64().unwrap());
        let receipt = channel.send(&message("tres")).await.unwrap();
        assert_eq!((receipt.message_id, receipt.note.is_some()), (None, true));
    }
}

#[tokio::test]
async fn a_list_of_conversations_longer_than_the_client_reads_still_serves() {
    let (double, channel) = double(Inbox::Api).await;
    let contact = double.add_contact(Some(ANA), None);
    for _ in 0..20 {
        let conversation = double.add_conversation(contact, Inbox::Api);
        double.receive(conversation, &"largo ".repeat(1000));
    }
    let newest = *double.conversations().last().unwrap();
    channel.send(&message("Hola")).await.unwrap();
    assert_eq!(double.sent()[0].conversation, newest);
}
