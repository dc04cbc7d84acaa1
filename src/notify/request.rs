//! The body of `POST /v1/notify`, and everything about it that can be judged before it is stored.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use plugin_api::Action;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::address::{self, AddressError};
use crate::app::App;
use crate::clock::Timestamp;
use crate::config::read_duration;
use crate::contact::Contact;
use crate::content::{AttachmentSource, Body, Content, Literal, Recipient, StoredAttachment};
use crate::error::{Error, Fault, Result};
use crate::json::{self, OneOrMany};
use crate::status::Category;
use crate::store::contacts;
use crate::tenant::Tenant;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NotifyRequest {
    /// The kind of notification; names the template unless `template` does.
    #[serde(rename = "type")]
    #[schema(example = "appointment_reminder")]
    pub kind: String,
    /// One recipient, or up to 1,000.
    #[schema(value_type = Option<OneOrManyTo>)]
    pub to: Option<OneOrMany<To>>,
    /// One channel.
    #[schema(example = "chatwoot")]
    pub channel: Option<String>,
    /// Or several, tried in order. Absent: the tenant's order decides.
    pub channels: Option<Vec<String>>,
    /// How long a message may stay without a report of delivery before the next of the channels is tried, e.g. `2h`; from
    /// 1 minute to 7 days. Only for channels that report. Absent: a message that was sent stays where it is.
    #[schema(example = "2h")]
    pub fallback_after: Option<String>,
    /// A template's name. At most one of `template`, `message`, `content`.
    pub template: Option<String>,
    /// A literal text.
    pub message: Option<String>,
    #[serde(default, deserialize_with = "json::optional_object")]
    pub content: Option<Literal>,
    /// What the template sees; `clientName` defaults to the recipient's name.
    #[schema(value_type = Option<Object>)]
    pub data: Option<Map<String, Value>>,
    /// Up to 10 buttons; a numbered list where the channel has none.
    #[schema(value_type = Option<Vec<ActionDoc>>)]
    pub actions: Option<Vec<ActionBody>>,
    pub attachments: Option<Vec<AttachmentBody>>,
    pub appointment_id: Option<String>,
    /// Whose settings hold, beside the tenant's.
    pub branch_id: Option<String>,
    /// When to send; absent: now. RFC 3339 with an offset.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub send_at: Option<Timestamp>,
    /// After this it must no longer be sent.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    pub category: Option<Category>,
    /// The same key within 24 h to the same recipient is sent once.
    pub dedupe_key: Option<String>,
    /// Explain, and send nothing.
    #[serde(default)]
    pub dry_run: bool,
}

impl NotifyRequest {
    /// The marked message by which a person tries a channel.
    pub fn test_message(channel: String, branch_id: Option<String>, to: OneOrMany<To>) -> Self {
        Self {
            kind: "test_message".into(),
            to: Some(to),
            channel: Some(channel),
            channels: None,
            fallback_after: None,
            template: None,
            message: None,
            content: None,
            data: None,
            actions: None,
            attachments: None,
            appointment_id: None,
            branch_id,
            send_at: None,
            expires_at: None,
            category: None,
            dedupe_key: None,
            dry_run: false,
        }
    }
}

/// A recipient: a stored contact, or addresses.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct To {
    /// A stored contact's id or externalId. What else is given here goes before what is stored.
    pub contact_id: Option<String>,
    /// International, or national to the branch's country.
    #[schema(example = "33 1234 5678")]
    pub phone: Option<String>,
    pub email: Option<String>,
    #[schema(example = "Ana López")]
    pub name: Option<String>,
    /// A language tag; absent: the branch's.
    #[schema(example = "es-MX")]
    pub locale: Option<String>,
    pub timezone: Option<String>,
    /// The app's own id of this person.
    pub external_id: Option<String>,
}

#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes `to` in the OpenAPI document")]
enum OneOrManyTo {
    One(To),
    Many(Vec<To>),
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "describes an action in the OpenAPI document")]
struct ActionDoc {
    /// What the person sees.
    title: String,
    /// What comes back when it is chosen.
    value: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionBody {
    title: String,
    value: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AttachmentBody {
    filename: String,
    /// A media type.
    content_type: String,
    /// The bytes. Exactly one of `base64` and `url`.
    base64: Option<String>,
    /// Where to fetch them when the message is sent: at most 10 MiB, and from where addresses of tenants may lead. What
    /// can't be fetched for now is tried again.
    url: Option<String>,
}

/// A request whose fields are all in order.
pub(super) struct Checked {
    pub kind: String,
    pub recipients: Vec<Recipient>,
    pub to_is_list: bool,
    pub channels: Option<Vec<String>>,
    pub content: Content,
    pub branch: Option<Arc<str>>,
    pub appointment_id: Option<String>,
    pub category: Category,
    pub send_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub dedupe_key: Option<String>,
}

const MOST_RECIPIENTS: usize = 1000;
const MOST_ACTIONS: usize = 10;
const LONGEST_MESSAGE: usize = 64 * 1024;
const MINUTE: Duration = Duration::from_secs(60);
const FURTHEST: Duration = Duration::from_secs(366 * 24 * 3600);
/// A `sendAt` may be this far in the past: clocks differ, and requests take their time.
const GRACE: Duration = Duration::from_secs(300);

/// Headers a caller may add to an e-mail. Anything else could forge what receivers trust.
const HEADERS: [&str; 8] = [
    "In-Reply-To",
    "References",
    "Importance",
    "X-Priority",
    "X-Entity-Ref-ID",
    "X-Campaign-Id",
    "X-Auto-Response-Suppress",
    "List-Id",
];

/// What is wrong, and how much of it is addresses that must not be reached: those alone are a problem of their own.
struct Faults(Vec<Fault>, usize);

impl Faults {
    fn add(&mut self, pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) {
        self.0.push(Fault::new(pointer, code, detail));
    }

    fn address(&mut self, pointer: String, e: AddressError) {
        self.add(pointer, e.code, e.detail);
    }

    /// An id or a key of the caller's own. PostgreSQL stores no NUL, and nobody means a line break here.
    fn word(&mut self, pointer: &str, text: Option<&str>, most: usize) {
        self.longer(pointer, text, most);
        if text.is_some_and(|t| t.chars().any(char::is_control)) {
            self.add(pointer, "control_characters", "must not hold control characters");
        }
    }

    fn longer(&mut self, pointer: &str, text: Option<&str>, most: usize) {
        if text.is_some_and(|t| t.len() > most) {
            self.add(pointer, "too_long", format!("must have at most {most} bytes"));
        }
    }
}

pub(super) async fn check(app: &App, tenant: &Tenant, r: NotifyRequest, now: Timestamp) -> Result<Checked> {
    let mut faults = Faults(Vec::new(), 0);
    if r.kind.is_empty() {
        faults.add("/type", "required", "must name the kind of notification");
    }
    faults.longer("/type", Some(&r.kind), 100);
    if r.kind.chars().any(char::is_control) {
        faults.add("/type", "control_characters", "must not hold control characters");
    }
    faults.word("/appointmentId", r.appointment_id.as_deref(), 200);
    faults.word("/dedupeKey", r.dedupe_key.as_deref(), 255);
    if let Some(branch) = &r.branch_id
        && !tenant.branches.contains_key(branch)
    {
        faults.add("/branchId", "unknown_branch", "this tenant has no such branch");
    }
    times(&r, now, &mut faults);
    let channels = channels(tenant, &r, &mut faults);
    let fallback_after = r.fallback_after.as_deref().and_then(|text| fallback_after(text, &mut faults));
    let body = body(tenant, &r, &mut faults);
    let actions = actions(r.actions.unwrap_or_default(), &mut faults);
    let attachments = attachments(app, r.attachments.unwrap_or_default(), &mut faults).await;
    let people = people(app, tenant, r.to.as_ref()).await?;
    let (recipients, to_is_list) = recipients(tenant, r.branch_id.as_deref(), r.to, &people, &mut faults);
    if !faults.0.is_empty() {
        let slug = if faults.1 == faults.0.len() { "url-not-allowed" } else { "validation" };
        return Err(Error::Invalid { slug, faults: faults.0 });
    }
    let body = body.ok_or_else(|| Error::Internal("no content and no fault".into()))?;
    Ok(Checked {
        kind: r.kind,
        recipients,
        to_is_list,
        channels,
        content: Content { body, data: super::data_or_empty(r.data), actions, attachments, fallback_after },
        branch: r.branch_id.map(Into::into),
        appointment_id: r.appointment_id,
        category: super::category(r.category),
        send_at: r.send_at.filter(|at| *at > now),
        expires_at: r.expires_at,
        dedupe_key: r.dedupe_key.filter(|k| !k.is_empty()),
    })
}

fn fallback_after(text: &str, faults: &mut Faults) -> Option<u32> {
    match read_duration(text) {
        Ok(after) if (MINUTE..=7 * 24 * 60 * MINUTE).contains(&after) => u32::try_from(after.as_secs()).ok(),
        Ok(_) => {
            faults.add("/fallbackAfter", "out_of_range", "must be from 1 minute to 7 days, e.g. \"2h\"");
            None
        }
        Err(detail) => {
            faults.add("/fallbackAfter", "malformed", detail);
            None
        }
    }
}

fn times(r: &NotifyRequest, now: Timestamp, faults: &mut Faults) {
    if let Some(at) = r.send_at
        && (at < now.minus(GRACE) || at > now.plus(FURTHEST))
    {
        faults.add("/sendAt", "out_of_range", "must be between now and a year from now");
    }
    if let Some(at) = r.expires_at
        && at <= r.send_at.unwrap_or(now).max(now)
    {
        faults.add("/expiresAt", "out_of_range", "must be later than sendAt and than now");
    }
}

fn channels(tenant: &Tenant, r: &NotifyRequest, faults: &mut Faults) -> Option<Vec<String>> {
    let (pointer, named) = match (&r.channel, &r.channels) {
        (Some(_), Some(_)) => {
            faults.add("/channels", "exactly_one_of", "give channel or channels, not both");
            return None;
        }
        (Some(one), None) => ("/channel", std::slice::from_ref(one)),
        (None, Some(many)) if many.is_empty() || many.len() > 10 => {
            faults.add("/channels", "item_count", "must name 1 to 10 channels");
            return None;
        }
        (None, Some(many)) => ("/channels", many.as_slice()),
        (None, None) => return None,
    };
    for (n, channel) in named.iter().enumerate() {
        let pointer = || if r.channels.is_some() { format!("{pointer}/{n}") } else { pointer.to_owned() };
        faults.0.extend(tenant.channels.unless_known(channel, pointer));
    }
    Some(named.to_vec())
}

fn body(tenant: &Tenant, r: &NotifyRequest, faults: &mut Faults) -> Option<Body> {
    let given = [r.template.is_some(), r.message.is_some(), r.content.is_some()];
    if given.iter().filter(|g| **g).count() > 1 {
        faults.add("", "exactly_one_of", "give at most one of template, message and content");
        return None;
    }
    if let Some(text) = &r.message {
        faults.longer("/message", Some(text), LONGEST_MESSAGE);
        if text.trim().is_empty() {
            faults.add("/message", "required", "must not be empty");
        }
        return Some(Body::Message(text.clone()));
    }
    if let Some(literal) = &r.content {
        check_literal(literal, faults);
        return Some(Body::Content(literal.clone()));
    }
    let (pointer, name) = r.template.as_ref().map_or(("/type", &r.kind), |t| ("/template", t));
    if tenant.templates.find(name, r.branch_id.as_deref()).is_none() {
        let known = tenant.templates.names(r.branch_id.as_deref());
        let more = if known.len() > 30 { ", …" } else { "" };
        let known = known.iter().take(30).copied().collect::<Vec<_>>().join(", ");
        let detail = format!("there is no such template; there are: {known}{more}");
        faults.add(pointer, "unknown_template", detail);
        return None;
    }
    Some(Body::Template(name.clone()))
}

fn check_literal(literal: &Literal, faults: &mut Faults) {
    faults.longer("/content/text", Some(&literal.text), LONGEST_MESSAGE);
    faults.longer("/content/html", literal.html.as_deref(), 256 * 1024);
    if literal.text.trim().is_empty() {
        faults.add("/content/text", "required", "must not be empty");
    }
    if let Some(subject) = &literal.subject
        && let Err(e) = address::line(subject, "the subject", 998)
    {
        faults.address("/content/subject".into(), e);
    }
    for (name, value) in &literal.headers {
        let pointer = format!("/content/headers/{}", name.replace('~', "~0").replace('/', "~1"));
        if !HEADERS.iter().any(|h| h.eq_ignore_ascii_case(name)) {
            faults.add(&pointer, "header_not_allowed", format!("only these may be set: {}", HEADERS.join(", ")));
        } else if let Err(e) = address::line(value, "a header", 900) {
            faults.address(pointer, e);
        }
    }
}

fn actions(given: Vec<ActionBody>, faults: &mut Faults) -> Vec<Action> {
    if given.len() > MOST_ACTIONS {
        faults.add("/actions", "item_count", format!("must hold at most {MOST_ACTIONS} actions"));
    }
    let checked = given.into_iter().enumerate().map(|(n, a)| {
        for (field, text, most) in [("title", &a.title, 100), ("value", &a.value, 256)] {
            let pointer = format!("/actions/{n}/{field}");
            if text.is_empty() {
                faults.add(pointer, "required", "must not be empty");
            } else if text.len() > most {
                faults.add(pointer, "too_long", format!("must have at most {most} bytes"));
            } else if text.chars().any(char::is_control) {
                faults.add(pointer, "control_characters", "must not hold control characters");
            }
        }
        Action { title: a.title, value: a.value }
    });
    checked.collect()
}

async fn attachments(app: &App, given: Vec<AttachmentBody>, faults: &mut Faults) -> Vec<StoredAttachment> {
    if given.len() > 10 {
        faults.add("/attachments", "item_count", "must hold at most 10 attachments");
        return Vec::new();
    }
    let mut stored = Vec::with_capacity(given.len());
    for (n, a) in given.into_iter().enumerate() {
        let pointer = format!("/attachments/{n}");
        if let Err(e) = address::line(&a.filename, "the file name", 200) {
            faults.address(format!("{pointer}/filename"), e);
        }
        if !a.content_type.split_once('/').is_some_and(|(t, s)| {
            !t.is_empty() && !s.is_empty() && a.content_type.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
        }) {
            faults.add(format!("{pointer}/contentType"), "wrong_type", "must be a media type, e.g. text/calendar");
        }
        let source = match (a.base64, a.url) {
            (Some(text), None) => {
                if base64::engine::general_purpose::STANDARD.decode(&text).is_err() {
                    faults.add(format!("{pointer}/base64"), "wrong_type", "must be standard base64 with padding");
                }
                AttachmentSource::Base64(text)
            }
            (None, Some(url)) => {
                if let Err(e) = app.tenants.host().guard.check_url(&url).await {
                    faults.0.push(Fault::new(format!("{pointer}/url"), e.code, e.detail));
                    faults.1 += 1;
                }
                AttachmentSource::Url(url)
            }
            _ => {
                faults.add(pointer, "exactly_one_of", "give base64 or url");
                continue;
            }
        };
        stored.push(StoredAttachment { filename: a.filename, content_type: a.content_type, source });
    }
    stored
}

/// The stored contacts a request names, by the word it names them with: one look-up for all, none for none.
async fn people(app: &App, tenant: &Tenant, to: Option<&OneOrMany<To>>) -> Result<HashMap<String, Contact>> {
    let named = to.map(OneOrMany::as_slice).unwrap_or_default().iter().filter_map(|t| t.contact_id.as_deref());
    // What can't be an id is nobody's.
    let ids: Vec<&str> = named.filter(|id| !id.chars().any(char::is_control)).take(MOST_RECIPIENTS).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    Ok(contacts::resolve(&app.db.pool, app.db.engine, &tenant.id, &ids).await?.into_iter().collect())
}

/// A contact as a recipient.
fn stored(contact: &Contact) -> Recipient {
    Recipient {
        contact_id: Some(contact.id.to_string()),
        external_id: contact.external_id.clone(),
        name: contact.name.clone(),
        phone: contact.phone.clone(),
        email: contact.email.clone(),
        locale: contact.locale.clone(),
        timezone: contact.timezone.clone(),
    }
}

fn recipients(
    tenant: &Tenant,
    branch: Option<&str>,
    to: Option<OneOrMany<To>>,
    people: &HashMap<String, Contact>,
    faults: &mut Faults,
) -> (Vec<Recipient>, bool) {
    let Some(to) = to else {
        faults.add("/to", "required", "must name a recipient");
        return (Vec::new(), false);
    };
    let is_list = matches!(to, OneOrMany::Many(_));
    let count = to.as_slice().len();
    if count == 0 || count > MOST_RECIPIENTS {
        faults.add("/to", "item_count", format!("must hold 1 to {MOST_RECIPIENTS} recipients"));
        return (Vec::new(), is_list);
    }
    let levels = tenant.levels(branch);
    let country = levels.country(&tenant.platform).value;
    let allowed = levels.find(|s| s.allowed_countries.as_ref()).map(|r| r.value.as_slice());
    let pointers: Vec<String> = (0..count).map(|n| to.pointer("/to", n)).collect();
    let checked = to.into_vec().into_iter().zip(pointers).map(|(to, pointer)| {
        let mut recipient = Recipient::default();
        if let Some(id) = &to.contact_id {
            match people.get(id) {
                Some(contact) => recipient = stored(contact),
                None => {
                    faults.add(format!("{pointer}/contactId"), "unknown_contact", "this tenant has no such contact");
                }
            }
            if to.phone.is_none()
                && let (Some(phone), Some(countries)) = (&recipient.phone, allowed)
                && let Err(e) = address::allowed(phone, countries)
            {
                faults.address(format!("{pointer}/contactId"), e);
            }
        }
        // What the request itself says goes before what is stored.
        if to.external_id.is_some() {
            recipient.external_id = to.external_id;
        }
        faults.word(&format!("{pointer}/externalId"), recipient.external_id.as_deref(), 200);
        if let Some(phone) = &to.phone {
            let parsed = address::phone(phone, Some(country))
                .and_then(|p| allowed.map_or(Ok(()), |countries| address::allowed(&p, countries)).map(|()| p));
            match parsed {
                Ok(phone) => recipient.phone = Some(phone),
                Err(e) => faults.address(format!("{pointer}/phone"), e),
            }
        }
        if let Some(email) = &to.email {
            match address::email(email) {
                Ok(email) => recipient.email = Some(email),
                Err(e) => faults.address(format!("{pointer}/email"), e),
            }
        }
        if let Some(name) = &to.name {
            match address::name(name) {
                Ok(name) => recipient.name = Some(name).filter(|n| !n.is_empty()),
                Err(e) => faults.address(format!("{pointer}/name"), e),
            }
        }
        if let Some(locale) = to.locale {
            match address::locale(&locale) {
                Ok(locale) => recipient.locale = Some(locale),
                Err(e) => faults.address(format!("{pointer}/locale"), e),
            }
        }
        if let Some(zone) = to.timezone {
            match address::timezone(&zone) {
                Ok(zone) => recipient.timezone = Some(zone),
                Err(e) => faults.address(format!("{pointer}/timezone"), e),
            }
        }
        recipient
    });
    (checked.collect(), is_list)
}
