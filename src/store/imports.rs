//! Files that were, or are being, taken in, and the marks they leave on what they wrote.

use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AnyExecutor, AssertSqlSafe, Row, query};

use super::{Engine, PerEngine, StoreResult, to_json};
use crate::clock::Timestamp;
use crate::error::Fault;
use crate::ids::{ImportId, TenantId};

/// Which import wrote a row last, and from which line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub import: i64,
    pub line: i64,
}

impl Mark {
    pub(super) fn read(row: &AnyRow) -> StoreResult<Option<Self>> {
        let import: Option<i64> = row.try_get("import_mark")?;
        let line: Option<i64> = row.try_get("import_line")?;
        Ok(import.zip(line).map(|(import, line)| Self { import, line }))
    }
}

/// A table whose rows are marked, and the column they are found by.
pub(super) struct Marked {
    table: &'static str,
    key: &'static str,
    sql: PerEngine,
}

impl Marked {
    pub const fn new(table: &'static str, key: &'static str) -> Self {
        Self { table, key, sql: PerEngine::new() }
    }

    /// Says of rows that an import came by them, from which line, and changed nothing.
    pub async fn touch<'r>(
        &self,
        db: impl AnyExecutor<'_>,
        engine: Engine,
        tenant: &TenantId,
        import: i64,
        rows: impl Iterator<Item = (&'r str, i64)>,
    ) -> StoreResult<()> {
        #[derive(Serialize)]
        struct Touched<'a> {
            k: &'a str,
            ml: i64,
        }
        let rows: Vec<Touched<'_>> = rows.map(|(k, ml)| Touched { k, ml }).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let Self { table, key, sql } = self;
        let sql = sql.get(engine, || {
            format!(
                "with v as materialized (select $2 as t, k, ml from {}) \
                 update {table} set import_mark = $3, import_line = v.ml \
                 from v where {table}.tenant_id = v.t and {table}.{key} = v.k",
                engine.rows("k text, ml bigint")
            )
        });
        query(sql).bind(to_json(&rows)).bind(tenant.as_str()).bind(import).execute(db).await?;
        Ok(())
    }
}

/// How far an import is.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportRow {
    pub id: ImportId,
    /// `contacts` or `appointments`.
    pub kind: String,
    /// What each column was taken for, as JSON.
    pub columns: String,
    /// The last line that was dealt with.
    pub line: i64,
    pub created: i64,
    pub updated: i64,
    pub refused: i64,
    /// Why it stopped before the end, as JSON.
    pub problem: Option<String>,
    pub started_at: Timestamp,
    pub updated_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

impl ImportRow {
    fn read(row: &AnyRow) -> StoreResult<Self> {
        Ok(Self {
            id: row.try_get::<String, _>("import_id")?.into(),
            kind: row.try_get("kind")?,
            columns: row.try_get("columns")?,
            line: row.try_get("line")?,
            created: row.try_get("created")?,
            updated: row.try_get("updated")?,
            refused: row.try_get("refused")?,
            problem: row.try_get("problem")?,
            started_at: Timestamp(row.try_get("started_at")?),
            updated_at: Timestamp(row.try_get("updated_at")?),
            finished_at: row.try_get::<Option<i64>, _>("finished_at")?.map(Timestamp),
        })
    }
}

/// So many imports of a tenant are remembered line by line; of older ones only the counts.
const REMEMBERED: i64 = 20;

pub async fn insert(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    id: &ImportId,
    kind: &str,
    now: Timestamp,
) -> StoreResult<()> {
    query(
        "insert into imports (tenant_id, import_id, kind, columns, line, created, updated, refused, started_at, updated_at) \
         values ($1, $2, $3, '[]', 0, 0, 0, 0, $4, $4)",
    )
    .bind(tenant.as_str())
    .bind(id.as_str())
    .bind(kind)
    .bind(now.0)
    .execute(db)
    .await?;
    Ok(())
}

/// Lets go of what was refused in imports long past.
pub async fn forget_old(db: impl AnyExecutor<'_>, tenant: &TenantId) -> StoreResult<()> {
    query(
        "delete from import_refusals where tenant_id = $1 and import_id <= \
         (select import_id from imports where tenant_id = $1 order by import_id desc limit 1 offset $2)",
    )
    .bind(tenant.as_str())
    .bind(REMEMBERED)
    .execute(db)
    .await?;
    Ok(())
}

/// Writes how far it is.
pub async fn update(db: impl AnyExecutor<'_>, tenant: &TenantId, import: &ImportRow) -> StoreResult<()> {
    query(
        "update imports set columns = $3, line = $4, created = $5, updated = $6, refused = $7, problem = $8, \
         updated_at = $9, finished_at = $10 where tenant_id = $1 and import_id = $2",
    )
    .bind(tenant.as_str())
    .bind(import.id.as_str())
    .bind(&import.columns)
    .bind(import.line)
    .bind(import.created)
    .bind(import.updated)
    .bind(import.refused)
    .bind(import.problem.as_deref())
    .bind(import.updated_at.0)
    .bind(import.finished_at.map(|t| t.0))
    .execute(db)
    .await?;
    Ok(())
}

#[derive(Serialize)]
struct Written<'a> {
    l: i64,
    p: &'a str,
    c: &'a str,
    d: &'a str,
}

/// Remembers lines that were refused; no line twice.
pub async fn refuse(
    db: impl AnyExecutor<'_>,
    engine: Engine,
    tenant: &TenantId,
    id: &ImportId,
    refused: &[(i64, Fault)],
) -> StoreResult<()> {
    static SQL: PerEngine = PerEngine::new();
    if refused.is_empty() {
        return Ok(());
    }
    let sql = SQL.get(engine, || {
        format!(
            "insert into import_refusals (tenant_id, import_id, line, pointer, code, detail) \
             select $2, $3, l, p, c, d from {}",
            engine.rows("l bigint, p text, c text, d text")
        )
    });
    let rows: Vec<Written<'_>> = refused
        .iter()
        .map(|(line, fault)| Written { l: *line, p: &fault.pointer, c: &fault.code, d: &fault.detail })
        .collect();
    query(sql).bind(to_json(&rows)).bind(tenant.as_str()).bind(id.as_str()).execute(db).await?;
    Ok(())
}

/// The refused lines after `after`, in order.
pub async fn refusals(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    id: &ImportId,
    after: i64,
    limit: usize,
) -> StoreResult<Vec<(i64, Fault)>> {
    let rows = query(
        "select line, pointer, code, detail from import_refusals \
         where tenant_id = $1 and import_id = $2 and line > $3 order by line limit $4",
    )
    .bind(tenant.as_str())
    .bind(id.as_str())
    .bind(after)
    .bind(limit as i64)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            let (pointer, code, detail): (String, String, String) =
                (row.try_get("pointer")?, row.try_get("code")?, row.try_get("detail")?);
            Ok((row.try_get("line")?, Fault::new(pointer, code, detail)))
        })
        .collect()
}

const COLUMNS: &str =
    "import_id, kind, columns, line, created, updated, refused, problem, started_at, updated_at, finished_at";

pub async fn find(db: impl AnyExecutor<'_>, tenant: &TenantId, id: &str) -> StoreResult<Option<ImportRow>> {
    let sql = AssertSqlSafe(format!("select {COLUMNS} from imports where tenant_id = $1 and import_id = $2"));
    let row = query(sql).bind(tenant.as_str()).bind(id).fetch_optional(db).await?;
    row.as_ref().map(ImportRow::read).transpose()
}

/// Newest first.
pub async fn list(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    before: Option<&str>,
    limit: usize,
) -> StoreResult<Vec<ImportRow>> {
    let sql = AssertSqlSafe(format!(
        "select {COLUMNS} from imports where tenant_id = $1 and ($2 is null or import_id < $2) \
         order by import_id desc limit $3"
    ));
    let rows = query(sql).bind(tenant.as_str()).bind(before).bind(limit as i64).fetch_all(db).await?;
    rows.iter().map(ImportRow::read).collect()
}
