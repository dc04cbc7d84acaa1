//! What providers report, from their door to the notification.

use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::join_all;
use plugin_api::Callback;
use plugin_sms::double::{Infobip, Twilio, Vonage};
use plugin_whatsapp::double::{MetaDouble, Template};
use recado::clock::Timestamp;
use serde_json::{Value, json};
use sqlx::Row;

use crate::support::{Shop, TestApp, TestStore, hello};

const ANA: &str = "+523312345678";
/// Providers report only to a server that they can reach.
const PUBLIC: &[(&str, &str)] = &[("RECADO_SERVER__PUBLIC_URL", "https://recado.example")];

/// With WhatsApp at Meta's double and everything else in the sandbox.
async fn shop_with(app: &TestApp, meta: &MetaDouble) -> (Shop, String) {
    let shop = app.shop().await;
    let settings = Value::Object(MetaDouble::settings(meta.http.address()).0);
    shop.set("whatsapp", json!({"provider": "meta", "settings": settings})).await;
    let hook = shop.hook("whatsapp").await;
    (shop, hook)
}

async fn ana_writes(app: &TestApp, meta: &MetaDouble, hook: &str) {
    let written = meta.writes(ANA, json!({"type": "text", "text": {"body": "Hola"}}));
    app.take(&meta.callback(hook, &[written])).await;
}

fn to_ana(channels: Value) -> Value {
    let mut body = hello();
    body.as_object_mut().unwrap().remove("channel");
    body["channels"] = channels;
    body["to"] = json!({"phone": ANA});
    body
}

async fn events(shop: &Shop, id: &str) -> Vec<String> {
    let found = shop.find(id).await;
    found["timeline"].as_array().unwrap().iter().map(|e| e["event"].as_str().unwrap().to_owned()).collect()
}

async fn stored(app: &TestApp, table: &str) -> i64 {
    let sql = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
    sqlx::query(sql).fetch_one(&app.app.db.pool).await.unwrap().get(0)
}

on_each_store!(reports_move_a_notification_on_in_whatever_order_and_number_they_come, async |app: TestApp| {
    let meta = MetaDouble::start().await;
    let (shop, hook) = shop_with(&app, &meta).await;
    ana_writes(&app, &meta, &hook).await;
    let mut seen = Vec::new();
    for order in [["sent", "delivered", "read"], ["read", "delivered", "sent"], ["delivered", "read", "read"]] {
        let id = shop.send(&to_ana(json!(["whatsapp"]))).await;
        app.deliver_due().await;
        let message = shop.find(&id).await["messageId"].as_str().unwrap().to_owned();
        for status in order {
            for _ in 0..3 {
                app.take(&meta.callback(&hook, &[meta.status(&message, status)])).await;
            }
        }
        assert_eq!(shop.status(&id).await, "read", "{order:?}");
        let told = events(&shop, &id).await;
        for status in ["delivered", "read"] {
            assert_eq!(told.iter().filter(|e| *e == status).count(), 1, "{order:?}: {told:?}");
        }
        // A terminal status never moves back.
        app.take(&meta.callback(&hook, &[meta.failure(&message, 131_026)])).await;
        assert_eq!(shop.status(&id).await, "read");
        seen.push(message);
    }
    assert_eq!(stored(&app, "reports").await, 0);
});

on_each_store!(a_report_that_overtakes_our_commit_is_kept_until_its_message_is_known, async |app: TestApp| {
    let meta = MetaDouble::start().await;
    let (shop, hook) = shop_with(&app, &meta).await;
    ana_writes(&app, &meta, &hook).await;
    let first = shop.send(&to_ana(json!(["whatsapp"]))).await;
    app.deliver_due().await;
    let message = shop.find(&first).await["messageId"].as_str().unwrap().to_owned();
    // As if the row did not know its message yet: the provider was faster than our commit.
    let forget = "update notifications set message_id = null, status = 'sending' where notification_id = $1";
    sqlx::query(forget).bind(&first).execute(&app.app.db.pool).await.unwrap();
    app.take(&meta.callback(&hook, &[meta.status(&message, "delivered")])).await;
    assert_eq!(stored(&app, "reports").await, 1);
    let know = "update notifications set message_id = $2, status = 'sent' where notification_id = $1";
    sqlx::query(know).bind(&first).bind(&message).execute(&app.app.db.pool).await.unwrap();
    app.deliver_due().await;
    assert_eq!((shop.status(&first).await.as_str(), stored(&app, "reports").await), ("delivered", 0));
});

on_each_store!(a_report_of_nobodys_message_is_kept_for_an_hour, async |app: TestApp| {
    let meta = MetaDouble::start().await;
    let (shop, hook) = shop_with(&app, &meta).await;
    ana_writes(&app, &meta, &hook).await;
    let id = shop.send(&to_ana(json!(["whatsapp"]))).await;
    app.deliver_due().await;
    let message = shop.find(&id).await["messageId"].as_str().unwrap().to_owned();
    let stranger =
        meta.status(&message, "delivered").to_string().replace(&message, "wamid.nobody").replace(&id, "nobody");
    app.take(&meta.callback(&hook, &[serde_json::from_str(&stranger).unwrap()])).await;
    app.deliver_due().await;
    assert_eq!((stored(&app, "reports").await, shop.status(&id).await.as_str()), (1, "sent"));
    app.advance(Duration::from_mins(61)).await;
    assert_eq!(stored(&app, "reports").await, 0);
});

on_each_store!(a_late_failure_goes_on_by_the_next_channel_once, async |app: TestApp| {
    let meta = MetaDouble::start().await;
    let (shop, hook) = shop_with(&app, &meta).await;
    ana_writes(&app, &meta, &hook).await;
    let id = shop.send(&to_ana(json!(["whatsapp", "sms"]))).await;
    app.deliver_due().await;
    let message = shop.find(&id).await["messageId"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        app.take(&meta.callback(&hook, &[meta.failure(&message, 131_026)])).await;
        app.deliver_due().await;
    }
    let found = shop.find(&id).await;
    assert_eq!((&found["status"], &found["channel"]), (&json!("sent"), &json!("sms")));
    assert_eq!(shop.captured().await.len(), 1);
    assert_eq!(events(&shop, &id).await.iter().filter(|e| *e == "fell_back").count(), 1);
});

on_each_store!(without_another_channel_a_late_failure_is_the_end, async |app: TestApp| {
    let meta = MetaDouble::start().await;
    let (shop, hook) = shop_with(&app, &meta).await;
    ana_writes(&app, &meta, &hook).await;
    let id = shop.send(&to_ana(json!(["whatsapp"]))).await;
    app.deliver_due().await;
    let message = shop.find(&id).await["messageId"].as_str().unwrap().to_owned();
    app.take(&meta.callback(&hook, &[meta.failure(&message, 131_026)])).await;
    let found = shop.find(&id).await;
    assert_eq!(found["status"], "failed");
    assert!(found["reason"].is_string(), "{found}");
});

on_each_store!(what_meta_will_not_bring_to_a_person_no_other_account_tries, async |app: TestApp| {
    let meta = MetaDouble::start().await;
    let shop = app.shop().await;
    let settings = Value::Object(MetaDouble::settings(meta.http.address()).0);
    let accounts = json!([
        {"name": "main", "provider": "meta", "settings": settings},
        {"name": "spare", "provider": "sandbox", "settings": {}},
    ]);
    shop.set("whatsapp", json!({"accounts": accounts})).await;
    let hook = shop.hook("whatsapp").await;
    ana_writes(&app, &meta, &hook).await;
    for (code, status, spare) in [(131_049, "failed", 0), (131_056, "failed", 0), (131_053, "sent", 1)] {
        let id = shop.send(&to_ana(json!(["whatsapp"]))).await;
        app.deliver_due().await;
        let message = shop.find(&id).await["messageId"].as_str().unwrap().to_owned();
        app.take(&meta.callback(&hook, &[meta.failure(&message, code)])).await;
        app.deliver_due().await;
        assert_eq!((shop.status(&id).await.as_str(), shop.captured().await.len()), (status, spare), "{code}");
    }
});

on_each_store!(b72_the_same_message_of_a_person_is_stored_once, async |app: TestApp| {
    let meta = MetaDouble::start().await;
    let (shop, hook) = shop_with(&app, &meta).await;
    let id = shop.send(&to_ana(json!(["sms"]))).await;
    app.deliver_due().await;
    let written = meta.writes(ANA, json!({"type": "text", "text": {"body": "Hola"}}));
    let callback = meta.callback(&hook, &[written]);
    join_all((0..50).map(|_| async { app.take(&callback).await })).await;
    assert_eq!(stored(&app, "inbound_messages").await, 1);
    assert_eq!(shop.status(&id).await, "sent");
});

on_each_store!(b70_b73_b74_b77_nobody_else_reports, async |app: TestApp| {
    let meta = MetaDouble::start().await;
    let (shop, hook) = shop_with(&app, &meta).await;
    let mut forged = meta.callback(&hook, &[meta.writes(ANA, json!({"type": "text", "text": {"body": "Hola"}}))]);
    // The same JSON, written anew.
    let anew: Value = serde_json::from_slice(&forged.body).unwrap();
    let genuine = std::mem::replace(&mut forged.body, serde_json::to_vec_pretty(&anew).unwrap().into());
    app.hear(&forged).await.is_problem(401, "bad-signature");
    forged.body = genuine;
    forged.headers.insert("x-hub-signature-256", format!("sha256={}", "0".repeat(64)).parse().unwrap());
    app.hear(&forged).await.is_problem(401, "bad-signature");
    forged.headers.remove("x-hub-signature-256");
    app.hear(&forged).await.is_problem(401, "bad-signature");
    assert_eq!(stored(&app, "inbound_messages").await, 0);
    for odd in
        ["rubbish", "", "[]", "{}", r#"{"object": "user", "entry": [{"changes": [{"field": "moons", "value": 5}]}]}"#]
    {
        assert_eq!(app.take(&meta.signed_bytes(&hook, odd.into())).await.text(), "", "{odd}");
    }
    app.hear(&meta.verification(&hook, "wrong", "1158201444")).await.is_problem(403, "forbidden");
    let known = meta.verification(&hook, MetaDouble::VERIFY_TOKEN, "1158201444");
    assert_eq!(app.take(&known).await.text(), "1158201444");
    let mut elsewhere = meta.signed_bytes(&hook, b"{}".to_vec());
    elsewhere.url = elsewhere.url.replace("/hooks/whatsapp/", "/hooks/sms/");
    app.hear(&elsewhere).await.is_problem(404, "not-found");
    elsewhere.url = hook.replace("/hooks/", "/hooks/x");
    app.hear(&elsewhere).await.is_problem(404, "not-found");
    // A token that nobody gave out.
    elsewhere.url = format!("{}x", &hook[..hook.len() - 1]);
    app.hear(&elsewhere).await.is_problem(404, "not-found");
    shop.delete("/v1/channels/whatsapp").await;
    app.hear(&known).await.is_problem(404, "not-found");
});

/// What a provider would push to a hook about a message.
type Report<'a> = Box<dyn Fn(&str, &str) -> Callback + Send + Sync + 'a>;

on_each_store!(receipts_of_every_sms_provider_come_to_the_hook_once_and_twice, PUBLIC, async |app: TestApp| {
    let (twilio, vonage, infobip) = (Twilio::start().await, Vonage::start().await, Infobip::start().await);
    let shop = app.shop().await;
    let now = app.now().to_system();
    let handset = (Infobip::status(3, 5, "DELIVERED_TO_HANDSET"), Infobip::cause(0, "NO_ERROR", false));
    let nobody =
        (Infobip::status(2, 9, "UNDELIVERABLE_NOT_DELIVERED"), Infobip::cause(27, "EC_ABSENT_SUBSCRIBER", false));
    let by_infobip =
        |id: &str, (status, cause): &(Value, Value)| infobip.report(&[(id, status.clone(), cause.clone())], now);
    let all: [(&str, Value, Report<'_>, Report<'_>); 3] = [
        (
            "twilio",
            Value::Object(twilio.settings().0),
            Box::new(|_, id| twilio.report(id, "delivered", None)),
            Box::new(|_, id| twilio.report(id, "undelivered", Some(30_003))),
        ),
        (
            "vonage",
            Value::Object(vonage.settings().0),
            Box::new(|hook, id| vonage.report_to(hook, id, "delivered", "0", now)),
            Box::new(|hook, id| vonage.report_to(hook, id, "failed", "1", now)),
        ),
        (
            "infobip",
            Value::Object(infobip.settings().0),
            Box::new(|_, id| by_infobip(id, &handset)),
            Box::new(|_, id| by_infobip(id, &nobody)),
        ),
    ];
    for (provider, settings, delivered, failed) in all {
        shop.set("sms", json!({"provider": provider, "settings": settings})).await;
        let hook = shop.hook("sms").await;
        for (report, wanted) in [(delivered, "delivered"), (failed, "failed")] {
            let id = shop.send(&hello()).await;
            app.deliver_due().await;
            let found = shop.find(&id).await;
            assert_eq!(found["status"], "sent", "{provider}: {found}");
            for _ in 0..2 {
                app.take(&report(&hook, found["messageId"].as_str().unwrap())).await;
            }
            assert_eq!(shop.status(&id).await, wanted, "{provider}");
            assert_eq!(events(&shop, &id).await.iter().filter(|e| *e == wanted).count(), 1, "{provider}");
        }
    }
});

on_each_store!(b71_a_signature_of_another_time_is_refused, PUBLIC, async |app: TestApp| {
    let vonage = Vonage::start().await;
    let shop = app.shop().await;
    shop.set("sms", json!({"provider": "vonage", "settings": Value::Object(vonage.settings().0)})).await;
    let hook = shop.hook("sms").await;
    for (apart, stored_then) in [(301, 0), (-301, 0), (300, 1), (-300, 1)] {
        let at = Timestamp(app.now().0 + apart * 1000).to_system();
        let heard = app.hear(&vonage.inbound(&hook, "523312345678", "Hola", at)).await;
        if stored_then == 0 {
            heard.is_problem(401, "stale-signature");
        } else {
            assert_eq!(heard.status, 200, "{apart}: {}", heard.text());
        }
        assert_eq!(stored(&app, "inbound_messages").await, stored_then, "{apart}");
    }
});

on_each_store!(b75_a_callback_has_a_size, async |app: TestApp| {
    let meta = MetaDouble::start().await;
    let (_, hook) = shop_with(&app, &meta).await;
    let large = format!("{{\"object\": \"{}\"}}", "x".repeat(3 << 20));
    app.hear(&meta.signed_bytes(&hook, large.into_bytes())).await.is_problem(413, "body-too-large");
    ana_writes(&app, &meta, &hook).await;
    assert_eq!(stored(&app, "inbound_messages").await, 1);
});

on_each_store!(b76_our_own_message_coming_back_starts_nothing, async |app: TestApp| {
    let meta = MetaDouble::start().await;
    let (shop, hook) = shop_with(&app, &meta).await;
    // As Meta tells what was sent from the same number by other means.
    let echo = json!({"messaging_product": "whatsapp", "metadata": {"display_phone_number": "523330000000",
        "phone_number_id": MetaDouble::PHONE_NUMBER_ID}, "message_echoes": [{"from": "523330000000",
        "to": "523312345678", "id": "wamid.ECHO", "timestamp": "1753900100", "type": "text", "text": {"body": "BAJA"}}]});
    let body = json!({"object": "whatsapp_business_account", "entry": [{"id": MetaDouble::WABA_ID,
        "changes": [{"field": "smb_message_echoes", "value": echo}]}]});
    assert_eq!(app.take(&meta.signed_bytes(&hook, body.to_string().into_bytes())).await.text(), "");
    app.deliver_due().await;
    assert_eq!((stored(&app, "inbound_messages").await, meta.sent().len()), (0, 0));
    assert_eq!(shop.get("/v1/notifications").await.expect(200)["items"], json!([]));
});

/// What stands in the way of messages to Ana, by category.
async fn suppressed(shop: &Shop) -> Vec<(String, String, String)> {
    let listed = shop.get("/v1/suppressions").await.expect(200);
    let text = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
    let rows = listed["items"].as_array().unwrap().iter().filter(|row| row["address"] == ANA);
    rows.map(|row| (text(row, "category"), text(row, "reason"), text(row, "source"))).collect()
}

on_each_store!(a_person_who_writes_baja_gets_no_more_marketing_and_is_told_so_once, async |app: TestApp| {
    let meta = MetaDouble::start().await;
    let (shop, hook) = shop_with(&app, &meta).await;
    let says = |text: &str| meta.callback(&hook, &[meta.writes(ANA, json!({"type": "text", "text": {"body": text}}))]);
    app.take(&says("cancelar")).await;
    app.take(&says("quiero la baja de precio")).await;
    app.deliver_due().await;
    assert_eq!((suppressed(&shop).await, meta.sent().len()), (vec![], 0));

    let gone = says("¡Baja!");
    for round in 0..3 {
        join_all((0..10).map(|_| async { app.take(&gone).await })).await;
        app.deliver_due().await;
        assert_eq!(suppressed(&shop).await, [("marketing".into(), "unsubscribed".into(), "whatsapp".into())]);
        assert_eq!(meta.sent().len(), 1, "round {round}");
    }
    app.take(&says("STOP")).await;
    app.deliver_due().await;
    let told = meta.sent();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["text"]["body"], "Listo: ya no recibe promociones. Los avisos de sus citas siguen llegando.");

    let mut promotion = to_ana(json!(["whatsapp", "sms"]));
    promotion["category"] = json!("marketing");
    let refused = shop.notify(&promotion).await;
    assert_eq!(refused["notifications"][0]["status"], "suppressed");
    let id = shop.send(&to_ana(json!(["whatsapp"]))).await;
    app.deliver_due().await;
    assert_eq!(shop.status(&id).await, "sent");
    // Who was let in again is not put out again by a callback that comes once more.
    assert_eq!(shop.delete(&format!("/v1/suppressions/{}", ANA.replace('+', "%2B"))).await.status, 204);
    app.take(&gone).await;
    assert_eq!(suppressed(&shop).await, []);
});

on_each_store!(what_a_provider_takes_for_an_opt_out_itself_has_no_second_effect, PUBLIC, async |app: TestApp| {
    let twilio = Twilio::start().await;
    let shop = app.shop().await;
    shop.set("sms", json!({"provider": "twilio", "settings": Value::Object(twilio.settings().0)})).await;
    let hook = shop.hook("sms").await;
    app.take(&twilio.inbound(&hook, ANA, "STOP")).await;
    app.deliver_due().await;
    assert_eq!(suppressed(&shop).await, [("all".into(), "unsubscribed".into(), "provider".into())]);
    assert_eq!(shop.get("/v1/notifications").await.expect(200)["items"], json!([]), "Twilio has answered");
    // A word that Twilio does not know is ours.
    shop.delete(&format!("/v1/suppressions/{}", ANA.replace('+', "%2B"))).await.expect(204);
    app.take(&twilio.inbound(&hook, ANA, "Alto")).await;
    assert_eq!(suppressed(&shop).await, [("marketing".into(), "unsubscribed".into(), "sms".into())]);
    twilio.inbound(&hook, ANA, "START");
    app.deliver_due().await;
    assert_eq!(twilio.sent().len(), 1);
});

on_each_store!(a_stop_that_the_provider_only_passes_on_is_ours, PUBLIC, async |app: TestApp| {
    let twilio = Twilio::start().await;
    let shop = app.shop().await;
    shop.set("sms", json!({"provider": "twilio", "settings": Value::Object(twilio.settings().0)})).await;
    let hook = shop.hook("sms").await;
    // As from a number whose opt-outs Twilio does not keep: no OptOutType.
    let told = [("MessageSid", "SM1"), ("From", ANA), ("To", Twilio::NUMBER), ("Body", "Stop"), ("NumMedia", "0")];
    let told: Vec<_> = told.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    for _ in 0..2 {
        app.take(&Twilio::signed(Twilio::TOKEN, &hook, &told)).await;
        app.deliver_due().await;
        assert_eq!(suppressed(&shop).await, [("marketing".into(), "unsubscribed".into(), "sms".into())]);
        assert_eq!(twilio.sent().len(), 1, "it is told so, once");
    }
});

/// Reports as a provider sends them that is not sure of being heard: each ten times, in no order.
fn many_times(meta: &MetaDouble, hook: &str, message: &str) -> Vec<Callback> {
    let states = ["read", "delivered", "sent"];
    (0..30).map(|n| meta.callback(hook, &[meta.status(message, states[n * 7 % 3])])).collect()
}

/// Both nodes hear everything at the same moment.
async fn both_hear(nodes: [&TestApp; 2], callbacks: &[Callback]) {
    let heard = nodes.into_iter().flat_map(|node| callbacks.iter().map(|callback| node.hear(callback).into_future()));
    for answer in join_all(heard).await {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f38_two_nodes_that_hear_the_same_at_once_come_to_one_end() {
    let Some(store) = TestStore::postgres().await else { return };
    let app = TestApp::with(store, &[]).await;
    let meta = MetaDouble::start().await;
    let (shop, hook) = shop_with(&app, &meta).await;
    ana_writes(&app, &meta, &hook).await;
    let node = app.another_node().await;
    let mut ids = Vec::new();
    for early in [false, true] {
        let id = shop.send(&to_ana(json!(["whatsapp"]))).await;
        app.deliver_due().await;
        let message = shop.find(&id).await["messageId"].as_str().unwrap().to_owned();
        let callbacks = many_times(&meta, &hook, &message);
        if early {
            // As if the provider were faster than our commit.
            let forget = "update notifications set message_id = null, status = 'sending' where notification_id = $1";
            sqlx::query(forget).bind(&id).execute(&app.app.db.pool).await.unwrap();
            both_hear([&app, &node], &callbacks).await;
            assert_eq!(stored(&app, "reports").await, 3, "each state is kept once");
            let know = "update notifications set message_id = $2, status = 'sent' where notification_id = $1";
            sqlx::query(know).bind(&id).bind(&message).execute(&app.app.db.pool).await.unwrap();
            tokio::join!(app.deliver_due(), node.deliver_due());
        } else {
            both_hear([&app, &node], &callbacks).await;
        }
        ids.push((id, callbacks));
    }
    for (id, callbacks) in &ids {
        // A terminal status never moves back, whoever hears it once more.
        both_hear([&app, &node], callbacks).await;
        assert_eq!(shop.status(id).await, "read");
        let told = events(&shop, id).await;
        for status in ["sent", "delivered", "read"] {
            assert_eq!(told.iter().filter(|e| *e == status).count(), 1, "{status}: {told:?}");
        }
    }
    let written = meta.callback(&hook, &[meta.writes(ANA, json!({"type": "text", "text": {"body": "Baja"}}))]);
    both_hear([&app, &node], &vec![written; 10]).await;
    tokio::join!(app.deliver_due(), node.deliver_due());
    assert_eq!((stored(&app, "reports").await, stored(&app, "inbound_messages").await), (0, 2));
    assert_eq!((suppressed(&shop).await.len(), meta.sent().len()), (1, 3), "told once");
    node.close().await;
}

on_each_store!(outside_the_window_another_channel_is_taken_and_an_answer_opens_it, async |app: TestApp| {
    let meta = MetaDouble::start().await;
    let (shop, hook) = shop_with(&app, &meta).await;
    let alone = shop.send(&to_ana(json!(["whatsapp"]))).await;
    let chained = shop.send(&to_ana(json!(["whatsapp", "sms"]))).await;
    app.deliver_due().await;
    let found = shop.find(&alone).await;
    assert_eq!((&found["status"], &found["reason"]), (&json!("failed"), &json!("outside_whatsapp_window")));
    assert_eq!(found["attempts"][0]["outcome"], "not_sent");
    assert_eq!(meta.sent().len(), 0);
    assert_eq!(shop.find(&chained).await["channel"], "sms");
    let mut explained = to_ana(json!(["whatsapp", "sms"]));
    explained["dryRun"] = json!(true);
    let shown = shop.post("/v1/notify", &explained).await.expect(200);
    let considered = json!({"channel": "whatsapp", "taken": false, "reason": "outside_whatsapp_window"});
    assert_eq!(shown["notifications"][0]["channels"][0], considered);
    assert_eq!(shown["notifications"][0]["steps"].as_array().unwrap().len(), 1);
    ana_writes(&app, &meta, &hook).await;
    let open = shop.send(&to_ana(json!(["whatsapp"]))).await;
    app.deliver_due().await;
    assert_eq!(shop.status(&open).await, "sent");
    app.advance(Duration::from_hours(24)).await;
    let closed = shop.send(&to_ana(json!(["whatsapp"]))).await;
    app.deliver_due().await;
    assert_eq!(shop.find(&closed).await["reason"], "outside_whatsapp_window");
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outside_the_window_the_approved_form_goes_out() {
    let folder = tempfile::tempdir().unwrap();
    let reminder = folder.path().join("default/appointment_reminder");
    std::fs::create_dir_all(&reminder).unwrap();
    let form = r#"{"name": "cita", "language": "es_MX",
        "body": [{"text": "{{clientName}}"}, {"text": "{{appointmentTime}}"}]}"#;
    std::fs::write(reminder.join("whatsapp.template.json"), form).unwrap();
    let place = folder.path().to_str().unwrap();
    let app = TestApp::with(crate::support::TestStore::sqlite(), &[("RECADO_PATHS__TEMPLATES", place)]).await;
    let meta = MetaDouble::start().await;
    meta.add_template(Template {
        name: "cita",
        language: "es_MX",
        status: "APPROVED",
        body: 2,
        names: &[],
        header: None,
        buttons: &[],
    });
    let (shop, _) = shop_with(&app, &meta).await;
    let body = json!({"type": "appointment_reminder", "channel": "whatsapp", "to": {"phone": ANA, "name": "Ana"},
        "data": {"appointmentDate": "mañana", "appointmentTime": "2:00 PM", "serviceName": "Corte"}});
    let id = shop.send(&body).await;
    app.deliver_due().await;
    assert_eq!(shop.status(&id).await, "sent");
    let sent = meta.sent().remove(0);
    assert_eq!(sent["template"]["name"], "cita");
    assert_eq!(sent["template"]["components"][0]["parameters"][1]["text"], "2:00 PM");
}

on_each_store!(a_text_message_is_delivered_by_twilios_word, PUBLIC, async |app: TestApp| {
    let twilio = Twilio::start().await;
    let shop = app.shop().await;
    shop.set("sms", json!({"provider": "twilio", "settings": Value::Object(twilio.settings().0)})).await;
    let id = shop.send(&hello()).await;
    app.deliver_due().await;
    let message = shop.find(&id).await["messageId"].as_str().unwrap().to_owned();
    app.take(&twilio.report(&message, "delivered", None)).await;
    assert_eq!(shop.status(&id).await, "delivered");
    let dead = shop.send(&hello()).await;
    app.deliver_due().await;
    let message = shop.find(&dead).await["messageId"].as_str().unwrap().to_owned();
    app.take(&twilio.report(&message, "undelivered", Some(30_005))).await;
    assert_eq!(shop.status(&dead).await, "failed");
    // The number does not exist: nobody writes to it again.
    let again = shop.notify(&hello()).await;
    assert_eq!(again["notifications"][0]["status"], "suppressed");
});

on_each_store!(an_account_at_fault_hands_over_to_the_next_one, async |app: TestApp| {
    let twilio = Twilio::start().await;
    let shop = app.shop().await;
    let settings = Value::Object(twilio.settings().0);
    let accounts = json!({"accounts": [
        {"name": "main", "provider": "twilio", "settings": settings},
        {"name": "spare", "provider": "sandbox", "settings": {}},
    ]});
    shop.set("sms", accounts).await;
    twilio.replace_token("another");
    let id = shop.send(&hello()).await;
    app.deliver_due().await;
    let found = shop.find(&id).await;
    assert_eq!((&found["status"], &found["channel"]), (&json!("sent"), &json!("sms")));
    let providers: Vec<_> = found["attempts"].as_array().unwrap().iter().map(|a| a["provider"].clone()).collect();
    assert_eq!(providers, ["twilio", "sandbox"]);
    // What comes while the first account's circuit is open waits for it, but not for ever.
    let waiting = shop.send(&hello()).await;
    app.deliver_due().await;
    assert_eq!(shop.status(&waiting).await, "queued");
    app.advance(Duration::from_mins(3)).await;
    assert_eq!(shop.status(&waiting).await, "sent");
});

on_each_store!(without_a_report_of_delivery_the_next_channel_follows_in_its_time, async |app: TestApp| {
    let meta = MetaDouble::start().await;
    let (shop, hook) = shop_with(&app, &meta).await;
    ana_writes(&app, &meta, &hook).await;
    let mut body = to_ana(json!(["whatsapp", "sms"]));
    body["fallbackAfter"] = json!("2h");
    let (silent, told) = (shop.send(&body).await, shop.send(&body).await);
    app.deliver_due().await;
    let message = shop.find(&told).await["messageId"].as_str().unwrap().to_owned();
    app.take(&meta.callback(&hook, &[meta.status(&message, "delivered")])).await;
    app.advance(Duration::from_mins(119)).await;
    assert_eq!(shop.status(&silent).await, "sent");
    assert_eq!(shop.captured().await.len(), 0);
    app.advance(Duration::from_mins(1)).await;
    let found = shop.find(&silent).await;
    assert_eq!((&found["status"], &found["channel"]), (&json!("sent"), &json!("sms")));
    assert_eq!((shop.status(&told).await.as_str(), shop.captured().await.len()), ("delivered", 1));
    assert!(events(&shop, &silent).await.contains(&"fell_back".to_owned()));
    // A route script has a delay for each channel.
    let route =
        "fn route(notification, contact, channels, now) { [#{channel: \"whatsapp\", after: \"10m\"}, \"sms\"] }";
    shop.put("/v1/scripts/route", &json!({"kind": "route", "source": route})).await.expect(201);
    body.as_object_mut().unwrap().remove("channels");
    let routed = shop.send(&body).await;
    app.deliver_due().await;
    app.advance(Duration::from_mins(9)).await;
    assert_eq!(shop.find(&routed).await["channel"], "whatsapp");
    app.advance(Duration::from_mins(1)).await;
    assert_eq!((&shop.find(&routed).await["channel"], shop.captured().await.len()), (&json!("sms"), 2));
    body["channels"] = json!(["whatsapp", "sms"]);
    // The last channel of the chain has nobody behind it.
    app.advance(Duration::from_hours(3)).await;
    assert_eq!(shop.captured().await.len(), 2);
    for wrong in ["1s", "8d", "soon"] {
        body["fallbackAfter"] = json!(wrong);
        shop.post("/v1/notify", &body).await.is_problem(422, "validation");
    }
});
