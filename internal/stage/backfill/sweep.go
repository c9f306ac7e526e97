package backfill

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// sweep updates the rows that a proof found. It returns one that others held, if any: after the deadline it looks for no
// more. Rows that have moved since the proof and have no key to be found by are left to the next one.
func (j *job) sweep(ctx context.Context, left []leftover, deadline time.Time) (locked *leftover, moved bool, err error) {
	count := 0
	for _, l := range left {
		count += len(l.rows)
	}
	note := fmt.Sprintf("%d rows came or moved during the walk", count)
	err = j.record(ctx, func(tx pgx.Tx) error {
		return j.env.Ledger.SetPhase(ctx, tx, j.lease, ledger.PhaseSweep, note)
	})
	if err != nil {
		return nil, false, err
	}
	j.env.Log.InfoContext(ctx, "sweeping", "backfill", j.spec.ID, "rows", count)
	for _, l := range left {
		for rows := range slices.Chunk(l.rows, sweepRows) {
			done, held, err := j.sweepBatch(ctx, leftover{l.leaf, l.key, rows}, deadline)
			if err != nil {
				return nil, false, err
			}
			if held != nil {
				locked = held
				if time.Now().After(deadline) {
					return locked, moved, nil
				}
			}
			moved = moved || (len(l.key) == 0 && held == nil && done < int64(len(rows)))
		}
	}
	return locked, moved, nil
}

// sweepBatch updates the rows. When others hold some of them it splits, until the rows that are held are alone, and
// returns one of those.
func (j *job) sweepBatch(ctx context.Context, l leftover, deadline time.Time) (done int64, locked *leftover, err error) {
	var lost reconnects
	for {
		if _, err := j.gate.enter(ctx); err != nil {
			return 0, nil, err
		}
		b, err := j.update(ctx, l.leaf, len(l.rows) == 1, j.spec.updateRows(l.leaf.Name, l.key), l.arguments(),
			func(tx pgx.Tx, rows int64) error { return j.env.Ledger.CheckpointSweep(ctx, tx, j.lease, rows) })
		switch {
		case err == nil:
			return b.rows, nil, j.gate.leave(ctx, b.rows, b.took)
		case lost.again(ctx, err):
		case j.isGone(ctx, err, l.leaf):
			return 0, nil, nil
		case len(l.rows) > 1 && mayShrink(ctx, err):
			for half := range slices.Chunk(l.rows, (len(l.rows)+1)/2) {
				updated, held, err := j.sweepBatch(ctx, leftover{l.leaf, l.key, half}, deadline)
				if err != nil {
					return done, nil, err
				}
				done += updated
				if held != nil {
					locked = held
					if time.Now().After(deadline) {
						break
					}
				}
			}
			return done, locked, nil
		case pg.IsContention(err):
			return 0, &l, nil
		default:
			page := pageOf(l.rows[0].address)
			return 0, nil, j.locate(err, l.leaf.Name, page, page+1)
		}
	}
}

// arguments returns the parameters of updateRows.
func (l leftover) arguments() []any {
	if len(l.key) == 0 {
		addresses := make([]string, len(l.rows))
		for i, r := range l.rows {
			addresses[i] = r.address
		}
		return []any{addresses}
	}
	arrays := make([]any, len(l.key))
	for i := range l.key {
		values := make([]string, len(l.rows))
		for n, r := range l.rows {
			values[n] = r.key[i]
		}
		arrays[i] = values
	}
	return arrays
}
