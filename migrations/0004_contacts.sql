-- Stored people. Phones are kept in the one spelling all their aliases are brought to, so that an index on them finds
-- the person whatever spelling came; the figures of their appointments are kept here, in the same transaction as the
-- appointment, so that a segment reads one row per person.
create table contacts (
    tenant_id text not null,
    contact_id text not null,          -- UUIDv7
    external_id text,                  -- the app's own id
    name text,
    phone text,                        -- E.164, canonical
    email text,
    locale text,
    timezone text,
    attributes text not null,          -- JSON object
    preferences text not null,         -- JSON
    consents text not null,            -- JSON: what holds now; the history is in `consents`
    search text not null,              -- name, ids and addresses without case and accents
    appointments bigint not null default 0,
    completed bigint not null default 0,
    cancelled bigint not null default 0,
    no_shows bigint not null default 0,
    last_at bigint,                    -- of the last and the next appointment as of the last change to any: exact at
    next_at bigint,                    -- every moment between the two, looked up anew outside
    import_mark bigint,                -- the import that wrote this row last, and its line: a second line for the same
    import_line bigint,                -- person is refused
    created_at bigint not null,
    updated_at bigint not null,
    erased_at bigint,
    primary key (tenant_id, contact_id)
);

create unique index contacts_external on contacts (tenant_id, external_id) where external_id is not null;
create index contacts_phone on contacts (tenant_id, phone) where phone is not null;
create index contacts_email on contacts (tenant_id, lower(email)) where email is not null;

-- Everything a contact ever agreed to or refused.
create table consents (
    tenant_id text not null,
    contact_id text not null,
    consent_id text not null,
    channel text not null,             -- or 'all'
    category text not null,            -- transactional or marketing
    granted bigint not null,           -- 1 agreed, 0 refused
    source text not null,
    at bigint not null,
    primary key (tenant_id, contact_id, consent_id)
) /* sqlite: without rowid */;

create table appointments (
    tenant_id text not null,
    external_id text not null,
    contact_id text not null,
    branch_id text,
    starts_at bigint not null,
    ends_at bigint,
    status text not null,              -- REQUESTED, CONFIRMED, CANCELLED, COMPLETED or NO_SHOW
    service text,
    professional text,
    attributes text not null,          -- JSON object
    import_mark bigint,
    import_line bigint,
    created_at bigint not null,
    updated_at bigint not null,
    primary key (tenant_id, external_id)
);

create index appointments_contact on appointments (tenant_id, contact_id, starts_at);
create index appointments_start on appointments (tenant_id, starts_at, external_id);

-- Files that were, or are being, taken in: how far, and what was refused.
create table imports (
    tenant_id text not null,
    import_id text not null,           -- UUIDv7
    kind text not null,                -- contacts or appointments
    columns text not null,             -- JSON: what each column of a CSV was taken for
    line bigint not null,              -- the last one that was dealt with
    created bigint not null,
    updated bigint not null,
    refused bigint not null,
    problem text,                      -- JSON: why it stopped before the end
    started_at bigint not null,
    updated_at bigint not null,
    finished_at bigint,
    primary key (tenant_id, import_id)
);

create table import_refusals (
    tenant_id text not null,
    import_id text not null,
    line bigint not null,
    pointer text not null,
    code text not null,
    detail text not null,
    primary key (tenant_id, import_id, line)
) /* sqlite: without rowid */;

-- What a person was sent: for their page, and for their erasure.
create index notifications_contact on notifications (tenant_id, contact_id, notification_id) where contact_id is not null;
