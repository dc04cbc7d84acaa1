//! POST /v1/notify and what follows from it, through the whole path: accept, deliver, look at it, act upon it.

mod acting;
mod chains;
mod channels;
mod dry_run;
mod listing;
mod pressure;
mod repeats;
mod routing;
mod sending;
mod suppressions;
mod times;
mod wishes;
mod words;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Log, Shop, TestApp, hello, on_one_thread};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// The usual request with some fields changed; null takes one away.
fn with(changes: Value) -> Value {
    let mut body = hello();
    let fields = body.as_object_mut().unwrap();
    fields.extend(changes.as_object().unwrap().clone());
    fields.retain(|_, value| !value.is_null());
    body
}

fn texts(values: &[Value], field: &str) -> Vec<String> {
    values.iter().map(|v| v[field].as_str().unwrap_or_default().to_owned()).collect()
}
