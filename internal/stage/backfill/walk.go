package backfill

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// Segments are the units that workers take. They are large enough that their records stay few, and small enough that
// the workers end at about the same time.
const (
	minSegmentPages = 64
	maxSegmentPages = 2048
)

// walk visits every page that is not recorded as done.
func (j *job) walk(ctx context.Context) error {
	table, segments, err := j.plan(ctx)
	if err != nil {
		return err
	}
	leaves := make(map[uint32]pg.Leaf, len(table.Leaves))
	for _, leaf := range table.Leaves {
		leaves[leaf.OID] = leaf
	}
	queue := make(chan ledger.Segment)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(queue)
		for _, s := range segments {
			if s.Done() {
				continue
			}
			select {
			case queue <- s:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	var rows atomic.Int64
	started := time.Now()
	for range j.spec.Options.workers() {
		group.Go(func() error {
			for s := range queue {
				if err := j.walkSegment(ctx, leaves[s.Relation], s, &rows); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err = group.Wait()
	j.env.Log.InfoContext(ctx, "walk ended", "backfill", j.spec.ID, "rows", rows.Load(), "took", time.Since(started).String())
	return err
}

// plan brings the recorded segments in line with the relations that exist now: a relation that is new or was rewritten
// is walked from its start, one that is gone is forgotten, and pages that were added at the end are appended.
func (j *job) plan(ctx context.Context) (table *pg.Table, segments []ledger.Segment, err error) {
	err = j.record(ctx, func(tx pgx.Tx) error {
		if table, err = pg.ReadTable(ctx, tx, j.spec.Table); err != nil {
			return err
		}
		recorded, err := j.env.Ledger.Segments(ctx, tx, j.lease.StageID)
		if err != nil {
			return err
		}
		byRelation := make(map[uint32][]ledger.Segment)
		for _, s := range recorded {
			byRelation[s.Relation] = append(byRelation[s.Relation], s)
		}
		for _, leaf := range table.Leaves {
			known := byRelation[leaf.OID]
			delete(byRelation, leaf.OID)
			if len(known) > 0 && known[0].Filenode != leaf.Filenode {
				j.env.Log.WarnContext(ctx, "relation was rewritten, walking it again", "relation", leaf.Name.String())
				known = nil
			}
			wanted := extend(known, leaf, j.spec.Options.workers())
			if len(wanted) != len(known) {
				if err := j.putSegments(ctx, tx, leaf, known, wanted); err != nil {
					return err
				}
			}
		}
		for relation := range byRelation {
			if err := j.env.Ledger.DropSegments(ctx, tx, j.lease, relation); err != nil {
				return err
			}
		}
		if segments, err = j.env.Ledger.Segments(ctx, tx, j.lease.StageID); err != nil {
			return err
		}
		var pages int64
		for _, s := range segments {
			pages += s.End - s.First
		}
		if err := j.env.Ledger.SetPages(ctx, tx, j.lease, pages); err != nil {
			return err
		}
		return j.env.Ledger.SetPhase(ctx, tx, j.lease, ledger.PhaseWalk, "")
	})
	return table, segments, err
}

func (j *job) putSegments(ctx context.Context, tx pgx.Tx, leaf pg.Leaf, known, wanted []ledger.Segment) error {
	if len(known) == 0 {
		if err := j.env.Ledger.DropSegments(ctx, tx, j.lease, leaf.OID); err != nil {
			return err
		}
	}
	return j.env.Ledger.AddSegments(ctx, tx, j.lease, wanted[len(known):])
}

// extend appends segments to those of a leaf until they cover all its pages.
func extend(known []ledger.Segment, leaf pg.Leaf, workers int) []ledger.Segment {
	var start int64
	if len(known) > 0 {
		start = known[len(known)-1].End
	}
	length := min(max((leaf.Pages-start)/int64(4*max(workers, 1)), minSegmentPages), maxSegmentPages)
	for ; start < leaf.Pages; start += length {
		known = append(known, ledger.Segment{
			Relation: leaf.OID, Filenode: leaf.Filenode,
			First: start, Next: start, End: min(start+length, leaf.Pages), Low: 0, High: ledger.HashRange,
		})
	}
	return known
}

// walkSegment does a segment from its checkpoint on.
func (j *job) walkSegment(ctx context.Context, leaf pg.Leaf, s ledger.Segment, total *atomic.Int64) error {
	for s.Next < s.End {
		end := min(s.Next+j.pace.next(), s.End)
		next, rows, err := j.window(ctx, leaf.Name, s, end)
		if err != nil && j.isGone(ctx, err, leaf) {
			j.env.Log.WarnContext(ctx, "relation is gone", "backfill", j.spec.ID, "relation", leaf.Name.String())
			return nil
		}
		if err != nil {
			return err
		}
		s.Next = next
		total.Add(rows)
	}
	j.env.Log.DebugContext(ctx, "segment done", "backfill", j.spec.ID, "relation", leaf.Name.String(), "pages", s.End, "rows", total.Load())
	return nil
}

// window does the pages from the segment's checkpoint up to end, or fewer if others hold rows there, and returns the new
// checkpoint. A single page whose rows cannot be had is passed over; the sweep comes back to it. A lock on the whole
// table is waited for instead.
func (j *job) window(ctx context.Context, leaf pg.TableName, s ledger.Segment, end int64) (next, rows int64, err error) {
	var lost reconnects
	for {
		started := time.Now()
		pages := end - s.Next
		rows, err = j.batch(ctx, pages == 1, j.spec.updateWindow(leaf), []any{tid(s.Next), tid(end)},
			func(tx pgx.Tx, rows int64) error {
				done := s
				done.Next = end
				return j.env.Ledger.Checkpoint(ctx, tx, j.lease, done, rows)
			})
		switch {
		case err == nil:
			j.pace.done(pages, time.Since(started))
			return end, rows, nil
		case lost.again(ctx, err):
			j.env.Log.WarnContext(ctx, "session lost, trying again", "backfill", j.spec.ID, "error", err)
		case pages > 1 && mayShrink(ctx, err):
			j.pace.failed(pages)
			end = s.Next + pages/2
		case pg.IsContention(err):
			waited, err := j.awaitTable(ctx, leaf)
			if err != nil {
				return s.Next, 0, err
			}
			if !waited {
				return end, 0, j.pass(ctx, s, end)
			}
		default:
			return s.Next, 0, j.locate(err, leaf, s.Next, end)
		}
	}
}

// pass leaves pages to the sweep.
func (j *job) pass(ctx context.Context, s ledger.Segment, end int64) error {
	return j.record(ctx, func(tx pgx.Tx) error {
		s.Next = end
		return j.env.Ledger.Checkpoint(ctx, tx, j.lease, s, 0)
	})
}

// tid is the address before the first row of a page.
func tid(page int64) string { return fmt.Sprintf("(%d,0)", page) }
