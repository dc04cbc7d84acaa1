//! The loop: one batch after another, each one transaction, and what happens when the store does not take it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use sqlx::AnyConnection;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::outcome::fill;
use super::overlap::{Counts, Flying, Landing, Making};
use super::plan::{Plan, Touches};
use super::report::Reported;
use super::{Fate, Op, Settings};
use crate::clock::{SharedClock, Steps, Timestamp};
use crate::deliver::Engine;
use crate::error::StoreError;
use crate::lane::Admission;
use crate::store::batch::{Batch, Batches, Changed, Kind};
use crate::store::callbacks::move_reports_any_tenant;
use crate::store::lanes::{self, Touch};
use crate::store::notifications::{Asked, move_due_any_tenant};
use crate::store::{self, Db, Engine as StoreEngine, StoreResult, to_json};

/// The most operations that share a commit.
pub(super) const BATCH: usize = 512;
/// As many operations are worth a commit by themselves: a larger batch costs less, but the disk would stand idle until
/// it is there.
const WORTHWHILE: usize = 24;
/// How often the writer lets others run before it commits fewer.
const GATHER: usize = 3;
/// A statement that takes longer than this is given up, and its connection with it.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The writer's own connection.
pub(super) struct Link {
    db: Db,
    conn: Option<AnyConnection>,
    /// After a failed connect, at most one more a second.
    unreachable_until: Option<Instant>,
}

impl Link {
    pub(super) async fn take(&mut self) -> StoreResult<AnyConnection> {
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

    pub(super) fn give_back(&mut self, conn: AnyConnection) {
        self.conn = Some(conn);
    }
}

pub(super) struct Task {
    pub(super) db: Db,
    pub(super) clock: SharedClock,
    steps: Steps,
    /// By how many milliseconds the clock was set without the store knowing it.
    pub(super) set_by: i64,
    pub(super) engine: Arc<Engine>,
    pub(super) settings: Settings,
    pub(super) batches: Batches,
    pub(super) asked: Asked,
    pub(super) lane_statements: lanes::Statements,
    /// Outcomes the store owes us: calls were made, so these are tried until they are written.
    pub(super) owed: Vec<Op>,
}

/// What is known of a batch while and after it is written.
#[derive(Default)]
pub(super) struct Written {
    pub(super) now: Option<Timestamp>,
    /// One for each accept, in order.
    pub(super) accepts: Vec<AcceptFate>,
    /// The notifications found stored, when not all were.
    pub(super) stored: Option<HashSet<String>>,
    /// The attempts found open, when not all were opened.
    pub(super) started: Option<HashSet<String>>,
    pub(super) committing: bool,
    pub(super) reported: Reported,
}

pub(super) struct AcceptFate {
    pub(super) refused: bool,
    pub(super) fates: Vec<Fate>,
    pub(super) admissions: Vec<Admission>,
}

impl Task {
    pub(super) fn new(db: Db, clock: SharedClock, engine: Arc<Engine>, settings: Settings) -> Self {
        Self {
            batches: Batches::new(&db),
            asked: Asked::new(db.engine),
            lane_statements: lanes::Statements::new(db.engine),
            db,
            steps: Steps::new(&clock),
            set_by: 0,
            clock,
            engine,
            settings,
            owed: Vec::new(),
        }
    }

    pub(super) async fn run(mut self, mut ops: mpsc::Receiver<Op>) {
        let mut link = Link { db: self.db.clone(), conn: None, unreachable_until: None };
        let mut stopping = false;
        // What came in and is part of no batch yet.
        let mut inbox = Vec::with_capacity(64);
        let mut making = Making::default();
        let mut flying: Option<Flying> = None;
        loop {
            self.make(&mut making, &mut inbox);
            if let Some(mut batch) = flying.take() {
                let room = if inbox.is_empty() { BATCH - making.ops.len() } else { 0 };
                match batch.landed(&mut ops, &mut inbox, room).await {
                    Landing::NotYet => flying = Some(batch),
                    Landing::Done(done) => {
                        if making.ops.len() >= WORTHWHILE {
                            flying = self.launch(&mut link, &mut making).await;
                        }
                        self.land(&mut link, batch, done).await;
                    }
                }
            } else if !making.ops.is_empty() {
                if inbox.is_empty() {
                    gather(&mut ops, &mut inbox, making.ops.len()).await;
                    self.make(&mut making, &mut inbox);
                }
                flying = self.launch(&mut link, &mut making).await;
            } else if !inbox.is_empty() || !self.owed.is_empty() {
                if inbox.is_empty() {
                    let _ = tokio::time::timeout(Duration::from_secs(1), ops.recv_many(&mut inbox, BATCH)).await;
                }
                gather(&mut ops, &mut inbox, 0).await;
                inbox.append(&mut self.owed);
                stopping |= inbox.iter().any(|op| matches!(op, Op::Stop));
                self.write(&mut link, std::mem::take(&mut inbox)).await;
            } else if stopping {
                break;
            } else {
                ops.recv_many(&mut inbox, BATCH).await;
            }
        }
        if let Some(conn) = &mut link.conn
            && let Err(e) = lanes::give_up_all_any_tenant(conn, &self.settings.node).await
        {
            tracing::warn!(error = %e, "this node's lanes stay leased until they run out");
        }
    }

    /// The time that goes into the store. Leases are only as good as the clock, so a step of it is noticed here, before
    /// anything is written or claimed by the new time; PostgreSQL's own clock is its operator's affair.
    pub(super) fn now(&mut self) -> Timestamp {
        let (now, set_by) = self.steps.read();
        if self.db.engine == StoreEngine::Sqlite {
            self.set_by += set_by;
        }
        now
    }

    /// As [`Task::now`], after everything that is due was moved along with the clock.
    async fn settled_now(&mut self, conn: &mut AnyConnection) -> StoreResult<Timestamp> {
        let now = self.now();
        if self.set_by != 0 {
            store::begin(conn, self.db.engine).await?;
            let moved = async {
                let moved = move_due_any_tenant(&mut *conn, self.set_by, now).await?;
                move_reports_any_tenant(&mut *conn, self.set_by).await?;
                lanes::wake_all_any_tenant(&mut *conn, now).await?;
                Ok(moved)
            };
            let moved = match moved.await {
                Ok(moved) => store::commit(conn).await.map(|()| moved),
                Err(e) => {
                    store::rollback(conn).await;
                    Err(e)
                }
            }?;
            tracing::warn!(
                by_ms = self.set_by,
                notifications = moved,
                "the clock was set; what waits was moved with it"
            );
            self.engine.clock_was_set(std::mem::take(&mut self.set_by));
        }
        Ok(now)
    }

    /// Writes a batch by itself.
    async fn write(&mut self, link: &mut Link, mut ops: Vec<Op>) {
        if let Err((error, accepts)) = self.try_write(link, &mut ops).await {
            self.not_written(link, ops, accepts, error).await;
        }
    }

    /// One bad statement in a batch does not take the others along.
    pub(super) async fn not_written(
        &mut self,
        link: &mut Link,
        mut ops: Vec<Op>,
        accepts: Vec<AcceptFate>,
        error: StoreError,
    ) {
        self.undo(&ops, &accepts);
        if let (StoreError::Statement(_) | StoreError::Unreadable(_), true) = (&error, ops.len() > 1) {
            for op in ops.drain(..) {
                Box::pin(self.write(link, vec![op])).await;
            }
            return;
        }
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
            Op::Report(report) => {
                let _ = report.reply.send(Err(error.clone()));
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
    fn undo(&self, ops: &[Op], fates: &[AcceptFate]) {
        let accepts = ops.iter().filter_map(|op| if let Op::Accept(a) = op { Some(a) } else { None });
        for (accept, fate) in accepts.zip(fates) {
            for (new, admission) in accept.notifications.iter().zip(&fate.admissions) {
                self.engine.lane(&new.delivery.tenant, &new.delivery.lane).state().unadmit(&new.delivery, *admission);
            }
        }
    }

    async fn try_write(&mut self, link: &mut Link, ops: &mut Vec<Op>) -> Result<(), (StoreError, Vec<AcceptFate>)> {
        let mut conn = link.take().await.map_err(|e| (e, vec![]))?;
        let now = self.settled_now(&mut conn).await.map_err(|e| (e, vec![]))?;
        let mut batch = Written { now: Some(now), ..Written::default() };
        let result = tokio::time::timeout(PATIENCE, self.transact(&mut conn, ops, &mut batch, now)).await;
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
                return Err((e, batch.accepts));
            }
        }
        self.conclude(std::mem::take(ops), batch, &mut conn).await;
        link.conn = Some(conn);
        Ok(())
    }

    /// Everything of a batch that must be durable together.
    async fn transact(
        &mut self,
        conn: &mut AnyConnection,
        ops: &mut [Op],
        written: &mut Written,
        now: Timestamp,
    ) -> StoreResult<()> {
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
            self.touch(conn, &plan.touches, now).await?;
        }
        let mut batch = Batch::default();
        let mut memory = HashMap::new();
        let mut deduped = HashMap::new();
        for op in ops.iter_mut() {
            match op {
                Op::Accept(accept) => self.accept(conn, accept, &mut batch, written, &mut deduped, now).await?,
                Op::Report(report) => self.report(conn, report, &mut written.reported, now).await?,
                op => fill(op, &mut batch, &mut memory, now),
            }
        }
        if !written.reported.woken.is_empty() {
            self.touch(conn, &written.reported.woken, now).await?;
        }
        for row in memory.into_values() {
            batch.push(Kind::Memory, row);
        }
        let counts = Counts::of(&batch);
        written.committing = true;
        let changed = if batch.is_empty() {
            store::commit(conn).await?;
            Changed::default()
        } else {
            self.batches.commit(conn, batch, open).await?
        };
        written.committing = false;
        self.compare(conn, ops, &counts, &changed, written).await
    }

    /// Finds out which rows did not take effect, when some did not.
    pub(super) async fn compare(
        &self,
        conn: &mut AnyConnection,
        ops: &[Op],
        counts: &Counts,
        changed: &Changed,
        written: &mut Written,
    ) -> StoreResult<()> {
        if changed.count(Kind::Notification) != counts.notifications {
            written.stored = Some(self.stored(conn, ops).await?);
        }
        if changed.count(Kind::Start) != counts.starts {
            written.started = Some(self.started(conn, ops).await?);
        }
        if changed.count(Kind::Finish) != counts.finishes {
            let late = counts.finishes.saturating_sub(changed.count(Kind::Finish));
            tracing::warn!(late, "outcomes came after their lease; kept in the journal only");
        }
        Ok(())
    }

    /// Announces work in lanes that this node may not own.
    pub(super) async fn touch(&self, conn: &mut AnyConnection, lanes: &Touches, now: Timestamp) -> StoreResult<()> {
        let touches: Vec<Touch<'_>> =
            lanes.iter().map(|((t, lane), wake)| Touch { t: t.as_str(), lane, wake: wake.unwrap_or(now).0 }).collect();
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
}

/// Whoever is about to write anyway shares the commit, until it is worthwhile; alone nobody waits. `made`: how many
/// operations there are beside the inbox.
async fn gather(ops: &mut mpsc::Receiver<Op>, inbox: &mut Vec<Op>, made: usize) {
    let others_ran = async {
        for _ in 0..GATHER {
            tokio::task::yield_now().await;
        }
    };
    tokio::pin!(others_ran);
    while made + inbox.len() < WORTHWHILE {
        tokio::select! {
            biased;
            received = ops.recv_many(inbox, BATCH - made) => if received == 0 { break },
            () = &mut others_ran => break,
        }
    }
}
