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
use crate::store::batch::{Batch, Batches, Changed, Kind, Val, outcome_number, status_number};
use crate::store::lanes::{self, Touch};
use crate::store::notifications::{
    Asked, Born, Claim, Delivery, NewNotification, find_dedupe_owner, find_first_answer,
};
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

/// No room for another request.
pub struct QueueFull;

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
    /// Route and key, as stored.
    pub key: Arc<str>,
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
    pub fn try_accept(&self, accept: Box<Accept>) -> Result<(), QueueFull> {
        self.ops.try_send(Op::Accept(accept)).map_err(|_| QueueFull)
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
        batches: Batches::new(db.engine),
        asked: Asked::new(db.engine),
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
    batches: Batches,
    asked: Asked,
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

    async fn try_write(&mut self, link: &mut Link, ops: &mut Vec<Op>) -> Result<(), (StoreError, Vec<Vec<Admission>>)> {
        let mut conn = link.take().await.map_err(|e| (e, vec![]))?;
        let mut batch = Written::default();
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
                let admissions = batch.accepts.into_iter().map(|a| a.admissions).collect();
                return Err((e, admissions));
            }
        }
        self.conclude(std::mem::take(ops), batch, &mut conn).await;
        link.conn = Some(conn);
        Ok(())
    }

    /// Everything of a batch that must be durable together.
    async fn transact(&mut self, conn: &mut AnyConnection, ops: &mut [Op], written: &mut Written) -> StoreResult<()> {
        let now = self.clock.now();
        written.now = Some(now);
        let plan = Plan::of(ops, &self.engine);
        if plan.is_empty() {
            return Ok(());
        }
        // What must be asked before the rows can be made needs the transaction open; most batches ask nothing.
        let open = !plan.touches.is_empty() || plan.asks;
        if open {
            store::begin(conn, self.db.engine).await?;
        }
        let result = self.fill_and_commit(conn, ops, written, &plan, open, now).await;
        if open && result.is_err() {
            store::rollback(conn).await;
        }
        result
    }

    async fn fill_and_commit(
        &mut self,
        conn: &mut AnyConnection,
        ops: &mut [Op],
        written: &mut Written,
        plan: &Plan,
        open: bool,
        now: Timestamp,
    ) -> StoreResult<()> {
        if !plan.touches.is_empty() {
            self.touch(conn, plan, now).await?;
        }
        let mut batch = Batch::default();
        let mut memory = HashMap::new();
        let mut deduped = HashMap::new();
        for op in ops.iter_mut() {
            match op {
                Op::Accept(accept) => self.accept(conn, accept, &mut batch, written, &mut deduped, now).await?,
                Op::Start(s) => batch.push(
                    Kind::Start,
                    [(&s.tenant.0).into(), (&s.id.0).into(), (&s.lease).into(), now.0.into(), s.due.0.into()],
                ),
                Op::Finish(finished) => finish(finished, &mut batch, &mut memory),
                Op::Release(deliveries) => {
                    for (d, due) in deliveries {
                        let row = [(&d.tenant.0).into(), (&d.id.0).into(), (&d.lease).into(), due.0.into()];
                        batch.push(Kind::Release, row);
                    }
                }
                _ => {}
            }
        }
        for row in memory.into_values() {
            batch.push(Kind::Memory, row);
        }
        let counts = [Kind::Notification, Kind::Start, Kind::Finish].map(|kind| batch.count(kind) as u64);
        written.committing = true;
        let changed = if batch.is_empty() {
            store::commit(conn).await?;
            Changed::default()
        } else {
            self.batches.commit(conn, batch, open).await?
        };
        written.committing = false;
        let [notifications, starts, finishes] = counts;
        if changed.count(Kind::Notification) != notifications {
            written.stored = Some(self.stored(conn, ops).await?);
        }
        if changed.count(Kind::Start) != starts {
            written.started = Some(self.started(conn, ops).await?);
        }
        if changed.count(Kind::Finish) != finishes {
            let late = finishes.saturating_sub(changed.count(Kind::Finish));
            tracing::warn!(late, "outcomes came after their lease; kept in the journal only");
        }
        Ok(())
    }

    async fn touch(&self, conn: &mut AnyConnection, plan: &Plan, now: Timestamp) -> StoreResult<()> {
        let touches: Vec<Touch<'_>> = plan
            .touches
            .iter()
            .map(|((t, lane), wake)| Touch { t: t.as_str(), lane, wake: wake.unwrap_or(now).0 })
            .collect();
        let lease_end = now.plus(self.settings.lane_lease);
        let node = &self.settings.node;
        for row in self.lane_statements.touch(conn, &to_json(&touches), node, now, lease_end).await? {
            let lane = self.engine.lane(&row.tenant, &row.lane.as_str().into());
            let mut state = lane.state();
            state.owned = (row.owner.as_deref() == Some(&**node)).then_some(row.version);
            state.active_at = Some(now);
        }
        Ok(())
    }

    /// Makes the rows of one request, after asking what must be asked first.
    async fn accept(
        &self,
        conn: &mut AnyConnection,
        accept: &mut Accept,
        batch: &mut Batch,
        written: &mut Written,
        deduped: &mut HashMap<(TenantId, String, String), String>,
        now: Timestamp,
    ) -> StoreResult<()> {
        let (mut fates, mut admissions) = (Vec::new(), Vec::new());
        if self.key_is_taken(conn, accept, now).await? {
            written.accepts.push(AcceptFate { refused: true, fates, admissions });
            return Ok(());
        }
        let mut reasons = self.suppressed(conn, accept).await?;
        let duplicates = self.dedupe(conn, accept, deduped, now).await?;
        for (new, duplicate) in accept.notifications.iter().zip(duplicates) {
            fates.push(match (duplicate, reasons.remove(new.delivery.id.as_str())) {
                (Some(first), _) => Fate::Duplicate(first),
                (None, Some(reason)) => Fate::Suppressed(reason),
                (None, None) => Fate::Queued,
            });
        }
        let answer = if fates.iter().all(|f| *f == Fate::Queued) {
            accept.answer.clone()
        } else {
            (accept.answer_again)(accept, &fates)
        };
        let request = accept.notifications.first().map(|n| Arc::clone(&n.delivery.request_id));
        if let Some(k) = &accept.key {
            // What one simply queued notification answers can be made anew from its row.
            let plain = accept.notifications.len() == 1 && fates[0] == Fate::Queued;
            let row = [
                (&accept.tenant.0).into(),
                (&k.key).into(),
                k.body_hash.as_str().into(),
                request.as_ref().into(),
                Some(answer.as_str()).filter(|_| !plain).into(),
                now.0.into(),
            ];
            batch.push(Kind::Key, row);
        }
        accept.answer = answer;
        let key = accept.key.as_ref().map(|k| &k.key);
        if let Some(content) = accept.shared_content.as_deref() {
            let row = [(&accept.tenant.0).into(), request.as_ref().into(), content.into(), key.into()];
            batch.push(Kind::Content, row);
        }
        for (new, fate) in accept.notifications.iter().zip(&fates) {
            let reason = match fate {
                Fate::Duplicate(_) => {
                    admissions.push(Admission::Store);
                    continue;
                }
                Fate::Suppressed(reason) => Some(reason.as_str()),
                Fate::Queued => None,
            };
            let admission = self.admit(&new.delivery, reason.is_some(), now);
            admissions.push(admission);
            let born = self.born(&new.delivery, admission, reason, now);
            new.push(batch, &born, key);
        }
        written.accepts.push(AcceptFate { refused: false, fates, admissions });
        Ok(())
    }

    /// Only asked where a dedupe key would be taken in vain; else the batch itself finds out.
    async fn key_is_taken(&self, conn: &mut AnyConnection, accept: &Accept, now: Timestamp) -> StoreResult<bool> {
        match &accept.key {
            Some(k) if accept.dedupe_key.is_some() => {
                Ok(find_first_answer(conn, &accept.tenant, &k.key, now).await?.is_some())
            }
            _ => Ok(false),
        }
    }

    async fn suppressed(&self, conn: &mut AnyConnection, accept: &Accept) -> StoreResult<HashMap<String, String>> {
        let rows: Vec<_> = accept
            .notifications
            .iter()
            .filter(|_| accept.check_suppressed)
            .filter_map(|n| n.delivery.address.as_ref().map(|a| (&n.delivery, a)))
            .map(|(d, a)| serde_json::json!({"t": d.tenant, "id": d.id, "a": a, "c": d.category.as_str()}))
            .collect();
        if rows.is_empty() { Ok(HashMap::new()) } else { self.asked.suppressed(conn, &rows).await }
    }

    /// For each notification the id of an earlier one with the same key and recipient.
    async fn dedupe(
        &self,
        conn: &mut AnyConnection,
        accept: &Accept,
        deduped: &mut HashMap<(TenantId, String, String), String>,
        now: Timestamp,
    ) -> StoreResult<Vec<Option<String>>> {
        let mut duplicates = vec![None; accept.notifications.len()];
        let Some(key) = &accept.dedupe_key else { return Ok(duplicates) };
        let mut asked = Vec::new();
        for (n, new) in accept.notifications.iter().enumerate() {
            let d = &new.delivery;
            let entry = (d.tenant.clone(), key.clone(), d.recipient.identity().to_owned());
            // PostgreSQL takes no key twice in one statement, so repeats within a batch are seen here.
            if let Some(first) = deduped.get(&entry) {
                duplicates[n] = Some(first.clone());
                continue;
            }
            deduped.insert(entry, d.id.to_string());
            asked.push((
                n,
                serde_json::json!({"t": d.tenant, "k": key, "r": d.recipient.identity(), "id": d.id, "now": now.0}),
            ));
        }
        let rows: Vec<_> = asked.iter().map(|(_, row)| row).collect();
        let free = self.asked.take_dedupe_keys(&mut *conn, &rows).await?;
        for (n, _) in asked {
            let d = &accept.notifications[n].delivery;
            if !free.contains(d.id.as_str()) {
                let identity = d.recipient.identity();
                let first = find_dedupe_owner(&mut *conn, &d.tenant, key, identity).await?.unwrap_or_default();
                deduped.insert((d.tenant.clone(), key.clone(), identity.to_owned()), first.clone());
                duplicates[n] = Some(first);
            }
        }
        Ok(duplicates)
    }

    /// Which of the batch's notifications were stored: those whose Idempotency-Key was free.
    async fn stored(&self, conn: &mut AnyConnection, ops: &[Op]) -> StoreResult<HashSet<String>> {
        let rows: Vec<_> = ops
            .iter()
            .filter_map(|op| if let Op::Accept(a) = op { a.notifications.first() } else { None })
            .map(|n| serde_json::json!({"t": n.delivery.tenant, "id": n.delivery.id}))
            .collect();
        self.asked.present(conn, &rows).await
    }

    async fn started(&self, conn: &mut AnyConnection, ops: &[Op]) -> StoreResult<HashSet<String>> {
        let rows: Vec<_> = ops
            .iter()
            .filter_map(|op| if let Op::Start(s) = op { Some(s) } else { None })
            .map(|s| serde_json::json!({"t": s.tenant, "id": s.id, "token": s.lease}))
            .collect();
        self.asked.started(conn, &rows).await
    }

    fn admit(&self, d: &Delivery, suppressed: bool, now: Timestamp) -> Admission {
        if suppressed || d.send_at.is_some_and(|at| at > now) {
            return Admission::Store;
        }
        let memory_left = self.engine.memory_left();
        self.engine.lane(&d.tenant, &d.lane).state().admit(d, now, memory_left)
    }

    fn born<'a>(&self, d: &Delivery, admission: Admission, reason: Option<&'a str>, now: Timestamp) -> Born<'a> {
        let waits = Born { status: Status::Queued, reason, due_at: Some(now), leased: false, attempt_began_at: None };
        let lease_end = Some(now.plus(self.settings.lease));
        match (reason, d.send_at.filter(|at| *at > now), admission) {
            (Some(_), _, _) => Born { status: Status::Suppressed, due_at: None, ..waits },
            (None, Some(at), _) => Born { status: Status::Scheduled, due_at: Some(at), ..waits },
            (None, None, Admission::Store) => waits,
            (None, None, Admission::Queue) => Born { due_at: lease_end, leased: true, ..waits },
            (None, None, Admission::Send) => {
                Born { status: Status::Sending, due_at: lease_end, leased: true, attempt_began_at: Some(now), ..waits }
            }
        }
    }

    /// The batch is durable: answer, hand on, and do what needs no transaction.
    async fn conclude(&self, ops: Vec<Op>, written: Written, conn: &mut AnyConnection) {
        let now = written.now.unwrap_or_else(|| self.clock.now());
        let Written { started, stored, accepts, .. } = written;
        let mut accepts = accepts.into_iter();
        for op in ops {
            match op {
                Op::Accept(accept) => {
                    let Some(fate) = accepts.next() else { continue };
                    self.conclude_accept(*accept, fate, stored.as_ref(), now);
                }
                Op::Start(start) => {
                    // `None`: every one of the batch was.
                    let held = started.as_ref().is_none_or(|ids| ids.contains(start.id.as_str()));
                    let _ = start.reply.send(Ok(held));
                }
                Op::Finish(finished) => self.engine.finished(&finished),
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
                Op::Release(deliveries) => self.engine.released(&deliveries),
                Op::Stop => {}
            }
        }
    }

    fn conclude_accept(&self, accept: Accept, fate: AcceptFate, stored: Option<&HashSet<String>>, now: Timestamp) {
        let AcceptFate { refused, fates, admissions } = fate;
        let vanished = |new: &NewNotification| stored.is_some_and(|ids| !ids.contains(new.delivery.id.as_str()));
        let first_row = accept.notifications.iter().zip(&fates).find(|(_, f)| !matches!(f, Fate::Duplicate(_)));
        if refused || (accept.key.is_some() && first_row.is_some_and(|(new, _)| vanished(new))) {
            for (new, admission) in accept.notifications.iter().zip(admissions) {
                self.engine.lane(&new.delivery.tenant, &new.delivery.lane).state().unadmit(&new.delivery, admission);
            }
            let _ = accept.reply.send(Ok(Accepted::KeyTaken));
            return;
        }
        let _ = accept.reply.send(Ok(Accepted::Done(accept.answer)));
        for ((new, admission), fate) in accept.notifications.into_iter().zip(admissions).zip(fates) {
            if fate == Fate::Queued {
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
        let deliveries = self.asked.claim(conn, &claim).await?;
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
    /// Something must be read before the rows can be made.
    asks: bool,
    writes: bool,
}

impl Plan {
    fn of(ops: &[Op], engine: &Engine) -> Self {
        let mut plan = Self::default();
        for op in ops {
            match op {
                Op::Accept(accept) => {
                    plan.writes = true;
                    plan.asks |= accept.dedupe_key.is_some() || accept.check_suppressed;
                    for new in &accept.notifications {
                        let d = &new.delivery;
                        if engine.lane(&d.tenant, &d.lane).state().owned.is_none() {
                            plan.touch(&d.tenant, &d.lane, d.send_at);
                        }
                    }
                }
                Op::Finish(finished) => {
                    plan.writes = true;
                    if let Some(next) = &finished.next
                        && engine.lane(&finished.delivery.tenant, &next.lane).state().owned.is_none()
                    {
                        plan.touch(&finished.delivery.tenant, &next.lane, finished.due_at);
                    }
                }
                Op::Start(_) => plan.writes = true,
                Op::Release(deliveries) => plan.writes |= !deliveries.is_empty(),
                Op::Touch(tenant, lane, wake) => plan.touch(tenant, lane, Some(*wake)),
                _ => {}
            }
        }
        plan
    }

    fn touch(&mut self, tenant: &TenantId, lane: &Arc<str>, wake: Option<Timestamp>) {
        self.touches
            .entry((tenant.clone(), Arc::clone(lane)))
            .and_modify(|known| *known = known.zip(wake).map(|(a, b)| a.min(b)))
            .or_insert(wake);
    }

    fn is_empty(&self) -> bool {
        self.touches.is_empty() && !self.writes
    }
}

/// What is known of a batch while and after it is written.
#[derive(Default)]
struct Written {
    now: Option<Timestamp>,
    /// One for each accept, in order.
    accepts: Vec<AcceptFate>,
    /// The notifications found stored, when not all were.
    stored: Option<HashSet<String>>,
    /// The attempts found open, when not all were opened.
    started: Option<HashSet<String>>,
    committing: bool,
}

struct AcceptFate {
    refused: bool,
    fates: Vec<Fate>,
    admissions: Vec<Admission>,
}

type MemoryKey = (TenantId, String, Option<Arc<str>>);

/// The rows of one outcome. Of several things to remember about one address the last one counts.
fn finish(f: &Finished, batch: &mut Batch, memory: &mut HashMap<MemoryKey, [Val; 5]>) {
    let d = &f.delivery;
    let (tenant, id) = (Val::from(&d.tenant.0), Val::from(&d.id.0));
    if let Some(a) = &f.attempt {
        let row = [
            tenant.clone(),
            id.clone(),
            i64::from(d.attempts).into(),
            (&d.channel).into(),
            a.provider.as_str().into(),
            outcome_number(a.outcome).into(),
            a.began_at.0.into(),
            f.at.0.into(),
            a.http_status.map(i64::from).into(),
            a.message_id.as_deref().into(),
            a.reason.as_deref().into(),
            a.error.as_deref().into(),
        ];
        batch.push(Kind::Attempt, row);
    }
    push_state(f, batch);
    if let Some((account, remember)) = &f.remember {
        let address = d.address.as_ref();
        let row = [
            tenant.clone(),
            account.as_str().into(),
            address.map_or(Val::from(""), Val::from),
            remember.to_string().into(),
            f.at.0.into(),
        ];
        memory.insert((d.tenant.clone(), account.clone(), d.address.clone()), row);
    }
    if let Some(c) = &f.captured {
        let row = [
            tenant.clone(),
            Uuid::now_v7().to_string().into(),
            id.clone(),
            (&d.channel).into(),
            to_json(&d.recipient.for_plugin()).into(),
            c.subject.as_deref().into(),
            c.text.as_str().into(),
            c.html.as_deref().into(),
            c.actions.as_str().into(),
            f.at.0.into(),
        ];
        batch.push(Kind::Captured, row);
    }
    if let Some((event, detail)) = &f.event {
        let row =
            [tenant, id, Uuid::now_v7().to_string().into(), (*event).into(), detail.as_str().into(), f.at.0.into()];
        batch.push(Kind::Event, row);
    }
}

fn push_state(f: &Finished, batch: &mut Batch) {
    let d = &f.delivery;
    let [tenant, id, token] = [&d.tenant.0, &d.id.0, &d.lease].map(Val::from);
    let (status, reason) = (Val::from(status_number(f.status)), Val::from(f.reason.as_deref()));
    let (due, now) = (Val::from(f.due_at.map(|t| t.0)), Val::from(f.at.0));
    match &f.next {
        None => batch.push(Kind::Finish, [tenant, id, token, status, reason, f.message_id.as_deref().into(), due, now]),
        Some(next) => {
            let (step, address) = (Val::from(next.step as i64), next.address.as_ref().into());
            let row = [
                tenant,
                id,
                token,
                status,
                reason,
                due,
                now,
                step,
                (&next.channel).into(),
                address,
                (&next.lane).into(),
            ];
            batch.push(Kind::Advance, row);
        }
    }
}
