//! From a message to the body of Meta's `/messages`.

use std::collections::HashSet;
use std::time::SystemTime;

use plugin_api::{Action, Message, SendError};
use serde_json::{Value, json};

use super::template;
use super::window::{Way, way};
use crate::phone;

/// Characters of a plain text.
const TEXT: usize = 4096;
/// Characters of a text that has buttons.
const INTERACTIVE: usize = 1024;

/// Limits on a set of actions.
struct Fit {
    count: std::ops::RangeInclusive<usize>,
    title: usize,
    id: usize,
}

const BUTTONS: Fit = Fit { count: 1..=3, title: 20, id: 256 };
const LIST: Fit = Fit { count: 4..=10, title: 24, id: 200 };

pub(crate) fn body(message: &Message, list_label: &str, now: SystemTime) -> Result<Value, SendError> {
    let to = phone::recipient(message)?;
    let (kind, content) = match way(message, now)? {
        Way::Form(form) => ("template", template::content(form)?),
        Way::Free => free(message, list_label)?,
    };
    Ok(json!({
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": to.trim_start_matches('+'),
        "biz_opaque_callback_data": message.id,
        "type": kind,
        kind: content,
    }))
}

fn free(message: &Message, list_label: &str) -> Result<(&'static str, Value), SendError> {
    if let Some(interactive) = interactive(message, list_label) {
        return Ok(("interactive", interactive));
    }
    let text = message.text_with_actions();
    if text.chars().nth(TEXT).is_some() {
        return Err(SendError::rejected("too_long", format!("the text has more than WhatsApp's {TEXT} characters")));
    }
    Ok(("text", json!({"body": text, "preview_url": false})))
}

/// Up to three actions as buttons, four to ten as a list. `None` where something is too long for that, or two actions
/// could not be told apart.
fn interactive(message: &Message, list_label: &str) -> Option<Value> {
    if message.text.is_empty() || message.text.chars().nth(INTERACTIVE).is_some() {
        return None;
    }
    let body = json!({"text": message.text});
    if BUTTONS.fits(&message.actions) {
        let button = |a: &Action| json!({"type": "reply", "reply": {"id": a.value, "title": a.title}});
        let buttons: Vec<_> = message.actions.iter().map(button).collect();
        return Some(json!({"type": "button", "body": body, "action": {"buttons": buttons}}));
    }
    if LIST.fits(&message.actions) {
        let rows: Vec<_> = message.actions.iter().map(|a| json!({"id": a.value, "title": a.title})).collect();
        return Some(json!({"type": "list", "body": body,
            "action": {"button": list_label, "sections": [{"rows": rows}]}}));
    }
    None
}

impl Fit {
    fn fits(&self, actions: &[Action]) -> bool {
        let within = |text: &str, most: usize| !text.trim().is_empty() && text.chars().nth(most).is_none();
        let (mut titles, mut ids) = (HashSet::new(), HashSet::new());
        self.count.contains(&actions.len())
            && actions.iter().all(|a| within(&a.title, self.title) && within(&a.value, self.id))
            && actions.iter().all(|a| titles.insert(&a.title) && ids.insert(&a.value))
    }
}
