//! Callers over the network.

use std::net::SocketAddr;
use std::sync::Once;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::Server;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Somebody with a key, and a server to call.
#[derive(Clone)]
pub struct Api {
    client: reqwest::Client,
    pub address: SocketAddr,
    pub key: String,
}

pub struct Answer {
    pub status: u16,
    pub replayed: bool,
    pub retry_after: Option<String>,
    pub body: Value,
}

impl Api {
    pub fn new(address: SocketAddr, key: &str) -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
        let client = reqwest::Client::builder().no_proxy().retry(reqwest::retry::never());
        let client = client.timeout(Duration::from_secs(30)).build().unwrap();
        Self { client, address, key: key.to_owned() }
    }

    /// The same caller at another server.
    pub fn at(&self, address: SocketAddr) -> Self {
        Self { address, ..self.clone() }
    }

    pub async fn try_call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, reqwest::Error> {
        let mut request = self.client.request(method, format!("http://{}{path}", self.address)).bearer_auth(&self.key);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        Self::answer(request).await
    }

    /// A file of one JSON object a line.
    pub async fn import(&self, path: &str, lines: &str) -> Result<Answer, reqwest::Error> {
        let request = self.client.post(format!("http://{}{path}", self.address)).bearer_auth(&self.key);
        Self::answer(request.header("content-type", "application/x-ndjson").body(lines.to_owned())).await
    }

    pub async fn upload(&self, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.client.post(format!("http://{}{path}", self.address)).bearer_auth(&self.key);
        let request = request.header("content-type", content_type).timeout(Duration::from_mins(5));
        let answer = Self::answer(request.body(body)).await;
        answer.unwrap_or_else(|e| panic!("{path}: {e:?}"))
    }

    async fn answer(request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers());
        let replayed = headers.contains_key("idempotency-replayed");
        let retry_after = headers.get("retry-after").map(|v| v.to_str().unwrap().to_owned());
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Answer { status, replayed, retry_after, body })
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let what = format!("{method} {path}");
        self.try_call(method, path, &[], body).await.unwrap_or_else(|e| panic!("{what}: {e:?}"))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::PUT, path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::PATCH, path, Some(body)).await
    }

    /// `POST /v1/notify` with an Idempotency-Key.
    pub async fn notify_once(&self, key: &str, body: &Value) -> Result<Answer, reqwest::Error> {
        self.try_call(Method::POST, "/v1/notify", &[("idempotency-key", key)], Some(body)).await
    }

    pub async fn find(&self, id: &str) -> Value {
        self.get(&format!("/v1/notifications/{id}")).await.expect(200)
    }
}

impl Answer {
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// The one notification's id.
    pub fn id(&self) -> String {
        self.body["notifications"][0]["id"].as_str().unwrap_or_else(|| panic!("no id in {}", self.body)).to_owned()
    }
}

/// A tenant and a key of its own.
#[derive(Clone)]
pub struct Shop {
    pub id: String,
    pub api: Api,
}

impl Shop {
    /// Without any channel.
    pub async fn bare(server: &Server) -> Self {
        let operator = server.operator();
        let tenant = operator.post("/v1/tenants", &json!({"name": "Salón Uno", "country": "MX"})).await.expect(201);
        let id = tenant["id"].as_str().unwrap().to_owned();
        let wanted = json!({"name": "faults", "scopes": ["send", "read", "admin"]});
        let key = operator.post(&format!("/v1/tenants/{id}/keys"), &wanted).await.expect(201);
        let api = Api { key: key["key"].as_str().unwrap().to_owned(), ..operator };
        Self { id, api }
    }

    /// Its webhooks go to this address.
    pub async fn open(server: &Server, url: &str) -> Self {
        let shop = Self::bare(server).await;
        shop.deliver_to(url).await;
        shop
    }

    pub async fn deliver_to(&self, url: &str) {
        let settings = json!({"provider": "webhook", "settings": {"url": url, "secret": SECRET}});
        self.api.put("/v1/channels/webhook", &settings).await.expect(200);
    }

    /// What happens to unknown outcomes of webhooks.
    pub async fn on_unknown(&self, word: &str) {
        let settings = json!({"onUnknown": {"webhook": word}});
        self.api.patch(&format!("/v1/tenants/{}", self.id), &settings).await.expect(200);
    }

    pub async fn send(&self, body: &Value) -> String {
        let answer = self.api.post("/v1/notify", body).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        answer.id()
    }

    /// The same shop, asked at another server.
    pub fn at(&self, server: &Server) -> Self {
        Self { id: self.id.clone(), api: self.api.at(server.address) }
    }
}

/// A message for the webhook.
pub fn note(text: &str) -> Value {
    json!({"type": "note", "channel": "webhook", "to": {"name": "Ana López", "externalId": "p-7"}, "message": text})
}
