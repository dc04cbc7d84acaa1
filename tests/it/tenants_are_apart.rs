//! No route shows or changes anything of another tenant: its ids are answered, byte for byte, like ids that do not
//! exist. The routes are those of the OpenAPI document, so that a new one cannot be forgotten.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Caller, JWT_SECRET, Shop, TestApp, dump, hello, pager, token};

const NOBODY: &str = "01930000-0000-7000-8000-000000000000";

/// A tenant with one of everything.
struct Full {
    shop: Shop,
    branch: String,
    notification: String,
    key: String,
    suppressed: &'static str,
    contact: String,
    appointment: String,
    import: String,
    script: String,
    plugin: String,
    template: String,
}

impl Full {
    async fn new(app: &TestApp, name: &str, suppressed: &'static str) -> Self {
        let shop = Shop::new(app, name).await;
        let branch = shop.branch(json!({"name": format!("{name} Centro")})).await;
        let later = json!({"type": "note", "channel": "sms", "message": "Hola", "sendAt": "2026-03-03T15:00:00Z",
            "to": {"phone": "3312345678", "name": name}, "dedupeKey": "one", "branchId": branch});
        let notification = shop.send(&later).await;
        shop.post("/v1/suppressions", &json!({"address": suppressed})).await.expect(201);
        let key = shop.make_key(&["read"]).await["id"].as_str().unwrap().to_owned();
        shop.notify(&hello()).await;
        app.deliver_due().await;
        let person = json!({"name": name, "phone": "3312345678", "email": suppressed});
        let contact = shop.put("/v1/contacts/ana", &person).await.expect(201)["id"].as_str().unwrap().to_owned();
        let appointment = format!("visit to {contact}");
        let visit = json!({"contactId": contact, "startsAt": "2026-03-03T15:00:00Z", "service": name});
        shop.put(&format!("/v1/appointments/{}", appointment.replace(' ', "%20")), &visit).await.expect(201);
        let file = shop.call(Method::POST, "/v1/contacts/import").header("content-type", "text/csv");
        let report = file.body(format!("email,phone\n{suppressed},12\n")).await.expect(200);
        let import = report["id"].as_str().unwrap().to_owned();
        let script = format!("segment-of-{}", &contact[24..]);
        let source = format!("fn include(contact, now) {{ contact.id == \"{contact}\" }}");
        shop.put(&format!("/v1/scripts/{script}"), &json!({"kind": "segment", "source": source})).await.expect(201);
        let plugin = format!("pager-of-{}", suppressed.split('@').next().unwrap());
        shop.put(&format!("/v1/plugins/{plugin}"), &pager(&plugin)).await.expect(201);
        let template = format!("words-of-{}", &contact[24..]);
        let words = json!({"parts": {"text": format!("Hola de {name}")}});
        shop.put(&format!("/v1/templates/{template}"), &words).await.expect(201);
        Self { shop, branch, notification, key, suppressed, contact, appointment, import, script, plugin, template }
    }

    /// Everything by which an answer could give this tenant away.
    fn marks(&self) -> Vec<&str> {
        let Self {
            shop,
            branch,
            notification,
            key,
            suppressed,
            contact,
            appointment,
            import,
            script,
            plugin,
            template,
        } = self;
        vec![&shop.id, branch, notification, key, suppressed, contact, appointment, import, script, plugin, template]
    }
}

/// Somebody of this tenant with a token of the sign-on.
fn person(app: &TestApp, tenant: &str, role: &str) -> Caller {
    let claims = json!({"sub": "u1", "tenantId": tenant, "role": role, "exp": app.now().0 / 1000 + 600});
    app.nobody().with_key(&token("HS256", &claims, JWT_SECRET.as_bytes()))
}

/// A path of the document with this tenant's things in it; `None` for a path without any.
fn path_of(path: &str, one: &Full) -> Option<String> {
    let ids = [
        ("/v1/notifications/{id}", &one.notification),
        ("/v1/tenants/{id}", &one.shop.id),
        ("/v1/contacts/{id}", &one.contact),
        ("/v1/imports/{id}", &one.import),
        ("/v1/plugins/{name}", &one.plugin),
    ];
    let mut filled = path.to_owned();
    for (begin, id) in ids {
        if path.starts_with(begin) {
            filled = filled.replacen("{id}", id, 1).replacen("{name}", id, 1);
        }
    }
    if path.starts_with("/v1/scripts/{name}") || path.starts_with("/v1/segments/{name}") {
        filled = filled.replace("{name}", &one.script);
    }
    if path.starts_with("/v1/templates/{name}") {
        filled = filled.replace("{name}", &one.template);
    }
    filled = filled.replace("{branch}", &one.branch).replace("{key}", &one.key).replace("{address}", one.suppressed);
    filled = filled.replace("{externalId}", &one.appointment.replace(' ', "%20"));
    (filled != path).then_some(filled)
}

/// The same path with nobody's things in it.
fn path_of_nobody(path: &str) -> String {
    let filled = path.replace("{id}", NOBODY).replace("{branch}", NOBODY).replace("{key}", NOBODY);
    filled.replace("{address}", "nobody@nowhere.example").replace("{externalId}", NOBODY).replace("{name}", NOBODY)
}

fn body_for(method: &str, path: &str) -> Option<Value> {
    match (method, path) {
        ("post", p) if p.ends_with("/keys") => Some(json!({"name": "mine", "scopes": ["read"]})),
        ("post", p) if p.ends_with("/branches") => Some(json!({"name": "mine"})),
        ("post", p) if p.ends_with("/consents") => Some(json!({"granted": true})),
        ("patch", _) => Some(json!({"name": "mine"})),
        ("post" | "put", _) => Some(json!({})),
        _ => None,
    }
}

async fn call(caller: &Caller, method: &str, path: &str, body: Option<&Value>) -> Answer {
    let call = caller.call(Method::from_bytes(method.to_uppercase().as_bytes()).unwrap(), path);
    match body {
        Some(body) => call.json(body).await,
        None => call.await,
    }
}

/// A PUT to an id that does not exist makes it, in the caller's own realm.
const MAKING: [&str; 4] =
    ["/v1/contacts/{id}", "/v1/appointments/{externalId}", "/v1/scripts/{name}", "/v1/templates/{name}"];

fn operations() -> Vec<(String, String)> {
    operations_where(|_| true)
}

/// Those for which a key is needed.
fn closed_operations() -> Vec<(String, String)> {
    operations_where(|operation| operation["security"] != json!([{}]))
}

fn operations_where(fits: impl Fn(&Value) -> bool) -> Vec<(String, String)> {
    let document = serde_json::to_value(recado::http::openapi()).unwrap();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if ["get", "post", "put", "patch", "delete"].contains(&method.as_str()) && fits(operation) {
                all.push((method.clone(), path.clone()));
            }
        }
    }
    all
}

on_each_store!(p27_anothers_ids_are_answered_like_ids_that_do_not_exist, async |app: TestApp| {
    let one = Full::new(&app, "Salón Uno", "uno@secret.example").await;
    let two = Full::new(&app, "Salón Dos", "dos@secret.example").await;
    let (admin, user) = (person(&app, &two.shop.id, "ADMIN"), person(&app, &two.shop.id, "USER"));
    let before = dump(&app.app.db).await;
    let mut tried = BTreeSet::new();
    for (method, path) in operations() {
        // These make what is not there: the next test.
        if method == "put" && (MAKING.contains(&path.as_str()) || path == "/v1/plugins/{name}") {
            continue;
        }
        let Some(theirs) = path_of(&path, &one) else {
            // Channels are named alike by all; they are tried below. A sealed token is its holder's whole right, and
            // one that is made up is tried where e-mail and hooks are.
            let tried = ["/v1/channels/{channel}", "/hooks/email/unsubscribe/{token}", "/hooks/{channel}/{token}"];
            let elsewhere = tried.iter().any(|begin| path.starts_with(begin));
            assert!(!path.contains('{') || elsewhere, "{path} has an id nobody tries");
            continue;
        };
        let body = body_for(&method, &path);
        for caller in [&*two.shop, &two.shop.key(&["read"]).await, &admin, &user, &app.nobody()] {
            let answer = call(caller, &method, &theirs, body.as_ref()).await;
            let unknown = call(caller, &method, &path_of_nobody(&path), body.as_ref()).await;
            assert!(matches!(answer.status, 401 | 403 | 404), "{}: {}", answer.what, answer.text());
            assert_eq!(answer.visible(), unknown.visible(), "{} and {}", answer.what, unknown.what);
        }
        let operators_only = path.contains("/keys");
        for manager in [&*two.shop, &admin] {
            let answer = call(manager, &method, &theirs, body.as_ref()).await;
            assert_eq!(answer.status, if operators_only { 403 } else { 404 }, "{}", answer.what);
        }
        call(&user, &method, &theirs, body.as_ref()).await.is_problem(403, "forbidden");
        tried.insert(format!("{method} {path}"));
    }
    assert!(tried.len() >= 10, "{tried:?}");
    let after: Vec<_> = dump(&app.app.db).await.into_iter().filter(|(table, _)| table != "api_keys").collect();
    let before: Vec<_> = before.into_iter().filter(|(table, _)| table != "api_keys").collect();
    assert_eq!(before, after, "nothing was changed by any of it");
    // Their own keys and people still open their own doors.
    for own in [&*one.shop, &person(&app, &one.shop.id, "ADMIN")] {
        own.get(&format!("/v1/notifications/{}", one.notification)).await.expect(200);
    }
});

on_each_store!(a_user_may_nothing_even_with_its_own_tenants_ids, async |app: TestApp| {
    let one = Full::new(&app, "Salón Uno", "uno@secret.example").await;
    let user = person(&app, &one.shop.id, "USER");
    let before = dump(&app.app.db).await;
    let mut tried = 0;
    for (method, path) in closed_operations() {
        let path = path.replace("{channel}", "sms");
        let body = body_for(&method, &path);
        let own = path_of(&path, &one).unwrap_or_else(|| path.clone());
        let answer = call(&user, &method, &own, body.as_ref()).await;
        answer.is_problem(403, "forbidden");
        let unknown = call(&user, &method, &path_of_nobody(&path), body.as_ref()).await;
        assert_eq!(answer.visible(), unknown.visible(), "{} and {}", answer.what, unknown.what);
        tried += 1;
    }
    assert!(tried >= 50, "{tried} operations");
    assert_eq!(dump(&app.app.db).await, before, "nothing was changed by any of it");
});

on_each_store!(p27_a_put_to_anothers_id_makes_ones_own, async |app: TestApp| {
    let one = Full::new(&app, "Salón Uno", "uno@secret.example").await;
    let two = Full::new(&app, "Salón Dos", "dos@secret.example").await;
    let of_one = async || -> Vec<_> {
        dump(&app.app.db).await.into_iter().filter(|(_, row)| row.contains(&one.shop.id)).collect()
    };
    let before = of_one().await;
    for path in MAKING {
        let body = |id: &str| json!({"externalId": id, "name": "mine"});
        let visit = |id: &str| json!({"externalId": id, "contactId": "ana", "startsAt": "2026-03-03T15:00:00Z"});
        let script = json!({"kind": "segment", "source": "fn include(contact, now) { false }"});
        let words = json!({"parts": {"text": "mine"}});
        let make = async |id: &str| {
            let path = path.replace("{id}", id).replace("{externalId}", &id.replace(' ', "%20")).replace("{name}", id);
            let (body, named) = match path.as_str() {
                p if p.contains("contacts") => (body(id), "externalId"),
                p if p.contains("scripts") => (script.clone(), "name"),
                p if p.contains("templates") => (words.clone(), "name"),
                _ => (visit(id), "externalId"),
            };
            let made = two.shop.put(&path, &body).await.expect(201);
            assert_eq!(made[named], id);
            made
        };
        let theirs = match path {
            p if p.contains("contacts") => &one.contact,
            p if p.contains("scripts") => &one.script,
            p if p.contains("templates") => &one.template,
            _ => &one.appointment,
        };
        let (there, nowhere) = (make(theirs).await, make(NOBODY).await);
        assert_ne!(there["id"].as_str(), Some(one.contact.as_str()));
        let fields = |made: &Value| made.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(fields(&there), fields(&nowhere));
    }
    assert_eq!(of_one().await, before, "nothing of the other's was changed");
});

on_each_store!(p27_lists_hold_only_ones_own, async |app: TestApp| {
    let one = Full::new(&app, "Salón Uno", "uno@secret.example").await;
    let two = Full::new(&app, "Salón Dos", "dos@secret.example").await;
    let admin = person(&app, &two.shop.id, "ADMIN");
    let mut lists = 0;
    for (method, path) in operations() {
        if method != "get" || path.contains('{') || !path.starts_with("/v1/") {
            continue;
        }
        for own in [&*two.shop, &admin] {
            let text = own.get(&path).await.text();
            for mark in one.marks() {
                assert!(!text.contains(mark), "{path} shows {mark}: {text}");
            }
        }
        let operator = app.operator().for_tenant(&two.shop.id).get(&path).await;
        if path != "/v1/tenants" {
            lists += 1;
            assert_eq!(operator.status, 200, "{path}");
            assert!(one.marks().iter().all(|mark| !operator.text().contains(mark)), "{path}");
        }
    }
    assert!(lists >= 4, "{lists} lists");
    // A cursor and filters of one in the hands of the other.
    let page = one.shop.get("/v1/notifications?limit=1").await.expect(200);
    let cursor = page["nextCursor"].as_str().unwrap();
    for query in [
        format!("cursor={cursor}"),
        format!("logId={}", one.notification),
        format!("branchId={}", one.branch),
        "q=Sal%C3%B3n%20Uno".to_owned(),
        "recipient=3312345678".to_owned(),
    ] {
        let text = two.shop.get(&format!("/v1/notifications?{query}")).await.text();
        assert!(one.marks().iter().all(|mark| !text.contains(mark)), "{query}: {text}");
    }
});

on_each_store!(p27_anothers_branch_is_no_branch, async |app: TestApp| {
    let one = Full::new(&app, "Salón Uno", "uno@secret.example").await;
    let two = Full::new(&app, "Salón Dos", "dos@secret.example").await;
    let notify = async |branch: &str| {
        let mut body = hello();
        body["branchId"] = json!(branch);
        let answer = two.shop.post("/v1/notify", &body).await;
        answer.has_fault("validation", "/branchId", "unknown_branch");
        answer.visible()
    };
    assert_eq!(notify(&one.branch).await, notify(NOBODY).await);
    let sandbox = json!({"provider": "sandbox"});
    for (method, path, body) in [
        ("get", "/v1/channels", None),
        ("get", "/v1/channels/sms", None),
        ("put", "/v1/channels/sms", Some(&sandbox)),
        ("delete", "/v1/channels/sms", None),
        ("post", "/v1/channels/test", None),
        ("post", "/v1/channels/sms/test", None),
    ] {
        let at =
            async |branch: &str| call(&two.shop, method, &format!("{path}?branchId={branch}"), body).await.visible();
        let theirs = at(&one.branch).await;
        assert!(matches!(theirs.0, 404 | 422), "{method} {path}: {}", theirs.0);
        assert_eq!(theirs, at(NOBODY).await, "{method} {path}");
    }
    let of_two = app.operator().for_tenant(&two.shop.id);
    let branch = format!("/v1/tenants/{}/branches/{}", two.shop.id, one.branch);
    of_two.patch(&branch, &json!({"name": "mine"})).await.is_problem(404, "not-found");
});

on_each_store!(p27_one_tenants_channels_keys_and_suppressions_are_not_the_others, async |app: TestApp| {
    let one = Full::new(&app, "Salón Uno", "uno@secret.example").await;
    let two = Shop::bare(&app, "Salón Dos").await;
    assert_eq!(two.get("/v1/channels/sms").await.expect(200)["configured"], false);
    two.post("/v1/notify", &hello()).await.is_problem(422, "channel-unavailable");
    two.delete("/v1/channels/sms").await.is_problem(404, "not-found");
    one.shop.notify(&hello()).await;
    // The same names do not meet: dedupe keys, Idempotency-Keys, suppressed addresses.
    two.sandbox("sms").await;
    two.sandbox("email").await;
    let mut same = hello();
    same["dedupeKey"] = json!("one");
    assert_eq!(two.notify(&same).await["notifications"][0]["status"], "queued");
    let mut mail = hello();
    (mail["channel"], mail["to"]) = (json!("email"), json!({"email": one.suppressed}));
    assert_eq!(two.notify(&mail).await["notifications"][0]["status"], "queued");
    assert_eq!(one.shop.notify(&mail).await["notifications"][0]["status"], "suppressed");
    app.deliver_due().await;
    let path = format!("/v1/tenants/{}/keys/{}", two.id, one.key);
    app.operator().delete(&path).await.is_problem(404, "not-found");
});
