//! What an inbox can do, by its channel type: whom it can reach, whether a window limits it, whether buttons show.

use plugin_api::{Hint, Recipient, SendError};
use serde::{Deserialize, Serialize};

/// Only inboxes that can start a conversation are ever remembered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Kind {
    Api,
    Whatsapp,
    TwilioWhatsapp,
    /// Twilio or Bandwidth.
    Sms,
    Email,
    Website,
    /// Facebook, Instagram, Telegram, Line, TikTok and what may come: the person must write first.
    Other(String),
}

/// The address an inbox writes to, which is also how its contact is found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Address<'a> {
    Phone(&'a str),
    Email(&'a str),
}

impl Kind {
    /// `medium` tells Twilio's two apart.
    pub(crate) fn new(channel_type: &str, medium: Option<&str>) -> Self {
        match (channel_type, medium) {
            ("Channel::Api", _) => Self::Api,
            ("Channel::Whatsapp", _) => Self::Whatsapp,
            ("Channel::TwilioSms", Some("whatsapp")) => Self::TwilioWhatsapp,
            ("Channel::TwilioSms" | "Channel::Sms", _) => Self::Sms,
            ("Channel::Email", _) => Self::Email,
            ("Channel::WebWidget", _) => Self::Website,
            (other, _) => Self::Other(other.trim_start_matches("Channel::").to_owned()),
        }
    }

    /// Why nobody can be reached through this inbox, if so.
    pub(crate) fn obstacle(&self) -> Option<String> {
        let cure = "choose an API, WhatsApp, SMS or Email inbox";
        match self {
            Self::Website => Some(format!(
                "a Website inbox shows messages in the site's widget only and cannot start a conversation with a \
                 phone or an e-mail; {cure}"
            )),
            Self::Other(name) => {
                Some(format!("in a {name} inbox the person must write first, a conversation cannot be started; {cure}"))
            }
            _ => None,
        }
    }

    /// The address this inbox needs, or why it cannot reach this person.
    pub(crate) fn address<'a>(&self, recipient: &'a Recipient) -> Result<Address<'a>, SendError> {
        if let Some(obstacle) = self.obstacle() {
            return Err(SendError::rejected("inbox_cannot_reach", obstacle).hint(Hint::Misconfigured));
        }
        let phone = recipient.phone.as_deref().map(Address::Phone);
        let email = recipient.email.as_deref().map(Address::Email);
        let (address, need) = match self {
            Self::Email => (email, "an Email inbox needs the recipient's e-mail"),
            Self::Api => (phone.or(email), "the recipient has neither phone nor e-mail"),
            _ => (phone, "a WhatsApp or SMS inbox needs the recipient's phone"),
        };
        address.ok_or_else(|| SendError::rejected("no_address", need))
    }

    /// WhatsApp takes free text only within 24 hours of the person's last message.
    pub(crate) fn has_window(&self) -> bool {
        matches!(self, Self::Whatsapp | Self::TwilioWhatsapp)
    }

    /// Elsewhere Chatwoot sends the content alone and the choices would be lost.
    pub(crate) fn has_buttons(&self) -> bool {
        matches!(self, Self::Api | Self::Whatsapp)
    }

    /// For sentences.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Api => "API",
            Self::Whatsapp => "WhatsApp",
            Self::TwilioWhatsapp => "Twilio WhatsApp",
            Self::Sms => "SMS",
            Self::Email => "Email",
            Self::Website => "Website",
            Self::Other(name) => name,
        }
    }
}
