//! The vendor's document, opened once for all doubles of a test run.

use std::sync::OnceLock;

use plugin_api::conformance::Contract;
use serde_json::Value;

/// What is wrong with a request's body.
pub(super) fn request(operation: &str, body: &Value) -> Vec<String> {
    contract().map(|c| c.request(operation, body)).unwrap_or_default()
}

/// What is wrong with an answer's body.
pub(super) fn answer(operation: &str, status: u16, body: &Value) -> Vec<String> {
    contract().map(|c| c.answer(operation, status, body)).unwrap_or_default()
}

fn contract() -> Option<&'static Contract> {
    static CONTRACT: OnceLock<Option<Contract>> = OnceLock::new();
    CONTRACT.get_or_init(|| Contract::open("chatwoot.openapi.json")).as_ref()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn breaches_are_noticed() {
        if contract().is_none() {
            return;
        }
        assert!(request("createMessage", &json!({"content": "Hola", "message_type": "outgoing"})).is_empty());
        assert!(!request("createMessage", &json!({"content": "Hola", "content_type": "buttons"})).is_empty());
        assert!(!request("createConversation", &json!({"inbox_id": 9})).is_empty());
        assert!(!request("", &json!({})).is_empty());
        assert!(answer("filterContacts", 200, &json!({"meta": {}, "payload": [{"id": 1, "custom_attributes": {}, "additional_attributes": {}, "email": null}]})).is_empty());
        assert!(!answer("filterContacts", 200, &json!({"payload": [{}]})).is_empty());
        assert!(!answer("createMessage", 401, &json!({"message": "no"})).is_empty());
    }
}
