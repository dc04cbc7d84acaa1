//! Holds what goes over the wire against a vendor's OpenAPI document, where one is at hand: in the folder named by
//! `RECADO_CONTRACTS`, or in `shared/contracts` beside the repository. Doubles ask it, so that neither they nor the
//! plugin drift from the vendor.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::Validator;
use serde_json::{Value, json};

/// One vendor's document.
pub struct Contract {
    document: Value,
    /// By JSON pointer to the schema. Made at first use; `None` where there is nothing to compare with.
    validators: Mutex<HashMap<String, Option<Arc<Validator>>>>,
}

impl Contract {
    /// Opens e.g. `chatwoot.openapi.json`. `None`, and a line saying so, where it is not at hand.
    pub fn open(file: &str) -> Option<Self> {
        let beside = || concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/contracts").into();
        let folder: PathBuf = std::env::var_os("RECADO_CONTRACTS").map_or_else(beside, PathBuf::from);
        let Ok(text) = std::fs::read_to_string(folder.join(file)) else {
            eprintln!("skipped: {} has no {file} to validate against", folder.display());
            return None;
        };
        let mut document = serde_json::from_str(&text).expect("a contract is JSON");
        nullable(&mut document);
        Some(Self { document, validators: Mutex::default() })
    }

    /// What is wrong with a request's body, given the operation's id; a form is an object of its fields. An operation
    /// without an id is one the contract does not have.
    pub fn request(&self, operation: &str, body: &Value) -> Vec<String> {
        if operation.is_empty() {
            return vec!["a request to a route the contract does not have".to_owned()];
        }
        let body_of = |pointer: String| format!("{pointer}/requestBody");
        self.breaches(self.operation(operation).map(body_of), &format!("{operation} request"), body)
    }

    /// What is wrong with an answer's body.
    pub fn answer(&self, operation: &str, status: u16, body: &Value) -> Vec<String> {
        let answer_of = |pointer: String| format!("{pointer}/responses/{status}");
        self.breaches(self.operation(operation).map(answer_of), &format!("{operation} {status}"), body)
    }

    /// What is wrong with a value whose schema is at a JSON pointer, e.g. `/x-webhooks/statusCallback`.
    pub fn value(&self, pointer: &str, value: &Value) -> Vec<String> {
        let there = self.document.pointer(pointer).map(|_| pointer.to_owned());
        assert!(there.is_some(), "the contract has nothing at {pointer}");
        self.breaches(there, pointer, value)
    }

    /// The JSON pointer of an operation.
    fn operation(&self, id: &str) -> Option<String> {
        let paths = self.document["paths"].as_object()?;
        let calls = paths.iter().flat_map(|(path, item)| {
            item.as_object().into_iter().flatten().map(move |(method, call)| (path, method, call))
        });
        let (path, method, _) = calls.into_iter().find(|(_, _, call)| call["operationId"] == id)?;
        Some(format!("/paths/{}/{method}", path.replace('~', "~0").replace('/', "~1")))
    }

    fn breaches(&self, pointer: Option<String>, what: &str, body: &Value) -> Vec<String> {
        let Some(pointer) = pointer else { return vec![] };
        let mut validators = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || self.document.pointer(&pointer).and_then(|holder| self.validator(holder)).map(Arc::new);
        let validator = validators.entry(pointer.clone()).or_insert_with(made).clone();
        drop(validators);
        let Some(validator) = validator else { return vec![] };
        validator.iter_errors(body).map(|e| format!("{what}: {e} at {}", e.instance_path())).collect()
    }

    /// Of a schema, or of whatever holds one by media type. `None` for a body the contract leaves open.
    fn validator(&self, holder: &Value) -> Option<Validator> {
        let holder = self.resolve(holder);
        let schema = match holder.get("content") {
            Some(content) => &content.as_object()?.values().next()?["schema"],
            None if holder.get("description").is_some() && holder.get("type").is_none() => return None,
            None => holder,
        };
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
