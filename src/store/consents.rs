//! The history of what people agreed to or refused. What holds now stands on the contact.

use serde::Serialize;
use sqlx::{AnyExecutor, Row, query};

use super::{Engine, PerEngine, StoreResult, to_json};
use crate::clock::Timestamp;
use crate::contact::Consent;
use crate::error::StoreError;
use crate::ids::{ContactId, TenantId};

#[derive(Serialize)]
struct Written<'a> {
    c: &'a str,
    id: String,
    ch: &'a str,
    cat: &'a str,
    g: i64,
    s: &'a str,
    t: i64,
}

pub async fn insert(
    db: impl AnyExecutor<'_>,
    engine: Engine,
    tenant: &TenantId,
    said: &[(ContactId, Consent)],
) -> StoreResult<()> {
    static SQL: PerEngine = PerEngine::new();
    if said.is_empty() {
        return Ok(());
    }
    let sql = SQL.get(engine, || {
        format!(
            "insert into consents (tenant_id, contact_id, consent_id, channel, category, granted, source, at) \
             select $2, c, id, ch, cat, g, s, t from {}",
            engine.rows("c text, id text, ch text, cat text, g bigint, s text, t bigint")
        )
    });
    let rows: Vec<Written<'_>> = said
        .iter()
        .map(|(contact, consent)| Written {
            c: contact.as_str(),
            id: uuid::Uuid::now_v7().to_string(),
            ch: &consent.channel,
            cat: consent.category.as_str(),
            g: i64::from(consent.granted),
            s: &consent.source,
            t: consent.at.0,
        })
        .collect();
    query(sql).bind(to_json(&rows)).bind(tenant.as_str()).execute(db).await?;
    Ok(())
}

/// A line of the history.
#[derive(Debug, Clone)]
pub struct ConsentRow {
    pub id: String,
    pub consent: Consent,
}

/// In the order in which they were heard of, the last first.
pub async fn list(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    contact: &ContactId,
    before: Option<&str>,
    limit: usize,
) -> StoreResult<Vec<ConsentRow>> {
    let rows = query(
        "select consent_id, channel, category, granted, source, at from consents \
         where tenant_id = $1 and contact_id = $2 and ($3 is null or consent_id < $3) order by consent_id desc limit $4",
    )
    .bind(tenant.as_str())
    .bind(contact.as_str())
    .bind(before)
    .bind(limit as i64)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            let category: String = row.try_get("category")?;
            let consent = Consent {
                channel: row.try_get("channel")?,
                category: serde_json::from_value(category.into())
                    .map_err(|e| StoreError::Unreadable(format!("category: {e}")))?,
                granted: row.try_get::<i64, _>("granted")? != 0,
                source: row.try_get("source")?,
                at: Timestamp(row.try_get("at")?),
            };
            Ok(ConsentRow { id: row.try_get("consent_id")?, consent })
        })
        .collect()
}
