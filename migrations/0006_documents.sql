-- What tenants write themselves: templates, scripts, plugins. Each save is a version, one of them holds.
create table documents (
    tenant_id text not null references tenants (tenant_id),
    kind text not null,                -- 'template', 'script', 'plugin'
    branch_id text not null,           -- '' for the whole tenant: a key column can't be null
    name text not null,
    locale text not null,              -- '' where the kind has no languages
    version bigint not null,           -- the one that holds
    primary key (tenant_id, kind, branch_id, name, locale)
);

-- Older versions stay when a document is deleted: one that is written again goes on counting.
create table document_versions (
    tenant_id text not null,
    kind text not null,
    branch_id text not null,
    name text not null,
    locale text not null,
    version bigint not null,
    body text not null,                -- JSON, by kind
    created_at bigint not null,
    primary key (tenant_id, kind, branch_id, name, locale, version)
);
