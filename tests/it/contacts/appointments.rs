//! Appointments, and the figures of the people they are for.

use super::*;

/// The tests' morning is 2026-03-02T15:00:00Z.
fn visit(contact: &str, starts: &str, status: &str) -> Value {
    json!({"contactId": contact, "startsAt": starts, "status": status})
}

async fn book(shop: &Shop, id: &str, body: Value) -> Value {
    let answer = shop.put(&format!("/v1/appointments/{id}"), &body).await;
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
    answer.json()
}

async fn figures(shop: &Shop, id: &str) -> Value {
    contact(shop, id).await["appointments"].clone()
}

on_each_store!(an_appointment_is_made_moved_read_and_deleted, async |app: TestApp| {
    let shop = app.shop().await;
    let branch = shop.branch(json!({})).await;
    let ana = put(&shop, "ana", json!({"name": "Ana"})).await;
    let body = json!({"contactId": "ana", "startsAt": "2026-03-03T14:00:00-06:00", "endsAt": "2026-03-03T15:30:00-06:00",
        "status": "REQUESTED", "service": "Manicure y Pedicure", "professional": "Eva", "branchId": branch,
        "attributes": {"room": 2}});
    let made = shop.put("/v1/appointments/v-1", &body).await.expect(201);
    assert_eq!((&made["contactId"], &made["startsAt"]), (&ana["id"], &json!("2026-03-03T20:00:00.000Z")));
    for field in ["service", "professional", "branchId", "attributes", "status"] {
        assert_eq!(made[field], body[field], "{field}");
    }
    assert_eq!(shop.get("/v1/appointments/v-1").await.expect(200), made);
    assert_eq!(shop.put("/v1/appointments/v-1", &made).await.expect(200), made, "what was read may be written back");
    let moved = shop.put("/v1/appointments/v-1", &visit("ana", "2026-03-04T10:00:00Z", "CONFIRMED")).await.expect(200);
    assert_eq!((&moved["service"], &moved["createdAt"]), (&Value::Null, &made["createdAt"]));
    assert_eq!(figures(&shop, "ana").await["nextAt"], "2026-03-04T10:00:00.000Z");
    shop.delete("/v1/appointments/v-1").await.expect(204);
    shop.delete("/v1/appointments/v-1").await.is_problem(404, "not-found");
    shop.get("/v1/appointments/v-1").await.is_problem(404, "not-found");
    assert_eq!(figures(&shop, "ana").await["count"], 0);
});

on_each_store!(figures_follow_every_change_and_the_time, async |app: TestApp| {
    let shop = app.shop().await;
    for id in ["ana", "beto"] {
        put(&shop, id, json!({})).await;
    }
    book(&shop, "v1", visit("ana", "2026-02-01T10:00:00Z", "COMPLETED")).await;
    book(&shop, "v2", visit("ana", "2026-02-20T10:00:00Z", "NO_SHOW")).await;
    book(&shop, "v3", visit("ana", "2026-03-02T17:00:00Z", "CONFIRMED")).await;
    book(&shop, "v4", visit("ana", "2026-03-05T10:00:00Z", "CANCELLED")).await;
    book(&shop, "v5", visit("ana", "2026-03-09T10:00:00Z", "REQUESTED")).await;
    let now = json!({"count": 5, "completed": 1, "cancelled": 1, "noShows": 1,
        "lastAt": "2026-02-01T10:00:00.000Z", "nextAt": "2026-03-02T17:00:00.000Z"});
    assert_eq!(figures(&shop, "ana").await, now);
    // Nobody tells that it began, but it did.
    app.advance(std::time::Duration::from_hours(3)).await;
    let later = figures(&shop, "ana").await;
    assert_eq!(
        (&later["lastAt"], &later["nextAt"]),
        (&json!("2026-03-02T17:00:00.000Z"), &json!("2026-03-09T10:00:00.000Z"))
    );
    assert_eq!(contacts(&shop, "").await[1]["appointments"], later);
    // One that changes hands leaves the one and joins the other.
    book(&shop, "v5", visit("beto", "2026-03-09T10:00:00Z", "CONFIRMED")).await;
    let (ana, beto) = (figures(&shop, "ana").await, figures(&shop, "beto").await);
    assert_eq!((&ana["count"], &ana["nextAt"]), (&json!(4), &Value::Null));
    assert_eq!((&beto["count"], &beto["nextAt"]), (&json!(1), &json!("2026-03-09T10:00:00.000Z")));
});

on_each_store!(appointments_are_listed_by_person_and_range, async |app: TestApp| {
    let shop = app.shop().await;
    for id in ["ana", "beto"] {
        put(&shop, id, json!({})).await;
    }
    for (id, contact, day, status) in [
        ("v1", "ana", 1, "COMPLETED"),
        ("v2", "beto", 3, "CONFIRMED"),
        ("v4", "ana", 5, "CONFIRMED"),
        ("v3", "ana", 5, "CANCELLED"),
    ] {
        book(&shop, id, visit(contact, &format!("2026-03-{day:02}T10:00:00Z"), status)).await;
    }
    let ids = async |query: &str| -> Vec<String> {
        let page = shop.get(&format!("/v1/appointments?{query}")).await.expect(200);
        page["items"].as_array().unwrap().iter().map(|v| v["externalId"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids("").await, ["v1", "v2", "v3", "v4"]);
    assert_eq!(ids("contactId=ana&from=2026-03-02T00:00:00Z").await, ["v3", "v4"]);
    assert_eq!(ids("from=2026-03-01T10:00:00Z&to=2026-03-03T10:00:00Z").await, ["v1"]);
    assert_eq!(ids("status=CONFIRMED").await, ["v2", "v4"]);
    assert_eq!(ids("contactId=nobody").await, Vec::<String>::new());
    let first = shop.get("/v1/appointments?limit=3").await.expect(200);
    assert_eq!(ids(&format!("cursor={}", first["nextCursor"].as_str().unwrap())).await, ["v4"]);
    shop.get("/v1/appointments?from=yesterday").await.has_fault("validation", "/from", "timestamp");
    shop.get("/v1/appointments?status=LATE").await.has_fault("validation", "/status", "out_of_range");
    shop.get("/v1/appointments?cursor=zzz").await.is_problem(400, "cursor-invalid");
});

on_each_store!(what_an_appointment_must_not_hold_is_refused, async |app: TestApp| {
    let shop = app.shop().await;
    put(&shop, "ana", json!({"phone": "3312345678"})).await;
    put(&shop, "eva", json!({"phone": "3312345678"})).await;
    let usual = || json!({"contactId": "ana", "startsAt": "2026-03-03T14:00:00Z"});
    let with = |field: &str, value: Value| {
        let mut body = usual();
        body[field] = value;
        body
    };
    for (body, pointer, code) in [
        (json!({"startsAt": "2026-03-03T14:00:00Z"}), "/contactId", "required"),
        (with("contactId", json!("nobody")), "/contactId", "unknown_contact"),
        (json!({"phone": "3300000000", "startsAt": "2026-03-03T14:00:00Z"}), "/phone", "unknown_contact"),
        (json!({"phone": "3312345678", "startsAt": "2026-03-03T14:00:00Z"}), "/phone", "ambiguous"),
        (json!({"contactId": "ana"}), "/startsAt", "required"),
        (with("startsAt", json!("2026-03-03 14:00")), "/startsAt", "timestamp"),
        (with("startsAt", json!("2300-03-03T14:00:00Z")), "/startsAt", "out_of_range"),
        (with("endsAt", json!("2026-03-03T13:00:00Z")), "/endsAt", "out_of_range"),
        (with("status", json!("LATE")), "/status", "out_of_range"),
        (with("branchId", json!("nowhere")), "/branchId", "unknown_branch"),
        (with("externalId", json!("other")), "/externalId", "exactly_one_of"),
        (with("service", json!("a\nb")), "/service", "control_characters"),
        (with("start", json!("x")), "/start", "unknown_field"),
    ] {
        shop.put("/v1/appointments/v1", &body).await.has_fault("validation", pointer, code);
    }
    assert_eq!(figures(&shop, "ana").await["count"], 0);
});

on_each_store!(appointments_come_in_files_too, async |app: TestApp| {
    let shop = app.shop().await;
    shop.change(json!({"timezone": "America/Mexico_City"})).await;
    put(&shop, "ana", json!({"phone": "3312345678", "email": "ana@x.example"})).await;
    let file = "Folio;Cliente ID;Teléfono;Inicio;Estado;Servicio\n\
        v1;ana;;2026-03-03 09:00;CONFIRMED;Corte\n\
        v2;;+52 1 33 1234 5678;2026-02-01T10:00:00Z;COMPLETED;\n\
        v3;nobody;;2026-03-03 09:00;;\n\
        v1;ana;;2026-03-04 09:00;;\n\
        v4;ana;;mañana;;\n";
    let report = import(&shop, "appointments", "text/csv", file).await.expect(200);
    assert_eq!(counts(&report), [2, 0, 3]);
    assert_eq!(refused(&report), [(4, "unknown_contact"), (5, "duplicate"), (6, "timestamp")]);
    assert_eq!(shop.get("/v1/appointments/v1").await.expect(200)["startsAt"], "2026-03-03T15:00:00.000Z");
    let expected = json!({"count": 2, "completed": 1, "cancelled": 0, "noShows": 0,
        "lastAt": "2026-02-01T10:00:00.000Z", "nextAt": "2026-03-03T15:00:00.000Z"});
    assert_eq!(figures(&shop, "ana").await, expected);
    let lines = "{\"externalId\":\"v1\",\"email\":\"ANA@x.example\",\"startsAt\":\"2026-03-03T15:00:00Z\",\"status\":\"CANCELLED\"}\n";
    let report = import(&shop, "appointments", "application/x-ndjson", lines).await.expect(200);
    assert_eq!(counts(&report), [0, 1, 0]);
    assert_eq!(figures(&shop, "ana").await["cancelled"], 1);
    import(&shop, "appointments", "text/csv", "externalId,startsAt\n").await.has_fault(
        "csv-invalid",
        "/lines/1",
        "no_address_column",
    );
    import(&shop, "appointments", "text/csv", "contactId\n").await.has_fault(
        "csv-invalid",
        "/lines/1",
        "column_missing",
    );
});
