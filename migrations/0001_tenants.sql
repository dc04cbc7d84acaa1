-- Who is served. Every other table's key leads with the tenant.
create table tenants (
    tenant_id text not null primary key,
    name text not null,
    settings text not null,            -- JSON, only what the tenant set: locale, timezone, country, ...
    version bigint not null,           -- raised with every change that touches how its messages are sent
    created_at bigint not null
);

create table branches (
    tenant_id text not null references tenants (tenant_id),
    branch_id text not null,
    name text not null,
    settings text not null,            -- JSON, only what the branch set; the rest is the tenant's
    created_at bigint not null,
    primary key (tenant_id, branch_id)
);

create table api_keys (
    key_id text not null primary key,
    tenant_id text references tenants (tenant_id), -- null: an operator's key
    name text not null,
    scopes text not null,              -- "send read admin"
    hash text not null,                -- SHA-256 of the secret part
    hint text not null,                -- its last four characters
    created_at bigint not null,
    revoked_at bigint
);

create index api_keys_tenant on api_keys (tenant_id, key_id);
