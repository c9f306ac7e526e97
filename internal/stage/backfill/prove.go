package backfill

import (
	"context"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
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
	// maxVanished is how often a proof begins anew because a partition was dropped under it.
	maxVanished = 10
)

// leftover is what a proof found in one relation.
type leftover struct {
	leaf pg.Leaf
	key  []pg.Column
	rows []row
}

// row is a row that needs work. Its key finds it also after it has moved, as every update makes it do.
type row struct {
	address string
	key     []string
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
		locked, moved, err := j.sweep(ctx, left, deadline)
		if err != nil {
			return false, err
		}
		switch {
		case locked != nil && time.Now().After(deadline):
			return false, j.lockedRow(ctx, locked)
		case locked != nil, moved && time.Now().Before(deadline):
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
	vanished := 0
	started := time.Now()
	for {
		table, left, err = look(ctx, j.env, j.spec, proofLimit)
		switch {
		case err == nil:
			return table, left, nil
		case lost.again(ctx, err):
		case pg.SQLState(err) == stateUndefinedTable && vanished < maxVanished:
			vanished++ // A partition was dropped under it. If it was the table, the next look says so.
		case pg.IsContention(err):
			// Somebody holds an ACCESS EXCLUSIVE lock.
			if since := time.Since(started); since > j.env.RetryFor {
				return nil, nil, j.lockedTable(ctx, j.spec.Table, "EXPLAIN SELECT FROM "+j.spec.Table.SQL(), since)
			}
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
		left = nil
		key := keyOf(table)
		for _, leaf := range table.Leaves {
			rows, err := tx.Query(ctx, spec.remaining(leaf.Name, key), limit)
			if err != nil {
				return fmt.Errorf("look for rows that need work in %s: %w", leaf.Name, err)
			}
			found, err := pgx.CollectRows(rows, func(record pgx.CollectableRow) (r row, err error) {
				return r, record.Scan(&r.address, &r.key)
			})
			if err != nil {
				return fmt.Errorf("look for rows that need work in %s: %w", leaf.Name, err)
			}
			if len(found) > 0 {
				left = append(left, leftover{leaf, key, found})
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
	err = j.record(ctx, func(tx pgx.Tx) error {
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

func (j *job) complete(ctx context.Context) error {
	return j.record(ctx, func(tx pgx.Tx) error {
		return j.env.Ledger.Finish(ctx, tx, j.lease, j.interleaving.hotPercent())
	})
}

func (j *job) keepComing(left []leftover) error {
	l := left[0]
	query := fmt.Sprintf("SELECT * FROM ONLY %s WHERE ctid = '%s';", l.leaf.Name.SQL(), l.rows[0].address)
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
