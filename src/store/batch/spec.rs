//! One statement a kind, portable but for where its rows come from.

use super::Kind;
use crate::status::{Outcome, Status};

/// Columns of `v`, in the order in which rows are pushed, and the statement over it. Every value is written `v.name`;
/// `{from v}` is where the engine puts its rows, `{its key was free}` the condition under which the row of a request with
/// an Idempotency-Key is stored.
pub(super) struct Spec {
    pub columns: &'static str,
    pub sql: &'static str,
}

/// Words that come as numbers, because a number costs nothing to hand over.
macro_rules! word {
    (status $from:literal) => {
        concat!(
            "case ", $from, " when 0 then 'scheduled' when 1 then 'queued' when 2 then 'sending' when 3 then 'sent' \
            when 4 then 'delivered' when 5 then 'read' when 6 then 'unknown' when 7 then 'failed' when 8 then 'expired' \
            when 9 then 'suppressed' when 10 then 'cancelled' end"
        )
    };
    (outcome $from:literal) => {
        concat!(
            "case ", $from, " when 0 then 'not_sent' when 1 then 'accepted' when 2 then 'rejected' \
            when 3 then 'throttled' when 4 then 'unknown' end"
        )
    };
}

/// The number of a status in a batch.
pub fn status_number(status: Status) -> i64 {
    Status::ALL.iter().position(|s| *s == status).unwrap_or_default() as i64
}

/// The number of an outcome in a batch.
pub fn outcome_number(outcome: Outcome) -> i64 {
    match outcome {
        Outcome::NotSent => 0,
        Outcome::Accepted => 1,
        Outcome::Rejected => 2,
        Outcome::Throttled => 3,
        Outcome::Unknown => 4,
    }
}

pub(super) fn spec(kind: Kind) -> Spec {
    match kind {
        // An expired key is taken over; a live one is left, and then nothing of its request is stored.
        Kind::Key => Spec {
            columns: "t text, k text, h text, request text, response text, now bigint",
            sql: "insert into idempotency_keys (tenant_id, idempotency_key, body_hash, request_id, status, response, created_at) \
                select v.t, v.k, v.h, v.request, 202, v.response, v.now{from v} where true \
                on conflict (tenant_id, idempotency_key) do update set body_hash = excluded.body_hash, \
                request_id = excluded.request_id, status = excluded.status, response = excluded.response, \
                created_at = excluded.created_at where idempotency_keys.created_at < excluded.created_at - 86400000",
        },
        // Left out where it would only repeat: `request` (the id), `chain` (the channel alone), `lane` (the channel).
        Kind::Notification => Spec {
            columns: "t text, id text, request text, branch text, contact text, appointment text, kind text, \
                recipient text, chain text, channel text, address text, lane text, priority bigint, status bigint, \
                reason text, due bigint, token text, began bigint, send_at bigint, expires_at bigint, content text, \
                created bigint, k text",
            sql: concat!(
                "insert into notifications (tenant_id, notification_id, request_id, branch_id, contact_id, appointment_id, \
                kind, category, recipient, chain, step, channel, address, lane, priority, status, reason, due_at, lease_token, \
                attempts, step_attempts, step_began_at, attempt_began_at, send_at, expires_at, content, created_at, updated_at) \
                select v.t, v.id, coalesce(v.request, v.id), v.branch, v.contact, v.appointment, v.kind, \
                case v.priority when 0 then 'transactional' else 'marketing' end, v.recipient, \
                coalesce(v.chain, '[\"' || v.channel || '\"]'), 0, v.channel, v.address, coalesce(v.lane, v.channel), \
                v.priority, ",
                word!(status "v.status"),
                ", v.reason, v.due, v.token, case when v.began is null then 0 else 1 end, \
                case when v.began is null then 0 else 1 end, v.began, v.began, v.send_at, v.expires_at, v.content, v.created, \
                v.created{from v} where {its key was free}"
            ),
        },
        Kind::Content => Spec {
            columns: "t text, request text, content text, k text",
            sql: "insert into contents (tenant_id, request_id, content) select v.t, v.request, v.content{from v} \
                where {its key was free}",
        },
        // A late owner's result replaces the 'unknown' that was written for it; anything else stays as it is.
        Kind::Attempt => Spec {
            columns: "t text, id text, n bigint, channel text, provider text, outcome bigint, began bigint, finished bigint, \
                http bigint, mid text, reason text, error text",
            sql: concat!(
                "insert into attempts (tenant_id, notification_id, number, channel, provider, outcome, began_at, finished_at, \
                http_status, message_id, reason, error) \
                select v.t, v.id, v.n, v.channel, v.provider, ",
                word!(outcome "v.outcome"),
                ", v.began, v.finished, v.http, v.mid, v.reason, v.error{from v} where true \
                on conflict (tenant_id, notification_id, number) do update set outcome = excluded.outcome, \
                finished_at = excluded.finished_at, http_status = excluded.http_status, message_id = excluded.message_id, \
                reason = 'late_result', error = excluded.error where attempts.outcome = 'unknown'"
            ),
        },
        Kind::Finish => Spec {
            columns: "t text, id text, token text, status bigint, reason text, mid text, due bigint, now bigint",
            sql: concat!(
                "update notifications set status = ",
                word!(status "v.status"),
                ", reason = v.reason, message_id = coalesce(v.mid, notifications.message_id), due_at = v.due, \
                lease_token = null, updated_at = v.now{from v} \
                where notifications.tenant_id = v.t and notifications.notification_id = v.id \
                and notifications.lease_token = v.token"
            ),
        },
        Kind::Advance => Spec {
            columns: "t text, id text, token text, status bigint, reason text, due bigint, now bigint, step bigint, \
                channel text, address text, lane text",
            sql: concat!(
                "update notifications set status = ",
                word!(status "v.status"),
                ", reason = v.reason, due_at = v.due, lease_token = null, updated_at = v.now, step = v.step, \
                channel = v.channel, address = v.address, lane = v.lane, step_attempts = 0, step_began_at = null{from v} \
                where notifications.tenant_id = v.t and notifications.notification_id = v.id \
                and notifications.lease_token = v.token"
            ),
        },
        Kind::Start => Spec {
            columns: "t text, id text, token text, now bigint, due bigint",
            sql: "update notifications set status = 'sending', attempts = notifications.attempts + 1, \
                step_attempts = notifications.step_attempts + 1, \
                step_began_at = coalesce(notifications.step_began_at, v.now), attempt_began_at = v.now, \
                due_at = v.due, updated_at = v.now{from v} \
                where notifications.tenant_id = v.t and notifications.notification_id = v.id \
                and notifications.lease_token = v.token and notifications.status in ('queued', 'unknown')",
        },
        // An attempt that was opened but certainly not made is taken back, too.
        Kind::Release => Spec {
            columns: "t text, id text, token text, due bigint",
            sql: "update notifications set lease_token = null, due_at = v.due, \
                attempts = notifications.attempts - case when notifications.status = 'sending' then 1 else 0 end, \
                step_attempts = notifications.step_attempts - case when notifications.status = 'sending' then 1 else 0 end, \
                status = case when notifications.status = 'sending' then 'queued' else notifications.status end{from v} \
                where notifications.tenant_id = v.t and notifications.notification_id = v.id \
                and notifications.lease_token = v.token and notifications.status in ('queued', 'unknown', 'sending')",
        },
        Kind::Memory => Spec {
            columns: "t text, account text, address text, memory text, now bigint",
            sql: "insert into recipient_memory (tenant_id, account, address, memory, updated_at) \
                select v.t, v.account, v.address, v.memory, v.now{from v} where true \
                on conflict (tenant_id, account, address) do update set memory = excluded.memory, \
                updated_at = excluded.updated_at",
        },
        Kind::Captured => Spec {
            columns: "t text, sid text, id text, channel text, recipient text, subject text, body text, html text, \
                actions text, now bigint",
            sql: "insert into sandbox_messages (tenant_id, sandbox_message_id, notification_id, channel, recipient, subject, \
                body, html, actions, captured_at) \
                select v.t, v.sid, v.id, v.channel, v.recipient, v.subject, v.body, v.html, v.actions, v.now{from v}",
        },
        Kind::Event => Spec {
            columns: "t text, id text, event_id text, event text, detail text, at bigint, request text, k text",
            sql: "insert into events (tenant_id, notification_id, event_id, event, detail, at) \
                select v.t, v.id, v.event_id, v.event, v.detail, v.at{from v} where {its key was free}",
        },
    }
}

/// The names of a column list.
pub(super) fn names(columns: &'static str) -> impl Iterator<Item = &'static str> {
    columns.split(',').filter_map(|c| c.split_whitespace().next())
}
