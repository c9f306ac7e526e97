package backfill

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// A new version of a row that finds room in the page of the old one needs no entry in any index (a HOT update,
// src/backend/access/heap/README.HOT of PostgreSQL). Full pages have none. So a segment is walked in passes, each over a
// share of every page's rows: the first moves its rows away, and the room that they leave is there for the next.
//
// More passes leave fewer rows to move, and cost more looks at each page. passCounts are the numbers that the walk
// chooses from.
var passCounts = []int{1, 2, 4, 8, 12}

// Bounds by which the walk changes the number of passes, as shares of HOT updates in a segment.
const (
	// roomy means that pages have room to spare: fewer passes will do.
	roomy = 0.97
	// tight means that more passes would pay.
	tight = 0.9
	// useless means that passes after the first find hardly any room: old versions cannot be removed yet, because some
	// snapshot may still see them.
	useless = 0.2
	// plainFor is how long the walk does without passes after it found them useless.
	plainFor = 30 * time.Second
	// tellingUpdates is how many updates a segment needs to say anything.
	tellingUpdates = 200
)

// interleaving chooses the number of passes of a segment, and learns from those that are done.
type interleaving struct {
	mu sync.Mutex
	// rung and floor are indexes of passCounts: the current choice, and the smallest that was not found too small.
	rung, floor int
	// plainUntil is when passes are tried again after they were found useless.
	plainUntil time.Time
	// total is what this apply has updated so far.
	total tally
}

// tally counts updates and those among them that were HOT.
type tally struct{ updates, hot int64 }

func (t *tally) add(other tally) { t.updates += other.updates; t.hot += other.hot }

// share is the share of HOT updates; of none, it is 1.
func (t tally) share() float64 {
	if t.updates == 0 {
		return 1
	}
	return float64(t.hot) / float64(t.updates)
}

func newInterleaving() *interleaving { return &interleaving{rung: len(passCounts) - 1, floor: 1} }

// passes returns how many passes a segment of the leaf should have.
func (i *interleaving) passes(most int, now time.Time) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	if now.Before(i.plainUntil) {
		return 1
	}
	return max(min(passCounts[i.rung], most), 1)
}

// learn takes the updates of a segment that was walked in so many passes, the first of which moves rows away for the rest.
func (i *interleaving) learn(passes, most int, first, rest tally, now time.Time) {
	all := first
	all.add(rest)
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case passes <= 1 || all.updates < tellingUpdates:
	case rest.share() < useless:
		i.plainUntil = now.Add(plainFor)
	case all.share() >= roomy && i.rung > i.floor:
		i.rung = min(i.rung, rungOf(passes)) - 1
		i.rung = max(i.rung, i.floor)
	case all.share() < tight && passes < most && i.rung < len(passCounts)-1:
		i.rung++
		i.floor = i.rung
	}
}

func rungOf(passes int) int {
	if rung := slices.Index(passCounts, passes); rung >= 0 {
		return rung
	}
	return len(passCounts) - 1
}

// note counts the updates of a batch.
func (i *interleaving) note(t tally) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.total.add(t)
}

// hotPercent is the share of HOT updates of this apply, or nil before there were any.
func (i *interleaving) hotPercent() *float64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.total.updates == 0 {
		return nil
	}
	percent := 100 * i.total.share()
	return &percent
}

// isUseless reports whether the walk does without passes because they were found useless.
func (i *interleaving) isUseless(now time.Time) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return now.Before(i.plainUntil)
}

// nextPass returns the end of the pass that begins at low, in hashes.
func nextPass(low int16, passes int) (high int16) {
	share := max(ledger.HashRange/max(passes, 1), 1)
	end := int(low) + share
	if end > ledger.HashRange-share/2 { // what a division leaves over is no pass of its own
		end = ledger.HashRange
	}
	return int16(end) //nolint:gosec // at most HashRange
}

// mostPasses returns how many passes may pay on a leaf. The fewer indexes, the less a HOT update saves; one that holds a
// target rules it out. More passes than a page has rows are of no use.
func mostPasses(ctx context.Context, tx pgx.Tx, table *pg.Table, leaf pg.Leaf, targets []string) (most int, err error) {
	var indexes int
	var hasTarget bool
	// An index of a summarizing method, such as BRIN, does not stand in the way since PostgreSQL 16.
	err = tx.QueryRow(ctx, `
		SELECT count(*),
		       coalesce(bool_or((m.amname <> 'brin' OR current_setting('server_version_num')::int < 160000)
		                        AND EXISTS (SELECT FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
		                                     WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
		                                       AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid
		                                       AND a.attname = ANY($2))), false)
		  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
		 WHERE i.indrelid = $1 AND i.indisready`, leaf.OID, targets).Scan(&indexes, &hasTarget)
	if err != nil {
		return 0, fmt.Errorf("list the indexes of %s: %w", leaf.Name, err)
	}
	switch {
	case hasTarget:
		most = 1
	case indexes <= 1:
		most = 4
	case indexes == 2:
		most = 8
	default:
		most = passCounts[len(passCounts)-1]
	}
	if pages := table.Pages(); table.EstimatedRows > 0 && pages > 0 {
		most = min(most, max(int(table.EstimatedRows/float64(pages)), 1))
	}
	return most, nil
}
