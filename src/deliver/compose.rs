//! From stored content to the message a plugin gets: rendered now, for this recipient, in their language.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use plugin_api::{Attachment, Message};
use serde_json::Value;

use crate::content::{AttachmentSource, Body, Content, Recipient};
use crate::store::notifications::Delivery;
use crate::template::{Parts, Templates};
use crate::tenant::{Account, Tenant};

/// The content can't become a message.
pub struct ComposeError {
    pub reason: &'static str,
    pub detail: String,
}

/// Makes the message of a delivery's current step.
pub async fn compose(
    templates: &Templates,
    tenant: &Tenant,
    account: &Account,
    d: &Delivery,
    content: &Content,
    memory: Option<Value>,
) -> Result<Message, ComposeError> {
    let rendered = render(templates, tenant, account, &d.channel, d.branch.as_deref(), &d.recipient, content)?;
    let provider = &account.provider;
    if let Some(most) = provider.max_length
        && rendered.text.chars().count() > most
    {
        let detail = format!("the text has more than the {most} characters that {} takes", provider.name);
        return Err(ComposeError { reason: "too_long", detail });
    }
    let mut attachments = Vec::new();
    if provider.attachments {
        for stored in &content.attachments {
            let AttachmentSource::Base64(text) = &stored.source else { continue };
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| ComposeError {
                reason: "attachment_unreadable",
                detail: format!("{} is not base64", stored.filename),
            })?;
            attachments.push(Attachment {
                filename: stored.filename.clone(),
                content_type: stored.content_type.clone(),
                content: bytes.into(),
            });
        }
    }
    Ok(Message {
        id: if d.step == 0 { d.id.to_string() } else { format!("{}.{}", d.id, d.step) },
        kind: d.kind.to_string(),
        channel: d.channel.to_string(),
        recipient: d.recipient.for_plugin(),
        subject: rendered.subject,
        text: rendered.text,
        html: rendered.html,
        headers: rendered.headers,
        actions: content.actions.clone(),
        attachments,
        data: Arc::clone(&content.data),
        attempt: d.attempts.max(1),
        memory,
    })
}

/// The parts of a message, before anything of the provider is added.
pub struct Text {
    pub subject: Option<String>,
    pub text: String,
    pub html: Option<String>,
    pub headers: Vec<(String, String)>,
}

/// Renders content for one recipient on one channel; also what `dryRun` shows.
pub fn render(
    templates: &Templates,
    tenant: &Tenant,
    account: &Account,
    channel: &str,
    branch: Option<&str>,
    recipient: &Recipient,
    content: &Content,
) -> Result<Text, ComposeError> {
    let name = match &content.body {
        Body::Message(text) => {
            return Ok(Text { subject: None, text: text.clone(), html: None, headers: vec![] });
        }
        Body::Content(literal) => {
            let provider = &account.provider;
            return Ok(Text {
                subject: literal.subject.clone().filter(|_| provider.subject),
                text: literal.text.clone(),
                html: literal.html.clone().filter(|_| provider.html),
                headers: literal.headers.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            });
        }
        Body::Template(name) => name,
    };
    let settled = tenant.levels(branch).locale(&tenant.platform).value;
    let locale = recipient.locale.as_deref().unwrap_or(settled);
    let data = with_name(&content.data, recipient);
    let parts = Parts::of(channel).or_locale(settled);
    let rendered = templates.render(name, locale, parts, &data).map_err(|e| ComposeError {
        reason: if e.code == "control_characters" { "control_characters" } else { "template_failed" },
        detail: e.to_string(),
    })?;
    Ok(Text { subject: rendered.subject, text: rendered.text, html: rendered.html, headers: vec![] })
}

/// `clientName` defaults to the recipient's name.
pub fn with_name<'a>(data: &'a Value, recipient: &Recipient) -> Cow<'a, Value> {
    match (&recipient.name, data) {
        (Some(name), Value::Object(fields)) if !fields.contains_key("clientName") => {
            let mut fields = fields.clone();
            fields.insert("clientName".into(), Value::String(name.clone()));
            Cow::Owned(Value::Object(fields))
        }
        _ => Cow::Borrowed(data),
    }
}
