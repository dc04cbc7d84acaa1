//! Was an uncertain message taken after all? Twilio has no idempotency key, but the account's messages to a number can
//! be listed, the newest first.

use std::time::SystemTime;

use plugin_api::http::Url;
use plugin_api::{Lookup, Message, SendError};
use serde::Deserialize;
use url::form_urlencoded::Serializer;

use super::{Twilio, errors};
use crate::time;

/// Messages to one person since the attempt are few; more pages than this are not turned.
const PAGES: usize = 4;
/// Fifty messages of 1600 characters with all their fields.
const PAGE_LIMIT: usize = 512 * 1024;

#[derive(Deserialize)]
struct Page {
    messages: Vec<Listed>,
    /// Path and query, or a whole URL.
    next_page_uri: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    sid: String,
    body: Option<String>,
    from: Option<String>,
    messaging_service_sid: Option<String>,
    direction: Option<String>,
    date_created: Option<String>,
}

pub(super) async fn search(account: &Twilio, message: &Message, since: SystemTime) -> Result<Lookup, SendError> {
    let Some(to) = message.recipient.phone.as_deref() else { return Ok(Lookup::Undecided) };
    let text = message.text_with_actions();
    // No filter by DateSent: a message that still waits in the queue has none, and would be taken for absent.
    let mut url = account.url("/Messages");
    url.set_query(Some(&Serializer::new(String::new()).append_pair("To", to).append_pair("PageSize", "50").finish()));
    for _ in 0..PAGES {
        let answer = account.authorized(account.http.get(&url)).send_reading(PAGE_LIMIT).await?;
        errors::judge(&answer)?;
        let Some(page) = answer.json::<Page>() else { return Ok(Lookup::Undecided) };
        let earliest = answer.by_their_clock(since);
        let created = |listed: &Listed| listed.date_created.as_deref().and_then(time::rfc2822);
        let recent = page.messages.iter().filter(|listed| created(listed).is_none_or(|at| at >= earliest));
        if let Some(found) = recent.into_iter().find(|listed| is(account, listed, &text)) {
            return Ok(Lookup::Found { message_id: Some(found.sid.clone()) });
        }
        let older = page.messages.iter().any(|listed| created(listed).is_some_and(|at| at < earliest));
        match page.next_page_uri.filter(|next| !next.is_empty()) {
            Some(next) if !older => match following(&url, &next) {
                Some(next) => url = next,
                None => return Ok(Lookup::Undecided),
            },
            _ => return Ok(Lookup::NotFound),
        }
    }
    Ok(Lookup::Undecided)
}

/// The same resource with the query of the next page: what an answer names is never followed elsewhere.
fn following(url: &Url, next: &str) -> Option<Url> {
    let mut following = url.clone();
    following.set_query(Some(next.split_once('?')?.1));
    Some(following)
}

fn is(account: &Twilio, listed: &Listed, text: &str) -> bool {
    let outgoing = listed.direction.as_deref().is_none_or(|direction| direction.starts_with("outbound"));
    outgoing && from_us(account, listed) && same_text(listed.body.as_deref().unwrap_or_default(), text)
}

/// A messaging service chooses the sender later, so there the service itself is compared.
fn from_us(account: &Twilio, listed: &Listed) -> bool {
    match (&account.service, &account.sender) {
        (Some(service), _) => listed.messaging_service_sid.as_deref() == Some(service.as_str()),
        (None, Some(sender)) => listed.from.as_deref() == Some(sender.as_str()),
        (None, None) => false,
    }
}

/// Trial accounts put a sentence before the text.
fn same_text(theirs: &str, ours: &str) -> bool {
    let (theirs, ours) = (theirs.trim(), ours.trim());
    theirs == ours || (theirs.starts_with("Sent from your Twilio trial account") && theirs.ends_with(ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trial_sentence_does_not_hide_a_text() {
        assert!(same_text("Sent from your Twilio trial account - Hola", "Hola "));
        assert!(!same_text("Hola, Hola", "Hola"));
    }

    #[test]
    fn the_next_page_is_at_the_same_place() {
        let url: Url = "https://proxy.example/x/Messages.json?To=1".parse().expect("a URL");
        let next = following(&url, "http://evil.example/other.json?Page=1&PageToken=a");
        assert_eq!(next.map(String::from).as_deref(), Some("https://proxy.example/x/Messages.json?Page=1&PageToken=a"));
        assert_eq!(following(&url, "https://proxy.example/x/Messages.json"), None);
    }
}
