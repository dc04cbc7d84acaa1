//! What `check` finds out.

use plugin_api::conformance::HttpDouble;
use plugin_api::conformance::Reply;
use plugin_whatsapp::double::MetaDouble;
use serde_json::{Value, json};

use crate::support::*;

#[tokio::test]
async fn a_good_account_is_named_and_nothing_is_sent() {
    let (double, channel) = meta().await;
    let said = channel.check().await.unwrap();
    assert_eq!(said, "+52 33 3000 0000 can write as Salon Uno");
    assert_eq!(double.http.calls(), 0);
}

#[tokio::test]
async fn each_wrong_setting_is_told_from_the_others() {
    let (double, _) = meta().await;
    for (name, value, word) in [
        ("accessToken", json!("another"), "access token"),
        ("phoneNumberId", json!("1"), "phoneNumberId"),
        ("wabaId", json!("1"), "wabaId"),
    ] {
        let settings = with(MetaDouble::settings(double.http.address()), name, value);
        let said = open_meta(&settings).check().await.unwrap_err();
        assert!(said.contains(word) && !said.contains("another"), "{said}");
    }
}

#[tokio::test]
async fn what_is_not_set_up_for_hearing_is_said() {
    let (double, _) = meta().await;
    for name in ["appSecret", "verifyToken"] {
        let settings = with(MetaDouble::settings(double.http.address()), name, Value::Null);
        let said = open_meta(&settings).check().await.unwrap();
        assert!(said.contains("not heard until appSecret and verifyToken are set"), "{said}");
    }
}

/// A server that knows the number, and answers the question for the business account's numbers so.
async fn with_numbers(numbers: Reply) -> Result<String, String> {
    let number = json!({"id": MetaDouble::PHONE_NUMBER_ID, "quality_rating": "RED"});
    let double = HttpDouble::with(
        |_| false,
        move |_, seen| {
            let asks_for_all = seen.path.contains("/phone_numbers");
            Some(if asks_for_all { numbers.clone() } else { Reply::json(200, &number) })
        },
    );
    open_meta(&MetaDouble::settings(double.await.address())).check().await
}

#[tokio::test]
async fn a_number_of_another_business_account_is_found_out() {
    let said = with_numbers(Reply::json(200, &json!({"data": [{"id": "1"}]}))).await.unwrap_err();
    assert!(said.contains("not of the business account"), "{said}");
}

#[tokio::test]
async fn a_token_that_may_only_send_passes() {
    for reply in [
        MetaDouble::error(403, 200, ""),
        Reply::json(200, &json!({"data": [{"id": "1"}], "paging": {"next": "https://graph.example"}})),
        Reply::new(200, "<html>"),
    ] {
        let said = with_numbers(reply).await.unwrap();
        assert!(said.contains("could not be"), "{said}");
        assert!(said.contains("quality is not good"), "{said}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_metas_is_found_out() {
    let double = HttpDouble::with(|_| false, |_, _| Some(Reply::new(200, "<html>"))).await;
    let said = open_meta(&MetaDouble::settings(double.address())).check().await.unwrap_err();
    assert!(said.contains("baseUrl"), "{said}");
}
