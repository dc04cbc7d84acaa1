//! WhatsApp from the request to Meta's double.

use std::time::Duration;

use plugin_whatsapp::double::MetaDouble;
use serde_json::{Value, json};

use crate::support::{Shop, TestApp, hello};

const ANA: &str = "+523312345678";
const LUZ: &str = "+523387654321";

/// Both have just written to the shop.
async fn shop_with(app: &TestApp, meta: &MetaDouble) -> Shop {
    let shop = Shop::bare(app, "Salón Uno").await;
    let settings = Value::Object(MetaDouble::settings(meta.http.address()).0);
    shop.set("whatsapp", json!({"provider": "meta", "settings": settings})).await;
    let hook = shop.hook("whatsapp").await;
    for phone in [ANA, LUZ] {
        let written = meta.writes(phone, json!({"type": "text", "text": {"body": "Hola"}}));
        app.take(&meta.callback(&hook, &[written])).await;
    }
    shop
}

fn to(phone: &str) -> Value {
    let mut body = hello();
    body["channel"] = json!("whatsapp");
    body["to"] = json!({"phone": phone});
    body
}

on_each_store!(a_message_reaches_meta_with_its_id_as_the_reference, async |app: TestApp| {
    let meta = MetaDouble::start().await;
    let shop = shop_with(&app, &meta).await;
    let mut body = to(ANA);
    body["actions"] = json!([{"title": "Confirmar", "value": "confirm:1"}]);
    let id = shop.send(&body).await;
    app.deliver_due().await;
    let sent = meta.sent().remove(0);
    assert_eq!((&sent["to"], &sent["biz_opaque_callback_data"]), (&json!("523312345678"), &json!(id)));
    assert_eq!(sent["interactive"]["action"]["buttons"][0]["reply"]["id"], "confirm:1");
    let found = shop.find(&id).await;
    assert_eq!((&found["status"], &found["messageId"]), (&json!("sent"), &sent["id"]));
});

on_each_store!(a_limit_on_messages_to_one_person_keeps_nobody_else_waiting, async |app: TestApp| {
    let meta = MetaDouble::start().await;
    let shop = shop_with(&app, &meta).await;
    // More of them in a row than it takes to open a circuit.
    let mut held = Vec::new();
    for _ in 0..6 {
        meta.answer_next(MetaDouble::error(400, 131_056, "too many to one person"));
        held.push(shop.send(&to(ANA)).await);
        app.deliver_due().await;
    }
    let luz = shop.send(&to(LUZ)).await;
    app.deliver_due().await;
    assert_eq!(shop.status(&luz).await, "sent");
    for id in &held {
        assert_eq!(shop.status(id).await, "queued");
    }
    app.advance(Duration::from_mins(5)).await;
    app.deliver_due().await;
    for id in &held {
        assert_eq!(shop.status(id).await, "sent");
    }
    assert_eq!(meta.sent().len(), 7);
});
