//! Segments: contacts picked by a script. Contacts stream past it in batches: while one is judged, the next is read, and
//! no more than two are ever held.

use std::ops::ControlFlow;
use std::time::Duration;

use chrono_tz::Tz;
use utoipa::ToSchema;

use crate::app::App;
use crate::clock::Timestamp;
use crate::contact::Facts;
use crate::error::{Error, Result};
use crate::ids::TenantId;
use crate::script::{BATCH, Moment, Person, Script, ScriptError, Verdict};
use crate::scripts::{Kind, Written};
use crate::settings::Level;
use crate::store::documents::{self, Document, Key};
use crate::store::segments::{self as store, Reads};
use crate::store::{StoreResult, documents::Kind as DocumentKind};
use crate::tenant::Tenant;

/// One run over a tenant's contacts may take this long.
const RUN_TIME: Duration = Duration::from_secs(60);

/// Contacts whose faults are told one by one.
const FAULTS: usize = 10;

/// A segment and who wrote it.
pub struct Segment {
    pub name: String,
    pub level: Level,
    /// Of the tenant's own.
    pub version: Option<i64>,
    script: Script,
    reads: Reads,
}

impl Segment {
    /// The tenant's own of this name, else the platform's.
    pub async fn find(app: &App, tenant: &TenantId, name: &str) -> Result<Self> {
        let own = documents::find(&app.db.pool, tenant, script_key(name, "")).await?;
        if let Some((document, written)) = own.map(written).transpose()?.filter(|(_, w)| w.kind == Kind::Segment) {
            let script = Kind::Segment.compile_for(tenant, &written.source).await;
            let script = script.map_err(|e| Error::script(&e, "/name"))?;
            let (level, version) = (Level::Tenant, Some(document.version));
            return Ok(Self { name: name.into(), level, version, script, reads: reads(&written.source) });
        }
        let shipped = app.scripts.get(Kind::Segment, name).ok_or(Error::NotFound)?;
        let script = shipped.script(Kind::Segment).await.map_err(|e| Error::script(&e, "/name"))?;
        let script = script.for_whom(tenant.as_str());
        let reads = reads(&shipped.source);
        Ok(Self { name: name.into(), level: Level::Platform, version: None, script, reads })
    }

    /// Shows the segment's script one contact after the other, the newest first, until `each` has seen enough. Of one
    /// tenant a few runs go on at once; the next ones wait, and those that are too many are refused.
    pub async fn walk(
        &self,
        app: &App,
        tenant: &Tenant,
        from: Option<String>,
        mut each: impl FnMut(&Person, &Verdict) -> ControlFlow<()>,
    ) -> Result<Walk> {
        let _turn = app.segment_runs.take(&tenant.id).await.ok_or_else(|| {
            let detail = "too many of this tenant's segments run or wait already; try again in a minute";
            Error::refused("rate-limited", detail)
        })?;
        let (began, now) = (app.clock.monotonic(), now(app, tenant));
        let elapsed = || app.clock.monotonic().saturating_sub(began);
        let mut walk = Walk { now: now.at, last: from, ..Walk::default() };
        let mut batch = self.read(app, &tenant.id, walk.last.as_deref(), now.at).await?;
        while let Some(last) = batch.last() {
            if elapsed() > RUN_TIME {
                let detail = format!("the run took more than {} s", RUN_TIME.as_secs());
                return Err(Error::script(&ScriptError::limit(detail), "/name"));
            }
            let last = last.id.clone();
            let people: Vec<Person> = batch.into_iter().map(|facts| Person::new(facts, now)).collect();
            let judging = self.script.include(people.clone(), now);
            let full = people.len() == BATCH;
            let reading =
                async { if full { self.read(app, &tenant.id, Some(&last), now.at).await } else { Ok(vec![]) } };
            let (verdicts, next) = tokio::join!(judging, reading);
            batch = next?;
            for (person, verdict) in people.iter().zip(&verdicts) {
                walk.contacts += 1;
                walk.operations += verdict.operations;
                if let Err(e) = &verdict.included {
                    walk.failed += 1;
                    if walk.faults.len() < FAULTS {
                        walk.faults.push((person.facts().id.clone(), e.clone()));
                    }
                }
                if each(person, verdict).is_break() {
                    walk.last = Some(person.facts().id.clone());
                    return Ok(walk.ended(self, tenant, elapsed()));
                }
            }
            walk.last = Some(last);
        }
        walk.last = None;
        Ok(walk.ended(self, tenant, elapsed()))
    }

    async fn read(&self, app: &App, tenant: &TenantId, after: Option<&str>, now: Timestamp) -> StoreResult<Vec<Facts>> {
        store::stream(&app.db.pool, tenant, self.reads, after, BATCH, now).await
    }
}

/// How a run went.
#[derive(Debug)]
pub struct Walk {
    pub now: Timestamp,
    /// Contacts that were asked about.
    pub contacts: u64,
    pub operations: u64,
    pub elapsed: Duration,
    /// Contacts on which the script failed; they are not in.
    pub failed: u64,
    /// The first of them.
    pub faults: Vec<(String, ScriptError)>,
    /// The contact it ended at; none at the end of them all.
    pub last: Option<String>,
}

impl Default for Walk {
    fn default() -> Self {
        let elapsed = Duration::ZERO;
        Self { now: Timestamp(0), contacts: 0, operations: 0, elapsed, failed: 0, faults: vec![], last: None }
    }
}

impl Walk {
    fn ended(self, segment: &Segment, tenant: &Tenant, elapsed: Duration) -> Self {
        let count = |outcome: &'static str, n: u64| {
            metrics::counter!("recado_script_runs_total", "kind" => "segment", "outcome" => outcome).increment(n);
        };
        count("ok", self.contacts - self.failed);
        count("failed", self.failed);
        if let Some((contact, error)) = self.faults.first() {
            tracing::warn!(
                tenant.id = %tenant.id, script = %segment.name, contact.id = %contact, failed = self.failed, %error,
                "a segment's script failed on some contacts"
            );
        }
        Self { elapsed, ..self }
    }
}

/// A contact on which a script failed.
#[derive(Debug, serde::Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScriptFault {
    /// The script's name.
    pub script: String,
    pub contact_id: String,
    pub line: Option<usize>,
    pub column: Option<usize>,
    /// `script_failed`, `script_limit` or `script_result`.
    pub code: &'static str,
    pub detail: String,
}

impl ScriptFault {
    pub fn new(script: &str, contact: &str, e: &ScriptError) -> Self {
        let (line, column, code) = (e.line, e.column, e.code);
        Self { script: script.into(), contact_id: contact.into(), line, column, code, detail: e.detail.clone() }
    }
}

/// This moment, in the tenant's zone.
pub fn now(app: &App, tenant: &Tenant) -> Moment {
    Moment::new(app.now(), zone(tenant, None))
}

/// The zone of a branch, else of its tenant.
pub fn zone(tenant: &Tenant, branch: Option<&str>) -> Tz {
    tenant.levels(branch).timezone(&tenant.platform).value.parse().unwrap_or(Tz::UTC)
}

pub fn script_key<'a>(name: &'a str, branch: &'a str) -> Key<'a> {
    Key { kind: DocumentKind::Script, branch, name, locale: "" }
}

/// What a stored script says.
pub fn written(document: Document) -> Result<(Document, Written)> {
    let written = serde_json::from_str(&document.body);
    written.map(|w| (document, w)).map_err(|e| Error::Internal(format!("a stored script: {e}")))
}

/// What a script may read of a contact: a field whose name does not stand in it can't be asked for, as there is no other
/// way to one than by name.
fn reads(source: &str) -> Reads {
    let any = |words: &[&str]| words.iter().any(|word| source.contains(word));
    Reads {
        times: any(&["lastAt", "nextAt", "daysSinceLast"]),
        person: any(&["externalId", "name", "phone", "email", "locale", "timezone", "createdAt"]),
        documents: any(&["attributes", "tags", "preferences", "consents"]),
    }
}
