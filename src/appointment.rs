//! Appointments as data: what may be said about one, checked, and written so that its contact's figures stay true.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{LocalResult, NaiveDateTime, TimeDelta, TimeZone};
use chrono_tz::Tz;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::AnyConnection;
use utoipa::ToSchema;

use crate::address;
use crate::clock::Timestamp;
use crate::contact::{Import, Rules, check_attributes, text};
use crate::error::Fault;
use crate::ids::{ContactId, TenantId};
use crate::store::appointments::{self as store, Difference};
use crate::store::contacts::{self, By, Key};
use crate::store::{Engine, StoreResult, to_json};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AppointmentStatus {
    Requested,
    Confirmed,
    Cancelled,
    Completed,
    NoShow,
}

impl AppointmentStatus {
    pub const ALL: [Self; 5] = [Self::Requested, Self::Confirmed, Self::Cancelled, Self::Completed, Self::NoShow];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "REQUESTED",
            Self::Confirmed => "CONFIRMED",
            Self::Cancelled => "CANCELLED",
            Self::Completed => "COMPLETED",
            Self::NoShow => "NO_SHOW",
        }
    }

    pub fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// A stored appointment.
#[derive(Debug, Clone, PartialEq)]
pub struct Appointment {
    /// The app's own id.
    pub external_id: String,
    pub contact_id: ContactId,
    pub branch_id: Option<String>,
    pub starts_at: Timestamp,
    pub ends_at: Option<Timestamp>,
    pub status: AppointmentStatus,
    pub service: Option<String>,
    pub professional: Option<String>,
    /// A JSON object, as text.
    pub attributes: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// An appointment, as an app or a file tells it; what is absent is emptied.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppointmentBody {
    /// The app's own id; in a PUT that of the path.
    pub external_id: Option<String>,
    /// Whose it is: a contact's id or externalId. In its place the contact's phone or e-mail address may stand.
    pub contact_id: Option<String>,
    pub phone: Option<String>,
    pub email: Option<String>,
    /// RFC 3339 with an offset.
    #[schema(required, format = DateTime, example = "2026-03-03T14:00:00-06:00")]
    pub starts_at: Option<String>,
    #[schema(format = DateTime)]
    pub ends_at: Option<String>,
    /// Absent: `CONFIRMED`.
    #[schema(value_type = Option<AppointmentStatus>)]
    pub status: Option<String>,
    #[schema(example = "Manicure y Pedicure")]
    pub service: Option<String>,
    pub professional: Option<String>,
    pub branch_id: Option<String>,
    /// Whatever else is known, for templates and rules.
    #[schema(value_type = Option<Object>)]
    pub attributes: Option<Map<String, Value>>,

    #[schema(read_only, value_type = Option<String>)]
    pub created_at: Option<IgnoredAny>,
    #[schema(read_only, value_type = Option<String>)]
    pub updated_at: Option<IgnoredAny>,
}

/// A body whose fields are in order; whom it is about is still to be found.
#[derive(Debug, Clone)]
pub struct NewAppointment {
    /// The line of the file it came from.
    pub line: i64,
    pub whose: Whose,
    /// With the contact left open.
    pub appointment: Appointment,
}

#[derive(Debug, Clone)]
pub enum Whose {
    /// A contact's id or external id.
    Id(String),
    Phone(String),
    /// In lower case.
    Email(String),
}

/// Whether a time may come without an offset: then it is the branch's (or tenant's) local time, as files have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    Absolute,
    OrLocal,
}

/// 1970 to 2200: beyond, somebody mistyped.
const LAST: i64 = 7_258_118_400_000;

impl AppointmentBody {
    /// Every fault at once.
    pub fn check(self, rules: &Rules<'_>, times: Times, line: i64) -> Result<NewAppointment, Vec<Fault>> {
        let mut faults = Vec::new();
        let field = |given: Option<String>, pointer: &str, most: usize, faults: &mut Vec<Fault>| {
            text(Some(given), pointer, faults, |t| address::line(t, &pointer[1..], most)).flatten()
        };
        let external_id = field(self.external_id, "/externalId", 200, &mut faults);
        if external_id.is_none() && faults.is_empty() {
            faults.push(Fault::new("/externalId", "required", "must name the appointment"));
        }
        let branch_id = field(self.branch_id, "/branchId", 200, &mut faults);
        if branch_id.as_ref().is_some_and(|b| !rules.tenant.branches.contains_key(b)) {
            faults.push(Fault::new("/branchId", "unknown_branch", "this tenant has no such branch"));
        }
        let levels = rules.tenant.levels(branch_id.as_deref());
        let zone = levels.timezone(&rules.tenant.platform).value.parse().unwrap_or(Tz::UTC);
        let mut time = |given: Option<String>, pointer: &str| match moment(&given?, zone, times) {
            Some(at) if (0..LAST).contains(&at.0) => Some(at),
            Some(_) => {
                faults.push(Fault::new(pointer, "out_of_range", "must be between 1970 and 2200"));
                None
            }
            None => {
                let detail = "must be RFC 3339 with an offset, e.g. 2026-03-01T09:00:00-06:00";
                faults.push(Fault::new(pointer, "timestamp", detail));
                None
            }
        };
        let missing_start = self.starts_at.is_none();
        let (starts_at, ends_at) = (time(self.starts_at, "/startsAt"), time(self.ends_at, "/endsAt"));
        if missing_start {
            faults.push(Fault::new("/startsAt", "required", "must say when it begins"));
        }
        if let (Some(starts), Some(ends)) = (starts_at, ends_at)
            && ends < starts
        {
            faults.push(Fault::new("/endsAt", "out_of_range", "must not be before startsAt"));
        }
        let status = match self.status.as_deref().map(AppointmentStatus::of) {
            None => AppointmentStatus::Confirmed,
            Some(Some(status)) => status,
            Some(None) => {
                let known: Vec<_> = AppointmentStatus::ALL.iter().map(|s| s.as_str()).collect();
                let detail = format!("must be one of: {}", known.join(", "));
                faults.push(Fault::new("/status", "out_of_range", detail));
                AppointmentStatus::Confirmed
            }
        };
        let service = field(self.service, "/service", 200, &mut faults);
        let professional = field(self.professional, "/professional", 200, &mut faults);
        let attributes = self.attributes.unwrap_or_default();
        check_attributes(&attributes, &mut faults);
        let whose =
            whose(self.contact_id, self.phone, self.email, levels.country(&rules.tenant.platform).value, &mut faults);
        match (external_id, starts_at, whose) {
            (Some(external_id), Some(starts_at), Some(whose)) if faults.is_empty() => {
                let appointment = Appointment {
                    external_id,
                    contact_id: ContactId(String::new().into()),
                    branch_id,
                    starts_at,
                    ends_at,
                    status,
                    service,
                    professional,
                    attributes: to_json(&attributes),
                    created_at: rules.now,
                    updated_at: rules.now,
                };
                Ok(NewAppointment { line, whose, appointment })
            }
            _ => Err(faults),
        }
    }
}

fn whose(
    contact_id: Option<String>,
    phone: Option<String>,
    email: Option<String>,
    country: &str,
    faults: &mut Vec<Fault>,
) -> Option<Whose> {
    let filled = |given: Option<String>| given.filter(|text| !text.trim().is_empty());
    let (pointer, parsed) = match (filled(contact_id), filled(phone), filled(email)) {
        (Some(id), _, _) => ("/contactId", address::line(&id, "contactId", 200).map(Whose::Id)),
        (None, Some(phone), _) => ("/phone", address::phone(&phone, Some(country)).map(Whose::Phone)),
        (None, None, Some(email)) => ("/email", address::email(&email).map(|e| Whose::Email(e.to_lowercase()))),
        (None, None, None) => {
            faults.push(Fault::new("/contactId", "required", "must say whose it is"));
            return None;
        }
    };
    parsed.map_err(|e| faults.push(Fault::new(pointer, e.code, e.detail))).ok()
}

/// `2026-03-01T09:00:00-06:00`, or where allowed `2026-03-01 09:00` on the clocks of the zone.
fn moment(text: &str, zone: Tz, times: Times) -> Option<Timestamp> {
    let text = text.trim();
    if let Some(at) = Timestamp::parse(text) {
        return Some(at);
    }
    if times == Times::Absolute {
        return None;
    }
    let forms = ["%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"];
    let local = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())?;
    // A time that the clocks skip is that of the gap's end; one they show twice is the first.
    (0..=24 * 4).find_map(|quarters| match zone.from_local_datetime(&(local + TimeDelta::minutes(15 * quarters))) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Some(Timestamp(at.timestamp_millis())),
        LocalResult::None => None,
    })
}

/// Whether a written appointment was new.
pub struct Saved {
    pub created: bool,
}

/// Writes appointments and their contacts' figures in few statements. The tenant must be locked. Whatever is refused
/// leaves no trace.
pub async fn save(
    conn: &mut AnyConnection,
    engine: Engine,
    tenant: &TenantId,
    mut import: Option<&mut Import>,
    rows: Vec<NewAppointment>,
    now: Timestamp,
) -> StoreResult<Vec<Result<Saved, Fault>>> {
    let contacts = find_contacts(&mut *conn, engine, tenant, &rows).await?;
    let ids: Vec<&str> = rows.iter().map(|row| row.appointment.external_id.as_str()).collect();
    let mut before = store::before(&mut *conn, engine, tenant, &ids).await?;
    let mut lines: HashMap<String, i64> = HashMap::new();
    let mut differences: BTreeMap<ContactId, Difference> = BTreeMap::new();
    let (mut new, mut changed, mut same) = (Vec::new(), Vec::new(), Vec::new());
    let mut saved = Vec::with_capacity(rows.len());
    for (row, contact) in rows.into_iter().zip(contacts) {
        let NewAppointment { line, mut appointment, .. } = row;
        let known = before.get(&appointment.external_id);
        let earlier = lines.get(&appointment.external_id).copied();
        let earlier = earlier.or_else(|| import.as_ref()?.line_of(&appointment.external_id, known?.mark));
        if let Some(earlier) = earlier {
            let detail = format!("the same externalId as in line {earlier}, which was taken");
            saved.push(Err(Fault::new("/externalId", "duplicate", detail)));
            continue;
        }
        appointment.contact_id = match contact {
            Ok(contact) => contact,
            Err(fault) => {
                saved.push(Err(fault));
                continue;
            }
        };
        lines.insert(appointment.external_id.clone(), line);
        let known = before.remove(&appointment.external_id).map(|known| known.appointment);
        saved.push(Ok(Saved { created: known.is_none() }));
        let Some(known) = known else {
            differences.entry(appointment.contact_id.clone()).or_default().add(&appointment, now);
            new.push((appointment, line));
            continue;
        };
        (appointment.created_at, appointment.updated_at) = (known.created_at, known.updated_at);
        if appointment == known {
            if let Some(import) = &mut import
                && !import.remember(&appointment.external_id, line)
            {
                same.push((appointment, line));
            }
            continue;
        }
        differences.entry(known.contact_id.clone()).or_default().take(&known);
        differences.entry(appointment.contact_id.clone()).or_default().add(&appointment, now);
        changed.push((appointment, line));
    }
    let import = import.map(|import| import.mark);
    if let Some(import) = import {
        store::touch(&mut *conn, engine, tenant, import, &same).await?;
    }
    store::update(&mut *conn, engine, tenant, import, &changed, now).await?;
    store::insert(&mut *conn, engine, tenant, import, &new, now).await?;
    store::tally(&mut *conn, engine, tenant, &differences, now).await?;
    Ok(saved)
}

/// Takes an appointment away, and out of its contact's figures. The tenant must be locked.
pub async fn remove(
    conn: &mut AnyConnection,
    engine: Engine,
    tenant: &TenantId,
    external_id: &str,
    now: Timestamp,
) -> StoreResult<bool> {
    let Some(known) = store::before(&mut *conn, engine, tenant, &[external_id]).await?.remove(external_id) else {
        return Ok(false);
    };
    store::delete(&mut *conn, tenant, external_id).await?;
    let mut difference = Difference::default();
    difference.take(&known.appointment);
    let differences = BTreeMap::from([(known.appointment.contact_id, difference)]);
    store::tally(&mut *conn, engine, tenant, &differences, now).await?;
    Ok(true)
}

/// Whose each row is, in two look-ups for all.
async fn find_contacts(
    conn: &mut AnyConnection,
    engine: Engine,
    tenant: &TenantId,
    rows: &[NewAppointment],
) -> StoreResult<Vec<Result<ContactId, Fault>>> {
    // In the order of the index, so that neighbours are found together.
    let ids: BTreeSet<&str> =
        rows.iter().filter_map(|r| if let Whose::Id(id) = &r.whose { Some(&**id) } else { None }).collect();
    let ids: Vec<&str> = ids.into_iter().collect();
    let found = match ids.as_slice() {
        [] => Vec::new(),
        ids => contacts::resolve_ids(&mut *conn, engine, tenant, ids).await?,
    };
    let by_id: HashMap<&str, ContactId> = ids.into_iter().zip(found).filter_map(|(id, who)| Some((id, who?))).collect();
    let keys: Vec<Key<'_>> = rows
        .iter()
        .enumerate()
        .filter_map(|(n, row)| {
            let (phone, email) = match &row.whose {
                Whose::Id(_) => return None,
                Whose::Phone(phone) => (Some(phone.as_str()), None),
                Whose::Email(email) => (None, Some(email.clone())),
            };
            Some(Key { n: n as i64, external_id: None, phone, email })
        })
        .collect();
    let mut by_address: HashMap<i64, Vec<(By, ContactId)>> = HashMap::new();
    if !keys.is_empty() {
        for found in contacts::lookup(&mut *conn, engine, tenant, &keys).await? {
            by_address.entry(found.n).or_default().push((found.by, found.contact.id));
        }
    }
    let unknown = |pointer: &str| Err(Fault::new(pointer, "unknown_contact", "this tenant has no such contact"));
    let whose = rows.iter().enumerate().map(|(n, row)| {
        let pointer = match &row.whose {
            Whose::Id(id) => return by_id.get(&**id).cloned().map_or_else(|| unknown("/contactId"), Ok),
            Whose::Phone(_) => "/phone",
            Whose::Email(_) => "/email",
        };
        match by_address.remove(&(n as i64)).unwrap_or_default().as_slice() {
            [] => unknown(pointer),
            [(_, only)] => Ok(only.clone()),
            _ => Err(Fault::new(pointer, "ambiguous", "several contacts have this address; say which by contactId")),
        }
    });
    Ok(whose.collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_time_without_offset_is_local_where_that_is_allowed() {
        let at = |text, zone: &str| moment(text, zone.parse().unwrap(), Times::OrLocal).map(|t| t.to_string());
        let nine = Some("2026-03-01T15:00:00.000Z".to_owned());
        assert_eq!(at("2026-03-01 09:00", "America/Mexico_City"), nine);
        assert_eq!(at(" 2026-03-01T09:00:00 ", "America/Mexico_City"), nine);
        assert_eq!(at("2026-03-01T09:00:00-06:00", "Europe/Madrid"), nine);
        assert_eq!(at("01/03/2026 09:00", "America/Mexico_City"), None);
        assert_eq!(moment("2026-03-01 09:00", Tz::UTC, Times::Absolute), None);
    }

    #[test]
    fn a_skipped_hour_is_the_gaps_end_and_a_doubled_one_the_first() {
        let at = |text| moment(text, "Europe/Madrid".parse().unwrap(), Times::OrLocal).map(|t| t.to_string()).unwrap();
        assert_eq!(at("2026-03-29 02:30"), "2026-03-29T01:00:00.000Z");
        assert_eq!(at("2026-10-25 02:30"), "2026-10-25T00:30:00.000Z");
    }
}
