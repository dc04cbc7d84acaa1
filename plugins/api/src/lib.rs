//! The contract between Recado and a channel plugin.
//!
//! A plugin knows one outside service. It is given a rendered [`Message`] and answers what became of it; it never
//! retries, logs, stores, renders, or learns which tenant it works for. The core owns all of that.
//!
//! A plugin folder holds a `plugin.toml` (read as a [`Manifest`]) and something that implements [`Plugin`].
//! [`Plugin::open`] turns one account's settings into a [`Channel`], which the core keeps and shares between calls,
//! so that parsed settings and connections live as long as the account does.

mod callback;
pub mod gsm7;
pub mod http;
mod manifest;
pub mod net;
mod outcome;
mod secrets;
mod settings;

#[cfg(feature = "testing")]
pub mod conformance;

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use callback::{Answer, Callback, Event, Inbound, OptOut, Received, Refused, State, Status};
pub use manifest::{
    AddressKind, Formatting, Idempotency, Limits, Manifest, ManifestError, Provider, Setting, SettingKind, Unknown,
    manifest_faults,
};
pub use outcome::{Failure, Hint, Lookup, Receipt, SendError, quotable};
pub use secrets::{Secrets, address_and_form, is_hmac};
pub use settings::{Settings, SettingsError, base_url};

/// What a plugin folder supplies: a channel, through one or more providers.
pub trait Plugin: Send + Sync + 'static {
    /// The folder's `plugin.toml`.
    fn manifest(&self) -> &Manifest;

    /// Opens one account. Must not touch the network: a wrong password is found by [`Channel::check`], a missing
    /// one here. `provider` is one of the manifest's; `settings` satisfy its schema, including secrets in clear.
    fn open(&self, provider: &str, settings: &Settings, host: &Host) -> Result<Arc<dyn Channel>, SettingsError>;
}

/// One opened account of a provider.
#[async_trait]
pub trait Channel: Send + Sync + 'static {
    /// Hands one message to the provider, once. At most one request that can make a message may be written; look-ups
    /// before it are free. Must end within [`Host::timeout`] (HTTP: the contract's client sees to it).
    async fn send(&self, message: &Message) -> Result<Receipt, SendError>;

    /// Would a message be accepted now? Asks for no more rights than sending does and never reaches a person.
    /// `Ok` holds a sentence for the operator, `Err` what is wrong and what would cure it.
    async fn check(&self) -> Result<String, String>;

    /// Asks the provider whether the attempt that began at `since` was taken after all. Only called when the
    /// manifest says `lookup = true`.
    async fn lookup(&self, message: &Message, since: SystemTime) -> Lookup {
        let _ = (message, since);
        Lookup::Undecided
    }

    /// Verifies and reads one request that the provider made to this account's hook ([`Host::hook_url`]). Pure: no
    /// network, no state. The same callback gives the same events, however often and in whatever order it comes. Only
    /// called when the manifest says `callbacks` or `inbound`.
    async fn receive(&self, callback: &Callback) -> Result<Received, Refused> {
        let _ = callback;
        Err(Refused::Unsupported("this provider does not call back".into()))
    }
}

/// What the core lends to an opened account.
#[derive(Clone)]
pub struct Host {
    /// The only way to the outside over HTTP.
    pub http: http::Http,
    /// Which addresses may be connected to; plugins that open sockets of their own (SMTP) ask it.
    pub guard: Arc<net::Guard>,
    /// The longest a call may take, answer included.
    pub timeout: Duration,
    /// Name this program gives of itself (SMTP `EHLO`, host part of a `Message-ID`).
    pub hostname: Arc<str>,
    /// Where this account's provider may report to ([`Channel::receive`]): `https://recado.example/hooks/sms/4f…`.
    /// None while the server has no public address.
    pub hook_url: Option<Arc<str>>,
}

/// One rendered message for one recipient.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// The delivery's id: the same on every attempt, so it is the idempotency key where a provider takes one.
    pub id: String,
    /// The kind of notification, e.g. `appointment_reminder`.
    #[serde(rename = "type")]
    pub kind: String,
    pub channel: String,
    pub recipient: Recipient,
    pub subject: Option<String>,
    /// Always present: the plainest form.
    pub text: String,
    pub html: Option<String>,
    /// Custom e-mail headers, names already allow-listed and values free of CR, LF and NUL.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    pub actions: Vec<Action>,
    #[serde(skip)]
    pub attachments: Vec<Attachment>,
    pub data: Arc<serde_json::Value>,
    /// 1 for the first.
    pub attempt: u32,
    /// What an earlier receipt for the same account and address asked to remember.
    #[serde(skip)]
    pub memory: Option<serde_json::Value>,
    /// False when the provider takes only approved forms now, because the person has not written to this account within
    /// the manifest's `window-hours`. True for every provider without such a window.
    pub window_open: bool,
    /// The approved form of this message, if its template declares one.
    pub form: Option<ApprovedForm>,
    /// Where the recipient takes themselves off the list: a POST there does it at once, a GET only asks (RFC 8058).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsubscribe_url: Option<String>,
    /// When the first attempt of this step began: the same on every attempt, so that what is made of it can be.
    #[serde(skip)]
    pub began_at: SystemTime,
}

impl Message {
    /// The text, with the actions as a numbered list for channels without buttons.
    pub fn text_with_actions(&self) -> String {
        with_actions(&self.text, &self.actions)
    }
}

/// A text followed by its actions as a numbered list.
pub fn with_actions(text: &str, actions: &[Action]) -> String {
    let mut out = text.to_owned();
    for (n, action) in actions.iter().enumerate() {
        out.push_str(if n == 0 { "\n\n" } else { "\n" });
        let _ = write!(out, "{}. {}", n + 1, action.title);
    }
    out
}

/// Who a message is for. Addresses are normalised: `phone` is E.164 with the plus.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Recipient {
    pub contact_id: Option<String>,
    /// The app's own id of this person.
    pub external_id: Option<String>,
    pub name: Option<String>,
    pub phone: Option<String>,
    pub email: Option<String>,
}

/// A button, or a line of a numbered list where the channel has no buttons.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Action {
    /// What the person sees.
    pub title: String,
    /// What comes back when it is chosen.
    pub value: String,
}

/// A message that the provider approved beforehand, with this recipient's values filled in (WhatsApp's templates).
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ApprovedForm {
    /// Its name at Meta, or the content id (`HX…`) at Twilio.
    pub name: String,
    /// As approved, with an underscore: `es_MX`.
    pub language: String,
    pub header: Option<FormHeader>,
    /// The values of the body, in order.
    pub body: Vec<FormValue>,
    pub buttons: Vec<FormButton>,
}

/// One value of an approved form.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FormValue {
    /// For forms with named values; else the position counts.
    #[serde(default)]
    pub name: Option<String>,
    pub text: String,
}

/// The variable part of a form's header.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub enum FormHeader {
    Text(FormValue),
    /// A link that the provider fetches.
    Image(String),
    Video(String),
    Document(String),
}

/// The variable part of one of a form's buttons.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FormButton {
    /// Its position among the form's buttons, from 0.
    pub index: u8,
    pub value: FormButtonValue,
}

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub enum FormButtonValue {
    /// What comes back when a quick reply is chosen ([`Inbound::action`]).
    Payload(String),
    /// What is put at the end of a link.
    UrlSuffix(String),
    /// A coupon to copy.
    Code(String),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Attachment {
    pub filename: String,
    /// A media type, e.g. `text/calendar`.
    pub content_type: String,
    pub content: bytes::Bytes,
}
