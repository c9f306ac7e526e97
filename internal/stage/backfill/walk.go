package backfill

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// Segments are the units that workers take. They are large enough that old row versions of a pass can be removed by the
// time that the next one comes by, and that their records stay few; and small enough that a segment stays in memory over
// all its passes, and that the workers end at about the same time.
const (
	minSegmentPages = 512
	maxSegmentPages = 4096
	// windowsPerPass is the least number of batches in a pass, unless a batch has only a few pages.
	windowsPerPass = 4
)

// walk visits every page that is not recorded as done.
func (j *job) walk(ctx context.Context) error {
	table, segments, err := j.plan(ctx)
	if err != nil {
		return err
	}
	leaves := make(map[uint32]walkedLeaf, len(table.Leaves))
	for _, leaf := range table.Leaves {
		leaves[leaf.OID] = walkedLeaf{leaf, j.mostPasses[leaf.OID]}
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
	started, before := time.Now(), j.rows.Load()
	for range j.spec.Options.workers() {
		group.Go(func() error {
			for s := range queue {
				if err := j.walkSegment(ctx, leaves[s.Relation], s); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err = group.Wait()
	j.env.Log.InfoContext(ctx, "walk ended", "backfill", j.spec.ID, "rows", j.rows.Load()-before, "took", time.Since(started).String())
	return err
}

// plan brings the recorded segments in line with the relations that exist now: a relation that is new or was rewritten
// is walked from its start, one that is gone is forgotten, and pages that were added at the end are appended.
func (j *job) plan(ctx context.Context) (table *pg.Table, segments []ledger.Segment, err error) {
	err = j.record(ctx, func(tx pgx.Tx) error {
		if table, err = pg.ReadTable(ctx, tx, j.spec.Table); err != nil {
			return err
		}
		if err := j.countPasses(ctx, tx, table); err != nil {
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
		var pages, done int64
		for _, s := range segments {
			pages += s.End - s.First
			done += int64(s.Low)*(s.End-s.First) + int64(s.High-s.Low)*(s.Next-s.First)
		}
		j.total.Store(pages * ledger.HashRange)
		j.done.Store(done)
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
	length := min(max((leaf.Pages-start)/int64(4*workers), minSegmentPages), maxSegmentPages)
	for ; start < leaf.Pages; start += length {
		known = append(known, ledger.Segment{
			Relation: leaf.OID, Filenode: leaf.Filenode,
			First: start, Next: start, End: min(start+length, leaf.Pages), Low: 0, High: ledger.HashRange,
		})
	}
	return known
}

// countPasses finds out how many passes may pay on each leaf.
func (j *job) countPasses(ctx context.Context, tx pgx.Tx, table *pg.Table) (err error) {
	j.mostPasses = make(map[uint32]int, len(table.Leaves))
	for _, leaf := range table.Leaves {
		if j.mostPasses[leaf.OID], err = mostPasses(ctx, tx, table, leaf, j.spec.Targets()); err != nil {
			return err
		}
	}
	return nil
}

// walkedLeaf is a leaf with the number of passes that may pay.
type walkedLeaf struct {
	pg.Leaf
	mostPasses int
}

// walkSegment does a segment from its checkpoint on, pass by pass.
func (j *job) walkSegment(ctx context.Context, leaf walkedLeaf, s ledger.Segment) error {
	passes := j.interleaving.passes(leaf.mostPasses, time.Now())
	var first, rest tally
	for !s.Done() {
		switch {
		case s.Low == 0 && s.Next == s.First:
			s.High = nextPass(0, passes)
		case s.Next >= s.End:
			s.Low, s.High, s.Next = s.High, nextPass(s.High, passes), s.First
		}
		next, updates, err := j.window(ctx, leaf.Leaf, s)
		if err != nil && j.isGone(ctx, err, leaf.Leaf) {
			j.env.Log.WarnContext(ctx, "relation is gone", "backfill", j.spec.ID, "relation", leaf.Name.String())
			return nil
		}
		if err != nil {
			return err
		}
		if s.Low == 0 {
			first.add(updates)
		} else {
			rest.add(updates)
		}
		s = next
	}
	j.interleaving.learn(passes, leaf.mostPasses, first, rest, time.Now())
	j.env.Log.DebugContext(ctx, "segment done", "backfill", j.spec.ID, "relation", leaf.Name.String(), "end_page", s.End,
		"passes", passes, "hot_first", first.share(), "hot_rest", rest.share())
	return nil
}

// window does a batch of pages from the segment's checkpoint on, or fewer if others hold rows there, and returns the
// segment as it is then. A single page whose rows cannot be had is passed over; the sweep comes back to it. A lock on the
// whole table is waited for instead.
func (j *job) window(ctx context.Context, leaf pg.Leaf, s ledger.Segment) (next ledger.Segment, updates tally, err error) {
	var lost reconnects
	for most := int64(maxPages); ; {
		budget, err := j.gate.enter(ctx)
		if err != nil {
			return s, updates, err
		}
		pages := min(j.pace.next(s, leaf.Pages, budget, j.gate.rowsAtOnce()), most, max((s.End-s.First)/windowsPerPass, 1), s.End-s.Next)
		next = s
		next.Next += pages
		sql, args := j.spec.updateWindow(leaf.Name), []any{tid(s.Next), tid(next.Next)}
		if s.High < ledger.HashRange { // The last pass takes all that is left.
			sql, args = j.spec.updateShare(leaf.Name), append(args, s.High)
		}
		b, err := j.update(ctx, leaf, pages == 1, sql, args, func(tx pgx.Tx, rows int64) error {
			return j.env.Ledger.Checkpoint(ctx, tx, j.lease, next, rows)
		})
		switch {
		case err == nil:
			j.pace.done(s, pages, b)
			j.done.Add(pages * int64(s.High-s.Low))
			return next, b.updates, j.gate.leave(ctx, b.rows, b.took)
		case lost.again(ctx, err):
			j.env.Log.WarnContext(ctx, "session lost, trying again", "backfill", j.spec.ID, "error", err)
			// The server may have lost what it had not yet written to disk, this batch may be done nevertheless.
			if s, err = j.reread(ctx, s); err != nil || s.Next >= s.End {
				return s, updates, err
			}
		case pages > 1 && mayShrink(ctx, err):
			if !pg.IsRowError(err) {
				j.pace.failed()
			}
			most = pages / 2
		case pg.IsContention(err):
			waited, err := j.awaitTable(ctx, leaf.Name)
			if err != nil {
				return s, updates, err
			}
			if !waited {
				return next, updates, j.pass(ctx, next)
			}
		default:
			return s, updates, j.locate(err, leaf.Name, s.Next, next.Next)
		}
	}
}

// reread returns a segment as the ledger has it.
func (j *job) reread(ctx context.Context, s ledger.Segment) (ledger.Segment, error) {
	err := j.record(ctx, func(tx pgx.Tx) error {
		recorded, err := j.env.Ledger.Segments(ctx, tx, j.lease.StageID)
		for _, r := range recorded {
			if r.Relation == s.Relation && r.First == s.First {
				s = r
			}
		}
		return err
	})
	return s, err
}

// pass leaves pages to the sweep.
func (j *job) pass(ctx context.Context, next ledger.Segment) error {
	return j.record(ctx, func(tx pgx.Tx) error {
		return j.env.Ledger.Checkpoint(ctx, tx, j.lease, next, 0)
	})
}

// tid is the address before the first row of a page.
func tid(page int64) string { return fmt.Sprintf("(%d,0)", page) }
