//! Sending through Twilio: what goes over the wire, every refusal, and how uncertain sends are settled.

use std::time::Duration;

use plugin_api::Failure::{Rejected, Throttled, Unknown};
use plugin_api::Hint::{Misconfigured, SuppressAddress};
use plugin_api::Lookup;
use plugin_sms::double::{Fault, Twilio};
use serde_json::json;

use crate::support::*;

const SECRETS: [&str; 2] = [Twilio::TOKEN, Twilio::KEY_SECRET];

fn found(double: &Twilio) -> Lookup {
    Lookup::Found { message_id: double.sent().last().map(|sent| sent.id.clone()) }
}

/// The message is taken, and nobody hears of it.
fn lost() -> Fault {
    Fault::TakeThen(500, Twilio::error(500, 20500))
}

#[tokio::test]
async fn a_message_goes_out_with_its_sender_and_where_to_report() {
    let double = Twilio::start().await;
    let receipt = open("twilio", &double.settings()).send(&with_actions("¿Vienes mañana?")).await.unwrap();
    let sent = &double.sent()[0];
    assert_eq!(receipt.message_id.as_ref(), Some(&sent.id));
    assert_eq!((receipt.http_status, receipt.note), (Some(201), None));
    assert_eq!((&*sent.to, &*sent.from), (ANA, Twilio::NUMBER));
    assert_eq!(sent.text, "¿Vienes mañana?\n\n1. Confirmar\n2. Cancelar");
    assert_eq!(sent.callback.as_deref(), Some(HOOK));
}

#[tokio::test]
async fn reports_are_only_asked_for_where_they_can_come_and_be_verified() {
    let double = Twilio::start().await;
    let key = json!({"authToken": null, "apiKeySid": Twilio::KEY, "apiKeySecret": Twilio::KEY_SECRET});
    let with_key = with(double.settings(), key);
    for (settings, hook) in [
        (double.settings(), None),
        (double.settings(), Some("https://my_gateway.example.test/hooks/sms/t-1")),
        (with_key.clone(), Some(HOOK)),
    ] {
        let channel = plugin_sms::plugin().open("twilio", &settings, &host(hook)).unwrap();
        channel.send(&message("Hola")).await.unwrap();
        assert_eq!(double.sent().last().unwrap().callback, None);
        let said = channel.check().await.unwrap();
        assert_eq!(said.contains("no reports"), hook.is_some(), "{said}");
    }
    let key_and_token = with(with_key, json!({"authToken": Twilio::TOKEN}));
    open("twilio", &key_and_token).send(&message("Hola")).await.unwrap();
    assert_eq!(double.sent().last().unwrap().callback.as_deref(), Some(HOOK));
}

#[tokio::test]
async fn names_short_codes_and_services_can_send() {
    let double = Twilio::start().await;
    for (from, wire) in [("SalonUno", "SalonUno"), ("25252", "25252"), ("1 500 555 0006", Twilio::NUMBER)] {
        let settings = with(double.settings(), json!({"from": from}));
        open("twilio", &settings).send(&message("Hola")).await.unwrap();
        assert_eq!(double.sent().last().unwrap().from, wire);
    }
    let service = with(double.settings(), json!({"from": null, "messagingServiceSid": Twilio::SERVICE}));
    open("twilio", &service).send(&message("Hola")).await.unwrap();
    let body = String::from_utf8(double.http().seen().last().unwrap().body.clone()).unwrap();
    assert!(body.contains(&format!("MessagingServiceSid={}", Twilio::SERVICE)) && !body.contains("From="));
}

#[tokio::test]
async fn every_refusal_is_told_apart_by_its_code() {
    let double = Twilio::start().await;
    let channel = open("twilio", &double.settings());
    let rows: [(u16, &[u32], Decision); 24] = [
        (401, &[20003], (Rejected, "unauthorized", Some(Misconfigured))),
        (404, &[20404], (Rejected, "not_found", Some(Misconfigured))),
        (429, &[20429], (Throttled, "rate_limited", None)),
        (500, &[20500, 20503], (Unknown, "provider_error", None)),
        (503, &[20503], (Unknown, "provider_error", None)),
        (400, &[21211], (Rejected, "invalid_phone", Some(SuppressAddress))),
        (400, &[21212, 21606, 21601], (Rejected, "sender_not_allowed", Some(Misconfigured))),
        (400, &[21214, 21612], (Rejected, "unroutable", None)),
        (400, &[21408], (Rejected, "country_not_enabled", Some(Misconfigured))),
        (400, &[21602, 21619], (Rejected, "empty_text", None)),
        (400, &[21603], (Rejected, "sender_missing", Some(Misconfigured))),
        (400, &[21604], (Rejected, "no_address", None)),
        (400, &[21608], (Rejected, "trial_account", None)),
        (400, &[21609], (Rejected, "callback_refused", Some(Misconfigured))),
        (400, &[21610], (Rejected, "opted_out", Some(SuppressAddress))),
        (400, &[21611], (Throttled, "queue_full", None)),
        (400, &[21614], (Rejected, "not_mobile", None)),
        (400, &[21635], (Rejected, "landline", None)),
        (400, &[21617], (Rejected, "too_long", None)),
        (400, &[21620, 21623], (Rejected, "invalid_media", None)),
        (400, &[21654, 21655, 21656], (Rejected, "invalid_form", None)),
        (400, &[21703, 21704, 21705], (Rejected, "service_unusable", Some(Misconfigured))),
        (400, &[63007], (Rejected, "sender_not_allowed", Some(Misconfigured))),
        (400, &[29999], (Rejected, "refused", None)),
    ];
    for (status, codes, decision) in rows {
        for code in codes {
            double.fail_next(Fault::Answer(status, Twilio::error(status, *code)));
            let error = channel.send(&message("Hola")).await.unwrap_err();
            assert_eq!((decided(&error), error.http_status), (decision, Some(status)), "{code}");
            assert!(decision.0 == Unknown || error.detail.contains(&code.to_string()), "{}", error.detail);
            is_discreet(&error, &SECRETS);
        }
    }
    assert!(double.sent().is_empty());
}

#[tokio::test]
async fn the_code_is_found_in_the_newer_shape_and_may_be_missing() {
    let double = Twilio::start().await;
    let channel = open("twilio", &double.settings());
    let problem = json!({"type": "https://www.twilio.com/docs/errors/21610", "title": "Unsubscribed", "status": 400,
        "code": 21610, "detail": "+523331234567 is unsubscribed"});
    double.fail_next(Fault::Answer(400, problem));
    assert_eq!(channel.send(&message("Hola")).await.unwrap_err().reason, "opted_out");
    double.fail_next(Fault::Answer(400, json!({"message": "+523331234567 is bad", "status": 400})));
    let error = channel.send(&message("Hola")).await.unwrap_err();
    assert_eq!((error.failure, &*error.reason), (Rejected, "refused"));
    is_discreet(&error, &SECRETS);
}

#[tokio::test]
async fn the_server_itself_refuses_what_twilio_refuses() {
    let double = Twilio::start().await;
    let channel = open("twilio", &double.settings());
    for (to, reason) in [
        ("+15005550001", "invalid_phone"),
        ("+15005550002", "unroutable"),
        ("+15005550003", "country_not_enabled"),
        ("+15005550004", "opted_out"),
        ("+15005550009", "not_mobile"),
    ] {
        assert_eq!(channel.send(&message_to(to)).await.unwrap_err().reason, reason, "{to}");
    }
    for (from, reason) in
        [("+15005550001", "sender_not_allowed"), ("+15005550007", "sender_not_allowed"), ("+15005550008", "queue_full")]
    {
        let channel = open("twilio", &with(double.settings(), json!({"from": from})));
        assert_eq!(channel.send(&message("Hola")).await.unwrap_err().reason, reason, "{from}");
    }
    let wrong = with(double.settings(), json!({"authToken": "another"}));
    assert_eq!(open("twilio", &wrong).send(&message("Hola")).await.unwrap_err().reason, "unauthorized");
    let elsewhere = with(
        double.settings(),
        json!({"accountSid": "ACffffffffffffffffffffffffffffffff",
        "apiKeySid": Twilio::KEY, "apiKeySecret": Twilio::KEY_SECRET}),
    );
    assert_eq!(open("twilio", &elsewhere).send(&message("Hola")).await.unwrap_err().reason, "not_found");
    assert!(double.sent().is_empty());
}

#[tokio::test]
async fn whoever_replied_stop_is_not_written_to_until_start() {
    let double = Twilio::start().await;
    let channel = open("twilio", &double.settings());
    channel.receive(&double.inbound(HOOK, ANA, "STOP")).await.unwrap();
    let error = channel.send(&message("Hola")).await.unwrap_err();
    assert_eq!((&*error.reason, error.hint), ("opted_out", Some(SuppressAddress)));
    channel.receive(&double.inbound(HOOK, ANA, "START")).await.unwrap();
    channel.send(&message("Hola")).await.unwrap();
}

#[tokio::test]
async fn check_says_what_state_the_account_is_in() {
    let double = Twilio::start().await;
    let channel = open("twilio", &double.settings());
    assert_eq!(channel.check().await.unwrap(), format!("the account is active; sends as {}", Twilio::NUMBER));
    double.set_account("active", "Trial");
    assert!(channel.check().await.unwrap().contains("trial"));
    for status in ["suspended", "closed"] {
        double.set_account(status, "Full");
        assert!(channel.check().await.unwrap_err().contains("suspended"));
    }
    let other = with(double.settings(), json!({"accountSid": "ACffffffffffffffffffffffffffffffff"}));
    assert!(open("twilio", &other).check().await.unwrap_err().contains("accountSid"));
    let key = json!({"authToken": null, "apiKeySid": Twilio::KEY, "apiKeySecret": Twilio::KEY_SECRET});
    let said = open("twilio", &with(double.settings(), key)).check().await.unwrap();
    assert!(said.starts_with("the API key is good"), "{said}");
    assert!(!said.contains(Twilio::TOKEN));
    assert!(double.sent().is_empty());
}

#[tokio::test]
async fn a_message_taken_before_a_500_is_found() {
    let double = Twilio::start().await;
    let channel = open("twilio", &double.settings());
    let since = now();
    double.fail_next(lost());
    assert_eq!(channel.send(&with_actions("Hola")).await.unwrap_err().failure, Unknown);
    assert_eq!(channel.lookup(&with_actions("Hola"), since).await, found(&double));
    assert_eq!(channel.lookup(&message("Hola"), since).await, Lookup::NotFound, "that is another text");
    assert_eq!(channel.lookup(&message_to("+523339999999"), since).await, Lookup::NotFound);
}

#[tokio::test]
async fn a_message_lost_before_a_500_is_not_found() {
    let double = Twilio::start().await;
    let channel = open("twilio", &double.settings());
    let since = now();
    double.fail_next(Fault::Answer(500, Twilio::error(500, 20500)));
    assert_eq!(channel.send(&message("Hola")).await.unwrap_err().failure, Unknown);
    assert_eq!(channel.lookup(&message("Hola"), since).await, Lookup::NotFound);
}

#[tokio::test]
async fn the_same_text_of_another_sender_or_an_earlier_day_does_not_count() {
    let double = Twilio::start().await;
    let channel = open("twilio", &double.settings());
    double.add_message("+15005559999", ANA, "Hola");
    assert_eq!(channel.lookup(&message("Hola"), now()).await, Lookup::NotFound);
    double.add_message(Twilio::NUMBER, ANA, "Hola");
    assert_eq!(channel.lookup(&message("Hola"), now()).await, found(&double));
    let later = now() + Duration::from_secs(10);
    assert_eq!(channel.lookup(&message("Hola"), later).await, Lookup::NotFound);
}

#[tokio::test]
async fn a_message_through_a_service_is_found_by_the_service() {
    let double = Twilio::start().await;
    let service = with(double.settings(), json!({"from": null, "messagingServiceSid": Twilio::SERVICE}));
    let channel = open("twilio", &service);
    let since = now();
    double.add_message(Twilio::NUMBER, ANA, "Hola");
    assert_eq!(channel.lookup(&message("Hola"), since).await, Lookup::NotFound);
    channel.send(&message("Hola")).await.unwrap();
    assert_eq!(channel.lookup(&message("Hola"), since).await, found(&double));
}

#[tokio::test]
async fn a_trial_account_and_a_wrong_clock_are_understood() {
    let double = Twilio::start().await;
    double.set_account("active", "Trial");
    let channel = open("twilio", &double.settings());
    for ahead in [-3600, 3600] {
        double.set_clock_ahead(ahead);
        let text = format!("Hola {ahead}");
        let since = now();
        channel.send(&message(&text)).await.unwrap();
        assert_eq!(channel.lookup(&message(&text), since).await, found(&double));
        let later = since + Duration::from_secs(10);
        assert_eq!(channel.lookup(&message(&text), later).await, Lookup::NotFound);
    }
}

#[tokio::test]
async fn a_message_behind_many_later_ones_is_found_and_pages_end() {
    let double = Twilio::start().await;
    let channel = open("twilio", &double.settings());
    let since = now();
    channel.send(&message("uno")).await.unwrap();
    let expected = found(&double);
    for n in 0..120 {
        double.add_message(Twilio::NUMBER, ANA, &format!("otro {n}"));
    }
    let before = double.http().seen().len();
    assert_eq!(channel.lookup(&message("uno"), since).await, expected);
    assert_eq!(double.http().seen().len() - before, 3);
    for n in 0..120 {
        double.add_message(Twilio::NUMBER, ANA, &"x".repeat(1000 + n));
    }
    assert_eq!(channel.lookup(&message("uno"), since).await, Lookup::Undecided, "that would be too many pages");
}

#[tokio::test]
async fn a_failed_look_up_leaves_it_undecided() {
    let double = Twilio::start().await;
    let channel = open("twilio", &double.settings());
    let since = now();
    channel.send(&message("Hola")).await.unwrap();
    double.replace_token("a-new-one");
    assert_eq!(channel.lookup(&message("Hola"), since).await, Lookup::Undecided);
    let nobody = with(double.settings(), json!({"baseUrl": "http://127.0.0.1:1"}));
    assert_eq!(open("twilio", &nobody).lookup(&message("Hola"), since).await, Lookup::Undecided);
}
