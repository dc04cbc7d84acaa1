//! A contact written down for a trial: in a case, in the playground.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::contact::{Facts, Figures};
use crate::json;
use crate::store::to_json;

/// A contact as `GET /v1/contacts/{id}` shows it, or as much of one as matters.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subject {
    id: Option<String>,
    external_id: Option<String>,
    #[schema(example = "Ana López")]
    name: Option<String>,
    phone: Option<String>,
    email: Option<String>,
    locale: Option<String>,
    timezone: Option<String>,
    #[schema(value_type = Option<Object>)]
    attributes: Option<Map<String, Value>>,
    #[schema(value_type = Option<Object>)]
    preferences: Option<Map<String, Value>>,
    #[schema(value_type = Option<Vec<Object>>)]
    consents: Option<Vec<Value>>,
    #[serde(default, deserialize_with = "json::optional_object")]
    appointments: Option<SubjectFigures>,
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Timestamp>,
    #[schema(read_only, value_type = Option<String>)]
    pub updated_at: Option<IgnoredAny>,
    #[schema(read_only, value_type = Option<String>)]
    pub erased_at: Option<IgnoredAny>,
}

/// What a contact's appointments come to.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubjectFigures {
    #[serde(default)]
    count: i64,
    #[serde(default)]
    completed: i64,
    #[serde(default)]
    cancelled: i64,
    #[serde(default)]
    no_shows: i64,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    next_at: Option<Timestamp>,
    /// Instead of `lastAt`.
    days_since_last: Option<u16>,
}

impl Subject {
    /// Whom a script is tried on where there is nobody yet.
    pub fn example() -> Self {
        Self {
            id: Some("example".into()),
            name: Some("Ana López".into()),
            phone: Some("+523312345678".into()),
            email: Some("ana@example.com".into()),
            locale: Some("es-MX".into()),
            appointments: Some(SubjectFigures {
                count: 12,
                completed: 10,
                cancelled: 1,
                no_shows: 1,
                days_since_last: Some(30),
                ..SubjectFigures::default()
            }),
            ..Self::default()
        }
    }

    pub fn into_facts(self, now: Timestamp) -> Facts {
        let figures = self.appointments.unwrap_or_default();
        let days_ago = |days: u16| Timestamp(now.0 - i64::from(days) * 24 * 3600 * 1000);
        Facts {
            id: self.id.unwrap_or_default(),
            external_id: self.external_id,
            name: self.name,
            phone: self.phone,
            email: self.email,
            locale: self.locale,
            timezone: self.timezone,
            attributes: to_json(&self.attributes.unwrap_or_default()),
            preferences: to_json(&self.preferences.unwrap_or_default()),
            consents: to_json(&self.consents.unwrap_or_default()),
            created_at: self.created_at.unwrap_or(now),
            figures: Figures {
                count: figures.count,
                completed: figures.completed,
                cancelled: figures.cancelled,
                no_shows: figures.no_shows,
                last_at: figures.last_at.or(figures.days_since_last.map(days_ago)),
                next_at: figures.next_at,
            },
        }
    }
}
