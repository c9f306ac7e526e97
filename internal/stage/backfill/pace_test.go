package backfill

import (
	"testing"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
)

const target = 100 * time.Millisecond

// large is a table of which no batch holds a noticeable part.
const large = 1 << 30

var wholePass = ledger.Segment{End: 1 << 20, High: ledger.HashRange}

// run gives the pace batches of a server that takes so long and writes so much for each page.
func run(p *pace, s ledger.Segment, batches int, perPage time.Duration, walPerPage int64) (pages int64) {
	for range batches {
		pages = p.next(s, large, 1, 0)
		p.done(s, pages, batch{rows: pages * 50, took: time.Duration(pages) * perPage, wal: pages * walPerPage})
	}
	return p.next(s, large, 1, 0)
}

func TestPaceReachesItsTarget(t *testing.T) {
	p := newPace(target, 2)
	if got := run(p, wholePass, 20, time.Millisecond, 1000); got < 95 || got > 105 {
		t.Errorf("%d pages of 1 ms each, want about 100", got)
	}
	if p.limitedBy() != limitedByTarget {
		t.Errorf("limited by %s", p.limitedBy())
	}
}

func TestPaceGrowsSlowly(t *testing.T) {
	p := newPace(target, 2)
	last := p.next(wholePass, large, 1, 0)
	for range 30 {
		next := run(p, wholePass, 1, time.Microsecond, 0)
		if next > 2*last {
			t.Fatalf("from %d to %d pages in one batch", last, next)
		}
		last = next
	}
	if last != maxPages || p.limitedBy() != limitedByWindow {
		t.Errorf("%d pages limited by %s, want %d by %s", last, p.limitedBy(), maxPages, limitedByWindow)
	}
}

func TestPaceShrinksAtOnce(t *testing.T) {
	p := newPace(target, 2)
	usual := run(p, wholePass, 20, time.Millisecond, 0)
	if got := run(p, wholePass, 1, 10*time.Millisecond, 0); got > usual/4 {
		t.Errorf("%d pages after a batch of ten times the target, want at most %d", got, usual/4)
	}
	if p.limitedBy() != limitedByOverrun {
		t.Errorf("limited by %s", p.limitedBy())
	}
}

func TestPaceCapsWAL(t *testing.T) {
	p := newPace(target, 2)
	if got := run(p, wholePass, 40, time.Microsecond, 1<<20); got != 16 {
		t.Errorf("%d pages of 1 MiB of WAL each, want 16", got)
	}
	if p.limitedBy() != limitedByWAL {
		t.Errorf("limited by %s", p.limitedBy())
	}
}

func TestPaceKnowsPassesApart(t *testing.T) {
	p := newPace(target, 2)
	first, later := wholePass, wholePass
	first.High = 128
	later.Low, later.High = 128, 256
	slow, fast := run(p, first, 20, 800*time.Microsecond, 0), run(p, later, 20, 100*time.Microsecond, 0)
	if slow < 120 || slow > 130 || fast < 950 || fast > 1024 {
		t.Errorf("windows of %d and %d pages, want about 125 and 1000", slow, fast)
	}
	if got := p.next(first, large, 1, 0); got != slow {
		t.Errorf("the first pass got a window of %d pages after a fast one, want %d", got, slow)
	}
}

func TestPaceHalvesWhenRowsAreHeld(t *testing.T) {
	p := newPace(target, 2)
	usual := run(p, wholePass, 20, time.Millisecond, 0)
	p.failed()
	p.failed()
	if got := p.next(wholePass, large, 1, 0); got > usual/4 || p.limitedBy() != limitedByContention {
		t.Errorf("%d pages limited by %s after two timeouts, want at most %d", got, p.limitedBy(), usual/4)
	}
	if got := run(p, wholePass, 20, time.Millisecond, 0); got < usual*9/10 {
		t.Errorf("%d pages long after the timeouts, want about %d", got, usual)
	}
}

func TestPaceHeedsTheServerAndTheRate(t *testing.T) {
	p := newPace(target, 2)
	usual := run(p, wholePass, 20, time.Millisecond, 0)
	if got := p.next(wholePass, large, 0.5, 0); got != usual/2 || p.limitedBy() != limitedByThrottle {
		t.Errorf("%d pages with half the budget limited by %s, want %d", got, p.limitedBy(), usual/2)
	}
	if got := p.next(wholePass, large, 1, 500); got != 10 {
		t.Errorf("%d pages for 500 rows of 50 a page, want 10", got)
	}
}

func TestPaceHoldsFewOfATablesRows(t *testing.T) {
	for _, test := range []struct {
		workers    int
		leaf, want int64
	}{{1, 10, fewUnits}, {1, 17_000, 34}, {2, 17_000, 17}, {2, 400_000, 400}} {
		p := newPace(target, test.workers)
		run(p, wholePass, 40, time.Microsecond, 0)
		if got := p.next(wholePass, test.leaf, 1, 0); got != test.want || p.limitedBy() != limitedByWindow {
			t.Errorf("%d workers get %d of %d pages limited by %s, want %d", test.workers, got, test.leaf, p.limitedBy(), test.want)
		}
	}
}
