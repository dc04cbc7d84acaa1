//! How much marketing a person was or will be sent: counted in the same commit that accepts it.

use serde::Serialize;
use sqlx::{AnyConnection, AnyExecutor, Row, query};

use super::{Engine, PerEngine, StoreResult, to_json};
use crate::clock::Timestamp;
use crate::ids::TenantId;

/// One marketing message to one person, at the time it is meant for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Planned {
    #[serde(rename = "p")]
    pub person: String,
    #[serde(rename = "id")]
    pub notification: String,
    pub at: i64,
}

/// Until the transaction ends nobody else counts this tenant's messages.
pub async fn lock(conn: &mut AnyConnection, engine: Engine, tenant: &TenantId) -> StoreResult<()> {
    // SQLite has one writer at a time anyway.
    if engine == Engine::Postgres {
        query("select 1 from tenants where tenant_id = $1 for no key update")
            .bind(tenant.as_str())
            .fetch_optional(conn)
            .await?;
    }
    Ok(())
}

/// What these people get between the two times: person and moment. A message that came to nothing does not count; one
/// that is not stored yet does.
pub async fn planned(
    db: impl AnyExecutor<'_>,
    engine: Engine,
    tenant: &TenantId,
    people: &[&str],
    (from, to): (Timestamp, Timestamp),
) -> StoreResult<Vec<(String, Timestamp)>> {
    #[derive(Serialize)]
    struct Asked<'a> {
        p: &'a str,
    }
    static SQL: PerEngine = PerEngine::new();
    let sql = SQL.get(engine, || {
        format!(
            "with v as materialized (select distinct $2 as t, p from {}) \
             select m.person, m.planned_at from v cross join marketing_plan m \
             left join notifications n on n.tenant_id = m.tenant_id and n.notification_id = m.notification_id \
             where m.tenant_id = v.t and m.person = v.p and m.planned_at > $3 and m.planned_at < $4 \
             and (n.status is null or n.status not in ('failed', 'cancelled', 'expired', 'suppressed'))",
            engine.rows("p text")
        )
    });
    let asked: Vec<Asked<'_>> = people.iter().map(|p| Asked { p }).collect();
    let rows = query(sql).bind(to_json(&asked)).bind(tenant.as_str()).bind(from.0).bind(to.0).fetch_all(db).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, Timestamp(row.try_get(1)?)))).collect()
}

/// Counts these, and forgets of the same people what is older than `before`.
pub async fn insert(
    conn: &mut AnyConnection,
    engine: Engine,
    tenant: &TenantId,
    planned: &[Planned],
    before: Timestamp,
) -> StoreResult<()> {
    static FORGET: PerEngine = PerEngine::new();
    static INSERT: PerEngine = PerEngine::new();
    let rows = to_json(&planned);
    let forget = FORGET.get(engine, || {
        format!(
            "delete from marketing_plan where tenant_id = $2 and planned_at < $3 and person in (select p from {})",
            engine.rows("p text")
        )
    });
    query(forget).bind(&rows).bind(tenant.as_str()).bind(before.0).execute(&mut *conn).await?;
    let insert = INSERT.get(engine, || {
        format!(
            "insert into marketing_plan (tenant_id, person, notification_id, planned_at) select $2, p, id, at from {}",
            engine.rows("p text, id text, at bigint")
        )
    });
    query(insert).bind(&rows).bind(tenant.as_str()).execute(conn).await?;
    Ok(())
}
