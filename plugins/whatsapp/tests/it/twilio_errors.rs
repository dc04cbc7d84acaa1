//! Every row of Twilio's tables of errors that concerns WhatsApp.

use std::time::Duration;

use plugin_api::Failure::{Rejected, Throttled, Unknown};
use plugin_api::conformance::Reply;
use plugin_api::{Failure, Hint, State};
use plugin_whatsapp::double::TwilioDouble;
use serde_json::json;

use crate::support::*;

const MISCONFIGURED: Option<Hint> = Some(Hint::Misconfigured);
const SUPPRESS: Option<Hint> = Some(Hint::SuppressAddress);

/// As Twilio's auth tokens look.
const LIKE_A_TOKEN: &str = "fedcba9876543210fedcba9876543210";

/// Code, HTTP status, failure, reason, hint and seconds to wait.
type Row = (u32, u16, Failure, &'static str, Option<Hint>, Option<u64>);

const ANSWERED: &[Row] = &[
    (20_003, 401, Rejected, "unauthorized", MISCONFIGURED, None),
    (20_404, 404, Rejected, "unknown_account", MISCONFIGURED, None),
    (20_429, 429, Throttled, "rate_limited", None, Some(1)),
    (20_500, 500, Unknown, "provider_error", None, None),
    (20_503, 503, Unknown, "provider_error", None, None),
    (21_211, 400, Rejected, "invalid_recipient", None, None),
    (21_212, 400, Rejected, "unknown_sender", MISCONFIGURED, None),
    (21_606, 400, Rejected, "unknown_sender", MISCONFIGURED, None),
    (21_601, 400, Rejected, "unknown_sender", MISCONFIGURED, None),
    (21_214, 400, Rejected, "undeliverable", None, None),
    (21_612, 400, Rejected, "undeliverable", None, None),
    (21_408, 400, Rejected, "country_not_enabled", None, None),
    (21_602, 400, Rejected, "invalid_message", None, None),
    (21_619, 400, Rejected, "invalid_message", None, None),
    (21_603, 400, Rejected, "unknown_sender", MISCONFIGURED, None),
    (21_604, 400, Rejected, "invalid_message", None, None),
    (21_608, 400, Rejected, "recipient_not_allowed", None, None),
    (21_609, 400, Rejected, "invalid_callback", MISCONFIGURED, None),
    (21_610, 400, Rejected, "opted_out", SUPPRESS, None),
    (21_611, 400, Throttled, "queue_full", None, Some(60)),
    (21_614, 400, Rejected, "undeliverable", None, None),
    (21_635, 400, Rejected, "undeliverable", None, None),
    (21_617, 400, Rejected, "too_long", None, None),
    (21_620, 400, Rejected, "media_failed", None, None),
    (21_623, 400, Rejected, "media_failed", None, None),
    (21_654, 400, Rejected, "unknown_form", None, None),
    (21_655, 400, Rejected, "unknown_form", None, None),
    (21_656, 400, Rejected, "form_values", None, None),
    (21_703, 400, Rejected, "unknown_sender", MISCONFIGURED, None),
    (21_704, 400, Rejected, "unknown_sender", MISCONFIGURED, None),
    (21_705, 400, Rejected, "unknown_sender", MISCONFIGURED, None),
    (63_007, 400, Rejected, "unknown_sender", MISCONFIGURED, None),
    (63_016, 400, Rejected, "outside_whatsapp_window", None, None),
    (63_018, 429, Throttled, "rate_limited", None, Some(60)),
    (63_038, 429, Throttled, "daily_limit", None, Some(3600)),
    // Not in the table: the status decides.
    (99_999, 400, Rejected, "refused", None, None),
    (99_999, 500, Unknown, "provider_error", None, None),
    (99_999, 429, Throttled, "rate_limited", None, None),
];

const REPORTED: &[(u32, &str, Option<Hint>)] = &[
    (30_001, "queue_full", None),
    (30_002, "account_suspended", MISCONFIGURED),
    (30_003, "unreachable", None),
    (30_004, "blocked", None),
    (30_005, "undeliverable", None),
    (30_006, "undeliverable", None),
    (30_007, "filtered", None),
    (30_008, "undeliverable", None),
    (30_034, "unknown_sender", MISCONFIGURED),
    (30_410, "provider_error", None),
    (63_003, "undeliverable", None),
    (63_014, "blocked", None),
    (63_015, "recipient_not_allowed", None),
    (63_016, "outside_whatsapp_window", None),
    (63_018, "rate_limited", None),
    (63_019, "media_failed", None),
    (63_024, "invalid_recipient", None),
    (63_027, "unknown_form", None),
    (63_028, "form_values", None),
    (63_032, "experiment", None),
    (63_033, "blocked", None),
    (63_038, "daily_limit", None),
    (63_049, "marketing_limited", None),
    (63_051, "account_locked", MISCONFIGURED),
    (21_610, "opted_out", SUPPRESS),
    (99_999, "refused", None),
];

#[tokio::test]
async fn every_row_is_answered_as_the_table_says() {
    let (double, channel) = twilio_open().await;
    for &(code, http, failure, reason, hint, after) in ANSWERED {
        let text = format!("made up for {ANA} and {LIKE_A_TOKEN}");
        double.answer_next(TwilioDouble::error(http, code, &text));
        let e = channel.send(&message("Hola")).await.unwrap_err();
        let what = format!("{code} with {http}: {e:?}");
        assert_eq!((e.failure, e.reason.as_ref(), e.hint), (failure, reason, hint), "{what}");
        assert_eq!((e.retry_after, e.http_status), (after.map(Duration::from_secs), Some(http)), "{what}");
        assert!(e.detail.contains(&code.to_string()), "{what}");
        assert!(!what.contains(LIKE_A_TOKEN) && !what.contains(ANA), "{what}");
    }
    assert_eq!(double.http.calls(), ANSWERED.len());
}

#[tokio::test]
async fn every_row_fails_a_status_as_the_table_says() {
    let (double, channel) = twilio_open().await;
    let sid = channel.send(&message("Hola")).await.unwrap().message_id.unwrap();
    double.pending();
    for &(code, reason, hint) in REPORTED {
        double.fails(&sid, code);
        let events = heard(&channel, &double.pending()[0]).await;
        let State::Failed { reason: told, hint: given, detail } = &status(&events).state else { panic!("{code}") };
        assert_eq!((told.as_ref(), *given), (reason, hint), "{code}");
        assert!(detail.contains(&code.to_string()));
    }
}

#[tokio::test]
async fn a_retry_after_raises_the_floor() {
    let (double, channel) = twilio_open().await;
    for (asked, waits) in [("120", 120), ("5", 60)] {
        double.answer_next(TwilioDouble::error(429, 21_611, "").header("retry-after", asked));
        let error = channel.send(&message("Hola")).await.unwrap_err();
        assert_eq!(error.retry_after, Some(Duration::from_secs(waits)));
    }
}

#[tokio::test]
async fn an_error_without_code_goes_by_its_status() {
    let (double, channel) = twilio_open().await;
    for (reply, failure) in [
        (Reply::json(400, &json!({"message": "m", "status": 400})), Rejected),
        (Reply::new(502, "<html>"), Unknown),
        (Reply::new(429, ""), Throttled),
    ] {
        double.answer_next(reply);
        assert_eq!(channel.send(&message("Hola")).await.unwrap_err().failure, failure);
    }
}

#[tokio::test]
async fn an_answer_without_id_is_accepted_and_flagged() {
    let (double, channel) = twilio_open().await;
    double.answer_next(Reply::json(201, &json!({"status": "queued"})));
    let receipt = channel.send(&message("Hola")).await.unwrap();
    assert!(receipt.message_id.is_none() && receipt.note.is_some());
}

#[tokio::test]
async fn what_is_wrong_is_refused_by_twilio_itself() {
    let (double, channel) = twilio_open().await;
    let settings = || TwilioDouble::settings(double.http.address());
    let from = open_twilio(&with(settings(), "from", json!("+12025550123")));
    assert_eq!(from.send(&message("Hola")).await.unwrap_err().reason, "unknown_sender");
    let sid = open_twilio(&with(settings(), "accountSid", json!("ACffffffffffffffffffffffffffffffff")));
    assert_eq!(sid.send(&message("Hola")).await.unwrap_err().reason, "unauthorized");
    let form = plugin_api::ApprovedForm { name: CONTENT.into(), ..form() };
    assert_eq!(channel.send(&outside(Some(form.clone()))).await.unwrap_err().reason, "unknown_form");
    double.add_content(CONTENT, &["1"]);
    assert_eq!(channel.send(&outside(Some(form))).await.unwrap_err().reason, "form_values");
    assert!(double.messages().is_empty());
}
