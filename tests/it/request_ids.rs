//! Every answer says in `x-request-id` what it is called in the logs.

use std::collections::HashSet;

use axum::http::Method;
use serde_json::json;
use uuid::Uuid;

use crate::support::{Answer, TestApp, hello};

fn id_of(answer: &Answer) -> String {
    let all: Vec<_> = answer.headers.get_all("x-request-id").iter().collect();
    assert_eq!(all.len(), 1, "{}: {all:?}", answer.what);
    all[0].to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_has_a_fresh_one() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    let mut seen = HashSet::new();
    for (status, answer) in [
        (200, app.nobody().get("/healthz").await),
        (200, app.nobody().get("/metrics").await),
        (200, app.nobody().get("/openapi.json").await),
        (200, app.nobody().get("/docs/").await),
        (200, shop.get("/v1/notifications").await),
        (202, shop.post("/v1/notify", &hello()).await),
        (204, shop.delete("/v1/channels/sms").await),
        (400, shop.call(Method::POST, "/v1/notify").header("content-type", "application/json").body("{").await),
        (401, app.nobody().get("/v1/notifications").await),
        (401, app.nobody().post("/v1/notify", &hello()).await),
        (403, shop.get("/v1/tenants").await),
        (404, shop.get("/v1/notifications/01930000-0000-7000-8000-000000000000").await),
        (404, app.nobody().get("/no/such/thing").await),
        (405, shop.delete("/v1/notify").await),
        (422, shop.post("/v1/notify", &json!({"type": "note"})).await),
    ] {
        assert_eq!(answer.status, status, "{}: {}", answer.what, answer.text());
        if status >= 400 {
            assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{}", answer.what);
        }
        let id = id_of(&answer);
        assert!(id.parse::<Uuid>().is_ok_and(|id| id.get_version_num() == 7), "{}: {id}", answer.what);
        assert!(seen.insert(id), "{} has another's", answer.what);
    }
    app.deliver_due().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_the_app_sends_is_kept_unless_it_could_spoil_a_log() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    let long = "x".repeat(128);
    for sent in ["order-7/retry:2", "7", &long] {
        for (status, path) in [(200, "/v1/notifications"), (404, "/v1/notifications/unknown"), (404, "/nowhere")] {
            let answer = shop.get(path).header("x-request-id", sent).await;
            assert_eq!((answer.status, id_of(&answer).as_str()), (status, sent), "{path}");
        }
        let refused = app.nobody().get("/v1/notifications").header("x-request-id", sent).await;
        refused.is_problem(401, "unauthorized");
        assert_eq!(id_of(&refused), sent);
    }
    let longer = "x".repeat(129);
    for sent in ["", "two words", "tab\there", "ñ", &longer] {
        let answer = shop.get("/v1/notifications").header("x-request-id", sent).await;
        assert_eq!(answer.status, 200);
        let id = id_of(&answer);
        assert!(id != sent && id.parse::<Uuid>().is_ok(), "{sent:?} became {id}");
    }
}
