//! A manager of one branch: a token with a `branchId` acts within that branch, and nowhere else.

use serde_json::{Value, json};

use crate::support::{Caller, JWT_SECRET, Shop, TestApp, hello, token};

struct Branches {
    shop: Shop,
    centro: String,
    norte: String,
    /// For Centro only.
    manager: Caller,
}

async fn branches(app: &TestApp) -> Branches {
    let shop = app.shop().await;
    let (centro, norte) = (shop.branch(json!({})).await, shop.branch(json!({"name": "Sucursal Norte"})).await);
    let claims = json!({"sub": "u1", "tenantId": shop.id, "role": "ADMIN", "branchId": centro,
        "exp": app.now().0 / 1000 + 600});
    let manager = app.nobody().with_key(&token("HS256", &claims, JWT_SECRET.as_bytes()));
    Branches { shop, centro, norte, manager }
}

fn at(branch: &str) -> Value {
    let mut body = hello();
    body["branchId"] = json!(branch);
    body
}

on_each_store!(what_a_branch_sends_is_its_own_and_others_are_refused, async |app: TestApp| {
    let Branches { shop, centro, norte, manager } = branches(&app).await;
    let unnamed = manager.post("/v1/notify", &hello()).await.expect(202);
    let id = unnamed["logId"].as_str().unwrap();
    assert_eq!(shop.find(id).await["branchId"], json!(centro), "a branch that is not named is the token's");
    manager.post("/v1/notify", &at(&centro)).await.expect(202);
    manager.post("/v1/notify", &at(&norte)).await.is_problem(403, "forbidden");
    // The same key and words of another branch are another request.
    let once = async |caller: &Caller| caller.post("/v1/notify", &hello()).header("idempotency-key", "k1").await;
    once(&shop).await.expect(202);
    once(&manager).await.is_problem(422, "idempotency-mismatch");
    app.deliver_due().await;
});

on_each_store!(notifications_of_others_do_not_exist_for_a_branch, async |app: TestApp| {
    let Branches { shop, centro, norte, manager } = branches(&app).await;
    let mut later = at(&centro);
    later["sendAt"] = json!("2026-03-03T15:00:00Z");
    let own = shop.send(&later).await;
    later["branchId"] = json!(norte);
    let other = shop.send(&later).await;
    later["branchId"] = Value::Null;
    let nobodys = shop.send(&later).await;
    assert_eq!(manager.get(&format!("/v1/notifications/{own}")).await.expect(200)["id"], json!(own));
    let unknown = manager.get("/v1/notifications/00000000-0000-7000-8000-000000000000").await.text();
    for id in [&other, &nobodys] {
        let hidden = manager.get(&format!("/v1/notifications/{id}")).await;
        hidden.is_problem(404, "not-found");
        assert_eq!(hidden.text(), unknown, "as if it did not exist");
        for act in ["cancel", "retry"] {
            manager.post(&format!("/v1/notifications/{id}/{act}"), &json!({})).await.is_problem(404, "not-found");
        }
        assert_eq!(shop.status(id).await, "scheduled");
    }
    let listed = manager.get("/v1/notifications").await.expect(200);
    let ids: Vec<&str> = listed["items"].as_array().unwrap().iter().map(|n| n["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [own.as_str()]);
    manager.get(&format!("/v1/notifications?branchId={norte}")).await.is_problem(403, "forbidden");
    manager.post("/v1/notifications/retry", &json!({"branchId": norte})).await.is_problem(403, "forbidden");
    manager.post("/v1/notifications/retry", &json!({})).await.expect(200);
    manager.post(&format!("/v1/notifications/{own}/cancel"), &json!({})).await.expect(200);
});

on_each_store!(a_branch_sets_up_its_own_channels_templates_and_settings, async |app: TestApp| {
    let Branches { shop, centro, norte, manager } = branches(&app).await;
    let sandbox = json!({"provider": "sandbox"});
    manager.put("/v1/channels/webhook", &sandbox).await.expect(200);
    let state = shop.get(&format!("/v1/channels/webhook?branchId={centro}")).await.expect(200);
    assert_eq!((&state["configured"], &state["level"]), (&json!(true), &json!("branch")), "{state}");
    assert_eq!(shop.get("/v1/channels/webhook").await.expect(200)["configured"], json!(false));
    let words = json!({"parts": {"text": "Hola desde Centro"}});
    manager.put("/v1/templates/hola", &words).await.expect(201);
    shop.get(&format!("/v1/templates/hola?branchId={centro}")).await.expect(200);
    shop.get("/v1/templates/hola").await.is_problem(404, "not-found");
    shop.put(&format!("/v1/templates/norte?branchId={norte}"), &words).await.expect(201);
    shop.put("/v1/templates/todos", &words).await.expect(201);
    let listed = manager.get("/v1/templates").await.expect(200);
    let own: Vec<&str> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|t| t["level"] != "platform")
        .map(|t| t["name"].as_str().unwrap())
        .collect();
    assert_eq!(own, ["hola", "todos"], "its own and the tenant's");
    for path in ["/v1/channels/webhook", "/v1/templates/hola"] {
        let at_norte = format!("{path}?branchId={norte}");
        manager.get(&at_norte).await.is_problem(403, "forbidden");
        manager
            .put(&at_norte, if path.contains("channels") { &sandbox } else { &words })
            .await
            .is_problem(403, "forbidden");
        manager.delete(&at_norte).await.is_problem(403, "forbidden");
    }
    let path = |branch: &str| format!("/v1/tenants/{}/branches/{branch}", shop.id);
    manager.patch(&path(&centro), &json!({"timezone": "America/Tijuana"})).await.expect(200);
    manager.patch(&path(&norte), &json!({"name": "Mine"})).await.is_problem(404, "not-found");
    manager.patch("/v1/tenants/another/branches/x", &json!({"name": "Mine"})).await.is_problem(404, "not-found");
});

on_each_store!(what_concerns_the_whole_tenant_is_not_a_branchs, async |app: TestApp| {
    let Branches { shop, manager, .. } = branches(&app).await;
    let tenant = format!("/v1/tenants/{}", shop.id);
    for path in
        ["/v1/contacts", "/v1/appointments", "/v1/suppressions", "/v1/scripts", "/v1/plugins", "/v1/segments", &tenant]
    {
        manager.get(path).await.is_problem(403, "forbidden");
    }
    manager.patch(&tenant, &json!({"name": "Mine"})).await.is_problem(403, "forbidden");
    manager.post(&format!("{tenant}/branches"), &json!({"name": "Mine"})).await.is_problem(403, "forbidden");
    manager
        .put("/v1/contacts/ana", &json!({"name": "Ana", "phone": "33 1234 5678"}))
        .await
        .is_problem(403, "forbidden");
});
