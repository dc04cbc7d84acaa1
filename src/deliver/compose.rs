//! From stored content to the message a plugin gets: rendered now, for this recipient, in their language.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use plugin_api::{Action, AddressKind, ApprovedForm, Attachment, Host, Message, Provider, with_actions};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::content::{AttachmentSource, Body, Content, Recipient, StoredAttachment};
use crate::sms;
use crate::status::Category;
use crate::store::notifications::Delivery;
use crate::tenant::{Account, Known, Tenant};

/// The content can't become a message.
pub struct ComposeError {
    pub reason: &'static str,
    pub detail: String,
    /// Later it may.
    pub passing: bool,
}

/// Only an approved form may be sent now, and there is none.
pub const OUTSIDE_WINDOW: &str = "outside_whatsapp_window";

/// The channel whose messages are paid for by length.
const SMS: &str = "sms";

/// What a message costs, where that depends on its text: here the actions are a part of it.
pub fn sms_cost(channel: &str, text: &str, actions: &[Action]) -> Option<sms::Segments> {
    (channel == SMS).then(|| sms::segments(&with_actions(text, actions)))
}

/// The largest attachment that is fetched.
const LARGEST: usize = 10 * 1024 * 1024;

/// Makes the message of a delivery's current step.
pub async fn compose(
    now: Timestamp,
    host: &Host,
    tenant: &Tenant,
    account: &Account,
    d: &Delivery,
    content: &Content,
    known: Known,
) -> Result<Message, ComposeError> {
    if let Some(Err(detail)) = account.sender().map(|from| tenant.levels(d.branch.as_deref()).check_sender(from)) {
        return Err(ComposeError { reason: "sender_not_allowed", detail, passing: false });
    }
    let unsubscribe_url = unsubscribe_url(tenant, account, d, content);
    let shown = with_link(content, unsubscribe_url.as_deref());
    let rendered = render(tenant, account, &d.channel, d.branch.as_deref(), &d.recipient, &shown, now).await?;
    let provider = &account.provider;
    if let Some(most) = provider.max_length
        && sent_length(&rendered, provider) > most
    {
        let detail = format!("the text has more than the {most} characters that {} takes", provider.name);
        return Err(ComposeError { reason: "too_long", detail, passing: false });
    }
    let Known { memory, window_open } = known;
    let form = match form(tenant, account, d, content, now).await {
        // The text is what goes out now; what is wrong with the form matters when it is needed.
        Err(_) if window_open => None,
        form => form?,
    };
    if !window_open && form.is_none() {
        let detail = "the person has not written lately, and the template has no approved form".to_owned();
        return Err(ComposeError { reason: OUTSIDE_WINDOW, detail, passing: false });
    }
    let mut attachments = Vec::new();
    if provider.attachments {
        for stored in &content.attachments {
            attachments.push(Attachment {
                filename: stored.filename.clone(),
                content_type: stored.content_type.clone(),
                content: bytes(host, stored).await?,
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
        actions: rendered.actions,
        attachments,
        data: Arc::clone(&content.data),
        attempt: d.attempts.max(1),
        memory,
        window_open,
        form,
        unsubscribe_url,
        began_at: d.step_began_at.unwrap_or(d.created_at).to_system(),
    })
}

/// Characters of what a person gets: where there are no buttons the actions are a part of the text.
fn sent_length(rendered: &Text, provider: &Provider) -> usize {
    let listed = if provider.buttons { &[] } else { rendered.actions.as_slice() };
    with_actions(&rendered.text, listed).chars().count()
}

/// Marketing by e-mail always says how to be left alone; other mail where its content asks for it.
fn unsubscribe_url(tenant: &Tenant, account: &Account, d: &Delivery, content: &Content) -> Option<String> {
    let asked = d.category == Category::Marketing || matches!(&content.body, Body::Content(c) if c.unsubscribe);
    let address = d.address.as_ref().filter(|_| asked && account.address == AddressKind::Email)?;
    Some(tenant.unsubscribe_link(address))
}

/// A template may show the link as `unsubscribeUrl`.
fn with_link<'a>(content: &'a Content, url: Option<&str>) -> Cow<'a, Content> {
    match (url, &content.body, &*content.data) {
        (Some(url), Body::Template(_), Value::Object(fields)) => {
            let mut fields = fields.clone();
            fields.insert("unsubscribeUrl".into(), url.into());
            let data = Arc::new(Value::Object(fields));
            Cow::Owned(Content { data, ..content.clone() })
        }
        _ => Cow::Borrowed(content),
    }
}

/// The approved form of a template, where the provider takes such forms.
pub async fn form(
    tenant: &Tenant,
    account: &Account,
    d: &Delivery,
    content: &Content,
    now: Timestamp,
) -> Result<Option<ApprovedForm>, ComposeError> {
    let (Some(_), Body::Template(name)) = (account.provider.window_hours, &content.body) else { return Ok(None) };
    let branch = d.branch.as_deref();
    let parts = tenant.parts(&d.channel, branch, now);
    let locale = d.recipient.locale.as_deref().or(parts.fallback).unwrap_or_default();
    let data = with_name(&content.data, &d.recipient);
    let found = tenant.templates.find(name, branch).ok_or_else(|| gone(name))?;
    found.form(locale, parts, &data).await.map_err(|e| ComposeError {
        reason: "template_failed",
        detail: e.to_string(),
        passing: false,
    })
}

/// It was there when the notification was accepted.
fn gone(name: &str) -> ComposeError {
    let detail = format!("the template {name} was deleted");
    ComposeError { reason: "template_failed", detail, passing: false }
}

/// An attachment's bytes: stored, or fetched through the outbound rules.
async fn bytes(host: &Host, stored: &StoredAttachment) -> Result<Bytes, ComposeError> {
    let failed = |reason, what: &str, passing| ComposeError {
        reason,
        detail: format!("the attachment {} {what}", stored.filename),
        passing,
    };
    match &stored.source {
        AttachmentSource::Base64(text) => base64::engine::general_purpose::STANDARD
            .decode(text)
            .map(Bytes::from)
            .map_err(|_| failed("attachment_unreadable", "is not base64", false)),
        AttachmentSource::Url(text) => {
            let url = host.guard.check_text(text).map_err(|e| failed("attachment_refused", &e.detail, false))?;
            let answer = host.http.get(&url).send_reading(LARGEST).await;
            let answer = answer.map_err(|e| failed("attachment_unreachable", &e.to_string(), true))?;
            match answer.status {
                200..=299 if answer.complete => Ok(answer.body),
                200..=299 if answer.body.len() < LARGEST => {
                    Err(failed("attachment_unreachable", "broke off while it was fetched", true))
                }
                200..=299 => Err(failed("attachment_too_large", "has more than 10 MiB", false)),
                429 | 500..=599 => Err(failed("attachment_unreachable", "can't be fetched now", true)),
                status => Err(failed("attachment_refused", &format!("can't be fetched: {status}"), false)),
            }
        }
    }
}

/// The parts of a message, before anything of the provider is added.
pub struct Text {
    pub subject: Option<String>,
    pub text: String,
    pub html: Option<String>,
    pub headers: Vec<(String, String)>,
    pub actions: Vec<Action>,
}

/// Renders content for one recipient on one channel; also what `dryRun` shows.
pub async fn render(
    tenant: &Tenant,
    account: &Account,
    channel: &str,
    branch: Option<&str>,
    recipient: &Recipient,
    content: &Content,
    now: Timestamp,
) -> Result<Text, ComposeError> {
    let mut rendered = parts(tenant, account, channel, branch, recipient, content, now).await?;
    let folds = || tenant.levels(branch).find(|s| s.accent_folding.as_ref()).is_some_and(|f| *f.value);
    if channel == SMS && folds() && sms::folding_saves(&with_actions(&rendered.text, &rendered.actions)) {
        rendered.text = sms::fold_accents(&rendered.text);
        for action in &mut rendered.actions {
            action.title = sms::fold_accents(&action.title);
        }
    }
    Ok(rendered)
}

async fn parts(
    tenant: &Tenant,
    account: &Account,
    channel: &str,
    branch: Option<&str>,
    recipient: &Recipient,
    content: &Content,
    now: Timestamp,
) -> Result<Text, ComposeError> {
    let name = match &content.body {
        Body::Message(text) => {
            let actions = content.actions.clone();
            return Ok(Text { subject: None, text: text.clone(), html: None, headers: vec![], actions });
        }
        Body::Content(literal) => {
            let provider = &account.provider;
            return Ok(Text {
                subject: literal.subject.clone().filter(|_| provider.subject),
                text: literal.text.clone(),
                html: literal.html.clone().filter(|_| provider.html),
                headers: literal.headers.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
                actions: content.actions.clone(),
            });
        }
        Body::Template(name) => name,
    };
    let parts = tenant.parts(channel, branch, now);
    let locale = recipient.locale.as_deref().or(parts.fallback).unwrap_or_default();
    let data = with_name(&content.data, recipient);
    let found = tenant.templates.find(name, branch).ok_or_else(|| gone(name))?;
    let rendered = found.render(locale, parts, &data).await.map_err(|e| ComposeError {
        reason: match e.code {
            "control_characters" => "control_characters",
            "template_limit" => "template_limit",
            _ => "template_failed",
        },
        detail: e.to_string(),
        passing: false,
    })?;
    let actions = content.actions.clone();
    Ok(Text { subject: rendered.subject, text: rendered.text, html: rendered.html, headers: vec![], actions })
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
