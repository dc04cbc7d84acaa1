//! Infobip's SMS API, version 3. Sources: Infobip's pages "Quickstart", "Message status codes", "Handling errors" and
//! "Get outbound SMS message logs", the Java client's `ApiError`; "Create security settings" for how webhooks are
//! authenticated.

mod errors;
mod hook;
mod receive;

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use http::HeaderValue;
use http::header::{ACCEPT, AUTHORIZATION};
use plugin_api::http::{Answer, Http, Request};
use plugin_api::{
    Callback, Channel, Host, Lookup, Message, Receipt, Received, Refused, SendError, Settings, SettingsError,
};
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use crate::account::Base;
use crate::sender::Sender;
use crate::{answer, phone, time};

/// How long Infobip's logs know a message, less an hour for the wait before a look-up.
const LOGS_REACH: Duration = Duration::from_hours(47);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Given {
    base_url: String,
    api_key: String,
    from: String,
    webhook_password: Option<String>,
}

pub(crate) struct Infobip {
    http: Http,
    base: Base,
    authorization: HeaderValue,
    sender: Sender,
    passwords: hook::Passwords,
    /// Where reports are asked for; none while nobody could verify them.
    report_url: Option<String>,
    timeout: Duration,
}

/// Of the answer to a message, and of a log.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    message_id: Option<String>,
    status: errors::Status,
}

impl Infobip {
    pub(crate) fn open(settings: &Settings, host: &Host) -> Result<Self, SettingsError> {
        let given: Given = settings.parse()?;
        let passwords = hook::Passwords::parse(given.webhook_password.as_deref())?;
        Ok(Self {
            http: host.http.clone(),
            base: Base::parse(&given.base_url)?,
            authorization: authorization(&given.api_key)?,
            sender: Sender::parse(&given.from)?,
            report_url: host.hook_url.as_deref().and_then(|url| passwords.report_url(url)),
            passwords,
            timeout: host.timeout,
        })
    }

    fn authorized<'a>(&self, request: Request<'a>) -> Request<'a> {
        let json = HeaderValue::from_static("application/json");
        request.header(AUTHORIZATION, self.authorization.clone()).header(ACCEPT, json)
    }

    async fn post_messages(&self, body: &Value) -> Result<Answer, SendError> {
        self.authorized(self.http.post(&self.base.url("/sms/3/messages"))).json(body).send().await
    }

    /// The logs of the id we chose. What Infobip refused stands there too.
    async fn search(&self, message: &Message, since: SystemTime) -> Result<Lookup, SendError> {
        #[derive(Deserialize)]
        struct Logs {
            results: Vec<Sent>,
        }
        let mut url = self.base.url("/sms/3/logs");
        url.set_query(Some(&Serializer::new(String::new()).append_pair("messageId", &message.id).finish()));
        let answer = self.authorized(self.http.get(&url)).send().await?;
        errors::judge(&answer)?;
        let Some(logs) = answer.json::<Logs>() else { return Ok(Lookup::Undecided) };
        if let Some(found) = logs.results.into_iter().find(|sent| !sent.status.is_rejected()) {
            return Ok(Lookup::Found { message_id: found.message_id });
        }
        Ok(if time::age(since) < LOGS_REACH { Lookup::NotFound } else { Lookup::Undecided })
    }
}

#[async_trait]
impl Channel for Infobip {
    async fn send(&self, message: &Message) -> Result<Receipt, SendError> {
        let to = message.recipient.phone.as_deref();
        let to = to.ok_or_else(|| SendError::not_sent("no_address", "the recipient has no phone number"))?;
        let mut one = json!({
            "sender": self.sender.without_plus(),
            "destinations": [{"to": phone::without_plus(to), "messageId": message.id}],
            "content": {"text": message.text_with_actions()},
        });
        if let Some(url) = &self.report_url {
            one["webhooks"] = json!({"delivery": {"url": url}});
        }
        taken(&self.post_messages(&json!({"messages": [one]})).await?)
    }

    /// Sends an empty list: the key is judged before the list is, and an empty list reaches nobody.
    async fn check(&self) -> Result<String, String> {
        let answer = self.post_messages(&json!({"messages": []})).await.map_err(|e| e.detail)?;
        match errors::judge(&answer) {
            Err(e) if matches!(answer.status, 401 | 403) => return Err(e.detail),
            Err(_) if answer.status == 400 && errors::is_infobips(&answer) => {}
            Err(_) if matches!(answer.status, 400 | 404) => {
                return Err("what answers is not Infobip's API; correct baseUrl".into());
            }
            Err(e) => return Err(e.detail),
            Ok(()) => {}
        }
        let reports = if self.passwords.is_empty() { "; no reports: set webhookPassword to get them" } else { "" };
        Ok(format!("the key is good; sends as {}{reports}", self.sender.describe()))
    }

    async fn lookup(&self, message: &Message, since: SystemTime) -> Lookup {
        // Anything that stands in the way, a key without the right to read logs too, leaves it undecided.
        let search = tokio::time::timeout(self.timeout, self.search(message, since)).await;
        search.unwrap_or(Ok(Lookup::Undecided)).unwrap_or(Lookup::Undecided)
    }

    async fn receive(&self, callback: &Callback) -> Result<Received, Refused> {
        receive::receive(&self.passwords, callback)
    }
}

/// A 200 may carry a refusal: the status of the message tells.
fn taken(answer: &Answer) -> Result<Receipt, SendError> {
    #[derive(Deserialize)]
    struct Answered {
        messages: Vec<Sent>,
    }
    errors::judge(answer)?;
    let sent = answer.json::<Answered>().and_then(|answered| answered.messages.into_iter().next());
    if let Some(sent) = &sent {
        sent.status.judge(answer.status)?;
    }
    let id = sent.and_then(|sent| sent.message_id).filter(|id| !id.is_empty());
    Ok(answer::receipt(answer, id, None))
}

/// Blanks around a pasted key are dropped; anything a header cannot carry is refused here rather than at send.
fn authorization(key: &str) -> Result<HeaderValue, SettingsError> {
    let key = key.trim();
    let wrong = |code, detail: &str| Err(SettingsError::new("apiKey", code, detail));
    if key.is_empty() {
        return wrong("required", "must not be empty");
    }
    if !key.bytes().all(|b| b.is_ascii_graphic()) {
        return wrong("malformed", "must hold visible ASCII characters only, without spaces");
    }
    let mut value = HeaderValue::from_str(&format!("App {key}")).expect("visible ASCII is a header value");
    value.set_sensitive(true);
    Ok(value)
}
