//! Sending: find the contact and the conversation, then write, once.

use std::time::Duration;

use async_trait::async_trait;
use plugin_api::http::Answer;
use plugin_api::{Channel, Host, Lookup, Message, Receipt, SendError};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::account::Account;
use crate::api::{Api, Conversation};
use crate::inbox::{Address, Kind};
use crate::memory::Memory;
use crate::{check, errors, lookup, phone};

pub(crate) struct ChatwootChannel {
    pub(crate) api: Api,
    /// Learnt at the first look-up; forgotten when the server no longer knows what was asked for.
    kind: tokio::sync::RwLock<Option<Kind>>,
    pub(crate) timeout: Duration,
}

#[async_trait]
impl Channel for ChatwootChannel {
    async fn send(&self, message: &Message) -> Result<Receipt, SendError> {
        let started = Instant::now();
        let mut known = Memory::recall(message, &self.api.account.place());
        if let Some(there) = known.take_if(|k| k.conversation_id.is_some() && !k.inbox.has_window()) {
            match self.write(message, &there, started).await {
                // Deleted, or merged with another contact: certainly no message was made.
                Err(e) if e.http_status == Some(404) => known = Some(there.without_conversation()),
                done => return done,
            }
        }
        // Look-ups leave the message half the time, so that it is not cut off and left uncertain.
        let there = tokio::time::timeout_at(started + self.timeout / 2, self.find(message, known))
            .await
            .unwrap_or_else(|_| Err(SendError::not_sent("lookup_timeout", "Chatwoot took too long to be looked up")))?;
        match self.write(message, &there, started).await {
            Err(e) if e.http_status == Some(404) => {
                *self.kind.write().await = None;
                Err(SendError::not_sent("conversation_gone", "contact, conversation or inbox vanished while sending")
                    .status(404)
                    .remember(Value::Null))
            }
            done => done,
        }
    }

    async fn check(&self) -> Result<String, String> {
        check::check(&self.api).await
    }

    async fn lookup(&self, message: &Message, since: std::time::SystemTime) -> Lookup {
        lookup::lookup(self, message, since).await
    }
}

impl ChatwootChannel {
    pub(crate) fn new(account: Account, host: &Host) -> Self {
        Self { api: Api::new(account, host.http.clone()), kind: tokio::sync::RwLock::new(None), timeout: host.timeout }
    }

    /// What the inbox is, asked once per opened account.
    pub(crate) async fn kind(&self) -> Result<Kind, SendError> {
        if let Some(kind) = self.kind.read().await.clone() {
            return Ok(kind);
        }
        let (_, kind) = self.api.inbox().await?;
        *self.kind.write().await = Some(kind.clone());
        Ok(kind)
    }

    /// The contact with this address, under any of the forms it may be stored in.
    pub(crate) async fn contact(&self, address: Address<'_>) -> Result<Option<u64>, SendError> {
        let Address::Phone(phone) = address else {
            return self.api.contact_by(address).await;
        };
        for form in phone::forms(phone) {
            if let Some(contact) = self.api.contact_by(Address::Phone(&form)).await? {
                return Ok(Some(contact));
            }
        }
        Ok(None)
    }

    /// Where to write. Creates the contact if need be, never a conversation: that is done with the message in it.
    async fn find(&self, message: &Message, known: Option<Memory>) -> Result<Memory, SendError> {
        let kind = self.kind().await?;
        let address = kind.address(&message.recipient)?;
        if let Some(known) = known
            && let Some((conversations, _)) = self.api.conversations(known.contact_id).await?
        {
            return self.place(kind, known.contact_id, &conversations);
        }
        if let Some(contact) = self.contact(address).await? {
            let conversations = self.api.conversations(contact).await;
            let (conversations, _) =
                conversations.map_err(|e| e.remember(self.memory(&kind, contact)))?.unwrap_or_default();
            return self.place(kind, contact, &conversations);
        }
        if kind.has_window() {
            return Err(outside_window());
        }
        let contact = self.create_contact(message, address).await?;
        self.place(kind, contact, &[])
    }

    fn place(&self, kind: Kind, contact_id: u64, conversations: &[Conversation]) -> Result<Memory, SendError> {
        let conversation_id = choose(&kind, conversations)?.map(|c| c.id);
        Ok(Memory { place: self.api.account.place(), inbox: kind, contact_id, conversation_id })
    }

    fn memory(&self, kind: &Kind, contact_id: u64) -> Value {
        let place = self.api.account.place();
        Memory { place, inbox: kind.clone(), contact_id, conversation_id: None }.to_value()
    }

    /// Another sender may create the same person at the same moment; the loser looks again. When it is only the
    /// identifier that is taken, by somebody with another address, the contact is made without it: two people are
    /// never merged silently.
    async fn create_contact(&self, message: &Message, address: Address<'_>) -> Result<u64, SendError> {
        let mut contact = json!({"inbox_id": self.api.account.inbox_id});
        match address {
            Address::Phone(phone) => contact["phone_number"] = phone.into(),
            Address::Email(email) => contact["email"] = email.to_lowercase().into(),
        }
        if let Some(name) = &message.recipient.name {
            contact["name"] = name.as_str().into();
        }
        if let Some(id) = &message.recipient.external_id {
            contact["identifier"] = id.as_str().into();
        }
        let taken = match self.api.create_contact(&contact).await {
            Err(e) if e.reason == "taken" => e,
            created => return created,
        };
        if let Some(found) = self.contact(address).await? {
            return Ok(found);
        }
        match contact.as_object_mut().and_then(|c| c.remove("identifier")) {
            Some(_) => self.api.create_contact(&contact).await,
            None => Err(taken),
        }
    }

    /// The one request that makes a message.
    async fn write(&self, message: &Message, there: &Memory, started: Instant) -> Result<Receipt, SendError> {
        let body = content(&there.inbox, message);
        let by = started + self.timeout;
        let answer = match there.conversation_id {
            Some(id) => self.api.post_message(id, &with_type(body), by).await,
            None => self.api.post_conversation(&self.conversation(message, there, body), by).await,
        };
        let answer = answer
            .and_then(|answer| errors::judge(&answer).map(|()| answer))
            .map_err(|e| e.remember(there.to_value()))?;
        Ok(receipt(message, there, &answer))
    }

    fn conversation(&self, message: &Message, there: &Memory, first: Value) -> Value {
        let mut body = json!({
            "inbox_id": self.api.account.inbox_id,
            "contact_id": there.contact_id,
            "status": "open",
            "message": first,
        });
        if let (Kind::Email, Some(subject)) = (&there.inbox, &message.subject) {
            body["additional_attributes"] = json!({"mail_subject": subject});
        }
        body
    }
}

/// The newest conversation that is not resolved. In a WhatsApp inbox Chatwoot counts the 24 hours by conversation, so
/// only one that can be replied to will do, a resolved one if need be; a new one never can.
fn choose<'a>(kind: &Kind, newest_first: &'a [Conversation]) -> Result<Option<&'a Conversation>, SendError> {
    let unresolved = |c: &&Conversation| c.status != "resolved";
    if !kind.has_window() {
        return Ok(newest_first.iter().find(unresolved));
    }
    let mut open = newest_first.iter().filter(|c| c.can_reply);
    open.clone().find(unresolved).or_else(|| open.next()).map(Some).ok_or_else(outside_window)
}

fn outside_window() -> SendError {
    SendError::rejected(
        "outside_whatsapp_window",
        "the person has not written in the last 24 hours, and WhatsApp then takes approved templates only",
    )
}

/// Buttons where the inbox shows them, a numbered list elsewhere. Never a `source_id`: Chatwoot would take the
/// message as sent already.
fn content(kind: &Kind, message: &Message) -> Value {
    if message.actions.is_empty() || !kind.has_buttons() {
        return json!({"content": message.text_with_actions(), "content_type": "text"});
    }
    let items: Vec<_> = message.actions.iter().map(|a| json!({"title": a.title, "value": a.value})).collect();
    json!({"content": message.text, "content_type": "input_select", "content_attributes": {"items": items}})
}

fn with_type(mut content: Value) -> Value {
    content["message_type"] = "outgoing".into();
    content
}

/// The 2xx was the acceptance; what the body lacks is only noted.
fn receipt(message: &Message, there: &Memory, answer: &Answer) -> Receipt {
    let body: Value = answer.json().unwrap_or_default();
    let (message_id, conversation_id) = match there.conversation_id {
        Some(id) => (body["id"].as_u64(), Some(id)),
        None => (first_message(&body), body["id"].as_u64()),
    };
    let note = message_id.is_none().then(|| "Chatwoot's answer was cut or holds no message id".to_owned());
    let remember = Memory { conversation_id, ..there.clone() }.to_value();
    Receipt {
        message_id: message_id.map(|id| id.to_string()),
        http_status: Some(answer.status),
        remember: (message.memory.as_ref() != Some(&remember)).then_some(remember),
        note,
    }
}

/// A new conversation shows its last message, which is ours unless an activity ("assigned to …") came after it.
fn first_message(conversation: &Value) -> Option<u64> {
    let messages = conversation["messages"].as_array()?;
    messages.iter().rfind(|m| m["message_type"] == 1)?["id"].as_u64()
}
