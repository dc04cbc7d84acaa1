//! A tenant ready to send, made through the API.

use std::ops::Deref;

use serde_json::{Value, json};

use super::{Caller, TestApp};

pub struct Shop {
    pub id: String,
    /// With every scope.
    caller: Caller,
    operator: Caller,
}

impl Deref for Shop {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

impl Shop {
    pub async fn new(app: &TestApp, name: &str) -> Self {
        let shop = Self::bare(app, name).await;
        for channel in ["sms", "email", "whatsapp"] {
            shop.sandbox(channel).await;
        }
        shop
    }

    /// Without any channel.
    pub async fn bare(app: &TestApp, name: &str) -> Self {
        let operator = app.operator();
        let tenant = operator.post("/v1/tenants", &json!({"name": name, "country": "MX"})).await.expect(201);
        let id = tenant["id"].as_str().unwrap().to_owned();
        let caller = app.nobody();
        let mut shop = Self { id, caller, operator };
        shop.caller = shop.key(&["send", "read", "admin"]).await;
        shop
    }

    /// A caller with a fresh key of these scopes.
    pub async fn key(&self, scopes: &[&str]) -> Caller {
        let made = self.make_key(scopes).await;
        self.caller.with_key(made["key"].as_str().unwrap())
    }

    pub async fn make_key(&self, scopes: &[&str]) -> Value {
        let path = format!("/v1/tenants/{}/keys", self.id);
        self.operator.post(&path, &json!({"name": "a test", "scopes": scopes})).await.expect(201)
    }

    /// The app behind it was started anew.
    pub fn moved_to(&mut self, app: &TestApp) {
        self.caller = self.caller.at(app.router.clone());
        self.operator = app.operator();
    }

    pub async fn branch(&self, settings: Value) -> String {
        let mut body = json!({"name": "Sucursal Centro"});
        body.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let made = self.post(&format!("/v1/tenants/{}/branches", self.id), &body).await.expect(201);
        made["id"].as_str().unwrap().to_owned()
    }

    pub async fn sandbox(&self, channel: &str) {
        self.set(channel, json!({"provider": "sandbox"})).await;
    }

    pub async fn set(&self, channel: &str, settings: Value) -> Value {
        self.put(&format!("/v1/channels/{channel}"), &settings).await.expect(200)
    }

    /// Changes the tenant's settings.
    pub async fn change(&self, settings: Value) {
        self.patch(&format!("/v1/tenants/{}", self.id), &settings).await.expect(200);
    }

    /// Sends what must be accepted.
    pub async fn notify(&self, body: &Value) -> Value {
        self.post("/v1/notify", body).await.expect(202)
    }

    /// Sends to one recipient; returns the notification's id.
    pub async fn send(&self, body: &Value) -> String {
        let answer = self.notify(body).await;
        answer["notifications"][0]["id"].as_str().unwrap().to_owned()
    }

    pub async fn find(&self, id: &str) -> Value {
        self.get(&format!("/v1/notifications/{id}")).await.expect(200)
    }

    pub async fn status(&self, id: &str) -> String {
        self.find(id).await["status"].as_str().unwrap().to_owned()
    }

    /// What the sandbox captured, newest first.
    pub async fn captured(&self) -> Vec<Value> {
        let page = self.get("/v1/sandbox/messages?limit=200").await.expect(200);
        page["items"].as_array().unwrap().clone()
    }
}

/// A message that every phone channel takes.
pub fn hello() -> Value {
    json!({"type": "note", "to": {"phone": "33 1234 5678", "name": "Ana López"}, "channel": "sms", "message": "Hola"})
}
