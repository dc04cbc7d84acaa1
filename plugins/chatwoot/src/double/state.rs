//! What the server holds, and the rules it keeps.

use std::collections::{HashMap, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{ACCOUNT, Fault, Seen};

/// One inbox of each type; they are all there from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inbox {
    Website,
    Whatsapp,
    Api,
    TwilioSms,
    TwilioWhatsapp,
    Sms,
    Email,
    Facebook,
    Instagram,
    Telegram,
    Line,
    Tiktok,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Open,
    Resolved,
    Pending,
    Snoozed,
}

/// A message, as tests look at it.
#[derive(Debug, Clone)]
pub struct Sent {
    pub id: u64,
    pub conversation: u64,
    pub content: String,
    pub content_type: String,
    pub content_attributes: Value,
    pub outgoing: bool,
    pub created_at: i64,
}

pub(super) struct State {
    pub(super) contacts: Vec<Contact>,
    pub(super) conversations: Vec<Conversation>,
    pub(super) messages: Vec<Sent>,
    pub(super) deleted_inboxes: Vec<Inbox>,
    pub(super) requests: Vec<Seen>,
    pub(super) breaches: Vec<String>,
    pub(super) faults: HashMap<&'static str, VecDeque<Fault>>,
    pub(super) throttled: bool,
    pub(super) race_on_create: bool,
    pub(super) clock_ahead: i64,
    last_id: u64,
}

#[derive(Clone)]
pub(super) struct Contact {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) phone: Option<String>,
    pub(super) email: Option<String>,
    pub(super) identifier: Option<String>,
}

#[derive(Clone)]
pub(super) struct Conversation {
    pub(super) id: u64,
    pub(super) contact: u64,
    pub(super) inbox: Inbox,
    pub(super) status: Status,
    pub(super) can_reply: bool,
    pub(super) additional_attributes: Value,
}

impl Inbox {
    const ALL: [(Self, u64, &'static str); 12] = [
        (Self::Website, 5, "Channel::WebWidget"),
        (Self::Whatsapp, 7, "Channel::Whatsapp"),
        (Self::Api, 9, "Channel::Api"),
        (Self::TwilioSms, 11, "Channel::TwilioSms"),
        (Self::TwilioWhatsapp, 12, "Channel::TwilioSms"),
        (Self::Sms, 13, "Channel::Sms"),
        (Self::Email, 14, "Channel::Email"),
        (Self::Facebook, 15, "Channel::FacebookPage"),
        (Self::Instagram, 16, "Channel::Instagram"),
        (Self::Telegram, 17, "Channel::Telegram"),
        (Self::Line, 18, "Channel::Line"),
        (Self::Tiktok, 19, "Channel::Tiktok"),
    ];

    pub fn id(self) -> u64 {
        self.row().1
    }

    pub(super) fn find(id: u64) -> Option<Self> {
        Self::ALL.iter().find(|row| row.1 == id).map(|row| row.0)
    }

    pub(super) fn channel_type(self) -> &'static str {
        self.row().2
    }

    pub(super) fn medium(self) -> Option<&'static str> {
        match self {
            Self::TwilioSms => Some("sms"),
            Self::TwilioWhatsapp => Some("whatsapp"),
            _ => None,
        }
    }

    /// The address a contact gets in this inbox, or why it cannot have one.
    pub(super) fn source_id(self, contact: &Contact) -> Result<String, &'static str> {
        let phone = contact.phone.clone().ok_or("contact phone number");
        match self {
            Self::Api | Self::Website => Ok(format!("00000000-0000-4000-8000-{:012}", contact.id)),
            Self::Whatsapp => Ok(phone?.trim_start_matches('+').to_owned()),
            Self::TwilioWhatsapp => Ok(format!("whatsapp:{}", phone?)),
            Self::TwilioSms | Self::Sms => phone,
            Self::Email => contact.email.clone().ok_or("contact email"),
            _ => Err(""),
        }
    }

    fn row(self) -> &'static (Self, u64, &'static str) {
        Self::ALL.iter().find(|row| row.0 == self).expect("every inbox has its row")
    }
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Resolved => "resolved",
            Self::Pending => "pending",
            Self::Snoozed => "snoozed",
        }
    }
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            contacts: vec![],
            conversations: vec![],
            messages: vec![],
            deleted_inboxes: vec![],
            requests: vec![],
            breaches: vec![],
            faults: HashMap::new(),
            throttled: false,
            race_on_create: false,
            clock_ahead: 0,
            last_id: 40,
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a double of a real server")]
    pub(super) fn now(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        now.as_secs().cast_signed() + self.clock_ahead
    }

    pub(super) fn inbox(&self, id: u64) -> Option<Inbox> {
        Inbox::find(id).filter(|inbox| !self.deleted_inboxes.contains(inbox))
    }

    pub(super) fn contact(&self, id: u64) -> Option<&Contact> {
        self.contacts.iter().find(|c| c.id == id)
    }

    pub(super) fn conversation(&self, id: u64) -> Option<&Conversation> {
        self.conversations.iter().find(|c| c.id == id)
    }

    pub(super) fn conversation_mut(&mut self, id: u64) -> &mut Conversation {
        self.conversations.iter_mut().find(|c| c.id == id).expect("the test names a conversation that exists")
    }

    pub(super) fn add_contact(
        &mut self,
        phone: Option<&str>,
        email: Option<&str>,
        identifier: Option<&str>,
        name: &str,
    ) -> u64 {
        let id = self.next_id();
        self.contacts.push(Contact {
            id,
            name: name.to_owned(),
            phone: phone.map(str::to_owned),
            email: email.map(str::to_lowercase),
            identifier: identifier.map(str::to_owned),
        });
        id
    }

    /// The texts of the real validation: each of the three is unique in the account.
    pub(super) fn taken(&self, phone: Option<&str>, email: Option<&str>, identifier: Option<&str>) -> Option<Value> {
        let clash = |mine: Option<&str>, theirs: &Option<String>| mine.is_some() && mine == theirs.as_deref();
        let email = email.map(str::to_lowercase);
        for other in &self.contacts {
            let (text, attribute) = if clash(phone, &other.phone) {
                ("Phone number has already been taken", "phone_number")
            } else if clash(email.as_deref(), &other.email) {
                ("Email has already been taken", "email")
            } else if clash(identifier, &other.identifier) {
                ("Identifier has already been taken", "identifier")
            } else {
                continue;
            };
            return Some(json!({"message": text, "attributes": [attribute]}));
        }
        None
    }

    pub(super) fn delete_contact(&mut self, contact: u64) {
        self.contacts.retain(|c| c.id != contact);
        self.conversations.retain(|c| c.contact != contact);
    }

    pub(super) fn add_conversation(&mut self, contact: u64, inbox: Inbox, status: Status) -> u64 {
        let id = self.next_id();
        // Only WhatsApp knows a window, and it is shut before any incoming message.
        let can_reply = !matches!(inbox, Inbox::Whatsapp | Inbox::TwilioWhatsapp);
        let additional_attributes = json!({});
        self.conversations.push(Conversation { id, contact, inbox, status, can_reply, additional_attributes });
        id
    }

    pub(super) fn add_message(&mut self, conversation: u64, body: Value, outgoing: bool) -> u64 {
        let id = 9000 + self.next_id();
        let text = |name: &str, default: &str| body[name].as_str().unwrap_or(default).to_owned();
        let attributes = match &body["content_attributes"] {
            Value::Null => json!({}),
            given => given.clone(),
        };
        self.messages.push(Sent {
            id,
            conversation,
            content: text("content", ""),
            content_type: text("content_type", "text"),
            content_attributes: attributes,
            outgoing,
            created_at: self.now(),
        });
        id
    }

    pub(super) fn show_contact(&self, contact: &Contact) -> Value {
        let mut inboxes: Vec<Inbox> = vec![];
        for conversation in self.conversations.iter().filter(|c| c.contact == contact.id) {
            if !inboxes.contains(&conversation.inbox) {
                inboxes.push(conversation.inbox);
            }
        }
        let inboxes: Vec<_> = inboxes
            .into_iter()
            .filter_map(|inbox| Some(json!({"source_id": inbox.source_id(contact).ok()?, "inbox": slim(inbox)})))
            .collect();
        json!({
            "id": contact.id, "name": contact.name, "phone_number": contact.phone, "email": contact.email,
            "identifier": contact.identifier, "additional_attributes": {}, "custom_attributes": {},
            "availability_status": "offline", "blocked": false, "thumbnail": "", "created_at": self.now(),
            "contact_inboxes": inboxes,
        })
    }

    pub(super) fn show_conversation(&self, conversation: &Conversation) -> Value {
        let last = self.messages.iter().rfind(|m| m.conversation == conversation.id);
        let messages: Vec<_> = last.map(|m| self.show_message(m)).into_iter().collect();
        json!({
            "id": conversation.id, "account_id": ACCOUNT, "inbox_id": conversation.inbox.id(),
            "uuid": "0b0ef0c8-8a1e-4a8e-9a0e-6a3f1d0f6a11", "status": conversation.status.name(),
            "can_reply": conversation.can_reply, "labels": [], "custom_attributes": {}, "muted": false,
            "additional_attributes": conversation.additional_attributes, "snoozed_until": null, "priority": null,
            "messages": messages, "last_non_activity_message": null, "unread_count": 0,
            "meta": {"sender": {"id": conversation.contact}, "channel": conversation.inbox.channel_type()},
        })
    }

    pub(super) fn show_message(&self, message: &Sent) -> Value {
        let inbox = self.conversation(message.conversation).map_or(0, |c| c.inbox.id());
        json!({
            "id": message.id, "content": message.content, "inbox_id": inbox,
            "conversation_id": message.conversation, "message_type": u8::from(message.outgoing),
            "content_type": message.content_type, "status": "sent",
            "content_attributes": message.content_attributes, "created_at": message.created_at, "private": false,
            "source_id": null, "sender": {"id": 2, "name": "Gateway Bot", "type": "user"},
        })
    }

    pub(super) fn show_inbox(inbox: Inbox) -> Value {
        let mut shown = slim(inbox);
        shown["lock_to_single_conversation"] = false.into();
        shown["website_token"] = Value::Null;
        if let Some(medium) = inbox.medium() {
            shown["medium"] = medium.into();
        }
        if inbox == Inbox::Whatsapp {
            shown["message_templates"] = json!([]);
        }
        shown
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

pub(super) fn slim(inbox: Inbox) -> Value {
    json!({
        "id": inbox.id(), "avatar_url": "", "channel_id": inbox.id() + 100, "name": format!("{inbox:?} Centro"),
        "channel_type": inbox.channel_type(),
        "provider": if inbox == Inbox::Whatsapp { json!("whatsapp_cloud") } else { Value::Null },
    })
}
