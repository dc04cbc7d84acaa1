//! What is remembered about a recipient, so that the next message is one request.

use plugin_api::Message;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::inbox::Kind;

/// Trusted until the server answers 404. Whether the conversation is resolved, or its window open, changes by the
/// minute and is never kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Memory {
    /// [`crate::account::Account::place`]: after a change of settings the same numbers would be other people.
    pub(crate) place: String,
    pub(crate) inbox: Kind,
    pub(crate) contact_id: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) conversation_id: Option<u64>,
}

impl Memory {
    /// The message's memory, if it was made here.
    pub(crate) fn recall(message: &Message, place: &str) -> Option<Self> {
        let memory: Self = serde_json::from_value(message.memory.clone()?).ok()?;
        (memory.place == place).then_some(memory)
    }

    pub(crate) fn without_conversation(self) -> Self {
        Self { conversation_id: None, ..self }
    }

    pub(crate) fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("numbers and texts are JSON")
    }
}
