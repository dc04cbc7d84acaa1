//! What the columns of a CSV mean: our own names, the headers people's programs write in Spanish and English, and, for
//! contacts, whatever else there is as attributes.

use serde_json::{Map, Value};

use super::ColumnItem;
use crate::fold::fold;

/// A field and the headers it goes by: without case, accents, spaces and punctuation.
pub struct Known {
    pub field: &'static str,
    pub headers: &'static [&'static str],
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// The cell holds JSON, as an export writes it.
    Json,
    /// Read by nobody: what an answer or an export has beside what can be set.
    Ignored,
}

pub const fn known(field: &'static str, headers: &'static [&'static str]) -> Known {
    Known { field, headers, kind: Kind::Text }
}

#[derive(Debug, Clone, PartialEq)]
enum Meaning {
    Text(&'static str),
    Json(&'static str),
    Attribute(String),
    /// Yes or no to marketing on this channel.
    Consent(String),
    Ignored,
}

/// The columns of one file.
#[derive(Debug)]
pub struct Columns(Vec<(String, Meaning)>);

impl Columns {
    /// Reads a header line; the error is the doubled field.
    pub fn read<'a>(headers: impl Iterator<Item = &'a str>, known: &[Known]) -> Result<Self, String> {
        let headers: Vec<&str> = headers.map(str::trim).collect();
        let folded: Vec<String> = headers.iter().map(|h| squeeze(h)).collect();
        // An export has both; elsewhere "id" is the writer's own.
        let own_id = !folded.iter().any(|h| h == "externalid");
        let mut columns: Vec<(String, Meaning)> = Vec::with_capacity(headers.len());
        for (header, folded) in headers.iter().zip(&folded) {
            let meaning = if folded == "id" {
                if own_id { Meaning::Text("externalId") } else { Meaning::Ignored }
            } else {
                meaning(header, folded, known)
            };
            if meaning != Meaning::Ignored && columns.iter().any(|(_, m)| *m == meaning) {
                return Err((*header).to_owned());
            }
            columns.push(((*header).to_owned(), meaning));
        }
        Ok(Self(columns))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn has(&self, field: &str) -> bool {
        self.0.iter().any(|(_, m)| matches!(m, Meaning::Text(f) | Meaning::Json(f) if *f == field))
    }

    pub fn items(&self) -> Vec<ColumnItem> {
        let field = |meaning: &Meaning| match meaning {
            Meaning::Text(field) | Meaning::Json(field) => Some((*field).to_owned()),
            Meaning::Attribute(name) => Some(format!("attributes.{name}")),
            Meaning::Consent(channel) => Some(format!("consent.{channel}")),
            Meaning::Ignored => None,
        };
        self.0.iter().map(|(column, m)| ColumnItem { column: column.clone(), field: field(m) }).collect()
    }

    /// A row as the JSON object that says the same. Blank cells say nothing.
    pub fn object<'a>(&self, cells: impl Iterator<Item = &'a str>) -> Result<Map<String, Value>, (String, String)> {
        let mut object = Map::new();
        let mut consents = Vec::new();
        for ((column, meaning), cell) in self.0.iter().zip(cells) {
            let cell = cell.trim();
            if cell.is_empty() {
                continue;
            }
            match meaning {
                Meaning::Text("lastName") => {
                    let first = object.get("name").and_then(Value::as_str).unwrap_or_default();
                    let whole = format!("{first} {cell}").trim().to_owned();
                    object.insert("name".into(), whole.into());
                }
                Meaning::Text(field) => drop(object.insert((*field).into(), cell.into())),
                Meaning::Json(field) => {
                    let value = serde_json::from_str(cell).map_err(|e| (format!("/{field}"), e.to_string()))?;
                    match (object.get_mut(*field), value) {
                        (Some(Value::Object(there)), Value::Object(more)) => there.extend(more),
                        (_, value) => drop(object.insert((*field).into(), value)),
                    }
                }
                Meaning::Attribute(name) => {
                    let attributes = object.entry("attributes").or_insert_with(|| Value::Object(Map::new()));
                    if let Value::Object(attributes) = attributes {
                        attributes.insert(name.clone(), cell.into());
                    }
                }
                Meaning::Consent(channel) => {
                    let granted = yes_or_no(cell)
                        .ok_or_else(|| ("/consents".to_owned(), format!("{column}: write yes or no (sí, no, 1, 0)")))?;
                    consents.push(serde_json::json!({"channel": channel, "granted": granted, "source": "import"}));
                }
                Meaning::Ignored => {}
            }
        }
        if !consents.is_empty() && !object.contains_key("consents") {
            object.insert("consents".into(), consents.into());
        }
        Ok(object)
    }
}

/// `Correo electrónico` and `correo_electronico` are one header.
fn squeeze(header: &str) -> String {
    fold(header).chars().filter(|c| c.is_alphanumeric() || *c == '.').collect()
}

fn meaning(header: &str, squeezed: &str, known: &[Known]) -> Meaning {
    let found =
        known.iter().find(|k| squeeze(k.field) == squeezed || k.headers.contains(&squeezed.replace('.', "").as_str()));
    if let Some(known) = found {
        return match known.kind {
            Kind::Text => Meaning::Text(known.field),
            Kind::Json => Meaning::Json(known.field),
            Kind::Ignored => Meaning::Ignored,
        };
    }
    let prefixed = |prefix: &str| header.get(..prefix.len()).filter(|p| p.eq_ignore_ascii_case(prefix));
    if prefixed("consent.").is_some() {
        return Meaning::Consent(squeezed["consent.".len()..].to_owned());
    }
    let name = if prefixed("attributes.").is_some() { &header["attributes.".len()..] } else { header };
    // A column without a name can't be asked for by anybody.
    if name.is_empty() { Meaning::Ignored } else { Meaning::Attribute(name.to_owned()) }
}

fn yes_or_no(cell: &str) -> Option<bool> {
    match fold(cell).as_str() {
        "si" | "s" | "yes" | "y" | "true" | "verdadero" | "1" | "x" => Some(true),
        "no" | "n" | "false" | "falso" | "0" => Some(false),
        _ => None,
    }
}
