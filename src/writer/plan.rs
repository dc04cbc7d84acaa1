//! What a batch needs, seen before its transaction begins.

use std::collections::HashMap;
use std::sync::Arc;

use super::Op;
use crate::clock::Timestamp;
use crate::deliver::Engine;
use crate::ids::TenantId;

/// Lanes, and when there is work in them; `None`: now.
pub(super) type Touches = HashMap<(TenantId, Arc<str>), Option<Timestamp>>;

#[derive(Default)]
pub(super) struct Plan {
    pub(super) touches: Touches,
    /// Something must be read before the rows can be made.
    pub(super) asks: bool,
    pub(super) writes: bool,
}

impl Plan {
    pub(super) fn of(ops: &[Op], engine: &Engine) -> Self {
        let mut plan = Self::default();
        for op in ops {
            match op {
                Op::Accept(accept) => {
                    plan.writes = true;
                    plan.asks |= accept.dedupe_key.is_some() || accept.check_suppressed || accept.cap.is_some();
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
                Op::Report(_) => {
                    plan.writes = true;
                    plan.asks = true;
                }
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

    pub(super) fn is_empty(&self) -> bool {
        self.touches.is_empty() && !self.writes
    }
}
