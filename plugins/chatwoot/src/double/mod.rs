//! A Chatwoot server for tests, written from the vendor's contract: it keeps contacts, conversations and messages,
//! refuses what the real one refuses, and can be told to fail. Where the contract's OpenAPI document is at hand,
//! every request and every answer is checked against it, and a breach fails the test when the double is dropped.

mod contract;
mod routes;
mod state;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use plugin_api::Settings;
use serde_json::{Value, json};

use state::State;
pub use state::{Inbox, Sent, Status};

/// Runs until it is dropped.
pub struct Double {
    address: std::net::SocketAddr,
    shared: Arc<Mutex<State>>,
    server: tokio::task::JoinHandle<()>,
}

/// What a request is answered with instead of the truth.
#[derive(Debug, Clone)]
pub enum Fault {
    /// A JSON answer.
    Json(u16, Value),
    /// Any other: content type and body.
    Text(u16, &'static str, &'static str),
    /// The request takes effect, then an error page comes.
    StoreThen(u16),
    /// The request takes effect and no answer comes.
    StoreThenSilence,
    /// No effect and no answer.
    Silence,
    /// `Retry-After` in seconds, as a proxy would set it.
    RetryAfter(u16, u32),
}

/// One request as it came in.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The contract's name of the call, e.g. `createMessage`; empty for an unknown route.
    pub operation: &'static str,
    pub path: String,
    pub body: Value,
}

/// The access token that is accepted.
pub const TOKEN: &str = "tokenMadeUp00000000000001";
/// The account it belongs to.
pub const ACCOUNT: u64 = 1;

impl Fault {
    /// Chatwoot's usual error shape.
    pub fn error(status: u16, text: &str) -> Self {
        Self::Json(status, json!({"error": text}))
    }

    /// The shape of a failed model validation.
    pub fn invalid(text: &str, attribute: &str) -> Self {
        Self::Json(422, json!({"message": text, "attributes": [attribute]}))
    }

    /// The shape of a request without a token.
    pub fn not_signed_in() -> Self {
        Self::Json(401, json!({"errors": ["You need to sign in or sign up before continuing."]}))
    }

    /// What rack-attack answers.
    pub fn throttled() -> Self {
        Self::Text(429, "text/plain", "Retry later\n")
    }

    pub fn page(status: u16) -> Self {
        Self::Text(status, "text/html", "<html><body>Something went wrong</body></html>")
    }
}

impl Double {
    /// Listens on a port of its own on 127.0.0.1.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a local port is free");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Mutex::new(State::new()));
        let router = routes::router(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("a local listener does not fail");
        });
        Self { address, shared, server }
    }

    /// The value of `baseUrl`. Requests below any path prefix are answered too.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Settings of an account that writes through the given inbox.
    pub fn settings(&self, inbox: Inbox) -> Settings {
        let json = json!({"baseUrl": self.url(), "accountId": ACCOUNT, "inboxId": inbox.id(), "apiAccessToken": TOKEN});
        json.as_object().expect("it is one").clone().into_iter().collect()
    }

    /// A contact that is already there.
    pub fn add_contact(&self, phone: Option<&str>, email: Option<&str>) -> u64 {
        self.state().add_contact(phone, email, None, "")
    }

    /// A conversation that is already there, open and without messages.
    pub fn add_conversation(&self, contact: u64, inbox: Inbox) -> u64 {
        self.state().add_conversation(contact, inbox, Status::Open)
    }

    pub fn set_status(&self, conversation: u64, status: Status) {
        self.state().conversation_mut(conversation).status = status;
    }

    /// The person writes, which opens WhatsApp's window for this conversation.
    pub fn receive(&self, conversation: u64, text: &str) {
        let mut state = self.state();
        state.conversation_mut(conversation).can_reply = true;
        state.add_message(conversation, json!({"content": text}), false);
    }

    /// 24 hours pass.
    pub fn close_window(&self, conversation: u64) {
        self.state().conversation_mut(conversation).can_reply = false;
    }

    /// The contact and its conversations go, as by a merge.
    pub fn delete_contact(&self, contact: u64) {
        self.state().delete_contact(contact);
    }

    pub fn delete_inbox(&self, inbox: Inbox) {
        self.state().deleted_inboxes.push(inbox);
    }

    /// The next request of this operation is answered so; several add up.
    pub fn fail_next(&self, operation: &'static str, fault: Fault) {
        self.state().faults.entry(operation).or_default().push_back(fault);
    }

    /// While on, every request is answered 429.
    pub fn throttle(&self, on: bool) {
        self.state().throttled = on;
    }

    /// Somebody else creates the contact just before the next `createContact`.
    pub fn race_on_create(&self) {
        self.state().race_on_create = true;
    }

    /// Moves the server's clock against ours.
    pub fn set_clock_ahead(&self, seconds: i64) {
        self.state().clock_ahead = seconds;
    }

    /// Every outgoing message that was taken, in order.
    pub fn sent(&self) -> Vec<Sent> {
        self.state().messages.iter().filter(|m| m.outgoing).cloned().collect()
    }

    /// Contacts as the API shows them.
    pub fn contacts(&self) -> Vec<Value> {
        let state = self.state();
        state.contacts.iter().map(|c| state.show_contact(c)).collect()
    }

    /// Ids of all conversations, oldest first.
    pub fn conversations(&self) -> Vec<u64> {
        self.state().conversations.iter().map(|c| c.id).collect()
    }

    pub fn requests(&self) -> Vec<Seen> {
        self.state().requests.clone()
    }

    /// Requests of one operation.
    pub fn count(&self, operation: &str) -> usize {
        self.state().requests.iter().filter(|r| r.operation == operation).count()
    }

    /// Requests by operation since the last call.
    pub fn take_counts(&self) -> HashMap<&'static str, usize> {
        let mut counts = HashMap::new();
        for seen in self.state().requests.drain(..) {
            *counts.entry(seen.operation).or_default() += 1;
        }
        counts
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.server.abort();
        let breaches = std::mem::take(&mut self.state().breaches);
        if !std::thread::panicking() {
            assert!(breaches.is_empty(), "the contract was broken:\n{}", breaches.join("\n"));
        }
    }
}
