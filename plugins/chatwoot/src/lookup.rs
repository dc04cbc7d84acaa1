//! Was an uncertain message made after all? Chatwoot has no idempotency key, but its messages can be read back.

use std::time::{SystemTime, UNIX_EPOCH};

use plugin_api::{Lookup, Message, SendError};

use crate::api::Posted;
use crate::channel::ChatwootChannel;
use crate::memory::Memory;

/// Pages of twenty. A conversation takes at most 200 messages a minute, and the look-up comes after one.
const PAGES: usize = 12;

/// Anything that stands in the way leaves it undecided.
pub(crate) async fn lookup(channel: &ChatwootChannel, message: &Message, since: SystemTime) -> Lookup {
    let search = tokio::time::timeout(channel.timeout, search(channel, message, since));
    match search.await {
        Ok(Ok(answer)) => answer,
        _ => Lookup::Undecided,
    }
}

async fn search(channel: &ChatwootChannel, message: &Message, since: SystemTime) -> Result<Lookup, SendError> {
    let known = Memory::recall(message, &channel.api.account.place());
    if let Some(id) = known.as_ref().and_then(|k| k.conversation_id)
        && let Some(answer) = in_conversation(channel, id, message, since).await?
    {
        return Ok(answer);
    }
    let contact = match known {
        Some(known) => Some(known.contact_id),
        None => channel.contact(channel.kind().await?.address(&message.recipient)?).await?,
    };
    // A contact that was never made, or is gone, has no message.
    let Some(contact) = contact else { return Ok(Lookup::NotFound) };
    let Some((conversations, whole)) = channel.api.conversations(contact).await? else { return Ok(Lookup::NotFound) };
    let mut certain = whole;
    for conversation in conversations {
        match in_conversation(channel, conversation.id, message, since).await? {
            Some(Lookup::NotFound) | None => {}
            Some(Lookup::Undecided) => certain = false,
            Some(found) => return Ok(found),
        }
    }
    Ok(if certain { Lookup::NotFound } else { Lookup::Undecided })
}

/// `None` if the conversation is gone.
async fn in_conversation(
    channel: &ChatwootChannel,
    conversation: u64,
    message: &Message,
    since: SystemTime,
) -> Result<Option<Lookup>, SendError> {
    let mut before = None;
    for _ in 0..PAGES {
        let Some(page) = channel.api.messages(conversation, before, since).await? else { return Ok(None) };
        let earliest = unix(page.since);
        if let Some(found) = page.messages.iter().find(|m| m.created_at >= earliest && is(m, message)) {
            return Ok(Some(Lookup::Found { message_id: Some(found.id.to_string()) }));
        }
        if !page.whole {
            return Ok(Some(Lookup::Undecided));
        }
        match page.messages.first() {
            Some(oldest) if oldest.created_at >= earliest => before = Some(oldest.id),
            _ => return Ok(Some(Lookup::NotFound)),
        }
    }
    Ok(Some(Lookup::Undecided))
}

fn is(posted: &Posted, message: &Message) -> bool {
    let content = posted.content.as_deref().unwrap_or_default().trim();
    let ours = content == message.text.trim() || content == message.text_with_actions().trim();
    ours && posted.message_type == 1 && !posted.private
}

/// Unix seconds.
pub(crate) fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
