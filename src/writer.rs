//! The one task that writes what sending produces: it drains whatever waits into one transaction, so that many
//! requests, attempts and outcomes share one sync of the disk. A caller is answered only after its own commit.

mod accept;
mod cap;
mod conclude;
mod outcome;
mod overlap;
mod plan;
mod report;
mod task;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::clock::{SharedClock, Timestamp};
use crate::deliver::Engine;
use crate::ids::{NotificationId, TenantId};
use crate::lane::Lane;
use crate::status::{Outcome, Status};
use crate::store::callbacks::{InboundRow, Report};
use crate::store::notifications::{Delivery, NewNotification};
use crate::store::unread::UnreadRow;
use crate::store::{Db, StoreResult};

pub use cap::{CAPPED, would_be_capped};

pub enum Op {
    Accept(Box<Accept>),
    Start(StartOp),
    Finish(Box<Finished>),
    /// Leases given back before a call was begun.
    Release(Vec<(Delivery, Timestamp)>),
    /// Claim due rows of a lane this node owns.
    Load(LoadOp),
    /// What providers reported.
    Report(ReportOp),
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
    /// Marketing messages a person gets in seven days at most, where that is limited.
    pub cap: Option<u32>,
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
    /// When it begins: stored as the caller knows it.
    pub now: Timestamp,
    /// How long the call may last: so long it is left alone, from when this is written.
    pub span: Duration,
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

/// What a provider's callback meant, as the store keeps it.
#[derive(Debug, Default)]
pub struct Events {
    pub reports: Vec<Report>,
    pub inbound: Vec<InboundRow>,
    pub opt_outs: Vec<OptedOut>,
    /// The callback itself, when something in it was not understood.
    pub unread: Option<Box<UnreadRow>>,
}

impl Events {
    pub fn is_empty(&self) -> bool {
        self.reports.is_empty() && self.inbound.is_empty() && self.opt_outs.is_empty() && self.unread.is_none()
    }
}

/// An address that is not to be written to any more.
#[derive(Debug)]
pub struct OptedOut {
    pub tenant: TenantId,
    pub address: String,
    /// `all` or `marketing`.
    pub category: &'static str,
    pub reason: String,
}

pub struct ReportOp {
    pub events: Events,
    /// These were kept before: what still finds no notification stays, for an hour.
    pub kept: bool,
    pub reply: oneshot::Sender<StoreResult<()>>,
}

pub struct LoadOp {
    /// Leave rows that have only one channel to go.
    pub only_chains: bool,
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
    task::Task::new(db, clock, engine, settings).run(ops).await;
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
