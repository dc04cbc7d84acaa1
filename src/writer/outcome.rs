//! What happened to a delivery becomes rows.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::{Finished, Op};
use crate::clock::Timestamp;
use crate::ids::TenantId;
use crate::store::batch::{Batch, Kind, Val, outcome_number, status_number};
use crate::store::to_json;

pub(super) type MemoryKey = (TenantId, String, Option<Arc<str>>);

/// The rows of what asks nothing.
pub(super) fn fill(op: &Op, batch: &mut Batch, memory: &mut HashMap<MemoryKey, [Val; 5]>, now: Timestamp) {
    match op {
        Op::Start(s) => batch.push(
            Kind::Start,
            [(&s.tenant.0).into(), (&s.id.0).into(), (&s.lease).into(), s.now.0.into(), now.plus(s.span).0.into()],
        ),
        Op::Finish(finished) => finish(finished, batch, memory),
        Op::Release(deliveries) => {
            for (d, due) in deliveries {
                let row = [(&d.tenant.0).into(), (&d.id.0).into(), (&d.lease).into(), due.0.into()];
                batch.push(Kind::Release, row);
            }
        }
        _ => {}
    }
}

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
        let event_id = Uuid::now_v7().to_string();
        let row =
            [tenant, id, event_id.into(), (*event).into(), detail.as_str().into(), f.at.0.into(), Val::Null, Val::Null];
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
