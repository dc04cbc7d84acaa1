//! Attempts of which nobody knows whether they were taken, and how the server's own list settles it.
#![allow(clippy::disallowed_methods, reason = "attempts happen in real time")]

use std::time::{Duration, SystemTime};

use plugin_api::{Failure, Lookup, SendError};
use plugin_chatwoot::double::{Double, Fault, Inbox};

use crate::support::*;

fn found(double: &Double) -> Lookup {
    Lookup::Found { message_id: double.sent().last().map(|m| m.id.to_string()) }
}

fn is_unknown(error: &SendError) {
    assert_eq!(error.failure, Failure::Unknown, "{error:?}");
}

#[tokio::test]
async fn a_message_stored_before_a_500_is_found() {
    let (double, channel) = double(Inbox::Api).await;
    let since = SystemTime::now();

    double.fail_next("createConversation", Fault::StoreThen(500));
    let error = channel.send(&message("uno")).await.unwrap_err();
    is_unknown(&error);
    assert_eq!(channel.lookup(&after_error(&error, "uno"), since).await, found(&double));

    double.fail_next("createMessage", Fault::StoreThen(502));
    let error = channel.send(&message("dos")).await.unwrap_err();
    is_unknown(&error);
    assert_eq!(channel.lookup(&after_error(&error, "dos"), since).await, found(&double));
}

#[tokio::test]
async fn a_message_lost_before_a_500_is_not_found() {
    let (double, channel) = double(Inbox::Api).await;
    let since = SystemTime::now();
    for operation in ["createConversation", "createMessage"] {
        double.fail_next(operation, Fault::page(500));
        let error = channel.send(&message("uno")).await.unwrap_err();
        is_unknown(&error);
        assert_eq!(channel.lookup(&after_error(&error, "uno"), since).await, Lookup::NotFound, "{operation}");
        channel.send(&message("otro")).await.unwrap();
    }
}

#[tokio::test]
async fn silence_after_the_message_was_stored_is_found() {
    let (double, _) = double(Inbox::Api).await;
    let channel = open_impatient(&double.settings(Inbox::Api));
    let since = SystemTime::now();
    double.fail_next("createConversation", Fault::StoreThenSilence);
    let error = channel.send(&message("uno")).await.unwrap_err();
    is_unknown(&error);
    assert_eq!(channel.lookup(&after_error(&error, "uno"), since).await, found(&double));
}

#[tokio::test]
async fn without_memory_the_person_is_looked_up() {
    let (double, channel) = double(Inbox::Api).await;
    let since = SystemTime::now();
    assert_eq!(channel.lookup(&message("uno"), since).await, Lookup::NotFound, "there is not even a contact");
    channel.send(&message("uno")).await.unwrap();
    assert_eq!(channel.lookup(&message("uno"), since).await, found(&double));
    assert_eq!(channel.lookup(&message("dos"), since).await, Lookup::NotFound);
}

#[tokio::test]
async fn an_older_message_with_the_same_text_does_not_count() {
    let (double, channel) = double(Inbox::Api).await;
    let receipt = channel.send(&message("Recordatorio")).await.unwrap();
    let later = SystemTime::now() + Duration::from_secs(10);
    assert_eq!(channel.lookup(&after(&receipt, "Recordatorio"), later).await, Lookup::NotFound);
    drop(double);
}

#[tokio::test]
async fn the_same_text_from_the_person_does_not_count() {
    let (double, channel) = double(Inbox::Api).await;
    let receipt = channel.send(&message("hola")).await.unwrap();
    double.receive(double.conversations()[0], "sí");
    assert_eq!(channel.lookup(&after(&receipt, "sí"), SystemTime::now()).await, Lookup::NotFound);
}

#[tokio::test]
async fn a_server_whose_clock_is_wrong_is_understood() {
    let (double, channel) = double(Inbox::Api).await;
    for ahead in [-3600, 3600] {
        double.set_clock_ahead(ahead);
        let text = format!("{ahead}");
        let since = SystemTime::now();
        let receipt = channel.send(&message(&text)).await.unwrap();
        assert_eq!(channel.lookup(&after(&receipt, &text), since).await, found(&double));
        let later = since + Duration::from_secs(10);
        assert_eq!(channel.lookup(&after(&receipt, &text), later).await, Lookup::NotFound);
    }
}

#[tokio::test]
async fn a_message_behind_many_later_ones_is_found() {
    let (double, channel) = double(Inbox::Api).await;
    let since = SystemTime::now();
    let receipt = channel.send(&message("uno")).await.unwrap();
    let expected = found(&double);
    for _ in 0..45 {
        double.receive(double.conversations()[0], "¿y?");
    }
    assert_eq!(channel.lookup(&after(&receipt, "uno"), since).await, expected);
    assert_eq!(double.count("listMessages"), 3);
}

#[tokio::test]
async fn numbered_choices_are_recognised() {
    let (double, channel) = double(Inbox::Sms).await;
    let since = SystemTime::now();
    let mut ask = message("¿Confirmas?");
    ask.actions = buttons();
    ask.memory = channel.send(&ask).await.unwrap().remember;
    assert_eq!(channel.lookup(&ask, since).await, found(&double));
}

#[tokio::test]
async fn a_failed_look_up_leaves_it_undecided() {
    let (double, channel) = double(Inbox::Api).await;
    let receipt = channel.send(&message("uno")).await.unwrap();
    for fault in [Fault::page(500), Fault::throttled(), Fault::Text(200, "text/html", "<html>")] {
        double.fail_next("listMessages", fault);
        assert_eq!(channel.lookup(&after(&receipt, "uno"), SystemTime::now()).await, Lookup::Undecided);
    }
}

#[tokio::test]
async fn a_list_cut_by_its_length_is_not_taken_for_an_absence() {
    let (double, channel) = double(Inbox::Api).await;
    let receipt = channel.send(&message("uno")).await.unwrap();
    double.receive(double.conversations()[0], &"x".repeat(100_000));
    let later = SystemTime::now() + Duration::from_secs(10);
    assert_eq!(channel.lookup(&after(&receipt, "dos"), later).await, Lookup::Undecided);
}
