//! Setting up channels, seeing their state, and trying them out.

use plugin_api::conformance::{Behaviour, HttpDouble};
use plugin_chatwoot::double::{Double, Inbox};

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const COVERED: &str = "********";

fn webhook(url: &str) -> Value {
    json!({"provider": "webhook", "settings": {"url": url, "secret": SECRET}})
}

on_each_store!(a_channel_is_set_up_shown_switched_and_removed, async |app: TestApp| {
    let shop = Shop::bare(&app, "Salón Uno").await;
    let sink = HttpDouble::start().await;
    let state = shop.get("/v1/channels/webhook").await.expect(200);
    assert_eq!(
        (&state["configured"], &state["enabled"], &state["level"]),
        (&json!(false), &json!(false), &Value::Null)
    );
    assert_eq!(state["providers"], json!(["webhook", "sandbox"]));
    let set = shop.set("webhook", webhook(&sink.url("/in"))).await;
    assert_eq!((&set["configured"], &set["enabled"], &set["level"]), (&json!(true), &json!(true), &json!("tenant")));
    assert_eq!(set["settings"], json!({"url": sink.url("/in"), "secret": COVERED}));
    assert_eq!(shop.get("/v1/channels/webhook").await.expect(200), set);
    // Only the switch is moved; the settings stay.
    let off = shop.set("webhook", json!({"enabled": false})).await;
    assert_eq!((&off["enabled"], &off["settings"]), (&json!(false), &set["settings"]));
    let to_webhook = with(json!({"channel": "webhook"}));
    shop.post("/v1/notify", &to_webhook).await.is_problem(422, "channel-unavailable");
    shop.set("webhook", json!({"enabled": true})).await;
    shop.notify(&to_webhook).await;
    app.deliver_due().await;
    assert_eq!(sink.taken(), 1);
    shop.delete("/v1/channels/webhook").await.expect(204);
    shop.delete("/v1/channels/webhook").await.is_problem(404, "not-found");
    shop.post("/v1/notify", &to_webhook).await.is_problem(422, "channel-unavailable");
    shop.get("/v1/channels/pigeon").await.is_problem(404, "not-found");
    shop.put("/v1/channels/pigeon", &json!({"provider": "sandbox"})).await.is_problem(404, "not-found");
});

on_each_store!(a_covered_secret_given_back_keeps_the_stored_one, async |app: TestApp| {
    let shop = Shop::bare(&app, "Salón Uno").await;
    let (first, second) = (HttpDouble::start().await, HttpDouble::start().await);
    shop.set("webhook", webhook(&first.url("/in"))).await;
    let moved = json!({"provider": "webhook", "settings": {"url": second.url("/in"), "secret": COVERED}});
    shop.set("webhook", moved.clone()).await;
    for sink in [&second, &first] {
        shop.set("webhook", webhook(&sink.url("/in"))).await;
        shop.notify(&with(json!({"channel": "webhook"}))).await;
        app.deliver_due().await;
        assert_eq!(sink.taken(), 1);
    }
    // Without a stored one there is nothing to keep.
    shop.delete("/v1/channels/webhook").await.expect(204);
    shop.put("/v1/channels/webhook", &moved).await.is_problem(422, "validation");
});

on_each_store!(settings_that_come_as_an_object_are_shown_as_one_and_their_secret_is_kept, async |app: TestApp| {
    const KEY: &str = include_str!("../../../plugins/email/tests/it/keys/ed25519.pem");
    let shop = Shop::bare(&app, "Salón Uno").await;
    let mail = |dkim: Value| {
        json!({"provider": "smtp", "settings": {"host": "127.0.0.1", "port": 2525, "security": "none",
            "from": "hola@salon.example", "dkim": dkim}})
    };
    let dkim = |key: &str| json!({"domain": "salon.example", "selector": "mail2026", "privateKey": key});
    let set = shop.set("email", mail(dkim(KEY))).await;
    assert_eq!(set["settings"]["dkim"], dkim(COVERED));
    // What was covered is opened again and found to be a key.
    assert_eq!(shop.set("email", mail(dkim(COVERED))).await["settings"]["dkim"], dkim(COVERED));
    assert_eq!(shop.get("/v1/channels/email").await.expect(200)["settings"]["dkim"], dkim(COVERED));
    assert_eq!(shop.set("email", mail(Value::Null)).await["settings"].get("dkim"), None);
    let put = |dkim: Value| shop.put("/v1/channels/email", &mail(dkim)).into_future();
    put(dkim("no key")).await.has_fault("validation", "/settings/dkim/privateKey", "malformed");
    put(json!({"domain": "salon.example"})).await.has_fault("validation", "/settings/dkim/selector", "required");
    put(json!({"colour": "red"})).await.has_fault("validation", "/settings/dkim/colour", "unknown_field");
    put(json!("salon.example")).await.has_fault("validation", "/settings/dkim", "wrong_type");
    let mut flat = mail(Value::Null);
    flat["settings"]["dkim.domain"] = json!("salon.example");
    shop.put("/v1/channels/email", &flat).await.has_fault("validation", "/settings/dkim/domain", "unknown_field");
});

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_checked_against_the_plugins_schema() {
    let app = TestApp::sqlite().await;
    let shop = Shop::bare(&app, "Salón Uno").await;
    let put = |channel: &str, body: Value| shop.put(&format!("/v1/channels/{channel}"), &body).into_future();
    put("webhook", json!({})).await.has_fault("validation", "/provider", "required");
    put("webhook", json!({"provider": "smtp"})).await.has_fault("validation", "/provider", "out_of_range");
    let empty = put("webhook", json!({"provider": "webhook", "settings": {}})).await;
    empty.has_fault("validation", "/settings/url", "required");
    empty.has_fault("validation", "/settings/secret", "required");
    let odd = json!({"provider": "webhook", "settings": {"url": 5, "secret": SECRET, "colour": "red"}});
    let odd = put("webhook", odd).await;
    odd.has_fault("validation", "/settings/url", "wrong_type");
    odd.has_fault("validation", "/settings/colour", "unknown_field");
    let both = json!({"provider": "sandbox", "accounts": [{"name": "a", "provider": "sandbox"}]});
    put("sms", both).await.has_fault("validation", "/accounts", "exactly_one_of");
    put("sms", json!({"accounts": []})).await.has_fault("validation", "/accounts", "item_count");
    let twice = json!({"accounts": [{"name": "a", "provider": "sandbox"}, {"name": "a", "provider": "sandbox"}]});
    put("sms", twice).await.has_fault("validation", "/accounts/1/name", "out_of_range");
    let second = json!({"accounts": [{"name": "a", "provider": "sandbox"}, {"name": "b", "provider": "webhook", "settings": {}}]});
    put("webhook", second).await.has_fault("validation", "/accounts/1/settings/url", "required");
    let mail = json!({"provider": "smtp", "settings": {"host": "127.0.0.1", "port": 2525, "from": "not an address"}});
    put("email", mail).await.has_fault("validation", "/settings/from", "email");
    shop.put("/v1/channels/sms?branchId=nowhere", &json!({"provider": "sandbox"})).await.has_fault(
        "validation",
        "/branchId",
        "unknown_branch",
    );
    let states = shop.get("/v1/channels").await.expect(200);
    assert!(states["items"].as_array().unwrap().iter().all(|c| c["configured"] == false), "nothing of it was stored");
}

on_each_store!(a_branchs_own_settings_hold_for_it_and_the_rest_falls_through, async |app: TestApp| {
    let shop = app.shop().await;
    let (house, branch_sink) = (HttpDouble::start().await, HttpDouble::start().await);
    let branch = shop.branch(json!({})).await;
    shop.set("webhook", webhook(&house.url("/house"))).await;
    let path = format!("/v1/channels/webhook?branchId={branch}");
    assert_eq!(shop.get(&path).await.expect(200)["level"], "tenant");
    let set = shop.put(&path, &webhook(&branch_sink.url("/branch"))).await.expect(200);
    assert_eq!(set["level"], "branch");
    let list = shop.get(&format!("/v1/channels?branchId={branch}")).await.expect(200);
    let level =
        |name: &str| list["items"].as_array().unwrap().iter().find(|c| c["channel"] == name).unwrap()["level"].clone();
    assert_eq!((level("webhook"), level("sms")), (json!("branch"), json!("tenant")));
    let body = with(json!({"channel": "webhook"}));
    shop.notify(&body).await;
    shop.notify(&with(json!({"channel": "webhook", "branchId": branch}))).await;
    app.deliver_due().await;
    assert_eq!((house.taken(), branch_sink.taken()), (1, 1));
    assert_eq!(shop.get("/v1/channels/webhook").await.expect(200)["settings"]["url"], house.url("/house"));
    shop.delete(&path).await.expect(204);
    shop.notify(&with(json!({"channel": "webhook", "branchId": branch}))).await;
    app.deliver_due().await;
    assert_eq!((house.taken(), branch_sink.taken()), (2, 1));
});

#[tokio::test(flavor = "multi_thread")]
async fn the_list_tells_the_state_of_every_channel() {
    let settings = [("RECADO_CHANNELS__WHATSAPP__ENABLED", "false")];
    let app = TestApp::with(crate::support::TestStore::sqlite(), &settings).await;
    let shop = app.shop().await;
    let list = shop.get("/v1/channels").await.expect(200);
    let items = list["items"].as_array().unwrap();
    let every: Vec<_> = app.app.plugins.names().iter().map(ToString::to_string).collect();
    assert_eq!(texts(items, "channel"), every);
    assert!(
        ["chatwoot", "email", "sms", "telegram", "webhook", "whatsapp"].iter().all(|n| every.iter().any(|e| e == n))
    );
    let state = |name: &str| {
        let c = items.iter().find(|c| c["channel"] == name).unwrap();
        (c["enabledByOperator"] == true, c["configured"] == true, c["enabled"] == true)
    };
    assert_eq!(state("sms"), (true, true, true));
    assert_eq!(state("chatwoot"), (true, false, false));
    assert_eq!(state("whatsapp"), (false, true, false));
    let email = items.iter().find(|c| c["channel"] == "email").unwrap();
    assert_eq!(
        (&email["address"], &email["can"]["html"], &email["can"]["subject"]),
        (&json!("email"), &json!(true), &json!(true))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn trying_all_channels_tells_what_is_wrong_and_messages_nobody() {
    let settings = [("RECADO_CHANNELS__WHATSAPP__ENABLED", "false")];
    let app = TestApp::with(crate::support::TestStore::sqlite(), &settings).await;
    let shop = app.shop().await;
    shop.delete("/v1/channels/email").await.expect(204);
    let (chatwoot, sink) = (Double::start().await, HttpDouble::start().await);
    let account = Value::Object(chatwoot.settings(Inbox::Api).0);
    shop.set("chatwoot", json!({"provider": "chatwoot", "settings": account})).await;
    shop.set("webhook", webhook(&sink.url("/in"))).await;
    let test = || shop.call(axum::http::Method::POST, "/v1/channels/test").into_future();
    let found = test().await.expect(200);
    let told = |name: &str| (found[name].clone(), found["details"][name]["problem"].clone());
    for good in ["sms", "chatwoot", "webhook"] {
        assert_eq!(told(good), (json!(true), Value::Null), "{found}");
        assert!(found["details"][good]["latencyMs"].is_u64());
    }
    assert_eq!(told("email"), (json!(false), json!("not configured")));
    let (ok, problem) = told("whatsapp");
    assert!(ok == false && problem.as_str().unwrap().contains("operator"), "{found}");
    let mut wrong = chatwoot.settings(Inbox::Api).0;
    wrong["apiAccessToken"] = json!("not-the-token");
    shop.set("chatwoot", json!({"provider": "chatwoot", "settings": wrong})).await;
    let found = test().await.expect(200);
    assert_eq!((&found["chatwoot"], &found["details"]["chatwoot"]["ok"]), (&json!(false), &json!(false)));
    assert!(chatwoot.sent().is_empty() && sink.taken() == 0 && shop.captured().await.is_empty());
    assert_eq!(shop.get("/v1/notifications").await.expect(200)["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_channel_can_be_tried_and_a_marked_message_sent() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    let test = |channel: &str| shop.call(axum::http::Method::POST, &format!("/v1/channels/{channel}/test"));
    let found = test("sms").await.expect(200);
    assert_eq!(found["ok"], true);
    let unset = test("webhook").await.expect(200);
    assert_eq!((&unset["ok"], &unset["detail"]), (&json!(false), &json!("not configured")));
    test("pigeon").await.is_problem(404, "not-found");
    assert!(shop.captured().await.is_empty());
    let sent = test("sms").json(&json!({"to": {"phone": "3312345678"}})).await.expect(200);
    assert_eq!(sent["ok"], true, "{sent}");
    let captured = shop.captured().await;
    assert!(captured.len() == 1 && captured[0]["text"].as_str().unwrap().contains("Mensaje de prueba"), "{captured:?}");
    let failed = test("sms").json(&json!({"to": {"phone": "+523312340001"}})).await.expect(200);
    assert!(failed["ok"] == false && failed["detail"].as_str().unwrap().contains("sandbox_fail"), "{failed}");
    test("sms").json(&json!({"to": {"phone": "+1"}})).await.has_fault("validation", "/to/phone", "phone");
    test("sms").json(&json!({"too": 1})).await.has_fault("validation", "/too", "unknown_field");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_answers_with_a_redirect_does_not_pass_the_test() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    let sink = HttpDouble::with(
        |seen| seen.method == "POST",
        |_, seen| {
            (seen.method == "OPTIONS").then(|| plugin_api::conformance::Reply::new(301, "").header("location", "/x"))
        },
    )
    .await;
    shop.set("webhook", webhook(&sink.url("/in"))).await;
    let found = shop.call(axum::http::Method::POST, "/v1/channels/webhook/test").await.expect(200);
    assert!(found["ok"] == false && found["detail"].as_str().unwrap().contains("redirects"), "{found}");
    sink.behave(Behaviour::Accept);
}
