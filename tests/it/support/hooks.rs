//! Callbacks of the providers' doubles, brought to the door.

use axum::body::Body;
use axum::http::Request;
use plugin_api::Callback;

use super::{Answer, Call, Shop, TestApp};

impl TestApp {
    /// Hands in what a provider posted to one of our hooks.
    pub fn hear(&self, callback: &Callback) -> Call {
        let public = &self.app.config.load().server.public_url;
        let path = callback.url.strip_prefix(public.as_str()).expect("the hook is ours");
        let mut request = Request::new(Body::from(callback.body.clone()));
        *request.method_mut() = callback.method.clone();
        *request.uri_mut() = path.parse().unwrap();
        *request.headers_mut() = callback.headers.clone();
        self.nobody().with_request(request)
    }

    /// Hands in what must be taken.
    pub async fn take(&self, callback: &Callback) -> Answer {
        let answer = self.hear(callback).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer
    }
}

impl Shop {
    /// Where the provider of a channel reports.
    pub async fn hook(&self, channel: &str) -> String {
        let state = self.get(&format!("/v1/channels/{channel}")).await.expect(200);
        state["webhookUrl"].as_str().expect("a provider that reports").to_owned()
    }
}
