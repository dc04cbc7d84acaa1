//! What tenants write themselves, in versions: templates, scripts, plugins. Their bodies are their kinds' own business.

use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AnyExecutor, AssertSqlSafe, Row, query, query_scalar};

use super::{StoreResult, tenants};
use crate::clock::Timestamp;
use crate::ids::TenantId;

/// Versions of a document that are kept, the newest first.
pub const KEPT: i64 = 50;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Template,
    Script,
    Plugin,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Template => "template",
            Self::Script => "script",
            Self::Plugin => "plugin",
        }
    }
}

/// Which document of a tenant.
#[derive(Debug, Clone, Copy)]
pub struct Key<'a> {
    pub kind: Kind,
    /// Empty for the whole tenant.
    pub branch: &'a str,
    pub name: &'a str,
    /// Empty where the kind has no languages.
    pub locale: &'a str,
}

/// A document as of one version.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub branch: String,
    pub name: String,
    pub locale: String,
    pub version: i64,
    /// JSON.
    pub body: String,
    pub created_at: Timestamp,
    /// This version holds.
    pub current: bool,
}

/// Which version of which document holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    pub name: String,
    pub branch: String,
    pub locale: String,
    pub version: i64,
}

impl Document {
    pub fn stamp(&self) -> Stamp {
        let (name, branch, locale) = (self.name.clone(), self.branch.clone(), self.locale.clone());
        Stamp { name, branch, locale, version: self.version }
    }
}

/// Writes the next version, which holds from now on, and says its number. The connection is within a transaction of the
/// tenant's alone: two saves at once would count the same.
pub async fn save(
    conn: &mut AnyConnection,
    tenant: &TenantId,
    key: Key<'_>,
    body: &str,
    now: Timestamp,
) -> StoreResult<i64> {
    tenants::bump(&mut *conn, tenant).await?;
    let last = of("select coalesce(max(version), 0) as last from document_versions d where ", "", tenant, key);
    let version = last.fetch_one(&mut *conn).await?.try_get::<i64, _>("last")? + 1;
    query(
        "insert into document_versions (tenant_id, kind, branch_id, name, locale, version, body, created_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(tenant.as_str())
    .bind(key.kind.as_str())
    .bind(key.branch)
    .bind(key.name)
    .bind(key.locale)
    .bind(version)
    .bind(body)
    .bind(now.0)
    .execute(&mut *conn)
    .await?;
    query(
        "insert into documents (tenant_id, kind, branch_id, name, locale, version) values ($1, $2, $3, $4, $5, $6) \
         on conflict (tenant_id, kind, branch_id, name, locale) do update set version = excluded.version",
    )
    .bind(tenant.as_str())
    .bind(key.kind.as_str())
    .bind(key.branch)
    .bind(key.name)
    .bind(key.locale)
    .bind(version)
    .execute(&mut *conn)
    .await?;
    of("delete from document_versions as d where ", " and version <= $6", tenant, key)
        .bind(version - KEPT)
        .execute(conn)
        .await?;
    Ok(version)
}

/// Documents with a version of theirs; the first of the two names is the one that holds.
const JOINED: &str = "select v.branch_id, v.name, v.locale, v.version, v.body, v.created_at, d.version as holding \
     from documents d join document_versions v on v.tenant_id = d.tenant_id and v.kind = d.kind \
     and v.branch_id = d.branch_id and v.name = d.name and v.locale = d.locale ";

/// The version that holds.
pub async fn find(db: impl AnyExecutor<'_>, tenant: &TenantId, key: Key<'_>) -> StoreResult<Option<Document>> {
    let sql = format!("{JOINED} where v.version = d.version and ");
    let row = of(&sql, "", tenant, key).fetch_optional(db).await?;
    row.as_ref().map(read).transpose()
}

/// Everything of a kind that holds, by name, branch and locale.
pub async fn list(db: impl AnyExecutor<'_>, tenant: &TenantId, kind: Kind) -> StoreResult<Vec<Document>> {
    let sql = format!(
        "{JOINED} where v.version = d.version and d.tenant_id = $1 and d.kind = $2 \
         order by d.name, d.branch_id, d.locale"
    );
    let rows = query(AssertSqlSafe(sql)).bind(tenant.as_str()).bind(kind.as_str()).fetch_all(db).await?;
    rows.iter().map(read).collect()
}

/// What of a kind holds, without the texts: by name, branch and locale, as [`list`].
pub async fn stamps(db: impl AnyExecutor<'_>, tenant: &TenantId, kind: Kind) -> StoreResult<Vec<Stamp>> {
    let rows = query(
        "select name, branch_id, locale, version from documents where tenant_id = $1 and kind = $2 \
         order by name, branch_id, locale",
    )
    .bind(tenant.as_str())
    .bind(kind.as_str())
    .fetch_all(db)
    .await?;
    let read = |row: &sqlx::any::AnyRow| {
        Ok(Stamp {
            name: row.try_get("name")?,
            branch: row.try_get("branch_id")?,
            locale: row.try_get("locale")?,
            version: row.try_get("version")?,
        })
    };
    rows.iter().map(read).collect()
}

/// The tenant's and its branches' documents of one name that hold.
pub async fn named(db: impl AnyExecutor<'_>, tenant: &TenantId, kind: Kind, name: &str) -> StoreResult<Vec<Document>> {
    let sql = format!(
        "{JOINED} where v.version = d.version and d.tenant_id = $1 and d.kind = $2 and d.name = $3 order by d.branch_id"
    );
    let rows = query(AssertSqlSafe(sql)).bind(tenant.as_str()).bind(kind.as_str()).bind(name).fetch_all(db).await?;
    rows.iter().map(read).collect()
}

/// How many documents of a kind a tenant has.
pub async fn count(db: impl AnyExecutor<'_>, tenant: &TenantId, kind: Kind) -> StoreResult<i64> {
    Ok(query_scalar("select count(*) from documents where tenant_id = $1 and kind = $2")
        .bind(tenant.as_str())
        .bind(kind.as_str())
        .fetch_one(db)
        .await?)
}

/// The versions kept of a document that was not deleted, newest first.
pub async fn versions(db: impl AnyExecutor<'_>, tenant: &TenantId, key: Key<'_>) -> StoreResult<Vec<Document>> {
    let sql = format!("{JOINED} where ");
    let rows = of(&sql, " order by v.version desc", tenant, key).fetch_all(db).await?;
    rows.iter().map(read).collect()
}

/// Lets a kept version hold again; false when there is none of this number or no such document.
pub async fn roll_back(conn: &mut AnyConnection, tenant: &TenantId, key: Key<'_>, version: i64) -> StoreResult<bool> {
    tenants::bump(&mut *conn, tenant).await?;
    let kept = " and exists (select 1 from document_versions v where v.tenant_id = d.tenant_id and v.kind = d.kind \
         and v.branch_id = d.branch_id and v.name = d.name and v.locale = d.locale and v.version = $6)";
    let done =
        of("update documents as d set version = $6 where ", kept, tenant, key).bind(version).execute(conn).await?;
    Ok(done.rows_affected() > 0)
}

/// Nothing holds any more; false when nothing did.
pub async fn delete(conn: &mut AnyConnection, tenant: &TenantId, key: Key<'_>) -> StoreResult<bool> {
    tenants::bump(&mut *conn, tenant).await?;
    let done = of("delete from documents as d where ", "", tenant, key).execute(conn).await?;
    Ok(done.rows_affected() > 0)
}

/// A statement about one document, whose table it calls `d`.
fn of<'q>(before: &str, after: &str, tenant: &'q TenantId, key: Key<'q>) -> Query<'q, Any, AnyArguments> {
    let sql = format!(
        "{before} d.tenant_id = $1 and d.kind = $2 and d.branch_id = $3 and d.name = $4 and d.locale = $5{after}"
    );
    query(AssertSqlSafe(sql))
        .bind(tenant.as_str())
        .bind(key.kind.as_str())
        .bind(key.branch)
        .bind(key.name)
        .bind(key.locale)
}

fn read(row: &sqlx::any::AnyRow) -> StoreResult<Document> {
    let version = row.try_get("version")?;
    Ok(Document {
        branch: row.try_get("branch_id")?,
        name: row.try_get("name")?,
        locale: row.try_get("locale")?,
        version,
        body: row.try_get("body")?,
        created_at: Timestamp(row.try_get("created_at")?),
        current: row.try_get::<i64, _>("holding")? == version,
    })
}
