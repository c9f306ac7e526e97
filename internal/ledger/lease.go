package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// LeaseTTL is how long a lease lasts after its last renewal. A holder that was killed is replaced after that time;
// one that only stalled is fenced off by its token, so that a short time is safe.
const LeaseTTL = 5 * time.Second

// Lease is the right to run one backfill. It lives in a row, not in a session lock, so that it also works through
// a pooler.
type Lease struct {
	StageID int64
	Token   int64
}

// ErrLeaseLost says that another apply has taken the backfill over.
var ErrLeaseLost = errors.New("another apply has taken the backfill over")

// LeaseHeldError says who runs the backfill now.
type LeaseHeldError struct {
	Holder string
	// Expires is the time until the lease ends unless it is renewed.
	Expires time.Duration
}

func (e *LeaseHeldError) Error() string { return "the backfill is being run by " + e.Holder }

// TakeLease takes the lease of a backfill if nobody holds it, and fences off every former holder: the token of all
// open segments is raised, which waits for a checkpoint in flight and makes any later one fail.
func (l Ledger) TakeLease(ctx context.Context, tx pgx.Tx, stageID int64, holder string) (Lease, error) {
	lease := Lease{StageID: stageID}
	if err := l.exec(ctx, tx, `INSERT INTO `+l.table("backfill")+` (stage_id) VALUES ($1) ON CONFLICT DO NOTHING`, stageID); err != nil {
		return lease, err
	}
	var current string
	var seconds float64
	err := tx.QueryRow(ctx, `
		SELECT token, holder, coalesce(extract(epoch FROM lease_expires_at - clock_timestamp()), 0)::float8
		  FROM `+l.table("backfill")+` WHERE stage_id = $1 FOR UPDATE`, stageID).Scan(&lease.Token, &current, &seconds)
	if err != nil {
		return lease, fmt.Errorf("read the lease: %w", err)
	}
	if seconds > 0 {
		return lease, &LeaseHeldError{Holder: current, Expires: time.Duration(seconds * float64(time.Second))}
	}
	lease.Token++
	err = l.exec(ctx, tx, `
		UPDATE `+l.table("backfill")+` SET token = $2, holder = $3, lease_expires_at = clock_timestamp() + make_interval(secs => $4), `+fromNow+`
		 WHERE stage_id = $1`, stageID, lease.Token, holder, LeaseTTL.Seconds())
	if err != nil {
		return lease, err
	}
	return lease, l.exec(ctx, tx, `UPDATE `+l.table("segment")+` SET token = $2 WHERE stage_id = $1`, stageID, lease.Token)
}

// What a backfill costs is counted by whoever writes its row anyhow: from a moment on, up to it, or no longer.
const (
	fromNow  = `counted_at = clock_timestamp(), counted_wal = pg_current_wal_insert_lsn()`
	noLonger = `counted_at = NULL, counted_wal = NULL`
)

// counted renders the assignments that add what came since, if the condition says that batches did not wait. Neither the
// clock nor, after a failover, the position in the WAL only goes forward.
func counted(condition string) string {
	return `
		       busy_seconds = busy_seconds + CASE WHEN ` + condition + `
		         THEN greatest(coalesce(extract(epoch FROM clock_timestamp() - counted_at), 0), 0) ELSE 0 END,
		       wal_bytes = wal_bytes + CASE WHEN ` + condition + `
		         THEN greatest(coalesce(pg_current_wal_insert_lsn() - counted_wal, 0), 0)::bigint ELSE 0 END`
}

// Report is what a running backfill says of itself.
type Report struct {
	RowsPerSecond float64
	// HOTPercent is the share of new row versions that stayed in their page, or nil before there were any.
	HOTPercent *float64
	// LimitedBy is what decides the speed at the moment.
	LimitedBy string
	// Throttled is why batches wait, or "".
	Throttled string
	// Blockers are the sessions in the way, or "".
	Blockers string
}

// Control is what operators ask of a running backfill.
type Control struct {
	Paused bool
	// PausedBy is the role that paused it last.
	PausedBy string
	// MaxRowsPerSecond is 0 when nobody has asked for a rate.
	MaxRowsPerSecond float64
}

// Heartbeat extends the lease, publishes the report and returns what operators ask for, or ErrLeaseLost.
func (l Ledger) Heartbeat(ctx context.Context, tx pgx.Tx, lease Lease, r Report) (c Control, err error) {
	err = tx.QueryRow(ctx, `
		UPDATE `+l.table("backfill")+`
		   SET lease_expires_at = clock_timestamp() + make_interval(secs => $3), rows_per_second = $4, hot_percent = $5,
		       limited_by = $6, throttled = $7, blockers = $8, `+counted("$7 = ''")+`, `+fromNow+`
		 WHERE stage_id = $1 AND token = $2
		RETURNING desired = 'pause', desired_by, coalesce(max_rows_per_second, 0)`, lease.StageID, lease.Token, LeaseTTL.Seconds(),
		r.RowsPerSecond, r.HOTPercent, r.LimitedBy, r.Throttled, r.Blockers).Scan(&c.Paused, &c.PausedBy, &c.MaxRowsPerSecond)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return c, ErrLeaseLost
	case err != nil:
		return c, l.explain(fmt.Errorf("write the ledger: %w", err))
	}
	return c, nil
}

// ReleaseLease ends the lease at once. One that was lost needs no release.
func (l Ledger) ReleaseLease(ctx context.Context, tx pgx.Tx, lease Lease) error {
	return l.exec(ctx, tx, `
		UPDATE `+l.table("backfill")+` SET lease_expires_at = NULL, `+counted("throttled = ''")+`, `+noLonger+`
		 WHERE stage_id = $1 AND token = $2`, lease.StageID, lease.Token)
}

// LeaseHolder returns who runs the backfill, or "" when nobody does.
func (l Ledger) LeaseHolder(ctx context.Context, tx pgx.Tx, stageID int64) (holder string, err error) {
	err = tx.QueryRow(ctx, `SELECT holder FROM `+l.table("backfill")+` WHERE stage_id = $1 AND lease_expires_at > clock_timestamp()`,
		stageID).Scan(&holder)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return holder, err
}

// held runs an update that is bound to the lease's token.
func (l Ledger) held(ctx context.Context, tx pgx.Tx, sql string, args ...any) error {
	tag, err := tx.Exec(ctx, sql, args...)
	if err != nil {
		return l.explain(fmt.Errorf("write the ledger: %w", err))
	}
	if tag.RowsAffected() == 0 {
		return ErrLeaseLost
	}
	return nil
}

// Segment is a part of a relation's heap.
type Segment struct {
	Relation uint32
	Filenode uint32
	First    int64 // first page
	End      int64 // first page after the segment
	Next     int64 // first page that is not done in the current pass
	// Low and High bound the rows of the current pass: the hashes of their addresses, of HashRange.
	Low, High int16
}

// HashRange is one more than the largest hash that decides in which pass a row's turn is.
const HashRange = 1024

// Done reports whether all passes have reached the end.
func (s Segment) Done() bool { return s.Next >= s.End && s.High >= HashRange }

// Segments returns the segments of a backfill in heap order.
func (l Ledger) Segments(ctx context.Context, tx pgx.Tx, stageID int64) ([]Segment, error) {
	rows, err := tx.Query(ctx, `
		SELECT relation, filenode, first_page, end_page, next_page, low, high FROM `+l.table("segment")+`
		 WHERE stage_id = $1 ORDER BY relation, first_page`, stageID)
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Segment])
}

// AddSegments adds segments to the walk of a backfill.
func (l Ledger) AddSegments(ctx context.Context, tx pgx.Tx, lease Lease, segments []Segment) error {
	_, err := tx.CopyFrom(ctx, pgx.Identifier{l.Schema, "segment"},
		[]string{"stage_id", "relation", "filenode", "first_page", "end_page", "next_page", "low", "high", "token"},
		pgx.CopyFromSlice(len(segments), func(i int) ([]any, error) {
			s := segments[i]
			return []any{lease.StageID, s.Relation, s.Filenode, s.First, s.End, s.Next, s.Low, s.High, lease.Token}, nil
		}))
	if err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	return nil
}

// DropSegments forgets the segments of a relation and keeps their sum of rows.
func (l Ledger) DropSegments(ctx context.Context, tx pgx.Tx, lease Lease, relation uint32) error {
	return l.exec(ctx, tx, `
		WITH gone AS (DELETE FROM `+l.table("segment")+` WHERE stage_id = $1 AND relation = $2 RETURNING rows_updated)
		UPDATE `+l.table("backfill")+` SET rows_updated = rows_updated + (SELECT coalesce(sum(rows_updated), 0) FROM gone)
		 WHERE stage_id = $1`, lease.StageID, relation)
}

// Checkpoint records in the transaction of a batch how far the segment is and how many rows the batch has updated, or
// returns ErrLeaseLost, upon which the caller must roll the batch back.
func (l Ledger) Checkpoint(ctx context.Context, tx pgx.Tx, lease Lease, s Segment, rows int64) error {
	return l.held(ctx, tx, `
		UPDATE `+l.table("segment")+`
		   SET next_page = $5, low = $6, high = $7, rows_updated = rows_updated + $8, updated_at = clock_timestamp()
		 WHERE stage_id = $1 AND token = $2 AND relation = $3 AND first_page = $4`,
		lease.StageID, lease.Token, s.Relation, s.First, s.Next, s.Low, s.High, rows)
}

// CheckpointSweep records in the transaction of a batch how many rows the sweep has updated.
func (l Ledger) CheckpointSweep(ctx context.Context, tx pgx.Tx, lease Lease, rows int64) error {
	return l.held(ctx, tx, `
		UPDATE `+l.table("backfill")+` SET rows_updated = rows_updated + $3, checkpoint_at = clock_timestamp()
		 WHERE stage_id = $1 AND token = $2`, lease.StageID, lease.Token, rows)
}

// Phase is what a running backfill is doing.
type Phase string

// The phases of a backfill.
const (
	PhaseWalk     Phase = "walk"
	PhaseSweep    Phase = "sweep"
	PhaseComplete Phase = "complete"
)

// Begin records that the walk starts over, with what lies ahead of it.
func (l Ledger) Begin(ctx context.Context, tx pgx.Tx, lease Lease, rowsEstimated float64) error {
	return l.held(ctx, tx, `
		UPDATE `+l.table("backfill")+`
		   SET phase = 'walk', rows_updated = 0, rows_estimated = $3, pages_total = 0, note = '', started_at = clock_timestamp(),
		       checkpoint_at = NULL, completed_at = NULL, wal_bytes = 0, busy_seconds = 0, `+fromNow+`
		 WHERE stage_id = $1 AND token = $2`, lease.StageID, lease.Token, rowsEstimated)
}

// SetPages records how many pages the walk has in all.
func (l Ledger) SetPages(ctx context.Context, tx pgx.Tx, lease Lease, pages int64) error {
	return l.held(ctx, tx, `UPDATE `+l.table("backfill")+` SET pages_total = $3 WHERE stage_id = $1 AND token = $2`,
		lease.StageID, lease.Token, pages)
}

// SetPhase records what the backfill is doing; note is for people who read the progress view.
func (l Ledger) SetPhase(ctx context.Context, tx pgx.Tx, lease Lease, phase Phase, note string) error {
	return l.held(ctx, tx, `
		UPDATE `+l.table("backfill")+` SET phase = $3, note = $4, checkpoint_at = clock_timestamp() WHERE stage_id = $1 AND token = $2`,
		lease.StageID, lease.Token, phase, note)
}

// Finish records that the backfill is complete, ends the lease, drops the segments and forgets what operators asked
// for. hotPercent is that of the last report, or nil. The stage comes first, as in every
// transaction that writes both: one that takes the lease at the same time would otherwise deadlock with it.
func (l Ledger) Finish(ctx context.Context, tx pgx.Tx, lease Lease, hotPercent *float64) error {
	if err := l.SetStatus(ctx, tx, lease.StageID, Complete); err != nil {
		return err
	}
	return l.held(ctx, tx, `
		WITH gone AS (DELETE FROM `+l.table("segment")+` WHERE stage_id = $1 RETURNING rows_updated)
		UPDATE `+l.table("backfill")+`
		   SET phase = 'complete', note = '', lease_expires_at = NULL, completed_at = clock_timestamp(),
		       desired = 'run', max_rows_per_second = NULL, -- A later run is another matter.
		       hot_percent = coalesce($3, hot_percent), `+counted("throttled = ''")+`, `+noLonger+`,
		       completed_xmax = pg_snapshot_xmax(pg_current_snapshot()),
		       rows_updated = rows_updated + (SELECT coalesce(sum(rows_updated), 0) FROM gone)
		 WHERE stage_id = $1 AND token = $2`, lease.StageID, lease.Token, hotPercent)
}

// RowsUpdated returns how many rows a backfill has updated since it began.
func (l Ledger) RowsUpdated(ctx context.Context, tx pgx.Tx, stageID int64) (rows int64, err error) {
	err = tx.QueryRow(ctx, `
		SELECT b.rows_updated + coalesce((SELECT sum(g.rows_updated) FROM `+l.table("segment")+` g WHERE g.stage_id = b.stage_id), 0)::bigint
		  FROM `+l.table("backfill")+` b WHERE b.stage_id = $1`, stageID).Scan(&rows)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	return rows, err
}
