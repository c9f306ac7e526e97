-- Every stage that was applied and not undone. The pair (kind, key) is the identity of a Terraform resource.
create table {{.schema}}.stage (
  id           bigint generated always as identity primary key,
  kind         text not null,
  key          text not null,
  table_oid    oid not null,
  table_schema text not null,
  table_name   text not null,
  spec         jsonb not null,
  -- Column numbers, which survive a rename.
  reads        smallint[] not null default '{}',
  writes       smallint[] not null default '{}',
  status       text not null check (status in ('running', 'complete', 'forgotten')),
  -- What an undo needs to know and the catalogs no longer say.
  undo         jsonb not null default '{}',
  -- The contract that took a column away from this stage.
  retired_by   bigint references {{.schema}}.stage (id) on delete set null,
  created_at   timestamptz not null default now(),
  updated_at   timestamptz not null default now(),
  unique (kind, key)
);
create index stage_table_oid on {{.schema}}.stage (table_oid);

comment on table {{.schema}}.stage is 'Stages of column changes, written by terraform-provider-postgres';

-- One row for each backfill: its lease and its sums.
create table {{.schema}}.backfill (
  stage_id         bigint primary key references {{.schema}}.stage (id) on delete cascade,
  -- The fencing token: every takeover raises it, and a checkpoint with an older one is refused.
  token            bigint not null default 0,
  holder           text not null default '',
  lease_expires_at timestamptz,
  phase            text not null default 'walk' check (phase in ('walk', 'sweep', 'complete')),
  rows_updated     bigint not null default 0,
  pages_total      bigint not null default 0,
  rows_estimated   double precision not null default -1,
  note             text not null default '',
  started_at       timestamptz not null default now(),
  checkpoint_at    timestamptz,
  completed_at     timestamptz
);

-- The parts of the heap that a backfill has still to walk. Pages below next_page are done.
create table {{.schema}}.segment (
  stage_id     bigint not null references {{.schema}}.backfill (stage_id) on delete cascade,
  relation     oid not null,
  first_page   bigint not null,
  end_page     bigint not null,
  next_page    bigint not null,
  filenode     oid not null,
  token        bigint not null,
  rows_updated bigint not null default 0,
  updated_at   timestamptz not null default now(),
  primary key (stage_id, relation, first_page),
  check (first_page <= next_page and next_page <= end_page)
) with (fillfactor = 50);

create view {{.schema}}.progress as
select format('%I.%I', s.table_schema, s.table_name) as table_name,
       s.key as backfill,
       case when s.status = 'complete' then 'complete'
            when b.lease_expires_at > now() then b.phase
            else 'interrupted' end as status,
       case when s.status = 'complete' or b.phase <> 'walk' then 100
            when b.pages_total = 0 then 0
            else round(100.0 * walked.pages / b.pages_total, 1) end as percent,
       b.rows_updated + walked.rows as rows_updated,
       b.rows_estimated::bigint as rows_estimated,
       case when s.status = 'complete' then b.pages_total else walked.pages end as pages_done,
       b.pages_total,
       b.holder,
       b.note,
       date_trunc('second', coalesce(b.completed_at, now()) - b.started_at) as elapsed,
       case when s.status = 'running' and b.phase = 'walk' and walked.pages > 0 then
         date_trunc('second', (now() - b.started_at) * (b.pages_total - walked.pages)::float8 / walked.pages) end as remaining,
       date_trunc('second', now() - greatest(b.checkpoint_at, walked.updated_at)) as since_checkpoint
  from {{.schema}}.stage s
  join {{.schema}}.backfill b on b.stage_id = s.id
 cross join lateral (select coalesce(sum(g.next_page - g.first_page), 0)::bigint as pages,
                            coalesce(sum(g.rows_updated), 0)::bigint as rows,
                            max(g.updated_at) as updated_at
                       from {{.schema}}.segment g where g.stage_id = s.id) walked
 where s.status <> 'forgotten';

comment on view {{.schema}}.progress is 'Backfills of terraform-provider-postgres: how far they are and who runs them';
