//! Segments over people with a known answer.

use std::ops::ControlFlow;
use std::time::Duration;

use futures_util::future::poll_immediate;
use recado::clock::Timestamp;
use recado::error::Error;
use recado::ids::TenantId;
use recado::segment::Segment;

use super::*;

/// 2026-03-02T15:00:00Z
const NOW: i64 = 1_772_463_600_000;
const DAY: i64 = 24 * 3600 * 1000;

/// Person `n` was here `n % 14` times, the last time `n` days ago.
async fn salon(shop: &Shop, people: i64) {
    let person = |n: i64| {
        let city = if n % 3 == 0 { "León" } else { "Guadalajara" };
        json!({"externalId": format!("p{n}"), "name": format!("Ana {n}"), "attributes": {"city": city, "spent": n * 10}})
    };
    import(shop, "contacts", (0..people).map(person)).await;
    let visits = (0..people).flat_map(|n| {
        (0..n % 14).map(move |k| {
            let starts = Timestamp(NOW - n * DAY - k * 7 * DAY - 3_600_000);
            json!({"externalId": format!("v{n}-{k}"), "contactId": format!("p{n}"), "startsAt": starts.to_string(),
                "status": "COMPLETED"})
        })
    });
    import(shop, "appointments", visits).await;
}

fn answer(people: i64, is_in: impl Fn(i64) -> bool) -> i64 {
    (0..people).filter(|n| is_in(*n)).count() as i64
}

on_each_store!(the_shipped_segments_count_whom_they_should, async |app: TestApp| {
    let shop = app.shop().await;
    // More than one batch.
    salon(&shop, 1_250).await;
    assert_eq!(count(&shop, "all").await, json!({"count": 1_250}));
    assert_eq!(count(&shop, "vip").await["count"], answer(1_250, |n| n % 14 >= 10));
    assert_eq!(count(&shop, "inactive").await["count"], answer(1_250, |n| n % 14 > 0 && n > 90));
    // Somebody books again, somebody is erased, and the time goes by.
    let visit = json!({"contactId": "p200", "startsAt": "2026-03-09T15:00:00Z"});
    shop.put("/v1/appointments/again", &visit).await.expect(201);
    shop.delete("/v1/contacts/p300").await.expect(204);
    assert_eq!(count(&shop, "inactive").await["count"], answer(1_250, |n| n % 14 > 0 && n > 90) - 2);
    assert_eq!(count(&shop, "all").await, json!({"count": 1_249}));
    app.advance(Duration::from_hours(240)).await;
    let later = answer(1_250, |n| n % 14 > 0 && n > 80) - 2;
    assert_eq!(count(&shop, "inactive").await["count"], later, "the visit that was booked has begun");
});

on_each_store!(a_segments_contacts_come_page_by_page, async |app: TestApp| {
    let shop = app.shop().await;
    salon(&shop, 60).await;
    write(&shop, "leon", &segment("contact.attributes.city == \"León\" && contact.attributes.spent >= 100")).await;
    let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = shop.get(&format!("/v1/segments/leon/contacts?limit=7{cursor}")).await.expect(200);
        let items = page["items"].as_array().unwrap();
        seen.extend(items.iter().map(|c| c["externalId"].as_str().unwrap().to_owned()));
        pages += 1;
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let expected: Vec<_> = (10..60).rev().filter(|n| n % 3 == 0).map(|n| format!("p{n}")).collect();
    assert_eq!(seen, expected);
    assert!(pages >= 3, "{pages}");
    let first = shop.get("/v1/segments/leon/contacts?limit=1").await.expect(200)["items"][0].clone();
    assert_eq!(first, shop.get("/v1/contacts/p57").await.expect(200), "a contact is shown as elsewhere");
    shop.get("/v1/segments/leon/contacts?limit=0").await.has_fault("validation", "/limit", "out_of_range");
    shop.get("/v1/segments/leon/contacts?cursor=zzz").await.is_problem(400, "cursor-invalid");
    shop.get("/v1/segments/none/contacts").await.is_problem(404, "not-found");
});

on_each_store!(a_preview_says_who_is_first_why_and_what_it_costs, async |app: TestApp| {
    let shop = app.shop().await;
    salon(&shop, 40).await;
    let source = "fn include(contact, now) {\n  let n = contact.appointments.count;\n  if n > 5 { print(`${contact.name} came ${n} times`); }\n  n > 5\n}";
    write(&shop, "often", &script("segment", source)).await;
    let preview = shop.post("/v1/segments/often/preview", &json!({})).await.expect(200);
    assert_eq!(
        (&preview["name"], &preview["level"], &preview["version"]),
        (&json!("often"), &json!("tenant"), &json!(1))
    );
    let items = preview["items"].as_array().unwrap();
    assert_eq!(items.len(), 10);
    assert_eq!(items[0]["contact"]["externalId"], "p39");
    assert_eq!(items[0]["contact"]["appointments"]["count"], 11);
    assert_eq!(items[0]["log"], json!(["Ana 39 came 11 times"]));
    assert!(items[0]["operations"].as_u64().unwrap() > 3, "{preview}");
    let looked = preview["cost"]["contacts"].as_u64().unwrap();
    assert_eq!(looked, 16, "up to the tenth who is in");
    assert_eq!(preview["wholeRun"]["contacts"], 40);
    let operations = |cost: &Value| cost["operations"].as_u64().unwrap();
    assert!(operations(&preview["wholeRun"]) > 2 * operations(&preview["cost"]), "{preview}");
    shop.post("/v1/segments/often/preview", &json!({"x": 1})).await.is_problem(422, "validation");
});

on_each_store!(a_fault_names_script_line_and_contact_and_stops_nothing_else, async |app: TestApp| {
    let shop = app.shop().await;
    salon(&shop, 50).await;
    let source = "fn include(contact, now) {\n    if contact.externalId == \"p7\" { throw \"no\"; }\n    if contact.externalId == \"p8\" { for i in 0..9000000 { let n = i; } }\n    if contact.externalId == \"p9\" { return 5; }\n    true\n}";
    write(&shop, "moody", &script("segment", source)).await;
    let counted = count(&shop, "moody").await;
    assert_eq!((&counted["count"], &counted["failed"]), (&json!(47), &json!(3)), "{counted}");
    let id = async |name: &str| shop.get(&format!("/v1/contacts/{name}")).await.expect(200)["id"].clone();
    for (at, contact, code, line, said) in [
        (2, "p7", "script_failed", json!(2), "the script threw: no"),
        // Of a loop that ran out of operations the engine does not always know the line.
        (1, "p8", "script_limit", json!(null), "more than 20000 operations"),
        (0, "p9", "script_result", json!(null), "true or false"),
    ] {
        let fault = &counted["errors"][at];
        assert_eq!((&fault["script"], &fault["contactId"]), (&json!("moody"), &id(contact).await));
        assert_eq!((&fault["code"], &fault["line"]), (&json!(code), &line), "{fault}");
        assert!(fault["detail"].as_str().unwrap().contains(said), "{fault}");
    }
    let preview = shop.post("/v1/segments/moody/preview", &json!({})).await.expect(200);
    assert_eq!(preview["items"].as_array().unwrap().len(), 10);
    // A script that never ends for anybody ends for everybody.
    write(&shop, "endless", &segment("loop {}")).await;
    let counted = count(&shop, "endless").await;
    assert_eq!((&counted["count"], &counted["failed"]), (&json!(0), &json!(50)));
    assert_eq!(counted["errors"].as_array().unwrap().len(), 10);
    assert_eq!(count(&shop, "all").await, json!({"count": 50}));
});

on_each_store!(one_tenants_runs_are_bounded_and_hold_up_nobody_else, async |app: TestApp| {
    let (shop, other) = (app.shop().await, Shop::new(&app, "Salón Dos").await);
    let (runs, id) = (&app.app.segment_runs, TenantId::from(shop.id.as_str()));
    let under_way = [runs.take(&id).await.unwrap(), runs.take(&id).await.unwrap()];
    let mut waiting: Vec<_> = (0..8).map(|_| Box::pin(runs.take(&id))).collect();
    for one in &mut waiting {
        assert!(poll_immediate(one).await.is_none());
    }
    for path in ["count", "contacts"] {
        let refused = shop.get(&format!("/v1/segments/all/{path}")).await;
        refused.is_problem(429, "rate-limited");
        assert!(refused.header("retry-after").is_some());
        assert_eq!(other.get(&format!("/v1/segments/all/{path}")).await.status, 200);
    }
    shop.post("/v1/segments/all/preview", &json!({})).await.is_problem(429, "rate-limited");
    drop(under_way);
    for one in waiting {
        assert!(one.await.is_some());
    }
    assert_eq!(count(&shop, "all").await, json!({"count": 0}));
});

on_each_store!(a_run_that_takes_too_long_is_ended_between_two_batches, async |app: TestApp| {
    let shop = app.shop().await;
    import(&shop, "contacts", (0..1_001).map(|n| json!({"externalId": format!("p{n}")}))).await;
    let tenant = app.app.tenants.get(&shop.id.as_str().into()).await.unwrap();
    let segment = Segment::find(&app.app, &tenant.id, "all").await.unwrap();
    for (seconds, ends) in [(60, true), (61, false)] {
        let mut asked = 0;
        let walk = segment.walk(&app.app, &tenant, None, |_, _| {
            if asked == 0 {
                app.clock.advance(Duration::from_secs(seconds));
            }
            asked += 1;
            ControlFlow::Continue(())
        });
        match walk.await {
            Ok(walk) => assert_eq!((ends, walk.contacts, walk.elapsed.as_secs()), (true, 1_001, seconds)),
            Err(Error::Invalid { slug, faults }) => {
                assert_eq!((ends, slug, &*faults[0].code), (false, "script-limit", "script_limit"));
                assert!(faults[0].detail.contains("60 s"), "{faults:?}");
            }
            Err(other) => panic!("{other}"),
        }
        assert_eq!(asked, if ends { 1_001 } else { 1_000 });
    }
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_about_a_contact_can_be_asked() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    let body = json!({"name": "Ana López", "phone": "33 1234 5678", "email": "ana@example.com", "locale": "es-MX",
        "timezone": "America/Mexico_City", "attributes": {"tags": ["novia", "vip"], "birthday": "1990-03-17",
        "address": {"city": "León"}}, "preferences": {"channels": ["sms"]},
        "consents": [{"channel": "sms", "granted": true}]});
    shop.put("/v1/contacts/ana", &body).await.expect(201);
    for (visit, starts, status) in [
        ("v1", "2026-01-31T15:00:00Z", "COMPLETED"),
        ("v2", "2026-02-10T15:00:00Z", "NO_SHOW"),
        ("v3", "2026-02-11T15:00:00Z", "CANCELLED"),
        ("v4", "2026-03-04T15:00:00Z", "CONFIRMED"),
    ] {
        let visit_body = json!({"contactId": "ana", "startsAt": starts, "status": status});
        shop.put(&format!("/v1/appointments/{visit}"), &visit_body).await.expect(201);
    }
    for condition in [
        "contact.name == \"Ana López\" && contact.externalId == \"ana\" && contact.id.len == 36",
        "contact.phone == \"+523312345678\" && contact.email.ends_with(\"example.com\")",
        "contact.locale == \"es-MX\" && contact.timezone == \"America/Mexico_City\"",
        "\"vip\" in contact.tags && !(\"nueva\" in contact.tags)",
        "contact.attributes.address.city == \"León\" && contact.attributes.nothing == ()",
        "contact.attributes[\"birthday\"] == \"1990-03-17\" && \"birthday\" in contact.attributes",
        "contact.attributes.pick(\"address.city\") == \"León\" && contact.attributes.pick(\"a.b\") == ()",
        "moment(contact.attributes.birthday).month == now.month",
        "contact.attributes.keys().len == 3",
        "contact.preferences.channels[0] == \"sms\"",
        "contact.consents[0].channel == \"sms\" && contact.consents[0].granted",
        "contact.appointments.count == 4 && contact.appointments.completed == 1",
        "contact.appointments.cancelled == 1 && contact.appointments.noShows == 1",
        "contact.appointments.daysSinceLast == 30",
        "contact.appointments.lastAt < now && contact.appointments.nextAt > now",
        "contact.appointments.nextAt.date == \"2026-03-04\" && contact.appointments.nextAt.time == \"09:00\"",
        "now.days_since(contact.appointments.lastAt) == 30 && now.hours_since(contact.appointments.lastAt) == 720",
        // Nine in the morning of a Monday in Mexico.
        "now.hour == 9 && now.minute == 0 && now.weekday == 1 && now.day == 2 && now.year == 2026",
        "now.plus(\"2h\").hour == 11 && now.minus(\"1d\").date == \"2026-03-01\" && now.plus(\"1d\") > now",
        "now == moment(\"2026-03-02T15:00:00Z\") && now.unix == 1772463600 && now != now.plus(\"1s\")",
        "contact.createdAt <= now && moment(\"nonsense\") == () && now.days_since(()) == ()",
        "`${now}` == \"2026-03-02T15:00:00.000Z\"",
    ] {
        write(&shop, "asks", &segment(condition)).await;
        assert_eq!(count(&shop, "asks").await, json!({"count": 1}), "{condition}");
    }
    for (condition, said) in [
        ("contact.nmae == \"\"", "there is no field `nmae` here (did you mean `name`?)"),
        ("contact.appointments.noshows > 1", "(did you mean `noShows`?)"),
        ("contact.name = \"x\"; true", "name"),
        ("now.plus(\"soon\") > now", "not a duration"),
    ] {
        write(&shop, "asks", &segment(condition)).await;
        let counted = count(&shop, "asks").await;
        let detail = counted["errors"][0]["detail"].as_str().unwrap_or_default();
        assert!(counted["count"] == 0 && detail.contains(said), "{condition}: {counted}");
    }
}
