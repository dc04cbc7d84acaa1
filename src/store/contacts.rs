//! Stored people.

use std::sync::OnceLock;

use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyExecutor, AssertSqlSafe, Row, query, query_scalar};
use uuid::Uuid;

use super::imports::{Mark, Marked};
use super::{Engine, PerEngine, Statement, StoreResult, json_column, like_pattern, to_json, unread};
use crate::clock::Timestamp;
use crate::contact::{Consent, Contact, Figures, Preferences};
use crate::error::StoreError;
use crate::ids::{ContactId, TenantId};

const COLUMNS: &str = "c.contact_id, c.external_id, c.name, c.phone, c.email, c.locale, c.timezone, c.attributes, \
    c.preferences, c.consents, c.created_at, c.updated_at, c.erased_at";

/// When the last and the next appointment are, at the moment `now`. What is kept is exact from the last appointment to
/// the next; only a row whose next appointment has begun since (or that is asked about the past) costs two look-ups.
pub(super) fn last_and_next(now: &str) -> String {
    let [last, next] = look_up_last_and_next("c.tenant_id", "c.contact_id", now);
    let passed = format!("c.next_at <= {now} or c.last_at > {now}");
    format!(
        "case when {passed} then {last} else c.last_at end as last_at, \
         case when {passed} then {next} else c.next_at end as next_at"
    )
}

/// One step into the index of a contact's appointments each, however many there are. The person and the time are compared
/// as one, for else PostgreSQL, where it knows little of a table yet, walks through everybody's by their time instead.
pub(super) fn look_up_last_and_next(tenant: &str, contact: &str, now: &str) -> [String; 2] {
    let look_up = |inside: &str, order: &str| {
        format!(
            "(select a.starts_at from appointments a where a.tenant_id = {tenant} and {inside} \
             and a.status not in ('CANCELLED', 'NO_SHOW') order by a.contact_id {order}, a.starts_at {order} limit 1)"
        )
    };
    [
        look_up(&format!("a.contact_id >= {contact} and (a.contact_id, a.starts_at) <= ({contact}, {now})"), "desc"),
        look_up(&format!("a.contact_id <= {contact} and (a.contact_id, a.starts_at) > ({contact}, {now})"), "asc"),
    ]
}

/// The counts are kept as they are.
const COUNTS: &str = "c.appointments, c.completed, c.cancelled, c.no_shows";

fn read(row: &AnyRow) -> StoreResult<Contact> {
    Ok(Contact {
        id: row.try_get::<String, _>("contact_id")?.into(),
        external_id: row.try_get("external_id")?,
        name: row.try_get("name")?,
        phone: row.try_get("phone")?,
        email: row.try_get("email")?,
        locale: row.try_get("locale")?,
        timezone: row.try_get("timezone")?,
        attributes: row.try_get("attributes")?,
        preferences: json_column(row, "preferences")?,
        consents: json_column(row, "consents")?,
        created_at: Timestamp(row.try_get("created_at")?),
        updated_at: Timestamp(row.try_get("updated_at")?),
        erased_at: row.try_get::<Option<i64>, _>("erased_at")?.map(Timestamp),
    })
}

/// A contact and what its appointments come to.
#[derive(Debug, Clone)]
pub struct Listed {
    pub contact: Contact,
    pub figures: Figures,
}

fn read_listed(row: &AnyRow) -> StoreResult<Listed> {
    let figures = Figures {
        count: row.try_get("appointments")?,
        completed: row.try_get("completed")?,
        cancelled: row.try_get("cancelled")?,
        no_shows: row.try_get("no_shows")?,
        last_at: row.try_get::<Option<i64>, _>("last_at")?.map(Timestamp),
        next_at: row.try_get::<Option<i64>, _>("next_at")?.map(Timestamp),
    };
    Ok(Listed { contact: read(row)?, figures })
}

/// By id, else by external id. Erased ones are found by id.
pub async fn find(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    id: &str,
    now: Timestamp,
) -> StoreResult<Option<Listed>> {
    static SQL: OnceLock<Statement> = OnceLock::new();
    let sql = SQL.get_or_init(|| {
        Statement::new(format!(
            "select {COLUMNS}, {COUNTS}, {} from contacts c where c.tenant_id = $1 \
             and (c.contact_id = $3 or c.external_id = $3) order by case when c.contact_id = $3 then 0 else 1 end limit 1",
            last_and_next("$2")
        ))
    });
    let row = query(sql.sql()).bind(tenant.as_str()).bind(now.0).bind(id).fetch_optional(db).await?;
    row.as_ref().map(read_listed).transpose()
}

/// What a list may be narrowed by; everything optional.
#[derive(Debug, Default, Clone)]
pub struct Filter {
    /// Words found in name, ids or addresses, whatever their case and accents.
    pub q: Option<String>,
    /// Canonical.
    pub phone: Option<String>,
    pub email: Option<String>,
    /// Only rows before this id.
    pub before: Option<String>,
}

/// Newest first, without erased ones.
pub async fn list(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    filter: &Filter,
    limit: usize,
    now: Timestamp,
) -> StoreResult<Vec<Listed>> {
    // An address is looked up in its index, which a plan made for every case could not use.
    static ALL: OnceLock<Statement> = OnceLock::new();
    static BY_PHONE: OnceLock<Statement> = OnceLock::new();
    static BY_EMAIL: OnceLock<Statement> = OnceLock::new();
    let phone = "c.phone = $4";
    let email = "c.email is not null and lower(c.email) = $5";
    let make = |phone: &str, email: &str| {
        Statement::new(format!(
            "select {COLUMNS}, {COUNTS}, {} from contacts c where c.tenant_id = $1 and ($3 is null or c.contact_id < $3) \
             and ({phone}) and ({email}) and ($6 is null or c.search like $6 escape '\\') and c.erased_at is null \
             order by c.contact_id desc limit $7",
            last_and_next("$2")
        ))
    };
    let (no_phone, no_email) = ("$4 is null or c.phone = $4", "$5 is null or lower(c.email) = $5");
    let sql = match (&filter.phone, &filter.email) {
        (Some(_), _) => BY_PHONE.get_or_init(|| make(phone, no_email)),
        (None, Some(_)) => BY_EMAIL.get_or_init(|| make(no_phone, email)),
        (None, None) => ALL.get_or_init(|| make(no_phone, no_email)),
    };
    let rows = query(sql.sql())
        .bind(tenant.as_str())
        .bind(now.0)
        .bind(filter.before.as_deref())
        .bind(filter.phone.as_deref())
        .bind(filter.email.as_deref().map(str::to_lowercase))
        .bind(filter.q.as_deref().map(|q| like_pattern(&crate::fold::fold(q))))
        .bind(limit as i64)
        .fetch_all(db)
        .await?;
    rows.iter().map(read_listed).collect()
}

/// Those of these ids, in no order; without erased ones.
pub async fn listed(
    db: impl AnyExecutor<'_>,
    engine: Engine,
    tenant: &TenantId,
    ids: &[&str],
    now: Timestamp,
) -> StoreResult<Vec<Listed>> {
    #[derive(Serialize)]
    struct Asked<'a> {
        id: &'a str,
    }
    static SQL: PerEngine = PerEngine::new();
    let sql = SQL.get(engine, || {
        format!(
            "with v as materialized (select $3 as t, id from {}) select {COLUMNS}, {COUNTS}, {} \
             from v cross join contacts c where c.tenant_id = v.t and c.contact_id = v.id and c.erased_at is null",
            engine.rows("id text"),
            last_and_next("$2")
        )
    });
    let asked: Vec<Asked<'_>> = ids.iter().map(|id| Asked { id }).collect();
    let rows = query(sql).bind(to_json(&asked)).bind(now.0).bind(tenant.as_str()).fetch_all(db).await?;
    rows.iter().map(read_listed).collect()
}

/// By what one row of a batch may find its person.
#[derive(Debug, Serialize)]
pub struct Key<'a> {
    /// Names the row in the answer.
    pub n: i64,
    #[serde(rename = "x", skip_serializing_if = "Option::is_none")]
    pub external_id: Option<&'a str>,
    #[serde(rename = "p", skip_serializing_if = "Option::is_none")]
    pub phone: Option<&'a str>,
    /// In lower case.
    #[serde(rename = "e", skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    ExternalId,
    Phone,
    Email,
}

#[derive(Debug, Clone)]
pub struct Found {
    pub n: i64,
    pub by: By,
    pub contact: Contact,
    pub mark: Option<Mark>,
}

/// Everybody whom these keys could mean; who is found by external id is not looked for by address as well.
///
/// Sets are looked up from their side, key by key, and not by walking through a tenant's people: for SQLite the order
/// of a `cross join` is an order, and behind a materialized row PostgreSQL does not see that the tenant is one and the
/// same, which makes it look tempting to read all of it.
pub async fn lookup(
    db: impl AnyExecutor<'_>,
    engine: Engine,
    tenant: &TenantId,
    keys: &[Key<'_>],
) -> StoreResult<Vec<Found>> {
    static SQL: PerEngine = PerEngine::new();
    let sql = SQL.get(engine, || {
        let columns = format!("{COLUMNS}, c.import_mark, c.import_line");
        format!(
            "with v as materialized (select $2 as t, n, x, p, e from {}), \
             known as materialized (select v.n as n, cast(0 as bigint) as found_by, {columns} \
             from v cross join contacts c where c.tenant_id = v.t and c.external_id = v.x) \
             select * from known \
             union all \
             select v.n, cast(1 as bigint), {columns} from v cross join contacts c \
             where c.tenant_id = v.t and c.phone = v.p and v.n not in (select n from known) \
             union all \
             select v.n, cast(2 as bigint), {columns} from v cross join contacts c \
             where c.tenant_id = v.t and c.email is not null and lower(c.email) = v.e \
             and v.n not in (select n from known)",
            engine.rows("n bigint, x text, p text, e text")
        )
    });
    let rows = query(sql).bind(to_json(&keys)).bind(tenant.as_str()).fetch_all(db).await?;
    rows.iter()
        .map(|row| {
            let by = match row.try_get::<i64, _>("found_by")? {
                0 => By::ExternalId,
                1 => By::Phone,
                _ => By::Email,
            };
            Ok(Found { n: row.try_get("n")?, by, contact: read(row)?, mark: Mark::read(row)? })
        })
        .collect()
}

/// Whom each of these ids or external ids means; an id goes before an equal external id. Erased ones are nobody.
pub async fn resolve_ids(
    db: impl AnyExecutor<'_>,
    engine: Engine,
    tenant: &TenantId,
    ids: &[&str],
) -> StoreResult<Vec<Option<ContactId>>> {
    #[derive(Serialize)]
    struct Asked<'a> {
        n: usize,
        x: &'a str,
        /// Where it may be an id.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
    }
    static SQL: PerEngine = PerEngine::new();
    // One text is the answer: of thousands of rows each would cost more on its way here than it takes to find.
    let sql = SQL.get(engine, || {
        format!(
            "with v as materialized (select $2 as t, n, x, id from {}) \
             select string_agg(cast(n as text) || ' ' || contact_id, ' ') from ( \
             select v.n as n, c.contact_id as contact_id from v cross join contacts c \
             where c.tenant_id = v.t and c.external_id = v.x and c.erased_at is null \
             union all \
             select v.n, c.contact_id from v cross join contacts c \
             where c.tenant_id = v.t and c.contact_id = v.id and c.erased_at is null) as found",
            engine.rows("n bigint, x text, id text")
        )
    });
    let asked = ids.iter().enumerate().map(|(n, x)| Asked { n, x, id: Uuid::try_parse(x).ok().and(Some(x)) });
    let asked: Vec<Asked<'_>> = asked.collect();
    let found: Option<String> = query_scalar(sql).bind(to_json(&asked)).bind(tenant.as_str()).fetch_one(db).await?;
    let mut whose = vec![None; ids.len()];
    let found = found.unwrap_or_default();
    let mut words = found.split(' ');
    while let (Some(n), Some(id)) = (words.next(), words.next()) {
        let n = n.parse().ok().filter(|n| *n < ids.len());
        let n: usize = n.ok_or_else(|| StoreError::Unreadable("which of the ids somebody was found by".into()))?;
        if whose[n].is_none() || ids[n] == id {
            whose[n] = Some(id.to_owned().into());
        }
    }
    Ok(whose)
}

/// As [`resolve_ids`], and everything about them, in an order in which who was found by id comes last.
pub async fn resolve(
    db: impl AnyExecutor<'_>,
    engine: Engine,
    tenant: &TenantId,
    ids: &[&str],
) -> StoreResult<Vec<(String, Contact)>> {
    #[derive(Serialize)]
    struct Asked<'a> {
        k: &'a str,
    }
    static SQL: PerEngine = PerEngine::new();
    let sql = SQL.get(engine, || {
        format!(
            "with v as materialized (select $2 as t, k from {}) \
             select v.k as k, cast(1 as bigint) as weight, {COLUMNS} from v cross join contacts c \
             where c.tenant_id = v.t and c.external_id = v.k and c.erased_at is null \
             union all \
             select v.k, cast(2 as bigint), {COLUMNS} from v cross join contacts c \
             where c.tenant_id = v.t and c.contact_id = v.k and c.erased_at is null order by 2",
            engine.rows("k text")
        )
    });
    let asked: Vec<Asked<'_>> = ids.iter().map(|k| Asked { k }).collect();
    let rows = query(sql).bind(to_json(&asked)).bind(tenant.as_str()).fetch_all(db).await?;
    rows.iter().map(|row| Ok((row.try_get("k")?, read(row)?))).collect()
}

/// What is usual is left out: a batch's text is parsed as often as it has columns.
#[derive(Serialize)]
struct Written<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    x: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    e: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    l: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    z: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    a: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefs: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cons: Option<String>,
    s: String,
    c: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ml: Option<i64>,
}

/// What [`Written`] is to the database.
const WRITTEN: &str = "id text, x text, name text, p text, e text, l text, z text, a text, prefs text, cons text, \
    s text, c bigint, ml bigint";

impl<'a> Written<'a> {
    fn all(contacts: &'a [(Contact, i64)], import: Option<i64>) -> String {
        let row = |(contact, line): &'a (Contact, i64)| Self {
            id: contact.id.as_str(),
            x: contact.external_id.as_deref(),
            name: contact.name.as_deref(),
            p: contact.phone.as_deref(),
            e: contact.email.as_deref(),
            l: contact.locale.as_deref(),
            z: contact.timezone.as_deref(),
            a: Some(contact.attributes.as_str()).filter(|a| *a != "{}"),
            prefs: Some(&contact.preferences).filter(|p| **p != Preferences::default()).map(to_json),
            cons: Some(&contact.consents).filter(|c| !c.is_empty()).map(to_json),
            s: contact.search_text(),
            c: contact.created_at.0,
            ml: import.map(|_| *line),
        };
        to_json(&contacts.iter().map(row).collect::<Vec<_>>())
    }
}

/// Writes contacts nobody knew, for an import or none, with the line each came from.
pub async fn insert(
    db: impl AnyExecutor<'_>,
    engine: Engine,
    tenant: &TenantId,
    import: Option<i64>,
    contacts: &[(Contact, i64)],
    now: Timestamp,
) -> StoreResult<()> {
    static SQL: PerEngine = PerEngine::new();
    if contacts.is_empty() {
        return Ok(());
    }
    let sql = SQL.get(engine, || {
        format!(
            "insert into contacts (tenant_id, contact_id, external_id, name, phone, email, locale, timezone, attributes, \
             preferences, consents, search, created_at, updated_at, import_mark, import_line) \
             select $2, id, x, name, p, e, l, z, coalesce(a, '{{}}'), coalesce(prefs, '{{}}'), coalesce(cons, '[]'), s, c, \
             $3, $4, ml from {}",
            engine.rows(WRITTEN)
        )
    });
    let rows = Written::all(contacts, import);
    query(sql).bind(rows).bind(tenant.as_str()).bind(now.0).bind(import).execute(db).await?;
    Ok(())
}

/// Writes known contacts whole, as [`insert`]; none may come twice.
pub async fn update(
    db: impl AnyExecutor<'_>,
    engine: Engine,
    tenant: &TenantId,
    import: Option<i64>,
    contacts: &[(Contact, i64)],
    now: Timestamp,
) -> StoreResult<()> {
    static SQL: PerEngine = PerEngine::new();
    if contacts.is_empty() {
        return Ok(());
    }
    let sql = SQL.get(engine, || {
        format!(
            "with v as materialized (select $2 as t, id, x, name, p, e, l, z, a, prefs, cons, s, ml from {}) \
             update contacts set external_id = v.x, name = v.name, phone = v.p, email = v.e, locale = v.l, \
             timezone = v.z, attributes = coalesce(v.a, '{{}}'), preferences = coalesce(v.prefs, '{{}}'), \
             consents = coalesce(v.cons, '[]'), search = v.s, updated_at = $3, import_mark = $4, import_line = v.ml \
             from v where contacts.tenant_id = v.t and contacts.contact_id = v.id",
            engine.rows(WRITTEN)
        )
    });
    let rows = Written::all(contacts, import);
    query(sql).bind(rows).bind(tenant.as_str()).bind(now.0).bind(import).execute(db).await?;
    Ok(())
}

/// Says of contacts that an import came by them and changed nothing.
pub async fn touch(
    db: impl AnyExecutor<'_>,
    engine: Engine,
    tenant: &TenantId,
    import: i64,
    contacts: &[(Contact, i64)],
) -> StoreResult<()> {
    static MARKED: Marked = Marked::new("contacts", "contact_id");
    MARKED.touch(db, engine, tenant, import, contacts.iter().map(|(c, line)| (c.id.as_str(), *line))).await
}

/// Whether the tenant knows anybody.
pub async fn any(db: impl AnyExecutor<'_>, tenant: &TenantId) -> StoreResult<bool> {
    let row =
        query("select 1 from contacts where tenant_id = $1 limit 1").bind(tenant.as_str()).fetch_optional(db).await?;
    Ok(row.is_some())
}

/// What routing must know of a person before it writes to them.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    pub id: ContactId,
    /// The phone, else the e-mail address in lower case: by whichever address somebody is written to, one person.
    pub person: Option<String>,
    pub preferences: Preferences,
    pub consents: Vec<Consent>,
}

/// Preferences and consents of many people, in one look-up by key.
pub async fn standings(
    db: impl AnyExecutor<'_>,
    engine: Engine,
    tenant: &TenantId,
    ids: &[&str],
) -> StoreResult<Vec<Standing>> {
    #[derive(Serialize)]
    struct Asked<'a> {
        id: &'a str,
    }
    static SQL: PerEngine = PerEngine::new();
    let sql = SQL.get(engine, || {
        format!(
            "with v as materialized (select $2 as t, id from {}) \
             select c.contact_id, coalesce(c.phone, lower(c.email)) as person, c.preferences, c.consents \
             from v cross join contacts c \
             where c.tenant_id = v.t and c.contact_id = v.id",
            engine.rows("id text")
        )
    });
    let asked: Vec<Asked<'_>> = ids.iter().map(|id| Asked { id }).collect();
    let rows = query(sql).bind(to_json(&asked)).bind(tenant.as_str()).fetch_all(db).await?;
    rows.iter()
        .map(|row| {
            Ok(Standing {
                id: row.try_get::<String, _>("contact_id")?.into(),
                person: row.try_get("person")?,
                preferences: json_column(row, "preferences")?,
                consents: json_column(row, "consents")?,
            })
        })
        .collect()
}

/// What a notification keeps of an erased recipient: the contact's id, `$2`. What waited is cancelled; an open call
/// can't be called back, but whatever would come after it has nobody to go to.
const FORGET: &str = "update notifications set recipient = '{\"contactId\":\"' || $2 || '\"}', contact_id = $2, \
    address = null, content = case when content is null then null else '{\"message\":\"\"}' end, \
    reason = case when status in ('scheduled', 'queued') then 'contact_erased' else reason end, \
    due_at = case when status in ('scheduled', 'queued') then null else due_at end, \
    lease_token = case when status in ('scheduled', 'queued') then null else lease_token end, \
    status = case when status in ('scheduled', 'queued') then 'cancelled' else status end, updated_at = $3 \
    where tenant_id = $1 and ";

/// A person's notifications that still wait for something.
pub async fn waiting(db: impl AnyExecutor<'_>, tenant: &TenantId, contact: &Contact) -> StoreResult<Vec<String>> {
    let rows = query(
        "select notification_id from notifications where tenant_id = $1 and due_at is not null \
         and (contact_id = $2 or lower(address) in ($3, lower($4)))",
    )
    .bind(tenant.as_str())
    .bind(contact.id.as_str())
    .bind(contact.phone.as_deref())
    .bind(contact.email.as_deref())
    .fetch_all(db)
    .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Takes a person out of a notification that waits. On its own, not in a transaction with others: the one task that
/// writes what sending produces takes many such rows at once, in an order of its own.
pub async fn forget_waiting(
    db: impl AnyExecutor<'_>,
    tenant: &TenantId,
    contact: &ContactId,
    notification: &str,
    now: Timestamp,
) -> StoreResult<()> {
    query(AssertSqlSafe(format!("{FORGET} notification_id = $4")))
        .bind(tenant.as_str())
        .bind(contact.as_str())
        .bind(now.0)
        .bind(notification)
        .execute(db)
        .await?;
    Ok(())
}

/// Forgets a person: everything that says who it was, here and in what they were sent, but for what still waits. The
/// row, its figures and the counts of notifications stay; so do suppressions of their addresses, or the next import
/// would write to them again. To be run in a transaction.
pub async fn erase(conn: &mut AnyConnection, tenant: &TenantId, contact: &Contact, now: Timestamp) -> StoreResult<()> {
    let (id, phone, email) = (contact.id.as_str(), contact.phone.as_deref(), contact.email.as_deref());
    let done = query(
        "update contacts set external_id = null, name = null, phone = null, email = null, locale = null, \
         timezone = null, attributes = '{}', preferences = '{}', consents = '[]', search = '', import_mark = null, \
         import_line = null, updated_at = $3, erased_at = $3 where tenant_id = $1 and contact_id = $2",
    )
    .bind(tenant.as_str())
    .bind(id)
    .bind(now.0)
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() != 1 {
        return Err(StoreError::Unreadable("a contact vanished while it was erased".into()));
    }
    for text in [
        "update consents set source = 'erased' where tenant_id = $1 and contact_id = $2",
        "update appointments set attributes = '{}' where tenant_id = $1 and contact_id = $2",
    ] {
        query(text).bind(tenant.as_str()).bind(id).execute(&mut *conn).await?;
    }
    // First what hangs on the notifications, while they can still be found by address.
    let theirs = "(n.contact_id = $2 or (n.address is not null and lower(n.address) in ($3, lower($4))))";
    for text in [
        "delete from dedupe_keys where tenant_id = $1 and lower(recipient) in ($2, $3, lower($4))",
        "delete from marketing_plan where tenant_id = $1 and person in ($2, $3, lower($4))",
        "delete from recipient_memory where tenant_id = $1 and lower(address) in ($2, $3, lower($4))",
        "delete from inbound_messages where tenant_id = $1 and lower(sender) in ($2, $3, lower($4))",
        "delete from sandbox_messages where tenant_id = $1 and notification_id in \
         (select n.notification_id from notifications n where n.tenant_id = $1 and {theirs})",
        "update idempotency_keys set response = '{\"success\":true,\"logId\":\"' || request_id || \
         '\",\"messageId\":null,\"notifications\":[]}' where tenant_id = $1 and response is not null and request_id in \
         (select n.request_id from notifications n where n.tenant_id = $1 and {theirs})",
    ] {
        query(AssertSqlSafe(text.replace("{theirs}", theirs)))
            .bind(tenant.as_str())
            .bind(id)
            .bind(phone)
            .bind(email)
            .execute(&mut *conn)
            .await?;
    }
    unread::erase(&mut *conn, tenant, [Some(id), phone, email]).await?;
    let theirs = "(contact_id = $2 or (address is not null and lower(address) in ($4, lower($5))))";
    query(AssertSqlSafe(format!("{FORGET} due_at is null and {theirs}")))
        .bind(tenant.as_str())
        .bind(id)
        .bind(now.0)
        .bind(phone)
        .bind(email)
        .execute(&mut *conn)
        .await?;
    Ok(())
}
