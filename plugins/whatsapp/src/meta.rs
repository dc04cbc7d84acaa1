//! Meta's Cloud API: a number of one's own, registered with WhatsApp.

mod account;
mod check;
mod content;
mod errors;
mod hook;
mod template;
mod window;

use std::time::SystemTime;

use async_trait::async_trait;
use plugin_api::http::{Answer, Http};
use plugin_api::{Callback, Channel, Host, Message, Receipt, Received, Refused, SendError, Settings, SettingsError};
use serde::Deserialize;

use account::Account;

pub(crate) struct Meta {
    account: Account,
    http: Http,
}

impl Meta {
    pub(crate) fn open(settings: &Settings, host: &Host) -> Result<Self, SettingsError> {
        Ok(Self { account: Account::parse(settings)?, http: host.http.clone() })
    }
}

#[async_trait]
impl Channel for Meta {
    async fn send(&self, message: &Message) -> Result<Receipt, SendError> {
        let now = now();
        let body = content::body(message, &self.account.list_label, now)?;
        let url = self.account.url(&format!("{}/messages", self.account.phone_number_id));
        let answer = self.http.post(&url).headers(&self.account.headers).json(&body).send().await?;
        errors::judge(&answer, message.attempt).map_err(|e| window::learn(e, message, now))?;
        Ok(receipt(&answer))
    }

    async fn check(&self) -> Result<String, String> {
        check::check(&self.account, &self.http).await
    }

    async fn receive(&self, callback: &Callback) -> Result<Received, Refused> {
        hook::receive(&self.account, callback)
    }
}

#[derive(Deserialize)]
struct Taken {
    messages: Vec<TakenMessage>,
}

#[derive(Deserialize)]
struct TakenMessage {
    id: String,
    message_status: Option<String>,
}

/// The 2xx was the acceptance; what the body lacks is only noted.
fn receipt(answer: &Answer) -> Receipt {
    let first = answer.json::<Taken>().and_then(|taken| taken.messages.into_iter().next());
    let note = match first.as_ref().map(|m| m.message_status.as_deref()) {
        None => Some("Meta's answer was cut or holds no message id"),
        Some(Some("held_for_quality_assessment")) => {
            Some("Meta holds the message while it assesses the form's quality")
        }
        Some(Some("paused")) => Some("Meta has paused the approved form, so the message may not arrive"),
        Some(_) => None,
    };
    Receipt {
        message_id: first.map(|m| m.id),
        http_status: Some(answer.status),
        remember: None,
        note: note.map(str::to_owned),
    }
}

#[expect(clippy::disallowed_methods, reason = "how long ago a window was found closed is a matter of real time")]
fn now() -> SystemTime {
    SystemTime::now()
}
