//! Scripts in versions.

use super::*;
use crate::support::hostile;

const TEN: &str = "contact.appointments.count >= 10";
const FIVE: &str = "contact.appointments.count >= 5";

on_each_store!(a_script_is_written_read_listed_rolled_back_and_deleted, async |app: TestApp| {
    let shop = app.shop().await;
    let made = shop.put("/v1/scripts/regulars", &segment(TEN)).await.expect(201);
    assert_eq!(
        (&made["name"], &made["kind"], &made["level"]),
        (&json!("regulars"), &json!("segment"), &json!("tenant"))
    );
    assert_eq!((&made["version"], &made["source"]), (&json!(1), &segment(TEN)["source"]));
    let second = shop.put("/v1/scripts/regulars", &segment(FIVE)).await.expect(200);
    assert_eq!(second["version"], 2);
    assert_eq!(shop.get("/v1/scripts/regulars").await.expect(200), second);
    let versions = shop.get("/v1/scripts/regulars/versions").await.expect(200);
    let seen: Vec<_> = versions["items"].as_array().unwrap().iter().map(|v| (&v["version"], &v["current"])).collect();
    assert_eq!(seen, [(&json!(2), &json!(true)), (&json!(1), &json!(false))]);
    let back = shop.post("/v1/scripts/regulars/rollback", &json!({})).await.expect(200);
    assert_eq!((&back["version"], &back["source"]), (&json!(1), &segment(TEN)["source"]));
    shop.post("/v1/scripts/regulars/rollback", &json!({})).await.is_problem(409, "wrong-state");
    shop.post("/v1/scripts/regulars/rollback", &json!({"version": 9})).await.has_fault(
        "validation",
        "/version",
        "out_of_range",
    );
    let forward = shop.post("/v1/scripts/regulars/rollback", &json!({"version": 2})).await.expect(200);
    assert_eq!(forward["source"], segment(FIVE)["source"]);
    let listed = shop.get("/v1/scripts").await.expect(200);
    let names: Vec<_> = listed["items"].as_array().unwrap().iter().map(|s| (&s["name"], &s["level"])).collect();
    let (platform, tenant) = (json!("platform"), json!("tenant"));
    let expected = [json!("all"), json!("inactive"), json!("regulars"), json!("vip")];
    assert_eq!(names.iter().map(|(name, _)| (*name).clone()).collect::<Vec<_>>(), expected);
    assert_eq!(
        names.iter().map(|(_, level)| (*level).clone()).collect::<Vec<_>>(),
        [platform.clone(), platform.clone(), tenant, platform]
    );
    shop.delete("/v1/scripts/regulars").await.expect(204);
    for path in ["/v1/scripts/regulars", "/v1/scripts/regulars/versions", "/v1/segments/regulars/count"] {
        shop.get(path).await.is_problem(404, "not-found");
    }
    shop.delete("/v1/scripts/regulars").await.is_problem(404, "not-found");
    shop.post("/v1/scripts/regulars/rollback", &json!({})).await.is_problem(404, "not-found");
    assert_eq!(
        shop.put("/v1/scripts/regulars", &segment(TEN)).await.expect(200)["version"],
        3,
        "versions go on counting"
    );
});

on_each_store!(a_tenants_segment_takes_the_place_of_the_platforms_and_only_theirs, async |app: TestApp| {
    let (one, two) = (app.shop().await, Shop::new(&app, "Salón Dos").await);
    for shop in [&one, &two] {
        import(shop, "contacts", (0..6).map(|n| json!({"externalId": n.to_string(), "name": format!("Ana {n}")})))
            .await;
    }
    assert_eq!(count(&one, "all").await, json!({"count": 6}));
    write(&one, "all", &segment("contact.externalId == \"3\"")).await;
    assert_eq!(count(&one, "all").await, json!({"count": 1}));
    assert_eq!(count(&two, "all").await, json!({"count": 6}));
    let level = async |shop: &Shop| shop.get("/v1/scripts/all").await.expect(200)["level"].clone();
    assert_eq!((level(&one).await, level(&two).await), (json!("tenant"), json!("platform")));
    let listed = one.get("/v1/segments").await.expect(200);
    assert_eq!(
        listed["items"],
        json!([{"name": "all", "level": "tenant", "version": 1},
        {"name": "inactive", "level": "platform", "version": null}, {"name": "vip", "level": "platform", "version": null}])
    );
    one.delete("/v1/scripts/all").await.expect(204);
    assert_eq!(count(&one, "all").await, json!({"count": 6}));
    // Another kind of the same name is no segment.
    write(&one, "vip", &script("campaign", "fn message(contact, now) { () }")).await;
    assert_eq!(count(&one, "vip").await, json!({"count": 0}));
});

on_each_store!(b67_what_does_not_compile_is_refused_with_its_place_and_nothing_is_kept, async |app: TestApp| {
    let shop = app.shop().await;
    for (kind, source, said) in hostile::refused_scripts() {
        let answer = shop.put("/v1/scripts/bad", &script(kind, &source)).await;
        let detail = answer.has_fault("script-invalid", "/source", "script_invalid");
        assert!(detail.contains(said), "{source:.60}: {detail}");
        let tried = try_out(&shop, &script(kind, &source)).await;
        assert!(tried.has_fault("script-invalid", "/source", "script_invalid").contains(said), "{source:.60}");
    }
    let place = shop.put("/v1/scripts/bad", &segment("\n  contct.name")).await.is_problem(422, "script-invalid");
    assert_eq!((&place["errors"][0]["line"], &place["errors"][0]["column"]), (&json!(2), &json!(3)));
    shop.get("/v1/scripts/bad").await.is_problem(404, "not-found");
    write(&shop, "good", &segment("true")).await;
    assert_eq!(count(&shop, "good").await, json!({"count": 0}));
    assert_eq!(shop.get("/v1/scripts/good").await.expect(200)["version"], 1);
});

on_each_store!(names_kinds_and_branches_are_checked, async |app: TestApp| {
    let shop = app.shop().await;
    let branch = shop.branch(json!({})).await;
    let fine = segment("true");
    let long = "x".repeat(65);
    for name in ["VIP", "a.b", "se%C3%B1oras", &long] {
        let answer = shop.put(&format!("/v1/scripts/{name}"), &fine).await;
        answer.has_fault("validation", "/name", "name");
    }
    shop.put("/v1/scripts/route", &fine).await.has_fault("validation", "/kind", "wrong_type");
    let at = format!("/v1/scripts/mine?branchId={branch}");
    shop.put(&at, &fine).await.has_fault("validation", "/branchId", "not_allowed");
    let nowhere = "/v1/scripts/route?branchId=01930000-0000-7000-8000-000000000000";
    shop.put(nowhere, &fine).await.has_fault("validation", "/branchId", "unknown_branch");
    shop.put("/v1/scripts/x", &script("filter", "")).await.is_problem(422, "validation");
    shop.put("/v1/scripts/x", &json!({"kind": "segment"})).await.has_fault("validation", "/source", "required");
    let extra = json!({"kind": "segment", "source": "", "name": "x"});
    shop.put("/v1/scripts/x", &extra).await.has_fault("validation", "/name", "unknown_field");
    shop.key(&["read", "send"]).await.put("/v1/scripts/x", &fine).await.is_problem(403, "forbidden");
    let own = shop.get("/v1/scripts").await.expect(200)["items"].as_array().unwrap().len();
    assert_eq!(own, 3, "nothing was kept");
    let route = script("route", "fn route(notification, contact, channels, now) { channels }");
    let made = shop.put(&format!("/v1/scripts/route?branchId={branch}"), &route).await.expect(201);
    assert_eq!((&made["level"], &made["branchId"]), (&json!("branch"), &json!(branch)));
    shop.get("/v1/scripts/route").await.is_problem(404, "not-found");
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_has_a_bounded_number_of_scripts() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    for n in 0..100 {
        write(&shop, &format!("s{n}"), &segment("true")).await;
    }
    let refused = shop.put("/v1/scripts/one-more", &segment("true")).await.is_problem(409, "wrong-state");
    assert!(refused["detail"].as_str().unwrap().contains("at most 100"), "{refused}");
    assert_eq!(shop.put("/v1/scripts/s7", &segment("false")).await.expect(200)["version"], 2);
    shop.delete("/v1/scripts/s7").await.expect(204);
    shop.put("/v1/scripts/one-more", &segment("true")).await.expect(201);
}
