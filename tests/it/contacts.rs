//! People and their appointments, from outside.

mod appointments;
mod erasing;
mod files;
mod lives;
mod notifying;
mod people;

use serde_json::{Value, json};

use crate::support::{Answer, Shop, TestApp};

async fn put(shop: &Shop, id: &str, body: Value) -> Value {
    let answer = shop.put(&format!("/v1/contacts/{id}"), &body).await;
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
    answer.json()
}

async fn contact(shop: &Shop, id: &str) -> Value {
    shop.get(&format!("/v1/contacts/{id}")).await.expect(200)
}

async fn contacts(shop: &Shop, query: &str) -> Vec<Value> {
    shop.get(&format!("/v1/contacts?{query}")).await.expect(200)["items"].as_array().unwrap().clone()
}

async fn import(shop: &Shop, what: &str, kind: &'static str, file: impl Into<axum::body::Body>) -> Answer {
    let path = format!("/v1/{what}/import");
    shop.call(axum::http::Method::POST, &path).header("content-type", kind).body(file).await
}

async fn csv(shop: &Shop, file: &str) -> Value {
    import(shop, "contacts", "text/csv", file.to_owned()).await.expect(200)
}

/// The lines of a report that were refused, with their codes.
fn refused(report: &Value) -> Vec<(i64, &str)> {
    let errors = report["errors"].as_array().unwrap();
    errors.iter().map(|e| (e["line"].as_i64().unwrap(), e["code"].as_str().unwrap())).collect()
}

/// Created, updated and refused.
fn counts(report: &Value) -> [i64; 3] {
    ["created", "updated", "refused"].map(|name| report[name].as_i64().unwrap())
}
