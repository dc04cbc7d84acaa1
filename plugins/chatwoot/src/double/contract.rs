//! Holds requests and answers against the vendor's OpenAPI document, where it is at hand: in the folder named by
//! `RECADO_CONTRACTS`, or beside the repository.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jsonschema::Validator;
use serde_json::{Value, json};

/// Operation, and `request` or a status.
type Part = (String, String);

struct Contract {
    document: Value,
    /// Made at first use; `None` where there is nothing to compare with.
    validators: Mutex<HashMap<Part, Option<Arc<Validator>>>>,
}

/// What is wrong with a request's body.
pub(super) fn request(operation: &str, body: &Value) -> Vec<String> {
    match contract() {
        Some(_) if operation.is_empty() => vec!["a request to a route the contract does not have".to_owned()],
        Some(contract) => contract.breaches(operation, "request", body),
        None => vec![],
    }
}

/// What is wrong with an answer's body.
pub(super) fn answer(operation: &str, status: u16, body: &Value) -> Vec<String> {
    contract().map(|c| c.breaches(operation, &status.to_string(), body)).unwrap_or_default()
}

fn contract() -> Option<&'static Contract> {
    static CONTRACT: OnceLock<Option<Contract>> = OnceLock::new();
    CONTRACT
        .get_or_init(|| {
            let beside = || concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/contracts").into();
            let folder: PathBuf = std::env::var_os("RECADO_CONTRACTS").map_or_else(beside, PathBuf::from);
            let Ok(text) = std::fs::read_to_string(folder.join("chatwoot.openapi.json")) else {
                eprintln!("skipped: {} has no chatwoot.openapi.json to validate against", folder.display());
                return None;
            };
            let mut document = serde_json::from_str(&text).expect("chatwoot.openapi.json is JSON");
            nullable(&mut document);
            Some(Contract { document, validators: Mutex::default() })
        })
        .as_ref()
}

impl Contract {
    fn breaches(&self, operation: &str, part: &str, body: &Value) -> Vec<String> {
        let mut validators = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (operation.to_owned(), part.to_owned());
        let validator = validators.entry(key).or_insert_with(|| self.validator(operation, part).map(Arc::new)).clone();
        drop(validators);
        let Some(validator) = validator else { return vec![] };
        let said = |e: jsonschema::ValidationError<'_>| format!("{operation} {part}: {e} at {}", e.instance_path());
        validator.iter_errors(body).map(said).collect()
    }

    /// `None` where the contract has no body to compare with.
    fn validator(&self, operation: &str, part: &str) -> Option<Validator> {
        let paths = self.document["paths"].as_object()?;
        let call = paths.values().filter_map(Value::as_object).flat_map(|p| p.values());
        let call = call.into_iter().find(|call| call["operationId"] == operation)?;
        let holder = match part {
            "request" => &call["requestBody"],
            status => self.resolve(&call["responses"][status]),
        };
        let schema = &holder["content"]["application/json"]["schema"];
        if schema.is_null() {
            return None;
        }
        let whole = json!({"allOf": [schema], "components": self.document["components"]});
        let options = jsonschema::options().with_draft(jsonschema::Draft::Draft7);
        Some(options.build(&whole).expect("the contract's schemas are valid"))
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str().and_then(|r| r.strip_prefix('#')) {
            Some(pointer) => self.document.pointer(pointer).unwrap_or(&Value::Null),
            None => value,
        }
    }
}

/// OpenAPI 3.0's `nullable` in the words of JSON Schema.
fn nullable(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(nullable),
        Value::Object(map) => {
            map.values_mut().for_each(nullable);
            if map.get("nullable") == Some(&Value::Bool(true)) {
                if let Some(kind) = map.get("type").cloned() {
                    map.insert("type".into(), json!([kind, "null"]));
                }
                if let Some(Value::Array(choices)) = map.get_mut("enum")
                    && !choices.contains(&Value::Null)
                {
                    choices.push(Value::Null);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
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
