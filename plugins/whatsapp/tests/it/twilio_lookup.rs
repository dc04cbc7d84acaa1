//! What Twilio says about an attempt whose answer was lost.

use std::time::{Duration, SystemTime};

use plugin_api::conformance::{Behaviour, HttpDouble, Reply};
use plugin_api::{ApprovedForm, Failure, Lookup, Message};
use plugin_whatsapp::double::TwilioDouble;
use serde_json::{Value, json};

use crate::support::*;

#[tokio::test]
async fn a_message_that_was_taken_is_found() {
    let (double, channel) = twilio_open().await;
    let since = double.now();
    double.http.behave(Behaviour::CutHead);
    let sent = Message { actions: actions(&["Sí"]), ..message(" Tu cita es mañana ") };
    assert_eq!(channel.send(&sent).await.unwrap_err().failure, Failure::Unknown);
    double.http.behave(Behaviour::Accept);
    double.advance(Duration::from_mins(5));
    let sid = double.messages()[0]["sid"].as_str().unwrap().to_owned();
    assert_eq!(channel.lookup(&sent, since).await, Lookup::Found { message_id: Some(sid) });
}

#[tokio::test]
async fn a_message_that_was_not_taken_is_not_found() {
    let (double, channel) = twilio_open().await;
    channel.send(&message("Tu cita es mañana")).await.unwrap();
    double.advance(Duration::from_hours(1));
    channel.send(&message("Otra cosa")).await.unwrap();
    double.writes("+34600123456", HOOK, &[]);
    channel
        .send(&Message {
            recipient: plugin_api::Recipient { phone: Some("+34600123456".into()), ..Default::default() },
            ..message("Tu cita es mañana")
        })
        .await
        .unwrap();
    // The same words went an hour ago, and to somebody else now.
    assert_eq!(channel.lookup(&message("Tu cita es mañana"), double.now()).await, Lookup::NotFound);
}

/// A server whose clock is wrong dates its answers and its messages alike.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the real time is what the two clocks differ from")]
async fn their_clock_may_be_wrong_by_a_day() {
    const DAY: Duration = Duration::from_hours(24);
    let ours = SystemTime::now();
    for theirs in [ours - DAY, ours, ours + DAY] {
        let sent = httpdate::fmt_http_date(theirs - Duration::from_mins(5)).replace("GMT", "+0000");
        let listed = json!({"messages": [{"sid": "SM1", "body": "Hola", "direction": "outbound-api",
            "date_created": sent}]});
        let reply = Reply::json(200, &listed).header("date", httpdate::fmt_http_date(theirs));
        let double = HttpDouble::with(|_| false, move |_, _| Some(reply.clone())).await;
        let channel = open_twilio(&TwilioDouble::settings(double.address()));
        let found = channel.lookup(&message("Hola"), ours - Duration::from_mins(5)).await;
        assert!(matches!(found, Lookup::Found { .. }), "{found:?}");
        let later = channel.lookup(&message("Hola"), ours - Duration::from_mins(4)).await;
        assert_eq!(later, Lookup::NotFound);
    }
}

#[tokio::test]
async fn a_form_cannot_be_told_from_another_message() {
    let (double, channel) = twilio_open().await;
    let since = double.now();
    let form = ApprovedForm { name: CONTENT.into(), ..form() };
    let sent = outside(Some(form));
    assert_eq!(channel.lookup(&sent, since).await, Lookup::NotFound);
    channel.send(&message("Otra cosa")).await.unwrap();
    assert_eq!(channel.lookup(&sent, since).await, Lookup::Undecided);
}

#[tokio::test]
async fn too_many_messages_leave_it_open() {
    let (double, channel) = twilio_open().await;
    let since = double.now();
    channel.send(&message("la primera")).await.unwrap();
    for n in 0..50 {
        channel.send(&message(&format!("{n}"))).await.unwrap();
    }
    assert_eq!(channel.lookup(&message("la primera"), since).await, Lookup::Undecided);
    assert!(matches!(channel.lookup(&message("49"), since).await, Lookup::Found { .. }));
}

async fn answered(reply: Reply) -> Lookup {
    let server = HttpDouble::with(|_| false, move |_, _| Some(reply.clone())).await;
    let channel = open_twilio(&TwilioDouble::settings(server.address()));
    channel.lookup(&message("Hola"), SystemTime::UNIX_EPOCH).await
}

#[tokio::test]
async fn an_odd_answer_leaves_it_open() {
    let undated = json!({"messages": [{"sid": "SM1", "body": "Hola", "date_created": "yesterday"}]});
    for reply in [
        Reply::new(500, "{}"),
        Reply::new(429, ""),
        TwilioDouble::error(401, 20_003, "Authenticate"),
        Reply::new(200, "<html>"),
        Reply::json(200, &Value::Null),
        Reply::json(200, &undated),
    ] {
        assert_eq!(answered(reply).await, Lookup::Undecided);
    }
    let date = "Tue, 28 Jul 2026 15:00:00 +0000";
    let theirs = json!({"messages": [{"sid": "SM1", "body": "Hola", "direction": "inbound", "date_created": date}]});
    assert_eq!(answered(Reply::json(200, &theirs)).await, Lookup::NotFound);
}

#[tokio::test]
async fn nobody_listening_leaves_it_open() {
    let settings = TwilioDouble::settings("127.0.0.1:9".parse().unwrap());
    assert_eq!(open_twilio(&settings).lookup(&message("Hola"), SystemTime::UNIX_EPOCH).await, Lookup::Undecided);
}
