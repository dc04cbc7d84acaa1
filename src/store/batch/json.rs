//! A batch as JSON texts, one a kind: on PostgreSQL the way of every batch, in one statement; on SQLite the way of one
//! that shares the transaction of questions asked before it.

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use sqlx::{AnyConnection, AssertSqlSafe, Executor, Row, query};

use super::spec::{Spec, names, spec};
use super::{Batch, Changed, Kind, Rows, Val};
use crate::error::StoreError;
use crate::store::{Engine, StoreResult, to_json};

/// One statement of data-changing CTEs: one round trip. `texts` finds it again by its kinds.
pub(super) async fn commit_postgres(
    conn: &mut AnyConnection,
    batch: &Batch,
    open: bool,
    texts: &mut std::collections::HashMap<Vec<Kind>, &'static str>,
) -> StoreResult<Changed> {
    let kinds: Vec<Kind> = batch.kinds().collect();
    // Few combinations come up, and each for the life of the process.
    let text: &'static str = texts.entry(kinds.clone()).or_insert_with(|| Box::leak(ctes(&kinds).into_boxed_str()));
    let mut full = query(AssertSqlSafe(text));
    for kind in &kinds {
        full = full.bind(json(*kind, batch.rows(*kind)));
    }
    let row = full.fetch_one(&mut *conn).await.map_err(|e| lost(e, !open))?;
    if open {
        conn.execute("commit").await.map_err(|e| lost(e, true))?;
    }
    let mut changed = Changed::default();
    for (n, kind) in kinds.into_iter().enumerate() {
        changed.add(kind, row.try_get::<i64, _>(n)? as u64);
    }
    Ok(changed)
}

fn ctes(kinds: &[Kind]) -> String {
    // Parts of one statement do not see each other's rows, but what the first returns can be asked.
    let keyed = kinds.contains(&Kind::Key);
    let name = |n: usize, kind: Kind| if kind == Kind::Key { "key_rows".to_owned() } else { format!("p{n}") };
    let parts: Vec<String> = kinds
        .iter()
        .enumerate()
        .map(|(n, kind)| {
            let spec = spec(*kind);
            let free = if keyed { free(*kind, "key_rows") } else { "v.k is null".to_owned() };
            let rows = format!("json_to_recordset(${}::json) as v({})", n + 1, spec.columns);
            let returning = if *kind == Kind::Key { "tenant_id, idempotency_key, request_id" } else { "1" };
            format!("{} as ({} returning {returning})", name(n, *kind), over(&spec, &rows, &free))
        })
        .collect();
    let counts: Vec<String> =
        kinds.iter().enumerate().map(|(n, kind)| format!("(select count(*) from {})", name(n, *kind))).collect();
    format!("with {} select {}", parts.join(", "), counts.join(", "))
}

/// One statement a kind, on a connection with a transaction open.
pub(super) async fn commit_sqlite(conn: &mut AnyConnection, batch: &Batch) -> StoreResult<Changed> {
    let mut changed = Changed::default();
    for kind in batch.kinds() {
        let spec = spec(kind);
        let text = over(&spec, &Engine::Sqlite.rows(spec.columns), &free(kind, "idempotency_keys"));
        let full = query(AssertSqlSafe(text)).bind(json(kind, batch.rows(kind)));
        match conn.execute(full).await {
            Ok(done) => changed.add(kind, done.rows_affected()),
            Err(e) => {
                let _ = conn.execute("rollback").await;
                return Err(e.into());
            }
        }
    }
    conn.execute("commit").await?;
    Ok(changed)
}

fn over(spec: &Spec, rows: &str, free: &str) -> String {
    spec.sql.replace("{from v}", &format!(" from {rows}")).replace("{its key was free}", free)
}

/// The row's Idempotency-Key, if it has one, is in force because this very request put it there.
fn free(kind: Kind, keys: &str) -> String {
    let request = if kind == Kind::Notification { "coalesce(v.request, v.id)" } else { "v.request" };
    format!(
        "v.k is null or exists (select 1 from {keys} i where i.tenant_id = v.t and i.idempotency_key = v.k \
         and i.request_id = {request})"
    )
}

/// Where the commit itself was under way, a lost connection leaves the outcome unknown.
fn lost(e: sqlx::Error, committing: bool) -> StoreError {
    match StoreError::from(e) {
        StoreError::Unavailable(detail) if committing => StoreError::OutcomeUnknown(detail),
        other => other,
    }
}

/// `v`: an array of objects.
fn json(kind: Kind, rows: &Rows) -> String {
    struct Objects<'a>(&'a [&'static str], &'a [Val]);

    impl Serialize for Objects<'_> {
        fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
            let mut list = s.serialize_seq(None)?;
            for row in self.1.chunks(self.0.len()) {
                list.serialize_element(&Object(self.0, row))?;
            }
            list.end()
        }
    }

    struct Object<'a>(&'a [&'static str], &'a [Val]);

    impl Serialize for Object<'_> {
        fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
            // Absent and null are the same to both databases.
            s.collect_map(self.0.iter().zip(self.1).filter(|(_, value)| !matches!(value, Val::Null)))
        }
    }

    let names: Vec<&'static str> = names(spec(kind).columns).collect();
    to_json(&Objects(&names, &rows.values))
}
