//! Twilio's Messages resource of API version 2010-04-01. Sources: twilio/twilio-oai `twilio_api_v2010.json` 2.6.7 for
//! fields and answers, the Python client 9.13.0 for signatures, Twilio's error pages for the codes.

mod errors;
mod lookup;
mod receive;
pub(crate) mod signature;

use std::time::SystemTime;

use async_trait::async_trait;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use plugin_api::http::{Answer, Http, Request, Url};
use plugin_api::{
    Callback, Channel, Host, Lookup, Message, Receipt, Received, Refused, Secrets, SendError, Settings, SettingsError,
};
use serde::Deserialize;

use crate::account::Base;
use crate::sender::Sender;
use crate::{answer, basic, form};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Given {
    account_sid: String,
    auth_token: Option<String>,
    api_key_sid: Option<String>,
    api_key_secret: Option<String>,
    webhook_keys: Option<String>,
    from: Option<String>,
    messaging_service_sid: Option<String>,
    base_url: String,
}

pub(crate) struct Twilio {
    http: Http,
    base: Base,
    account: String,
    authorization: HeaderValue,
    /// Only Main keys may read the account itself.
    with_api_key: bool,
    sender: Option<Sender>,
    service: Option<String>,
    hooks: signature::Keys,
    /// Where reports are asked for; none while nobody could verify them.
    status_callback: Option<String>,
    /// Why no reports are asked for although there is an address.
    no_reports: Option<&'static str>,
    timeout: std::time::Duration,
}

#[derive(Deserialize)]
struct Created {
    sid: Option<String>,
}

/// Of the account, whose JSON also holds its auth token.
#[derive(Deserialize)]
struct AccountState {
    status: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl Twilio {
    pub(crate) fn open(settings: &Settings, host: &Host) -> Result<Self, SettingsError> {
        let given: Given = settings.parse()?;
        let account = sid("accountSid", "AC", &given.account_sid)?;
        let tokens = Secrets::parse(given.auth_token.as_deref());
        let key = api_key(&given)?;
        let authorization = match (&key, tokens.first()) {
            (Some((sid, secret)), _) => basic::header(sid, secret),
            (None, Some(token)) => basic::header(&account, token),
            (None, None) => {
                let detail = "is required, or apiKeySid and apiKeySecret instead of it";
                return Err(SettingsError::new("authToken", "required", detail));
            }
        };
        let sender = given.from.as_deref().filter(|from| !from.trim().is_empty()).map(Sender::parse).transpose()?;
        let service = present(given.messaging_service_sid.as_deref());
        let service = service.map(|text| sid("messagingServiceSid", "MG", text)).transpose()?;
        if sender.is_none() && service.is_none() {
            return Err(SettingsError::new("from", "required", "is required, or messagingServiceSid instead of it"));
        }
        let hooks = signature::Keys::new(tokens, given.webhook_keys.as_deref())?;
        let no_reports = host.hook_url.as_deref().and_then(|url| no_reports(url, &hooks));
        let hook = host.hook_url.as_deref().filter(|_| no_reports.is_none());
        Ok(Self {
            http: host.http.clone(),
            base: Base::parse(&given.base_url)?,
            account,
            authorization,
            with_api_key: key.is_some(),
            sender,
            service,
            status_callback: hook.map(str::to_owned),
            no_reports,
            hooks,
            timeout: host.timeout,
        })
    }

    fn url(&self, rest: &str) -> Url {
        self.base.url(&format!("/2010-04-01/Accounts/{}{rest}.json", self.account))
    }

    fn authorized<'a>(&self, request: Request<'a>) -> Request<'a> {
        request.header(AUTHORIZATION, self.authorization.clone())
    }

    /// Asks for the account with its own token, and for one message with an API key, which may not read accounts.
    async fn probe(&self) -> Result<Answer, SendError> {
        let mut url = if self.with_api_key { self.url("/Messages") } else { self.url("") };
        if self.with_api_key {
            url.set_query(Some("PageSize=1"));
        }
        let answer = self.authorized(self.http.get(&url)).send().await?;
        errors::judge(&answer)?;
        Ok(answer)
    }

    fn sends_as(&self) -> String {
        match (&self.sender, &self.service) {
            (Some(sender), _) => sender.describe(),
            (None, Some(service)) => format!("messaging service {service}"),
            (None, None) => String::new(),
        }
    }
}

#[async_trait]
impl Channel for Twilio {
    async fn send(&self, message: &Message) -> Result<Receipt, SendError> {
        let to = message.recipient.phone.as_deref().ok_or_else(no_phone)?;
        let text = message.text_with_actions();
        let mut fields = vec![("To", to), ("Body", &*text)];
        fields.extend(self.sender.as_ref().map(|sender| ("From", sender.as_str())));
        fields.extend(self.service.as_deref().map(|service| ("MessagingServiceSid", service)));
        fields.extend(self.status_callback.as_deref().map(|url| ("StatusCallback", url)));
        let request = self.authorized(self.http.post(&self.url("/Messages")));
        let answer = form::fill(request, &fields).send().await?;
        errors::judge(&answer)?;
        let sid = answer.json::<Created>().and_then(|created| created.sid).filter(|sid| !sid.is_empty());
        Ok(answer::receipt(&answer, sid, None))
    }

    async fn check(&self) -> Result<String, String> {
        let answer = self.probe().await.map_err(|e| match e.http_status {
            Some(404) => format!("{}; correct accountSid", e.detail),
            _ => e.detail,
        })?;
        let state: Option<AccountState> = answer.json();
        let status = state.as_ref().and_then(|state| state.status.as_deref());
        let mut said = match (self.with_api_key, status) {
            (true, _) => format!("the API key is good; sends as {}", self.sends_as()),
            (false, Some("active")) => format!("the account is active; sends as {}", self.sends_as()),
            (false, Some("suspended" | "closed")) => {
                return Err("the Twilio account is suspended or closed; see the Twilio console".into());
            }
            (false, _) => return Err("what answers is not Twilio's API; correct baseUrl".into()),
        };
        if state.and_then(|state| state.kind).as_deref() == Some("Trial") {
            said.push_str("; a trial account reaches verified numbers only");
        }
        if let Some(why) = self.no_reports {
            said.push_str("; no reports: ");
            said.push_str(why);
        }
        Ok(said)
    }

    async fn lookup(&self, message: &Message, since: SystemTime) -> Lookup {
        // Anything that stands in the way leaves it undecided.
        let search = tokio::time::timeout(self.timeout, lookup::search(self, message, since)).await;
        search.unwrap_or(Ok(Lookup::Undecided)).unwrap_or(Lookup::Undecided)
    }

    async fn receive(&self, callback: &Callback) -> Result<Received, Refused> {
        receive::receive(&self.hooks, callback)
    }
}

fn present(setting: Option<&str>) -> Option<&str> {
    setting.map(str::trim).filter(|text| !text.is_empty())
}

/// Two letters for the kind of thing, then 32 hexadecimal digits.
fn sid(setting: &str, prefix: &str, text: &str) -> Result<String, SettingsError> {
    let text = text.trim();
    let digits = text.strip_prefix(prefix).unwrap_or_default();
    if digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(text.to_owned());
    }
    Err(SettingsError::new(setting, "malformed", format!("must be {prefix} and 32 hexadecimal digits")))
}

fn api_key(given: &Given) -> Result<Option<(String, &str)>, SettingsError> {
    match (present(given.api_key_sid.as_deref()), present(given.api_key_secret.as_deref())) {
        (Some(key), Some(secret)) => Ok(Some((sid("apiKeySid", "SK", key)?, secret))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(SettingsError::new("apiKeySecret", "required", "is required with apiKeySid")),
        (None, Some(_)) => Err(SettingsError::new("apiKeySid", "required", "is required with apiKeySecret")),
    }
}

/// Twilio refuses a message (21609) whose callback it finds malformed, so a bad one is left away.
fn no_reports(hook: &str, keys: &signature::Keys) -> Option<&'static str> {
    let host = Url::parse(hook).ok().and_then(|url| url.host_str().map(str::to_owned));
    if keys.is_empty() {
        Some("Twilio signs them with the auth token; set authToken beside the API key")
    } else if host.is_none_or(|host| host.contains('_')) {
        Some("Twilio calls no host with an underscore in its name; change the server's public_url")
    } else {
        None
    }
}

/// The core asks for a phone before it sends, so this is only a second bolt.
fn no_phone() -> SendError {
    SendError::not_sent("no_address", "the recipient has no phone number")
}
