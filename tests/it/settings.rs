//! What tenants and branches set, through the door: whose value holds, and how one is taken back.

use serde_json::{Map, Value, json};

use crate::support::{Shop, TestApp, hello};

/// Every setting there is.
fn all() -> Map<String, Value> {
    let all = json!({"locale": "en", "timezone": "America/Tijuana", "country": "MX", "accentFolding": true,
        "quietHours": {"start": "21:00", "end": "09:30"}, "caps": {"marketingPerWeek": 2}, "channelOrder": ["email", "sms"],
        "allowedCountries": ["MX", "US"], "allowedSenders": ["citas@x.example"], "onUnknown": {"sms": "hold", "email": "fail"}});
    all.as_object().unwrap().clone()
}

/// Whose quiet hours hold for a message of this branch; nobody's, when there are none.
async fn quiet(shop: &Shop, branch: &str) -> Option<String> {
    let mut body = hello();
    for (name, value) in [("category", json!("marketing")), ("branchId", json!(branch)), ("dryRun", json!(true))] {
        body[name] = value;
    }
    let explained = shop.post("/v1/notify", &body).await.expect(200);
    let level = &explained["notifications"][0]["settings"]["quietHours"]["level"];
    level.as_str().map(str::to_owned)
}

on_each_store!(null_removes_a_setting_at_its_level_and_the_next_ones_holds, async |app: TestApp| {
    let shop = app.shop().await;
    let tenant = format!("/v1/tenants/{}", shop.id);
    let branch = shop.branch(json!({"quietHours": {"start": "20:00", "end": "10:00"}})).await;
    let at_branch = format!("{tenant}/branches/{branch}");
    shop.change(json!({"quietHours": {"start": "21:00", "end": "09:30"}})).await;
    assert_eq!(quiet(&shop, &branch).await.as_deref(), Some("branch"));
    let changed = shop.patch(&at_branch, &json!({"quietHours": null})).await.expect(200);
    assert!(changed.get("quietHours").is_none(), "{changed}");
    assert_eq!(quiet(&shop, &branch).await.as_deref(), Some("tenant"));
    shop.change(json!({"quietHours": null})).await;
    assert_eq!(quiet(&shop, &branch).await, None);
    // Every setting goes by itself, at both levels, and what is not named stays.
    for path in [&tenant, &at_branch] {
        shop.patch(path, &Value::Object(all())).await.expect(200);
        let mut left = all();
        for name in all().keys() {
            let answer = shop.patch(path, &json!({name: null})).await.expect(200);
            left.remove(name);
            let kept: Map<String, Value> =
                all().keys().filter_map(|n| Some((n.clone(), answer.get(n)?.clone()))).collect();
            assert_eq!(kept, left, "without {name}");
        }
        shop.patch(path, &json!({"name": null})).await.has_fault("validation", "/name", "required");
    }
    // Null in a new one is as good as nothing.
    shop.branch(json!({"locale": null, "caps": null})).await;
});

on_each_store!(each_channels_word_about_unknown_outcomes_is_its_own, async |app: TestApp| {
    let shop = app.shop().await;
    let path = format!("/v1/tenants/{}", shop.id);
    let patch =
        async |words: Value| shop.patch(&path, &json!({"onUnknown": words})).await.expect(200)["onUnknown"].clone();
    assert_eq!(patch(json!({"sms": "hold", "email": "fail"})).await, json!({"sms": "hold", "email": "fail"}));
    assert_eq!(patch(json!({"sms": "retry", "email": null})).await, json!({"sms": "retry"}));
    assert_eq!(patch(json!({"sms": null})).await, Value::Null);
});

on_each_store!(b47_what_a_setting_must_not_be_is_refused_and_nothing_changes, async |app: TestApp| {
    let shop = app.shop().await;
    let path = format!("/v1/tenants/{}", shop.id);
    let before = shop.get(&path).await.expect(200);
    for (body, pointer, code) in [
        (json!({"timezone": "America/Cd_Mexico"}), "/timezone", "timezone"),
        (json!({"timezone": "GMT+25"}), "/timezone", "timezone"),
        (json!({"timezone": ""}), "/timezone", "timezone"),
        (json!({"locale": "spanish"}), "/locale", "locale"),
        (json!({"country": "Mexico"}), "/country", "country"),
        (json!({"name": " "}), "/name", "required"),
        (json!({"quietHours": {"start": "25:00", "end": "09:00"}}), "/quietHours/start", "timestamp"),
        (json!({"quietHours": {"start": "21:00"}}), "/quietHours/end", "required"),
        (json!({"quietHours": ["21:00", "09:00"]}), "/quietHours", "wrong_type"),
        (json!({"quietHours": {"start": null, "end": "09:00"}}), "/quietHours/start", "required"),
        (json!({"caps": {"marketingPerWeek": -1}}), "/caps/marketingPerWeek", "out_of_range"),
        (json!({"caps": {"perWeek": 1}}), "/caps/perWeek", "unknown_field"),
        (json!({"channelOrder": ["pigeon"]}), "/channelOrder/0", "unknown_channel"),
        (json!({"allowedCountries": ["Mexico"]}), "/allowedCountries/0", "country"),
        (json!({"allowedSenders": ["a..b@x.example"]}), "/allowedSenders/0", "email"),
        (json!({"onUnknown": {"sms": "pray"}}), "/onUnknown/sms", "out_of_range"),
        (json!({"tiemzone": "UTC"}), "/tiemzone", "unknown_field"),
    ] {
        let answer = shop.patch(&path, &body).await;
        assert_eq!(answer.status, 422, "{body}: {}", answer.text());
        answer.has_fault("validation", pointer, code);
        let mut new = body;
        new.as_object_mut().unwrap().entry("name").or_insert(json!("Sucursal"));
        shop.post(&format!("{path}/branches"), &new).await.has_fault("validation", pointer, code);
    }
    assert_eq!(shop.get(&path).await.expect(200), before);
    assert_eq!(shop.get(&format!("{path}/branches")).await.expect(200)["items"], json!([]));
    let id = shop.send(&hello()).await;
    app.deliver_due().await;
    assert_eq!(shop.status(&id).await, "sent");
});
