//! The one task that writes what sending produces: it drains whatever waits into one transaction, so that many
//! requests, attempts and outcomes share one sync of the disk. A caller is answered only after its own commit.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use sqlx::AnyConnection;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use uuid::Uuid;

use crate::clock::{SharedClock, Timestamp};
use crate::deliver::Engine;
use crate::error::StoreError;
use crate::ids::{NotificationId, TenantId};
use crate::lane::{Admission, Lane};
use crate::status::{Outcome, Status};
use crate::store::lanes::{self, Touch};
use crate::store::notifications::{AttemptRow, Born, Claim, Delivery, EventRow, Finish, Hot, NewNotification, Start};
use crate::store::{self, Db, StoreResult, to_json};

/// The most operations that share a commit.
const BATCH: usize = 512;
/// A statement that takes longer than this is given up, and its connection with it.
const PATIENCE: Duration = Duration::from_secs(5);

pub enum Op {
    Accept(Box<Accept>),
    Start(StartOp),
    Finish(Box<Finished>),
    /// Leases given back before a call was begun.
    Release(Vec<(Delivery, Timestamp)>),
    /// Claim due rows of a lane this node owns.
    Load(LoadOp),
    /// Let an idle lane sleep.
    Settle(Arc<Lane>),
    /// Announce work in a lane that was written by other means (a retry by hand, a new step).
    Touch(TenantId, Arc<str>, Timestamp),
    /// Take lanes with due work that nobody owns; the reply tells how many.
    Acquire(oneshot::Sender<usize>),
    /// Keep the leases of all lanes of this node.
    Renew,
    /// Answers once everything before it is durable.
    Flush(oneshot::Sender<()>),
    /// Gives up this node's lanes and ends the task, once nothing is owed any more.
    Stop,
}

/// A validated request, ready to be stored.
pub struct Accept {
    pub tenant: TenantId,
    pub notifications: Vec<NewNotification>,
    pub key: Option<IdempotencyKey>,
    pub dedupe_key: Option<String>,
    /// The tenant has suppressed addresses, so each is looked up.
    pub check_suppressed: bool,
    /// JSON of the content, when it isn't stored beside the notification.
    pub shared_content: Option<String>,
    /// The answer if nothing is suppressed, and how to make it otherwise.
    pub answer: String,
    pub answer_again: fn(&Accept, &[Fate]) -> String,
    pub reply: oneshot::Sender<StoreResult<Accepted>>,
}

pub struct IdempotencyKey {
    pub route: &'static str,
    pub key: String,
    pub body_hash: String,
}

/// What became of one recipient of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    Queued,
    /// The address must not be written to.
    Suppressed(String),
    /// The same `dedupeKey` was used before, for the notification of this id.
    Duplicate(String),
}

pub enum Accepted {
    /// Durable; the answer for the caller.
    Done(String),
    /// The Idempotency-Key was used before.
    KeyTaken,
}

pub struct StartOp {
    pub tenant: TenantId,
    pub id: NotificationId,
    pub lease: Arc<str>,
    pub due: Timestamp,
    /// The attempt is open and durable; `false`: the lease is gone.
    pub reply: oneshot::Sender<StoreResult<bool>>,
}

/// The end of an attempt, or a decision without one.
pub struct Finished {
    pub delivery: Delivery,
    pub status: Status,
    pub reason: Option<String>,
    pub message_id: Option<String>,
    pub due_at: Option<Timestamp>,
    pub at: Timestamp,
    /// Where it goes on, when it moves to another step.
    pub next: Option<NextStep>,
    pub attempt: Option<AttemptRecord>,
    pub remember: Option<(String, serde_json::Value)>,
    pub captured: Option<Box<Captured>>,
    pub event: Option<(&'static str, String)>,
    /// Reset the step's counters (a person's or a look-up's decision).
    pub fresh_step: bool,
}

pub struct NextStep {
    pub step: usize,
    pub channel: Arc<str>,
    pub address: Option<Arc<str>>,
    pub lane: Arc<str>,
}

pub struct AttemptRecord {
    pub provider: String,
    pub outcome: Outcome,
    pub began_at: Timestamp,
    pub http_status: Option<u16>,
    pub message_id: Option<String>,
    pub reason: Option<String>,
    pub error: Option<String>,
}

/// A message the sandbox took.
pub struct Captured {
    pub subject: Option<String>,
    pub text: String,
    pub html: Option<String>,
    pub actions: String,
}

pub struct LoadOp {
    pub lane: Arc<Lane>,
    pub reply: oneshot::Sender<StoreResult<Loaded>>,
    pub limit: usize,
}

pub struct Loaded {
    pub deliveries: Vec<StoreResult<Delivery>>,
    /// The lane's next due moment, when fewer rows than asked for were due.
    pub next_due: Option<Timestamp>,
    pub exhausted: bool,
}

#[derive(Clone)]
pub struct Writer {
    ops: mpsc::Sender<Op>,
}

impl Writer {
    /// The handle, and the end that [`run`] works on.
    pub fn new() -> (Self, mpsc::Receiver<Op>) {
        let (ops, receiver) = mpsc::channel(4096);
        (Self { ops }, receiver)
    }

    /// Hands over an operation; waits when the queue is full.
    pub async fn send(&self, op: Op) {
        // Fails only after `Op::Stop`, when nobody is left to be told.
        let _ = self.ops.send(op).await;
    }

    /// Hands over a request, unless the queue is full: then the caller is told to come back.
    pub fn try_accept(&self, accept: Box<Accept>) -> Result<(), ()> {
        self.ops.try_send(Op::Accept(accept)).map_err(|_| ())
    }

    pub async fn flush(&self) {
        let (reply, done) = oneshot::channel();
        self.send(Op::Flush(reply)).await;
        let _ = done.await;
    }
}

/// Works until [`Op::Stop`].
pub async fn run(ops: mpsc::Receiver<Op>, db: Db, clock: SharedClock, engine: Arc<Engine>, settings: Settings) {
    let task = Task {
        hot: Hot::new(db.engine),
        lane_statements: lanes::Statements::new(db.engine),
        db,
        clock,
        engine,
        settings,
        owed: Vec::new(),
    };
    task.run(ops).await;
}

/// What the writer must know of the engine.
#[derive(Clone)]
pub struct Settings {
    pub node: Arc<str>,
    /// How long a claimed row may wait or be sent before others may take it.
    pub lease: Duration,
    /// How long a lane is this node's without renewal.
    pub lane_lease: Duration,
}

/// The writer's own connection.
struct Link {
    db: Db,
    conn: Option<AnyConnection>,
    /// After a failed connect, at most one more a second.
    unreachable_until: Option<Instant>,
}

impl Link {
    async fn take(&mut self) -> StoreResult<AnyConnection> {
        if let Some(conn) = self.conn.take() {
            return Ok(conn);
        }
        if self.unreachable_until.is_some_and(|until| Instant::now() < until) {
            return Err(StoreError::Unavailable("the store can't be reached".into()));
        }
        let conn = self.db.connect().await;
        self.unreachable_until = conn.is_err().then(|| Instant::now() + Duration::from_secs(1));
        conn
    }
}

struct Task {
    db: Db,
    clock: SharedClock,
    engine: Arc<Engine>,
    settings: Settings,
    hot: Hot,
    lane_statements: lanes::Statements,
    /// Outcomes the store owes us: calls were made, so these are tried until they are written.
    owed: Vec<Op>,
}

impl Task {
    async fn run(mut self, mut ops: mpsc::Receiver<Op>) {
        let mut link = Link { db: self.db.clone(), conn: None, unreachable_until: None };
        let mut stopping = false;
        loop {
            let mut batch = Vec::with_capacity(64);
            if self.owed.is_empty() {
                if stopping {
                    break;
                }
                ops.recv_many(&mut batch, BATCH).await;
            } else {
                let _ = tokio::time::timeout(Duration::from_secs(1), ops.recv_many(&mut batch, BATCH)).await;
                batch.append(&mut self.owed);
            }
            stopping |= batch.iter().any(|op| matches!(op, Op::Stop));
            self.write(&mut link, batch).await;
        }
        if let Some(conn) = &mut link.conn
            && let Err(e) = lanes::give_up_all_any_tenant(conn, &self.settings.node).await
        {
            tracing::warn!(error = %e, "this node's lanes stay leased until they run out");
        }
    }

    /// Writes a batch; one bad statement in it does not take the others along.
    async fn write(&mut self, link: &mut Link, mut ops: Vec<Op>) {
        let mut prepared = match self.try_write(link, &mut ops).await {
            Ok(()) => return,
            Err((error, prepared)) => {
                self.undo(&ops, &prepared);
                (error, ops)
            }
        };
        if let (StoreError::Statement(_) | StoreError::Unreadable(_), true) = (&prepared.0, prepared.1.len() > 1) {
            for op in prepared.1.drain(..) {
                Box::pin(self.write(link, vec![op])).await;
            }
            return;
        }
        let (error, ops) = prepared;
        tracing::error!(error = %error, operations = ops.len(), "the store did not take a batch");
        for op in ops {
            self.fail(op, &error);
        }
    }

    fn fail(&mut self, op: Op, error: &StoreError) {
        let lost = matches!(error, StoreError::Statement(_) | StoreError::Unreadable(_));
        match op {
            Op::Accept(accept) => {
                if let StoreError::OutcomeUnknown(_) = error {
                    // If the rows are there after all, nothing was called for them: give their leases back.
                    let due = self.clock.now();
                    self.owed
                        .push(Op::Release(accept.notifications.iter().map(|n| (n.delivery.clone(), due)).collect()));
                }
                let _ = accept.reply.send(Err(error.clone()));
            }
            Op::Start(start) => {
                let _ = start.reply.send(Err(error.clone()));
            }
            Op::Load(load) => {
                let _ = load.reply.send(Err(error.clone()));
            }
            Op::Finish(finished) if lost => {
                tracing::error!(notification.id = %finished.delivery.id, "an outcome can't be written; its lease will run out");
            }
            Op::Release(_) | Op::Touch(..) if lost => {}
            Op::Finish(_) | Op::Release(_) | Op::Touch(..) => self.owed.push(op),
            Op::Flush(reply) => {
                if self.owed.is_empty() {
                    let _ = reply.send(());
                } else {
                    self.owed.push(Op::Flush(reply));
                }
            }
            Op::Settle(_) | Op::Acquire(_) | Op::Renew | Op::Stop => {}
        }
    }

    /// Admissions made for a batch that failed.
    fn undo(&self, ops: &[Op], admissions: &[Vec<Admission>]) {
        let accepts = ops.iter().filter_map(|op| if let Op::Accept(a) = op { Some(a) } else { None });
        for (accept, admissions) in accepts.zip(admissions) {
            for (new, admission) in accept.notifications.iter().zip(admissions) {
                self.engine.lane(&new.delivery.tenant, &new.delivery.lane).state().unadmit(&new.delivery, *admission);
            }
        }
    }

    async fn try_write(&self, link: &mut Link, ops: &mut Vec<Op>) -> Result<(), (StoreError, Vec<Vec<Admission>>)> {
        let mut conn = link.take().await.map_err(|e| (e, vec![]))?;
        let mut batch = Batch::default();
        let result = tokio::time::timeout(PATIENCE, self.transact(&mut conn, ops, &mut batch)).await;
        let error = match result {
            Ok(Ok(())) => None,
            Ok(Err(e)) => Some(e),
            Err(_) if batch.committing => Some(StoreError::OutcomeUnknown("no answer within 5 s".into())),
            Err(_) => Some(StoreError::Unavailable("no answer within 5 s".into())),
        };
        match error {
            None => {}
            Some(e) => {
                // A connection whose transaction did not end well is not used again.
                if matches!(e, StoreError::Statement(_) | StoreError::Unreadable(_)) {
                    link.conn = Some(conn);
                }
                return Err((e, batch.admissions));
            }
        }
        self.conclude(std::mem::take(ops), batch, &mut conn).await;
        link.conn = Some(conn);
        Ok(())
    }

    /// Everything of a batch that must be durable together.
    async fn transact(&self, conn: &mut AnyConnection, ops: &[Op], batch: &mut Batch) -> StoreResult<()> {
        let now = self.clock.now();
        batch.now = Some(now);
        let plan = Plan::of(ops, &self.engine);
        if plan.is_empty() {
            return Ok(());
        }
        if plan.only_starts {
            batch.started = Some(self.start(conn, ops, now).await?.into_iter().collect());
            return Ok(());
        }
        let mut tx = store::begin(conn).await?;
        if !plan.touches.is_empty() {
            let touches: Vec<Touch<'_>> = plan
                .touches
                .iter()
                .map(|((t, lane), wake)| Touch { t: t.as_str(), lane, wake: wake.unwrap_or(now).0 })
                .collect();
            let lease_end = now.plus(self.settings.lane_lease);
            let owners =
                self.lane_statements.touch(&mut *tx, &to_json(&touches), &self.settings.node, now, lease_end).await?;
            for row in owners {
                let lane = self.engine.lane(&row.tenant, &row.lane.as_str().into());
                let mut state = lane.state();
                state.owned = (row.owner.as_deref() == Some(&*self.settings.node)).then_some(row.version);
                state.active_at = Some(now);
            }
        }
        if plan.accepts {
            self.accept(&mut tx, ops, batch, now).await?;
        }
        if plan.finishes {
            self.finish(&mut tx, ops).await?;
        }
        if plan.starts {
            batch.started = Some(self.start(&mut tx, ops, now).await?.into_iter().collect());
        }
        if plan.releases {
            let rows = release_rows(ops);
            self.hot.release(&mut *tx, &rows).await?;
        }
        batch.committing = true;
        store::commit(tx).await?;
        batch.committing = false;
        Ok(())
    }

    async fn accept(&self, tx: &mut AnyConnection, ops: &[Op], batch: &mut Batch, now: Timestamp) -> StoreResult<()> {
        let accepts: Vec<&Accept> =
            ops.iter().filter_map(|op| if let Op::Accept(a) = op { Some(&**a) } else { None }).collect();
        let (mut keys, mut dedupe, mut suppressed) = (String::new(), String::new(), String::new());
        for accept in &accepts {
            if let Some(k) = &accept.key {
                push_json(
                    &mut keys,
                    &serde_json::json!({"t": accept.tenant, "route": k.route, "k": k.key, "h": k.body_hash,
                        "status": 202, "response": accept.answer, "now": now.0}),
                );
            }
        }
        let mut taken: HashSet<(String, String, String)> = HashSet::new();
        if !keys.is_empty() {
            taken = self.hot.take_idempotency_keys(&mut *tx, &(keys + "]")).await?.into_iter().collect();
        }
        // A key that comes twice in one batch is free for the first of them only.
        batch.refused = accepts
            .iter()
            .map(|a| {
                a.key
                    .as_ref()
                    .is_some_and(|k| !taken.remove(&(a.tenant.to_string(), k.route.to_owned(), k.key.clone())))
            })
            .collect();
        for (accept, refused) in accepts.iter().zip(&batch.refused) {
            for new in accept.notifications.iter().filter(|_| !refused) {
                let d = &new.delivery;
                if let Some(key) = &accept.dedupe_key {
                    push_json(
                        &mut dedupe,
                        &serde_json::json!({"t": d.tenant, "k": key, "r": d.recipient.identity(), "id": d.id, "now": now.0}),
                    );
                }
                if let (true, Some(address)) = (accept.check_suppressed, &d.address) {
                    push_json(
                        &mut suppressed,
                        &serde_json::json!({"t": d.tenant, "id": d.id, "a": address, "c": d.category.as_str()}),
                    );
                }
            }
        }
        let mut reasons = HashMap::new();
        if !suppressed.is_empty() {
            reasons = self.hot.suppressed(&mut *tx, &(suppressed + "]")).await?.into_iter().collect();
        }
        let mut first = HashSet::new();
        if !dedupe.is_empty() {
            first = self.hot.take_dedupe_keys(&mut *tx, &(dedupe + "]")).await?.into_iter().collect();
        }
        let (mut rows, mut contents) = (String::new(), String::new());
        for (accept, refused) in accepts.iter().zip(&batch.refused) {
            let (mut fates, mut admissions) = (Vec::new(), Vec::new());
            if *refused {
                batch.fates.push(fates);
                batch.admissions.push(admissions);
                continue;
            }
            for new in &accept.notifications {
                let d = &new.delivery;
                if accept.dedupe_key.is_some() && !first.contains(d.id.as_str()) {
                    let key = accept.dedupe_key.as_deref().unwrap_or_default();
                    let owner =
                        store::notifications::find_dedupe_owner(&mut *tx, &d.tenant, key, d.recipient.identity());
                    fates.push(Fate::Duplicate(owner.await?.unwrap_or_default()));
                    admissions.push(Admission::Store);
                    continue;
                }
                let reason = reasons.remove(d.id.as_str());
                let admission = self.admit(d, reason.is_some(), now);
                admissions.push(admission);
                self.write_row(new, admission, reason.as_deref(), now, &mut rows);
                fates.push(reason.map_or(Fate::Queued, Fate::Suppressed));
            }
            if let Some(content) = &accept.shared_content {
                let request = accept.notifications.first().map_or("", |n| &n.delivery.request_id);
                push_json(&mut contents, &serde_json::json!({"t": accept.tenant, "r": request, "c": content}));
            }
            if let Some(key) = accept.key.as_ref().filter(|_| fates.iter().any(|f| *f != Fate::Queued)) {
                let answer = (accept.answer_again)(accept, &fates);
                let (route, key) = (key.route, &key.key);
                store::notifications::update_first_answer(&mut *tx, &accept.tenant, route, key, 202, &answer).await?;
            }
            batch.fates.push(fates);
            batch.admissions.push(admissions);
        }
        if !rows.is_empty() {
            rows.push(']');
            self.hot.insert(&mut *tx, &rows).await?;
        }
        if !contents.is_empty() {
            self.hot.insert_contents(&mut *tx, &(contents + "]")).await?;
        }
        Ok(())
    }

    fn admit(&self, d: &Delivery, suppressed: bool, now: Timestamp) -> Admission {
        if suppressed || d.send_at.is_some_and(|at| at > now) {
            return Admission::Store;
        }
        let memory_left = self.engine.memory_left();
        self.engine.lane(&d.tenant, &d.lane).state().admit(d, now, memory_left)
    }

    fn write_row(
        &self,
        new: &NewNotification,
        admission: Admission,
        reason: Option<&str>,
        now: Timestamp,
        rows: &mut String,
    ) {
        let d = &new.delivery;
        let lease_end = Some(now.plus(self.settings.lease).into());
        let waits = Born {
            status: Status::Queued.as_str(),
            reason: None,
            due_at: Some(now.into()),
            lease_token: None,
            attempts: 0,
            attempt_began_at: None,
        };
        let born = match (reason, d.send_at.filter(|at| *at > now), admission) {
            (Some(_), _, _) => Born { status: Status::Suppressed.as_str(), reason, due_at: None, ..waits },
            (None, Some(at), _) => Born { status: Status::Scheduled.as_str(), due_at: Some(at.into()), ..waits },
            (None, None, Admission::Store) => waits,
            (None, None, Admission::Queue) => Born { due_at: lease_end, lease_token: Some(&d.lease), ..waits },
            (None, None, Admission::Send) => Born {
                status: Status::Sending.as_str(),
                reason: None,
                due_at: lease_end,
                lease_token: Some(&d.lease),
                attempts: 1,
                attempt_began_at: Some(now.into()),
            },
        };
        new.write(&born, rows);
    }

    async fn start(&self, db: &mut AnyConnection, ops: &[Op], now: Timestamp) -> StoreResult<Vec<String>> {
        let starts: Vec<Start<'_>> = ops
            .iter()
            .filter_map(|op| if let Op::Start(s) = op { Some(s) } else { None })
            .map(|s| Start { t: s.tenant.as_str(), id: s.id.as_str(), token: &s.lease, now: now.0, due: s.due.0 })
            .collect();
        self.hot.start(db, &starts).await
    }

    async fn finish(&self, tx: &mut AnyConnection, ops: &[Op]) -> StoreResult<()> {
        let finished: Vec<&Finished> =
            ops.iter().filter_map(|op| if let Op::Finish(f) = op { Some(&**f) } else { None }).collect();
        let mut attempts = Vec::with_capacity(finished.len());
        let mut rows = Vec::with_capacity(finished.len());
        let mut events = Vec::new();
        let (mut memory, mut captured) = (String::new(), String::new());
        for f in &finished {
            let d = &f.delivery;
            attempts.extend(f.attempt.as_ref().map(|a| attempt_row(f, a)));
            rows.push(finish_row(f));
            if let Some((account, remember)) = &f.remember {
                let address = d.address.as_deref().unwrap_or_default();
                push_json(
                    &mut memory,
                    &serde_json::json!({"t": d.tenant, "account": account, "address": address,
                        "memory": remember.to_string(), "now": f.at.0}),
                );
            }
            if let Some(c) = &f.captured {
                push_json(
                    &mut captured,
                    &serde_json::json!({"t": d.tenant, "sid": Uuid::now_v7().to_string(), "id": d.id,
                        "channel": d.channel, "recipient": to_json(&d.recipient.for_plugin()), "subject": c.subject,
                        "body": c.text, "html": c.html, "actions": c.actions, "now": f.at.0}),
                );
            }
            if let Some((event, detail)) = &f.event {
                let event_id = Uuid::now_v7().to_string();
                events.push(EventRow {
                    t: d.tenant.as_str(),
                    id: d.id.as_str(),
                    event_id,
                    event,
                    detail: Some(detail),
                    at: f.at.0,
                });
            }
        }
        if !attempts.is_empty() {
            self.hot.journal(&mut *tx, &attempts).await?;
        }
        let held = self.hot.finish(&mut *tx, &rows).await?;
        if held != rows.len() as u64 {
            tracing::warn!(
                late = rows.len() as u64 - held,
                "outcomes came after their lease; kept in the journal only"
            );
        }
        if !memory.is_empty() {
            self.hot.remember(&mut *tx, &(memory + "]")).await?;
        }
        if !captured.is_empty() {
            self.hot.capture(&mut *tx, &(captured + "]")).await?;
        }
        if !events.is_empty() {
            self.hot.insert_events(&mut *tx, &events).await?;
        }
        Ok(())
    }

    /// The batch is durable: answer, hand on, and do what needs no transaction.
    async fn conclude(&self, ops: Vec<Op>, batch: Batch, conn: &mut AnyConnection) {
        let now = batch.now.unwrap_or_else(|| self.clock.now());
        let started = batch.started.unwrap_or_default();
        let mut fates = batch.fates.into_iter().zip(batch.admissions).zip(batch.refused);
        for op in ops {
            match op {
                Op::Accept(accept) => {
                    let Some(((fates, admissions), refused)) = fates.next() else { continue };
                    self.conclude_accept(*accept, &fates, admissions, refused, now);
                }
                Op::Start(start) => {
                    let held = started.contains(start.id.as_str());
                    let _ = start.reply.send(Ok(held));
                }
                Op::Finish(finished) => self.engine.finished(&finished),
                Op::Release(_) => {}
                Op::Touch(tenant, lane, _) => self.engine.wake(&tenant, &lane),
                Op::Load(load) => {
                    let loaded = self.load(conn, &load).await;
                    let _ = load.reply.send(loaded);
                }
                Op::Settle(lane) => self.settle(conn, &lane).await,
                Op::Acquire(reply) => {
                    let _ = reply.send(self.acquire(conn, now).await.unwrap_or_default());
                }
                Op::Renew => {
                    let lease_end = now.plus(self.settings.lane_lease);
                    if let Err(e) = lanes::renew_any_tenant(&mut *conn, &self.settings.node, now, lease_end).await {
                        tracing::warn!(error = %e, "lanes not renewed");
                    }
                }
                Op::Flush(reply) => {
                    let _ = reply.send(());
                }
                Op::Stop => {}
            }
        }
    }

    fn conclude_accept(
        &self,
        accept: Accept,
        fates: &[Fate],
        admissions: Vec<Admission>,
        refused: bool,
        now: Timestamp,
    ) {
        if refused {
            let _ = accept.reply.send(Ok(Accepted::KeyTaken));
            return;
        }
        let answer = if fates.iter().any(|f| *f != Fate::Queued) {
            (accept.answer_again)(&accept, fates)
        } else {
            accept.answer
        };
        let _ = accept.reply.send(Ok(Accepted::Done(answer)));
        for ((new, admission), fate) in accept.notifications.into_iter().zip(admissions).zip(fates) {
            if *fate == Fate::Queued {
                self.engine.admitted(new.delivery, admission, now);
            }
        }
    }

    async fn load(&self, conn: &mut AnyConnection, load: &LoadOp) -> StoreResult<Loaded> {
        let now = self.clock.now();
        let lane = &load.lane;
        let claim = Claim {
            tenant: &lane.tenant,
            lane: &lane.name,
            now,
            lease_end: now.plus(self.settings.lease),
            token: Uuid::new_v4().simple().to_string().into(),
            limit: load.limit,
        };
        let deliveries = self.hot.claim(conn, &claim).await?;
        let exhausted = deliveries.len() < load.limit;
        let next_due =
            if exhausted { store::notifications::next_due(&mut *conn, &lane.tenant, &lane.name).await? } else { None };
        Ok(Loaded { deliveries, next_due, exhausted })
    }

    async fn settle(&self, conn: &mut AnyConnection, lane: &Arc<Lane>) {
        let Some(version) = lane.state().owned else { return };
        if !lane.state().is_idle() {
            return;
        }
        match lanes::settle(&mut *conn, &lane.tenant, &lane.name, &self.settings.node, version).await {
            Ok(true) => self.engine.forget(lane),
            Ok(false) => match lanes::version(&mut *conn, &lane.tenant, &lane.name).await {
                Ok(Some(version)) => {
                    let mut state = lane.state();
                    state.owned = Some(version);
                    state.backlog = true;
                }
                _ => self.engine.forget(lane),
            },
            Err(e) => tracing::warn!(error = %e, "lane not settled"),
        }
    }

    /// Finds work: lanes nobody owns, and own lanes that others added to.
    async fn acquire(&self, conn: &mut AnyConnection, now: Timestamp) -> StoreResult<usize> {
        let lease_end = now.plus(self.settings.lane_lease);
        let node = &self.settings.node;
        let mut found = self.lane_statements.acquire_due_any_tenant(&mut *conn, node, now, lease_end, 256).await?;
        let taken = found.len();
        found.extend(lanes::owned_any_tenant(&mut *conn, node, now).await?);
        for row in found {
            let lane = self.engine.lane(&row.tenant, &row.lane.as_str().into());
            let mut state = lane.state();
            if state.owned != Some(row.version) {
                state.owned = Some(row.version);
                state.backlog = true;
                state.active_at = Some(now);
            }
        }
        Ok(taken)
    }
}

/// What a batch needs, seen before its transaction begins.
#[derive(Default)]
struct Plan {
    touches: HashMap<(TenantId, Arc<str>), Option<Timestamp>>,
    accepts: bool,
    finishes: bool,
    starts: bool,
    releases: bool,
    only_starts: bool,
}

impl Plan {
    fn of(ops: &[Op], engine: &Engine) -> Self {
        let mut plan = Self::default();
        let mut others = false;
        for op in ops {
            match op {
                Op::Accept(accept) => {
                    plan.accepts = true;
                    for new in &accept.notifications {
                        let d = &new.delivery;
                        if engine.lane(&d.tenant, &d.lane).state().owned.is_none() {
                            plan.touch(&d.tenant, &d.lane, d.send_at);
                        }
                    }
                }
                Op::Finish(finished) => {
                    plan.finishes = true;
                    if let Some(next) = &finished.next
                        && engine.lane(&finished.delivery.tenant, &next.lane).state().owned.is_none()
                    {
                        plan.touch(&finished.delivery.tenant, &next.lane, finished.due_at);
                    }
                }
                Op::Start(_) => plan.starts = true,
                Op::Release(_) => plan.releases = true,
                Op::Touch(tenant, lane, wake) => {
                    others = true;
                    plan.touch(tenant, lane, Some(*wake));
                }
                _ => {}
            }
        }
        plan.only_starts = plan.starts && !(plan.accepts || plan.finishes || plan.releases || others);
        plan
    }

    fn touch(&mut self, tenant: &TenantId, lane: &Arc<str>, wake: Option<Timestamp>) {
        self.touches
            .entry((tenant.clone(), Arc::clone(lane)))
            .and_modify(|known| *known = known.zip(wake).map(|(a, b)| a.min(b)))
            .or_insert(wake);
    }

    fn is_empty(&self) -> bool {
        self.touches.is_empty() && !(self.accepts || self.finishes || self.starts || self.releases)
    }
}

#[derive(Default)]
struct Batch {
    now: Option<Timestamp>,
    /// For each accept, in order.
    refused: Vec<bool>,
    fates: Vec<Vec<Fate>>,
    admissions: Vec<Vec<Admission>>,
    started: Option<HashSet<String>>,
    committing: bool,
}

fn attempt_row<'a>(f: &'a Finished, a: &'a AttemptRecord) -> AttemptRow<'a> {
    let d = &f.delivery;
    AttemptRow {
        t: d.tenant.as_str(),
        id: d.id.as_str(),
        n: i64::from(d.attempts),
        channel: &d.channel,
        provider: &a.provider,
        outcome: a.outcome.as_str(),
        began: a.began_at.0,
        finished: f.at.0,
        http: a.http_status,
        mid: a.message_id.as_deref(),
        reason: a.reason.as_deref(),
        error: a.error.as_deref(),
    }
}

fn finish_row(f: &Finished) -> Finish<'_> {
    let d = &f.delivery;
    let base = Finish {
        t: d.tenant.as_str(),
        id: d.id.as_str(),
        token: &d.lease,
        status: f.status.as_str(),
        reason: f.reason.as_deref(),
        mid: f.message_id.as_deref(),
        due: f.due_at.map(|t| t.0),
        now: f.at.0,
        step: d.step as i64,
        channel: &d.channel,
        address: d.address.as_deref(),
        lane: &d.lane,
        tries: if f.fresh_step { 0 } else { i64::from(d.step_attempts) },
        began: d.step_began_at.filter(|_| !f.fresh_step).map(|t| t.0),
    };
    match &f.next {
        None => base,
        Some(next) => Finish {
            step: next.step as i64,
            channel: &next.channel,
            address: next.address.as_deref(),
            lane: &next.lane,
            tries: 0,
            began: None,
            ..base
        },
    }
}

fn release_rows(ops: &[Op]) -> String {
    let mut rows = String::new();
    for op in ops {
        if let Op::Release(deliveries) = op {
            for (d, due) in deliveries {
                push_json(&mut rows, &serde_json::json!({"t": d.tenant, "id": d.id, "token": d.lease, "due": due.0}));
            }
        }
    }
    if rows.is_empty() { "[]".into() } else { rows + "]" }
}

fn push_json(rows: &mut String, row: &serde_json::Value) {
    rows.push(if rows.is_empty() { '[' } else { ',' });
    rows.push_str(&row.to_string());
}
