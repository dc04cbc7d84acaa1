//! Every row of Meta's table of errors, as an answer and as a failed status.

use std::time::Duration;

use plugin_api::Failure::{Rejected, Throttled, Unknown};
use plugin_api::conformance::{Behaviour, Reply};
use plugin_api::{Failure, Hint, Message, SendError, State};
use plugin_whatsapp::double::MetaDouble;
use serde_json::{Value, json};

use crate::support::*;

struct Row {
    code: i64,
    status: u16,
    failure: Failure,
    reason: &'static str,
    hint: Option<Hint>,
    /// Seconds.
    after: Option<u64>,
}

const fn row(code: i64, status: u16, failure: Failure, reason: &'static str) -> Row {
    Row { code, status, failure, reason, hint: None, after: None }
}

const fn account(code: i64, status: u16, reason: &'static str) -> Row {
    Row { hint: Some(Hint::Misconfigured), ..row(code, status, Rejected, reason) }
}

const fn later(code: i64, status: u16, reason: &'static str, after: u64) -> Row {
    Row { after: Some(after), ..row(code, status, Throttled, reason) }
}

const fn later_for_one(code: i64, status: u16, reason: &'static str, after: u64) -> Row {
    Row { hint: Some(Hint::OnlyThisRecipient), ..later(code, status, reason, after) }
}

const TABLE: &[Row] = &[
    account(0, 401, "invalid_token"),
    account(190, 401, "invalid_token"),
    account(104, 401, "invalid_token"),
    account(104, 400, "invalid_token"),
    account(3, 500, "not_permitted"),
    account(10, 403, "not_permitted"),
    account(200, 403, "not_permitted"),
    account(299, 403, "not_permitted"),
    account(33, 400, "unknown_sender"),
    row(100, 400, Rejected, "invalid_parameter"),
    row(1, 500, Unknown, "provider_error"),
    row(1, 400, Unknown, "provider_error"),
    row(2, 503, Unknown, "provider_error"),
    row(131_000, 500, Unknown, "provider_error"),
    row(131_016, 500, Unknown, "provider_error"),
    later(4, 429, "app_rate_limited", 60),
    later(80_007, 400, "account_rate_limited", 60),
    later(80_007, 429, "account_rate_limited", 60),
    later(130_429, 429, "rate_limited", 2),
    later_for_one(131_056, 400, "pair_rate_limited", 6),
    later_for_one(131_056, 429, "pair_rate_limited", 6),
    account(131_048, 400, "spam_restricted"),
    account(131_048, 429, "spam_restricted"),
    row(130_472, 400, Rejected, "experiment"),
    row(131_008, 400, Rejected, "missing_parameter"),
    row(131_009, 400, Rejected, "invalid_value"),
    row(131_021, 400, Rejected, "same_number"),
    row(131_026, 400, Rejected, "undeliverable"),
    row(131_030, 400, Rejected, "recipient_not_allowed"),
    account(131_031, 403, "account_locked"),
    account(368, 403, "account_locked"),
    account(131_042, 400, "payment_problem"),
    row(131_047, 400, Rejected, "outside_whatsapp_window"),
    later_for_one(131_049, 400, "marketing_limited", 24 * 3600),
    row(131_050, 400, Rejected, "opted_out"),
    row(131_051, 400, Rejected, "unsupported_type"),
    row(131_052, 400, Rejected, "media_failed"),
    row(131_053, 400, Rejected, "media_failed"),
    row(132_000, 400, Rejected, "form_values"),
    row(132_001, 404, Rejected, "unknown_form"),
    row(132_005, 400, Rejected, "form_too_long"),
    row(132_007, 400, Rejected, "form_policy"),
    row(132_012, 400, Rejected, "form_values"),
    row(132_015, 400, Rejected, "form_paused"),
    row(132_016, 400, Rejected, "form_disabled"),
    account(133_010, 400, "number_not_registered"),
    // Not in the table: the status decides.
    row(999_999, 400, Rejected, "refused"),
    row(999_999, 500, Unknown, "provider_error"),
    row(999_999, 429, Throttled, "rate_limited"),
    account(999_999, 403, "unauthorized"),
];

async fn answered(reply: Reply) -> SendError {
    let (double, channel) = meta_open().await;
    double.answer_next(reply);
    let error = channel.send(&message("Hola")).await.unwrap_err();
    assert_eq!(double.http.calls(), 1);
    error
}

#[tokio::test]
async fn every_row_is_answered_as_the_table_says() {
    for row in TABLE {
        let details = format!("made up for {ANA} and {}", MetaDouble::TOKEN);
        let e = answered(MetaDouble::error(row.status, row.code, &details)).await;
        let what = format!("{} with {}: {e:?}", row.code, row.status);
        assert_eq!((e.failure, e.reason.as_ref(), e.hint), (row.failure, row.reason, row.hint), "{what}");
        assert_eq!(e.retry_after, row.after.map(Duration::from_secs), "{what}");
        assert_eq!(e.http_status, Some(row.status), "{what}");
        assert!(e.detail.contains(&row.code.to_string()), "{what}");
        assert!(!what.contains(MetaDouble::TOKEN) && !what.contains(ANA), "{what}");
    }
}

#[tokio::test]
async fn every_row_fails_a_status_for_the_same_reason() {
    let (double, channel) = meta_open().await;
    let id = channel.send(&message("Hola")).await.unwrap().message_id.unwrap();
    for row in TABLE.iter().filter(|row| row.code != 999_999) {
        let events = heard(&channel, &double.callback(HOOK, &[double.failure(&id, row.code)])).await;
        let failed = events.iter().find_map(|event| match event {
            plugin_api::Event::Status(status) => Some(&status.state),
            _ => None,
        });
        let Some(State::Failed { reason, hint, .. }) = failed else { panic!("{events:?}") };
        assert_eq!((reason.as_ref(), *hint), (row.reason, row.hint), "{}", row.code);
    }
}

#[tokio::test]
async fn a_failure_nobody_has_heard_of_is_one_all_the_same() {
    let (double, channel) = meta_open().await;
    let id = channel.send(&message("Hola")).await.unwrap().message_id.unwrap();
    let mut without_reason = double.status(&id, "failed");
    let unheard_of = double.failure(&id, 999_999);
    without_reason["statuses"][0]["errors"] = json!([]);
    for (value, expected) in [(unheard_of, "refused"), (without_reason, "undeliverable")] {
        let events = heard(&channel, &double.callback(HOOK, &[value])).await;
        assert!(matches!(&status(&events).state, State::Failed { reason, .. } if reason == expected));
    }
}

#[tokio::test]
async fn an_unknown_number_or_an_expired_token_is_named() {
    let with_subcode = |code: i64, subcode: i64| {
        Reply::json(400, &json!({"error": {"message": "m", "type": "t", "code": code, "error_subcode": subcode}}))
    };
    let unknown = answered(with_subcode(100, 33)).await;
    assert_eq!((unknown.reason.as_ref(), unknown.hint), ("unknown_sender", Some(Hint::Misconfigured)));
    let expired = answered(with_subcode(190, 463)).await;
    assert!(expired.reason == "invalid_token" && expired.detail.contains("expired"));
}

#[tokio::test]
async fn metas_own_words_are_kept_where_they_name_the_fault() {
    let details = "body: number of localizable_params (1) does not match the expected number of params (2)";
    let e = answered(MetaDouble::error(400, 132_000, details)).await;
    assert!(e.detail.contains("expected number of params"), "{e}");
}

#[tokio::test]
async fn a_usage_header_says_how_long_to_wait() {
    let usage = json!({"102290129340398": [{"type": "whatsapp", "call_count": 100, "estimated_time_to_regain_access": 7},
        {"type": "other", "estimated_time_to_regain_access": 19}]});
    for (code, header) in [(4, "x-app-usage"), (80_007, "x-business-use-case-usage")] {
        let e = answered(MetaDouble::error(400, code, "").header(header, usage.to_string())).await;
        assert_eq!(e.retry_after, Some(Duration::from_mins(19)));
    }
    let absurd = json!({"estimated_time_to_regain_access": 99_999_999}).to_string();
    let e = answered(MetaDouble::error(429, 4, "").header("x-app-usage", absurd)).await;
    assert_eq!(e.retry_after, Some(Duration::from_hours(24)));
    let e = answered(MetaDouble::error(429, 4, "").header("x-app-usage", "{")).await;
    assert_eq!(e.retry_after, Some(Duration::from_mins(1)));
}

#[tokio::test]
async fn a_retry_after_raises_the_floor_and_never_lowers_it() {
    for (asked, waits) in [("120", 120), ("1", 6), ("soon", 6)] {
        let e = answered(MetaDouble::error(429, 131_056, "").header("retry-after", asked)).await;
        assert_eq!(e.retry_after, Some(Duration::from_secs(waits)));
    }
    let e = answered(MetaDouble::error(503, 2, "").header("retry-after", "30")).await;
    assert_eq!((e.failure, e.retry_after), (Throttled, Some(Duration::from_secs(30))));
}

#[tokio::test]
async fn the_pair_limit_asks_for_more_patience_each_time() {
    let (double, channel) = meta_open().await;
    for (attempt, seconds) in [(1, 6), (2, 24), (3, 96), (4, 270), (9, 270)] {
        double.answer_next(MetaDouble::error(400, 131_056, ""));
        let error = channel.send(&Message { attempt, ..message("Hola") }).await.unwrap_err();
        assert_eq!(error.retry_after, Some(Duration::from_secs(seconds)), "{attempt}");
    }
}

#[tokio::test]
async fn a_burst_to_one_person_ends_at_the_pair_limit_and_goes_on_after_the_wait() {
    let (double, channel) = meta_open().await;
    for _ in 0..45 {
        channel.send(&message("Hola")).await.unwrap();
    }
    let error = channel.send(&message("Hola")).await.unwrap_err();
    assert_eq!(error.reason, "pair_rate_limited");
    double.advance(error.retry_after.unwrap());
    channel.send(&message("Hola")).await.unwrap();
    assert_eq!(double.sent().len(), 46);
}

#[tokio::test]
async fn an_error_in_a_good_status_is_no_acceptance() {
    assert_eq!(answered(MetaDouble::error(200, 131_026, "")).await.failure, Rejected);
    assert_eq!(answered(MetaDouble::error(200, 999_999, "")).await.failure, Unknown);
}

#[tokio::test]
async fn an_answer_without_id_is_accepted_and_flagged() {
    for body in [json!({}), json!({"messages": []}), json!({"messages": [{"id": 7}]}), Value::Null] {
        let (double, channel) = meta_open().await;
        double.answer_next(Reply::json(200, &body));
        let receipt = channel.send(&message("Hola")).await.unwrap();
        assert!(receipt.message_id.is_none() && receipt.note.is_some(), "{body}");
    }
}

#[tokio::test]
async fn a_page_instead_of_json_goes_by_its_status() {
    for (status, failure) in [(400, Rejected), (404, Rejected), (502, Unknown), (500, Unknown)] {
        assert_eq!(answered(Reply::new(status, "<html>")).await.failure, failure);
    }
}

#[tokio::test]
async fn a_number_without_whatsapp_is_not_suppressed() {
    let (double, channel) = meta_open().await;
    double.without_whatsapp(ANA);
    let error = channel.send(&message("Hola")).await.unwrap_err();
    // Its SMS may well arrive.
    assert_eq!((error.reason.as_ref(), error.hint), ("undeliverable", None));
}

#[tokio::test]
async fn a_wrong_token_and_a_wrong_number_are_refused_by_meta_itself() {
    let (double, _) = meta_open().await;
    let settings = || MetaDouble::settings(double.http.address());
    let token = open_meta(&with(settings(), "accessToken", json!("another")));
    assert_eq!(token.send(&message("Hola")).await.unwrap_err().reason, "invalid_token");
    let number = open_meta(&with(settings(), "phoneNumberId", json!("1")));
    assert_eq!(number.send(&message("Hola")).await.unwrap_err().reason, "unknown_sender");
    double.http.behave(Behaviour::Accept);
}
