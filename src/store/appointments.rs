//! Appointments, and the figures they make of their contacts.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AnyExecutor, AssertSqlSafe, Row, query};

use super::contacts::Mark;
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

/// What an appointment counted for until now.
#[derive(Debug, Clone)]
pub struct Before {
    pub contact: ContactId,
    pub status: AppointmentStatus,
    pub created_at: Timestamp,
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
            "with v as materialized (select $2 as t, x from {}) \
             select a.external_id, a.contact_id, a.status, a.created_at, a.import_mark, a.import_line \
             from v cross join appointments a where a.tenant_id = v.t and a.external_id = v.x",
            engine.rows("x text")
        )
    });
    let asked: Vec<Asked<'_>> = external_ids.iter().map(|x| Asked { x }).collect();
    let rows = query(sql).bind(to_json(&asked)).bind(tenant.as_str()).fetch_all(db).await?;
    rows.iter()
        .map(|row| {
            let status: String = row.try_get("status")?;
            let import: Option<i64> = row.try_get("import_mark")?;
            let line: Option<i64> = row.try_get("import_line")?;
            let before = Before {
                contact: row.try_get::<String, _>("contact_id")?.into(),
                status: AppointmentStatus::of(&status)
                    .ok_or_else(|| StoreError::Unreadable(format!("status {status:?}")))?,
                created_at: Timestamp(row.try_get("created_at")?),
                mark: import.zip(line).map(|(import, line)| Mark { import, line }),
            };
            Ok((row.try_get("external_id")?, before))
        })
        .collect()
}

#[derive(Serialize)]
struct Written<'a> {
    x: &'a str,
    co: &'a str,
    b: Option<&'a str>,
    sa: i64,
    ea: Option<i64>,
    st: &'a str,
    se: Option<&'a str>,
    pr: Option<&'a str>,
    a: &'a str,
    c: i64,
    u: i64,
    m: Option<i64>,
    ml: Option<i64>,
}

/// Writes appointments whole, new or known; no external id may come twice. Their contacts' figures are [`tally`]'s.
pub async fn upsert(
    db: impl AnyExecutor<'_>,
    engine: Engine,
    tenant: &TenantId,
    appointments: &[(Appointment, Option<Mark>)],
) -> StoreResult<()> {
    static SQL: PerEngine = PerEngine::new();
    if appointments.is_empty() {
        return Ok(());
    }
    let sql = SQL.get(engine, || {
        format!(
            "insert into appointments (tenant_id, external_id, contact_id, branch_id, starts_at, ends_at, status, service, \
             professional, attributes, created_at, updated_at, import_mark, import_line) \
             select $2, x, co, b, sa, ea, st, se, pr, a, c, u, m, ml from {} where true \
             on conflict (tenant_id, external_id) do update set contact_id = excluded.contact_id, \
             branch_id = excluded.branch_id, starts_at = excluded.starts_at, ends_at = excluded.ends_at, \
             status = excluded.status, service = excluded.service, professional = excluded.professional, \
             attributes = excluded.attributes, updated_at = excluded.updated_at, \
             import_mark = excluded.import_mark, import_line = excluded.import_line",
            engine.rows(
                "x text, co text, b text, sa bigint, ea bigint, st text, se text, pr text, a text, c bigint, u bigint, \
                 m bigint, ml bigint"
            )
        )
    });
    let rows: Vec<Written<'_>> = appointments
        .iter()
        .map(|(appointment, mark)| Written {
            x: &appointment.external_id,
            co: appointment.contact_id.as_str(),
            b: appointment.branch_id.as_deref(),
            sa: appointment.starts_at.0,
            ea: appointment.ends_at.map(|t| t.0),
            st: appointment.status.as_str(),
            se: appointment.service.as_deref(),
            pr: appointment.professional.as_deref(),
            a: &appointment.attributes,
            c: appointment.created_at.0,
            u: appointment.updated_at.0,
            m: mark.map(|m| m.import),
            ml: mark.map(|m| m.line),
        })
        .collect();
    query(sql).bind(to_json(&rows)).bind(tenant.as_str()).execute(db).await?;
    Ok(())
}

pub async fn delete(db: impl AnyExecutor<'_>, tenant: &TenantId, external_id: &str) -> StoreResult<bool> {
    let done = query("delete from appointments where tenant_id = $1 and external_id = $2")
        .bind(tenant.as_str())
        .bind(external_id)
        .execute(db)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// By how much a contact's counts change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Difference {
    pub count: i64,
    pub completed: i64,
    pub cancelled: i64,
    pub no_shows: i64,
}

impl Difference {
    /// One more (`by` = 1) or one fewer (-1) with this status.
    pub fn add(&mut self, status: AppointmentStatus, by: i64) {
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
    // Counts by difference and times by two looks into an index: a walk-in customer with a hundred thousand visits
    // costs what everybody costs.
    let sql = SQL.get(engine, || {
        format!(
            "with v as materialized (select $2 as t, id, n, co, ca, ns from {}) \
             update contacts set appointments = contacts.appointments + v.n, completed = contacts.completed + v.co, \
             cancelled = contacts.cancelled + v.ca, no_shows = contacts.no_shows + v.ns, \
             last_at = (select max(a.starts_at) from appointments a where a.tenant_id = v.t and a.contact_id = v.id \
                and a.starts_at <= $3 and a.status not in ('CANCELLED', 'NO_SHOW')), \
             next_at = (select min(a.starts_at) from appointments a where a.tenant_id = v.t and a.contact_id = v.id \
                and a.starts_at > $3 and a.status not in ('CANCELLED', 'NO_SHOW')) \
             from v where contacts.tenant_id = v.t and contacts.contact_id = v.id",
            engine.rows("id text, n bigint, co bigint, ca bigint, ns bigint")
        )
    });
    let rows: Vec<Changed<'_>> = differences
        .iter()
        .map(|(id, d)| Changed { id: id.as_str(), n: d.count, co: d.completed, ca: d.cancelled, ns: d.no_shows })
        .collect();
    query(sql).bind(to_json(&rows)).bind(tenant.as_str()).bind(now.0).execute(db).await?;
    Ok(())
}
