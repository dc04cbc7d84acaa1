-- The notification is also its own queue entry: one row says what is to be told, to whom, where it stands in its
-- channel chain, and when somebody must look at it again. The log and the queue can't disagree.
create table notifications (
    tenant_id text not null,
    notification_id text not null,     -- UUIDv7: the key is also the order of acceptance
    request_id text not null,          -- the logId; with one recipient the notification's own id
    branch_id text,
    contact_id text,
    appointment_id text,
    kind text not null,
    category text not null,
    recipient text not null,           -- JSON
    chain text not null,               -- JSON: channels in order
    step bigint not null,              -- which of them is being tried
    channel text not null,             -- of this step
    address text,                      -- of this step
    lane text not null,                -- of this step: the channel account's queue
    priority bigint not null,          -- 0 transactional, 1 marketing
    status text not null,              -- scheduled, queued, sending, sent, delivered, read, unknown, failed, expired,
                                       -- suppressed or cancelled; no check here: SQLite builds a tree for it in every
                                       -- statement, at a quarter of the statement's cost
    reason text,
    message_id text,                   -- the provider's
    due_at bigint,                     -- when to look again (while leased: the lease's end); null when nobody need
    lease_token text,                  -- whoever holds it may start, finish or release; null when waiting
    attempts bigint not null,          -- in all steps; with status 'sending' the last one is open
    step_attempts bigint not null,
    step_began_at bigint,
    attempt_began_at bigint,
    send_at bigint,
    expires_at bigint,
    content text,                      -- JSON; null when the request's recipients share one in `contents`
    created_at bigint not null,
    updated_at bigint not null,
    primary key (tenant_id, notification_id)
);

-- The hot index: only what still waits for something. Finished rows leave it, so history costs nothing.
create index notifications_due on notifications (tenant_id, lane, priority, due_at) where due_at is not null;
create index notifications_address on notifications (tenant_id, lower(address), notification_id) where address is not null;
create index notifications_request on notifications (tenant_id, request_id) where request_id <> notification_id;

-- Content shared by the recipients of one request, or too large to move with every change of a row's status.
create table contents (
    tenant_id text not null,
    request_id text not null,
    content text not null,
    primary key (tenant_id, request_id)
);

-- The journal of finished attempts. An open one is the notification's status 'sending'.
create table attempts (
    tenant_id text not null,
    notification_id text not null,
    number bigint not null,
    channel text not null,
    provider text not null,
    outcome text not null,             -- not_sent, accepted, rejected, throttled or unknown
    began_at bigint not null,
    finished_at bigint not null,
    http_status bigint,
    message_id text,
    reason text,
    error text,
    primary key (tenant_id, notification_id, number)
) /* sqlite: without rowid */;

-- What else happened to a notification: cancelled by hand, late results, callbacks.
create table events (
    tenant_id text not null,
    notification_id text not null,
    event_id text not null,
    event text not null,
    detail text,
    at bigint not null,
    primary key (tenant_id, notification_id, event_id)
) /* sqlite: without rowid */;

-- First answers, by the caller's Idempotency-Key.
create table idempotency_keys (
    tenant_id text not null,
    idempotency_key text not null,     -- route and key
    body_hash text not null,
    request_id text not null,          -- whose answer it is
    status bigint not null,
    response text,                     -- null: what one queued notification answers, made anew from its row
    created_at bigint not null,
    primary key (tenant_id, idempotency_key)
) /* sqlite: without rowid */;

create table dedupe_keys (
    tenant_id text not null,
    dedupe_key text not null,
    recipient text not null,
    notification_id text not null,
    created_at bigint not null,
    primary key (tenant_id, dedupe_key, recipient)
) /* sqlite: without rowid */;

-- A lane is one channel account's queue and is worked by one node at a time, so its limits hold across nodes.
-- `wake_at` is never later than the earliest due_at in the lane: everybody may lower it, only the owner raises it.
create table lanes (
    tenant_id text not null,
    lane text not null,
    wake_at bigint,
    version bigint not null,           -- raised by everybody but the owner who adds work
    owner text,
    lease_until bigint,
    primary key (tenant_id, lane)
) /* sqlite: without rowid */;

create index lanes_wake on lanes (wake_at) where wake_at is not null;
