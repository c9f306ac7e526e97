-- When somebody last looked how often the statements that use a column have been called.
create table {{.schema}}.column_look (
  table_oid       oid not null,
  -- The column's number, which survives a rename.
  column_number   smallint not null,
  first_looked_at timestamptz not null,
  looked_at       timestamptz not null,
  primary key (table_oid, column_number)
);

comment on table {{.schema}}.column_look is 'When terraform-provider-postgres looked who uses a column';

-- How often each of those statements had been called by then, by its key in pg_stat_statements. A later look that finds
-- another number knows that the statement has run since.
create table {{.schema}}.statement_look (
  table_oid  oid not null,
  role_oid   oid not null,
  query_id   bigint not null,
  calls      bigint not null,
  -- When a look first found this number of calls.
  changed_at timestamptz not null,
  looked_at  timestamptz not null,
  primary key (table_oid, role_oid, query_id)
);

comment on table {{.schema}}.statement_look is 'Calls of statements that use a column under change, as terraform-provider-postgres found them';
