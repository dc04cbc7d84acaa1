//! Lanes: which channel account's queue is worked by which node, and when it must be looked at.

use serde::Serialize;
use sqlx::{AnyExecutor, Row, query, query_scalar};

use super::{Engine, Statement, StoreResult};
use crate::clock::Timestamp;
use crate::ids::TenantId;

/// A lane as the store has it.
#[derive(Debug, Clone)]
pub struct LaneRow {
    pub tenant: TenantId,
    pub lane: String,
    pub version: i64,
    pub owner: Option<String>,
}

/// "There is work in this lane from `wake` on."
#[derive(Serialize)]
pub struct Touch<'a> {
    pub t: &'a str,
    pub lane: &'a str,
    pub wake: i64,
}

pub struct Statements {
    touch: Statement,
    acquire: Statement,
}

impl Statements {
    pub fn new(engine: Engine) -> Self {
        Self {
            // Adds work, and takes the lane when nobody has it. `$2` node, `$3` now, `$4` the lease's end.
            touch: Statement::new(format!(
                "insert into lanes (tenant_id, lane, wake_at, version, owner, lease_until) \
                 select t, lane, min(wake), 1, cast($2 as text), cast($4 as bigint) from {} group by t, lane \
                 on conflict (tenant_id, lane) do update set version = lanes.version + 1, \
                 wake_at = case when lanes.wake_at is null or excluded.wake_at < lanes.wake_at then excluded.wake_at \
                 else lanes.wake_at end, \
                 owner = case when lanes.owner is null or lanes.lease_until <= $3 then excluded.owner else lanes.owner end, \
                 lease_until = case when lanes.owner is null or lanes.lease_until <= $3 or lanes.owner = excluded.owner \
                 then excluded.lease_until else lanes.lease_until end \
                 returning tenant_id, lane, version, owner",
                engine.rows("t text, lane text, wake bigint")
            )),
            acquire: Statement::new(
                "update lanes set owner = $1, lease_until = $3 where (owner is null or lease_until <= $2) \
                 and (tenant_id || ' ' || lane) in (select tenant_id || ' ' || lane from lanes \
                 where wake_at <= $2 and (owner is null or lease_until <= $2) order by wake_at limit $4) \
                 returning tenant_id, lane, version, owner"
                    .into(),
            ),
        }
    }

    /// Announces work in lanes and takes those nobody owns; tells who owns each now.
    pub async fn touch(
        &self,
        db: impl AnyExecutor<'_>,
        touches: &str,
        node: &str,
        now: Timestamp,
        lease_end: Timestamp,
    ) -> StoreResult<Vec<LaneRow>> {
        let rows = query(self.touch.sql()).bind(touches).bind(node).bind(now.0).bind(lease_end.0).fetch_all(db).await?;
        rows.iter().map(read).collect()
    }

    /// Takes up to `limit` lanes that have due work and no living owner.
    pub async fn acquire_due_any_tenant(
        &self,
        db: impl AnyExecutor<'_>,
        node: &str,
        now: Timestamp,
        lease_end: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<LaneRow>> {
        let rows =
            query(self.acquire.sql()).bind(node).bind(now.0).bind(lease_end.0).bind(limit as i64).fetch_all(db).await?;
        rows.iter().map(read).collect()
    }
}

fn read(row: &sqlx::any::AnyRow) -> StoreResult<LaneRow> {
    Ok(LaneRow {
        tenant: row.try_get::<String, _>(0)?.into(),
        lane: row.try_get(1)?,
        version: row.try_get(2)?,
        owner: row.try_get(3)?,
    })
}

/// Due lanes this node owns, with their versions: a version it has not seen means another node added work.
pub async fn owned_any_tenant(db: impl AnyExecutor<'_>, node: &str, now: Timestamp) -> StoreResult<Vec<LaneRow>> {
    let rows = query(
        "select tenant_id, lane, version, owner from lanes where wake_at <= $2 and owner = $1 and lease_until > $2",
    )
    .bind(node)
    .bind(now.0)
    .fetch_all(db)
    .await?;
    rows.iter().map(read).collect()
}

/// Keeps the leases of all lanes this node owns.
pub async fn renew_any_tenant(
    db: impl AnyExecutor<'_>,
    node: &str,
    now: Timestamp,
    lease_end: Timestamp,
) -> StoreResult<()> {
    query("update lanes set lease_until = $3 where owner = $1 and lease_until > $2")
        .bind(node)
        .bind(now.0)
        .bind(lease_end.0)
        .execute(db)
        .await?;
    Ok(())
}

/// Lets an idle lane sleep until its next due row, and gives it up. Fails (`false`) when somebody added work since
/// `version` was read; the one statement makes that safe: an adder holds the lane's row until its work is visible.
pub async fn settle(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    lane: &str,
    node: &str,
    version: i64,
) -> StoreResult<bool> {
    let done = query(
        "update lanes set owner = null, lease_until = null, wake_at = (select min(d) from (\
         select min(due_at) as d from notifications where tenant_id = $1 and lane = $2 and priority = 0 and due_at is not null \
         union all \
         select min(due_at) as d from notifications where tenant_id = $1 and lane = $2 and priority = 1 and due_at is not null) as x) \
         where tenant_id = $1 and lane = $2 and owner = $3 and version = $4",
    )
    .bind(tenant.as_str())
    .bind(lane)
    .bind(node)
    .bind(version)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives up every lane of a node that stops; its work is due at once for the others.
pub async fn give_up_all_any_tenant(db: impl AnyExecutor<'_>, node: &str) -> StoreResult<()> {
    query("update lanes set owner = null, lease_until = null where owner = $1").bind(node).execute(db).await?;
    Ok(())
}

/// On SQLite there is one process: whoever owned a lane before is gone.
pub async fn void_owners_any_tenant(db: impl AnyExecutor<'_>) -> StoreResult<()> {
    query("update lanes set owner = null, lease_until = null where owner is not null").execute(db).await?;
    Ok(())
}

/// Every lane with work is looked at again.
pub async fn wake_all_any_tenant(db: impl AnyExecutor<'_>, now: Timestamp) -> StoreResult<()> {
    query("update lanes set wake_at = $1 where wake_at is not null").bind(now.0).execute(db).await?;
    Ok(())
}

pub async fn version(db: impl AnyExecutor<'_>, tenant: &TenantId, lane: &str) -> StoreResult<Option<i64>> {
    Ok(query_scalar("select version from lanes where tenant_id = $1 and lane = $2")
        .bind(tenant.as_str())
        .bind(lane)
        .fetch_optional(db)
        .await?)
}
