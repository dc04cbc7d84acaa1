//! The playground: a script, saved or not, is tried on contacts, and everything it said is told.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::auth::Reader;
use super::body::JsonBody;
use super::error::Problem;
use crate::app::App;
use crate::clock::Timestamp;
use crate::error::{Error, Fault, Result};
use crate::ids::TenantId;
use crate::script::{Argument, Moment, Person, Script, ScriptError, Secrets};
use crate::scripts::{Kind, Subject, Written, check_result};
use crate::segment::{ScriptFault, script_key, written, zone};
use crate::store::segments::{self as store, Reads};

/// A script and whom to try it on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TestBody {
    /// A script that is saved; or else `kind` and `source`.
    name: Option<String>,
    kind: Option<Kind>,
    #[schema(example = "fn include(contact, now) { contact.appointments.count >= 10 }")]
    source: Option<String>,
    /// Up to 100; absent: the newest that are stored, or where there are none, an example.
    contacts: Option<Vec<Subject>>,
    /// How many of the stored ones: 1 to 100, 10 by default.
    limit: Option<u64>,
    /// The moment to try it at; absent: now.
    #[schema(value_type = Option<String>, format = DateTime)]
    now: Option<Timestamp>,
    /// For a route: `type`, `category`, `data` and the like, as the script shall see them.
    #[schema(value_type = Option<Object>)]
    notification: Option<Map<String, Value>>,
    /// For a route: the channels that could be used; absent: the tenant's order.
    channels: Option<Vec<String>>,
}

/// What a script made of the contacts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tested {
    kind: Kind,
    #[schema(value_type = String, format = DateTime)]
    now: Timestamp,
    /// Where the contacts came from: `given`, `stored` or `example`.
    contacts: &'static str,
    results: Vec<Tried>,
    /// Of the contacts, those the script failed on.
    failed: usize,
    operations: u64,
    elapsed_ms: f64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Tried {
    contact: Brief,
    /// A segment's true or false, a route's channels; of a campaign an object with what each function returned. Null where
    /// there is an error.
    #[schema(value_type = Object)]
    result: Value,
    /// What the script printed.
    log: Vec<String>,
    error: Option<ScriptFault>,
    operations: u64,
}

/// Which contact.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Brief {
    id: Option<String>,
    external_id: Option<String>,
    name: Option<String>,
}

const MOST: usize = 100;
const USUAL: u64 = 10;
/// The whole trial.
const TIME: Duration = Duration::from_secs(2);

/// Try a script
///
/// On given or stored contacts, without saving anything. A script that ends with none of them is a 422 that says why.
#[utoipa::path(post, path = "/v1/scripts/test", tag = "Scripts", request_body = TestBody, responses(
    (status = 200, body = Tested), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, description = "No script of this name", body = Problem), (status = 415, body = Problem),
    (status = 422, body = Problem)))]
pub(super) async fn post(
    State(app): State<Arc<App>>,
    Reader(tenant): Reader,
    JsonBody(body): JsonBody<TestBody>,
) -> Result<Json<Tested>> {
    check(&body)?;
    let began = Instant::now();
    let name = body.name.clone().unwrap_or_else(|| "source".to_owned());
    let settled = app.tenants.get(&tenant).await?;
    let now = Moment::new(body.now.unwrap_or_else(|| app.now()), zone(&settled, None));
    let (kind, script) = script(&app, &tenant, &body).await?;
    let (origin, people) = people(&app, &tenant, body.contacts, body.limit, now).await?;
    let order = || crate::notify::order(&settled, None).into_iter().map(Cow::into_owned).collect();
    let trial = Trial {
        kind,
        script,
        now,
        name,
        notification: body.notification.unwrap_or_default().into(),
        channels: Value::from(body.channels.unwrap_or_else(order)),
    };
    let (mut results, mut reasons) = (Vec::with_capacity(people.len()), Vec::new());
    for person in people {
        let (tried, reason) = trial.run(person, began).await;
        reasons.extend(reason);
        results.push(tried);
    }
    refuse_if_all(&trial, origin, &reasons, results.len())?;
    Ok(Json(Tested {
        kind,
        now: now.at,
        contacts: origin,
        failed: reasons.len(),
        operations: results.iter().map(|r| r.operations).sum(),
        results,
        elapsed_ms: (began.elapsed().as_secs_f64() * 1e5).round() / 100.0,
    }))
}

fn check(body: &TestBody) -> Result<()> {
    let mut faults = Vec::new();
    match (&body.name, &body.source, body.kind) {
        (Some(_), None, None) | (None, Some(_), Some(_)) => {}
        (None, Some(_), None) => faults.push(Fault::new("/kind", "required", "must be segment, campaign or route")),
        (None, None, _) => {
            faults.push(Fault::new("/source", "required", "give the name of a script, or kind and source"));
        }
        (Some(_), ..) => faults.push(Fault::new("/name", "exactly_one_of", "give either name, or kind and source")),
    }
    if body.contacts.as_ref().is_some_and(|c| c.is_empty() || c.len() > MOST) {
        faults.push(Fault::new("/contacts", "item_count", format!("must hold 1 to {MOST} contacts")));
    }
    if body.limit.is_some_and(|n| n == 0 || n > MOST as u64) {
        faults.push(Fault::new("/limit", "out_of_range", format!("must be a number from 1 to {MOST}")));
    }
    if faults.is_empty() { Ok(()) } else { Err(Error::Invalid { slug: "validation", faults }) }
}

/// The script to try. What a saved one's kind is, it says itself; a name that both a tenant and the platform have means
/// the tenant's.
async fn script(app: &App, tenant: &TenantId, body: &TestBody) -> Result<(Kind, Script)> {
    let (kind, source, pointer) = match (&body.source, &body.name) {
        (Some(source), _) => (body.kind.unwrap_or(Kind::Segment), source.clone(), "/source"),
        (None, name) => {
            let name = name.as_deref().unwrap_or_default();
            let own = crate::store::documents::find(&app.db.pool, tenant, script_key(name, "")).await?;
            if let Some(own) = own {
                let (_, Written { kind, source }) = written(own)?;
                (kind, source, "/name")
            } else {
                let shipped = app.scripts.iter().find(|(_, n, _)| *n == name).ok_or(Error::NotFound)?;
                (shipped.0, shipped.2.source.to_string(), "/name")
            }
        }
    };
    let script = kind.compile_for(tenant, &source).await.map_err(|e| Error::script(&e, pointer))?;
    Ok((kind, script))
}

async fn people(
    app: &App,
    tenant: &TenantId,
    given: Option<Vec<Subject>>,
    limit: Option<u64>,
    now: Moment,
) -> Result<(&'static str, Vec<Person>)> {
    if let Some(given) = given {
        return Ok(("given", given.into_iter().map(|s| Person::new(s.into_facts(now.at), now)).collect()));
    }
    let limit = limit.unwrap_or(USUAL) as usize;
    let stored = store::stream(&app.db.pool, tenant, Reads::ALL, None, limit, now.at).await?;
    if stored.is_empty() {
        return Ok(("example", vec![Person::new(Subject::example().into_facts(now.at), now)]));
    }
    Ok(("stored", stored.into_iter().map(|facts| Person::new(facts, now)).collect()))
}

struct Trial {
    kind: Kind,
    script: Script,
    now: Moment,
    name: String,
    notification: Value,
    channels: Value,
}

impl Trial {
    async fn run(&self, person: Person, began: Instant) -> (Tried, Option<ScriptError>) {
        let facts = person.facts();
        let (id, name) = (Some(facts.id.clone()).filter(|id| !id.is_empty()), facts.name.clone());
        let mut tried = Tried {
            contact: Brief { id, external_id: facts.external_id.clone(), name },
            result: Value::Null,
            log: vec![],
            error: None,
            operations: 0,
        };
        match self.results(&person, began, &mut tried).await {
            Ok(result) => {
                tried.result = result;
                (tried, None)
            }
            Err(e) => {
                tried.error = Some(ScriptFault::new(&self.name, &person.facts().id, &e));
                (tried, Some(e))
            }
        }
    }

    async fn results(&self, person: &Person, began: Instant, tried: &mut Tried) -> Result<Value, ScriptError> {
        let mut all = Map::new();
        for (function, _) in self.kind.functions() {
            if !self.script.has(function) {
                continue;
            }
            if began.elapsed() > TIME {
                let detail = format!("the whole trial took more than {} s", TIME.as_secs());
                return Err(ScriptError::limit(detail));
            }
            let ran = self.script.call_in_turn(function, self.arguments(person), Secrets::default()).await;
            tried.operations += ran.operations;
            tried.log.extend(ran.log);
            let result = ran.result?;
            check_result(function, &result)?;
            let out = *function == "include" && result == Value::Bool(false);
            all.insert((*function).to_owned(), result);
            if out {
                break;
            }
        }
        match self.kind {
            Kind::Campaign => Ok(all.into()),
            Kind::Segment | Kind::Route => Ok(all.into_iter().next().map(|(_, result)| result).unwrap_or_default()),
        }
    }

    fn arguments(&self, person: &Person) -> Vec<Argument> {
        let (contact, now) = (Argument::Contact(person.clone()), Argument::Moment(self.now));
        match self.kind {
            Kind::Route => vec![self.notification.clone().into(), contact, self.channels.clone().into(), now],
            Kind::Segment | Kind::Campaign => vec![contact, now],
        }
    }
}

/// A script that used more than it may, or returned nonsense, for everybody is refused as one that doesn't compile is.
fn refuse_if_all(trial: &Trial, origin: &str, reasons: &[ScriptError], people: usize) -> Result<()> {
    let told = reasons.iter().find(|e| matches!(e.code, "script_limit" | "script_result"));
    match told {
        Some(first) if reasons.len() == people => {
            let mut error = Error::script(first, "/source");
            if let Error::Invalid { faults, .. } = &mut error {
                *faults = reasons
                    .iter()
                    .take(10)
                    .enumerate()
                    .map(|(n, e)| match origin {
                        "given" => e.fault(format!("/contacts/{n}")),
                        _ => e.fault(if trial.name == "source" { "/source" } else { "/name" }),
                    })
                    .collect();
            }
            Err(error)
        }
        _ => Ok(()),
    }
}
