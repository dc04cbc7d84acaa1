//! What is to be told: the part of a notification that is the same for every recipient of a request.

use std::sync::Arc;

use plugin_api::Action;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Stored as JSON beside the notification, or once per request; rendered when it is sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Content {
    #[serde(flatten)]
    pub body: Body,
    #[serde(default)]
    pub data: Arc<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Action>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<StoredAttachment>,
    /// Seconds after which a message that was sent but not reported as delivered goes on by the next channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_after: Option<u32>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Body {
    /// Rendered from the template of this name.
    Template(String),
    /// Sent as it stands.
    Message(String),
    Content(Literal),
}

/// Ready-made parts.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Literal {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    pub text: String,
    /// For channels with HTML; others get the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// E-mail only, from an allow-list of names.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub headers: std::collections::BTreeMap<String, String>,
    /// E-mail only: with a link to unsubscribe from marketing, which e-mails of that category have anyway.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsubscribe: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredAttachment {
    pub filename: String,
    pub content_type: String,
    /// The bytes, or where to fetch them when the message is sent.
    #[serde(flatten)]
    pub source: AttachmentSource,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttachmentSource {
    Base64(String),
    Url(String),
}

/// One channel of a chain. Stored and shown as its name, or with its delay where it has one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "HopText", into = "HopText")]
pub struct Hop {
    pub channel: String,
    /// Seconds after which a message that nobody reported as delivered here goes on by the next channel.
    pub after: Option<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum HopText {
    Name(String),
    Delayed { channel: String, after: u32 },
}

impl From<HopText> for Hop {
    fn from(text: HopText) -> Self {
        match text {
            HopText::Name(channel) => Self { channel, after: None },
            HopText::Delayed { channel, after } => Self { channel, after: Some(after) },
        }
    }
}

impl From<Hop> for HopText {
    fn from(Hop { channel, after }: Hop) -> Self {
        match after {
            None => Self::Name(channel),
            Some(after) => Self::Delayed { channel, after },
        }
    }
}

/// Who one notification is for, with addresses normalised.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recipient {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
}

impl Recipient {
    /// The address a channel of this kind would write to.
    pub fn address(&self, kind: plugin_api::AddressKind) -> Option<&str> {
        use plugin_api::AddressKind as K;
        match kind {
            K::Phone => self.phone.as_deref(),
            K::Email => self.email.as_deref(),
            K::PhoneOrEmail => self.phone.as_deref().or(self.email.as_deref()),
            K::None => None,
        }
    }

    /// One word for this person, whatever the channel: the same person asked twice gives the same word.
    pub fn identity(&self) -> &str {
        [&self.contact_id, &self.external_id, &self.phone, &self.email]
            .into_iter()
            .flatten()
            .next()
            .map_or("", String::as_str)
    }

    pub fn for_plugin(&self) -> plugin_api::Recipient {
        plugin_api::Recipient {
            contact_id: self.contact_id.clone(),
            external_id: self.external_id.clone(),
            name: self.name.clone(),
            phone: self.phone.clone(),
            email: self.email.clone(),
        }
    }
}
