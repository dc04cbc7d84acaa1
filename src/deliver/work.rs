//! One delivery, from the last checks before the call to the decision after it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use plugin_api::{Hint, Lookup, Message, Receipt, SendError};
use tokio::sync::oneshot;

use super::{Around, Engine, How, compose, sms_cost};
use crate::clock::{Steps, Timestamp};
use crate::content::Content;
use crate::error::{Error, Result};
use crate::lane::Lane;
use crate::quiet::{QUIET_HOURS, Quiet};
use crate::retry::{self, Attempted, Next, Repeat};
use crate::standing;
use crate::status::{Category, Outcome, Status};
use crate::store::notifications::{Delivery, find_shared_content};
use crate::store::suppressions;
use crate::tenant::{Account, Tenant};
use crate::writer::{AttemptRecord, Captured, Finished, Op, StartOp};

/// A `sendAt` may be this late after a downtime; later it is `missed`.
const USEFUL_FOR: Duration = Duration::from_secs(6 * 3600);

/// When a delivery without another way looks at its stranded lane again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How a piece of work ended, for the lane.
enum Ended {
    /// A call was made.
    Called { outcome: Outcome, misconfigured: bool, retry_after: Option<Duration> },
    /// No call; the notification was decided upon or left to somebody else.
    Quiet,
    /// Nothing could be decided now: look again then.
    Later(Timestamp),
}

/// Works on one delivery whose lane slot is taken.
pub(super) async fn run(engine: &Arc<Engine>, lane: &Arc<Lane>, mut delivery: Delivery, how: How) {
    let slot = delivery.clone();
    let opened = how == How::Opened;
    let ended = AssertUnwindSafe(attempt(engine, lane, &mut delivery, how)).catch_unwind().await;
    let now = engine.clock.now();
    let outcome = match ended {
        Ok(Ok(Ended::Called { outcome, misconfigured, retry_after })) => {
            if let Some(after) = retry_after {
                lane.state().pause_until(now.plus(after.min(Duration::from_secs(60))));
            }
            Some((outcome, misconfigured))
        }
        Ok(Ok(Ended::Quiet)) => None,
        Ok(Ok(Ended::Later(due))) => {
            give_back(engine, lane, &delivery, due, opened).await;
            None
        }
        Ok(Err(e)) => {
            tracing::warn!(notification.id = %delivery.id, error = %e, "put off");
            give_back(engine, lane, &delivery, now.plus(Duration::from_secs(5)), opened).await;
            None
        }
        // Its lease runs out, and the attempt counts as unknown; three of those and the policy gives up.
        Err(_) => {
            tracing::error!(notification.id = %delivery.id, channel = %delivery.channel, "a delivery panicked");
            None
        }
    };
    lane.state().done(&slot, outcome, rand::random(), now);
}

/// Gives the lease back. An attempt that `run` was handed open has certainly not been made when this is called, so it
/// is taken back as well; one found open in the store is left for its lease to run out.
async fn give_back(engine: &Arc<Engine>, lane: &Lane, delivery: &Delivery, due: Timestamp, opened: bool) {
    if delivery.status == Status::Sending && !opened {
        return;
    }
    {
        let mut state = lane.state();
        state.next_due = Some(state.next_due.map_or(due, |known| known.min(due)));
    }
    engine.writer.send(Op::Release(vec![(delivery.clone(), due)])).await;
}

async fn attempt(engine: &Arc<Engine>, lane: &Arc<Lane>, d: &mut Delivery, how: How) -> Result<Ended> {
    let opened = how == How::Opened;
    let now = engine.clock.now();
    let tenant = engine.tenants.get(&d.tenant).await?;
    if d.status == Status::Sending && !opened {
        return interrupted(engine, &tenant, d, now).await;
    }
    if d.status == Status::Sent {
        return undelivered(engine, &tenant, d, now).await;
    }
    let quiet = tenant.quiet(d.branch.as_deref()).filter(|_| d.category == Category::Marketing);
    if let Some(reason) = too_late(d, quiet, now) {
        return settle(engine, d, Status::Expired, reason, now).await;
    }
    if !engine.config.load().channel(&d.channel).enabled {
        lane.state().off = true;
        if opened {
            return Ok(Ended::Later(now));
        }
        return around(engine, &tenant, d, "disabled_by_operator", now).await;
    }
    if let How::Around(reason) = how {
        return around(engine, &tenant, d, reason, now).await;
    }
    if let Some(reason) = refusal(engine, &tenant, d, opened).await? {
        return unwanted(engine, &tenant, d, &reason, now).await;
    }
    if let Some(until) = quiet.map(|q| q.end_of(now)).filter(|until| *until > now) {
        // An attempt that is open is first taken back.
        return if opened { Ok(Ended::Later(now)) } else { wait(engine, d, until, now).await };
    }
    let Some(account) = tenant.account_of(&d.channel, d.branch.as_deref(), &d.lane) else {
        return give_up(engine, &tenant, d, Around::Channel, "not_configured", None, now).await;
    };
    if !opened && !lane.state().may_retry(d, now) {
        return Ok(Ended::Later(now.plus(Duration::from_secs_f64(3.0 + 6.0 * rand::random::<f64>()))));
    }
    let after_unknown = d.status == Status::Unknown;
    // One that knows the message by its key answers for both attempts.
    let mut unresolved = after_unknown && account.provider.idempotency.is_none();
    let content = content(engine, d).await?;
    let known = tenant.known(&engine.db, account, d, now).await?;
    let mut message =
        match compose(engine.clock.now(), engine.tenants.host(), &tenant, account, d, &content, known).await {
            Ok(message) => message,
            // What can't be fetched now is an attempt that was not sent, and is tried again by the same rules.
            Err(e) if e.passing => {
                if !opened && !open(engine, account, d, now).await? {
                    return Ok(Ended::Quiet);
                }
                let calling = Calling { after_unknown, unresolved, patience: None };
                let error = SendError::not_sent(e.reason, e.detail);
                return refused(engine, &tenant, account, d, error, &calling, now).await;
            }
            Err(e) => return give_up(engine, &tenant, d, Around::Channel, e.reason, Some(e.detail), now).await,
        };
    let channel = match &account.channel {
        Ok(channel) => channel,
        Err(e) => {
            return give_up(engine, &tenant, d, Around::Account, "account_unusable", Some(e.to_string()), now).await;
        }
    };
    if unresolved {
        let looked = if account.provider.unknown.lookup {
            let since = d.step_began_at.unwrap_or(d.created_at);
            channel.lookup(&message, since.to_system()).await
        } else {
            Lookup::Undecided
        };
        if let Lookup::Found { message_id } = looked {
            return found(engine, d, message_id, now).await;
        }
        unresolved = looked != Lookup::NotFound;
        let on_unknown = tenant.on_unknown(&d.channel, d.branch.as_deref());
        if !retry::may_repeat(d.category, on_unknown, !unresolved) {
            return hold(engine, d, "the provider could not say", now).await;
        }
    }
    if !opened && !open(engine, account, d, now).await? {
        return Ok(Ended::Quiet); // Cancelled meanwhile, or the lease is somebody else's.
    }
    crate::failpoint::reach("before_call");
    message.attempt = d.attempts;
    message.began_at = d.step_began_at.unwrap_or(now).to_system();
    let patience = patience(engine, &tenant, account, d, &content);
    call(engine, &tenant, account, channel.as_ref(), d, &message, Calling { after_unknown, unresolved, patience }).await
}

/// Opens the attempt: after this, and only after this, the provider may be called.
async fn open(engine: &Engine, account: &Account, d: &mut Delivery, now: Timestamp) -> Result<bool> {
    let (reply, opened) = oneshot::channel();
    let span = account.call_span(&engine.config.load());
    let op = StartOp { tenant: d.tenant.clone(), id: d.id.clone(), lease: Arc::clone(&d.lease), now, span, reply };
    engine.writer.send(Op::Start(op)).await;
    let opened = opened.await.map_err(|_| Error::Internal("the writer ended".into()))??;
    if opened {
        d.status = Status::Sending;
        d.attempts += 1;
        d.step_attempts += 1;
        d.step_began_at.get_or_insert(now);
        d.attempt_began_at = Some(now);
    }
    Ok(opened)
}

/// What is known before a call of what follows it.
struct Calling {
    /// This is the one retry after an unknown outcome.
    after_unknown: bool,
    /// And the attempt before may have been taken.
    unresolved: bool,
    /// How long to wait for a report of delivery before the next channel is tried.
    patience: Option<Duration>,
}

/// Only where a report can come and another channel could take over.
fn patience(engine: &Engine, tenant: &Tenant, account: &Account, d: &Delivery, content: &Content) -> Option<Duration> {
    let own = d.chain.get(d.step).and_then(|hop| hop.after);
    let after = own.or(content.fallback_after).filter(|_| account.provider.callbacks)?;
    engine.next_step(tenant, d, Around::Channel)?;
    Some(Duration::from_secs(after.into()))
}

/// It was sent, but nobody has reported it as delivered in the time it had: the next channel, if it is still wanted.
async fn undelivered(engine: &Engine, tenant: &Tenant, d: &Delivery, now: Timestamp) -> Result<Ended> {
    let next = engine.next_step(tenant, d, Around::Channel).filter(|_| d.expires_at.is_none_or(|at| now < at));
    let finished = match next {
        Some(next) => Finished {
            next: Some(next),
            due_at: Some(now),
            reason: Some("not_delivered".into()),
            event: Some(("fell_back", format!("{}: not reported as delivered in time", d.lane))),
            ..Finished::bare(d.clone(), Status::Queued, now)
        },
        None => Finished::bare(d.clone(), Status::Sent, now),
    };
    engine.writer.send(Op::Finish(Box::new(finished))).await;
    Ok(Ended::Quiet)
}

async fn call(
    engine: &Arc<Engine>,
    tenant: &Tenant,
    account: &Account,
    channel: &dyn plugin_api::Channel,
    d: &mut Delivery,
    message: &Message,
    calling: Calling,
) -> Result<Ended> {
    let (watch, mut steps) = (Instant::now(), Steps::new(&engine.clock));
    let sent = match tokio::time::timeout(account.call_span(&engine.config.load()), channel.send(message)).await {
        Ok(sent) => sent,
        Err(_) => Err(SendError::unknown("timeout", "the provider did not answer in time")),
    };
    crate::failpoint::reach("after_call");
    let (now, set_by) = steps.read();
    d.clock_was_set(set_by);
    let outcome = sent.as_ref().map_or_else(|e| e.failure.into(), |_| Outcome::Accepted);
    let reason = sent.as_ref().err().map(|e| e.reason.as_ref());
    let label = tenant.channels.label(&d.channel);
    metrics::counter!("recado_deliveries_total", "channel" => label, "outcome" => outcome.as_str()).increment(1);
    let cost = sms_cost(&d.channel, &message.text, &message.actions);
    tracing::info!(
        tenant.id = %d.tenant, notification.id = %d.id, channel = %d.channel, provider = %account.provider.name,
        attempt = d.attempts, outcome = outcome.as_str(), reason, duration_ms = watch.elapsed().as_millis() as u64,
        encoding = cost.map(|c| c.encoding), segments = cost.map(|c| c.segments), "attempt"
    );
    match sent {
        Ok(receipt) => {
            let due = calling.patience.map(|patience| now.plus(patience));
            let told = cost.map(|c| ("segments", format!("{} of {}, {} units", c.segments, c.encoding, c.units)));
            let sent = Finished { due_at: due, event: told, ..Finished::bare(d.clone(), Status::Sent, now) };
            accepted(engine, account, message, receipt, sent).await
        }
        Err(error) => refused(engine, tenant, account, d, error, &calling, now).await,
    }
}

async fn accepted(
    engine: &Engine,
    account: &Account,
    message: &Message,
    receipt: Receipt,
    finished: Finished,
) -> Result<Ended> {
    let captured = (account.provider.name == crate::plugins::SANDBOX).then(|| {
        Box::new(Captured {
            subject: message.subject.clone(),
            text: message.text.clone(),
            html: message.html.clone(),
            actions: serde_json::to_string(&message.actions).unwrap_or_default(),
        })
    });
    let finished = Finished {
        message_id: receipt.message_id.clone(),
        attempt: Some(AttemptRecord {
            provider: account.provider.name.clone(),
            outcome: Outcome::Accepted,
            began_at: finished.delivery.attempt_began_at.unwrap_or(finished.at),
            http_status: receipt.http_status,
            message_id: receipt.message_id,
            reason: None,
            error: receipt.note,
        }),
        remember: receipt.remember.map(|memory| (account.key.clone(), memory)),
        captured,
        ..finished
    };
    engine.writer.send(Op::Finish(Box::new(finished))).await;
    Ok(Ended::Called { outcome: Outcome::Accepted, misconfigured: false, retry_after: None })
}

async fn refused(
    engine: &Engine,
    tenant: &Tenant,
    account: &Account,
    d: &Delivery,
    error: SendError,
    calling: &Calling,
    now: Timestamp,
) -> Result<Ended> {
    let outcome = Outcome::from(error.failure);
    let attempted = Attempted {
        outcome,
        category: d.category,
        tries: d.step_attempts,
        step_began_at: d.step_began_at.unwrap_or(now),
        now,
        retry_after: error.retry_after,
        after_unknown: calling.after_unknown,
        unresolved: calling.unresolved,
        repeat: repeat(account, d, now),
        on_unknown: tenant.on_unknown(&d.channel, d.branch.as_deref()),
        chance: rand::random(),
    };
    if error.hint == Some(Hint::SuppressAddress)
        && let Some(address) = &d.address
    {
        match suppressions::insert(&engine.db.pool, &d.tenant, address, "all", &error.reason, "provider", now).await {
            Ok(()) => engine.tenants.refresh(&d.tenant),
            // The outcome below matters more; the next bounce suppresses it.
            Err(e) => tracing::warn!(notification.id = %d.id, error = %e, "address not suppressed"),
        }
    }
    let record = AttemptRecord {
        provider: account.provider.name.clone(),
        outcome,
        began_at: d.attempt_began_at.unwrap_or(now),
        http_status: error.http_status,
        message_id: None,
        reason: Some(error.reason.to_string()),
        error: Some(error.detail),
    };
    let ways = Around::after(error.hint);
    let mut finished = decide(engine, tenant, d, ways, retry::next(&attempted), &error.reason, now);
    finished.attempt = Some(record);
    finished.remember = error.remember.map(|memory| (account.key.clone(), memory));
    engine.writer.send(Op::Finish(Box::new(finished))).await;
    if error.hint == Some(Hint::OnlyThisRecipient) {
        // To the lane this is as good as a refusal: the provider answers, and the others need not wait.
        return Ok(Ended::Called { outcome: Outcome::Rejected, misconfigured: false, retry_after: None });
    }
    let misconfigured = error.hint == Some(Hint::Misconfigured);
    Ok(Ended::Called { outcome, misconfigured, retry_after: error.retry_after })
}

/// An attempt was open when its lease ran out: nobody knows whether the call was made.
async fn interrupted(engine: &Engine, tenant: &Tenant, d: &Delivery, now: Timestamp) -> Result<Ended> {
    let account = tenant.account_of(&d.channel, d.branch.as_deref(), &d.lane);
    let none = Repeat { key_holds_until: None, lookup: false, wait: Duration::from_secs(300) };
    let attempted = Attempted {
        outcome: Outcome::Unknown,
        category: d.category,
        tries: d.step_attempts,
        step_began_at: d.step_began_at.unwrap_or(now),
        now,
        retry_after: None,
        after_unknown: false,
        unresolved: false,
        repeat: account.map_or(none, |account| repeat(account, d, now)),
        on_unknown: tenant.on_unknown(&d.channel, d.branch.as_deref()),
        chance: rand::random(),
    };
    let mut finished = decide(engine, tenant, d, Around::Account, retry::next(&attempted), "interrupted", now);
    finished.attempt = Some(AttemptRecord {
        provider: account.map_or_else(String::new, |a| a.provider.name.clone()),
        outcome: Outcome::Unknown,
        began_at: d.attempt_began_at.unwrap_or(now),
        http_status: None,
        message_id: None,
        reason: Some("interrupted".into()),
        error: Some("the gateway stopped before the outcome was recorded".into()),
    });
    engine.writer.send(Op::Finish(Box::new(finished))).await;
    Ok(Ended::Quiet)
}

/// Turns the policy's word into the row's next state.
fn decide(
    engine: &Engine,
    tenant: &Tenant,
    d: &Delivery,
    ways: Around,
    next: Next,
    reason: &str,
    now: Timestamp,
) -> Finished {
    let bare = |status| Finished { reason: Some(reason.to_owned()), ..Finished::bare(d.clone(), status, now) };
    match next {
        Next::Sent => bare(Status::Sent),
        Next::RetryAt(at) => Finished { due_at: Some(at), ..bare(Status::Queued) },
        Next::ResolveAt(at) => Finished { due_at: Some(at), ..bare(Status::Unknown) },
        Next::Hold => bare(Status::Unknown),
        Next::GiveUp(word) => {
            let reason = word.unwrap_or(reason).to_owned();
            match engine.next_step(tenant, d, ways) {
                Some(next) => Finished {
                    next: Some(next),
                    due_at: Some(now),
                    reason: Some(reason.clone()),
                    event: Some(("fell_back", format!("{}: {reason}", d.lane))),
                    ..bare(Status::Queued)
                },
                None => Finished { reason: Some(reason), ..bare(Status::Failed) },
            }
        }
    }
}

/// Nothing goes out on this lane: another way, if there is one and nobody can have been told yet; else patience.
async fn around(engine: &Engine, tenant: &Tenant, d: &Delivery, reason: &'static str, now: Timestamp) -> Result<Ended> {
    if d.status == Status::Queued && engine.next_step(tenant, d, Around::Account).is_some() {
        return give_up(engine, tenant, d, Around::Account, reason, None, now).await;
    }
    Ok(Ended::Later(now.plus(LOOK_AGAIN)))
}

/// This channel can't carry it: the next one, or the end.
async fn give_up(
    engine: &Engine,
    tenant: &Tenant,
    d: &Delivery,
    ways: Around,
    reason: &'static str,
    detail: Option<String>,
    now: Timestamp,
) -> Result<Ended> {
    if d.status == Status::Unknown {
        return hold(engine, d, reason, now).await;
    }
    let mut finished = decide(engine, tenant, d, ways, Next::GiveUp(Some(reason)), reason, now);
    if d.status == Status::Sending {
        finished.attempt = Some(AttemptRecord {
            provider: String::new(),
            outcome: Outcome::NotSent,
            began_at: d.attempt_began_at.unwrap_or(now),
            http_status: None,
            message_id: None,
            reason: Some(reason.into()),
            error: detail,
        });
    } else if finished.event.is_none() {
        finished.event = Some(("failed", detail.unwrap_or_else(|| reason.into())));
    }
    engine.writer.send(Op::Finish(Box::new(finished))).await;
    Ok(Ended::Quiet)
}

async fn settle(engine: &Engine, d: &Delivery, status: Status, reason: &str, now: Timestamp) -> Result<Ended> {
    let finished = Finished { reason: Some(reason.to_owned()), ..Finished::bare(d.clone(), status, now) };
    engine.writer.send(Op::Finish(Box::new(finished))).await;
    Ok(Ended::Quiet)
}

/// Why the person must not get it, by what is known now.
async fn refusal(engine: &Engine, tenant: &Tenant, d: &Delivery, opened: bool) -> Result<Option<String>> {
    if tenant.has_suppressions
        && let Some(address) = &d.address
        && let Some(reason) = suppressions::find(&engine.db.pool, &d.tenant, address, d.category).await?
    {
        return Ok(Some(reason));
    }
    // What was accepted this moment was looked up this moment.
    if opened || !tenant.has_contacts {
        return Ok(None);
    }
    let standing = standing::look_up(&engine.db, tenant, &[&d.recipient]).await?.pop().unwrap_or_default();
    Ok(standing.refusal(&d.channel, d.address.as_deref(), d.category))
}

/// The person does not want it here: the next channel, or the end.
async fn unwanted(engine: &Engine, tenant: &Tenant, d: &Delivery, reason: &str, now: Timestamp) -> Result<Ended> {
    if d.status == Status::Unknown {
        return hold(engine, d, reason, now).await;
    }
    let Some(next) = engine.next_step(tenant, d, Around::Channel) else {
        return settle(engine, d, Status::Suppressed, reason, now).await;
    };
    let finished = Finished {
        next: Some(next),
        due_at: Some(now),
        reason: Some(reason.to_owned()),
        event: Some(("fell_back", format!("{}: {reason}", d.lane))),
        ..Finished::bare(d.clone(), Status::Queued, now)
    };
    engine.writer.send(Op::Finish(Box::new(finished))).await;
    Ok(Ended::Quiet)
}

/// Quiet hours have begun: it waits for their end.
async fn wait(engine: &Engine, d: &Delivery, until: Timestamp, now: Timestamp) -> Result<Ended> {
    let finished = Finished {
        due_at: Some(until),
        reason: Some(QUIET_HOURS.to_owned()),
        event: Some(("waits", format!("{QUIET_HOURS} until {}", until.to_datetime().to_rfc3339()))),
        ..Finished::bare(d.clone(), Status::Scheduled, now)
    };
    engine.writer.send(Op::Finish(Box::new(finished))).await;
    Ok(Ended::Quiet)
}

async fn found(engine: &Engine, d: &Delivery, message_id: Option<String>, now: Timestamp) -> Result<Ended> {
    let finished = Finished {
        message_id,
        event: Some(("looked_up", "the provider has the message".into())),
        ..Finished::bare(d.clone(), Status::Sent, now)
    };
    engine.writer.send(Op::Finish(Box::new(finished))).await;
    Ok(Ended::Quiet)
}

/// Nobody can say whether the provider took it, and nothing is tried again, for this reason. Another channel might tell
/// the person twice.
async fn hold(engine: &Engine, d: &Delivery, why: &str, now: Timestamp) -> Result<Ended> {
    let finished = Finished {
        reason: Some("held".into()),
        event: Some(("held", format!("nobody can say whether the provider took it: {why}"))),
        ..Finished::bare(d.clone(), Status::Unknown, now)
    };
    engine.writer.send(Op::Finish(Box::new(finished))).await;
    Ok(Ended::Quiet)
}

fn too_late(d: &Delivery, quiet: Option<Quiet>, now: Timestamp) -> Option<&'static str> {
    if d.expires_at.is_some_and(|at| now >= at) {
        return Some("expired");
    }
    // A night that it had to wait through makes it no less useful.
    let useful_for = USEFUL_FOR + quiet.map(Quiet::length).unwrap_or_default();
    let missed = d.attempts == 0 && d.send_at.is_some_and(|at| now.since(at) > useful_for);
    missed.then_some("missed")
}

fn repeat(account: &Account, d: &Delivery, now: Timestamp) -> Repeat {
    let began = d.step_began_at.unwrap_or(now);
    Repeat {
        key_holds_until: account.provider.idempotency.map(|key| {
            key.window_seconds.map_or(Timestamp(i64::MAX), |seconds| began.plus(Duration::from_secs(seconds)))
        }),
        lookup: account.provider.unknown.lookup,
        wait: account.provider.unknown.wait(),
    }
}

async fn content(engine: &Engine, d: &Delivery) -> Result<Arc<Content>> {
    if let Some(content) = &d.content {
        return Ok(Arc::clone(content));
    }
    find_shared_content(&engine.db.pool, &d.tenant, &d.request_id)
        .await?
        .ok_or_else(|| Error::Internal("the request's content is gone".into()))
}

impl Finished {
    fn bare(delivery: Delivery, status: Status, at: Timestamp) -> Self {
        Self {
            delivery,
            status,
            reason: None,
            message_id: None,
            due_at: None,
            at,
            next: None,
            attempt: None,
            remember: None,
            captured: None,
            event: None,
        }
    }
}
