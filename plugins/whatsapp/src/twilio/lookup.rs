//! Was a message taken after all? Twilio lists the messages to a number, newest first, and that is the only way to
//! find out. A text is recognised by itself; a form's text is Twilio's, so a message that may be it leaves the question
//! open.

use std::time::SystemTime;

use plugin_api::http::Http;
use plugin_api::{Lookup, Message};
use serde::Deserialize;

use super::account::{Account, Sender};
use super::address;

/// How many messages are read, and room for that many of the longest.
const PAGE: usize = 50;
const ROOM: usize = 512 * 1024;

#[derive(Deserialize)]
struct Page {
    messages: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    sid: String,
    body: Option<String>,
    direction: Option<String>,
    date_created: Option<String>,
}

pub(crate) async fn lookup(account: &Account, http: &Http, message: &Message, since: SystemTime) -> Lookup {
    let Some(phone) = message.recipient.phone.as_deref() else { return Lookup::NotFound };
    let mut url = account.url("Messages.json");
    url.query_pairs_mut().append_pair("To", &address(phone)).append_pair("PageSize", &PAGE.to_string());
    if let Sender::Number(from) = &account.sender {
        url.query_pairs_mut().append_pair("From", &address(from));
    }
    // Not narrowed by DateSent, which a message that still waits in Twilio's queue does not have.
    let answer = match http.get(&url).headers(&account.headers).send_reading(ROOM).await {
        Ok(answer) if answer.status == 200 && answer.complete => answer,
        _ => return Lookup::Undecided,
    };
    let Some(Page { messages }) = answer.json() else { return Lookup::Undecided };
    decide(&messages, message, answer.by_their_clock(since))
}

fn decide(listed: &[Listed], message: &Message, began: SystemTime) -> Lookup {
    let mut reaches_back = listed.len() < PAGE;
    let mut candidates = Vec::new();
    for one in listed {
        match created(one) {
            Some(at) if at < began => reaches_back = true,
            Some(_) if one.direction.as_deref() == Some("inbound") => {}
            Some(_) => candidates.push(one),
            None => return Lookup::Undecided,
        }
    }
    let text = message.text_with_actions();
    let same = |one: &&&Listed| one.body.as_deref().is_some_and(|body| words(body).eq(words(&text)));
    match candidates.iter().find(same) {
        Some(one) if message.window_open => Lookup::Found { message_id: Some(one.sid.clone()) },
        _ if !reaches_back => Lookup::Undecided,
        _ if !message.window_open && !candidates.is_empty() => Lookup::Undecided,
        _ => Lookup::NotFound,
    }
}

/// Twilio trims what it stores.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace()
}

/// RFC 2822, always in UTC.
fn created(one: &Listed) -> Option<SystemTime> {
    let text = one.date_created.as_deref()?.trim().strip_suffix("+0000")?;
    httpdate::parse_http_date(&format!("{text}GMT")).ok()
}
