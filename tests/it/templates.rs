//! Tenants' own templates through the door: what holds, what is sent, what it looks like, and whose it is.

mod checking;
mod properties;

use std::time::Duration;

use plugin_api::conformance::{Behaviour, HttpDouble};
use serde_json::{Value, json};

use crate::support::{Shop, TestApp};

async fn put(shop: &Shop, path: &str, parts: Value) -> Value {
    let answer = shop.put(&format!("/v1/templates/{path}"), &json!({"parts": parts})).await;
    assert!(matches!(answer.status, 200 | 201), "{path}: {}", answer.text());
    answer.json()
}

fn by(channel: &str, template: &str, data: Value) -> Value {
    json!({"type": template, "channel": channel, "data": data,
        "to": {"phone": "33 1234 5678", "email": "ana@example.com", "name": "Ana López"}})
}

async fn sent(app: &TestApp, shop: &Shop, body: &Value) -> Value {
    let id = shop.send(body).await;
    app.deliver_due().await;
    assert_eq!(shop.status(&id).await, "sent", "{}", shop.find(&id).await);
    let captured = shop.captured().await;
    captured.into_iter().find(|m| m["notificationId"] == id).unwrap()
}

async fn preview(shop: &Shop, body: Value) -> Value {
    shop.post("/v1/templates/preview", &body).await.expect(200)
}

on_each_store!(a_template_has_versions_that_can_be_gone_back_to, async |app: TestApp| {
    let shop = app.shop().await;
    let first = json!({"parts": {"text": "Hola {{clientName}}, {{#if gift}}{{gift}}{{/if}}"}, "sample": {"clientName": "Eva"},
        "variables": {"gift": {"description": "un regalo", "example": "un café"}}});
    let made = shop.put("/v1/templates/promo", &first).await.expect(201);
    assert_eq!((&made["version"], &made["level"], &made["locale"]), (&json!(1), &json!("tenant"), &Value::Null));
    assert_eq!(made["parts"], first["parts"]);
    assert_eq!(made["variables"]["clientName"], json!({"required": true}));
    assert_eq!(made["variables"]["gift"], json!({"required": false, "description": "un regalo", "example": "un café"}));
    let second = shop.put("/v1/templates/promo", &json!({"parts": {"text": "Adiós {{clientName}}"}})).await.expect(200);
    assert_eq!(second["version"], 2);
    assert_eq!(shop.get("/v1/templates/promo").await.expect(200), second);
    assert_eq!(sent(&app, &shop, &by("sms", "promo", json!({}))).await["text"], "Adiós Ana López");
    let versions = shop.get("/v1/templates/promo/versions").await.expect(200);
    let seen: Vec<_> =
        versions["items"].as_array().unwrap().iter().map(|v| (v["version"].clone(), v["current"].clone())).collect();
    assert_eq!(seen, [(json!(2), json!(true)), (json!(1), json!(false))]);
    let back = shop.post("/v1/templates/promo/rollback", &json!({})).await.expect(200);
    assert_eq!((&back["version"], &back["parts"]), (&json!(1), &first["parts"]));
    assert_eq!(sent(&app, &shop, &by("sms", "promo", json!({}))).await["text"], "Hola Ana López,");
    shop.post("/v1/templates/promo/rollback", &json!({"version": 9})).await.has_fault(
        "validation",
        "/version",
        "out_of_range",
    );
    let names = |list: Value| -> Vec<(Value, Value)> {
        list["items"].as_array().unwrap().iter().map(|t| (t["name"].clone(), t["level"].clone())).collect()
    };
    let list = names(shop.get("/v1/templates").await.expect(200));
    assert!(list.contains(&(json!("promo"), json!("tenant"))) && list.contains(&(json!("welcome"), json!("platform"))));
    assert_eq!(shop.delete("/v1/templates/promo").await.status, 204);
    for path in ["promo", "promo/versions", "never"] {
        shop.get(&format!("/v1/templates/{path}")).await.is_problem(404, "not-found");
    }
    shop.delete("/v1/templates/promo").await.is_problem(404, "not-found");
    let gone = shop.post("/v1/notify", &by("sms", "promo", json!({}))).await;
    gone.has_fault("validation", "/type", "unknown_template");
});

on_each_store!(the_branch_comes_before_the_tenant_and_the_tenant_before_the_program, async |app: TestApp| {
    let shop = app.shop().await;
    let branch = shop.branch(json!({})).await;
    let at = |branch: Option<&str>, locale: &str| {
        let mut body = by("sms", "welcome", json!({"businessName": "Uno"}));
        (body["branchId"], body["to"]["locale"]) = (json!(branch), json!(locale));
        if branch.is_none() {
            body.as_object_mut().unwrap().remove("branchId");
        }
        body
    };
    let text = async |branch: Option<&str>, locale: &str| {
        sent(&app, &shop, &at(branch, locale)).await["text"].as_str().unwrap().to_owned()
    };
    assert!(text(None, "es-MX").await.starts_with("Gracias por elegir Uno"));
    put(&shop, "welcome", json!({"text": "tenant"})).await;
    put(&shop, "welcome?locale=en", json!({"text": "tenant en", "sms": "tenant en sms"})).await;
    put(&shop, "welcome?locale=en-GB", json!({"text": "tenant en-GB"})).await;
    put(&shop, &format!("welcome?branchId={branch}"), json!({"sms": "branch"})).await;
    assert_eq!(text(None, "es-MX").await, "tenant");
    assert_eq!(text(None, "en-US").await, "tenant en sms");
    // The language counts before the channel.
    assert_eq!(text(None, "en-GB").await, "tenant en-GB");
    assert_eq!(text(None, "fr").await, "tenant");
    assert_eq!(text(Some(&branch), "en-GB").await, "branch");
    // What the branch does not say, the tenant does; what neither says, the program.
    let mut mail = at(Some(&branch), "es");
    mail["channel"] = json!("email");
    let mail = sent(&app, &shop, &mail).await;
    assert_eq!((&mail["text"], &mail["html"]), (&json!("tenant"), &Value::Null));
    assert_eq!(mail["subject"], "¡Te damos la bienvenida!");
    shop.delete("/v1/templates/welcome").await;
    assert!(text(None, "es-MX").await.starts_with("Gracias por elegir Uno"));
});

on_each_store!(partials_are_shared_and_the_layout_frames_everything, async |app: TestApp| {
    let shop = app.shop().await;
    put(&shop, "_foot", json!({"text": "-- {{businessName}}", "email.html": "<i>{{businessName}}</i>"})).await;
    put(
        &shop,
        "_layout",
        json!({"email.html": "<html><head><style>p { color: red }</style></head><body>\
        <h1>{{title}}</h1>{{> @partial-block}}{{> foot}}</body></html>"}),
    )
    .await;
    put(
        &shop,
        "promo",
        json!({"text": "Hola {{clientName}} {{> foot}}", "email.subject": "Hola",
        "email.html": "{{#> layout title=\"T\"}}<p>{{note}}</p>{{/layout}}"}),
    )
    .await;
    let data = json!({"businessName": "A & B", "note": "<b>x</b>"});
    assert_eq!(sent(&app, &shop, &by("sms", "promo", data.clone())).await["text"], "Hola Ana López -- A & B");
    let mail = sent(&app, &shop, &by("email", "promo", data.clone())).await;
    let html = mail["html"].as_str().unwrap();
    assert!(html.contains("<h1>T</h1>") && html.contains("<i>A &amp; B</i>"), "{html}");
    assert!(html.contains("<p style=\"color: red;\">&lt;b&gt;x&lt;/b&gt;</p>"), "{html}");
    // The program's own mail stands in the tenant's frame, too.
    let mail = sent(&app, &shop, &by("email", "welcome", data)).await;
    let html = mail["html"].as_str().unwrap();
    assert!(html.contains("<i>A &amp; B</i>") && html.contains("<h1>¡Te damos la bienvenida!</h1>"), "{html}");
    // A change of a partial is a change of all that include it, and none may break.
    put(&shop, "_foot", json!({"text": "fin", "email.html": "<i>fin</i>"})).await;
    assert_eq!(sent(&app, &shop, &by("sms", "promo", json!({"note": ""}))).await["text"], "Hola Ana López fin");
    let broken = shop.put("/v1/templates/_foot", &json!({"parts": {"email.html": "<i>{{> promo}}</i>"}})).await;
    broken.has_fault("template-invalid", "/parts/email.html", "unknown_partial");
    let recursive = shop.put("/v1/templates/_foot", &json!({"parts": {"text": "{{> foot}}"}})).await;
    recursive.has_fault("template-invalid", "/parts/text", "recursive_partial");
    let used = shop.delete("/v1/templates/_foot").await.is_problem(409, "wrong-state");
    assert!(used["detail"].as_str().unwrap().contains("promo"), "{used}");
    // Partials are not messages.
    shop.post("/v1/notify", &by("sms", "_foot", json!({}))).await.has_fault("validation", "/type", "unknown_template");
});

on_each_store!(one_tenants_words_are_not_the_others, async |app: TestApp| {
    let (one, two) = (app.shop().await, Shop::new(&app, "Salón Dos").await);
    put(&one, "_foot", json!({"text": "uno"})).await;
    put(&one, "promo", json!({"text": "{{> foot}}"})).await;
    put(&one, "welcome", json!({"text": "uno"})).await;
    two.get("/v1/templates/promo").await.is_problem(404, "not-found");
    let theirs = two.put("/v1/templates/promo", &json!({"parts": {"text": "{{> foot}}"}})).await;
    theirs.has_fault("template-invalid", "/parts/text", "unknown_partial");
    two.post("/v1/notify", &by("sms", "promo", json!({}))).await.has_fault("validation", "/type", "unknown_template");
    two.post("/v1/templates/preview", &json!({"template": "promo"})).await.has_fault(
        "validation",
        "/template",
        "unknown_template",
    );
    two.post("/v1/templates/preview", &json!({"parts": {"text": "{{> foot}}"}})).await.has_fault(
        "template-invalid",
        "/parts/text",
        "unknown_partial",
    );
    assert!(sent(&app, &two, &by("sms", "welcome", json!({}))).await["text"].as_str().unwrap().starts_with("Gracias"));
    assert_eq!(sent(&app, &one, &by("sms", "promo", json!({}))).await["text"], "uno");
});

on_each_store!(what_is_sent_later_or_again_is_said_in_the_words_of_then, async |app: TestApp| {
    let shop = app.shop().await;
    let sink = HttpDouble::start().await;
    let settings = json!({"url": sink.url("/in"), "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"});
    shop.set("webhook", json!({"provider": "webhook", "settings": settings})).await;
    let last = || sink.seen().pop().unwrap().json()["text"].clone();
    let failing = async || {
        sink.behave(Behaviour::Refuse);
        let id = shop.send(&by("webhook", "promo", json!({"a": 1}))).await;
        app.deliver_due().await;
        assert_eq!(shop.status(&id).await, "failed");
        sink.behave(Behaviour::Accept);
        id
    };
    let again = async |id: &str| {
        shop.post(&format!("/v1/notifications/{id}/retry"), &json!({})).await.expect(200);
        app.deliver_due().await;
        shop.find(id).await
    };
    put(&shop, "promo", json!({"text": "Hola {{clientName}}"})).await;
    let id = failing().await;
    let mut later = by("webhook", "promo", json!({"a": 1}));
    later["sendAt"] = json!("2026-03-02T16:00:00Z");
    let later = shop.send(&later).await;
    assert_eq!(last(), "Hola Ana López");
    put(&shop, "promo", json!({"text": "Adiós {{clientName}} {{a}}"})).await;
    assert_eq!(again(&id).await["status"], "sent");
    assert_eq!(last(), "Adiós Ana López 1");
    put(&shop, "promo", json!({"text": "Hasta luego"})).await;
    app.advance(Duration::from_hours(1)).await;
    assert_eq!((shop.status(&later).await.as_str(), last()), ("sent", json!("Hasta luego")));
    // New words may need what the request of then did not bring: that is said, and mended by words that don't.
    let id = failing().await;
    put(&shop, "promo", json!({"text": "{{b}}"})).await;
    let found = again(&id).await;
    assert_eq!((&found["status"], &found["reason"]), (&json!("failed"), &json!("template_failed")), "{found}");
    assert!(found["timeline"].to_string().contains("b is missing"), "{found}");
    shop.delete("/v1/templates/promo").await.expect(204);
    let found = again(&id).await;
    assert!(found["timeline"].to_string().contains("the template promo was deleted"), "{found}");
    put(&shop, "promo", json!({"text": "Fin"})).await;
    assert_eq!(again(&id).await["status"], "sent");
    assert_eq!(last(), "Fin");
});

on_each_store!(what_a_request_lacks_is_said_at_once, async |app: TestApp| {
    let shop = app.shop().await;
    let body = json!({"parts": {"text": "{{a}} {{#if b}}{{b}} {{c}}{{/if}} {{#if d}}{{d}}{{/if}}"},
        "variables": {"d": {"required": true}}});
    shop.put("/v1/templates/promo", &body).await.expect(201);
    let answer = shop.post("/v1/notify", &by("sms", "promo", json!({"b": 1}))).await;
    for name in ["a", "c", "d"] {
        answer.has_fault("template-data", &format!("/data/{name}"), "required");
    }
    assert_eq!(sent(&app, &shop, &by("sms", "promo", json!({"a": 1, "d": 2}))).await["text"], "1  2");
    let mut dry = by("sms", "promo", json!({"a": "uno", "d": "dos"}));
    dry["dryRun"] = json!(true);
    let explained = shop.post("/v1/notify", &dry).await.expect(200);
    assert_eq!(explained["notifications"][0]["steps"][0]["content"]["text"], "uno  dos");
    // What is called like a helper is a variable where it stands by itself.
    let shown = preview(
        &shop,
        json!({"parts": {"text": "{{date}} {{phone}} {{upper title}}"},
        "data": {"date": "hoy", "phone": 1, "title": "t"}}),
    )
    .await;
    assert_eq!(shown["parts"]["text"]["output"], "hoy 1 T");
    // Under another type, and by an app that names it.
    let mut named = by("sms", "note", json!({"a": 1, "d": 2}));
    named["template"] = json!("promo");
    assert_eq!(sent(&app, &shop, &named).await["text"], "1  2");
});

on_each_store!(a_preview_shows_every_part_and_says_what_to_know, async |app: TestApp| {
    let shop = app.shop().await;
    let shown = preview(&shop, json!({"template": "appointment_reminder"})).await;
    assert_eq!((&shown["faults"], &shown["missing"]), (&json!([]), &json!([])));
    // The salon of the sample has an accent in its name.
    let detail = "costs 2 SMS segments as UCS-2, because of ó";
    assert_eq!(shown["warnings"], json!([{"part": "sms", "code": "sms_segments", "detail": detail}]));
    for part in ["text", "sms", "email.subject", "email.html"] {
        assert_eq!(shown["parts"][part]["level"], "platform", "{shown}");
    }
    assert!(shown["operations"].as_u64().unwrap() > 10);
    let parts = json!({"text": "Hola {{clientName}}", "sms": "Cita el día {{day}} {{#each items}}{{this}} {{/each}}",
        "email.subject": "{{subject}}", "email.html": "<p>{{clientName}}</p>", "telegram": "{{#if}}"});
    let data = json!({"clientName": "<Ana>", "subject": "uno\ndos", "items": ["x".repeat(60), "y".repeat(60)]});
    let shown = preview(
        &shop,
        json!({"parts": parts, "data": data,
        "actions": [{"title": "Confirmar mi cita de mañana", "value": "yes"}, {"title": "No", "value": "no"}]}),
    )
    .await;
    assert_eq!(shown["parts"]["text"]["output"], "Hola <Ana>");
    assert_eq!(shown["parts"]["email.html"]["output"], "<p>&lt;Ana&gt;</p>");
    assert!(shown["parts"]["sms"]["output"].as_str().unwrap().starts_with("Cita el día [day] xxx"), "{shown}");
    assert_eq!(shown["parts"]["sms"]["sms"], json!({"encoding": "UCS-2", "units": 139, "segments": 3}));
    assert_eq!((&shown["missing"], &shown["loops"]), (&json!(["day"]), &json!(2)));
    let warned = |code: &str| {
        let all = shown["warnings"].as_array().unwrap();
        all.iter().find(|w| w["code"] == code).unwrap_or_else(|| panic!("no {code}: {shown}"))["detail"].clone()
    };
    assert!(warned("missing_variable").as_str().unwrap().contains("day"));
    assert!(warned("sms_segments").as_str().unwrap().contains("because of í"));
    assert!(warned("long_button").as_str().unwrap().contains("27 characters"));
    warned("subject_line_break");
    let faults: Vec<_> = shown["faults"].as_array().unwrap().iter().map(|f| f["pointer"].clone()).collect();
    assert!(faults.contains(&json!("/parts/telegram")) && faults.contains(&json!("/parts/email.subject")), "{shown}");
    // What is not saved is shown as if it were: in its language, with the branch's partials.
    let branch = shop.branch(json!({})).await;
    put(&shop, "_foot", json!({"text": "el salón"})).await;
    put(&shop, "_foot?locale=en", json!({"text": "the salon"})).await;
    put(&shop, &format!("_foot?branchId={branch}"), json!({"text": "la sucursal"})).await;
    let body = json!({"parts": {"text": "{{date at}}, {{> foot}}"}, "data": {"at": "2026-03-03"}});
    for (more, expected) in [
        (json!({}), "3 de marzo de 2026, el salón"),
        (json!({"locale": "en"}), "March 3, 2026, the salon"),
        (json!({"branchId": branch}), "3 de marzo de 2026, la sucursal"),
    ] {
        let mut body = body.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(preview(&shop, body).await["parts"]["text"]["output"], expected);
    }
    // One channel: the message as it would be sent, with the text made of the HTML.
    let mail = preview(&shop, json!({"parts": {"email.html": "<p>Hola</p>"}, "channel": "email"})).await;
    assert_eq!(mail["message"], json!({"subject": null, "text": "Hola", "html": "<p>Hola</p>"}));
    // The sample, and the author's examples.
    let saved = json!({"parts": {"text": "{{a}} {{b.c}}"}, "sample": {"a": "de la muestra"}, "variables": {"b.c": {"example": 7}}});
    shop.put("/v1/templates/promo", &saved).await.expect(201);
    assert_eq!(preview(&shop, json!({"template": "promo"})).await["parts"]["text"]["output"], "de la muestra 7");
    let answer = shop.post("/v1/templates/preview", &json!({"template": "promo", "parts": {"text": "x"}})).await;
    answer.has_fault("validation", "", "exactly_one_of");
});

on_each_store!(an_approved_form_of_ones_own_is_used_and_previewed, async |app: TestApp| {
    let shop = app.shop().await;
    let form = json!({"name": "promo", "language": "es_MX", "body": [{"text": "{{clientName}}"}],
        "buttons": [{"index": 0, "value": {"payload": "{{code}}"}}]});
    put(&shop, "promo", json!({"text": "Hola", "whatsapp.template.json": form.to_string()})).await;
    let data = json!({"clientName": "Ana\nLópez", "code": "x".repeat(129)});
    let shown = preview(&shop, json!({"template": "promo", "data": data})).await;
    let codes: Vec<_> = shown["warnings"].as_array().unwrap().iter().map(|w| w["code"].clone()).collect();
    assert_eq!(codes, ["form_parameter", "long_button"]);
    let bad = json!({"parts": {"text": "x", "whatsapp.template.json": "{\"name\": \"{{env a}}\"}"}});
    let answer = shop.put("/v1/templates/promo", &bad).await;
    answer.has_fault("template-invalid", "/parts/whatsapp.template.json", "unknown_helper");
});
