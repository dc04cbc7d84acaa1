//! The body: text, HTML and attachments, each encoded by lettre and put together as RFC 2046 has it.

use std::fmt::Write;

use lettre::message::header::{ContentTransferEncoding, ContentType};
use lettre::message::{Attachment as AttachmentPart, Body, MultiPart, SinglePart};
use plugin_api::{Action, Attachment, Message, SendError};
use ring::digest::{Context, SHA256};

use crate::mail::one_line;

/// Plainest first (RFC 2046), attachments around it.
pub(crate) fn body(message: &Message) -> Result<Vec<u8>, SendError> {
    // Verifiers of signatures disagree on blank lines at the end that hold spaces.
    let text = SinglePart::plain(tidy(text(message).trim_end()));
    if message.attachments.is_empty() {
        return Ok(match html(message) {
            Some(html) => alternative(message, text, &html).formatted(),
            None => text.formatted(),
        });
    }
    let mixed = MultiPart::mixed().boundary(boundary("mixed", message));
    let mut mixed = match html(message) {
        Some(html) => mixed.multipart(alternative(message, text, &html)),
        None => mixed.singlepart(text),
    };
    for file in &message.attachments {
        mixed = mixed.singlepart(attachment(file)?);
    }
    Ok(mixed.formatted())
}

fn alternative(message: &Message, text: SinglePart, html: &str) -> MultiPart {
    let multipart = MultiPart::alternative().boundary(boundary("alternative", message));
    multipart.singlepart(text).singlepart(SinglePart::html(tidy(html)))
}

/// The same on every attempt, and nothing that the parts could hold: it depends on all that an author can choose.
fn boundary(kind: &str, message: &Message) -> String {
    let mut hash = Context::new(&SHA256);
    for piece in [kind, &message.id, &message.text, message.html.as_deref().unwrap_or_default()] {
        hash.update(&(piece.len() as u64).to_be_bytes());
        hash.update(piece.as_bytes());
    }
    for action in &message.actions {
        hash.update(action.title.as_bytes());
        hash.update(action.value.as_bytes());
    }
    hash.finish().as_ref()[..20].iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn attachment(file: &Attachment) -> Result<SinglePart, SendError> {
    let name = one_line("name of an attachment", &file.filename)?;
    let kind = ContentType::parse(one_line("type of an attachment", &file.content_type)?)
        .or_else(|_| ContentType::parse("application/octet-stream"))
        .map_err(|_| SendError::rejected("invalid_attachment", "an attachment's type is not a media type"))?;
    let content = Body::new_with_encoding(file.content.to_vec(), ContentTransferEncoding::Base64)
        .map_err(|_| SendError::rejected("invalid_attachment", "an attachment could not be encoded"))?;
    Ok(AttachmentPart::new(name.to_owned()).body(content, kind))
}

/// Line ends of one kind, and no NUL: what mail cannot carry.
fn tidy(text: &str) -> String {
    if text.contains(['\r', '\0']) {
        return text.replace("\r\n", "\n").replace('\r', "\n").replace('\0', "");
    }
    text.to_owned()
}

/// The text with the actions as a numbered list; one that is a link shows where it leads.
fn text(message: &Message) -> String {
    let mut out = message.text.clone();
    for (n, action) in message.actions.iter().enumerate() {
        out.push_str(if n == 0 { "\n\n" } else { "\n" });
        let _ = write!(out, "{}. {}", n + 1, action.title);
        if let Some(link) = link(action) {
            out.push_str(": ");
            out.push_str(link);
        }
    }
    out
}

/// The HTML with the actions as a list before its end.
fn html(message: &Message) -> Option<String> {
    let mut html = message.html.clone()?;
    if message.actions.is_empty() {
        return Some(html);
    }
    let mut list = String::from("<ol>");
    for action in &message.actions {
        let title = escape(&action.title);
        let _ = match link(action) {
            Some(link) => write!(list, "<li><a href=\"{}\">{title}</a></li>", escape(link)),
            None => write!(list, "<li>{title}</li>"),
        };
    }
    list.push_str("</ol>");
    let end = html.to_ascii_lowercase().rfind("</body>").unwrap_or(html.len());
    html.insert_str(end, &list);
    Some(html)
}

fn link(action: &Action) -> Option<&str> {
    let url = url::Url::parse(&action.value).ok()?;
    (url.scheme() == "https" && !action.value.contains(char::is_whitespace)).then_some(action.value.as_str())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
