//! Contacts: what may be said about a person, checked, and what it changes in what is stored.

pub mod consent;
mod save;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::address::{self, AddressError};
use crate::app::App;
use crate::clock::Timestamp;
use crate::error::{Fault, Result};
use crate::fold::fold;
use crate::ids::ContactId;
use crate::json::{Given, OneOrMany, given, given_object};
use crate::tenant::Tenant;

pub use consent::{Consent, ConsentBody};
pub use save::{Import, Incoming, Saved, save};

/// A stored person.
#[derive(Debug, Clone, PartialEq)]
pub struct Contact {
    pub id: ContactId,
    /// The app's own id.
    pub external_id: Option<String>,
    pub name: Option<String>,
    /// E.164, in the one spelling of all its aliases.
    pub phone: Option<String>,
    pub email: Option<String>,
    pub locale: Option<String>,
    pub timezone: Option<String>,
    /// A JSON object, as text.
    pub attributes: String,
    pub preferences: Preferences,
    /// What holds now, at most one for each channel and category.
    pub consents: Vec<Consent>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub erased_at: Option<Timestamp>,
}

/// What a person's appointments come to at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// All of them.
    pub count: i64,
    pub completed: i64,
    pub cancelled: i64,
    pub no_shows: i64,
    /// When the last one began that was neither cancelled nor missed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_at: Option<Timestamp>,
    /// When the next one begins.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Timestamp>,
}

/// What a script may know of a contact. What it does not ask for may be left empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    pub id: String,
    pub external_id: Option<String>,
    pub name: Option<String>,
    pub phone: Option<String>,
    pub email: Option<String>,
    pub locale: Option<String>,
    pub timezone: Option<String>,
    /// JSON, as it is stored; so are the next two.
    pub attributes: String,
    pub preferences: String,
    pub consents: String,
    pub created_at: Timestamp,
    pub figures: Figures,
}

/// How a person wants to be written to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Preferences {
    /// Channels in the person's order; those left out come after.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<String>,
}

/// A person, as an app or a file tells it. In a PUT what is absent is emptied, in a PATCH and an import it stays; null
/// empties. What a contact was answered with may be sent back whole: what can't be changed is ignored.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContactBody {
    /// The app's own id of this person.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub external_id: Given<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "Ana López")]
    pub name: Given<String>,
    /// International, or national to the tenant's country.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "33 1234 5678")]
    pub phone: Given<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub email: Given<String>,
    /// A language tag.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "es-MX")]
    pub locale: Given<String>,
    /// An IANA zone.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "America/Mexico_City")]
    pub timezone: Given<String>,
    /// Whatever else is known, for templates and segments. A PATCH changes the keys it names; null removes one.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Object>)]
    pub attributes: Given<Map<String, Value>>,
    #[serde(default, deserialize_with = "given_object")]
    #[schema(value_type = Option<Preferences>)]
    pub preferences: Given<Preferences>,
    /// What the person agreed to or refused; added to the history.
    #[schema(value_type = Option<Vec<ConsentBody>>)]
    pub consents: Option<OneOrMany<ConsentBody>>,

    #[schema(read_only, value_type = Option<String>)]
    pub id: Option<IgnoredAny>,
    #[schema(read_only, value_type = Option<Object>)]
    pub appointments: Option<IgnoredAny>,
    #[schema(read_only, value_type = Option<String>)]
    pub created_at: Option<IgnoredAny>,
    #[schema(read_only, value_type = Option<String>)]
    pub updated_at: Option<IgnoredAny>,
    #[schema(read_only, value_type = Option<String>)]
    pub erased_at: Option<IgnoredAny>,
}

/// A body whose fields are in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    pub external_id: Given<String>,
    pub name: Given<String>,
    pub phone: Given<String>,
    pub email: Given<String>,
    pub locale: Given<String>,
    pub timezone: Given<String>,
    pub attributes: Given<Map<String, Value>>,
    pub preferences: Given<Preferences>,
    pub consents: Vec<Consent>,
}

/// What a body is judged by.
pub struct Rules<'a> {
    pub app: &'a App,
    pub tenant: &'a Tenant,
    pub now: Timestamp,
}

const LONGEST_ID: usize = 200;
const LARGEST_ATTRIBUTES: usize = 16 * 1024;

impl ContactBody {
    /// Every fault at once.
    pub fn check(self, rules: &Rules<'_>) -> Result<Change, Vec<Fault>> {
        let mut faults = Vec::new();
        let country = rules.tenant.levels(None).country(&rules.tenant.platform).value;
        let external_id =
            text(self.external_id, "/externalId", &mut faults, |t| address::line(t, "externalId", LONGEST_ID));
        let name = text(self.name, "/name", &mut faults, address::name);
        let phone = text(self.phone, "/phone", &mut faults, |t| address::phone(t, Some(country)));
        let email = text(self.email, "/email", &mut faults, address::email);
        let locale = text(self.locale, "/locale", &mut faults, address::locale);
        let timezone = match self.timezone {
            // Elsewhere an empty text is as good as null; a zone that is none is a mistake.
            Some(Some(zone)) if zone.trim().is_empty() => {
                faults.extend(address::timezone(&zone).err().map(|e| Fault::new("/timezone", e.code, e.detail)));
                None
            }
            given => text(given, "/timezone", &mut faults, address::timezone),
        };
        if let Some(Some(attributes)) = &self.attributes {
            check_attributes(attributes, &mut faults);
        }
        if let Some(Some(preferences)) = &self.preferences {
            check_preferences(preferences, rules, &mut faults);
        }
        let given = self.consents.map(OneOrMany::into_vec).unwrap_or_default();
        let mut consents = Vec::with_capacity(given.len());
        if given.len() > MOST_CONSENTS {
            let detail = format!("must hold at most {MOST_CONSENTS} consents");
            faults.push(Fault::new("/consents", "item_count", detail));
        } else {
            for (n, consent) in given.into_iter().enumerate() {
                consents.extend(consent.check(&format!("/consents/{n}"), rules, &mut faults));
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let (attributes, preferences) = (self.attributes, self.preferences);
        Ok(Change { external_id, name, phone, email, locale, timezone, attributes, preferences, consents })
    }
}

const MOST_CONSENTS: usize = 50;

/// A text field, checked where it holds something; an empty one is as good as null.
pub(crate) fn text(
    given: Given<String>,
    pointer: &str,
    faults: &mut Vec<Fault>,
    check: impl Fn(&str) -> Result<String, AddressError>,
) -> Given<String> {
    let filled = match given? {
        Some(text) if !text.trim().is_empty() => text,
        _ => return Some(None),
    };
    match check(&filled) {
        Ok(checked) => Some(Some(checked)),
        Err(e) => {
            faults.push(Fault::new(pointer, e.code, e.detail));
            None
        }
    }
}

pub(crate) fn check_attributes(attributes: &Map<String, Value>, faults: &mut Vec<Fault>) {
    let text = crate::store::to_json(attributes);
    if text.len() > LARGEST_ATTRIBUTES {
        faults.push(too_large());
    }
    if text.contains("\\u0000") {
        faults.push(Fault::new("/attributes", "control_characters", "must not hold the NUL character"));
    }
}

fn too_large() -> Fault {
    Fault::new("/attributes", "too_long", "must not have more than 16 KiB of JSON in all")
}

fn check_preferences(preferences: &Preferences, rules: &Rules<'_>, faults: &mut Vec<Fault>) {
    for (n, channel) in preferences.channels.iter().enumerate() {
        let pointer = format!("/preferences/channels/{n}");
        if let Some(fault) = rules.tenant.channels.unless_known(channel, || pointer.clone()) {
            faults.push(fault);
        } else if preferences.channels[..n].contains(channel) {
            faults.push(Fault::new(pointer, "duplicate", format!("{channel} is named twice")));
        }
    }
}

/// What becomes of fields that were not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// They are emptied.
    Replace,
    /// They stay.
    Merge,
}

impl Contact {
    pub fn new(now: Timestamp) -> Self {
        Self {
            id: ContactId::fresh(),
            external_id: None,
            name: None,
            phone: None,
            email: None,
            locale: None,
            timezone: None,
            attributes: "{}".into(),
            preferences: Preferences::default(),
            consents: Vec::new(),
            created_at: now,
            updated_at: now,
            erased_at: None,
        }
    }

    /// Takes a change in; returns the consents that are new to the history.
    pub fn apply(&mut self, change: Change, how: How, now: Timestamp) -> Result<Vec<Consent>, Fault> {
        // Only a word for it takes an app's id away.
        if let Some(external_id) = change.external_id {
            self.external_id = external_id;
        }
        for (slot, given) in [
            (&mut self.name, change.name),
            (&mut self.phone, change.phone),
            (&mut self.email, change.email),
            (&mut self.locale, change.locale),
            (&mut self.timezone, change.timezone),
        ] {
            match given {
                Some(value) => *slot = value,
                None if how == How::Replace => *slot = None,
                None => {}
            }
        }
        self.change_attributes(change.attributes, how)?;
        match change.preferences {
            Some(preferences) => self.preferences = preferences.unwrap_or_default(),
            None if how == How::Replace => self.preferences = Preferences::default(),
            None => {}
        }
        self.updated_at = now;
        Ok(change.consents.into_iter().filter(|consent| consent::note(&mut self.consents, consent)).collect())
    }

    fn change_attributes(&mut self, given: Given<Map<String, Value>>, how: How) -> Result<(), Fault> {
        let changes = match given {
            Some(Some(changes)) => changes,
            None if how == How::Merge => return Ok(()),
            _ => {
                self.attributes = "{}".into();
                return Ok(());
            }
        };
        let mut attributes: Map<String, Value> = match how {
            How::Merge => serde_json::from_str(&self.attributes).unwrap_or_default(),
            How::Replace => Map::new(),
        };
        attributes.extend(changes);
        attributes.retain(|_, value| !value.is_null());
        let text = crate::store::to_json(&attributes);
        if text.len() > LARGEST_ATTRIBUTES {
            return Err(too_large());
        }
        self.attributes = text;
        Ok(())
    }

    /// What a search looks through.
    pub fn search_text(&self) -> String {
        let words: Vec<&str> = [&self.name, &self.external_id, &self.phone, &self.email]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        fold(&words.join(" "))
    }
}
