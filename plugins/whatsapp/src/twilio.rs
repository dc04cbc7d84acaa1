//! WhatsApp through Twilio's Messages API. Twilio takes free text at any time and reports a closed window afterwards
//! (63016), so what the core knows of the window decides here.

mod account;
mod errors;
mod hook;
mod lookup;
mod signature;

use std::time::SystemTime;

use async_trait::async_trait;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use plugin_api::http::{Answer, Http, Url};
use plugin_api::{
    ApprovedForm, Callback, Channel, FormButtonValue, FormHeader, Host, Lookup, Message, Receipt, Received, Refused,
    SendError, Settings, SettingsError,
};
use serde::Deserialize;
use serde_json::{Map, Value};
use url::form_urlencoded::Serializer;

use crate::form::{unusable, value};
use crate::{OUTSIDE_WINDOW, phone};
use account::{Account, Sender, is_sid};

/// Characters of a text.
const TEXT: usize = 1600;

/// In the status callback's address: our id of the message, which tells whose it is even if Twilio's answer was lost.
const REFERENCE: &str = "message";

pub(crate) struct Twilio {
    account: Account,
    http: Http,
    /// Where Twilio reports to; none while the server has no address that Twilio takes.
    hook: Option<Url>,
}

impl Twilio {
    pub(crate) fn open(settings: &Settings, host: &Host) -> Result<Self, SettingsError> {
        let hook = host.hook_url.as_deref().and_then(|text| Url::parse(text).ok());
        // Twilio refuses the whole message over an underscore in the host of its callback (21609).
        let hook = hook.filter(|url| url.host_str().is_some_and(|host| !host.contains('_')));
        Ok(Self { account: Account::parse(settings)?, http: host.http.clone(), hook })
    }

    fn body(&self, message: &Message) -> Result<String, SendError> {
        let mut form = Serializer::new(String::new());
        form.append_pair("To", &address(phone::recipient(message)?));
        match &self.account.sender {
            Sender::Number(from) => form.append_pair("From", &address(from)),
            Sender::Service(sid) => form.append_pair("MessagingServiceSid", sid),
        };
        if message.window_open {
            form.append_pair("Body", &text(message)?);
        } else {
            let approved = message.form.as_ref().ok_or_else(closed)?;
            form.append_pair("ContentSid", content_sid(approved)?);
            let variables = variables(approved);
            if !variables.is_empty() {
                form.append_pair("ContentVariables", &Value::Object(variables).to_string());
            }
        }
        if let Some(hook) = &self.hook {
            let mut hook = hook.clone();
            hook.query_pairs_mut().append_pair(REFERENCE, &message.id);
            form.append_pair("StatusCallback", hook.as_str());
        }
        Ok(form.finish())
    }
}

#[async_trait]
impl Channel for Twilio {
    async fn send(&self, message: &Message) -> Result<Receipt, SendError> {
        let body = self.body(message)?;
        let url = self.account.url("Messages.json");
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        let request = self.http.post(&url).headers(&self.account.headers).header(CONTENT_TYPE, kind);
        let answer = request.body(body).send().await?;
        errors::judge(&answer)?;
        Ok(receipt(&answer))
    }

    async fn check(&self) -> Result<String, String> {
        #[derive(Deserialize)]
        struct Found {
            friendly_name: Option<String>,
            status: Option<String>,
            #[serde(rename = "type")]
            kind: Option<String>,
        }
        let request = self.http.get(&self.account.itself()).headers(&self.account.headers);
        let answer = request.send().await.map_err(|e| e.detail)?;
        errors::judge(&answer).map_err(|e| e.detail)?;
        // The answer holds the auth token too; only what is named above is taken from it.
        let found: Found = answer.json().ok_or("the answer is not Twilio's; compare baseUrl")?;
        let name = found.friendly_name.as_deref().unwrap_or("without a name");
        match found.status.as_deref() {
            Some("active") => {}
            Some(status) => return Err(format!("the Twilio account \"{name}\" is {status}; see Twilio's console")),
            None => return Err("the answer is not Twilio's; compare baseUrl".to_owned()),
        }
        let mut said = format!("the Twilio account \"{name}\" is active");
        if found.kind.as_deref() == Some("Trial") {
            said.push_str("; being a trial, it writes to verified numbers only");
        }
        if self.hook.is_none() {
            said.push_str("; statuses are not heard: the server has no public address that Twilio takes");
        }
        Ok(said)
    }

    async fn lookup(&self, message: &Message, since: SystemTime) -> Lookup {
        lookup::lookup(&self.account, &self.http, message, since).await
    }

    async fn receive(&self, callback: &Callback) -> Result<Received, Refused> {
        hook::receive(&self.account, callback)
    }
}

fn address(phone: &str) -> String {
    format!("whatsapp:{phone}")
}

fn text(message: &Message) -> Result<String, SendError> {
    let text = message.text_with_actions();
    if text.chars().nth(TEXT).is_some() {
        return Err(SendError::rejected("too_long", format!("the text has more than Twilio's {TEXT} characters")));
    }
    Ok(text)
}

fn closed() -> SendError {
    SendError::rejected(
        OUTSIDE_WINDOW,
        "the person has not written in the last 24 hours; declare an approved form (its HX… content id) beside the \
         template",
    )
}

fn content_sid(form: &ApprovedForm) -> Result<&str, SendError> {
    if is_sid("HX", &form.name) {
        return Ok(&form.name);
    }
    Err(unusable("has no content id of Twilio's as its name: HX and 32 hexadecimal digits"))
}

/// Twilio numbers all variables of a content in one row: the body's first, then the header's, then the buttons' in
/// their order. A value with a name goes by it.
fn variables(form: &ApprovedForm) -> Map<String, Value> {
    let header = form.header.iter().map(|header| match header {
        FormHeader::Text(v) => (v.name.clone(), v.text.as_str()),
        FormHeader::Image(link) | FormHeader::Video(link) | FormHeader::Document(link) => (None, link.as_str()),
    });
    let buttons = form.buttons.iter().map(|button| match &button.value {
        FormButtonValue::Payload(text) | FormButtonValue::UrlSuffix(text) | FormButtonValue::Code(text) => {
            (None, text.as_str())
        }
    });
    let body = form.body.iter().map(|v| (v.name.clone(), v.text.as_str()));
    let all = body.chain(header).chain(buttons).enumerate();
    all.map(|(n, (name, text))| (name.unwrap_or_else(|| (n + 1).to_string()), value(text).into())).collect()
}

/// The 2xx was the acceptance; what the body lacks is only noted.
fn receipt(answer: &Answer) -> Receipt {
    #[derive(Deserialize)]
    struct Taken {
        sid: String,
    }
    let taken: Option<Taken> = answer.json();
    let note = taken.is_none().then(|| "Twilio's answer was cut or holds no message id".to_owned());
    Receipt { message_id: taken.map(|t| t.sid), http_status: Some(answer.status), remember: None, note }
}
