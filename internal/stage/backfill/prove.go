package backfill

import (
	"context"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// Bounds of the proof and of the sweeps that follow it.
const (
	// maxSweeps is how often rows that appeared meanwhile are swept before the backfill says that they keep coming.
	maxSweeps = 10
	// sweepOnce is the bound when the backfill was complete before: much work calls for a walk.
	sweepOnce = 1
	// proofLimit is how many rows of one relation a proof reports.
	proofLimit = 50_000
	// sweepRows is the largest batch of a sweep. Its rows may be anywhere in the table.
	sweepRows = 500
)

// leftover is what a proof found in one relation.
type leftover struct {
	leaf pg.TableName
	rows []string // addresses
}

// finish proves that no row needs work, and sweeps what it finds, at most so many times. It returns false when the table
// has to be walked again.
func (j *job) finish(ctx context.Context, sweeps int) (done bool, err error) {
	deadline := time.Now().Add(j.env.RetryFor)
	pause := backoff.NewExponentialBackOff()
	for swept := 0; ; {
		table, left, err := j.prove(ctx)
		if err != nil {
			return false, err
		}
		if len(left) == 0 {
			return true, j.complete(ctx)
		}
		if sweeps == sweepOnce && (swept > 0 || isFull(left)) {
			return false, nil
		}
		if changed, err := j.shapeChanged(ctx, table); err != nil || changed {
			return false, err
		}
		locked, err := j.sweep(ctx, left)
		if err != nil {
			return false, err
		}
		switch {
		case len(locked) > 0 && time.Now().After(deadline):
			return false, j.lockedFinding(ctx, locked[0])
		case len(locked) > 0:
			if err := sleep(ctx, pause.NextBackOff()); err != nil {
				return false, err
			}
			continue
		case !isFull(left):
			swept++
		}
		if swept >= sweeps && sweeps > sweepOnce {
			return false, j.keepComing(left)
		}
	}
}

// prove looks at all rows in one snapshot and returns those that need work. Rows move between pages when they are
// updated, so that a look in pieces could miss one.
func (j *job) prove(ctx context.Context) (table *pg.Table, left []leftover, err error) {
	var lost reconnects
	deadline := time.Now().Add(j.env.RetryFor)
	for {
		table, left, err = look(ctx, j.env, j.spec, proofLimit)
		switch {
		case err == nil:
			return table, left, nil
		case lost.again(ctx, err):
		case pg.IsContention(err) && time.Now().Before(deadline):
			// Somebody holds an ACCESS EXCLUSIVE lock.
			if err := sleep(ctx, time.Second); err != nil {
				return nil, nil, err
			}
		default:
			return nil, nil, err
		}
	}
}

// Remaining proves a backfill anew: it returns how many rows need work, counting up to the limit.
func Remaining(ctx context.Context, env *stage.Env, spec *Spec, limit int) (rows int, err error) {
	_, left, err := look(ctx, env, spec, limit)
	for _, l := range left {
		rows += len(l.rows)
	}
	return rows, err
}

func look(ctx context.Context, env *stage.Env, spec *Spec, limit int) (table *pg.Table, left []leftover, err error) {
	settings := []pg.Setting{
		{Name: "row_security", Value: "off"},
		pg.Timeout("lock_timeout", time.Second),
		{Name: "statement_timeout", Value: "0"}, // It reads the whole table; ctx bounds it.
	}
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = env.DB.Tx(ctx, options, settings, func(tx pgx.Tx) error {
		if table, err = pg.ReadTable(ctx, tx, spec.Table); err != nil {
			return err
		}
		for _, leaf := range table.Leaves {
			rows, err := tx.Query(ctx, spec.remaining(leaf.Name), limit)
			if err != nil {
				return fmt.Errorf("look for rows that need work in %s: %w", leaf.Name, err)
			}
			found, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				return fmt.Errorf("look for rows that need work in %s: %w", leaf.Name, err)
			}
			if len(found) > 0 {
				left = append(left, leftover{leaf.Name, found})
			}
		}
		return nil
	})
	return table, left, err
}

func isFull(left []leftover) bool {
	for _, l := range left {
		if len(l.rows) >= proofLimit {
			return true
		}
	}
	return false
}

// shapeChanged reports whether a relation was rewritten or has come since the walk, in which case its pages were not
// visited.
func (j *job) shapeChanged(ctx context.Context, table *pg.Table) (changed bool, err error) {
	if j.provenBefore {
		j.provenBefore = false
		return false, nil
	}
	err = j.env.DB.Look(ctx, func(tx pgx.Tx) error {
		segments, err := j.env.Ledger.Segments(ctx, tx, j.lease.StageID)
		filenodes := make(map[uint32]uint32)
		for _, s := range segments {
			filenodes[s.Relation] = s.Filenode
		}
		for _, leaf := range table.Leaves {
			walked, known := filenodes[leaf.OID]
			if (known && walked != leaf.Filenode) || (!known && leaf.Pages > minSegmentPages) {
				changed = true
			}
		}
		return err
	})
	return changed, err
}

// row is one row that a sweep could not get.
type row struct {
	leaf    pg.TableName
	address string
}

// sweep updates the rows that a proof found, and returns those that others held.
func (j *job) sweep(ctx context.Context, left []leftover) (locked []row, err error) {
	count := 0
	for _, l := range left {
		count += len(l.rows)
	}
	note := fmt.Sprintf("%d rows came or moved during the walk", count)
	err = j.env.DB.Tx(ctx, pgx.TxOptions{}, bookkeeping, func(tx pgx.Tx) error {
		return j.env.Ledger.SetPhase(ctx, tx, j.lease, ledger.PhaseSweep, note)
	})
	if err != nil {
		return nil, err
	}
	j.env.Log.InfoContext(ctx, "sweeping", "backfill", j.spec.ID, "rows", count)
	for _, l := range left {
		for start := 0; start < len(l.rows); start += sweepRows {
			held, err := j.sweepBatch(ctx, l.leaf, l.rows[start:min(start+sweepRows, len(l.rows))])
			if err != nil {
				return nil, err
			}
			locked = append(locked, held...)
		}
	}
	return locked, nil
}

// sweepBatch updates rows by address. When others hold some of them it splits, until the rows that are held are alone.
func (j *job) sweepBatch(ctx context.Context, leaf pg.TableName, addresses []string) (locked []row, err error) {
	var lost reconnects
	for {
		_, err = j.batch(ctx, len(addresses) == 1, j.spec.updateRows(leaf), []any{addresses},
			func(tx pgx.Tx, rows int64) error { return j.env.Ledger.CheckpointSweep(ctx, tx, j.lease, rows) })
		switch {
		case err == nil:
			return nil, nil
		case lost.again(ctx, err):
		case len(addresses) > 1 && mayShrink(ctx, err):
			half := len(addresses) / 2
			first, err := j.sweepBatch(ctx, leaf, addresses[:half])
			if err != nil {
				return nil, err
			}
			second, err := j.sweepBatch(ctx, leaf, addresses[half:])
			return append(first, second...), err
		case pg.IsContention(err):
			return []row{{leaf, addresses[0]}}, nil
		default:
			page := pageOf(addresses[0])
			return nil, j.locate(err, leaf, page, page+1)
		}
	}
}

func (j *job) complete(ctx context.Context) error {
	return j.env.DB.Tx(ctx, pgx.TxOptions{}, bookkeeping, func(tx pgx.Tx) error {
		return j.env.Ledger.Finish(ctx, tx, j.lease)
	})
}

func (j *job) keepComing(left []leftover) error {
	l := left[0]
	query := fmt.Sprintf("SELECT * FROM ONLY %s WHERE ctid = '%s';", l.leaf.SQL(), l.rows[0])
	return finding.New(fmt.Sprintf("Rows of %s keep coming that need work", j.spec.Table),
		finding.Paragraphs(fmt.Sprintf("All pages were visited, and then %d times the rows that had come meanwhile. There are still new ones: "+
			"some service writes rows of %s without filling %s.", maxSweeps, j.spec.Table, pg.QuoteAll(j.spec.Targets())),
			"One of them is:\n\n"+finding.Indent(query),
			"Let every service write both shapes, and apply again: what is done stays done."))
}

// pageOf returns the page of an address such as (12,3).
func pageOf(address string) (page int64) {
	if _, err := fmt.Sscanf(address, "(%d,", &page); err != nil {
		return 0
	}
	return page
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
