//! Channels that a tenant brings itself: checked before they are kept, seen by nobody else, bounded like every script.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use plugin_api::conformance::{HttpDouble, Reply};
use plugin_api::net::Names;
use serde_json::{Value, json};

use crate::support::{PAGER, Shop, TestApp, dump, hello, pager, pager_with};

/// Takes every page, and names it as it was named.
async fn pages() -> HttpDouble {
    HttpDouble::with(
        |seen| seen.method == "POST",
        |_, seen| {
            let id = if seen.method == "POST" { seen.json()["id"].clone() } else { Value::Null };
            Some(Reply::json(200, &json!({"id": format!("page-{}", id.as_str().unwrap_or_default())})))
        },
    )
    .await
}

async fn set_up(shop: &Shop, double: &HttpDouble) {
    let settings = json!({"url": double.url("/pages"), "token": "token-canary-0123456789"});
    shop.set("pager", json!({"provider": "pager", "settings": settings})).await;
}

fn page() -> Value {
    let mut body = hello();
    body["channel"] = json!("pager");
    body
}

fn texts(double: &HttpDouble) -> Vec<String> {
    let posts = double.seen().into_iter().filter(|s| s.method == "POST");
    posts.map(|s| s.json()["text"].as_str().unwrap().to_owned()).collect()
}

on_each_store!(a_tenant_brings_a_channel_and_uses_it_like_any_other, async |app: TestApp| {
    let double = pages().await;
    let (one, two) = (app.shop().await, app.shop().await);
    let made = one.put("/v1/plugins/pager", &pager("pager")).await.expect(201);
    assert_eq!((&made["name"], &made["version"], &made["title"]), (&json!("pager"), &json!(1), &json!("Pager")));
    assert_eq!(made["cases"]["cases"].as_array().unwrap().len(), 3);
    assert_eq!(one.get("/v1/plugins/pager").await.expect(200), made);
    let state = one.get("/v1/channels/pager").await.expect(200);
    assert_eq!(
        (&state["configured"], &state["address"], &state["can"]["status"]),
        (&json!(false), &json!("phone"), &json!(true))
    );
    set_up(&one, &double).await;

    let tested = one.post("/v1/channels/test", &json!({})).await.expect(200);
    assert_eq!((&tested["pager"], &tested["sms"]), (&json!(true), &json!(true)), "{tested}");
    let explained = one
        .post(
            "/v1/notify",
            &json!({"type": "note", "channel": "pager", "message": "Hola", "dryRun": true,
        "to": {"phone": "3312345678"}}),
        )
        .await
        .expect(200);
    assert_eq!(explained["notifications"][0]["steps"][0]["channel"], "pager");
    let id = one.send(&page()).await;
    app.deliver_due().await;
    let found = one.find(&id).await;
    assert_eq!((&found["status"], &found["messageId"]), (&json!("sent"), &json!(format!("page-{id}"))), "{found}");
    let seen = double.seen().into_iter().find(|s| s.method == "POST").unwrap();
    assert_eq!(seen.header("authorization"), Some("Bearer token-canary-0123456789"));
    assert_eq!((&seen.json()["to"], &seen.json()["text"]), (&json!("+523312345678"), &json!("Hola")));

    // Its provider reports, and only with the token.
    let hook = one.hook("pager").await;
    let path = hook.strip_prefix(&app.app.config.load().server.public_url).unwrap().to_owned();
    let report = json!({"id": found["messageId"]});
    app.nobody().post(&path, &report).header("x-token", "wrong").await.is_problem(401, "bad-signature");
    assert_eq!(one.status(&id).await, "sent");
    assert_eq!(app.nobody().post(&path, &report).header("x-token", "token-canary-0123456789").await.status, 200);
    assert_eq!(one.status(&id).await, "delivered");
    // In metrics it goes by no name of its own: they are read by all, and must not grow with what tenants call theirs.
    let metrics = app.nobody().get("/metrics").await.text();
    for counted in ["recado_callbacks_total{channel=\"own\"", "recado_deliveries_total{channel=\"own\""] {
        assert!(metrics.contains(counted), "no {counted} in {metrics}");
    }
    assert!(!metrics.contains("pager"), "{metrics}");

    // The other tenant has never heard of it.
    two.get("/v1/plugins/pager").await.is_problem(404, "not-found");
    two.get("/v1/plugins/pager/versions").await.is_problem(404, "not-found");
    two.delete("/v1/plugins/pager").await.is_problem(404, "not-found");
    two.get("/v1/channels/pager").await.is_problem(404, "not-found");
    two.put("/v1/channels/pager", &json!({"provider": "sandbox"})).await.is_problem(404, "not-found");
    let known = two.post("/v1/notify", &page()).await.has_fault("validation", "/channel", "unknown_channel");
    assert!(!known.contains("pager") && known.contains("sms"), "{known}");
    assert!(!two.get("/v1/channels").await.text().contains("pager"));
    assert!(!two.post("/v1/channels/test", &json!({})).await.text().contains("pager"));
    // It may have one of the same name, which is another.
    two.put("/v1/plugins/pager", &pager_with("pager", "message.text", "message.text.to_upper()")).await.expect(201);
    set_up(&two, &double).await;
    two.send(&page()).await;
    one.send(&page()).await;
    app.deliver_due().await;
    let mut sent = texts(&double);
    sent.sort();
    assert_eq!(sent, ["HOLA", "Hola", "Hola"]);
    // Another process reads what this one stored.
    let node = app.another_node().await;
    assert!(one.at(node.router.clone()).get("/v1/channels").await.text().contains("\"pager\""));
    node.close().await;
});

on_each_store!(a_new_version_holds_at_once_and_an_old_one_can_be_had_back, async |app: TestApp| {
    let double = pages().await;
    let shop = app.shop().await;
    shop.put("/v1/plugins/pager", &pager("pager")).await.expect(201);
    set_up(&shop, &double).await;
    let send = async || {
        shop.send(&page()).await;
        app.deliver_due().await;
        texts(&double).pop().unwrap()
    };
    assert_eq!(send().await, "Hola");
    let second = pager_with("pager", "message.text", "message.text + \"!\"");
    assert_eq!(shop.put("/v1/plugins/pager", &second).await.expect(200)["version"], 2);
    assert_eq!(send().await, "Hola!");
    let went_back = shop.post("/v1/plugins/pager/rollback", &json!({})).await.expect(200);
    assert_eq!((&went_back["version"], send().await.as_str()), (&json!(1), "Hola"));
    shop.post("/v1/plugins/pager/rollback", &json!({"version": 2})).await.expect(200);
    assert_eq!(send().await, "Hola!");
    let versions = shop.get("/v1/plugins/pager/versions").await.expect(200);
    let seen: Vec<_> = versions["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| (v["version"].as_i64().unwrap(), v["current"].as_bool().unwrap()))
        .collect();
    assert_eq!(seen, [(2, true), (1, false)]);
    shop.post("/v1/plugins/pager/rollback", &json!({"version": 9})).await.has_fault(
        "validation",
        "/version",
        "out_of_range",
    );

    // What is in use stays, and says by what.
    let refused = shop.delete("/v1/plugins/pager").await.is_problem(409, "wrong-state");
    assert!(refused["detail"].as_str().unwrap().contains("DELETE /v1/channels/pager"), "{refused}");
    let renamed = changed("manifest", "name = \"pager\"", "name = \"beeper\"");
    shop.put("/v1/plugins/pager", &renamed).await.is_problem(409, "wrong-state");
    shop.change(json!({"channelOrder": ["pager", "sms"]})).await;
    assert_eq!(shop.delete("/v1/channels/pager").await.status, 204);
    let refused = shop.delete("/v1/plugins/pager").await.is_problem(409, "wrong-state");
    assert!(refused["detail"].as_str().unwrap().contains("channelOrder"), "{refused}");
    shop.change(json!({"channelOrder": ["sms"]})).await;
    assert_eq!(shop.delete("/v1/plugins/pager").await.status, 204);
    shop.delete("/v1/plugins/pager").await.is_problem(404, "not-found");
    shop.post("/v1/notify", &page()).await.has_fault("validation", "/channel", "unknown_channel");
    assert_eq!(shop.get("/v1/plugins").await.expect(200)["items"], json!([]));
});

fn changed(text: &str, from: &str, to: &str) -> Value {
    let mut body = pager("pager");
    let old = body[text].as_str().map_or_else(|| body[text].to_string(), str::to_owned);
    assert!(old.contains(from), "{text} has no {from}");
    body[text] = json!(old.replacen(from, to, 1));
    body
}

on_each_store!(an_upload_that_is_not_in_order_leaves_nothing, async |app: TestApp| {
    let double = pages().await;
    let shop = app.shop().await;
    let before: Vec<_> = dump(&app.app.db).await;
    let request = "json: #{id: message.id";
    for (name, body, slug, pointer, code, said) in [
        (
            "pager",
            changed("manifest", "channel = \"pager\"", "channel = \"beeper\""),
            "plugin-invalid",
            "/manifest",
            "manifest_invalid",
            "they must agree",
        ),
        (
            "pager",
            changed("manifest", "title = \"Pager\"", "title = "),
            "plugin-invalid",
            "/manifest",
            "manifest_invalid",
            "line 3",
        ),
        (
            "pager",
            changed("manifest", "address = \"phone\"", "addres = \"phone\""),
            "plugin-invalid",
            "/manifest",
            "manifest_invalid",
            "addres",
        ),
        (
            "pager",
            changed("manifest", "kind = \"secret\"", "kind = \"text\""),
            "plugin-invalid",
            "/manifest",
            "manifest_invalid",
            "sounds secret",
        ),
        (
            "pager",
            changed("manifest", "concurrency = 4", "concurrency = 400"),
            "plugin-invalid",
            "/manifest",
            "out_of_range",
            "at most 16",
        ),
        (
            "pager",
            changed("manifest", "concurrency = 4", "call-seconds = 18446744073709551615"),
            "plugin-invalid",
            "/manifest",
            "out_of_range",
            "at most 120",
        ),
        (
            "pager",
            changed("manifest", "concurrency = 4", "call-seconds = 9223372036854775807"),
            "plugin-invalid",
            "/manifest",
            "out_of_range",
            "at most 120",
        ),
        (
            "sms",
            changed("manifest", "channel = \"pager\"", "channel = \"sms\""),
            "plugin-invalid",
            "/manifest",
            "name_taken",
            "exists already",
        ),
        (
            "telegram",
            changed("manifest", "channel = \"pager\"", "channel = \"telegram\""),
            "plugin-invalid",
            "/manifest",
            "name_taken",
            "exists already",
        ),
        (
            "test",
            changed("manifest", "channel = \"pager\"", "channel = \"test\""),
            "plugin-invalid",
            "/manifest",
            "name_taken",
            "exists already",
        ),
        (
            "pager",
            changed("manifest", "address = \"phone\"", "address = \"phone\"\nhosts = [\"169.254.169.254\"]"),
            "url-not-allowed",
            "/manifest",
            "address",
            "169.254.169.254",
        ),
        (
            "pager",
            changed("manifest", "address = \"phone\"", "address = \"phone\"\nhosts = [\"*.x.internal\"]"),
            "url-not-allowed",
            "/manifest",
            "host",
            "*.x.internal",
        ),
        (
            "pager",
            changed("script", request, "json: #{id: mesage.id"),
            "plugin-invalid",
            "/script",
            "script_invalid",
            "did you mean",
        ),
        (
            "pager",
            changed("script", request, "json: #{id: eval(\"1\")"),
            "plugin-invalid",
            "/script",
            "script_invalid",
            "line 5",
        ),
        (
            "pager",
            changed("script", request, "json: #{id: sleep(1)"),
            "plugin-invalid",
            "/script",
            "script_invalid",
            "sleep",
        ),
        (
            "pager",
            changed("script", "fn request(", "import \"x\" as y;\nfn request("),
            "plugin-invalid",
            "/script",
            "script_invalid",
            "import",
        ),
        (
            "pager",
            changed("script", "fn outcome(response, message)", "fn outcome(response)"),
            "plugin-invalid",
            "/script",
            "script_invalid",
            "2 parameters",
        ),
        (
            "pager",
            changed("script", "fn receive(", "fn recieve("),
            "plugin-invalid",
            "/script",
            "script_invalid",
            "promises callbacks",
        ),
        (
            "pager",
            changed("script", "fn request(message, settings) {", "fn request(message, settings) { loop {}"),
            "plugin-invalid",
            "/cases",
            "case_failed",
            "operations",
        ),
        (
            "pager",
            changed(
                "script",
                "fn request(message, settings) {",
                "fn request(message, settings) { request(message, settings);",
            ),
            "plugin-invalid",
            "/cases",
            "case_failed",
            "\"a text\"",
        ),
        (
            "pager",
            changed("script", "url: settings.url", "url: \"https://elsewhere.example/\""),
            "plugin-invalid",
            "/cases",
            "case_failed",
            "\"a text\"",
        ),
        (
            "pager",
            changed("script", "settings.token,", "\"{{secret:token}}\","),
            "plugin-invalid",
            "/cases",
            "case_failed",
            "authorization",
        ),
        (
            "pager",
            changed("cases", "\"At ten.\"", "\"At noon.\""),
            "plugin-invalid",
            "/cases",
            "case_failed",
            "\"a text\"",
        ),
        (
            "pager",
            changed("cases", "{\"accepted\":\"7\"}", "{\"accepted\":\"8\"}"),
            "plugin-invalid",
            "/cases",
            "case_failed",
            "\"taken\"",
        ),
        ("pager", changed("cases", "\"cases\"", "\"kases\""), "plugin-invalid", "/cases", "malformed", "kases"),
        (
            "pager",
            changed("script", request, &format!("/*{}*/{request}", "x".repeat(33 * 1024))),
            "plugin-invalid",
            "/script",
            "script_invalid",
            "32 KiB",
        ),
        (
            "pager",
            changed("manifest", "title = \"Pager\"", &format!("title = \"Pager\" # {}", "x".repeat(33 * 1024))),
            "validation",
            "/manifest",
            "too_long",
            "32 KiB",
        ),
        (
            "pager",
            changed(
                "script",
                request,
                &format!("json: {}1{}, headers: #{{a: message.id", "[".repeat(10_000), "]".repeat(10_000)),
            ),
            "plugin-invalid",
            "/script",
            "script_invalid",
            "nested",
        ),
    ] {
        let answer = shop.put(&format!("/v1/plugins/{name}"), &body).await;
        let detail = answer.has_fault(slug, pointer, code);
        assert!(detail.contains(said), "{said}: {detail}");
        assert!(!detail.contains("token-canary"), "{detail}");
    }
    shop.put("/v1/plugins/pager", &json!({"manifest": "x"})).await.is_problem(422, "validation");
    shop.key(&["send", "read"]).await.put("/v1/plugins/pager", &pager("pager")).await.is_problem(403, "forbidden");
    let after = dump(&app.app.db).await;
    let kept = |rows: &[(String, String)]| rows.iter().filter(|(t, _)| t.contains("document")).count();
    assert_eq!((kept(&before), kept(&after)), (0, 0), "nothing is kept of any of them");
    assert_eq!(shop.get("/v1/plugins").await.expect(200)["items"], json!([]));
    shop.put("/v1/plugins/pager", &pager("pager")).await.expect(201);
    set_up(&shop, &double).await;
    let id = shop.send(&page()).await;
    app.deliver_due().await;
    assert_eq!(shop.status(&id).await, "sent");
});

// What cases do not show: each is stopped at its own message, and the next one goes.
on_each_store!(a_channel_that_runs_wild_when_it_is_used_stops_nothing_else, async |app: TestApp| {
    let double = pages().await;
    let elsewhere = HttpDouble::start().await;
    let (one, two) = (app.shop().await, app.shop().await);
    let wild = format!(
        "if message.text == \"loop\" {{ loop {{}} }} if message.text == \"recurse\" {{ return request(message, settings); }} \
         if message.text == \"grow\" {{ let s = message.text; loop {{ s += s; }} }} if message.text == \"nonsense\" {{ return 5; }} \
         if message.text == \"elsewhere\" {{ return #{{url: \"{}\", json: #{{token: settings.token}}}}; }} \
         if message.text == \"heads\" {{ let h = #{{}}; for n in 0..400 {{ h[`x-${{n}}`] = \"1\"; }} \
         return #{{url: settings.url, headers: h}}; }} \
         if message.text == \"metadata\" {{ return #{{url: \"http://169.254.169.254/\"}}; }}",
        elsewhere.url("/")
    );
    one.put(
        "/v1/plugins/pager",
        &pager_with("pager", "fn request(message, settings) {", &format!("fn request(message, settings) {{ {wild}")),
    )
    .await
    .expect(201);
    set_up(&one, &double).await;
    for (text, reason) in [
        ("loop", "script_limit"),
        ("recurse", "script_limit"),
        ("grow", "script_limit"),
        ("nonsense", "script_result"),
        ("heads", "script_result"),
        ("elsewhere", "host_not_allowed"),
        ("metadata", "script_result"),
        ("{{secret:token}}", ""),
    ] {
        let mut body = page();
        body["message"] = json!(text);
        let id = one.send(&body).await;
        app.deliver_due().await;
        let found = one.find(&id).await;
        if reason.is_empty() {
            assert_eq!(found["status"], "sent");
            assert_eq!(texts(&double).pop().unwrap(), text, "a forged placeholder is plain text");
        } else {
            assert_eq!((&found["status"], &found["reason"]), (&json!("failed"), &json!(reason)), "{text}: {found}");
            assert!(!found.to_string().contains("token-canary"), "{found}");
        }
        let (good, other) = (one.send(&page()).await, two.send(&hello()).await);
        // A host that its manifest does not name is the account's fault, and rests its lane for a moment.
        app.advance(Duration::from_mins(5)).await;
        assert_eq!((one.status(&good).await, two.status(&other).await), ("sent".into(), "sent".into()), "after {text}");
    }
    assert!(elsewhere.seen().is_empty());
});

/// A host may be public when the channel is brought and private when it is called.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_changes_its_mind_is_not_connected_to() {
    let turned = Arc::new(AtomicBool::new(false));
    let names = Names::from_fn({
        let turned = Arc::clone(&turned);
        move |name| match name {
            "private.example" => vec!["127.0.0.1".parse().unwrap()],
            "rebinds.example" if turned.load(Ordering::SeqCst) => vec!["127.0.0.1".parse().unwrap()],
            _ => vec!["93.184.215.14".parse().unwrap()],
        }
    });
    let app = TestApp::strict(names).await;
    let shop = app.shop().await;
    let body = |host: &str| {
        let mut body = pager_with("pager", "url: settings.url", &format!("url: \"https://{host}/\""));
        body["manifest"] =
            json!(PAGER.replace("address = \"phone\"", &format!("address = \"phone\"\nhosts = [\"{host}\"]")));
        body["cases"] = json!({"settings": {"url": "https://x.example/", "token": "t"}, "cases": [{"name": "x", "response": {"status": 200, "json": {"id": "7"}}, "outcome": {"accepted": "7"}}]});
        body
    };
    shop.put("/v1/plugins/pager", &body("private.example")).await.has_fault("url-not-allowed", "/manifest", "address");
    shop.put("/v1/plugins/pager", &body("rebinds.example")).await.expect(201);
    let settings = json!({"url": "https://x.example/", "token": "token-canary-0123456789"});
    shop.set("pager", json!({"provider": "pager", "settings": settings})).await;
    turned.store(true, Ordering::SeqCst);
    let id = shop.send(&page()).await;
    app.deliver_due().await;
    let found = shop.find(&id).await;
    assert_eq!(found["attempts"][0]["error"]["reason"], "blocked_address", "{found}");
    app.may_leave_work();
}

on_each_store!(a_list_of_actions_counts_where_it_is_sent, async |app: TestApp| {
    let double = pages().await;
    let shop = app.shop().await;
    let upload = async |buttons: &str| {
        let mut short = pager("pager");
        let limits = format!("max-length = 20\nbuttons = {buttons}\nlimits = {{");
        short["manifest"] = json!(PAGER.replace("limits = {", &limits));
        shop.put("/v1/plugins/pager", &short).await;
        set_up(&shop, &double).await;
    };
    let mut text = page();
    text["message"] = json!("Twelve signs");
    for (buttons, actions, expected) in [
        ("false", json!([]), "sent"),
        ("false", json!([{"title": "Confirmar", "value": "yes"}]), "failed"),
        ("true", json!([{"title": "Confirmar", "value": "yes"}]), "sent"),
    ] {
        upload(buttons).await;
        let mut body = text.clone();
        body["actions"] = actions;
        body.as_object_mut().unwrap().remove("data");
        body.as_object_mut().unwrap().remove("template");
        let id = shop.send(&body).await;
        app.deliver_due().await;
        let found = shop.find(&id).await;
        assert_eq!(found["status"], expected, "{buttons}: {found}");
        assert!(expected == "sent" || found["reason"] == "too_long", "{found}");
    }
});
