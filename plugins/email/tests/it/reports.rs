//! What comes back, at the account's hook: bounces and complaints as the large senders of them write them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use plugin_api::{Callback, Channel, Event, Hint, Received, Refused, State, Status};
use serde_json::{Value, json};

use crate::sink::Sink;
use crate::support::{message, open};

pub(crate) const SECRET: &str = "hook-secret-of-the-tests";
const ID: &str = "01930000-0000-7000-8000-000000000001";
const MESSAGE_ID: &str = "<01930000-0000-7000-8000-000000000001@example.test>";

const POSTFIX: &str = include_str!("reports/postfix.eml");
const GMAIL: &str = include_str!("reports/gmail.eml");
const EXCHANGE: &str = include_str!("reports/exchange.eml");
const COMPLAINT: &str = include_str!("reports/arf.eml");

fn account(extra: Value) -> Arc<dyn Channel> {
    let mut settings = json!({"hookSecret": SECRET});
    settings.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    open(settings)
}

pub(crate) fn callback(mail: &[u8]) -> Callback {
    let mut headers = http::HeaderMap::new();
    headers.insert("authorization", format!("Bearer {SECRET}").parse().unwrap());
    headers.insert("content-type", "message/rfc822".parse().unwrap());
    Callback {
        method: http::Method::POST,
        url: "https://recado.example/hooks/email/t0ken".into(),
        query: vec![],
        headers,
        body: mail.to_vec().into(),
        received_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_785_250_810),
    }
}

async fn received(mail: &str) -> Vec<Event> {
    account(json!({})).receive(&callback(mail.as_bytes())).await.unwrap().events
}

async fn status(mail: &str) -> Status {
    match received(mail).await.as_slice() {
        [Event::Status(status)] => status.clone(),
        other => panic!("no status but {other:?}"),
    }
}

/// Reason and hint of the one failure that a report tells.
async fn failure(mail: &str) -> (String, Option<Hint>) {
    match status(mail).await.state {
        State::Failed { reason, detail, hint } => {
            assert!(!detail.contains('@') && !detail.is_empty(), "{detail}");
            (reason.into_owned(), hint)
        }
        other => panic!("not failed but {other:?}"),
    }
}

#[tokio::test]
async fn a_hard_bounce_names_our_message_and_condemns_its_address() {
    for mail in [POSTFIX, GMAIL, EXCHANGE, &POSTFIX.replace('\n', "\r\n")] {
        let status = status(mail).await;
        assert_eq!((status.message_id.as_str(), status.reference.as_deref()), (MESSAGE_ID, Some(ID)));
        assert_eq!(status.at, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_785_250_805)));
        let State::Failed { hint, .. } = status.state else { panic!("{:?}", status.state) };
        assert_eq!(hint, Some(Hint::SuppressAddress));
    }
    assert_eq!(failure(POSTFIX).await.0, "no_such_user");
    assert_eq!(failure(EXCHANGE).await.0, "null_mx");
}

#[tokio::test]
async fn the_status_decides_and_where_it_says_nothing_the_servers_own_reply() {
    let suppress = Some(Hint::SuppressAddress);
    let told = |status: &str, said: &str| {
        let start = POSTFIX.find("Status: 5.1.1").unwrap();
        let end = start + POSTFIX[start..].find("\n\n").unwrap();
        let diagnostic = if said.is_empty() { String::new() } else { format!("\nDiagnostic-Code: {said}") };
        format!("{}{status}{diagnostic}{}", &POSTFIX[..start], &POSTFIX[end..])
    };
    for (status, said, reason, hint) in [
        ("Status: 5.1.2", "", "no_such_domain", suppress),
        ("Status: 5.2.1 (disabled)", "", "mailbox_disabled", None),
        ("Status: 5.2.2", "smtp; 552 5.2.2 over quota", "mailbox_full", None),
        ("Status: 5.7.26", "smtp; 550 5.7.26 unauthenticated", "policy_refused", None),
        ("Status: 5.3.4", "", "message_too_big", None),
        ("Status: 4.4.1", "X-Postfix; connect to mail.example.com: timed out", "delivery_expired", None),
        ("Status: 4.2.2", "smtp; 452 4.2.2 full", "delivery_expired", None),
        ("Status: 5.0.0", "smtp; 550 5.1.1 who", "no_such_user", suppress),
        ("Status: 5.0.0", "smtp; 550 who", "recipient_refused", None),
        ("Status: 5.0.0", "X-Local; unroutable", "recipient_refused", None),
        ("Status: 5.7.1", "smtp; 550 5.1.1 not what the status says", "policy_refused", None),
        ("Status: what", "smtp; 550 5.1.1 who", "no_such_user", suppress),
        ("X-Nothing: at all", "", "recipient_refused", None),
    ] {
        assert_eq!(failure(&told(status, said)).await, (reason.to_owned(), hint), "{status} {said}");
    }
}

#[tokio::test]
async fn other_actions_are_what_they_say() {
    let with = |action: &str| POSTFIX.replace("Action: failed", action);
    assert_eq!(received(&with("Action: delayed")).await, []);
    assert_eq!(received(&with("Action: pondered")).await, []);
    assert_eq!(status(&with("Action: DELIVERED")).await.state, State::Delivered);
    assert_eq!(status(&with("Action: relayed")).await.state, State::Sent);
    // The address stood for two people, and one of them got it too late.
    let twice = with("Action: delivered\nStatus: 2.0.0\n\nFinal-Recipient: rfc822; eva@example.com\nAction: failed");
    assert_eq!(failure(&twice).await.0, "no_such_user");
}

#[tokio::test]
async fn a_report_about_somebody_elses_mail_tells_nothing() {
    for mail in [
        POSTFIX.replace(MESSAGE_ID, "<1@example.org>"),
        POSTFIX.replace(MESSAGE_ID, "<@example.test>"),
        POSTFIX.replace(MESSAGE_ID, "nonsense"),
        POSTFIX.replace("Message-ID: <0193", "X-Message-ID: <0193"),
        POSTFIX.replace("multipart/report; report-type=delivery-status", "multipart/mixed"),
        "Subject: hola\n\nEstoy de vacaciones.\n".to_owned(),
        "Content-Type: multipart/report; boundary=x\n\n--x\nContent-Type: text/plain\n\nhola\n--x--\n".to_owned(),
    ] {
        assert_eq!(received(&mail).await, [], "{mail}");
    }
}

/// The envelope sender of a message as sent, and its headers.
async fn sent(extra: Value) -> (String, String) {
    let sink = Sink::plain(&[]).await;
    let mut settings = json!({"port": sink.port(), "security": "none"});
    settings.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    account(settings).send(&message(ID)).await.unwrap();
    let commands = sink.commands.lock().unwrap().clone();
    let mail = commands.iter().find_map(|(_, line)| line.strip_prefix("MAIL FROM:<")).unwrap();
    (mail.split('>').next().unwrap().to_owned(), sink.mails().remove(0))
}

#[tokio::test]
async fn a_bounce_address_marks_each_message_and_a_forged_mark_is_not_believed() {
    let bounces = json!({"bounceAddress": "bounces@back.example.test"});
    let (sender, _) = sent(bounces.clone()).await;
    let mark = sender.strip_prefix(&format!("bounces+{ID}.")).unwrap().strip_suffix("@back.example.test").unwrap();
    assert!(sender.split('@').next().unwrap().len() <= 64, "{sender}");
    let channel = account(bounces);
    let events = async |mail: &str| channel.receive(&callback(mail.as_bytes())).await.unwrap().events;
    // Nothing of the message came back, only the address it came back to.
    let bare = POSTFIX
        .replace("Message-ID: <0193", "X-Was: <0193")
        .replace("To: clinic@example.test", &format!("To: <{sender}>"));
    for mail in [bare.clone(), bare.replace(&sender, &sender.to_uppercase())] {
        let events = events(&mail).await;
        let [Event::Status(status)] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!((status.message_id.as_str(), status.reference.as_deref()), (MESSAGE_ID, Some(ID)));
    }
    // A mark of another message, or made up: no word of it counts, the Message-ID either.
    let other = format!("bounces+01930000-0000-7000-8000-000000000002.{mark}@back.example.test");
    for forged in [other, sender.replace(mark, "000000000000"), format!("bounces+{ID}.@back.example.test")] {
        assert_eq!(events(&POSTFIX.replace("To: clinic@example.test", &format!("To: {forged}"))).await, [], "{forged}");
    }
    // Mail from before there was a bounce address.
    assert_eq!(events(POSTFIX).await.len(), 1);
}

#[tokio::test]
async fn without_a_secret_the_envelope_bears_no_mark() {
    let sink = Sink::plain(&[]).await;
    let settings = json!({"port": sink.port(), "security": "none", "bounceAddress": "bounces@back.example.test"});
    let channel = open(settings);
    channel.send(&message(ID)).await.unwrap();
    assert_eq!(sink.count("MAIL FROM:<bounces@back.example.test>"), 1);
    assert!(!sink.mails()[0].contains("X-Recado-Recipient"));
    let refused = channel.receive(&callback(POSTFIX.as_bytes())).await.unwrap_err();
    assert!(matches!(&refused, Refused::Unsupported(says) if says.contains("hookSecret")), "{refused:?}");
}

#[tokio::test]
async fn a_complaint_takes_the_person_off_the_list_by_our_own_mark() {
    let (_, mail) = sent(json!({})).await;
    let proof = mail.lines().find_map(|l| l.strip_prefix("X-Recado-Recipient: ")).unwrap();
    let with = |proof: &str| COMPLAINT.replace("PROOF", proof);
    let events = received(&with(proof)).await;
    let [Event::OptOut(out)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((out.address.as_str(), &*out.reason, out.marketing_only), ("ana@example.com", "complaint", false));
    let asked = received(&with(proof).replace("Feedback-Type: abuse", "Feedback-Type: opt-out")).await;
    assert!(matches!(&asked[..], [Event::OptOut(out)] if out.marketing_only && out.reason == "unsubscribed"));
    for other in ["not-spam", "auth-failure", "virus", "other", ""] {
        let changed = with(proof).replace("Feedback-Type: abuse", &format!("Feedback-Type: {other}"));
        assert_eq!(received(&changed).await, [], "{other}");
    }
    // Anybody can write such a report about anybody.
    let eva = proof.replacen(proof.split('.').next().unwrap(), "ZXZhQGV4YW1wbGUuY29t", 1);
    for forged in [eva.as_str(), "ana@example.com", "", ".", "YQ.00", &proof[..proof.len() - 1]] {
        assert_eq!(received(&with(forged)).await, [], "{forged}");
    }
}

#[tokio::test]
async fn the_hook_wants_its_secret_and_a_mail() {
    let channel = account(json!({}));
    let with = |name: &'static str, value: Option<&str>| {
        let mut callback = callback(POSTFIX.as_bytes());
        callback.headers.remove(name);
        if let Some(value) = value {
            callback.headers.insert(name, value.parse().unwrap());
        }
        callback
    };
    for given in [None, Some("Bearer"), Some("Bearer "), Some("Bearer hook-secret-of-the-test"), Some("Basic aG9vaw==")]
    {
        let refused = channel.receive(&with("authorization", given)).await.unwrap_err();
        assert!(matches!(refused, Refused::Unverified(_)), "{given:?}: {refused:?}");
        assert!(!refused.to_string().contains("hook-secret"));
    }
    let lower = format!("bearer  {SECRET}");
    assert_eq!(channel.receive(&with("authorization", Some(&lower))).await.unwrap().events.len(), 1);
    for given in [None, Some("application/json"), Some("text/plain")] {
        let refused = channel.receive(&with("content-type", given)).await.unwrap_err();
        assert!(matches!(refused, Refused::Malformed(_)), "{given:?}: {refused:?}");
    }
    let short = crate::support::try_open(
        plugin_email::plugin().as_ref(),
        &crate::support::host(),
        json!({"hookSecret": "too short"}),
    );
    assert_eq!(short.err().unwrap().setting, "hookSecret");
    let long = json!({"bounceAddress": "notifications@example.test"});
    let long = crate::support::try_open(plugin_email::plugin().as_ref(), &crate::support::host(), long);
    assert_eq!(long.err().unwrap().setting, "bounceAddress");
}

/// Never a panic, and never more than one event.
fn harmless(outcome: Result<Received, Refused>) {
    match outcome {
        Ok(received) => assert!(received.events.len() <= 1),
        Err(refused) => assert!(matches!(refused, Refused::Malformed(_)), "{refused:?}"),
    }
}

#[tokio::test]
async fn broken_and_endless_reports_are_borne() {
    let channel = account(json!({"bounceAddress": "bounces@example.test"}));
    let take = async |mail: &[u8]| harmless(channel.receive(&callback(mail)).await);
    for whole in [POSTFIX, GMAIL, EXCHANGE, COMPLAINT] {
        for end in 0..whole.len() {
            take(&whole.as_bytes()[..end]).await;
        }
        for at in (0..whole.len()).step_by(3) {
            let mut bytes = whole.as_bytes().to_vec();
            bytes[at] = bytes[at].wrapping_add(97);
            take(&bytes).await;
        }
    }
    let nest = "Content-Type: message/rfc822\n\n".repeat(30_000);
    let report = "Content-Type: multipart/report; boundary=x\n\n--x\n".repeat(20_000);
    let related =
        "Content-Type: Multipart/mixed; boundary=x\n\n--x\nContent-Type: text/plain\n\n--x--\n".repeat(15_000);
    let fields =
        format!("{}{}", &POSTFIX[..POSTFIX.find("Final-Recipient").unwrap()], "Action: failed\n\n".repeat(60_000));
    let folded = format!("Subject: a\n{}\n\nx", " b\n".repeat(300_000));
    let headers = "A: b\n".repeat(200_000);
    let addresses = format!("To: {}\n{POSTFIX}", "bounces+a.b@example.test,".repeat(40_000));
    for bomb in [nest, report, related, fields, folded, headers, addresses, "\0".repeat(2_000_000), String::new()] {
        take(bomb.as_bytes()).await;
    }
    let refused = channel.receive(&callback("message/rfc822 ".repeat(51).as_bytes())).await.unwrap_err();
    assert!(refused.to_string().contains("more than 50 parts"), "{refused}");
}
