//! The route script: asked for the channels of a notification whose caller named none. Whatever it does, no notification
//! is lost by it: where it fails, the plain order of the settings is taken, and the reason is kept.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::request::Checked;
use super::{Wanted, route};
use crate::app::App;
use crate::clock::Timestamp;
use crate::contact::Facts;
use crate::content::{Body, Hop, Recipient};
use crate::error::Result;
use crate::script::{Argument, Moment, Person, Script, ScriptError, Secrets};
use crate::scripts::{Kind, ROUTE, Written, read_hops};
use crate::segment::{written, zone};
use crate::settings::Level;
use crate::standing::Standing;
use crate::store::documents::Document;
use crate::store::segments;
use crate::tenant::Tenant;

/// A tenant's or a branch's own route script.
pub struct RouteScript {
    version: i64,
    written: Written,
    /// Compiled when the first notification asks.
    compiled: OnceLock<Result<Script, ScriptError>>,
}

impl RouteScript {
    /// Those of a tenant and its branches, by branch; those of `before` that are the same stay compiled.
    pub fn all(
        documents: Vec<Document>,
        mut before: impl FnMut(&str, i64) -> Option<std::sync::Arc<Self>>,
    ) -> Result<HashMap<String, std::sync::Arc<Self>>> {
        let mut all = HashMap::new();
        for document in documents {
            let script = if let Some(kept) = before(&document.branch, document.version) {
                kept
            } else {
                let (document, written) = written(document.clone())?;
                std::sync::Arc::new(Self { version: document.version, written, compiled: OnceLock::new() })
            };
            if script.written.kind == Kind::Route {
                all.insert(document.branch, script);
            }
        }
        Ok(all)
    }

    pub fn version(&self) -> i64 {
        self.version
    }

    async fn script(&self, tenant: &Tenant) -> Result<Script, ScriptError> {
        if let Some(compiled) = self.compiled.get() {
            return compiled.clone();
        }
        let compiled = Kind::Route.compile_for(&tenant.id, &self.written.source).await;
        self.compiled.get_or_init(|| compiled).clone()
    }
}

/// What the route script decided for one recipient.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ruling {
    /// Whose script it is.
    level: Level,
    /// Null for the platform's.
    version: Option<i64>,
    /// The channels it returned, in order; seconds of delay where it said so.
    #[schema(value_type = Vec<Object>)]
    channels: Vec<Hop>,
    /// Why its answer was not taken: then the plain order of the settings was.
    error: Option<String>,
    /// What it printed.
    log: Vec<String>,
    operations: u64,
}

/// All recipients of one request together.
const TIME: Duration = Duration::from_secs(2);

/// One ruling for each recipient; none at all where nobody wrote a route script.
pub(super) async fn rule(app: &App, tenant: &Tenant, checked: &Checked, now: Timestamp) -> Result<Vec<Ruling>> {
    let branch = checked.branch.as_deref();
    let (level, version, script) = match tenant.route_script(branch) {
        Some((level, own)) => (level, Some(own.version), own.script(tenant).await),
        None => match app.scripts.get(Kind::Route, ROUTE) {
            Some(shipped) => {
                let script = shipped.script(Kind::Route).await;
                (Level::Platform, None, script.map(|script| script.for_whom(tenant.id.as_str())))
            }
            None => return Ok(vec![]),
        },
    };
    let began = Instant::now();
    let now = Moment::new(now, zone(tenant, branch));
    let mut known = facts(app, tenant, &checked.recipients, now.at).await?;
    let mut rulings = Vec::with_capacity(checked.recipients.len());
    for recipient in &checked.recipients {
        let mut ruling = Ruling { level, version, channels: vec![], error: None, log: vec![], operations: 0 };
        let person = recipient.contact_id.as_ref().and_then(|id| known.remove(id));
        let person = Person::new(person.unwrap_or_else(|| bare(recipient, now.at)), now);
        let said = match &script {
            Err(e) => Err(e.clone()),
            Ok(_) if began.elapsed() > TIME => {
                Err(ScriptError::limit(format!("the recipients of one request took more than {} s", TIME.as_secs())))
            }
            Ok(script) => ask(app, tenant, checked, recipient, (script, person, now), &mut ruling).await,
        };
        match said {
            Ok(hops) => ruling.channels = hops,
            Err(e) => ruling.error = Some(e.to_string()),
        }
        let outcome = if ruling.error.is_some() { "failed" } else { "ok" };
        metrics::counter!("recado_script_runs_total", "kind" => "route", "outcome" => outcome).increment(1);
        rulings.push(ruling);
    }
    if let Some(error) = rulings.iter().find_map(|r| r.error.as_deref()) {
        tracing::warn!(tenant.id = %tenant.id, error, "the route script failed; the plain order of channels was taken");
    }
    Ok(rulings)
}

async fn ask(
    app: &App,
    tenant: &Tenant,
    checked: &Checked,
    recipient: &Recipient,
    (script, person, now): (&Script, Person, Moment),
    ruling: &mut Ruling,
) -> Result<Vec<Hop>, ScriptError> {
    let branch = checked.branch.as_deref();
    let config = app.config.load();
    // What people refuse is looked at when the way is taken; here it is about what could reach them at all.
    let (standing, category) = (Standing::default(), checked.category);
    let whom = super::Person { recipient, standing: &standing, category };
    let plain = route(&config, tenant, branch, whom, Wanted::Any);
    let channels: Vec<&str> = plain.steps.iter().map(|(channel, _)| *channel).collect();
    let arguments =
        vec![notification(checked).into(), Argument::Contact(person), json!(channels).into(), Argument::Moment(now)];
    let ran = script.call(ROUTE, arguments, Secrets::default()).await;
    (ruling.log, ruling.operations) = (ran.log, ran.operations);
    let hops = read_hops(&ran.result?)?;
    let named: Vec<String> = hops.iter().map(|hop| hop.channel.clone()).collect();
    if !route(&config, tenant, branch, whom, Wanted::Named(&named)).steps.is_empty() {
        return Ok(hops);
    }
    let named = if named.is_empty() { "no channel".to_owned() } else { named.join(", ") };
    let detail = format!("route returned {named}, which can't reach this person; what can: {}", channels.join(", "));
    Err(ScriptError::result(detail))
}

/// What is to be told, as the script sees it.
fn notification(checked: &Checked) -> Value {
    let template = match &checked.content.body {
        Body::Template(name) => Some(name.as_str()),
        Body::Message(_) | Body::Content(_) => None,
    };
    json!({"type": checked.kind, "category": checked.category.as_str(), "template": template,
        "data": &*checked.content.data, "branchId": checked.branch, "appointmentId": checked.appointment_id,
        "sendAt": checked.send_at})
}

/// Everything about the recipients that are stored, by id.
async fn facts(app: &App, tenant: &Tenant, recipients: &[Recipient], now: Timestamp) -> Result<HashMap<String, Facts>> {
    let ids: Vec<&str> = recipients.iter().filter_map(|r| r.contact_id.as_deref()).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let facts = segments::facts(&app.db.pool, app.db.engine, &tenant.id, &ids, now).await?;
    Ok(facts.into_iter().map(|facts| (facts.id.clone(), facts)).collect())
}

/// Somebody of whom only the request tells.
fn bare(recipient: &Recipient, now: Timestamp) -> Facts {
    let r = recipient.clone();
    Facts {
        id: r.contact_id.unwrap_or_default(),
        external_id: r.external_id,
        name: r.name,
        phone: r.phone,
        email: r.email,
        locale: r.locale,
        timezone: r.timezone,
        attributes: "{}".into(),
        preferences: "{}".into(),
        consents: "[]".into(),
        created_at: now,
        ..Facts::default()
    }
}

impl Ruling {
    /// The channels to try, unless the script failed.
    pub(super) fn names(&self) -> Option<Vec<String>> {
        self.error.is_none().then(|| self.channels.iter().map(|hop| hop.channel.clone()).collect())
    }

    /// How long a message may stay on this channel without a report of delivery.
    pub(super) fn after(&self, channel: &str) -> Option<u32> {
        self.channels.iter().find(|hop| hop.channel == channel)?.after
    }

    /// For the timeline, where there is something to say.
    pub(super) fn said(&self) -> Option<String> {
        self.error.as_ref().map(|e| format!("the route script failed, so the plain order was taken: {e}"))
    }
}
