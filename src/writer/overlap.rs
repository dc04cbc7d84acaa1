//! On SQLite batches overlap: while one is on its way to the disk, the next is made and the callers of the last are told.
//! Only what need not ask the store first takes part, and neither do errors: they are dealt with one batch at a time.

use std::collections::HashMap;
use std::pin::Pin;

use tokio::sync::mpsc;
use tokio::time::Timeout;

use super::outcome::{MemoryKey, fill};
use super::plan::Plan;
use super::task::{BATCH, Link, PATIENCE, Task, Written};
use super::{Fate, Op};
use crate::error::StoreError;
use crate::store::batch::{Batch, Changed, Commit, Kind, Val};
use crate::store::{Engine, StoreResult};

/// A batch that is being made.
#[derive(Default)]
pub(super) struct Making {
    pub(super) ops: Vec<Op>,
    pub(super) rows: Batch,
    /// Of several things to remember about one address the last one counts.
    pub(super) memory: HashMap<MemoryKey, [Val; 5]>,
    pub(super) written: Written,
}

/// A batch on its way to the disk.
pub(super) struct Flying {
    ops: Vec<Op>,
    written: Written,
    /// How many rows of each kind should take effect.
    counts: Counts,
    commit: Pin<Box<Timeout<Commit>>>,
}

/// Rows of those kinds that may find that they come too late.
#[derive(Clone, Copy)]
pub(super) struct Counts {
    pub(super) notifications: u64,
    pub(super) starts: u64,
    pub(super) finishes: u64,
}

impl Counts {
    pub(super) fn of(rows: &Batch) -> Self {
        let [notifications, starts, finishes] =
            [Kind::Notification, Kind::Start, Kind::Finish].map(|kind| rows.count(kind) as u64);
        Self { notifications, starts, finishes }
    }

    fn agree(&self, changed: &Changed) -> bool {
        changed.count(Kind::Notification) == self.notifications
            && changed.count(Kind::Start) == self.starts
            && changed.count(Kind::Finish) == self.finishes
    }
}

impl Flying {
    /// Waits for the commit, and takes in what comes meanwhile.
    pub(super) async fn landed(&mut self, ops: &mut mpsc::Receiver<Op>, inbox: &mut Vec<Op>, room: usize) -> Landing {
        let landed = async {
            match (&mut self.commit).await {
                Ok(done) => done,
                Err(_) => Err(StoreError::OutcomeUnknown("no answer within 5 s".into())),
            }
        };
        tokio::select! {
            biased;
            done = landed => Landing::Done(done),
            _ = ops.recv_many(inbox, room), if room > 0 => Landing::NotYet,
        }
    }
}

pub(super) enum Landing {
    Done(StoreResult<Changed>),
    /// More came in.
    NotYet,
}

impl Task {
    /// Moves what can go with the next batch from the inbox into it; what must ask the store first stays, and all after it.
    pub(super) fn make(&mut self, making: &mut Making, inbox: &mut Vec<Op>) {
        if self.db.engine != Engine::Sqlite || !self.owed.is_empty() {
            return;
        }
        let now = self.now();
        if self.set_by != 0 {
            return; // First the store must be told.
        }
        let room = BATCH - making.ops.len();
        let fit = inbox.iter().take(room).position(|op| !self.overlaps(op)).unwrap_or(inbox.len().min(room));
        for mut op in inbox.drain(..fit) {
            making.written.now.get_or_insert(now);
            if let Op::Accept(accept) = &mut op {
                let known =
                    accept.notifications.iter().map(|n| n.refused.clone().map_or(Fate::Queued, Fate::Suppressed));
                let fates = known.collect();
                self.place(accept, fates, &mut making.rows, &mut making.written, now);
            }
            fill(&op, &mut making.rows, &mut making.memory, now);
            making.ops.push(op);
        }
    }

    fn overlaps(&self, op: &Op) -> bool {
        let writes = matches!(op, Op::Accept(_) | Op::Start(_) | Op::Finish(_) | Op::Release(_));
        let plan = Plan::of(std::slice::from_ref(op), &self.engine);
        writes && plan.touches.is_empty() && !plan.asks
    }

    /// Sends a batch on its way; `None` when it could not even begin, which has then been dealt with.
    pub(super) async fn launch(&mut self, link: &mut Link, making: &mut Making) -> Option<Flying> {
        let Making { ops, mut rows, memory, written } = std::mem::take(making);
        for (_, row) in memory {
            rows.push(Kind::Memory, row);
        }
        let counts = Counts::of(&rows);
        match self.batches.launch(rows).await {
            Ok(commit) => {
                let commit = Box::pin(tokio::time::timeout(PATIENCE, commit));
                Some(Flying { ops, written, counts, commit })
            }
            Err(error) => {
                self.not_written(link, ops, written.accepts, error).await;
                None
            }
        }
    }

    /// What became of a batch is known: its callers are told.
    pub(super) async fn land(&mut self, link: &mut Link, flying: Flying, done: StoreResult<Changed>) {
        let Flying { ops, mut written, counts, .. } = flying;
        let compared = match done {
            Ok(changed) if counts.agree(&changed) => Ok(()),
            Ok(changed) => self.ask_what_changed(link, &ops, &counts, &changed, &mut written).await,
            Err(error) => Err(error),
        };
        match compared {
            Ok(()) => self.tell(ops, written),
            Err(error) => self.not_written(link, ops, written.accepts, error).await,
        }
    }

    /// The batch is written, but not all of it took effect.
    async fn ask_what_changed(
        &self,
        link: &mut Link,
        ops: &[Op],
        counts: &Counts,
        changed: &Changed,
        written: &mut Written,
    ) -> StoreResult<()> {
        let unknown = |e: StoreError| StoreError::OutcomeUnknown(e.to_string());
        let mut conn = link.take().await.map_err(unknown)?;
        let compared = self.compare(&mut conn, ops, counts, changed, written).await.map_err(unknown);
        if compared.is_ok() {
            link.give_back(conn);
        }
        compared
    }
}
