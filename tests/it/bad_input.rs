//! Bad input and the answer each must get, one test per row of the contract's table. After every row a real message
//! must still go out.

mod addresses;
mod bodies;
mod callers;
mod keys_and_states;
mod templates;
mod urls;

use serde_json::{Value, json};

use crate::support::{Answer, Shop, TestApp, TestStore, hello};

/// A shop behind the router.
struct Door {
    shop: Shop,
    app: TestApp,
}

impl Door {
    async fn open() -> Self {
        Self::to(TestApp::sqlite().await).await
    }

    async fn with(settings: &[(&str, &str)]) -> Self {
        Self::to(TestApp::with(TestStore::sqlite(), settings).await).await
    }

    async fn to(app: TestApp) -> Self {
        Self { shop: app.shop().await, app }
    }

    async fn notify(&self, body: &Value) -> Answer {
        self.shop.post("/v1/notify", body).await
    }

    /// A body as a client's bug would write it.
    async fn raw(&self, body: impl Into<axum::body::Body>) -> Answer {
        self.shop.post("/v1/notify", &json!({})).body(body).await
    }

    /// The usual request with these fields changed is refused with this fault.
    async fn refuses(&self, changes: Value, slug: &str, pointer: &str, code: &str) -> String {
        self.notify(&with(changes)).await.has_fault(slug, pointer, code)
    }

    /// The last word of every row.
    async fn still_works(self) {
        self.app.nobody().get("/healthz").await.expect(200);
        let id = self.shop.send(&hello()).await;
        self.app.deliver_due().await;
        assert_eq!(self.shop.status(&id).await, "sent");
    }
}

/// The usual request with some fields changed.
fn with(changes: Value) -> Value {
    let mut body = hello();
    body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    body
}

fn without(field: &str) -> Value {
    let mut body = hello();
    body.as_object_mut().unwrap().remove(field);
    body
}
