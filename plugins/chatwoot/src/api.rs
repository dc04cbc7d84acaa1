//! Chatwoot's requests, one function each. Look-ups answer with what was found or with an error that is already
//! "certainly no message"; the two requests that make a message hand back the raw answer.

use std::time::SystemTime;

use http::HeaderName;
use plugin_api::SendError;
use plugin_api::http::{Answer, Http, Method, Request};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::account::Account;
use crate::errors;
use crate::inbox::{Address, Kind};
use crate::partial;

pub(crate) struct Api {
    pub(crate) account: Account,
    http: Http,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Conversation {
    pub(crate) id: u64,
    pub(crate) inbox_id: u64,
    #[serde(default)]
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) can_reply: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Posted {
    pub(crate) id: u64,
    pub(crate) content: Option<String>,
    /// 1 is outgoing.
    pub(crate) message_type: u8,
    pub(crate) created_at: u64,
    #[serde(default)]
    pub(crate) private: bool,
}

/// A page of messages, oldest first.
pub(crate) struct Page {
    pub(crate) messages: Vec<Posted>,
    pub(crate) whole: bool,
    /// The given moment, by the server's clock.
    pub(crate) since: SystemTime,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Profile {
    pub(crate) name: Option<String>,
    pub(crate) accounts: Vec<Membership>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Membership {
    pub(crate) id: u64,
    pub(crate) status: Option<String>,
}

#[derive(Deserialize)]
struct Contact {
    id: u64,
}

#[derive(Deserialize)]
struct Created {
    payload: CreatedContact,
}

#[derive(Deserialize)]
struct CreatedContact {
    contact: Contact,
}

impl Api {
    pub(crate) fn new(account: Account, http: Http) -> Self {
        Self { account, http }
    }

    pub(crate) async fn profile(&self) -> Result<Profile, SendError> {
        let url = self.account.url("/api/v1/profile");
        let answer = look_up(self.authorized(self.http.request(Method::GET, &url))).await?;
        answer.json().ok_or_else(|| errors::unreadable(&answer))
    }

    /// The inbox's name and kind.
    pub(crate) async fn inbox(&self) -> Result<(String, Kind), SendError> {
        let answer = look_up(self.get(&format!("/inboxes/{}", self.account.inbox_id))).await?;
        let found = partial::members(&answer.body, &["name", "channel_type", "medium"]);
        let text = |name: &str| found.get(name).and_then(Value::as_str);
        let channel_type = text("channel_type").ok_or_else(|| errors::unreadable(&answer))?;
        Ok((text("name").unwrap_or_default().to_owned(), Kind::new(channel_type, text("medium"))))
    }

    /// The contact that has exactly this address. Never the search route: it matches parts of names and numbers.
    pub(crate) async fn contact_by(&self, address: Address<'_>) -> Result<Option<u64>, SendError> {
        let (key, value) = match address {
            Address::Phone(phone) => ("phone_number", phone.to_owned()),
            Address::Email(email) => ("email", email.to_lowercase()),
        };
        let condition = json!({"attribute_key": key, "filter_operator": "equal_to", "values": [value],
            "query_operator": null});
        let body = json!({"payload": [condition]});
        let answer = look_up(self.post("/contacts/filter", &body)).await?;
        let (found, whole) = partial::items::<Contact>(&answer.body, "payload");
        match found.first() {
            Some(contact) => Ok(Some(contact.id)),
            None if whole => Ok(None),
            None => Err(errors::unreadable(&answer)),
        }
    }

    pub(crate) async fn create_contact(&self, contact: &Value) -> Result<u64, SendError> {
        let answer = look_up(self.post("/contacts", contact)).await?;
        let created: Created = answer.json().ok_or_else(|| errors::unreadable(&answer))?;
        Ok(created.payload.contact.id)
    }

    /// A contact's newest conversations in this inbox, and whether the list is whole; `None` if the contact is gone.
    pub(crate) async fn conversations(&self, contact: u64) -> Result<Option<(Vec<Conversation>, bool)>, SendError> {
        let answer = match look_up(self.get(&format!("/contacts/{contact}/conversations"))).await {
            Err(e) if e.http_status == Some(404) => return Ok(None),
            answer => answer?,
        };
        let (mut found, whole) = partial::items::<Conversation>(&answer.body, "payload");
        if found.is_empty() && !whole {
            return Err(errors::unreadable(&answer));
        }
        found.retain(|c| c.inbox_id == self.account.inbox_id);
        Ok(Some((found, whole)))
    }

    /// Up to twenty messages before the given one, or the newest; `None` if the conversation is gone.
    pub(crate) async fn messages(
        &self,
        conversation: u64,
        before: Option<u64>,
        since: SystemTime,
    ) -> Result<Option<Page>, SendError> {
        let mut url = self.account.account_url(&format!("/conversations/{conversation}/messages"));
        url.set_query(before.map(|id| format!("before={id}")).as_deref());
        let answer = match look_up(self.authorized(self.http.request(Method::GET, &url))).await {
            Err(e) if e.http_status == Some(404) => return Ok(None),
            answer => answer?,
        };
        let (messages, whole) = partial::items(&answer.body, "payload");
        Ok(Some(Page { messages, whole, since: answer.by_their_clock(since) }))
    }

    /// Makes a message.
    pub(crate) async fn post_message(
        &self,
        conversation: u64,
        message: &Value,
        by: Instant,
    ) -> Result<Answer, SendError> {
        self.post(&format!("/conversations/{conversation}/messages"), message).by(by).send().await
    }

    /// Makes a message, inside a new conversation.
    pub(crate) async fn post_conversation(&self, conversation: &Value, by: Instant) -> Result<Answer, SendError> {
        self.post("/conversations", conversation).by(by).send().await
    }

    fn get(&self, path: &str) -> Request<'_> {
        self.authorized(self.http.request(Method::GET, &self.account.account_url(path)))
    }

    fn post(&self, path: &str, body: &Value) -> Request<'_> {
        self.authorized(self.http.request(Method::POST, &self.account.account_url(path))).json(body)
    }

    fn authorized<'a>(&self, request: Request<'a>) -> Request<'a> {
        request.header(HeaderName::from_static("api_access_token"), self.account.token.clone())
    }
}

async fn look_up(request: Request<'_>) -> Result<Answer, SendError> {
    let answer = request.send().await.map_err(errors::before_the_message)?;
    errors::judge(&answer).map_err(errors::before_the_message)?;
    Ok(answer)
}
