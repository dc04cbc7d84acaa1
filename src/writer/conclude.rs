//! After the commit: callers are answered, deliveries handed on, and lanes looked after.

use std::collections::HashSet;
use std::sync::Arc;

use sqlx::AnyConnection;
use uuid::Uuid;

use super::task::{AcceptFate, Task, Written};
use super::{Accept, Accepted, Fate, LoadOp, Loaded, Op};
use crate::clock::Timestamp;
use crate::lane::{Admission, Lane};
use crate::store::notifications::{Claim, Delivery, NewNotification};
use crate::store::{self, StoreResult, lanes};

impl Task {
    /// A batch of its own is durable: answer, hand on, and do what needs no transaction.
    pub(super) async fn conclude(&self, ops: Vec<Op>, written: Written, conn: &mut AnyConnection) {
        let now = written.now.unwrap_or_else(|| self.clock.now());
        let (own, others): (Vec<_>, Vec<_>) = ops.into_iter().partition(asks_afterwards);
        self.tell(others, written);
        for op in own {
            match op {
                Op::Load(load) => {
                    let loaded = self.load(conn, &load, now).await;
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
                _ => {}
            }
        }
    }

    /// What was written is durable: answer and hand on.
    pub(super) fn tell(&self, ops: Vec<Op>, written: Written) {
        let now = written.now.unwrap_or_else(|| self.clock.now());
        let Written { started, stored, accepts, reported, .. } = written;
        reported.tell(&self.engine);
        let mut accepts = accepts.into_iter();
        // Callers are answered before anything is sent: they ask for more while it is.
        let mut admitted = Vec::with_capacity(ops.len());
        for op in ops {
            match op {
                Op::Accept(accept) => {
                    let Some(fate) = accepts.next() else { continue };
                    self.conclude_accept(*accept, fate, stored.as_ref(), &mut admitted);
                }
                Op::Start(start) => {
                    // `None`: every one of the batch was.
                    let held = started.as_ref().is_none_or(|ids| ids.contains(start.id.as_str()));
                    let _ = start.reply.send(Ok(held));
                }
                Op::Finish(finished) => self.engine.finished(&finished),
                Op::Touch(tenant, lane, _) => self.engine.wake(&tenant, &lane),
                Op::Report(report) => {
                    let _ = report.reply.send(Ok(()));
                }
                Op::Flush(reply) => {
                    let _ = reply.send(());
                }
                Op::Release(deliveries) => self.engine.released(&deliveries),
                Op::Load(_) | Op::Settle(_) | Op::Acquire(_) | Op::Renew | Op::Stop => {}
            }
        }
        for (delivery, admission) in admitted {
            self.engine.admitted(delivery, admission, now);
        }
    }

    fn conclude_accept(
        &self,
        accept: Accept,
        fate: AcceptFate,
        stored: Option<&HashSet<String>>,
        admitted: &mut Vec<(Delivery, Admission)>,
    ) {
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
                admitted.push((new.delivery, admission));
            }
        }
    }

    async fn load(&self, conn: &mut AnyConnection, load: &LoadOp, now: Timestamp) -> StoreResult<Loaded> {
        let lane = &load.lane;
        let claim = Claim {
            tenant: &lane.tenant,
            lane: &lane.name,
            now,
            lease_end: now.plus(self.settings.lease),
            token: Uuid::new_v4().simple().to_string().into(),
            limit: load.limit,
            only_chains: load.only_chains,
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

/// What a batch carries that is done after its commit, on its connection.
fn asks_afterwards(op: &Op) -> bool {
    matches!(op, Op::Load(_) | Op::Settle(_) | Op::Acquire(_) | Op::Renew)
}
