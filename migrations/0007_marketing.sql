-- Which marketing is meant for whom and when: what caps are counted by. A row stays a week after its moment.
create table marketing_plan (
    tenant_id text not null,
    person text not null,              -- one word for the person: phone, else e-mail, else id
    notification_id text not null,
    planned_at bigint not null,
    primary key (tenant_id, person, notification_id)
) /* sqlite: without rowid */;
