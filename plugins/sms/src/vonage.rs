//! Vonage's SMS API. Sources: Nexmo/api-specification `sms.yml` 1.0.6 for requests, answers and webhooks, the Python
//! clients `vonage-sms` 1.2.0 for lengths, `vonage-account` for the balance and `vonage-http-client` 1.5.1 for
//! signatures, Vonage's page "SMS Delivery Error Codes" for those.

mod errors;
mod receive;
pub(crate) mod signature;

use async_trait::async_trait;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use plugin_api::http::{Answer, Http};
use plugin_api::{
    Callback, Channel, Host, Message, Receipt, Received, Refused, Secrets, SendError, Settings, SettingsError,
};
use serde::Deserialize;
use serde_json::Value;

use crate::account::Base;
use crate::sender::Sender;
use crate::{answer, basic, form, phone};

/// Longest values that are taken, in characters.
const CALLBACK_MAX: usize = 100;
const REFERENCE_MAX: usize = 40;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Given {
    api_key: String,
    api_secret: String,
    from: String,
    signature_secret: Option<String>,
    signature_method: signature::Method,
    base_url: String,
}

pub(crate) struct Vonage {
    http: Http,
    base: Base,
    authorization: HeaderValue,
    sender: Sender,
    signatures: signature::Keys,
    /// Where receipts are asked for; none while nobody could verify them.
    callback: Option<String>,
    /// Why no receipts are asked for although there is an address.
    no_reports: Option<&'static str>,
}

/// One text becomes several messages when it is long.
#[derive(Deserialize)]
struct Sent {
    messages: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    status: String,
    #[serde(rename = "message-id")]
    message_id: Option<String>,
}

impl Vonage {
    pub(crate) fn open(settings: &Settings, host: &Host) -> Result<Self, SettingsError> {
        let given: Given = settings.parse()?;
        for (setting, value) in [("apiKey", &given.api_key), ("apiSecret", &given.api_secret)] {
            if value.trim().is_empty() {
                return Err(SettingsError::new(setting, "required", "must not be empty"));
            }
        }
        let signatures =
            signature::Keys::new(Secrets::parse(given.signature_secret.as_deref()), given.signature_method);
        let no_reports = host.hook_url.as_deref().and_then(|url| no_reports(url, &signatures));
        let callback = host.hook_url.as_deref().filter(|_| no_reports.is_none());
        Ok(Self {
            http: host.http.clone(),
            base: Base::parse(&given.base_url)?,
            authorization: basic::header(given.api_key.trim(), given.api_secret.trim()),
            sender: Sender::parse(&given.from)?,
            callback: callback.map(str::to_owned),
            no_reports,
            signatures,
        })
    }
}

#[async_trait]
impl Channel for Vonage {
    async fn send(&self, message: &Message) -> Result<Receipt, SendError> {
        let to = message.recipient.phone.as_deref();
        let to = to.ok_or_else(|| SendError::not_sent("no_address", "the recipient has no phone number"))?;
        let text = message.text_with_actions();
        let mut fields = vec![("from", self.sender.without_plus()), ("to", phone::without_plus(to)), ("text", &*text)];
        if !plugin_api::gsm7::fits(&text) {
            fields.push(("type", "unicode"));
        }
        // Comes back in the receipt of each part, of which the answer's id names only one.
        if message.id.len() <= REFERENCE_MAX {
            fields.push(("client-ref", &message.id));
        }
        fields.extend(self.callback.as_deref().map(|url| ("callback", url)));
        let request = self.http.post(&self.base.url("/sms/json")).header(AUTHORIZATION, self.authorization.clone());
        taken(&form::fill(request, &fields).send().await?)
    }

    async fn check(&self) -> Result<String, String> {
        let request = self.http.get(&self.base.url("/account/get-balance"));
        let answer = request.header(AUTHORIZATION, self.authorization.clone()).send().await.map_err(|e| e.detail)?;
        answer.outcome().map_err(|e| match answer.status {
            401 | 403 => "Vonage refuses the key; correct apiKey and apiSecret".to_owned(),
            404 => "there is no Vonage API at baseUrl; correct it".to_owned(),
            _ => e.detail,
        })?;
        let body: Value = answer.json().unwrap_or_default();
        let balance = body["value"].as_f64().ok_or("what answers is not Vonage's API; correct baseUrl")?;
        let reports = self.no_reports.map(|why| format!("; no receipts: {why}")).unwrap_or_default();
        Ok(format!("the key is good, the balance is {balance:.2} EUR; sends as {}{reports}", self.sender.describe()))
    }

    async fn receive(&self, callback: &Callback) -> Result<Received, Refused> {
        receive::receive(&self.signatures, callback)
    }
}

/// The HTTP status is 200 whatever became of the message; each part's own status tells.
fn taken(answer: &Answer) -> Result<Receipt, SendError> {
    answer.outcome()?;
    let parts = answer.json::<Sent>().map(|sent| sent.messages).unwrap_or_default();
    let Some(first) = parts.iter().find(|part| part.status == "0").or(parts.first()) else {
        return Ok(answer::receipt(answer, None, None));
    };
    // One part that was taken cannot be taken back, and sending again would repeat it.
    errors::judge(&first.status, answer)?;
    let refused: Vec<_> = parts.iter().filter_map(|part| errors::judge(&part.status, answer).err()).collect();
    let note = refused.first().map(|e| {
        format!(
            "{} of {} parts were refused ({}); the message arrives incomplete",
            refused.len(),
            parts.len(),
            e.reason
        )
    });
    Ok(answer::receipt(answer, first.message_id.clone().filter(|id| !id.is_empty()), note))
}

/// Vonage refuses a message (23) whose callback is too long, so a long one is left away.
fn no_reports(hook: &str, signatures: &signature::Keys) -> Option<&'static str> {
    if signatures.is_empty() {
        Some("nobody could verify them; set signatureSecret")
    } else if hook.chars().count() > CALLBACK_MAX {
        Some(
            "Vonage takes an address of at most 100 characters with a message, and ours is longer; enter the webhookUrl \
             as the account's webhook for delivery receipts in Vonage's dashboard",
        )
    } else {
        None
    }
}
