//! What providers report becomes statuses, log lines and, for a late failure, another try by another way. Reports come
//! twice, late, out of order and before our own commit; in the end the state is the same.

use super::plan::Touches;
use super::task::Task;
use super::{NextStep, OptedOut, ReportOp};
use crate::clock::Timestamp;
use crate::deliver::{Around, Engine, KEPT_FOR};
use crate::ids::{NotificationId, TenantId};
use crate::status::Status;
use crate::store::callbacks::{self, InboundRow, Report};
use crate::store::notifications::Delivery;
use crate::store::{StoreResult, suppressions, tenants, unread};
use plugin_api::Hint;
use sqlx::AnyConnection;

/// What must be told after the commit.
#[derive(Default)]
pub(super) struct Reported {
    /// Lanes that got work.
    pub(super) woken: Touches,
    ended: Vec<NotificationId>,
    changed: Vec<TenantId>,
}

impl Reported {
    pub(super) fn tell(&self, engine: &std::sync::Arc<Engine>) {
        for (tenant, lane) in self.woken.keys() {
            engine.wake(tenant, lane);
        }
        for id in &self.ended {
            engine.tell_waiters(id);
        }
        for tenant in &self.changed {
            engine.tenant_changed(tenant);
        }
    }
}

impl Task {
    pub(super) async fn report(
        &self,
        conn: &mut AnyConnection,
        op: &ReportOp,
        told: &mut Reported,
        now: Timestamp,
    ) -> StoreResult<()> {
        for report in &op.events.reports {
            let matched = self.match_report(conn, report, told, now).await?;
            if !op.kept && !matched {
                callbacks::keep_report(&mut *conn, report).await?;
            }
            if op.kept && (matched || now.since(report.received_at) > KEPT_FOR) {
                callbacks::drop_report(&mut *conn, report).await?;
            }
        }
        for message in &op.events.inbound {
            if receive(conn, message).await? && message.opts_out {
                let (tenant, address) = (message.tenant.clone(), message.sender.clone());
                let left = OptedOut { tenant, address, category: "marketing", reason: "unsubscribed".to_owned() };
                suppress(conn, &left, &message.channel, told, now).await?;
            }
        }
        for left in &op.events.opt_outs {
            suppress(conn, left, "provider", told, now).await?;
        }
        if let Some(row) = &op.events.unread {
            unread::insert(conn, row).await?;
        }
        Ok(())
    }

    /// Applies a report to its notification; false when that is not known yet, or has not been committed as sent yet.
    async fn match_report(
        &self,
        conn: &mut AnyConnection,
        report: &Report,
        told: &mut Reported,
        now: Timestamp,
    ) -> StoreResult<bool> {
        let Some(d) = callbacks::find_reported(conn, report).await? else { return Ok(false) };
        if matches!(d.status, Status::Scheduled | Status::Queued | Status::Sending) {
            return Ok(false);
        }
        let event_id = format!("{}:{}", report.message_id, report.state);
        let moved = d.status.may_become(report.state);
        let next = if moved && report.state == Status::Failed { self.another_way(report, &d).await } else { None };
        let mut event = (report.state.as_str(), report.detail.clone().or_else(|| report.reason.clone()));
        match &next {
            Some(next) => {
                callbacks::advance_reported(&mut *conn, &d, next, report.reason.as_deref(), now).await?;
                told.woken.insert((d.tenant.clone(), next.lane.clone()), None);
                let why = report.reason.as_deref().unwrap_or("failed late");
                event = ("fell_back", Some(format!("{}: {why}", d.lane)));
            }
            None if moved => {
                callbacks::apply_report(&mut *conn, &d, report, now).await?;
                told.ended.push(d.id.clone());
            }
            None => {}
        }
        callbacks::insert_event(&mut *conn, &d, &event_id, event.0, event.1.as_deref(), report.happened_at).await?;
        if report.hint == Some(Hint::SuppressAddress)
            && let Some(address) = &d.address
        {
            let reason = report.reason.clone().unwrap_or_else(|| "refused".to_owned());
            let left = OptedOut { tenant: d.tenant.clone(), address: address.to_string(), category: "all", reason };
            suppress(conn, &left, "provider", told, now).await?;
        }
        Ok(true)
    }

    /// A message that failed late goes on by the next way, as one that failed at once does.
    async fn another_way(&self, report: &Report, d: &Delivery) -> Option<NextStep> {
        let tenant = match self.engine.tenant(&report.tenant).await {
            Ok(tenant) => tenant,
            Err(e) => {
                tracing::warn!(notification.id = %d.id, error = %e, "no other way was looked for after a late failure");
                return None;
            }
        };
        self.engine.next_step(&tenant, d, Around::after(report.hint))
    }
}

/// Stores a message that a person sent; false if it is there already.
async fn receive(conn: &mut AnyConnection, message: &InboundRow) -> StoreResult<bool> {
    if !callbacks::insert_inbound(&mut *conn, message).await? {
        return Ok(false);
    }
    if let Some(id) = &message.notification_id {
        let event_id = format!("{}:replied", message.message_id);
        let answered = (&message.tenant, id.as_str());
        let at = message.happened_at;
        callbacks::insert_reply(conn, answered, &event_id, message.action.as_deref(), at).await?;
    }
    Ok(true)
}

async fn suppress(
    conn: &mut AnyConnection,
    left: &OptedOut,
    source: &str,
    told: &mut Reported,
    now: Timestamp,
) -> StoreResult<()> {
    let OptedOut { tenant, address, category, reason } = left;
    suppressions::insert(&mut *conn, tenant, address, category, reason, source, now).await?;
    tenants::bump(&mut *conn, tenant).await?;
    told.changed.push(tenant.clone());
    Ok(())
}
