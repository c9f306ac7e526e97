-- Who writes only one side of a pair of columns that a column_sync keeps equal. One row for each application, role and
-- address, and now and then a few more: there is no unique index, on which two writers could wait for each other.
create table {{.schema}}.writer_note (
  sync             text not null,
  side             text not null check (side in ('old', 'new')),
  application_name text not null,
  role             text not null,
  address          inet,
  first_seen_at    timestamptz not null default clock_timestamp(),
  last_seen_at     timestamptz not null default clock_timestamp()
) with (fillfactor = 50);
create index writer_note_identity on {{.schema}}.writer_note (sync, side, application_name, role);

comment on table {{.schema}}.writer_note is 'Notes of the triggers of terraform-provider-postgres: who writes one side of a column change only';

create view {{.schema}}.writer as
select sync, side, application_name, role, address, min(first_seen_at) as first_seen_at, max(last_seen_at) as last_seen_at
  from {{.schema}}.writer_note
 group by sync, side, application_name, role, address;

comment on view {{.schema}}.writer is 'Who writes one side of a column change only, since when and until when';

-- Called by the triggers, whose search path is safe, when the setting does not tell that this transaction has noted the
-- side. A session notes an application and role once in a minute. It must neither wait nor fail, because the writer would
-- with it: a note that cannot be written is left to the next minute.
create function {{.schema}}.note_writer(sync text, gave_old boolean, setting text) returns void language plpgsql
as $$
declare
  note_side    text := case when gave_old then 'old' else 'new' end;
  application  text := current_setting('application_name');
  writing_role text := current_setting('role');
  client       inet := inet_client_addr();
  mark         text := (date_part('epoch', now()) / 60)::bigint || '/' || writing_role || '/' || application;
begin
  perform set_config(setting, gave_old::text, true);
  if current_setting(setting || '_' || note_side, true) is not distinct from mark then
    return;
  end if;
  perform set_config(setting || '_' || note_side, mark, false);
  if writing_role = 'none' then
    writing_role := session_user;
  end if;
  begin
    -- Somebody may have locked the table as a whole, as VACUUM FULL does.
    lock table {{.schema}}.writer_note in row exclusive mode nowait;
    -- At the higher isolation levels, reading what others write could make the writer's transaction fail.
    if current_setting('transaction_isolation') = 'read committed' then
      if exists (select from {{.schema}}.writer_note n
                  where n.sync = note_writer.sync and n.side = note_side and n.application_name = application
                    and n.role = writing_role and n.address is not distinct from client
                    and n.last_seen_at > clock_timestamp() - interval '30 seconds') then
        return;
      end if;
      update {{.schema}}.writer_note
         set last_seen_at = clock_timestamp()
       where ctid = (select n.ctid
                       from {{.schema}}.writer_note n
                      where n.sync = note_writer.sync and n.side = note_side and n.application_name = application
                        and n.role = writing_role and n.address is not distinct from client
                      limit 1 for no key update skip locked);
      if found then
        return;
      end if;
    end if;
    insert into {{.schema}}.writer_note (sync, side, application_name, role, address)
    values (note_writer.sync, note_side, application, writing_role, client);
  exception when others then
    null;
  end;
end
$$;

-- What no snapshot that is older has seen: the columns that the backfill has filled.
alter table {{.schema}}.backfill add column completed_xmax xid8;
