//! B1 to B16: what a body may be and hold.

use axum::body::{Body, Bytes};
use futures_util::stream;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn b1_broken_json_is_refused_with_line_and_column() {
    let door = Door::open().await;
    let bodies: [&[u8]; 4] = [
        b"{\"to\":",
        b"",
        b"{\"type\":\"a\"}}",
        b"{\"type\":\"note\",\n\"message\":\"\xff\",\"to\":{\"phone\":\"3312345678\"}}",
    ];
    for body in bodies {
        let problem = door.raw(body).await.is_problem(400, "malformed-json");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("line ") && detail.contains("column "), "{detail}");
    }
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b2_deep_nesting_is_refused_before_it_costs_anything() {
    let door = Door::open().await;
    let nested = |levels: usize| {
        // The body's own object and `data` are two of them.
        let inner = levels - 2;
        let body = with(json!({"data": {"deep": "HERE"}})).to_string();
        body.replace("\"HERE\"", &format!("{}{}", "[".repeat(inner), "]".repeat(inner)))
    };
    for body in ["[".repeat(10_000), nested(65)] {
        let problem = door.raw(body).await.is_problem(400, "malformed-json");
        assert!(problem["detail"].as_str().unwrap().contains("deeper than 64"), "{problem}");
    }
    door.raw(nested(64)).await.expect(202);
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b3_what_only_looks_like_json_is_refused() {
    let door = Door::open().await;
    for value in ["NaN", "Infinity", "-Infinity", "1e999", "01", "'x'", "1 /* one */", "// one\n1"] {
        let body = with(json!({"data": {"value": "HERE"}})).to_string().replace("\"HERE\"", value);
        door.raw(body).await.is_problem(400, "malformed-json");
    }
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b4_a_key_given_twice_is_refused() {
    let door = Door::open().await;
    let rest = r#""to": {"phone": "3312345678"}, "channel": "sms", "message": "Hola""#;
    for body in [
        format!(r#"{{"type": "a", "type": "b", {rest}}}"#),
        format!(r#"{{"type": "a", "data": {{"x": 1, "x": 2}}, {rest}}}"#),
        format!(r#"{{"type": "a", "data": {{"x": [{{"y": 1, "\u0079": 2}}]}}, {rest}}}"#),
    ] {
        let problem = door.raw(body).await.is_problem(400, "malformed-json");
        assert!(problem["detail"].as_str().unwrap().contains("duplicate key"), "{problem}");
    }
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b5_a_body_of_two_mebibytes_is_refused_and_the_connection_closed() {
    let door = Door::open().await;
    let large = with(json!({"message": "x".repeat(2 * 1024 * 1024)})).to_string();
    let chunks: Vec<Result<Bytes, std::io::Error>> =
        large.as_bytes().chunks(8192).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    let chunked = Body::from_stream(stream::iter(chunks));
    for body in [Body::from(large), chunked] {
        let answer = door.raw(body).await;
        answer.is_problem(413, "body-too-large");
        assert_eq!(answer.header("connection"), Some("close"));
    }
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b6_only_json_in_utf8_is_read() {
    let door = Door::open().await;
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1", "application/jsonp"]
    {
        let answer = door.shop.post("/v1/notify", &hello()).header("content-type", kind).await;
        answer.is_problem(415, "unsupported-media-type");
    }
    let none = door.shop.post("/v1/notify", &hello()).without("content-type").await;
    none.is_problem(415, "unsupported-media-type");
    for kind in ["application/json; charset=UTF-8", "Application/JSON;charset=\"utf-8\""] {
        door.shop.post("/v1/notify", &hello()).header("content-type", kind).await.expect(202);
    }
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_an_unknown_field_is_named_with_the_nearest_right_one() {
    let door = Door::open().await;
    let detail = door.refuses(json!({"chanel": "sms"}), "validation", "/chanel", "unknown_field").await;
    assert!(detail.contains("did you mean \"channel\"") || detail.contains("did you mean channel"), "{detail}");
    for field in ["tenantId", "status", "createdAt"] {
        door.refuses(json!({field: "x"}), "validation", &format!("/{field}"), "unknown_field").await;
    }
    let to = json!({"to": {"phone": "3312345678", "phnoe": "1"}});
    door.refuses(to, "validation", "/to/phnoe", "unknown_field").await;
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b8_a_wrong_type_is_refused_and_never_converted() {
    let door = Door::open().await;
    for (field, value) in [
        ("to", json!(5)),
        ("sendAt", json!(1_720_000_000)),
        ("channel", json!(["sms"])),
        ("dryRun", json!("true")),
        ("type", json!(7)),
        ("message", json!({"text": "Hola"})),
        ("data", json!([1])),
        ("channels", json!("sms")),
        ("content", json!(["a"])),
    ] {
        door.refuses(json!({field: value}), "validation", &format!("/{field}"), "wrong_type").await;
    }
    door.refuses(json!({"to": [{"phone": 3_312_345_678_u64}]}), "validation", "/to/0/phone", "wrong_type").await;
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b9_what_is_required_cannot_be_missing_or_null() {
    let door = Door::open().await;
    for field in ["to", "type"] {
        let pointer = format!("/{field}");
        door.notify(&without(field)).await.has_fault("validation", &pointer, "required");
        door.refuses(json!({field: null}), "validation", &pointer, "required").await;
    }
    door.refuses(json!({"type": ""}), "validation", "/type", "required").await;
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b10_content_comes_from_one_place() {
    let door = Door::open().await;
    let (template, content) = (json!("welcome"), json!({"text": "Hola"}));
    for both in
        [json!({"template": template}), json!({"content": content}), json!({"template": template, "content": content})]
    {
        door.refuses(both, "validation", "", "exactly_one_of").await;
    }
    door.notify(&without("message")).await.has_fault("validation", "/type", "unknown_template");
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b11_lists_have_their_bounds() {
    let door = Door::open().await;
    let one = json!({"phone": "3312345678"});
    door.refuses(json!({"to": []}), "validation", "/to", "item_count").await;
    door.refuses(json!({"to": vec![one.clone(); 1001]}), "validation", "/to", "item_count").await;
    let action = json!({"title": "Sí", "value": "yes"});
    door.refuses(json!({"actions": vec![action.clone(); 11]}), "validation", "/actions", "item_count").await;
    door.notify(&with(json!({"actions": vec![action; 10]}))).await.expect(202);
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b12_texts_have_their_bounds() {
    let door = Door::open().await;
    door.refuses(json!({"message": "x".repeat(200_000)}), "validation", "/message", "too_long").await;
    door.refuses(json!({"type": "x".repeat(300)}), "validation", "/type", "too_long").await;
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b13_times_carry_their_offset_and_exist() {
    let door = Door::open().await;
    for time in ["2026-03-05T10:00:00", "2026-02-30T10:00:00Z", "tomorrow", "2026-03-05", ""] {
        for field in ["sendAt", "expiresAt"] {
            door.refuses(json!({field: time}), "validation", &format!("/{field}"), "timestamp").await;
        }
    }
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b14_times_lie_where_they_make_sense() {
    let door = Door::open().await;
    let after = |seconds: i64| recado::clock::Timestamp(door.app.now().0 + seconds * 1000).to_string();
    door.refuses(json!({"sendAt": after(-600)}), "validation", "/sendAt", "out_of_range").await;
    door.refuses(json!({"sendAt": after(2 * 366 * 86_400)}), "validation", "/sendAt", "out_of_range").await;
    let both = json!({"sendAt": after(60), "expiresAt": after(60)});
    door.refuses(both, "validation", "/expiresAt", "out_of_range").await;
    door.refuses(json!({"expiresAt": after(-1)}), "validation", "/expiresAt", "out_of_range").await;
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b15_a_channel_that_cannot_be_used_is_refused_by_its_reason() {
    let door = Door::with(&[("RECADO_CHANNELS__WHATSAPP__ENABLED", "false")]).await;
    let detail = door.refuses(json!({"channel": "pigeon"}), "validation", "/channel", "unknown_channel").await;
    for known in ["chatwoot", "email", "sms", "webhook", "whatsapp"] {
        assert!(detail.contains(known), "{detail}");
    }
    let mut chain = with(json!({"channels": ["sms", "pigeon"]}));
    chain.as_object_mut().unwrap().remove("channel");
    door.notify(&chain).await.has_fault("validation", "/channels/1", "unknown_channel");
    let off = door.notify(&with(json!({"channel": "whatsapp"}))).await.is_problem(422, "channel-unavailable");
    assert!(off["detail"].as_str().unwrap().contains("operator"), "{off}");
    let unset = door.notify(&with(json!({"channel": "chatwoot"}))).await.is_problem(422, "channel-unavailable");
    assert!(unset["detail"].as_str().unwrap().contains("not configured"), "{unset}");
    door.refuses(json!({"channel": "email"}), "validation", "/to", "no_address").await;
    let many = json!({"channel": "email", "to": [{"email": "a@b.example"}, {"phone": "3312345678"}]});
    door.refuses(many, "validation", "/to/1", "no_address").await;
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b16_a_template_exists_and_gets_all_it_needs() {
    let door = Door::open().await;
    let mut body = without("message");
    body["template"] = json!("no_such_template");
    door.notify(&body).await.has_fault("validation", "/template", "unknown_template");
    body["template"] = json!("marketing");
    door.notify(&body).await.has_fault("template-data", "/data/body", "required");
    body["data"] = json!({"body": "Dos por uno"});
    door.notify(&body).await.expect(202);

    // All that is missing is named at once; what is guarded or known otherwise is not missed.
    let text = "{{clientName}}, {{price}} y {{place.street}}{{#if note}}: {{note}}{{/if}}";
    door.shop.put("/v1/templates/offer", &json!({"parts": {"text": text}})).await.expect(201);
    (body["template"], body["data"]) = (json!("offer"), json!({}));
    let answer = door.notify(&body).await;
    answer.has_fault("template-data", "/data/price", "required");
    answer.has_fault("template-data", "/data/place/street", "required");
    assert_eq!(answer.json()["errors"].as_array().unwrap().len(), 2, "{}", answer.text());
    body["data"] = json!({"price": 1, "place": {"street": "Calle 5"}});
    door.notify(&body).await.expect(202);
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b47_a_zone_that_is_none() {
    let door = Door::open().await;
    for zone in ["America/Cd_Mexico", "GMT+25", ""] {
        let to = json!({"phone": "33 1234 5678", "timezone": zone});
        door.refuses(json!({"to": to}), "validation", "/to/timezone", "timezone").await;
    }
    door.still_works().await;
}
