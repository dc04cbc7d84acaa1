//! Scripts that decide: written in versions, tried in the playground, run over a tenant's people.

mod check;
mod counting;
mod examples;
mod playground;
mod writing;

use serde_json::{Value, json};

use crate::support::hostile::{script, segment};
use crate::support::{Answer, Shop, TestApp};

async fn write(shop: &Shop, name: &str, body: &Value) -> Value {
    let answer = shop.put(&format!("/v1/scripts/{name}"), body).await;
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
    answer.json()
}

async fn count(shop: &Shop, name: &str) -> Value {
    shop.get(&format!("/v1/segments/{name}/count")).await.expect(200)
}

async fn try_out(shop: &Shop, body: &Value) -> Answer {
    shop.post("/v1/scripts/test", body).await
}

/// A file of people, taken in as an app would.
async fn import(shop: &Shop, what: &str, lines: impl Iterator<Item = Value>) {
    let file: Vec<String> = lines.map(|line| line.to_string()).collect();
    let path = format!("/v1/{what}/import");
    let call = shop.call(axum::http::Method::POST, &path).header("content-type", "application/x-ndjson");
    let report = call.body(file.join("\n")).await.expect(200);
    assert_eq!(report["refused"], 0, "{report}");
}
