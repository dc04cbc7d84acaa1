//! Contacts as scripts are shown them: only the columns a script reads, page by page.

use std::sync::OnceLock;

use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AnyExecutor, Row, query, query_scalar};

use super::contacts::last_and_next;
use super::{Engine, PerEngine, Statement, StoreResult, to_json};
use crate::clock::Timestamp;
use crate::contact::{Facts, Figures};
use crate::ids::TenantId;

/// What a script reads of contacts, beside their ids and counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reads {
    /// When their last and next appointments are.
    pub times: bool,
    /// Names, addresses and the like.
    pub person: bool,
    /// Attributes, preferences, consents.
    pub documents: bool,
}

impl Reads {
    pub const ALL: Self = Self { times: true, person: true, documents: true };

    fn columns(self, now: &str) -> String {
        let mut columns = "c.contact_id, c.appointments, c.completed, c.cancelled, c.no_shows".to_owned();
        if self.times {
            columns += ", ";
            columns += &last_and_next(now);
        }
        if self.person {
            columns += ", c.external_id, c.name, c.phone, c.email, c.locale, c.timezone, c.created_at";
        }
        if self.documents {
            columns += ", c.attributes, c.preferences, c.consents";
        }
        columns
    }

    /// By place, not by name: this is read a million times.
    fn read(self, row: &AnyRow) -> StoreResult<Facts> {
        let mut facts = Facts {
            id: row.try_get(0)?,
            figures: Figures {
                count: row.try_get(1)?,
                completed: row.try_get(2)?,
                cancelled: row.try_get(3)?,
                no_shows: row.try_get(4)?,
                ..Figures::default()
            },
            ..Facts::default()
        };
        let mut at = 5;
        if self.times {
            facts.figures.last_at = row.try_get::<Option<i64>, _>(at)?.map(Timestamp);
            facts.figures.next_at = row.try_get::<Option<i64>, _>(at + 1)?.map(Timestamp);
            at += 2;
        }
        if self.person {
            facts.external_id = row.try_get(at)?;
            facts.name = row.try_get(at + 1)?;
            facts.phone = row.try_get(at + 2)?;
            facts.email = row.try_get(at + 3)?;
            facts.locale = row.try_get(at + 4)?;
            facts.timezone = row.try_get(at + 5)?;
            facts.created_at = Timestamp(row.try_get(at + 6)?);
            at += 7;
        }
        if self.documents {
            facts.attributes = row.try_get(at)?;
            facts.preferences = row.try_get(at + 1)?;
            facts.consents = row.try_get(at + 2)?;
        }
        Ok(facts)
    }
}

/// Contacts from the newest on, after the one of this id; without erased ones.
pub async fn stream(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    reads: Reads,
    after: Option<&str>,
    limit: usize,
    now: Timestamp,
) -> StoreResult<Vec<Facts>> {
    static SQL: [OnceLock<Statement>; 8] = [const { OnceLock::new() }; 8];
    let which = usize::from(reads.times) | usize::from(reads.person) << 1 | usize::from(reads.documents) << 2;
    let sql = SQL[which].get_or_init(|| {
        Statement::new(format!(
            "select {} from contacts c where c.tenant_id = $1 and c.contact_id < $2 and c.erased_at is null \
             order by c.contact_id desc limit $3",
            reads.columns("$4")
        ))
    });
    // No id is later: they are hexadecimal.
    let page = query(sql.sql()).bind(tenant.as_str()).bind(after.unwrap_or("z")).bind(limit as i64);
    let page = if reads.times { page.bind(now.0) } else { page };
    page.fetch_all(db).await?.iter().map(|row| reads.read(row)).collect()
}

/// Everything about these contacts; erased ones are nobody.
pub async fn facts(
    db: impl AnyExecutor<'_>,
    engine: Engine,
    tenant: &TenantId,
    ids: &[&str],
    now: Timestamp,
) -> StoreResult<Vec<Facts>> {
    #[derive(Serialize)]
    struct Asked<'a> {
        id: &'a str,
    }
    static SQL: PerEngine = PerEngine::new();
    let sql = SQL.get(engine, || {
        format!(
            "with v as materialized (select $2 as t, id from {}) select {} from v cross join contacts c \
             where c.tenant_id = v.t and c.contact_id = v.id and c.erased_at is null",
            engine.rows("id text"),
            Reads::ALL.columns("$3")
        )
    });
    let asked: Vec<Asked<'_>> = ids.iter().map(|id| Asked { id }).collect();
    let rows = query(sql).bind(to_json(&asked)).bind(tenant.as_str()).bind(now.0).fetch_all(db).await?;
    rows.iter().map(|row| Reads::ALL.read(row)).collect()
}

/// How many there are to be asked about.
pub async fn size(db: impl AnyExecutor<'_>, tenant: &TenantId) -> StoreResult<i64> {
    Ok(query_scalar("select count(*) from contacts where tenant_id = $1 and erased_at is null")
        .bind(tenant.as_str())
        .fetch_one(db)
        .await?)
}
