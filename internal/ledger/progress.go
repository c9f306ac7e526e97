package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// Progress is a line of the progress view.
type Progress struct {
	Table    string // as SQL would write it
	Schema   string // of the table, without quotes
	Name     string // of the table, without quotes
	Backfill string // the identity
	// Status is complete, interrupted, paused, throttled, walk or sweep.
	Status string
	// Running means that an apply holds the backfill, also while it waits.
	Running       bool
	Percent       float64
	RowsUpdated   int64
	RowsEstimated int64 // -1 is unknown
	PagesDone     int64
	PagesTotal    int64
	RowsPerSecond int64
	// MaxRowsPerSecond is the rate that an operator asked for, or 0.
	MaxRowsPerSecond int64
	LimitedBy        string
	Throttled        string
	Blockers         string
	HOTPercent       *float64
	Holder           string // who runs it, or ran it last
	Note             string
	Elapsed          time.Duration
	// Remaining is an estimate from the present speed, or nil.
	Remaining *time.Duration
	// SinceCheckpoint is nil before the first checkpoint, and when the backfill is complete.
	SinceCheckpoint *time.Duration
	StartedAt       *time.Time // nil when the ledger is of an older provider
	CompletedAt     *time.Time
}

// Complete reports whether the proof was made that no row is left.
func (p Progress) Complete() bool { return p.Status == string(Complete) }

// selectProgress reads the view in the order of Progress. A plan and an operator may come before the apply that upgrades the
// ledger: a column that the view does not have yet is found in the outer query instead.
func (l Ledger) selectProgress() string {
	return `
		SELECT p.* FROM (SELECT NULL::bool AS running, 0::bigint AS rows_per_second, 0::bigint AS max_rows_per_second, '' AS limited_by,
		                        '' AS throttled, '' AS blockers, NULL::numeric AS hot_percent, NULL::timestamptz AS started_at,
		                        NULL::timestamptz AS completed_at) AS older
		 CROSS JOIN LATERAL (
		   SELECT table_name, (parse_ident(table_name))[1] AS schema, (parse_ident(table_name))[2] AS name, backfill, status,
		          coalesce(running, status IN ('walk', 'sweep')) AS running, percent::float8, rows_updated, rows_estimated, pages_done,
		          pages_total, rows_per_second, max_rows_per_second, limited_by, throttled, blockers, hot_percent::float8, holder, note,
		          elapsed, remaining, since_checkpoint, started_at, completed_at
		     FROM ` + l.table("progress") + `) AS p`
}

// Progress returns how far a backfill is, as the progress view tells it, or pgx.ErrNoRows.
func (l Ledger) Progress(ctx context.Context, tx pgx.Tx, key string) (Progress, error) {
	all, err := l.readProgress(ctx, tx, l.selectProgress()+` WHERE backfill = $1`, key)
	if err != nil {
		return Progress{}, err
	}
	if len(all) == 0 {
		return Progress{}, pgx.ErrNoRows
	}
	return all[0], nil
}

// ErrNoLedger says that no apply has worked on the database yet.
var ErrNoLedger = errors.New("there is no ledger")

// AllProgress returns how far each backfill is, ordered by table and identity, or ErrNoLedger. It looks into the catalogs first,
// which everybody may read: a statement that fails would be in the server's log at every plan.
func (l Ledger) AllProgress(ctx context.Context, tx pgx.Tx) ([]Progress, error) {
	var exists bool
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		                WHERE n.nspname = $1 AND c.relname = 'progress')`, l.Schema).Scan(&exists)
	if err != nil {
		return nil, fmt.Errorf("look for the ledger: %w", err)
	}
	if !exists {
		return nil, fmt.Errorf("%w in schema %s", ErrNoLedger, l.Schema)
	}
	return l.readProgress(ctx, tx, l.selectProgress()+` ORDER BY table_name, backfill`)
}

func (l Ledger) readProgress(ctx context.Context, tx pgx.Tx, sql string, args ...any) ([]Progress, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, l.explainReading(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Progress])
	if err != nil {
		return nil, l.explainReading(err)
	}
	return all, nil
}

// explainReading asks for no more than it takes to look.
func (l Ledger) explainReading(err error) error {
	err = fmt.Errorf("read the progress of backfills: %w", err)
	if !pg.IsInsufficientPrivilege(err) {
		return err
	}
	return finding.New(fmt.Sprintf("The role may not read the progress of backfills in schema %s", l.Schema),
		fmt.Sprintf("The owner of the ledger can allow it:\n\n  GRANT USAGE ON SCHEMA %s TO the_role;\n  GRANT SELECT ON %s TO the_role;",
			pg.Quote(l.Schema), l.table("progress"))).Because(err)
}
