//! The OpenAPI document is part of the contract: a change shows up as a change of `tests/openapi.json`.

use std::path::Path;

use serde_json::Value;

use crate::support::TestApp;

fn document() -> Value {
    serde_json::to_value(recado::http::openapi()).unwrap()
}

#[test]
fn the_document_is_the_one_that_was_reviewed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi.json");
    let now = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let reviewed = std::fs::read_to_string(&path).unwrap_or_default();
    let differ = || {
        let line = now.lines().zip(reviewed.lines()).position(|(now, then)| now != then);
        line.unwrap_or_else(|| now.lines().count().min(reviewed.lines().count())) + 1
    };
    assert!(
        now == reviewed,
        "the document differs from tests/openapi.json from line {} on; if that is meant, write it anew with\n    \
         UPDATE=1 cargo test --test it openapi",
        differ()
    );
}

#[test]
fn every_operation_says_what_it_does_and_when_it_is_refused() {
    let document = document();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let what = format!("{method} {path}");
            assert!(operation["summary"].as_str().is_some_and(|s| !s.is_empty()), "{what} has no summary");
            assert!(operation["tags"].as_array().is_some_and(|t| t.len() == 1), "{what} needs one tag");
            let answers = operation["responses"].as_object().unwrap();
            assert!(answers.keys().any(|status| status.starts_with('2')), "{what} never succeeds");
            let open = operation["security"] == serde_json::json!([{}]);
            assert!(open || answers.contains_key("401"), "{what} does not say 401");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documentation_works_without_the_internet() {
    let app = TestApp::sqlite().await;
    let served = app.nobody().get("/openapi.json").await.expect(200);
    assert_eq!(served, document());
    let page = app.nobody().get("/docs/").await;
    assert_eq!(page.status, 200);
    let text = page.text();
    let pieces: Vec<&str> = ["src=\"", "href=\""]
        .into_iter()
        .flat_map(|attribute| text.split(attribute).skip(1))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(pieces.iter().any(|piece| piece.contains(".js")), "the page has no script: {text}");
    for piece in pieces {
        assert!(!piece.contains("//"), "the page wants {piece} from elsewhere");
        let piece = piece.trim_start_matches("./");
        assert_eq!(app.nobody().get(&format!("/docs/{piece}")).await.status, 200, "{piece}");
    }
}
