-- One tenant's (or branch's) settings for one channel. Secrets inside `accounts` are sealed.
create table integrations (
    tenant_id text not null references tenants (tenant_id),
    branch_id text not null,           -- '' for the whole tenant: a key column can't be null
    channel text not null,
    accounts text not null,            -- JSON: [{name, provider, settings}], tried in order
    disabled_at bigint,
    updated_at bigint not null,
    primary key (tenant_id, branch_id, channel)
);

-- What a plugin asked to remember about an address, e.g. a Chatwoot conversation.
create table recipient_memory (
    tenant_id text not null,
    account text not null,             -- channel, branch and account name
    address text not null,
    memory text not null,              -- JSON, opaque to the core
    updated_at bigint not null,
    primary key (tenant_id, account, address)
) /* sqlite: without rowid */;

-- Addresses that must not be written to.
create table suppressions (
    tenant_id text not null,
    address text not null,
    category text not null check (category in ('all', 'marketing')),
    reason text not null,
    source text not null,
    created_at bigint not null,
    primary key (tenant_id, address, category)
);

-- What the sandbox provider captured instead of sending.
create table sandbox_messages (
    tenant_id text not null,
    sandbox_message_id text not null,
    notification_id text not null,
    channel text not null,
    recipient text not null,           -- JSON
    subject text,
    body text not null,
    html text,
    actions text not null,             -- JSON
    captured_at bigint not null,
    primary key (tenant_id, sandbox_message_id)
);
