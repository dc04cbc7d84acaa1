//! Appointments, and the figures they make of their contacts.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AnyExecutor, AssertSqlSafe, Row, query};

use super::contacts::look_up_last_and_next;
use super::imports::{Mark, Marked};
use super::{Engine, PerEngine, StoreResult, to_json};
use crate::appointment::{Appointment, AppointmentStatus};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::ids::{ContactId, TenantId};

const COLUMNS: &str = "a.external_id, a.contact_id, a.branch_id, a.starts_at, a.ends_at, a.status, a.service, \
    a.professional, a.attributes, a.created_at, a.updated_at";

fn read(row: &AnyRow) -> StoreResult<Appointment> {
    let status: String = row.try_get("status")?;
    Ok(Appointment {
        external_id: row.try_get("external_id")?,
        contact_id: row.try_get::<String, _>("contact_id")?.into(),
        branch_id: row.try_get("branch_id")?,
        starts_at: Timestamp(row.try_get("starts_at")?),
        ends_at: row.try_get::<Option<i64>, _>("ends_at")?.map(Timestamp),
        status: AppointmentStatus::of(&status).ok_or_else(|| StoreError::Unreadable(format!("status {status:?}")))?,
        service: row.try_get("service")?,
        professional: row.try_get("professional")?,
        attributes: row.try_get("attributes")?,
        created_at: Timestamp(row.try_get("created_at")?),
        updated_at: Timestamp(row.try_get("updated_at")?),
    })
}

pub async fn find(db: impl AnyExecutor<'_>, tenant: &TenantId, external_id: &str) -> StoreResult<Option<Appointment>> {
    let sql = format!("select {COLUMNS} from appointments a where a.tenant_id = $1 and a.external_id = $2");
    let row = query(AssertSqlSafe(sql)).bind(tenant.as_str()).bind(external_id).fetch_optional(db).await?;
    row.as_ref().map(read).transpose()
}

/// What a list may be narrowed by; everything optional.
#[derive(Debug, Default, Clone)]
pub struct Filter {
    pub contact: Option<ContactId>,
    pub branch: Option<String>,
    pub status: Option<AppointmentStatus>,
    /// Beginning at or after.
    pub from: Option<Timestamp>,
    /// Beginning before.
    pub to: Option<Timestamp>,
    /// Only those after this beginning and external id.
    pub after: Option<(Timestamp, String)>,
}

/// By beginning, the earliest first.
pub async fn list(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    filter: &Filter,
    limit: usize,
) -> StoreResult<Vec<Appointment>> {
    // A person's appointments are found by the person; everybody's by their time.
    let contact = if filter.contact.is_some() { "a.contact_id = $2" } else { "$2 is null or a.contact_id = $2" };
    let sql = format!(
        "select {COLUMNS} from appointments a where a.tenant_id = $1 and ({contact}) \
         and ($3 is null or a.branch_id = $3) and ($4 is null or a.status = $4) and a.starts_at >= $5 and a.starts_at < $6 \
         and (a.starts_at > $7 or (a.starts_at = $7 and a.external_id > $8)) \
         order by a.starts_at, a.external_id limit $9"
    );
    let (from, to) = (filter.from.map_or(i64::MIN, |t| t.0), filter.to.map_or(i64::MAX, |t| t.0));
    let after = filter.after.as_ref().map_or((i64::MIN, ""), |(at, id)| (at.0, id.as_str()));
    let rows = query(AssertSqlSafe(sql))
        .bind(tenant.as_str())
        .bind(filter.contact.as_ref().map(ContactId::as_str))
        .bind(filter.branch.as_deref())
        .bind(filter.status.map(AppointmentStatus::as_str))
        .bind(from.max(after.0))
        .bind(to)
        .bind(after.0)
        .bind(after.1)
        .bind(limit as i64)
        .fetch_all(db)
        .await?;
    rows.iter().map(read).collect()
}

/// An appointment as it was until now.
#[derive(Debug, Clone)]
pub struct Before {
    pub appointment: Appointment,
    pub mark: Option<Mark>,
}

/// Those of these that are stored, by external id.
pub async fn before(
    db: impl AnyExecutor<'_>,
    engine: Engine,
    tenant: &TenantId,
    external_ids: &[&str],
) -> StoreResult<HashMap<String, Before>> {
    #[derive(Serialize)]
    struct Asked<'a> {
        x: &'a str,
    }
    static SQL: PerEngine = PerEngine::new();
    let sql = SQL.get(engine, || {
        format!(
            "with v as materialized (select $2 as t, x from {}) select {COLUMNS}, a.import_mark, a.import_line \
             from v cross join appointments a where a.tenant_id = v.t and a.external_id = v.x",
            engine.rows("x text")
        )
    });
    let asked: Vec<Asked<'_>> = external_ids.iter().map(|x| Asked { x }).collect();
    let rows = query(sql).bind(to_json(&asked)).bind(tenant.as_str()).fetch_all(db).await?;
    rows.iter()
        .map(|row| {
            let appointment = read(row)?;
            Ok((appointment.external_id.clone(), Before { appointment, mark: Mark::read(row)? }))
        })
        .collect()
}

/// What is usual is left out: a batch's text is parsed as often as it has columns.
#[derive(Serialize)]
struct Written<'a> {
    x: &'a str,
    co: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    b: Option<&'a str>,
    sa: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ea: Option<i64>,
    st: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    se: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pr: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    a: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ml: Option<i64>,
}

/// What [`Written`] is to the database.
const WRITTEN: &str = "x text, co text, b text, sa bigint, ea bigint, st text, se text, pr text, a text, ml bigint";

impl<'a> Written<'a> {
    fn all(appointments: &'a [(Appointment, i64)], import: Option<i64>) -> String {
        let row = |(appointment, line): &'a (Appointment, i64)| Self {
            x: &appointment.external_id,
            co: appointment.contact_id.as_str(),
            b: appointment.branch_id.as_deref(),
            sa: appointment.starts_at.0,
            ea: appointment.ends_at.map(|t| t.0),
            st: appointment.status.as_str(),
            se: appointment.service.as_deref(),
            pr: appointment.professional.as_deref(),
            a: Some(appointment.attributes.as_str()).filter(|a| *a != "{}"),
            ml: import.map(|_| *line),
        };
        to_json(&appointments.iter().map(row).collect::<Vec<_>>())
    }
}

/// Writes appointments nobody knew, for an import or none, with the line each came from. Their contacts' figures are
/// [`tally`]'s.
pub async fn insert(
    db: impl AnyExecutor<'_>,
    engine: Engine,
    tenant: &TenantId,
    import: Option<i64>,
    appointments: &[(Appointment, i64)],
    now: Timestamp,
) -> StoreResult<()> {
    static SQL: PerEngine = PerEngine::new();
    if appointments.is_empty() {
        return Ok(());
    }
    let sql = SQL.get(engine, || {
        format!(
            "insert into appointments (tenant_id, external_id, contact_id, branch_id, starts_at, ends_at, status, service, \
             professional, attributes, created_at, updated_at, import_mark, import_line) \
             select $2, x, co, b, sa, ea, st, se, pr, coalesce(a, '{{}}'), $3, $3, $4, ml from {}",
            engine.rows(WRITTEN)
        )
    });
    let rows = Written::all(appointments, import);
    query(sql).bind(rows).bind(tenant.as_str()).bind(now.0).bind(import).execute(db).await?;
    Ok(())
}

/// Writes known appointments whole, as [`insert`]; none may come twice.
pub async fn update(
    db: impl AnyExecutor<'_>,
    engine: Engine,
    tenant: &TenantId,
    import: Option<i64>,
    appointments: &[(Appointment, i64)],
    now: Timestamp,
) -> StoreResult<()> {
    static SQL: PerEngine = PerEngine::new();
    if appointments.is_empty() {
        return Ok(());
    }
    let sql = SQL.get(engine, || {
        format!(
            "with v as materialized (select $2 as t, x, co, b, sa, ea, st, se, pr, a, ml from {}) \
             update appointments set contact_id = v.co, branch_id = v.b, starts_at = v.sa, ends_at = v.ea, status = v.st, \
             service = v.se, professional = v.pr, attributes = coalesce(v.a, '{{}}'), updated_at = $3, \
             import_mark = $4, import_line = v.ml \
             from v where appointments.tenant_id = v.t and appointments.external_id = v.x",
            engine.rows(WRITTEN)
        )
    });
    let rows = Written::all(appointments, import);
    query(sql).bind(rows).bind(tenant.as_str()).bind(now.0).bind(import).execute(db).await?;
    Ok(())
}

/// Says of appointments that an import came by them and changed nothing.
pub async fn touch(
    db: impl AnyExecutor<'_>,
    engine: Engine,
    tenant: &TenantId,
    import: i64,
    appointments: &[(Appointment, i64)],
) -> StoreResult<()> {
    static MARKED: Marked = Marked::new("appointments", "external_id");
    MARKED.touch(db, engine, tenant, import, appointments.iter().map(|(a, line)| (&*a.external_id, *line))).await
}

pub async fn delete(db: impl AnyExecutor<'_>, tenant: &TenantId, external_id: &str) -> StoreResult<bool> {
    let done = query("delete from appointments where tenant_id = $1 and external_id = $2")
        .bind(tenant.as_str())
        .bind(external_id)
        .execute(db)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// By how much a contact's figures change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Difference {
    pub count: i64,
    pub completed: i64,
    pub cancelled: i64,
    pub no_shows: i64,
    /// Of those that come to it and are neither cancelled nor missed: when the last one began and the next one does.
    last_at: Option<Timestamp>,
    next_at: Option<Timestamp>,
    /// Something left it, which may have been the last or the next one.
    less: bool,
}

impl Difference {
    /// One more.
    pub fn add(&mut self, appointment: &Appointment, now: Timestamp) {
        self.count_by(appointment.status, 1);
        let at = appointment.starts_at;
        match appointment.status {
            AppointmentStatus::Cancelled | AppointmentStatus::NoShow => {}
            _ if at <= now => self.last_at = self.last_at.max(Some(at)),
            _ => self.next_at = Some(self.next_at.map_or(at, |next| next.min(at))),
        }
    }

    /// One fewer.
    pub fn take(&mut self, appointment: &Appointment) {
        self.count_by(appointment.status, -1);
        self.less = true;
    }

    fn count_by(&mut self, status: AppointmentStatus, by: i64) {
        self.count += by;
        match status {
            AppointmentStatus::Completed => self.completed += by,
            AppointmentStatus::Cancelled => self.cancelled += by,
            AppointmentStatus::NoShow => self.no_shows += by,
            AppointmentStatus::Requested | AppointmentStatus::Confirmed => {}
        }
    }
}

#[derive(Serialize)]
struct Changed<'a> {
    id: &'a str,
    n: i64,
    co: i64,
    ca: i64,
    ns: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    la: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ne: Option<i64>,
    /// 1: look the times up.
    lo: i64,
}

/// Brings the contacts' figures up to date. To be run after the appointments are written, in the same transaction, for
/// every contact that one of them left, joined or stayed with.
pub async fn tally(
    db: impl AnyExecutor<'_>,
    engine: Engine,
    tenant: &TenantId,
    differences: &BTreeMap<ContactId, Difference>,
    now: Timestamp,
) -> StoreResult<()> {
    static SQL: PerEngine = PerEngine::new();
    if differences.is_empty() {
        return Ok(());
    }
    // Counts by difference; times, too, where what is kept holds now and nothing was taken away, else by two look-ups: a
    // walk-in customer with a hundred thousand visits costs what everybody costs.
    let sql = SQL.get(engine, || {
        let look = "v.lo = 1 or contacts.next_at <= $3 or contacts.last_at > $3";
        let [last, next] = look_up_last_and_next("v.t", "v.id", "$3");
        format!(
            "with v as materialized (select $2 as t, id, n, co, ca, ns, la, ne, lo from {}) \
             update contacts set appointments = contacts.appointments + v.n, completed = contacts.completed + v.co, \
             cancelled = contacts.cancelled + v.ca, no_shows = contacts.no_shows + v.ns, \
             last_at = case when {look} then {last} \
                when contacts.last_at is null or v.la > contacts.last_at then v.la else contacts.last_at end, \
             next_at = case when {look} then {next} \
                when contacts.next_at is null or v.ne < contacts.next_at then v.ne else contacts.next_at end \
             from v where contacts.tenant_id = v.t and contacts.contact_id = v.id",
            engine.rows("id text, n bigint, co bigint, ca bigint, ns bigint, la bigint, ne bigint, lo bigint")
        )
    });
    let rows = differences.iter().map(|(id, d)| Changed {
        id: id.as_str(),
        n: d.count,
        co: d.completed,
        ca: d.cancelled,
        ns: d.no_shows,
        la: d.last_at.map(|t| t.0),
        ne: d.next_at.map(|t| t.0),
        lo: i64::from(d.less),
    });
    let rows: Vec<Changed<'_>> = rows.collect();
    query(sql).bind(to_json(&rows)).bind(tenant.as_str()).bind(now.0).execute(db).await?;
    Ok(())
}
