//! A contact as scripts see it: a type with fields, of which only those that are asked for are read.

use std::sync::{Arc, OnceLock};

use chrono_tz::Tz;
use rhai::{Array, Dynamic, Engine, ImmutableString, Map};
use serde_json::Value;

use super::moment::Moment;
use super::{natives, value};
use crate::clock::Timestamp;
use crate::contact::Facts;

/// Cheap to clone.
#[derive(Clone)]
pub struct Person(Arc<Known>);

struct Known {
    facts: Facts,
    /// As of which moment the figures hold.
    now: Moment,
    attributes: OnceLock<Map>,
}

/// What there is to ask of a contact, for whoever mistypes it.
pub(super) const FIELDS: [&str; 13] = [
    "id",
    "externalId",
    "name",
    "phone",
    "email",
    "locale",
    "timezone",
    "createdAt",
    "attributes",
    "tags",
    "preferences",
    "consents",
    "appointments",
];

/// And of their appointments.
pub(super) const FIGURES: [&str; 7] =
    ["count", "completed", "cancelled", "noShows", "lastAt", "nextAt", "daysSinceLast"];

impl Person {
    /// `now` is the moment the figures are of; its zone is the one in which the contact's times are read.
    pub fn new(facts: Facts, now: Moment) -> Self {
        Self(Arc::new(Known { facts, now, attributes: OnceLock::new() }))
    }

    pub fn facts(&self) -> &Facts {
        &self.0.facts
    }

    fn moment(&self, at: Timestamp) -> Moment {
        Moment::new(at, self.zone())
    }

    fn zone(&self) -> Tz {
        self.0.now.zone
    }

    fn attributes(&self) -> &Map {
        self.0.attributes.get_or_init(|| json(&self.0.facts.attributes).try_cast::<Map>().unwrap_or_default())
    }
}

fn json(text: &str) -> Dynamic {
    serde_json::from_str::<Value>(text).map_or(Dynamic::UNIT, |json| value::to_dynamic(&json))
}

/// What else is known of a contact. A missing one is `()`: hardly two contacts have the same.
#[derive(Clone)]
struct Attributes(Person);

/// The figures of a contact's appointments.
#[derive(Clone)]
struct Appointments(Person);

impl Attributes {
    fn get(&self, name: &str) -> Dynamic {
        self.0.attributes().get(name).cloned().unwrap_or(Dynamic::UNIT)
    }
}

impl Appointments {
    fn moment(&self, at: Option<Timestamp>) -> Dynamic {
        at.map_or(Dynamic::UNIT, |at| Dynamic::from(self.0.moment(at)))
    }
}

fn text(text: Option<&String>) -> Dynamic {
    text.map_or(Dynamic::UNIT, |text| ImmutableString::from(text.as_str()).into())
}

pub(super) fn register(engine: &mut Engine) {
    engine
        .register_type_with_name::<Person>("Contact")
        .register_get("id", |p: &mut Person| ImmutableString::from(p.facts().id.as_str()))
        .register_get("externalId", |p: &mut Person| text(p.facts().external_id.as_ref()))
        .register_get("name", |p: &mut Person| text(p.facts().name.as_ref()))
        .register_get("phone", |p: &mut Person| text(p.facts().phone.as_ref()))
        .register_get("email", |p: &mut Person| text(p.facts().email.as_ref()))
        .register_get("locale", |p: &mut Person| text(p.facts().locale.as_ref()))
        .register_get("timezone", |p: &mut Person| text(p.facts().timezone.as_ref()))
        .register_get("createdAt", |p: &mut Person| p.moment(p.facts().created_at))
        .register_get("attributes", |p: &mut Person| Attributes(p.clone()))
        .register_get("tags", |p: &mut Person| {
            Attributes(p.clone()).get("tags").into_array().unwrap_or_else(|_| Array::new())
        })
        .register_get("preferences", |p: &mut Person| json(&p.facts().preferences))
        .register_get("consents", |p: &mut Person| json(&p.facts().consents))
        .register_get("appointments", |p: &mut Person| Appointments(p.clone()))
        .register_fn("to_string", |p: &mut Person| format!("contact {}", p.facts().id))
        .register_fn("to_debug", |p: &mut Person| format!("contact {}", p.facts().id));
    engine
        .register_type_with_name::<Attributes>("Attributes")
        .register_indexer_get(|a: &mut Attributes, name: &str| a.get(name))
        .register_fn("contains", |a: &mut Attributes, name: &str| a.0.attributes().contains_key(name))
        .register_fn("keys", |a: &mut Attributes| -> Array {
            a.0.attributes().keys().map(|name| Dynamic::from(name.to_string())).collect()
        })
        .register_fn("pick", |a: Attributes, path: &str| {
            natives::pick(Dynamic::from_map(a.0.attributes().clone()), path)
        });
    engine
        .register_type_with_name::<Appointments>("Appointments")
        .register_get("count", |a: &mut Appointments| a.0.facts().figures.count)
        .register_get("completed", |a: &mut Appointments| a.0.facts().figures.completed)
        .register_get("cancelled", |a: &mut Appointments| a.0.facts().figures.cancelled)
        .register_get("noShows", |a: &mut Appointments| a.0.facts().figures.no_shows)
        .register_get("lastAt", |a: &mut Appointments| a.moment(a.0.facts().figures.last_at))
        .register_get("nextAt", |a: &mut Appointments| a.moment(a.0.facts().figures.next_at))
        .register_get("daysSinceLast", |a: &mut Appointments| {
            let days = a.0.facts().figures.last_at.map(|last| a.0.0.now.days_since(last));
            days.map_or(Dynamic::UNIT, Dynamic::from)
        });
}
