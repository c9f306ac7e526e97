package backfill

import (
	"context"
	"errors"
	"fmt"
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

// batch runs one statement of the backfill and its checkpoint in one transaction: both happen or neither. It returns the
// number of rows updated.
func (j *job) batch(ctx context.Context, smallest bool, sql string, args []any, checkpoint func(tx pgx.Tx, rows int64) error) (rows int64, err error) {
	limit := overrun * j.pace.target
	if smallest {
		limit = smallestTimeout
	}
	settings := []pg.Setting{
		// Row-level security must be an error here, never a silent subset of the rows.
		{Name: "row_security", Value: "off"},
		j.filling,
		pg.Timeout("lock_timeout", j.rowLockTimeout),
		pg.Timeout("statement_timeout", limit),
	}
	err = j.env.DB.Tx(ctx, pgx.TxOptions{}, settings, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sql, args...)
		if err != nil {
			return err
		}
		rows = tag.RowsAffected()
		return checkpoint(tx, rows)
	})
	if err != nil {
		return 0, err
	}
	return rows, nil
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
