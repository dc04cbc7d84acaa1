//! A message as mail: envelope, headers and the bytes that follow DATA. lettre encodes (RFC 2045 to 2047, 2231) and
//! folds; what it does not check (line breaks in values, header names) is refused here once more.

use std::fmt::Write;

use lettre::Address;
use lettre::message::header::{self, HeaderName, HeaderValue, Headers};
use lettre::message::{Mailbox, Mailboxes};
use plugin_api::{Message, SendError};

use crate::account::Account;
use crate::{parts, proof};

/// The longest line the standard allows, without its CRLF.
const LINE_LIMIT: usize = 998;

/// Mail ready to go out.
pub(crate) struct Mail {
    pub(crate) sender: String,
    pub(crate) recipient: String,
    /// With its angle brackets; made from the delivery's id, so it is the same on every attempt.
    pub(crate) message_id: String,
    /// Dots doubled, and the final one in place.
    pub(crate) data: Vec<u8>,
}

pub(crate) fn build(message: &Message, account: &Account) -> Result<Mail, SendError> {
    let recipient = message.recipient.email.as_deref().unwrap_or_default();
    if recipient.is_empty() {
        return Err(SendError::rejected("no_address", "the recipient has no e-mail address"));
    }
    let recipient = address(recipient)?;
    let id = spelt(&message.id);
    let message_id = format!("<{id}@{}>", account.from.email.domain());
    let mut content = headers(message, account, &recipient, &message_id)?.to_string().into_bytes();
    content.extend_from_slice(&parts::body(message)?);
    if let Some(dkim) = &account.dkim {
        let signature = dkim.signature(&content, message.began_at)?;
        content.splice(..0, signature.into_bytes());
    }
    let data = data(&content)?;
    Ok(Mail { sender: account.sender(&id), recipient: recipient.to_string(), message_id, data })
}

/// An address as it can stand in an envelope: the domain in punycode, all of it visible ASCII.
pub(crate) fn address(text: &str) -> Result<Address, SendError> {
    if breaks_a_line(text) {
        return Err(SendError::rejected("control_characters", "an address holds a line break or NUL"));
    }
    let invalid = || SendError::rejected("invalid_address", "the address is not a valid e-mail address");
    let (local, domain) = text.rsplit_once('@').ok_or_else(invalid)?;
    if !local.is_ascii() {
        let detail = "the part before the @ is not ASCII, which this gateway does not send to";
        return Err(SendError::rejected("address_not_ascii", detail));
    }
    let visible = local.bytes().all(|b| b.is_ascii_graphic() && b != b'<' && b != b'>');
    // The host parser would decode percent signs, and read numbers as addresses.
    let domain = if domain.contains('%') { None } else { url::Host::parse(domain).ok() };
    match domain {
        Some(url::Host::Domain(domain)) if visible && local.len() <= 64 && domain.len() <= 253 => {
            Address::new(local, domain).map_err(|_| invalid())
        }
        _ => Err(invalid()),
    }
}

/// Such a value would end its header and begin another.
pub(crate) fn breaks_a_line(text: &str) -> bool {
    text.contains(['\r', '\n', '\0'])
}

pub(crate) fn one_line<'a>(what: &str, text: &'a str) -> Result<&'a str, SendError> {
    if breaks_a_line(text) {
        return Err(SendError::rejected("control_characters", format!("the {what} holds a line break or NUL")));
    }
    Ok(text)
}

/// Other control characters do no harm and mean nothing.
fn visible(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// An id as the part before an @. Ids are UUIDs; anything else is spelt so that two ids never become one.
fn spelt(id: &str) -> String {
    let mut out = String::new();
    for byte in id.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => out.push(byte as char),
            _ => {
                let _ = write!(out, "={byte:02X}");
            }
        }
    }
    out
}

/// The id that was [`spelt`] so.
pub(crate) fn unspelt(text: &str) -> Option<String> {
    let mut pieces = text.split('=');
    let mut out = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let (code, rest) = piece.split_at_checked(2)?;
        out.push(u8::from_str_radix(code, 16).ok()?);
        out.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(out).ok()
}

fn headers(message: &Message, account: &Account, to: &Address, message_id: &str) -> Result<Headers, SendError> {
    let mailboxes = |mailbox: &Mailbox| Mailboxes::from(mailbox.clone());
    let name = message.recipient.name.as_deref().map(|n| one_line("recipient's name", n)).transpose()?;
    let name = name.map(str::trim).filter(|n| !n.is_empty()).map(visible);
    let subject = visible(one_line("subject", message.subject.as_deref().unwrap_or_default())?);

    let mut headers = Headers::new();
    headers.set(header::Date::new(message.began_at));
    headers.set(header::From::from(mailboxes(&account.from)));
    headers.set(header::To::from(mailboxes(&Mailbox::new(name, to.clone()))));
    if let Some(reply_to) = &account.reply_to {
        headers.set(header::ReplyTo::from(mailboxes(reply_to)));
    }
    headers.set(header::Subject::from(subject));
    headers.set(header::MessageId::from(message_id.to_owned()));
    headers.insert_raw(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".into()));
    headers.set(header::MIME_VERSION_1_0);
    if let Some(url) = &message.unsubscribe_url {
        unsubscribe(url, &mut headers)?;
    }
    if let Some(hook) = &account.hook {
        let name = HeaderName::new_from_ascii_str(proof::RECIPIENT);
        headers.insert_raw(HeaderValue::new(name, hook.recipient(to.as_ref())));
    }
    for (name, value) in &message.headers {
        let value = one_line("value of a custom header", value)?;
        headers.insert_raw(HeaderValue::new(custom_name(name, &headers)?, value.to_owned()));
    }
    Ok(headers)
}

/// RFC 2369 and, where the link is fit for it, RFC 8058: the receiver may press the button for the reader.
fn unsubscribe(url: &str, headers: &mut Headers) -> Result<(), SendError> {
    let link = one_line("unsubscribe link", url)?;
    if link.contains(['<', '>', ' ']) {
        return Err(SendError::rejected("header_not_allowed", "the unsubscribe link is not a URL"));
    }
    let name = HeaderName::new_from_ascii_str("List-Unsubscribe");
    headers.insert_raw(HeaderValue::new(name, format!("<{link}>")));
    if link.starts_with("https://") {
        let name = HeaderName::new_from_ascii_str("List-Unsubscribe-Post");
        headers.insert_raw(HeaderValue::new(name, "List-Unsubscribe=One-Click".into()));
    }
    Ok(())
}

/// A header of the caller's. The core has the list of names that are allowed; this only keeps the mail well formed.
fn custom_name(name: &str, present: &Headers) -> Result<HeaderName, SendError> {
    let refused = |why: &str| SendError::rejected("header_not_allowed", format!("a custom header's name {why}"));
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic() && b != b':') {
        return Err(refused("is not a header name"));
    }
    let lower = name.to_ascii_lowercase();
    let structural = ["bcc", "cc", "sender", "return-path", "received", "dkim-signature"].contains(&lower.as_str());
    // A Reply-To of the message's own replaces the account's.
    let there = lower != "reply-to" && present.get_raw(name).is_some();
    if structural || there || lower.starts_with("content-") || lower.starts_with("resent-") {
        return Err(refused("is one the gateway writes itself, or is there twice"));
    }
    HeaderName::new_from_ascii(name.to_owned()).map_err(|_| refused("is too long"))
}

/// The lines of a message, whatever they end in: what is signed and what is sent must agree on them.
pub(crate) fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    let lines = content.split(|b| *b == b'\n');
    lines.flat_map(|line| line.strip_suffix(b"\r").unwrap_or(line).split(|b| *b == b'\r'))
}

/// What goes after DATA: every line ended by CRLF and by nothing else (a bare CR or LF lets a second message be
/// smuggled in), a leading dot doubled, a dot alone at the end.
fn data(content: &[u8]) -> Result<Vec<u8>, SendError> {
    let mut out = Vec::with_capacity(content.len() + content.len() / 64 + 8);
    for line in lines(content) {
        if line.len() > LINE_LIMIT {
            let detail = "a header holds a word of more than 998 bytes, which mail cannot carry";
            return Err(SendError::rejected("line_too_long", detail));
        }
        if line.first() == Some(&b'.') {
            out.push(b'.');
        }
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    Ok(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn reason(text: &str) -> String {
        address(text).map_or_else(|e| e.reason.into_owned(), |a| a.to_string())
    }

    #[test]
    fn addresses_become_ascii_or_are_refused() {
        assert_eq!(reason("ana@example.com"), "ana@example.com");
        assert_eq!(reason("ana@señal.example"), "ana@xn--seal-hqa.example");
        assert_eq!(reason("jörg@example.com"), "address_not_ascii");
        assert_eq!(reason("a@x.example\r\nBcc: e@x.example"), "control_characters");
        for bad in [
            "",
            "ana",
            "@x.example",
            "a..b@x.example",
            "a b@x.example",
            "a>b@x.example",
            "a@[127.0.0.1]",
            "a@127.1",
            "a@x.example, b@x.example",
            "a@ex%61mple.test",
            "a@x example",
        ] {
            assert_eq!(reason(bad), "invalid_address", "{bad}");
        }
        assert_eq!(reason(&format!("{}@x.example", "a".repeat(65))), "invalid_address");
    }

    #[test]
    fn every_line_ends_in_crlf_and_leading_dots_are_doubled() {
        assert_eq!(data(b"a\r\n.b\n..\rc").unwrap(), b"a\r\n..b\r\n...\r\nc\r\n.\r\n");
        assert_eq!(data(b"a\r\n.\r\nMAIL FROM:<x@y>\r\n").unwrap(), b"a\r\n..\r\nMAIL FROM:<x@y>\r\n.\r\n");
        assert_eq!(data(&[b'x'; 999]).unwrap_err().reason, "line_too_long");
    }

    #[test]
    fn ids_stay_apart_in_the_message_id_and_can_be_read_back() {
        assert_eq!(spelt("0198-ab_c"), "0198-ab_c");
        assert_eq!(spelt("a>\r\nb"), "a=3E=0D=0Ab");
        for id in ["0198-ab_c", "0198.2", "a=3E", "señal", ""] {
            assert_eq!(unspelt(&spelt(id)).as_deref(), Some(id));
        }
        for broken in ["a=", "a=zz", "a=ñ", "=FF"] {
            assert_eq!(unspelt(broken), None);
        }
    }
}
