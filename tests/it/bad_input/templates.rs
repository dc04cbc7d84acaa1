//! Templates that must be refused before the parser sees them, or stopped before they cost anything.

use super::*;
use crate::support::hostile;

/// Refused for this reason at this part, with its place; nothing is stored.
async fn refused(parts: Value, part: &str, code: &str) {
    let door = Door::open().await;
    let answer = door.shop.put("/v1/templates/bad", &json!({"parts": parts})).await;
    let detail = answer.has_fault("template-invalid", &format!("/parts/{part}"), code);
    let fault = &answer.json()["errors"][0];
    assert!(fault["line"].is_u64() && fault["column"].is_u64() && detail.contains("line "), "{}", answer.text());
    door.shop.get("/v1/templates/bad").await.is_problem(404, "not-found");
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b58_a_template_that_does_not_end() {
    for source in hostile::UNENDED {
        refused(json!({"text": source}), "text", "syntax").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b59_partials_that_include_themselves() {
    refused(json!({"text": hostile::INLINE}), "text", "recursive_partial").await;
    let door = Door::open().await;
    let put = async |name: &str, source: &str| {
        door.shop.put(&format!("/v1/templates/{name}"), &json!({"parts": {"text": source}})).await
    };
    put("_a", "{{> a}}").await.has_fault("template-invalid", "/parts/text", "recursive_partial");
    put("_b", "b").await.expect(201);
    put("_a", "{{> b}}").await.expect(201);
    put("_b", "{{> a}}").await.has_fault("template-invalid", "/parts/text", "recursive_partial");
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b60_a_template_that_is_nested_too_deep() {
    for source in hostile::too_deep() {
        refused(json!({"text": source}), "text", "too_deep").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b61_a_partial_that_is_not_there() {
    for source in hostile::UNKNOWN_PARTIAL {
        refused(json!({"text": source}), "text", "unknown_partial").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b62_a_helper_that_is_not_there() {
    for source in hostile::UNKNOWN_HELPER {
        refused(json!({"text": source}), "text", "unknown_helper").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b63_html_that_is_not_escaped() {
    for source in hostile::UNESCAPED {
        refused(json!({"text": "{{{x}}}", "email.html": source}), "email.html", "unescaped_output").await;
    }
    let door = Door::with(&[("RECADO_TEMPLATES__ALLOW_UNESCAPED_HTML", "true")]).await;
    let body = json!({"parts": {"email.html": "<p>{{{x}}}</p>"}});
    door.shop.put("/v1/templates/raw", &body).await.expect(201);
    let shown = json!({"template": "raw", "data": {"x": "<b>x</b>"}});
    let shown = door.shop.post("/v1/templates/preview", &shown).await.expect(200);
    assert_eq!(shown["parts"]["email.html"]["output"], "<p><b>x</b></p>");
    assert_eq!(shown["warnings"][0]["code"], "unescaped_html");
    let one = async |source: &str, data: Value| {
        let body = json!({"parts": {"email.html": source}, "data": data});
        door.shop.post("/v1/templates/preview", &body).await
    };
    let shown = one("{{{upper x}}}{{{default y x}}}{{&n}}", json!({"x": "<b>", "n": 1})).await.expect(200);
    assert_eq!(shown["parts"]["email.html"]["output"], "<B><b>1");
    // Also where it is a partial that writes them, or what a partial includes.
    door.shop.put("/v1/templates/_bold", &json!({"parts": {"email.html": "<b>{{{x}}}</b>"}})).await.expect(201);
    door.shop.put("/v1/templates/_around", &json!({"parts": {"email.html": "<i>{{> bold}}</i>"}})).await.expect(201);
    let shown = one("<p>{{> around}}</p>", json!({"x": "y"})).await.expect(200);
    assert_eq!(shown["warnings"][0]["code"], "unescaped_html");
    assert_eq!(one("<p>{{x}}</p>", json!({"x": "y"})).await.expect(200)["warnings"], json!([]));
    // They count in a partial's block as well, also where the partial shows nothing of it.
    door.shop.put("/v1/templates/_quiet", &json!({"parts": {"email.html": "."}})).await.expect(201);
    let block = "{{#> quiet}}{{#each a}}{{{../b}}}{{/each}}{{/quiet}}";
    assert_eq!(one(block, json!({"a": [1], "b": "x"})).await.expect(200)["parts"]["email.html"]["output"], ".");
    one(block, json!({"a": vec![1; 30], "b": "x".repeat(100_000)})).await.is_problem(422, "template-limit");
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b64_a_template_that_is_too_long() {
    let door = Door::open().await;
    let long = json!({"parts": {"text": "x".repeat(300_000)}});
    door.shop.put("/v1/templates/bad", &long).await.has_fault("validation", "/parts/text", "too_long");
    for n in 0..32 {
        let partial = json!({"parts": {"text": n.to_string()}});
        door.shop.put(&format!("/v1/templates/_p{n}"), &partial).await.expect(201);
    }
    let more = json!({"parts": {"text": "x"}});
    door.shop.put("/v1/templates/_p32", &more).await.has_fault("validation", "/name", "too_long");
    door.shop.put("/v1/templates/_p31", &more).await.expect(200);
    door.shop.get("/v1/templates/_p32").await.is_problem(404, "not-found");
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b65_a_preview_that_does_not_end() {
    let door = Door::open().await;
    for (name, source) in hostile::doubling() {
        door.shop.put(&format!("/v1/templates/{name}"), &json!({"parts": {"text": source}})).await.expect(201);
    }
    for body in hostile::endless_previews() {
        door.shop.post("/v1/templates/preview", &body).await.is_problem(422, "template-limit");
    }
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_into_a_bound_when_it_is_sent_fails_alone() {
    let door = Door::open().await;
    let body = json!({"parts": {"text": "{{#each a}}{{#each ../a}}.{{/each}}{{/each}}"}});
    door.shop.put("/v1/templates/loops", &body).await.expect(201);
    let mut notify = hello();
    notify.as_object_mut().unwrap().remove("message");
    (notify["type"], notify["data"]) = (json!("loops"), json!({"a": vec![1; 500]}));
    let id = door.shop.send(&notify).await;
    door.app.deliver_due().await;
    let failed = door.shop.find(&id).await;
    assert_eq!((&failed["status"], &failed["reason"]), (&json!("failed"), &json!("template_limit")), "{failed}");
    // What can be known beforehand is said to the caller.
    notify["dryRun"] = json!(true);
    door.notify(&notify).await.is_problem(422, "template-limit");
    for dry_run in [true, false] {
        (notify["dryRun"], notify["data"]) = (json!(dry_run), json!({"a": vec![1; 1001]}));
        door.notify(&notify).await.has_fault("template-limit", "/data", "template_limit");
    }
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_that_mean_nothing() {
    let door = Door::open().await;
    let put = async |name: &str, body: Value| door.shop.put(&format!("/v1/templates/{name}"), &body).await;
    let text = json!({"text": "Hola {{a}}"});
    let fault = "validation";
    put("a%20b", json!({"parts": text})).await.has_fault(fault, "/name", "name");
    put("a?locale=klingon", json!({"parts": text})).await.has_fault(fault, "/locale", "locale");
    put("a?branchId=none", json!({"parts": text})).await.has_fault(fault, "/branchId", "unknown_branch");
    put("a", json!({"parts": {}})).await.has_fault(fault, "/parts", "required");
    put("a", json!({"parts": {"txt": "x"}})).await.has_fault(fault, "/parts/txt", "unknown_part");
    put("a", json!({"parts": {"text": ""}})).await.has_fault(fault, "/parts/text", "required");
    put("a", json!({"parts": {"text": "a\u{0}"}})).await.has_fault(fault, "/parts/text", "control_characters");
    put("a", json!({"part": text})).await.has_fault(fault, "/part", "unknown_field");
    put("a", json!({"parts": {"email.html": "a", "email.mjml": "b"}})).await.has_fault(
        fault,
        "/parts",
        "exactly_one_of",
    );
    let said = json!({"parts": text, "variables": {"b": {}}});
    put("a", said).await.has_fault(fault, "/variables/b", "unknown_variable");
    let said = json!({"parts": text, "variables": {"a": {"required": false}}});
    put("a", said).await.has_fault(fault, "/variables/a/required", "required");
    door.shop.get("/v1/templates/a").await.is_problem(404, "not-found");
    let read = door.shop.key(&["read"]).await;
    read.put("/v1/templates/a", &json!({"parts": text})).await.is_problem(403, "forbidden");
    door.still_works().await;
}
