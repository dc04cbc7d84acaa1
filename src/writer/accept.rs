//! Requests become rows: what must be asked first, and in which state each notification is born.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::AnyConnection;
use uuid::Uuid;

use super::task::{AcceptFate, Task, Written};
use super::{Accept, Fate};
use crate::clock::Timestamp;
use crate::ids::TenantId;
use crate::lane::Admission;
use crate::status::Status;
use crate::store::batch::{Batch, Kind};
use crate::store::caps;
use crate::store::notifications::{Born, Delivery, NewNotification, find_dedupe_owner, find_first_answer};
use crate::store::{StoreResult, suppressions};

impl Task {
    /// Makes the rows of one request, after asking what must be asked first.
    pub(super) async fn accept(
        &self,
        conn: &mut AnyConnection,
        accept: &mut Accept,
        batch: &mut Batch,
        written: &mut Written,
        deduped: &mut HashMap<(TenantId, String, String), String>,
        now: Timestamp,
    ) -> StoreResult<()> {
        if accept.cap.is_some() {
            caps::lock(&mut *conn, self.db.engine, &accept.tenant).await?;
        }
        if self.key_is_taken(conn, accept, now).await? {
            written.accepts.push(AcceptFate { refused: true, fates: vec![], admissions: vec![] });
            return Ok(());
        }
        let mut reasons = self.suppressed(conn, accept).await?;
        let duplicates = self.dedupe(conn, accept, deduped, now).await?;
        let fates = accept.notifications.iter().zip(duplicates);
        let fates = fates.map(|(new, duplicate)| match (duplicate, reasons.remove(new.delivery.id.as_str())) {
            (Some(first), _) => Fate::Duplicate(first),
            (None, Some(reason)) => Fate::Suppressed(reason),
            (None, None) => Fate::Queued,
        });
        let mut fates: Vec<Fate> = fates.collect();
        if let Some(most) = accept.cap {
            self.cap(&mut *conn, accept, &mut fates, most, now).await?;
        }
        self.place(accept, fates, batch, written, now);
        Ok(())
    }

    /// Makes the rows of one request, each recipient's fate being known.
    pub(super) fn place(
        &self,
        accept: &mut Accept,
        fates: Vec<Fate>,
        batch: &mut Batch,
        written: &mut Written,
        now: Timestamp,
    ) {
        let mut admissions = Vec::with_capacity(fates.len());
        let answer = if fates.iter().all(|f| *f == Fate::Queued) {
            accept.answer.clone()
        } else {
            (accept.answer_again)(accept, &fates)
        };
        let request = accept.notifications.first().map(|n| Arc::clone(&n.delivery.request_id));
        if let Some(k) = &accept.key {
            // What one simply queued notification answers can be made anew from its row.
            let plain = accept.notifications.len() == 1
                && fates[0] == Fate::Queued
                && accept.notifications[0].waits_for.is_none();
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
            let born = self.born(new, admission, reason, now);
            new.push(batch, &born, key);
            if let Some(detail) = &new.routed {
                let d = &new.delivery;
                let event = Uuid::now_v7().to_string();
                let row = [
                    (&d.tenant.0).into(),
                    (&d.id.0).into(),
                    event.into(),
                    "routed".into(),
                    detail.as_str().into(),
                    now.0.into(),
                    request.as_ref().into(),
                    key.into(),
                ];
                batch.push(Kind::Event, row);
            }
        }
        written.accepts.push(AcceptFate { refused: false, fates, admissions });
    }

    /// Only asked where a dedupe key would be taken, or a message counted, in vain; else the batch itself finds out.
    async fn key_is_taken(&self, conn: &mut AnyConnection, accept: &Accept, now: Timestamp) -> StoreResult<bool> {
        match &accept.key {
            Some(k) if accept.dedupe_key.is_some() || accept.cap.is_some() => {
                Ok(find_first_answer(conn, &accept.tenant, &k.key, now).await?.is_some())
            }
            _ => Ok(false),
        }
    }

    async fn suppressed(&self, conn: &mut AnyConnection, accept: &Accept) -> StoreResult<HashMap<String, String>> {
        let known = accept.notifications.iter().filter_map(|n| Some((n.delivery.id.to_string(), n.refused.clone()?)));
        let mut reasons: HashMap<String, String> = known.collect();
        let rows: Vec<_> = accept
            .notifications
            .iter()
            .filter(|n| accept.check_suppressed && n.refused.is_none())
            .filter_map(|n| n.delivery.address.as_ref().map(|a| (&n.delivery, a)))
            .map(|(d, a)| {
                let address = suppressions::spelling(a);
                serde_json::json!({"t": d.tenant, "id": d.id, "a": address, "c": d.category.as_str()})
            })
            .collect();
        if !rows.is_empty() {
            reasons.extend(self.asked.suppressed(conn, &rows).await?);
        }
        Ok(reasons)
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

    fn admit(&self, d: &Delivery, suppressed: bool, now: Timestamp) -> Admission {
        if suppressed || d.send_at.is_some_and(|at| at > now) {
            return Admission::Store;
        }
        let memory_left = self.engine.memory_left() > 0;
        self.engine.lane(&d.tenant, &d.lane).state().admit(d, now, memory_left)
    }

    fn born<'a>(
        &self,
        new: &NewNotification,
        admission: Admission,
        reason: Option<&'a str>,
        now: Timestamp,
    ) -> Born<'a> {
        let d = &new.delivery;
        let waits = Born { status: Status::Queued, reason, due_at: Some(now), leased: false, attempt_began_at: None };
        let lease_end = Some(now.plus(self.settings.lease));
        match (reason, d.send_at.filter(|at| *at > now), admission) {
            (Some(_), _, _) => Born { status: Status::Suppressed, due_at: None, ..waits },
            (None, Some(at), _) => Born { status: Status::Scheduled, due_at: Some(at), reason: new.waits_for, ..waits },
            (None, None, Admission::Store) => waits,
            (None, None, Admission::Queue) => Born { due_at: lease_end, leased: true, ..waits },
            (None, None, Admission::Send) => {
                Born { status: Status::Sending, due_at: lease_end, leased: true, attempt_began_at: Some(now), ..waits }
            }
        }
    }
}
