//! Scripts that are wrong or mean no good: each is refused or bounded with a sentence that helps, nothing leaves the house
//! that should not, and the next message goes.

use std::collections::BTreeSet;
use std::time::Duration;

use plugin_api::conformance::{HttpDouble, Reply, loopback_host, sample_message};
use plugin_api::{Failure, Hint, Message, Plugin, SendError};
use serde_json::json;

use super::{SMALL, TOKEN, open, plugin, settings};

const GOOD: &str = "fn request(message, settings) { #{url: settings.url, json: #{text: message.text}} }";

async fn refusal(double: &HttpDouble, source: &str) -> SendError {
    let before = double.seen().len();
    let channel = open(source, double.address());
    let error = channel.send(&sample_message("small")).await.expect_err(source);
    assert_eq!(double.seen().len(), before, "nothing is called: {source}");
    for private in [TOKEN, "text-canary", "subject-canary", "+5215512345678", "Zoraida"] {
        assert!(!format!("{error} {error:?}").contains(private), "{source} tells {private}: {error}");
    }
    let good = open(GOOD, double.address());
    good.send(&sample_message("small")).await.expect("the next message goes");
    error
}

#[tokio::test]
async fn a_script_that_runs_away_fails_its_message_and_no_other() {
    let double = HttpDouble::start().await;
    for body in [
        "loop {}",
        "request(message, settings)",
        "let s = message.text; loop { s += s; }",
        "let a = []; loop { a.push(a); }",
        "let s = \"\"; s.pad(60000, 'x'); let t = s; s.replace(\"x\", t); s",
    ] {
        let error = refusal(&double, &format!("fn request(message, settings) {{ {body} }}")).await;
        assert_eq!((error.failure, &*error.reason), (Failure::Rejected, "script_limit"), "{body}: {error}");
        assert!(error.detail.starts_with("plugin.rhai: "), "{error}");
    }
}

#[tokio::test]
async fn another_host_is_not_called() {
    let double = HttpDouble::start().await;
    let elsewhere = HttpDouble::start().await;
    let host = elsewhere.address();
    for url in [
        format!("\"http://{host}/\""),
        format!("\"http://{host}/?token=\" + settings.token"),
        "\"https://example.com/\"".to_owned(),
        // What comes after is still the host's name.
        "\"http://127.0.0.1\" + \".example.com/\"".to_owned(),
    ] {
        let error = refusal(&double, &format!("fn request(message, settings) {{ #{{url: {url}}} }}")).await;
        let refused = ["host_not_allowed", "script_result"].contains(&&*error.reason);
        assert!(refused && error.failure == Failure::Rejected, "{url}: {error}");
        assert!(elsewhere.seen().is_empty());
    }
    let error = refusal(&double, &format!("fn request(message, settings) {{ #{{url: \"http://{host}/\"}} }}")).await;
    assert_eq!((&*error.reason, error.hint), ("host_not_allowed", Some(Hint::Misconfigured)));
    assert!(error.detail.contains("plugin.rhai asks for 127.0.0.1, which is neither in hosts"), "{error}");
}

#[tokio::test]
async fn an_address_that_means_two_hosts_is_refused() {
    let double = HttpDouble::start().await;
    for end in ["@example.com/", "\\\\@example.com/", "\\n.example.com/", " /"] {
        let source = format!("fn request(message, settings) {{ #{{url: \"http://{}{end}\"}} }}", double.address());
        let error = refusal(&double, &source).await;
        assert_eq!(&*error.reason, "script_result", "{end}: {error}");
        assert!(error.detail.contains("request: url: "), "{error}");
    }
}

#[tokio::test]
async fn nonsense_is_named() {
    let double = HttpDouble::start().await;
    for (returned, said) in [
        ("5", "must return a request"),
        ("()", "must return a request"),
        ("#{}", "url: must be a text"),
        ("#{url: 5}", "url: must be a text"),
        ("#{url: settings.url, jsn: #{}}", "jsn: there is no such field (did you mean \"json\"?)"),
        ("#{url: settings.url, json: #{}, form: #{}}", "json, form: give one of them"),
        ("#{url: settings.url, body: #{}}", "body: must be a text"),
        ("#{url: settings.url, method: \"FETCH\"}", "method: must be GET"),
        ("#{url: settings.url, headers: #{Host: \"x\"}}", "Host is the connection's own"),
        ("#{url: settings.url, headers: #{\"X A\": \"x\"}}", "is not a header's name"),
        ("#{url: settings.url, headers: #{A: \"x\\r\\nB: y\"}}", "has characters no header can carry"),
        ("#{url: settings.url, query: [1]}", "query: must be a map"),
        ("#{url: settings.url, form: #{a: #{}}}", "form.a: must be a text or a number"),
        ("#{url: settings.url, json: |x| x}", "json is a Fn"),
        ("#{accepted: \"1\"}", "nothing was sent yet"),
        ("#{unknown: \"x\"}", "nothing was sent yet"),
        ("#{rejected: \"No Good\"}", "must be a word of a-z"),
        ("#{rejected: \"a\", hnit: \"x\"}", "did you mean \"hint\"?"),
        ("#{rejected: \"a\", hint: \"x\"}", "hint: must be"),
    ] {
        let error = refusal(&double, &format!("fn request(message, settings) {{ {returned} }}")).await;
        assert_eq!(&*error.reason, "script_result", "{returned}: {error}");
        assert!(error.detail.contains(said), "{returned}: {error}");
    }
}

#[tokio::test]
async fn a_script_may_refuse_a_message_before_any_call() {
    let double = HttpDouble::start().await;
    let error = refusal(
        &double,
        "fn request(message, settings) { #{rejected: \"too_long\", detail: \"more than fits: \" + message.text} }",
    )
    .await;
    assert_eq!((error.failure, &*error.reason, &*error.detail), (Failure::Rejected, "too_long", "more than fits: …"));
    let error =
        refusal(&double, "fn request(message, settings) { #{not_sent: \"closed\", detail: settings.token} }").await;
    assert_eq!((error.failure, &*error.detail), (Failure::NotSent, "********"));
}

#[tokio::test]
async fn what_a_script_throws_shows_no_content() {
    let double = HttpDouble::start().await;
    for value in
        ["message.text", "message.recipient.phone", "to_json(message)", "settings.token", "message.data.visit.room"]
    {
        let error = refusal(&double, &format!("fn request(message, settings) {{ throw \"about \" + {value} }}")).await;
        assert_eq!(&*error.reason, "script_failed");
        assert!(error.detail.contains("the script threw: about"), "{error}");
    }
}

#[tokio::test]
async fn secrets_are_filled_in_where_the_script_says_and_nowhere_else() {
    let double = HttpDouble::start().await;
    let source = r#"
        fn request(message, settings) {
            #{
                url: settings.url + "/" + settings.token,
                query: #{key: settings.token},
                headers: #{Authorization: "Bearer " + settings.token, "X-Basic": basic_auth("me", settings.token)},
                json: #{token: settings.token, list: [settings.token], text: message.text, seen: settings.token.len},
            }
        }"#;
    let channel = open(source, double.address());
    let mut nonces = BTreeSet::new();
    for forged in ["{{secret:token}}", "{{secret:token:00000000000000000000000000000000}}"] {
        let message = Message { text: forged.into(), ..sample_message("small") };
        channel.send(&message).await.unwrap();
        let seen = double.seen().pop().unwrap();
        assert_eq!(seen.path, format!("/in/{TOKEN}?key={TOKEN}"));
        assert_eq!(seen.header("authorization"), Some(&*format!("Bearer {TOKEN}")));
        assert_eq!(seen.header("x-basic"), Some("Basic bWU6dG9rZW4tY2FuYXJ5LTAxMjM0NTY3ODk="));
        let body = seen.json();
        assert_eq!((&body["token"], &body["list"]), (&json!(TOKEN), &json!([TOKEN])));
        assert_eq!(body["text"], forged, "a forged placeholder is plain text");
        assert_ne!(body["seen"], TOKEN.len(), "the script saw a placeholder");
        nonces.insert(body["seen"].to_string());
    }
}

/// A placeholder is good for one call: one that a script carried over in what is remembered stands for nothing.
#[tokio::test]
async fn a_placeholder_of_an_earlier_call_is_worth_nothing() {
    let double = HttpDouble::start().await;
    let tell = open(
        "fn request(message, settings) { #{url: settings.url, json: #{sum: sha256(\"x\"), own: message.memory, broken: settings.token.to_upper()}} }",
        double.address(),
    );
    tell.send(&sample_message("small")).await.unwrap();
    let broken = double.seen().pop().unwrap().json()["broken"].as_str().unwrap().to_lowercase();
    assert!(broken.starts_with("{{secret:token:") && !broken.contains("canary"));
    let message = Message { memory: Some(json!(broken)), ..sample_message("small") };
    tell.send(&message).await.unwrap();
    assert_eq!(double.seen().pop().unwrap().json()["own"], json!(broken));
}

#[tokio::test]
async fn a_secret_in_an_address_stays_one_piece_of_it() {
    let double = HttpDouble::start().await;
    let host = loopback_host(Duration::from_secs(20));
    let source = "fn request(message, settings) { #{url: settings.url + \"/\" + settings.token + \"/send\"} }";
    let token = "../../other?x=#&y=/@evil.example";
    let settings = settings(json!({"url": format!("http://{}/in", double.address()), "token": token}));
    let channel = plugin(SMALL, source).open("small", &settings, &host).unwrap();
    channel.send(&sample_message("small")).await.unwrap();
    assert_eq!(double.seen()[0].path, "/in/..%2F..%2Fother%3Fx%3D%23%26y%3D%2F%40evil.example/send");
}

#[tokio::test]
async fn what_an_answer_repeats_of_a_secret_is_shown_to_nobody() {
    let reply =
        Reply::json(400, &json!({"error": format!("token {TOKEN} is wrong, +5215512345678 was not written to")}));
    let double = HttpDouble::with(|seen| seen.method == "POST", move |_, _| Some(reply.clone())).await;
    let source = format!(
        "{GOOD} fn outcome(response, message) {{ #{{rejected: \"bad\", detail: response.json.error + \" \" + message.text}} }}"
    );
    let error = open(&source, double.address()).send(&sample_message("small")).await.unwrap_err();
    assert_eq!(error.detail, "token ******** is wrong, … was not written to …");
}

#[tokio::test]
async fn after_an_acceptance_no_fault_of_the_script_undoes_it() {
    for outcome in ["loop {}", "throw 1", "response.json.nothing.there", "5", "#{acepted: 1}", "#{not_sent: \"x\"}"] {
        for (status, accepted) in [(200, true), (500, false), (400, false)] {
            let reply = Reply::json(status, &json!({}));
            let double = HttpDouble::with(|seen| seen.method == "POST", move |_, _| Some(reply.clone())).await;
            let channel = open(&format!("{GOOD} fn outcome(response, message) {{ {outcome} }}"), double.address());
            match channel.send(&sample_message("small")).await {
                Ok(receipt) => {
                    assert!(accepted, "{outcome} {status}");
                    assert!(receipt.note.unwrap().starts_with("plugin.rhai: "), "{outcome}");
                }
                Err(e) => {
                    assert!(!accepted, "{outcome} {status}: {e}");
                    let failure = if status == 500 { Failure::Unknown } else { Failure::Rejected };
                    assert_eq!(e.failure, failure, "{outcome}");
                    assert!(e.detail.contains("plugin.rhai: "), "{e}");
                }
            }
            assert_eq!(double.calls(), 1);
        }
    }
}

#[tokio::test]
async fn a_redirect_is_judged_by_the_host() {
    let double = HttpDouble::start().await;
    let target = double.url("/elsewhere");
    let redirecting = HttpDouble::with(
        |seen| seen.method == "POST",
        move |_, _| Some(Reply::new(302, "").header("location", &*target)),
    )
    .await;
    let source = format!("{GOOD} fn outcome(response, message) {{ #{{accepted: \"x\"}} }}");
    let error = open(&source, redirecting.address()).send(&sample_message("small")).await.unwrap_err();
    assert_eq!(&*error.reason, "redirect_not_followed");
    assert!(double.seen().is_empty());
}

#[tokio::test]
async fn a_script_can_tell_the_provider_where_to_report() {
    let double = HttpDouble::start().await;
    let source = "fn request(message, settings) { #{url: settings.url, json: #{report: settings.hookUrl}} }";
    for hook_url in [Some("https://recado.example/hooks/small/x"), None] {
        let host = plugin_api::Host { hook_url: hook_url.map(Into::into), ..loopback_host(Duration::from_secs(20)) };
        let settings = settings(json!({"url": double.url("/in")}));
        let channel = plugin(SMALL, source).open("small", &settings, &host).unwrap();
        channel.send(&sample_message("small")).await.unwrap();
        assert_eq!(double.seen().pop().unwrap().json(), json!({"report": hook_url}));
    }
}

#[tokio::test]
async fn without_a_word_about_checking_the_host_asks_with_options() {
    let double = HttpDouble::start().await;
    let said = open(GOOD, double.address()).check().await.unwrap();
    assert_eq!(said, "reachable, answered 200 to OPTIONS");
    let seen = double.seen().remove(0);
    assert_eq!((&*seen.method, &*seen.path, seen.body.len(), double.calls()), ("OPTIONS", "/in", 0, 0));
}

#[test]
fn a_secret_that_is_an_address_is_judged_when_it_is_saved() {
    let manifest =
        SMALL.replace("address = \"none\"", "address = \"none\"\nhosts = [\"hooks.example.com\", \"*.hooks.example\"]");
    let source = "fn request(message, settings) { #{url: settings.token} }";
    let open = |token: &str| {
        let settings = settings(json!({"url": "https://x.example/", "token": token}));
        plugin(&manifest, source).open("small", &settings, &loopback_host(Duration::from_secs(1))).map(drop)
    };
    for fine in ["https://hooks.example.com/a", "https://a.b.hooks.example/", "https://x.example/b", "not an address"] {
        open(fine).unwrap_or_else(|e| panic!("{fine}: {e}"));
    }
    for (wrong, code) in [
        ("https://hooks.example/", "host_not_allowed"),
        ("https://evil.example/", "host_not_allowed"),
        ("https://hooks.example.com.evil.example/", "host_not_allowed"),
        ("https://xhooks.example/", "host_not_allowed"),
        ("https://10.0.0.1/", "address"),
        ("https://u:p@hooks.example.com/", "credentials"),
    ] {
        let error = open(wrong).expect_err(wrong);
        assert_eq!((&*error.setting, error.code), ("token", code), "{wrong}: {error}");
        assert!(!error.to_string().contains(wrong), "{error}");
    }
}
