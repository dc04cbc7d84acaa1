//! Imports, their reports, and the export.

use axum::body::{Body, Bytes};
use futures_util::stream;

use super::*;

on_each_store!(a_file_as_people_have_it_is_taken_in, async |app: TestApp| {
    let shop = app.shop().await;
    let file = "\u{feff}Nombre;Apellidos;Teléfono;Correo electrónico;Cumpleaños;consent.email;\r\n\
        Ana;\"López; Díaz\";33 1234 5678;ana@x.example;17/05;sí;\r\n\
        Beto;;;beto@x.example;;no;\r\n\r\n";
    let report = csv(&shop, file).await;
    assert_eq!((counts(&report), &report["state"], &report["line"]), ([2, 0, 0], &json!("done"), &json!(3)));
    let column = |name: &str, field: Option<&str>| json!({"column": name, "field": field});
    let columns = json!([
        column("Nombre", Some("name")),
        column("Apellidos", Some("lastName")),
        column("Teléfono", Some("phone")),
        column("Correo electrónico", Some("email")),
        column("Cumpleaños", Some("attributes.Cumpleaños")),
        column("consent.email", Some("consent.email")),
        column("", None)
    ]);
    assert_eq!(report["columns"], columns);
    let ana = &contacts(&shop, "q=ana").await[0];
    assert_eq!((&ana["name"], &ana["phone"]), (&json!("Ana López; Díaz"), &json!("+523312345678")));
    assert_eq!((&ana["attributes"], &ana["consents"][0]["granted"]), (&json!({"Cumpleaños": "17/05"}), &json!(true)));
    assert_eq!(ana["consents"][0]["source"], "import");
    let again = csv(&shop, file).await;
    assert_eq!(counts(&again), [0, 2, 0]);
    assert_eq!(contacts(&shop, "").await.len(), 2);
    // A blank cell says nothing.
    csv(&shop, "phone,email,name\n3312345678,,\n").await;
    assert_eq!(contacts(&shop, "q=ana").await[0]["email"], "ana@x.example");
    let listed = shop.get("/v1/imports").await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 3);
    assert_eq!(listed["items"][2]["id"], report["id"]);
    let path = format!("/v1/imports/{}", report["id"].as_str().unwrap());
    assert_eq!(shop.get(&path).await.expect(200), report);
});

on_each_store!(b69_a_bad_row_is_refused_with_line_and_reason_and_the_rest_is_taken, async |app: TestApp| {
    let shop = app.shop().await;
    let file = format!(
        "name,phone,email\nAna,3312345678,\nx,12,\nBeto,3312345679,,,too,many\n\"{}\",3312345670,\nAna otra,+52 1 33 1234 5678,\n\
         \"dos\nlíneas\",3312345671,\nCeci,3312345672,a@x..example\nnadie,,\nFin,3312345673,fin@x.example\nFin,,FIN@x.example\n",
        "x".repeat(10 * 1024 * 1024)
    );
    let report = import(&shop, "contacts", "text/csv", file).await.expect(200);
    let expected = [
        (3, "phone"),
        (4, "too_many_fields"),
        (5, "too_long"),
        (6, "duplicate"),
        (7, "control_characters"),
        (9, "email"),
        (10, "no_address"),
        (12, "duplicate"),
    ];
    assert_eq!(refused(&report), expected);
    assert_eq!(counts(&report), [2, 0, 8]);
    let errors = report["errors"].as_array().unwrap();
    assert_eq!(errors[0]["pointer"], "/phone");
    assert!(errors[3]["detail"].as_str().unwrap().contains("line 2"), "{}", errors[3]);
    assert_eq!(contacts(&shop, "q=ana").await[0]["name"], "Ana");
});

on_each_store!(b68_a_file_that_is_no_csv_is_refused_whole, async |app: TestApp| {
    let shop = app.shop().await;
    for (file, line, code) in [
        (b"name,age\nAna,7\n".to_vec(), 1, "no_address_column"),
        (b"name,phone\nAna,3312345678\n\"Beto,3312345679\nCeci,3312345670\n".to_vec(), 3, "unclosed_quote"),
        (b"name,phone\nAna,3312345678\nJos\xe9,3312345679\n".to_vec(), 3, "not_utf8"),
        (b"\xff\xfen\0a\0".to_vec(), 1, "not_utf8"),
        (b"".to_vec(), 1, "no_header"),
        (b"phone,tel\n1,2\n".to_vec(), 1, "duplicate_column"),
    ] {
        let answer = import(&shop, "contacts", "text/csv", file).await;
        let detail = answer.has_fault("csv-invalid", &format!("/lines/{line}"), code);
        assert!(detail.contains(&format!("line {line}")) && detail.contains("nothing was taken"), "{detail}");
    }
    assert!(contacts(&shop, "").await.is_empty());
    assert_eq!(shop.get("/v1/imports").await.expect(200)["items"][0]["state"], "stopped");
    for kind in ["application/json", "text/csv; charset=latin1", "multipart/form-data; boundary=x"] {
        let call = shop.call(axum::http::Method::POST, "/v1/contacts/import").header("content-type", kind);
        call.body("phone\n3312345678\n").await.is_problem(415, "unsupported-media-type");
    }
    shop.call(axum::http::Method::POST, "/v1/contacts/import")
        .body("x")
        .await
        .is_problem(415, "unsupported-media-type");
});

on_each_store!(lines_of_json_are_taken_one_by_one, async |app: TestApp| {
    let shop = app.shop().await;
    let file = b"\xef\xbb\xbf{\"externalId\":\"a\",\"phone\":\"3312345678\",\"attributes\":{\"n\":1}}\r\n\
        not json\n\
        {\"externalId\":\"b\",\"fone\":\"1\"}\n\
        {\"externalId\":\"b\",\"externalId\":\"c\"}\n\
        {\"externalId\":\"\xff\"}\n\
        [1]\n\n\
        {\"externalId\":\"b\",\"email\":\"b@x.example\",\"consents\":[{\"granted\":false,\"channel\":\"sms\"}]}"
        .to_vec();
    let report = import(&shop, "contacts", "application/x-ndjson", file).await.expect(200);
    let expected =
        [(2, "malformed_json"), (3, "unknown_field"), (4, "malformed_json"), (5, "not_utf8"), (6, "wrong_type")];
    assert_eq!(refused(&report), expected);
    assert_eq!(counts(&report), [2, 0, 5]);
    assert_eq!(report["columns"], json!([]));
    assert_eq!(contact(&shop, "b").await["consents"][0]["channel"], "sms");
});

on_each_store!(a_long_file_is_taken_in_batches_and_what_came_before_a_fault_stays, async |app: TestApp| {
    let shop = app.shop().await;
    let row = |n: usize| format!("c-{n},33{:08},x{n}@x.example\n", 10_000_000 + n);
    let head = || vec![Bytes::from("externalId,phone,email\n")];
    let mut chunks = head();
    chunks.extend((0..2200).map(|n| Bytes::from(row(n))));
    chunks.push(Bytes::from("\"open,3312345678,\n"));
    let body = Body::from_stream(stream::iter(chunks.into_iter().map(Ok::<_, std::io::Error>)));
    let answer = import(&shop, "contacts", "text/csv", body).await;
    let detail = answer.has_fault("csv-invalid", "/lines/2202", "unclosed_quote");
    assert!(detail.contains("2000 rows before it were taken"), "{detail}");
    let stopped = shop.get("/v1/imports").await.expect(200)["items"][0].clone();
    assert_eq!((&stopped["created"], &stopped["line"]), (&json!(2000), &json!(2001)));
    assert_eq!(stopped["problem"]["code"], "unclosed_quote");
    // Repaired and sent again: nobody is there twice.
    let file: String = std::iter::once("externalId,phone,email\n".to_owned()).chain((0..2200).map(row)).collect();
    let report = csv(&shop, &file).await;
    assert_eq!(counts(&report), [200, 2000, 0]);
    // A second line for somebody in an earlier batch is found, too, by whatever it names them.
    let twice = format!("{file}c-3,,\n,3310000004,\n,,X5@x.example\n");
    let report = csv(&shop, &twice).await;
    assert_eq!(refused(&report), [(2202, "duplicate"), (2203, "duplicate"), (2204, "duplicate")]);
    // The sender goes away.
    let broken = head().into_iter().map(Ok).chain([Err(std::io::Error::other("gone"))]);
    let answer = import(&shop, "contacts", "text/csv", Body::from_stream(stream::iter(broken))).await;
    answer.has_fault("csv-invalid", "/lines/0", "ended_early");
    assert_eq!(shop.get("/v1/imports").await.expect(200)["items"][0]["problem"]["code"], "ended_early");
});

on_each_store!(an_export_is_taken_by_the_import_as_it_is, async |app: TestApp| {
    let shop = app.shop().await;
    put(&shop, "ana", json!({"name": "Ana \"la\" López; Díaz, hija", "phone": "3312345678", "attributes": {"n": [1, {"a": "ñ\n"}]},
        "preferences": {"channels": ["sms"]}, "consents": [{"granted": false, "channel": "sms", "source": "form"}], "locale": "es-MX"})).await;
    put(&shop, "beto", json!({"email": "beto@x.example", "timezone": "America/Mexico_City"})).await;
    csv(&shop, "phone\n3300000001\n").await;
    for (format, kind) in [("ndjson", "application/x-ndjson"), ("csv", "text/csv")] {
        let exported = shop.get(&format!("/v1/contacts/export?format={format}")).await;
        assert!(exported.header("content-type").unwrap().starts_with(kind));
        let moved = Shop::new(&app, format).await;
        let report = import(&moved, "contacts", kind, exported.body.clone()).await.expect(200);
        assert_eq!((counts(&report), refused(&report)), ([3, 0, 0], vec![]), "{format}: {report}");
        for id in ["ana", "beto"] {
            let (mut here, mut there) = (contact(&shop, id).await, contact(&moved, id).await);
            for own in ["id", "createdAt", "updatedAt"] {
                here[own].take();
                there[own].take();
            }
            assert_eq!(here, there, "{format}");
        }
    }
    let empty = Shop::new(&app, "Nadie").await;
    assert_eq!(empty.get("/v1/contacts/export").await.text(), "");
    assert!(empty.get("/v1/contacts/export?format=csv").await.text().starts_with("id,externalId,name,phone,"));
    shop.get("/v1/contacts/export?format=xls").await.has_fault("validation", "/format", "out_of_range");
});
