-- What a backfill has cost so far, for the forecast of the next one. Counted with the heartbeat, as long as batches do not wait.
alter table {{.schema}}.backfill
  -- What the server wrote meanwhile, the application's share included.
  add column wal_bytes    bigint not null default 0,
  add column busy_seconds double precision not null default 0,
  -- Up to when both are counted; null when nobody runs it.
  add column counted_at   timestamptz,
  add column counted_wal  pg_lsn;
