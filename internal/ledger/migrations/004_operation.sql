-- What operators ask of a running backfill, and what it says of itself about twice a second.
alter table {{.schema}}.backfill
  add column desired             text not null default 'run' check (desired in ('run', 'pause')),
  add column desired_by          text not null default '',
  add column desired_at          timestamptz,
  -- What set_rate asked for, or null: as configured.
  add column max_rows_per_second double precision check (max_rows_per_second > 0),
  add column rows_per_second     double precision not null default 0,
  -- Share of the rows' new versions that stayed in their page; null until some were written.
  add column hot_percent         double precision,
  -- What decides the speed at the moment.
  add column limited_by          text not null default '',
  -- Why batches wait at the moment, or ''.
  add column throttled           text not null default '',
  -- Who holds rows that the backfill could not get, or what keeps it from reusing the room of old versions, or ''.
  add column blockers            text not null default '';

-- A segment is walked in passes, each over a share of its rows: those whose address hashes to low up to, but not including,
-- high, of 1024. Rows that hash lower are done, and next_page is the position within the pass.
alter table {{.schema}}.segment
  add column low  smallint not null default 0,
  add column high smallint not null default 1024,
  add check (0 <= low and low < high and high <= 1024);

create or replace view {{.schema}}.progress as
select format('%I.%I', s.table_schema, s.table_name) as table_name,
       s.key as backfill,
       case when s.status = 'complete' then 'complete'
            when b.desired = 'pause' then 'paused'
            when not live.now then 'interrupted'
            when b.throttled <> '' then 'throttled'
            else b.phase end as status,
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
       -- From the present speed, and as many rows to a page as there were so far: the time since the start has pauses in it,
       -- and not every row of the table needs work.
       case when b.phase = 'walk' and b.desired = 'run' and b.throttled = '' and speed.rows > 0 and walked.pages > 0 and walked.rows > 0 then
         date_trunc('second', make_interval(secs => least(
           walked.rows::float8 * greatest(b.pages_total - walked.pages, 0) / walked.pages / speed.rows, 1e9))) end as remaining,
       case when s.status <> 'complete' then
         date_trunc('second', now() - greatest(b.checkpoint_at, walked.updated_at)) end as since_checkpoint,
       round(speed.rows)::bigint as rows_per_second,
       coalesce(b.max_rows_per_second, 0)::bigint as max_rows_per_second,
       case when live.now then b.limited_by else '' end as limited_by,
       case when b.desired = 'pause' and s.status <> 'complete' then
              'paused by ' || b.desired_by || ' at ' || to_char(b.desired_at, 'YYYY-MM-DD HH24:MI:SSOF')
            when live.now then b.throttled else '' end as throttled,
       case when live.now then b.blockers else '' end as blockers,
       round(b.hot_percent::numeric, 1) as hot_percent,
       live.now as running,
       b.started_at,
       b.completed_at
  from {{.schema}}.stage s
  join {{.schema}}.backfill b on b.stage_id = s.id
 cross join lateral (
   select s.status <> 'complete' and b.lease_expires_at is not null and b.lease_expires_at > now() as now) live
 -- A rate of NaN compares as greater than all others, and has no place in a bigint.
 cross join lateral (
   select case when live.now and b.rows_per_second between 1e-3 and 1e15 then b.rows_per_second else 0 end as rows) speed
 cross join lateral (
   select coalesce(sum((g.low * (g.end_page - g.first_page) + (g.high - g.low) * (g.next_page - g.first_page)) / 1024), 0)::bigint as pages,
          coalesce(sum(g.rows_updated), 0)::bigint as rows,
          max(g.updated_at) as updated_at
     from {{.schema}}.segment g where g.stage_id = s.id) walked
 where s.status <> 'forgotten';

-- The functions run as the ledger's owner, so that an operator needs EXECUTE on them, USAGE on the schema, and nothing else.
-- In the order of the table all of them lock alike, so that two operators never deadlock.
create function {{.schema}}.control(asked text) returns setof bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  return query
    select b.stage_id from {{.schema}}.backfill b join {{.schema}}.stage s on s.id = b.stage_id
     where s.kind = 'batched_backfill' and s.status = 'running' and (asked is null or s.key = asked)
     order by b.stage_id
       for no key update of b;
  if not found and asked is not null then
    raise exception 'no backfill called % is running', quote_literal(asked)
      using errcode = 'no_data_found', hint = 'SELECT backfill, status FROM ' || {{.literal}} || '.progress;';
  end if;
end $$;

create function {{.schema}}.pause(backfill text default null) returns setof text
language sql security definer set search_path = pg_catalog, pg_temp as $$
  update {{.schema}}.backfill b set desired = 'pause', desired_by = session_user, desired_at = clock_timestamp()
    from {{.schema}}.stage s
   where s.id = b.stage_id and b.stage_id in (select {{.schema}}.control(pause.backfill))
  returning s.key;
$$;

create function {{.schema}}.resume(backfill text default null) returns setof text
language sql security definer set search_path = pg_catalog, pg_temp as $$
  update {{.schema}}.backfill b set desired = 'run', desired_by = session_user, desired_at = clock_timestamp()
    from {{.schema}}.stage s
   where s.id = b.stage_id and b.stage_id in (select {{.schema}}.control(resume.backfill))
  returning s.key;
$$;

-- A column wins over a parameter of the same name in a function of language sql, so the parameters are qualified.
create function {{.schema}}.set_rate(backfill text, rows_per_second double precision) returns setof text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  -- NaN is greater than all other numbers here.
  if rows_per_second <> 0 and not rows_per_second between 1 and 1e12 then
    raise exception 'rows_per_second cannot be %', rows_per_second
      using errcode = 'invalid_parameter_value', hint = 'It is at least 1, or 0 for what is configured.';
  end if;
  return query
    update {{.schema}}.backfill b set max_rows_per_second = nullif(set_rate.rows_per_second, 0)
      from {{.schema}}.stage s
     where s.id = b.stage_id and b.stage_id in (select {{.schema}}.control(set_rate.backfill))
    returning s.key;
end $$;

revoke execute on function {{.schema}}.control(text), {{.schema}}.pause(text), {{.schema}}.resume(text),
  {{.schema}}.set_rate(text, double precision) from public;

comment on function {{.schema}}.pause(text) is 'Stops the batches of a running backfill, or of all, within a second; the apply waits';
comment on function {{.schema}}.resume(text) is 'Lets a paused backfill, or all of them, go on';
comment on function {{.schema}}.set_rate(text, double precision) is
  'Bounds the rows per second of a running backfill from now on; 0 goes back to what is configured';
