package backfill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// Limits of one batch.
const (
	// overrun is how many times its target a batch may take before the server ends it.
	overrun = 5
	// smallestTimeout is the time of a batch that cannot be made smaller, such as one page under a slow trigger.
	smallestTimeout = time.Minute
)

// batch is what one transaction of the backfill has done.
type batch struct {
	rows    int64
	updates tally
	// took is the time of the transaction, without what it waited for at the gate.
	took time.Duration
	// wal is how much the whole cluster has written meanwhile, in bytes: at least what the batch has.
	wal int64
}

// counters are read before and after a batch, in its transaction. The server counts a transaction's own updates of a
// relation as they happen, unless track_counts is off.
const counters = `SELECT coalesce(pg_stat_get_xact_tuples_updated($1), 0), coalesce(pg_stat_get_xact_tuples_hot_updated($1), 0),
       pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint, pg_backend_pid()`

// update runs one statement of the backfill over a leaf and its checkpoint in one transaction: both happen or neither.
func (j *job) update(ctx context.Context, leaf pg.Leaf, smallest bool, sql string, args []any, checkpoint func(tx pgx.Tx, rows int64) error) (b batch, err error) {
	limit := j.longest
	if smallest {
		limit = smallestTimeout
	}
	settings := slices.Concat(j.settings, []pg.Setting{
		pg.Timeout("statement_timeout", limit), {Name: "application_name", Value: j.applicationName()},
	})
	started := time.Now()
	err = j.env.DB.Tx(ctx, pgx.TxOptions{}, settings, func(tx pgx.Tx) error {
		var before, after batch
		pid, err := before.count(ctx, tx, leaf)
		if err != nil {
			return err
		}
		defer j.monitor.Track(pid)()
		tag, err := tx.Exec(ctx, sql, args...)
		if err != nil {
			return err
		}
		b.rows = tag.RowsAffected()
		if err := checkpoint(tx, b.rows); err != nil {
			return err
		}
		if _, err := after.count(ctx, tx, leaf); err != nil {
			return err
		}
		b.updates = tally{after.updates.updates - before.updates.updates, after.updates.hot - before.updates.hot}
		b.wal = after.wal - before.wal
		return nil
	})
	if err != nil {
		return batch{}, err
	}
	b.took = time.Since(started)
	j.interleaving.note(b.updates)
	j.rows.Add(b.rows)
	return b, nil
}

// count reads the counters, and which server process it is: behind a pooler only the process itself knows.
func (b *batch) count(ctx context.Context, tx pgx.Tx, leaf pg.Leaf) (pid uint32, err error) {
	err = tx.QueryRow(ctx, counters, leaf.OID).Scan(&b.updates.updates, &b.updates.hot, &b.wal, &pid)
	if err != nil {
		return 0, fmt.Errorf("read the counters of %s: %w", leaf.Name, err)
	}
	return pid, nil
}

// batchSettings hold for every batch.
func (j *job) batchSettings() []pg.Setting {
	settings := []pg.Setting{
		// Row-level security must be an error here, never a silent subset of the rows.
		{Name: "row_security", Value: "off"},
		j.filling,
		pg.Timeout("lock_timeout", j.rowLockTimeout),
		// A batch and its checkpoint are lost together or not at all, and the end of the backfill is written in a transaction
		// that waits for the disk, and so for all before it. Writers wait shorter for rows of a batch that does not.
		{Name: "synchronous_commit", Value: "off"},
		// A batch is too short for what a compilation takes.
		{Name: "jit", Value: "off"},
	}
	if j.spec.QuietTriggers {
		settings = append(settings, quiet)
	}
	return settings
}

// mayShrink reports whether a smaller batch may succeed, or at least narrows down the row that fails.
func mayShrink(ctx context.Context, err error) bool {
	return pg.IsContention(err) || pg.IsStatementTimeout(ctx, err) || pg.IsRowError(err)
}

// locate says in which pages the server refused a row.
func (j *job) locate(err error, leaf pg.TableName, first, end int64) error {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return err
	}
	text := fmt.Sprintf("The server says: %s.", e.Message)
	if e.Detail != "" {
		text += " " + e.Detail
	}
	query := fmt.Sprintf("SELECT * FROM ONLY %s WHERE ctid >= '%s' AND ctid < '%s';", leaf.SQL(), tid(first), tid(end))
	if e.Where != "" {
		text += "\n\n" + finding.Indent(e.Where)
	}
	return finding.New(fmt.Sprintf("Backfill of %s failed on rows of %s", j.spec.describe(), leaf),
		finding.Paragraphs(text, "All batches before it are done and recorded. It is one of these rows:\n\n"+finding.Indent(query),
			"Repair the row and apply again: the backfill goes on here. If you change the expression or where instead, it starts over and "+
				"passes the rows that are filled.",
			"SQLSTATE "+e.Code)).Because(err)
}

// record runs a transaction that writes only the ledger, again if the session is lost or another apply, which wants to
// begin, is in the way. fn must not mind that it had been committed before.
func (j *job) record(ctx context.Context, fn func(tx pgx.Tx) error) error {
	var lost reconnects
	for deadline := time.Now().Add(j.env.RetryFor); ; {
		err := j.env.DB.Tx(ctx, pgx.TxOptions{}, bookkeeping, fn)
		inTheWay := pg.IsContention(err) && time.Now().Before(deadline)
		if !inTheWay && !lost.again(ctx, err) {
			return err
		}
	}
}

// stateUndefinedTable is the SQLSTATE of a statement whose table is gone.
const stateUndefinedTable = "42P01"

// isGone reports whether the error says that a leaf was dropped, or renamed, since its table was read. What is left of
// it, the next look at the table tells.
func (j *job) isGone(ctx context.Context, err error, leaf pg.Leaf) bool {
	if pg.SQLState(err) != stateUndefinedTable {
		return false
	}
	var now pg.TableName
	lookErr := j.env.DB.Look(ctx, func(tx pgx.Tx) (err error) {
		now, _, err = pg.CurrentName(ctx, tx, leaf.OID)
		return err
	})
	return lookErr == nil && now != leaf.Name
}

// reconnects allows a few attempts in a row with a new session, for a server that restarts or fails over.
type reconnects struct{ count int }

// maxReconnects and reconnectPause give a server about half a minute to come back.
const (
	maxReconnects  = 6
	reconnectPause = time.Second
)

// again reports whether the error is a lost session that is worth another attempt, after a pause. The batch may or may
// not have been committed; doing it again is harmless, because rows that are done need no work.
func (r *reconnects) again(ctx context.Context, err error) bool {
	if ctx.Err() != nil || !pg.IsConnectionLost(err) || r.count >= maxReconnects {
		return false
	}
	r.count++
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Duration(r.count) * reconnectPause):
		return true
	}
}
