package pg

// Holders is SQL for who has a lock: pg_locks as l, with the session as a or the prepared transaction as p. A prepared
// transaction has no session; the lock on its own number tells which one it is.
const Holders = `pg_locks l
		  LEFT JOIN pg_stat_activity a ON a.pid = l.pid
		  LEFT JOIN pg_locks own ON l.pid IS NULL AND own.pid IS NULL AND own.virtualtransaction = l.virtualtransaction
		        AND own.locktype = 'transactionid' AND own.mode = 'ExclusiveLock'
		  LEFT JOIN pg_prepared_xacts p ON p.transaction = own.transactionid`

// HolderColumns is SQL for a Session of Holders, in the order of its Targets. The seventh is the age.
const HolderColumns = `coalesce(l.pid, 0), coalesce(a.usename, p.owner, '')::text, coalesce(a.application_name, p.gid, ''),
		       coalesce(a.backend_type, ''), coalesce(a.state, ''), coalesce(left(a.query, 200), ''),
		       coalesce(extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, p.prepared)), -1)::float8`

// OnRelations is SQL that keeps the rows of pg_locks l to relations of this database.
const OnRelations = `l.locktype = 'relation' AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())`
