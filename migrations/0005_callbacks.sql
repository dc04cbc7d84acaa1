-- What providers report by themselves.

-- Finds the notification a report is about. Only messages of providers that name them take part.
create index notifications_message on notifications (tenant_id, message_id) where message_id is not null;

-- Reports about messages that no notification is known by (yet): a callback may overtake our own commit.
create table reports (
    tenant_id text not null,
    account text not null,             -- channel, branch and account name
    message_id text not null,          -- the provider's
    state text not null,               -- sent, delivered, read or failed
    reference text,                    -- our id of the message, where the provider echoes it
    reason text,
    detail text,
    hint text,                         -- suppress_address, misconfigured or only_this_recipient
    happened_at bigint not null,
    received_at bigint not null,
    primary key (tenant_id, account, message_id, state)
) /* sqlite: without rowid */;

create index reports_received on reports (received_at);

-- What people wrote to us, once per provider's id.
create table inbound_messages (
    tenant_id text not null,
    account text not null,
    message_id text not null,          -- the provider's
    channel text not null,
    sender text not null,              -- a normalised phone or e-mail address
    name text,
    body text not null,
    action text,                       -- the value of the button that was chosen
    notification_id text,              -- which of ours they answered, where that is known
    happened_at bigint not null,
    received_at bigint not null,
    primary key (tenant_id, account, message_id)
);

-- When did this person last write on this channel? That is what a closed window is about.
create index inbound_messages_sender on inbound_messages (tenant_id, sender, channel, received_at);

-- Callbacks that were the provider's and were not understood, for people to read: it sends something new, or a plugin is
-- wrong. The newest of each channel, for a while.
create table unread_callbacks (
    tenant_id text not null,
    channel text not null,
    callback_id text not null,         -- UUIDv7
    account text not null,             -- its name
    problem text not null,
    method text not null,
    query text not null,               -- this and the body without the account's secrets
    content_type text not null,
    body text not null,                -- its beginning
    bytes bigint not null,             -- of all of it, as it came
    received_at bigint not null,
    primary key (tenant_id, channel, callback_id)
);

create index unread_callbacks_received on unread_callbacks (received_at);
