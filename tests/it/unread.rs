//! Callbacks that were the provider's and were not understood: taken, counted, and set aside for people to read.

use std::time::Duration;

use plugin_api::Callback;
use plugin_sms::double::{Infobip, Twilio, Vonage};
use plugin_whatsapp::double::MetaDouble;
use serde_json::{Value, json};
use sqlx::Row;

use crate::support::{Shop, TestApp};

const ANA: &str = "+523312345678";
/// Providers report only to a server that they can reach.
const PUBLIC: &[(&str, &str)] = &[("RECADO_SERVER__PUBLIC_URL", "https://recado.example")];

async fn set_aside(shop: &Shop, channel: &str) -> Vec<Value> {
    let listed = shop.get(&format!("/v1/channels/{channel}/callbacks?limit=200")).await.expect(200);
    listed["items"].as_array().unwrap().clone()
}

async fn stored(app: &TestApp, table: &str) -> i64 {
    let sql = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
    sqlx::query(sql).fetch_one(&app.app.db.pool).await.unwrap().get(0)
}

async fn whatsapp(app: &TestApp) -> (MetaDouble, Shop, String) {
    let (meta, shop) = (MetaDouble::start().await, app.shop().await);
    let settings = Value::Object(MetaDouble::settings(meta.http.address()).0);
    shop.set("whatsapp", json!({"provider": "meta", "settings": settings})).await;
    let hook = shop.hook("whatsapp").await;
    (meta, shop, hook)
}

async fn sms(shop: &Shop, provider: &str, settings: plugin_api::Settings) -> String {
    shop.set("sms", json!({"provider": provider, "settings": Value::Object(settings.0)})).await;
    shop.hook("sms").await
}

fn changes(changes: &Value) -> String {
    json!({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": changes}]}).to_string()
}

on_each_store!(b73_what_is_not_understood_is_set_aside, PUBLIC, async |app: TestApp| {
    let (meta, shop, hook) = whatsapp(&app).await;
    let ours = json!({"phone_number_id": MetaDouble::PHONE_NUMBER_ID});
    let odd_status = json!([{"id": "wamid.1", "status": "pondered"}]);
    let of_meta = [
        ("rubbish".to_owned(), "not JSON"),
        (String::new(), "not JSON"),
        ("[]".to_owned(), "no list of changes"),
        ("{}".to_owned(), "no list of changes"),
        (changes(&json!([{"field": "moons", "value": 5}])), "a field other"),
        (changes(&json!([{"field": "messages", "value": {"metadata": ours, "statuses": odd_status}}])), "a status"),
    ];
    for (n, (body, problem)) in of_meta.iter().enumerate() {
        assert_eq!(app.take(&meta.signed_bytes(&hook, body.clone().into())).await.text(), "", "{body}");
        let aside = set_aside(&shop, "whatsapp").await;
        assert_eq!(aside.len(), n + 1, "{body}");
        let newest = &aside[0];
        assert!(newest["problem"].as_str().unwrap().contains(problem), "{newest}");
        assert_eq!((&newest["body"], &newest["bytes"]), (&json!(body), &json!(body.len())));
        assert_eq!((&newest["method"], &newest["contentType"]), (&json!("POST"), &json!("application/json")));
    }
    // What is understood is not, and what is beside something unknown takes effect all the same.
    app.take(&meta.callback(&hook, &[meta.writes(ANA, json!({"type": "text", "text": {"body": "Hola"}}))])).await;
    assert_eq!((set_aside(&shop, "whatsapp").await.len(), stored(&app, "inbound_messages").await), (6, 1));
    let mut both = meta.callback(&hook, &[meta.writes(ANA, json!({"type": "text", "text": {"body": "Adiós"}}))]);
    let mut body: Value = serde_json::from_slice(&both.body).unwrap();
    body["entry"][0]["changes"].as_array_mut().unwrap().push(json!({"field": "moons"}));
    both = Callback { url: both.url, ..meta.signed_bytes(&hook, body.to_string().into()) };
    app.take(&both).await;
    assert_eq!((set_aside(&shop, "whatsapp").await.len(), stored(&app, "inbound_messages").await), (7, 2));

    let twilio = Twilio::start().await;
    let hook = sms(&shop, "twilio", twilio.settings()).await;
    let form = |fields: &[(&str, &str)]| {
        let fields: Vec<_> = fields.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Twilio::signed(Twilio::TOKEN, &hook, &fields)
    };
    app.take(&form(&[("MessageSid", "SM1"), ("MessageStatus", "pondered")])).await;
    app.take(&form(&[("MessageSid", "SM1"), ("MessageStatus", "queued")])).await;
    app.take(&form(&[("Weather", "fine")])).await;
    let problems: Vec<_> = set_aside(&shop, "sms").await.iter().map(|a| a["problem"].clone()).collect();
    assert_eq!(problems.len(), 2, "{problems:?}");

    let infobip = Infobip::start().await;
    let hook = sms(&shop, "infobip", infobip.settings()).await;
    let reply = Infobip::inbound(&hook, Infobip::PASSWORD, "523312345678", "Hola", app.now().to_system());
    let odd = json!({"results": [{"messageId": "1", "status": {"groupId": 77}}]}).to_string();
    app.take(&Callback { body: odd.into(), ..reply }).await;
    let vonage = Vonage::start().await;
    let hook = sms(&shop, "vonage", vonage.settings()).await;
    app.take(&vonage.inbound(&hook, "523312345678", "Hola", app.now().to_system())).await;
    assert_eq!(set_aside(&shop, "sms").await.len(), 3);
    // Who is not the provider leaves nothing behind.
    app.hear(&Callback { headers: http::HeaderMap::new(), ..meta.signed_bytes(&hook, b"rubbish".to_vec()) }).await;
    assert_eq!(set_aside(&shop, "sms").await.len(), 3);
});

on_each_store!(what_is_set_aside_is_bounded_shows_no_secret_and_is_the_tenants, PUBLIC, async |app: TestApp| {
    let (meta, shop, hook) = whatsapp(&app).await;
    let leaky = format!("{} {}\u{0}\u{7} {ANA} {}", MetaDouble::APP_SECRET, MetaDouble::TOKEN, "ñ".repeat(9000));
    app.take(&meta.signed_bytes(&format!("{hook}?key=k-123&n=1"), leaky.clone().into())).await;
    let aside = set_aside(&shop, "whatsapp").await;
    let (body, query) = (aside[0]["body"].as_str().unwrap(), aside[0]["query"].as_str().unwrap());
    assert!(body.starts_with("******** ********") && body.chars().count() == 4096, "{}", &body[..40]);
    assert_eq!((aside[0]["bytes"].as_u64(), query), (Some(leaky.len() as u64), "key=********&n=1"));

    for n in 0..105 {
        app.take(&meta.signed_bytes(&hook, format!("number {n}").into())).await;
    }
    let aside = set_aside(&shop, "whatsapp").await;
    let (newest, oldest) = (&aside[0]["body"], &aside[99]["body"]);
    assert_eq!((aside.len(), newest, oldest), (100, &json!("number 104"), &json!("number 5")));
    let page = shop.get("/v1/channels/whatsapp/callbacks?limit=60").await.expect(200);
    let cursor = page["nextCursor"].as_str().unwrap();
    let rest = shop.get(&format!("/v1/channels/whatsapp/callbacks?limit=60&cursor={cursor}")).await.expect(200);
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["nextCursor"]), (40, &Value::Null));

    let other = Shop::new(&app, "Salón Dos").await;
    assert_eq!(set_aside(&other, "whatsapp").await, Vec::<Value>::new());
    shop.get("/v1/channels/pigeon/callbacks").await.is_problem(404, "not-found");
    shop.key(&["send"]).await.get("/v1/channels/whatsapp/callbacks").await.is_problem(403, "forbidden");

    // A person who is erased is not left here either.
    app.take(&meta.signed_bytes(&hook, b"about 5213312345678".to_vec())).await;
    shop.put("/v1/contacts/ana", &json!({"phone": ANA})).await.expect(201);
    shop.delete("/v1/contacts/ana").await.expect(204);
    assert_eq!(set_aside(&shop, "whatsapp").await.len(), 99);

    app.clock.advance(Duration::from_hours(31 * 24));
    assert_eq!((set_aside(&shop, "whatsapp").await.len(), stored(&app, "unread_callbacks").await), (0, 99));
    app.app.engine.tidy().await;
    assert_eq!(stored(&app, "unread_callbacks").await, 0);
});
