#![doc = include_str!("../README.md")]

mod sign;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use plugin_api::http::{Answer, Http, Method, Url, is_connections_own};
use plugin_api::{
    Action, Channel, Hint, Host, Manifest, Message, Plugin, Receipt, Recipient, SendError, Settings, SettingsError,
};
use serde::{Deserialize, Serialize};
use sign::Signer;

static MANIFEST: LazyLock<Manifest> = LazyLock::new(|| {
    Manifest::parse("plugins/webhook/plugin.toml", include_str!("../plugin.toml")).expect("a test reads it too")
});

pub fn plugin() -> Box<dyn Plugin> {
    Box::new(Webhook)
}

struct Webhook;

#[derive(Deserialize)]
struct Account {
    url: String,
    secret: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

struct Receiver {
    http: Http,
    url: Url,
    headers: HeaderMap,
    signer: Signer,
}

/// The wire format, apart from [`Message`] so that the contract may grow without the receivers noticing.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    channel: &'a str,
    recipient: &'a Recipient,
    subject: Option<&'a str>,
    text: &'a str,
    html: Option<&'a str>,
    actions: &'a [Action],
    data: &'a serde_json::Value,
    attempt: u32,
}

impl Plugin for Webhook {
    fn manifest(&self) -> &Manifest {
        &MANIFEST
    }

    fn open(&self, _: &str, settings: &Settings, host: &Host) -> Result<Arc<dyn Channel>, SettingsError> {
        let account: Account = settings.parse()?;
        let url = Url::parse(&account.url).map_err(|e| SettingsError::new("url", "malformed", e.to_string()))?;
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        for (name, value) in &account.headers {
            let (name, value) = header(name, value)?;
            headers.insert(name, value);
        }
        Ok(Arc::new(Receiver { http: host.http.clone(), url, headers, signer: Signer::new(&account.secret)? }))
    }
}

#[async_trait]
impl Channel for Receiver {
    async fn send(&self, message: &Message) -> Result<Receipt, SendError> {
        let body = serde_json::to_vec(&Payload::from(message)).expect("a message is plain data");
        let timestamp = now().to_string();
        let signature = self.signer.sign(&message.id, &timestamp, &body);
        let request = self
            .http
            .post(&self.url)
            .headers(&self.headers)
            .header(HeaderName::from_static("webhook-id"), value(&message.id)?)
            .header(HeaderName::from_static("webhook-timestamp"), value(&timestamp)?)
            .header(HeaderName::from_static("webhook-signature"), value(&signature)?);
        let answer = request.body(body).send().await?;
        outcome(&answer)?;
        let note = (!answer.complete).then(|| "the answer was cut after its head".to_owned());
        Ok(Receipt { http_status: Some(answer.status), note, ..Receipt::default() })
    }

    async fn check(&self) -> Result<String, String> {
        let answer = self.http.request(Method::OPTIONS, &self.url).headers(&self.headers).send().await;
        let status = answer.map_err(|e| format!("{}; check the url", e.detail))?.status;
        match status {
            300..=399 => Err(format!("answers {status}, and redirects are not followed; set the final url")),
            410 => Err("answers 410: the receiver is gone for good; set another url".to_owned()),
            _ => Ok(format!("reachable, answered {status} to OPTIONS")),
        }
    }
}

impl<'a> From<&'a Message> for Payload<'a> {
    fn from(message: &'a Message) -> Self {
        Self {
            id: &message.id,
            kind: &message.kind,
            channel: &message.channel,
            recipient: &message.recipient,
            subject: message.subject.as_deref(),
            text: &message.text,
            html: message.html.as_deref(),
            actions: &message.actions,
            data: &message.data,
            attempt: message.attempt,
        }
    }
}

/// Two statuses ask for patience and one for silence; the rest mean what they mean everywhere.
fn outcome(answer: &Answer) -> Result<(), SendError> {
    let error = match answer.status {
        408 | 425 => {
            SendError::throttled(answer.retry_after(), "try_later", format!("the receiver answered {}", answer.status))
        }
        410 => SendError::rejected("gone", "the receiver answered 410: it wants no more").hint(Hint::Misconfigured),
        _ => return answer.outcome(),
    };
    Err(error.status(answer.status))
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), SettingsError> {
    let wrong = |code, detail| SettingsError::new(format!("headers.{name}"), code, detail);
    let parsed = HeaderName::try_from(name).map_err(|_| wrong("malformed", "is not a header name"))?;
    if is_connections_own(&parsed) || parsed.as_str().starts_with("webhook-") {
        return Err(wrong("header_not_allowed", "is set by the connection or the signature; remove it"));
    }
    let value = HeaderValue::from_str(value).map_err(|_| wrong("malformed", "has a value no header can carry"))?;
    Ok((parsed, value))
}

fn value(text: &str) -> Result<HeaderValue, SendError> {
    HeaderValue::from_str(text).map_err(|_| SendError::not_sent("invalid_id", "the id does not fit into a header"))
}

#[expect(clippy::disallowed_methods, reason = "the signature carries the real time of the call")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
