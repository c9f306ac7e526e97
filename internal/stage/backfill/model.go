package backfill

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// shape is what the catalogs tell of the work for a row.
type shape struct {
	pages, rows float64
	// indexes is how many a leaf has, and indexPages the size of all of them.
	indexes, indexPages float64
	// passes and indexed are as the walk will have them (mostPasses).
	passes  int
	indexed bool
	// fullPages means that the server writes whole pages to the WAL after a checkpoint, and oldRows that it writes replaced rows.
	fullPages, oldRows bool
}

// readShape reads the shape of a table for a backfill of the targets.
func readShape(ctx context.Context, tx pgx.Tx, table *pg.Table, targets []string) (w shape, err error) {
	w = shape{pages: float64(table.Pages()), rows: table.EstimatedRows, passes: 1}
	if len(table.Leaves) == 0 {
		return w, nil
	}
	err = tx.QueryRow(ctx, `
		SELECT count(*)::float8 / $3, coalesce(sum(x.relpages), 0)::float8,
		       current_setting('full_page_writes')::bool,
		       current_setting('wal_level') = 'logical' AND coalesce((SELECT bool_or(c.relreplident = 'f') FROM pg_class c WHERE c.oid = ANY($1)), false),
		       coalesce(bool_or(EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attname = ANY($2) AND a.attnum = ANY(i.indkey))), false)
		  FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
		 WHERE i.indrelid = ANY($1) AND i.indisready`, leavesOf(table), targets, len(table.Leaves)).
		Scan(&w.indexes, &w.indexPages, &w.fullPages, &w.oldRows, &w.indexed)
	if err != nil {
		return w, fmt.Errorf("list the indexes of %s: %w", table.Name, err)
	}
	// Only as old as the last vacuum; the exact size would wait for whoever has locked the index. An entry has 20 bytes or more.
	w.indexPages = max(w.indexPages, w.indexes*max(w.rows, 0)*20/pageBytes)
	largest := slices.MaxFunc(table.Leaves, func(a, b pg.Leaf) int { return int(a.Pages - b.Pages) })
	w.passes, err = mostPasses(ctx, tx, table, largest, targets)
	return w, err
}

// work is what a backfill has to do: rows of so many bytes, which get so many more.
type work struct{ rows, width, added float64 }

// What one worker takes on a machine like those of the benchmark (docs/guides/benchmark.md), in seconds. Idle servers are
// within a factor of two of it; what this database has seen is preferred to it.
const (
	secondsPerUpdate = 4.5e-6
	secondsPerMove   = 1e-6
	secondsPerEntry  = 4.5e-6
	secondsPerPage   = 15e-6 // of a pass
	secondsPerRead   = 0.3e-6
	// parallel is the power of the number of workers by which they are faster together.
	parallel = 0.7
)

// Sizes of WAL records in bytes, with their headers (src/include/access/heapam_xlog.h, nbtxlog.h).
const (
	walPerUpdate = 88
	walPerMove   = 100
	walPerEntry  = 84
	walPerPrune  = 60
)

// cold is the share of the updates that find no room in their page and write to every index.
func (w shape) cold(do work) float64 {
	if w.indexed {
		return 1
	}
	perPage, needing := w.rows/w.pages, do.rows/w.pages
	if needing <= 0 {
		return 0
	}
	const usable = pageBytes - pageHeader
	room := max(usable-perPage*(do.width+linePtr), 0) / (do.width + do.added + linePtr)
	moved := max(needing/float64(w.passes)-room, 0) / needing
	// What rows grow by has to go somewhere in any case.
	grown := max(perPage*(do.width+linePtr)+needing*do.added-usable, 0) / (needing * (do.width + do.added + linePtr))
	// Room in a page is in pieces, and old versions are not always gone in time.
	const loss, least = 1.2, 0.03
	return min(max(loss*(moved+grown), least), 1)
}

// cost models the seconds of one worker and the bytes of WAL.
func (w shape) cost(do work, perRow time.Duration) (seconds, wal float64) {
	cold := w.cold(do)
	touched := min(do.rows, w.pages)
	seconds = do.rows*(secondsPerUpdate+cold*(secondsPerMove+secondsPerEntry*w.indexes)) + w.pages*float64(w.passes)*secondsPerPage + w.rows*secondsPerRead
	// An expression is evaluated for the condition and for the value, and once more by the proof unless the row is done.
	seconds += 2 * do.rows * perRow.Seconds()
	wal = do.rows*((1-cold)*(walPerUpdate+do.added)+cold*(walPerMove+do.width+do.added+walPerEntry*w.indexes)) + touched*float64(w.passes)*walPerPrune
	if w.oldRows {
		wal += do.rows * do.width
	}
	if w.fullPages {
		wal += touched*min(w.rows/w.pages*(do.width+linePtr)+pageHeader, pageBytes) + 0.7*pageBytes*min(w.indexPages, cold*do.rows*w.indexes)
	}
	return seconds, wal
}

// Copying says how long it takes to copy so many rows of a table of so many bytes elsewhere, and to look at all of it once more, and
// what that writes.
func Copying(table *pg.Table, rows, width float64) (low, high time.Duration, wal float64) {
	const looks = 3 // the copy, what it has missed, the proof
	seconds := looks*(float64(table.Pages())*secondsPerPage+max(table.EstimatedRows, rows)*secondsPerRead) + rows*(secondsPerUpdate+secondsPerEntry)
	return pg.Seconds(seconds / modelSpread).Duration(), pg.Seconds(seconds * modelSpread).Duration(), rows * (width + walPerMove + walPerEntry)
}
