//! One contact at a time.

use super::*;

on_each_store!(a_contact_is_made_replaced_changed_and_read_by_either_id, async |app: TestApp| {
    let shop = app.shop().await;
    let ana = json!({"name": "Ana López", "phone": "33 1234 5678", "email": "Ana@X.example", "locale": "es-MX",
        "timezone": "America/Mexico_City", "attributes": {"points": 7, "vip": true}, "preferences": {"channels": ["sms", "email"]}});
    let made = shop.put("/v1/contacts/client-1", &ana).await.expect(201);
    let id = made["id"].as_str().unwrap();
    assert_eq!(
        (&made["externalId"], &made["phone"], &made["email"]),
        (&json!("client-1"), &json!("+523312345678"), &json!("Ana@x.example"))
    );
    assert_eq!((&made["attributes"], &made["preferences"]), (&ana["attributes"], &ana["preferences"]));
    assert_eq!((&made["consents"], &made["appointments"]["count"]), (&json!([]), &json!(0)));
    assert_eq!(contact(&shop, "client-1").await, made);
    assert_eq!(contact(&shop, id).await, made);
    // What was read may be written back.
    assert_eq!(shop.put(&format!("/v1/contacts/{id}"), &made).await.expect(200), made);
    let changed = json!({"name": null, "attributes": {"points": 8, "vip": null}});
    let changed = shop.patch("/v1/contacts/client-1", &changed).await.expect(200);
    assert_eq!((&changed["name"], &changed["attributes"]), (&Value::Null, &json!({"points": 8})));
    assert_eq!(changed["phone"], made["phone"], "what was left out stays");
    let replaced = shop.put("/v1/contacts/client-1", &json!({"name": "Ana"})).await.expect(200);
    assert_eq!((&replaced["id"], &replaced["externalId"]), (&made["id"], &made["externalId"]));
    for empty in ["phone", "email", "locale", "timezone"] {
        assert_eq!(replaced[empty], Value::Null, "{empty}");
    }
    assert_eq!((&replaced["attributes"], &replaced["preferences"]), (&json!({}), &json!({})));
    let renamed = shop.patch("/v1/contacts/client-1", &json!({"externalId": "client-2"})).await.expect(200);
    assert_eq!(renamed["id"], made["id"]);
    shop.get("/v1/contacts/client-1").await.is_problem(404, "not-found");
    shop.patch("/v1/contacts/client-1", &json!({})).await.is_problem(404, "not-found");
});

on_each_store!(b34_all_spellings_of_a_phone_are_one_person, async |app: TestApp| {
    let shop = app.shop().await;
    for (country, spellings) in [
        ("MX", ["+52 1 33 3123 4567", "+523331234567", "33 3123 4567"]),
        ("AR", ["+54 9 11 2345 6789", "+541123456789", "+54 11 15 2345 6789"]),
        ("BR", ["+55 11 8765-4321", "+5511987654321", "+55 (11) 98765 4321"]),
    ] {
        // Known by the phone alone, then given an id of the app's: still one.
        let file = format!("name,phone\nAna,{}\n", spellings[0]);
        assert_eq!(counts(&csv(&shop, &file).await), [1, 0, 0], "{country}");
        let made = contacts(&shop, &format!("phone={}", spellings[1].replace('+', "%2B").replace(' ', "%20"))).await;
        let linked = shop.put(&format!("/v1/contacts/{country}"), &json!({"phone": spellings[1]})).await.expect(200);
        assert_eq!(linked["id"], made[0]["id"]);
        for spelling in spellings {
            let file = format!("phone,name\n{spelling},Ana López\n");
            assert_eq!(counts(&csv(&shop, &file).await), [0, 1, 0], "{spelling}");
            let query = format!("phone={}", spelling.replace('+', "%2B").replace(' ', "%20"));
            let found = contacts(&shop, &query).await;
            assert_eq!((found.len(), &found[0]["externalId"]), (1, &json!(country)), "{spelling}");
        }
    }
    assert_eq!(contacts(&shop, "").await.len(), 3);
});

on_each_store!(a_person_is_found_by_phone_before_email_and_never_taken_from_another_id, async |app: TestApp| {
    let shop = app.shop().await;
    csv(&shop, "phone,email,name\n3311111111,,Uno\n,dos@x.example,Dos\n").await;
    let both = put(&shop, "a", json!({"phone": "3311111111", "email": "DOS@x.example"})).await;
    assert_eq!(contacts(&shop, "phone=3311111111").await[0]["id"], both["id"]);
    let by_mail = contacts(&shop, "email=dos@x.example").await;
    assert_eq!(by_mail.len(), 2, "the other one keeps the address");
    // A mother's phone is her child's, too: another id, another person.
    let child = shop.put("/v1/contacts/b", &json!({"phone": "3311111111"})).await.expect(201);
    assert_ne!(child["id"], both["id"]);
    let report = csv(&shop, "phone,name\n3311111111,Who\n").await;
    assert_eq!(refused(&report), [(2, "ambiguous")]);
    let report = csv(&shop, "externalId,phone,name\nb,3311111111,Hija\n").await;
    assert_eq!(counts(&report), [0, 1, 0]);
    assert_eq!(contact(&shop, "b").await["name"], "Hija");
    let taken = shop.patch("/v1/contacts/b", &json!({"externalId": "a"})).await;
    taken.has_fault("validation", "/externalId", "taken");
});

on_each_store!(contacts_are_searched_and_paged, async |app: TestApp| {
    let shop = app.shop().await;
    for (id, name) in [("a", "José Núñez"), ("b", "JOSEFINA Pérez"), ("c", "Beto 100%")] {
        put(&shop, id, json!({"name": name, "email": format!("{id}@x.example")})).await;
    }
    let names = async |query: &str| -> Vec<String> {
        contacts(&shop, query).await.iter().map(|c| c["externalId"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("q=jose").await, ["b", "a"]);
    assert_eq!(names("q=NU%C3%91EZ").await, ["a"]);
    assert_eq!(names("q=100%25").await, ["c"]);
    assert_eq!(names("q=c@x").await, ["c"]);
    assert_eq!(names("email=B@x.example").await, ["b"]);
    let first = shop.get("/v1/contacts?limit=2").await.expect(200);
    let next = first["nextCursor"].as_str().unwrap();
    let second = shop.get(&format!("/v1/contacts?limit=2&cursor={next}")).await.expect(200);
    assert_eq!((second["items"][0]["externalId"].as_str(), &second["nextCursor"]), (Some("a"), &Value::Null));
    shop.get("/v1/contacts?limit=0").await.has_fault("validation", "/limit", "out_of_range");
    shop.get("/v1/contacts?phone=abc").await.has_fault("validation", "/phone", "phone");
    shop.get("/v1/contacts?cursor=zzz").await.is_problem(400, "cursor-invalid");
});

on_each_store!(what_a_contact_must_not_hold_is_refused_field_by_field, async |app: TestApp| {
    let shop = app.shop().await;
    let large = json!({"a": "x".repeat(17_000)});
    for (body, pointer, code) in [
        (json!({"phone": "+52-333-CALL-NOW"}), "/phone", "phone"),
        (json!({"email": "a@x.example\r\nBcc: e@x.example"}), "/email", "email"),
        (json!({"name": "Ana\r\nBcc: x"}), "/name", "control_characters"),
        (json!({"locale": "spanish"}), "/locale", "locale"),
        (json!({"timezone": "America/Cd_Mexico"}), "/timezone", "timezone"),
        (json!({"timezone": "GMT+25"}), "/timezone", "timezone"),
        (json!({"timezone": ""}), "/timezone", "timezone"),
        (json!({"attributes": large}), "/attributes", "too_long"),
        (json!({"attributes": {"a": "\u{0}"}}), "/attributes", "control_characters"),
        (json!({"attributes": [1]}), "/attributes", "wrong_type"),
        (json!({"preferences": {"channels": ["sms", "pigeon"]}}), "/preferences/channels/1", "unknown_channel"),
        (json!({"preferences": {"channels": ["sms", "sms"]}}), "/preferences/channels/1", "duplicate"),
        (json!({"preferences": {"colour": 1}}), "/preferences/colour", "unknown_field"),
        (json!({"fone": "1"}), "/fone", "unknown_field"),
        (json!({"externalId": "other"}), "/externalId", "exactly_one_of"),
        (json!({"consents": [{"granted": true, "channel": "pigeon"}]}), "/consents/0/channel", "unknown_channel"),
        (json!({"consents": [{"granted": true, "at": "2030-01-01T00:00:00Z"}]}), "/consents/0/at", "out_of_range"),
    ] {
        shop.put("/v1/contacts/a", &body).await.has_fault("validation", pointer, code);
    }
    assert!(contacts(&shop, "").await.is_empty());
    let small = json!({"a": "x".repeat(10_000)});
    put(&shop, "a", json!({"attributes": small})).await;
    let more = json!({"attributes": {"b": "x".repeat(10_000)}});
    shop.patch("/v1/contacts/a", &more).await.has_fault("validation", "/attributes", "too_long");
    let reader = shop.key(&["read"]).await;
    reader.put("/v1/contacts/a", &json!({})).await.is_problem(403, "forbidden");
    shop.key(&["send"]).await.delete("/v1/contacts/a").await.is_problem(403, "forbidden");
});

on_each_store!(consents_have_a_history_and_the_last_word_holds, async |app: TestApp| {
    let shop = app.shop().await;
    let ana = put(&shop, "ana", json!({"phone": "3312345678"})).await;
    let said = async |body: Value| shop.post("/v1/contacts/ana/consents", &body).await.expect(201);
    said(json!({"channel": "email", "granted": true, "at": "2026-01-01T10:00:00Z", "source": "form"})).await;
    let now = said(json!({"granted": false})).await;
    let expected = json!([
        {"channel": "email", "category": "marketing", "granted": true, "at": "2026-01-01T10:00:00.000Z", "source": "form"},
        {"channel": "all", "category": "marketing", "granted": false, "at": "2026-03-02T15:00:00.000Z", "source": "api"}
    ]);
    assert_eq!(now["consents"], expected);
    // An older word that comes late is history only; one that is known is not repeated.
    let now = said(json!({"channel": "email", "granted": false, "at": "2025-01-01T10:00:00Z"})).await;
    assert_eq!(now["consents"], expected);
    said(json!({"granted": false})).await;
    let history = shop.get("/v1/contacts/ana/consents").await.expect(200);
    let history: Vec<_> =
        history["items"].as_array().unwrap().iter().map(|c| (c["channel"].clone(), c["granted"].clone())).collect();
    let word = |channel: &str, granted: bool| (json!(channel), json!(granted));
    assert_eq!(history, [word("email", false), word("all", false), word("email", true)]);
    // A whole PUT keeps them, and sending back what was read adds nothing.
    put(&shop, "ana", contact(&shop, "ana").await).await;
    assert_eq!(contact(&shop, "ana").await["consents"], expected);
    let path = format!("/v1/contacts/{}/consents", ana["id"].as_str().unwrap());
    assert_eq!(shop.get(&path).await.expect(200)["items"].as_array().unwrap().len(), 3);
    shop.post(&path, &json!({"granted": true, "channel": "pigeon"})).await.has_fault(
        "validation",
        "/channel",
        "unknown_channel",
    );
    shop.post(&path, &json!({})).await.has_fault("validation", "/granted", "required");
    shop.post("/v1/contacts/nobody/consents", &json!({"granted": true})).await.is_problem(404, "not-found");
});

on_each_store!(the_same_person_told_at_once_from_many_sides_is_made_once, async |app: TestApp| {
    let shop = app.shop().await;
    let other = app.another_node().await;
    let there = shop.at(other.router.clone());
    let body = json!({"phone": "+52 1 33 1234 5678"});
    let calls = (0..12).map(|n| {
        let caller = if n % 2 == 0 { (*shop).clone() } else { there.clone() };
        let (body, file) = (body.clone(), format!("phone,name\n3312345678,Ana {n}\n"));
        async move {
            if n % 3 == 0 {
                caller.put("/v1/contacts/ana", &body).await.status
            } else {
                let call = caller.call(axum::http::Method::POST, "/v1/contacts/import");
                call.header("content-type", "text/csv").body(file).await.status
            }
        }
    });
    for status in futures_util::future::join_all(calls).await {
        assert!(matches!(status, 200 | 201 | 503), "{status}");
    }
    assert_eq!(contacts(&shop, "").await.len(), 1);
    other.close().await;
});
