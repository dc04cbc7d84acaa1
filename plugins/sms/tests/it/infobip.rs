//! Infobip: sending, where a 200 may carry a refusal, look-ups by our own id, and what it tells by itself.

use plugin_api::Failure::{Rejected, Throttled, Unknown};
use plugin_api::Hint::{Misconfigured, SuppressAddress};
use plugin_api::{Callback, Lookup, Received, Refused, State};
use plugin_sms::double::{Fault, Infobip};
use serde_json::json;

use crate::support::*;

const SECRETS: [&str; 2] = [Infobip::KEY, Infobip::PASSWORD];

fn found() -> Lookup {
    Lookup::Found { message_id: Some(message("").id) }
}

fn unverified(received: Result<Received, Refused>) {
    assert!(matches!(received, Err(Refused::Unverified(_))), "{received:?}");
}

#[tokio::test]
async fn a_message_goes_out_under_our_id_and_with_where_to_report() {
    let double = Infobip::start().await;
    let receipt = open("infobip", &double.settings()).send(&with_actions("¿Vienes mañana?")).await.unwrap();
    let sent = &double.sent()[0];
    assert_eq!(receipt.message_id.as_deref(), Some(&*message("").id));
    assert_eq!((receipt.http_status, receipt.note), (Some(200), None));
    assert_eq!((&*sent.to, &*sent.from), ("523331234567", "SalonUno"));
    assert_eq!(sent.text, "¿Vienes mañana?\n\n1. Confirmar\n2. Cancelar");
    let callback = sent.callback.as_deref().unwrap();
    assert!(callback.starts_with(&format!("{HOOK}?key=")) && !callback.contains(Infobip::PASSWORD));
}

#[tokio::test]
async fn reports_are_only_asked_for_where_they_can_come_and_be_verified() {
    let double = Infobip::start().await;
    let open_to = with(double.settings(), json!({"webhookPassword": null}));
    for (settings, hook) in [(double.settings(), None), (open_to.clone(), Some(HOOK))] {
        let channel = plugin_sms::plugin().open("infobip", &settings, &host(hook)).unwrap();
        channel.send(&message("Hola")).await.unwrap();
        assert_eq!(double.sent().last().unwrap().callback, None);
    }
    assert!(open("infobip", &open_to).check().await.unwrap().contains("webhookPassword"));
}

#[tokio::test]
async fn a_refusal_in_a_200_is_told_apart_by_its_status() {
    let double = Infobip::start().await;
    let channel = open("infobip", &double.settings());
    let rows: [(u32, u32, &'static str, Decision); 23] = [
        (5, 6, "REJECTED_NETWORK", (Rejected, "unroutable", None)),
        (5, 8, "REJECTED_PREFIX_MISSING", (Rejected, "unroutable", None)),
        (5, 10, "REJECTED_DND", (Rejected, "opted_out", None)),
        (5, 11, "REJECTED_SOURCE", (Rejected, "sender_not_allowed", Some(Misconfigured))),
        (5, 12, "REJECTED_NOT_ENOUGH_CREDITS", (Rejected, "no_credit", Some(Misconfigured))),
        (5, 13, "REJECTED_SENDER", (Rejected, "sender_not_allowed", Some(Misconfigured))),
        (5, 14, "REJECTED_DESTINATION", (Rejected, "blocked", None)),
        (5, 16, "REJECTED_NOT_REACHABLE", (Rejected, "unroutable", None)),
        (5, 17, "REJECTED_PREPAID_PACKAGE_EXPIRED", (Rejected, "no_credit", Some(Misconfigured))),
        (5, 18, "REJECTED_DESTINATION_NOT_REGISTERED", (Rejected, "trial_account", None)),
        (5, 19, "REJECTED_ROUTE_NOT_AVAILABLE", (Rejected, "unroutable", None)),
        (5, 20, "REJECTED_FLOODING_FILTER", (Rejected, "flooding", None)),
        (5, 21, "REJECTED_SYSTEM_ERROR", (Throttled, "provider_error", None)),
        (5, 23, "REJECTED_DUPLICATE_MESSAGE_ID", (Unknown, "duplicate_message_id", None)),
        (5, 24, "REJECTED_INVALID_UDH", (Rejected, "refused", None)),
        (5, 25, "REJECTED_MESSAGE_TOO_LONG", (Rejected, "too_long", None)),
        (5, 51, "MISSING_TO", (Rejected, "invalid_phone", Some(SuppressAddress))),
        (5, 52, "REJECTED_INVALID_DESTINATION", (Rejected, "invalid_phone", Some(SuppressAddress))),
        (5, 999, "REJECTED_SOMEHOW", (Rejected, "refused", None)),
        (2, 4, "UNDELIVERABLE_REJECTED_OPERATOR", (Rejected, "refused", None)),
        (2, 9, "UNDELIVERABLE_NOT_DELIVERED", (Rejected, "refused", None)),
        (4, 15, "EXPIRED_EXPIRED", (Rejected, "refused", None)),
        (5, 7777, "+523331234567", (Rejected, "refused", None)),
    ];
    for (group, id, name, decision) in rows {
        double.refuse_next(group, id, name);
        let error = channel.send(&message("Hola")).await.unwrap_err();
        assert_eq!(decided(&error), decision, "{name}");
        assert_eq!(error.http_status, Some(200));
        is_discreet(&error, &SECRETS);
    }
    for (group, id, name) in [(0, 0, "OK"), (1, 7, "PENDING_ENROUTE"), (3, 2, "DELIVERED_TO_OPERATOR"), (9, 1, "NEW")] {
        double.refuse_next(group, id, name);
        assert!(channel.send(&message("Hola")).await.is_ok(), "{name}");
    }
}

#[tokio::test]
async fn both_shapes_of_an_error_are_read() {
    let double = Infobip::start().await;
    let channel = open("infobip", &double.settings());
    let rows: [(u16, &str, &str, Decision); 12] = [
        (401, "E401", "", (Rejected, "unauthorized", Some(Misconfigured))),
        (403, "E403", "", (Rejected, "unauthorized", Some(Misconfigured))),
        (401, "UNAUTHORIZED", "", (Rejected, "unauthorized", Some(Misconfigured))),
        (200, "UNAUTHORIZED", "", (Rejected, "unauthorized", Some(Misconfigured))),
        (400, "E400", "messages[0].destinations[0].to", (Rejected, "invalid_phone", None)),
        (400, "BAD_REQUEST", "messages[0].sender", (Rejected, "sender_not_allowed", Some(Misconfigured))),
        (400, "E400", "messages[0].content.text", (Rejected, "invalid_text", None)),
        (400, "E400", "messages[0].options.validityPeriod", (Rejected, "invalid_request", None)),
        (200, "E400", "messages[0].destinations[0].to", (Rejected, "invalid_phone", None)),
        (429, "E429", "", (Throttled, "rate_limited", None)),
        (200, "TOO_MANY_REQUESTS", "", (Throttled, "rate_limited", None)),
        (500, "E500", "", (Unknown, "provider_error", None)),
    ];
    for (http, code, property, decision) in rows {
        for body in [Infobip::error(code, property), Infobip::older_error(code, property)] {
            double.fail_next(Fault::Answer(http, body));
            let error = channel.send(&message("Hola")).await.unwrap_err();
            assert_eq!((decided(&error), error.http_status), (decision, Some(http)), "{code} {property}");
            assert!(error.detail.starts_with(&format!("Infobip {code}: ")), "{}", error.detail);
            is_discreet(&error, &SECRETS);
        }
    }
    double.fail_next(Fault::Answer(400, json!({"what": "+523331234567"})));
    assert_eq!(channel.send(&message("Hola")).await.unwrap_err().reason, "refused");
    assert!(double.sent().is_empty());
}

#[tokio::test]
async fn an_unreadable_acceptance_is_one() {
    let double = Infobip::start().await;
    let channel = open("infobip", &double.settings());
    for odd in [json!({}), json!({"messages": []}), json!({"messages": [{"status": 1}]}), json!([1])] {
        double.fail_next(Fault::Answer(200, odd));
        let receipt = channel.send(&message("Hola")).await.unwrap();
        assert!(receipt.message_id.is_none() && receipt.note.is_some());
    }
}

#[tokio::test]
async fn check_reaches_nobody() {
    let double = Infobip::start().await;
    assert_eq!(
        open("infobip", &double.settings()).check().await.unwrap(),
        "the key is good; sends as \"SalonUno\", which nobody can answer"
    );
    let wrong = with(double.settings(), json!({"apiKey": "another"}));
    assert!(open("infobip", &wrong).check().await.unwrap_err().contains("API key"));
    assert!(double.sent().is_empty());
}

#[tokio::test]
async fn an_uncertain_message_is_looked_up_by_our_id() {
    let double = Infobip::start().await;
    let channel = open("infobip", &double.settings());
    let since = now();
    assert_eq!(channel.lookup(&message("Hola"), since).await, Lookup::NotFound);
    double.fail_next(Fault::TakeThen(500, json!({})));
    assert_eq!(channel.send(&message("Hola")).await.unwrap_err().failure, Unknown);
    assert_eq!(channel.lookup(&message("Hola"), since).await, found());
    double.forbid_logs();
    assert_eq!(channel.lookup(&message("Hola"), since).await, Lookup::Undecided);
}

#[tokio::test]
async fn what_the_logs_forgot_is_undecided_and_a_refusal_in_them_is_none() {
    let double = Infobip::start().await;
    let channel = open("infobip", &double.settings());
    let long_ago = now() - std::time::Duration::from_hours(48);
    assert_eq!(channel.lookup(&message("Hola"), long_ago).await, Lookup::Undecided);
    double.refuse_next(5, 21, "REJECTED_SYSTEM_ERROR");
    assert_eq!(channel.send(&message("Hola")).await.unwrap_err().failure, Throttled);
    assert_eq!(channel.lookup(&message("Hola"), now()).await, Lookup::NotFound);
}

/// A second attempt that meets its own first one is not a refusal: the message went out.
#[tokio::test]
async fn an_id_that_was_seen_before_is_looked_up() {
    let double = Infobip::start().await;
    double.refuse_duplicates();
    let channel = open("infobip", &double.settings());
    double.fail_next(Fault::TakeThen(502, json!({})));
    channel.send(&message("Hola")).await.unwrap_err();
    let again = channel.send(&message("Hola")).await.unwrap_err();
    assert_eq!((again.failure, &*again.reason), (Unknown, "duplicate_message_id"));
    assert_eq!(channel.lookup(&message("Hola"), now()).await, found());
    assert_eq!(double.sent().len(), 1);
}

/// A double, and the messages it took, in order.
async fn messages(count: usize) -> (Infobip, Vec<String>) {
    let double = Infobip::start().await;
    let channel = open("infobip", &double.settings());
    for n in 0..count {
        let mut message = message("Hola");
        message.id = format!("gw-{n}");
        channel.send(&message).await.unwrap();
    }
    let ids = double.sent().into_iter().map(|sent| sent.id).collect();
    (double, ids)
}

#[tokio::test]
async fn every_state_is_told_many_in_one_request() {
    let rows = [
        (1, 3, "PENDING_WAITING_DELIVERY", Some(State::Sent)),
        (1, 7, "PENDING_ENROUTE", Some(State::Sent)),
        (1, 26, "PENDING_ACCEPTED", None),
        (3, 2, "DELIVERED_TO_OPERATOR", Some(State::Sent)),
        (3, 5, "DELIVERED_TO_HANDSET", Some(State::Delivered)),
        (4, 29, "EXPIRED_DLR_UNKNOWN", None),
        (8, 1, "SOMETHING_NEW", None),
    ];
    let (double, ids) = messages(rows.len()).await;
    let channel = open("infobip", &double.settings());
    let results: Vec<_> = rows
        .iter()
        .zip(&ids)
        .map(|((group, id, name, _), message)| {
            (&**message, Infobip::status(*group, *id, name), Infobip::cause(0, "NO_ERROR", false))
        })
        .collect();
    let report = double.report(&results, now());
    let received = channel.receive(&report).await.unwrap();
    assert_eq!(channel.receive(&report).await.unwrap(), received, "the same again gives the same");
    let told: Vec<_> = received
        .events
        .iter()
        .map(|event| {
            let status = status(std::slice::from_ref(event));
            assert_eq!(status.reference.as_ref(), Some(&status.message_id));
            assert!(status.at.is_some());
            (status.message_id.clone(), status.state.clone())
        })
        .collect();
    let expected: Vec<_> =
        rows.into_iter().zip(ids).filter_map(|((.., state), id)| state.map(|state| (id, state))).collect();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn every_late_failure_says_whether_a_retry_can_ever_succeed() {
    let (double, ids) = messages(1).await;
    let channel = open("infobip", &double.settings());
    let rows = [
        (
            (2, 9, "UNDELIVERABLE_NOT_DELIVERED"),
            (1, "EC_UNKNOWN_SUBSCRIBER", true),
            "invalid_phone",
            Some(SuppressAddress),
        ),
        ((2, 9, "UNDELIVERABLE_NOT_DELIVERED"), (27, "EC_ABSENT_SUBSCRIBER", false), "unreachable", None),
        ((2, 4, "UNDELIVERABLE_REJECTED_OPERATOR"), (9, "EC_ILLEGAL_SUBSCRIBER", true), "undeliverable", None),
        ((4, 15, "EXPIRED_EXPIRED"), (27, "EC_ABSENT_SUBSCRIBER", false), "expired", None),
        ((5, 12, "REJECTED_NOT_ENOUGH_CREDITS"), (0, "NO_ERROR", false), "no_credit", Some(Misconfigured)),
        ((5, 10, "REJECTED_DND"), (0, "NO_ERROR", false), "opted_out", None),
        ((5, 21, "REJECTED_SYSTEM_ERROR"), (0, "NO_ERROR", false), "refused", None),
        ((5, 52, "+523331234567"), (0, "+523331234567 is wrong", true), "invalid_phone", Some(SuppressAddress)),
    ];
    for ((group, id, name), (error, error_name, permanent), reason, hint) in rows {
        let cause = Infobip::cause(error, error_name, permanent);
        let report = double.report(&[(&ids[0], Infobip::status(group, id, name), cause)], now());
        let received = channel.receive(&report).await.unwrap();
        assert_eq!(failure(&status(&received.events).state), (reason, hint), "{name} {error_name}");
    }
}

#[tokio::test]
async fn a_reply_comes_with_basic_credentials() {
    let double = Infobip::start().await;
    let channel = open("infobip", &double.settings());
    for text in ["Sí", "BAJA", "ALTO", "STOP"] {
        let callback = Infobip::inbound(HOOK, Infobip::PASSWORD, "523331234567", text, now());
        let received = channel.receive(&callback).await.unwrap();
        let inbound = inbound(&received.events);
        assert_eq!((&*inbound.from, &*inbound.text, &*inbound.id), (ANA, text, &*format!("in-{text}")));
        assert!(inbound.at.is_some());
    }
    let nobody = Infobip::inbound(HOOK, Infobip::PASSWORD, "Telcel", "Hola", now());
    assert_eq!(channel.receive(&nobody).await.unwrap().events, []);
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let (double, ids) = messages(1).await;
    let channel = open("infobip", &double.settings());
    let delivered = Infobip::status(3, 5, "DELIVERED_TO_HANDSET");
    let good = double.report(&[(&ids[0], delivered, Infobip::cause(0, "NO_ERROR", false))], now());
    assert!(channel.receive(&good).await.is_ok());
    let keyed = |key: &str| Callback { query: vec![("key".into(), key.into())], ..good.clone() };
    for callback in [
        Callback { query: vec![], ..good.clone() },
        keyed(""),
        keyed("zz"),
        keyed(&"00".repeat(32)),
        keyed(Infobip::PASSWORD),
        Infobip::inbound(HOOK, "another-password-0001", "523331234567", "Hola", now()),
        Infobip::inbound(HOOK, "", "523331234567", "Hola", now()),
    ] {
        unverified(channel.receive(&callback).await);
    }
    let deaf = open("infobip", &with(double.settings(), json!({"webhookPassword": null})));
    assert!(matches!(deaf.receive(&good).await, Err(Refused::Unsupported(_))));
}

#[tokio::test]
async fn both_passwords_hold_while_one_is_replaced() {
    let (double, ids) = messages(1).await;
    let both = format!("a-new-webhook-password {}", Infobip::PASSWORD);
    let channel = open("infobip", &with(double.settings(), json!({"webhookPassword": both})));
    let delivered = Infobip::status(3, 5, "DELIVERED_TO_HANDSET");
    let old = double.report(&[(&ids[0], delivered, Infobip::cause(0, "NO_ERROR", false))], now());
    assert!(channel.receive(&old).await.is_ok(), "reports of messages sent before");
    for password in [Infobip::PASSWORD, "a-new-webhook-password"] {
        let reply = Infobip::inbound(HOOK, password, "523331234567", "Hola", now());
        assert!(channel.receive(&reply).await.is_ok(), "{password}");
    }
    channel.send(&message("Hola")).await.unwrap();
    let (before, after) = (double.sent()[0].callback.clone(), double.sent()[1].callback.clone());
    assert!(before != after, "the new one signs");
}

#[tokio::test]
async fn verified_but_unreadable_is_malformed_and_one_bad_result_spoils_no_other() {
    let (double, ids) = messages(1).await;
    let channel = open("infobip", &double.settings());
    let delivered = Infobip::status(3, 5, "DELIVERED_TO_HANDSET");
    let good = double.report(&[(&ids[0], delivered.clone(), Infobip::cause(0, "NO_ERROR", false))], now());
    for body in ["", "not json", "[]", "{}", "{\"results\": 1}"] {
        let received = channel.receive(&Callback { body: body.into(), ..good.clone() }).await;
        assert!(matches!(received, Err(Refused::Malformed(_))), "{body}");
    }
    let mixed = json!({"results": [1, {}, {"messageId": "gw-9", "status": delivered}, {"status": {"groupId": 3}}]});
    let received = channel.receive(&Callback { body: mixed.to_string().into(), ..good }).await.unwrap();
    assert_eq!(status(&received.events).message_id, "gw-9");
}
