package preflight

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// Lock is a lock on the table, or on a partition or child of it, that a session or a prepared transaction holds or waits for.
type Lock struct {
	pg.Session
	// Mode is the name of the mode in pg_locks, such as AccessShareLock.
	Mode    string
	Granted bool
	// Waited is how long it has waited; negative when it does not wait.
	Waited pg.Seconds
	// Relation is what is locked.
	Relation string
	// transaction tells transactions of one session apart, also for a role that does not see their age.
	transaction string
	// stays means that two looks have found the same transaction, and how long it has been open cannot be seen.
	stays bool
}

// Prepared is a prepared transaction of the database. It holds its locks until somebody ends it.
type Prepared struct {
	GID        string
	Owner      string
	AgeSeconds int64
}

// Vacuum is a VACUUM or ANALYZE that works on the table.
type Vacuum struct {
	PID int64
	// Command is vacuum or analyze.
	Command string
	// Phase and Percent are nil for a role that may not see them.
	Phase   *string
	Percent *float64
	// Auto means that autovacuum began it, and Wraparound that it gives way to nobody.
	Auto, Wraparound bool
	Relation         string
}

// IndexBuild is a CREATE INDEX or REINDEX on the table.
type IndexBuild struct {
	PID     int64
	Index   *string
	Phase   *string
	Percent *float64
}

const sessionColumns = `coalesce(a.backend_type, ''), coalesce(a.state, ''), coalesce(left(a.query, 200), '')`

func (r *Report) readLocks(ctx context.Context, tx pgx.Tx, t *target) error {
	rows, err := tx.Query(ctx, `
		SELECT `+pg.HolderColumns+`,
		       l.mode, l.granted, coalesce(extract(epoch FROM clock_timestamp() - l.waitstart), -1)::float8,
		       `+nameOf("l.relation")+`, l.virtualtransaction
		  FROM `+pg.Holders+`
		 WHERE `+pg.OnRelations+` AND l.relation = ANY($1) AND l.pid IS DISTINCT FROM pg_backend_pid()
		 ORDER BY l.granted DESC, 7 DESC, 1
		 LIMIT 200`, t.tree)
	if err != nil {
		return err
	}
	r.Locks, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (l Lock, err error) {
		var relation *string // NULL when it was dropped a moment ago
		err = row.Scan(append(l.Targets(), &l.Mode, &l.Granted, (*float64)(&l.Waited), &relation, &l.transaction)...)
		if relation != nil {
			l.Relation = *relation
		}
		return l, err
	})
	return err
}

// lookAgain tells long transactions from short ones for a role that does not see their age: those are long that are still there
// after as long as a lock may be held.
func (r *Report) lookAgain(ctx context.Context, env *stage.Env, t *target, limits Limits) error {
	if !slices.ContainsFunc(r.Locks, Lock.hidden) {
		return nil
	}
	wait := time.NewTimer(limits.HeldFor)
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-wait.C:
	}
	before := r.Locks
	err := short(ctx, env, func(tx pgx.Tx) error { return r.readLocks(ctx, tx, t) })
	for i, l := range r.Locks {
		r.Locks[i].stays = l.hidden() && slices.ContainsFunc(before, func(b Lock) bool {
			return b.PID == l.PID && b.transaction == l.transaction && b.Granted == l.Granted
		})
	}
	return err
}

func (l Lock) hidden() bool { return l.Granted && l.Age < 0 && l.PID != 0 }

// yields reports whether it is an autovacuum that gives way to whoever waits longer than deadlock_timeout. A role that does not see
// backend types knows a worker by its mode, and by having no user.
func (l Lock) yields(vacuums []Vacuum) bool {
	worker := l.Backend == "autovacuum worker" || l.Backend == "" && l.PID != 0 && l.User == "" && l.Mode == "ShareUpdateExclusiveLock"
	return worker && !strings.Contains(l.Query, "to prevent wraparound") &&
		!slices.ContainsFunc(vacuums, func(v Vacuum) bool { return v.PID == int64(l.PID) && v.Wraparound })
}

// readVacuums goes by the locks, because the progress views hide from others what a session works on.
func (r *Report) readVacuums(ctx context.Context, tx pgx.Tx, t *target) (err error) {
	r.Vacuums, err = collect[Vacuum](ctx, tx, `
		SELECT l.pid, w.command, w.phase, w.percent, coalesce(a.backend_type = 'autovacuum worker', a.usesysid IS NULL),
		       coalesce(a.query LIKE '%(to prevent wraparound)', false)
		       OR coalesce(a.backend_type, 'autovacuum worker') = 'autovacuum worker' AND a.usesysid IS NULL AND w.command = 'vacuum'
		          AND (age(c.relfrozenxid) > least(current_setting('autovacuum_freeze_max_age')::int8,
		                 (SELECT o.option_value::int8 FROM pg_options_to_table(c.reloptions) o WHERE o.option_name = 'autovacuum_freeze_max_age'))
		            OR mxid_age(c.relminmxid) > least(current_setting('autovacuum_multixact_freeze_max_age')::int8,
		                 (SELECT o.option_value::int8 FROM pg_options_to_table(c.reloptions) o WHERE o.option_name = 'autovacuum_multixact_freeze_max_age'))),
		       `+nameOf("c.oid")+`
		  FROM pg_locks l
		  JOIN pg_class c ON c.oid = l.relation
		  JOIN (SELECT v.pid, 'vacuum' AS command, v.relid, v.phase, 100.0::float8 * v.heap_blks_scanned / nullif(v.heap_blks_total, 0) AS percent
		          FROM pg_stat_progress_vacuum v
		        UNION ALL
		        SELECT v.pid, 'analyze', v.relid, v.phase, 100.0::float8 * v.sample_blks_scanned / nullif(v.sample_blks_total, 0)
		          FROM pg_stat_progress_analyze v) AS w ON w.pid = l.pid AND coalesce(w.relid, l.relation) = l.relation
		  LEFT JOIN pg_stat_activity a ON a.pid = l.pid
		 WHERE `+pg.OnRelations+` AND l.relation = ANY($1) AND l.granted AND l.mode = 'ShareUpdateExclusiveLock'
		 ORDER BY 1`, t.tree)
	return err
}

func (r *Report) readIndexBuilds(ctx context.Context, tx pgx.Tx, t *target) (err error) {
	r.IndexBuilds, err = collect[IndexBuild](ctx, tx, `
		SELECT DISTINCT b.pid, `+nameOf("b.index_relid")+`, b.phase, 100.0::float8 * b.blocks_done / nullif(b.blocks_total, 0)
		  FROM pg_stat_progress_create_index b JOIN pg_locks l ON l.pid = b.pid
		 WHERE `+pg.OnRelations+` AND l.relation = ANY($1) AND coalesce(b.relid, l.relation) = l.relation
		 ORDER BY 1`, t.tree)
	return err
}

// readTransactions counts what keeps dead rows in this database: its own sessions, running vacuums aside.
func (r *Report) readTransactions(ctx context.Context, tx pgx.Tx, _ *target) error {
	const others = ` FROM pg_stat_activity a WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
		AND a.pid NOT IN (SELECT v.pid FROM pg_stat_progress_vacuum v)`
	err := tx.QueryRow(ctx, `SELECT coalesce(max(greatest(age(a.backend_xid), age(a.backend_xmin))), 0)::bigint`+others).Scan(&r.OldestSnapshot)
	if err != nil {
		return err
	}
	rows, err := tx.Query(ctx, `
		SELECT a.pid, coalesce(a.usename, '')::text, coalesce(a.application_name, ''), `+sessionColumns+`,
		       extract(epoch FROM clock_timestamp() - a.xact_start)::float8`+others+`
		   AND a.xact_start IS NOT NULL ORDER BY a.xact_start LIMIT 1`)
	if err != nil {
		return err
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s pg.Session, err error) { return s, row.Scan(s.Targets()...) })
	if len(found) > 0 {
		r.LongestTransaction = &found[0]
	}
	return err
}

func (r *Report) readPrepared(ctx context.Context, tx pgx.Tx, _ *target) (err error) {
	r.Prepared, err = collect[Prepared](ctx, tx, `
		SELECT p.gid, p.owner, extract(epoch FROM clock_timestamp() - p.prepared)::bigint
		  FROM pg_prepared_xacts p WHERE p.database = current_database() ORDER BY p.prepared`)
	return err
}

// line describes the lock on one line.
func (l Lock) line() string {
	session := l.Session
	session.Query = strings.Join(strings.Fields(session.Query), " ")
	if l.Granted {
		return session.String() + ", holds " + l.Mode + " on " + l.Relation
	}
	return session.String() + ", waits for " + l.Mode + " on " + l.Relation
}
