//! The calls of the contract, each answered from the state.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::contract;
use super::state::{Contact, Inbox, State, Status, slim};
use super::{ACCOUNT, Fault, Seen, TOKEN};

type Shared = Arc<Mutex<State>>;

/// Status and JSON body.
type Reply = (u16, Value);

/// A call as the contract writes it.
struct Call<'a> {
    operation: &'static str,
    /// Ids in the path, after the account's.
    id: u64,
    query: &'a str,
    body: &'a Value,
}

pub(super) fn router(shared: Shared) -> Router {
    Router::new().fallback(move |request: Request| {
        let shared = Arc::clone(&shared);
        async move {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, 4 << 20).await.unwrap_or_default();
            match answer(&shared, &parts.method, &parts.uri, &parts.headers, &body) {
                Some(response) => response,
                None => std::future::pending().await,
            }
        }
    })
}

/// `None` is silence.
fn answer(shared: &Shared, method: &Method, uri: &Uri, headers: &HeaderMap, raw: &Bytes) -> Option<Response> {
    let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
    let body: Value = serde_json::from_slice(raw).unwrap_or_default();
    let (operation, account, id) = route(method, uri.path()).unwrap_or(("", None, 0));
    state.requests.push(Seen { operation, path: uri.path().to_owned(), body: body.clone() });
    state.breaches.extend(contract::request(operation, &body));
    let call = Call { operation, id, query: uri.query().unwrap_or(""), body: &body };

    let fault = if state.throttled {
        Some(Fault::throttled())
    } else {
        state.faults.get_mut(operation).and_then(VecDeque::pop_front)
    };
    let truth = |state: &mut State| refused(headers, account).unwrap_or_else(|| perform(state, &call));
    let response = match fault {
        None => {
            let (status, json) = truth(&mut state);
            state.breaches.extend(contract::answer(operation, status, &json));
            reply(status, &json)
        }
        Some(Fault::Json(status, json)) => reply(status, &json),
        Some(Fault::Text(status, kind, text)) => page(status, kind, text),
        Some(Fault::StoreThen(status)) => {
            truth(&mut state);
            page(status, "text/html", "<html>We're sorry, but something went wrong</html>")
        }
        Some(Fault::StoreThenSilence) => {
            truth(&mut state);
            return None;
        }
        Some(Fault::Silence) => return None,
        Some(Fault::RetryAfter(status, seconds)) => {
            let mut response = page(status, "text/plain", "later");
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            response
        }
    };
    Some(dated(response, state.clock_ahead))
}

/// Operation, account and the id in the path.
fn route(method: &Method, path: &str) -> Option<(&'static str, Option<u64>, u64)> {
    let path = &path[path.find("/api/v1/")? + "/api/v1/".len()..];
    let segments: Vec<_> = path.split('/').collect();
    if segments == ["profile"] {
        return (method == Method::GET).then_some(("fetchProfile", None, 0));
    }
    let ["accounts", account, rest @ ..] = segments.as_slice() else { return None };
    let operation = match (method.as_str(), rest) {
        ("GET", ["inboxes", _]) => "getInbox",
        ("POST", ["contacts"]) => "createContact",
        ("POST", ["contacts", "filter"]) => "filterContacts",
        ("GET", ["contacts", "search"]) => "searchContacts",
        ("GET", ["contacts", _, "conversations"]) => "contactConversations",
        ("POST", ["conversations"]) => "createConversation",
        ("GET", ["conversations", _]) => "getConversation",
        ("GET", ["conversations", _, "messages"]) => "listMessages",
        ("POST", ["conversations", _, "messages"]) => "createMessage",
        _ => return None,
    };
    let id = rest.get(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    Some((operation, Some(account.parse().ok()?), id))
}

fn refused(headers: &HeaderMap, account: Option<u64>) -> Option<Reply> {
    match headers.get("api_access_token") {
        None => Some((401, json!({"errors": ["You need to sign in or sign up before continuing."]}))),
        Some(token) if token != TOKEN => Some((401, json!({"error": "Invalid Access Token"}))),
        Some(_) if account.is_some_and(|a| a != ACCOUNT) => Some(not_found()),
        Some(_) => None,
    }
}

fn perform(state: &mut State, call: &Call<'_>) -> Reply {
    match call.operation {
        "fetchProfile" => profile(),
        "getInbox" => state.inbox(call.id).map_or_else(not_found, |inbox| (200, State::show_inbox(inbox))),
        "filterContacts" => filter(state, call),
        "searchContacts" => search(state, call),
        "createContact" => create_contact(state, call.body),
        "contactConversations" => contact_conversations(state, call.id),
        "createConversation" => create_conversation(state, call.body),
        "getConversation" => state.conversation(call.id).map_or_else(not_found, |c| (200, state.show_conversation(c))),
        "createMessage" => create_message(state, call),
        "listMessages" => list_messages(state, call),
        _ => not_found(),
    }
}

fn profile() -> Reply {
    let account = json!({"id": ACCOUNT, "name": "Salon Uno", "status": "active", "role": "administrator",
        "api_and_webhooks": true});
    let profile = json!({"id": 2, "name": "Gateway Bot", "email": "bot@example.com", "account_id": ACCOUNT,
        "role": "administrator", "access_token": TOKEN, "accounts": [account]});
    (200, profile)
}

/// Conditions with `equal_to`, joined from left to right.
fn filter(state: &State, call: &Call<'_>) -> Reply {
    let conditions = call.body["payload"].as_array().cloned().unwrap_or_default();
    let holds = |contact: &Contact| {
        let mut result = true;
        let mut joined_by_or = false;
        for condition in &conditions {
            let value = condition["values"][0].as_str().unwrap_or("");
            let this = match condition["attribute_key"].as_str() {
                Some("phone_number") => {
                    contact.phone.as_deref() == Some(format!("+{}", value.trim_start_matches('+')).as_str())
                }
                Some("email") => contact.email.as_deref() == Some(value),
                Some("identifier") => contact.identifier.as_deref() == Some(value),
                _ => false,
            };
            result = if joined_by_or { result || this } else { result && this };
            joined_by_or = condition["query_operator"].as_str().is_some_and(|o| o.eq_ignore_ascii_case("or"));
        }
        result
    };
    let found: Vec<_> = state.contacts.iter().filter(|c| holds(c)).map(|c| state.show_contact(c)).collect();
    let page = match parameter(call.query, "page") {
        Some(page) => json!(page),
        None => json!(1),
    };
    (200, json!({"meta": {"count": found.len(), "current_page": page}, "payload": found}))
}

/// A substring of name, e-mail, phone or identifier.
fn search(state: &State, call: &Call<'_>) -> Reply {
    let q = parameter(call.query, "q").unwrap_or("").replace("%2B", "+").to_lowercase();
    let has = |text: &str| text.to_lowercase().contains(&q);
    let any = |c: &Contact| has(&c.name) || [&c.phone, &c.email, &c.identifier].into_iter().flatten().any(|t| has(t));
    let found: Vec<_> = state.contacts.iter().filter(|c| any(c)).take(15).map(|c| state.show_contact(c)).collect();
    (200, json!({"meta": {"count": found.len(), "current_page": 1, "has_more": false}, "payload": found}))
}

fn create_contact(state: &mut State, body: &Value) -> Reply {
    let text = |name: &str| body[name].as_str().filter(|t| !t.is_empty());
    let (phone, email, identifier) = (text("phone_number"), text("email"), text("identifier"));
    if std::mem::take(&mut state.race_on_create) {
        state.add_contact(phone, email, None, "Somebody else's");
    }
    if phone.is_some_and(|p| !p.starts_with('+') || p.len() > 16) {
        return invalid("Phone number should be in e164 format", "phone_number");
    }
    if email.is_some_and(|e| !e.contains('@')) {
        return invalid("Email Invalid email", "email");
    }
    if let Some(taken) = state.taken(phone, email, identifier) {
        return (422, taken);
    }
    let mut contact_inbox = json!({"inbox": null, "source_id": null});
    if let Some(id) = body["inbox_id"].as_u64() {
        let Some(inbox) = state.inbox(id) else { return not_found() };
        let candidate = Contact {
            id: 0,
            name: String::new(),
            phone: phone.map(str::to_owned),
            email: email.map(str::to_owned),
            identifier: None,
        };
        match inbox.source_id(&candidate) {
            Ok(source_id) => contact_inbox = json!({"inbox": slim(inbox), "source_id": source_id}),
            Err(missing) => return missing_parameter(missing),
        }
    }
    let id = state.add_contact(phone, email, identifier, text("name").unwrap_or(""));
    let contact = state.contact(id).map(|c| state.show_contact(c));
    (200, json!({"payload": {"contact": contact, "contact_inbox": contact_inbox}}))
}

fn contact_conversations(state: &State, contact: u64) -> Reply {
    if state.contact(contact).is_none() {
        return not_found();
    }
    let theirs = state.conversations.iter().rev().filter(|c| c.contact == contact).take(20);
    let shown: Vec<_> = theirs.map(|c| state.show_conversation(c)).collect();
    (200, json!({"payload": shown}))
}

fn create_conversation(state: &mut State, body: &Value) -> Reply {
    let (Some(inbox), Some(contact)) = (body["inbox_id"].as_u64(), body["contact_id"].as_u64()) else {
        return not_found();
    };
    let (Some(inbox), Some(contact)) = (state.inbox(inbox), state.contact(contact).cloned()) else {
        return not_found();
    };
    match inbox.source_id(&contact) {
        Ok(_) => {}
        Err("") => return (500, json!({"error": "Unsupported operation for this channel"})),
        Err(missing) => return missing_parameter(missing),
    }
    if let Some(fault) = bad_message(&body["message"], inbox) {
        return fault;
    }
    let status = if body["status"] == "pending" { Status::Pending } else { Status::Open };
    let id = state.add_conversation(contact.id, inbox, status);
    if let Value::Object(_) = &body["additional_attributes"] {
        state.conversation_mut(id).additional_attributes = body["additional_attributes"].clone();
    }
    if let Value::Object(_) = &body["message"] {
        state.add_message(id, body["message"].clone(), true);
    }
    state.conversation(id).map_or_else(not_found, |c| (200, state.show_conversation(c)))
}

fn create_message(state: &mut State, call: &Call<'_>) -> Reply {
    let Some(inbox) = state.conversation(call.id).map(|c| c.inbox) else { return not_found() };
    if let Some(fault) = bad_message(call.body, inbox) {
        return fault;
    }
    let id = state.add_message(call.id, call.body.clone(), call.body["message_type"] != "incoming");
    state.messages.iter().find(|m| m.id == id).map_or_else(not_found, |m| (200, state.show_message(m)))
}

/// Everything that is wrong with a message is one shape of 422.
fn bad_message(message: &Value, inbox: Inbox) -> Option<Reply> {
    let failed = |text: &str| Some((422, json!({"error": text})));
    if message["content"].as_str().is_some_and(|c| c.chars().count() > 150_000) {
        return failed("Validation failed: Content is too long (maximum is 150000 characters)");
    }
    if message["message_type"] == "incoming" && inbox != Inbox::Api {
        return failed("Incoming messages are only allowed in Api inboxes");
    }
    match message["content_type"].as_str().unwrap_or("text") {
        "text" | "cards" | "form" | "article" | "input_email" | "input_text" | "input_textarea" => None,
        "input_select" => {
            let items = message["content_attributes"]["items"].as_array().cloned().unwrap_or_default();
            let odd = |item: &Value| item.as_object().is_none_or(|o| o.keys().any(|k| k != "title" && k != "value"));
            if items.is_empty() {
                return failed("Validation failed: Content attributes At least one item is required.");
            }
            items.iter().any(odd).then(|| {
                (422, json!({"error": "Validation failed: Content attributes contains invalid keys for items : [...]"}))
            })
        }
        other => failed(&format!("'{other}' is not a valid content_type")),
    }
}

/// The newest twenty, oldest first; `before` turns back.
fn list_messages(state: &State, call: &Call<'_>) -> Reply {
    if state.conversation(call.id).is_none() {
        return not_found();
    }
    let before = parameter(call.query, "before").and_then(|id| id.parse().ok()).unwrap_or(u64::MAX);
    let theirs = state.messages.iter().rev().filter(|m| m.conversation == call.id && m.id < before).take(20);
    let mut shown: Vec<_> = theirs.map(|m| state.show_message(m)).collect();
    shown.reverse();
    (200, json!({"meta": {"labels": []}, "payload": shown}))
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

fn not_found() -> Reply {
    (404, json!({"error": "Resource could not be found"}))
}

fn invalid(text: &str, attribute: &str) -> Reply {
    (422, json!({"message": text, "attributes": [attribute]}))
}

fn missing_parameter(what: &str) -> Reply {
    (422, json!({"error": format!("param is missing or the value is empty: {what}")}))
}

fn reply(status: u16, json: &Value) -> Response {
    let mut response = axum::Json(json).into_response();
    *response.status_mut() = axum::http::StatusCode::from_u16(status).expect("tests use real statuses");
    response
}

fn page(status: u16, kind: &'static str, text: &'static str) -> Response {
    let builder = Response::builder().status(status).header(header::CONTENT_TYPE, kind);
    builder.body(Body::from(text)).expect("tests use real statuses")
}

/// The server's clock also shows in its `Date`.
#[expect(clippy::disallowed_methods, reason = "a double of a real server")]
fn dated(mut response: Response, ahead: i64) -> Response {
    let now = std::time::SystemTime::now();
    let offset = std::time::Duration::from_secs(ahead.unsigned_abs());
    let date = httpdate::fmt_http_date(if ahead < 0 { now - offset } else { now + offset });
    response.headers_mut().insert(header::DATE, date.parse().expect("a date is a header value"));
    response
}
