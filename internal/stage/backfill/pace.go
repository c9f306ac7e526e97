package backfill

import (
	"sync"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
)

// The rules of the pace. Size follows the rate of the last batches; only statement_timeout bounds the first bad one.
const (
	// startUnits is the size of the first batch, in pages whose rows are all done.
	startUnits = 4
	// maxPages caps a window: pages without work are passed fast, and those after them may be full of it.
	maxPages = 1024
	// decay is the weight of the past in the rate, per batch.
	decay = 0.75
	// earlyGrowth and lateGrowth are how much larger than the last batch the next may be, while the pace has seen few
	// batches and from then on.
	earlyGrowth  = 2
	lateGrowth   = 1.25
	earlyBatches = 10
	// panicFactor is how much longer than its target a batch may take before the past no longer counts.
	panicFactor = 3
	// recovery is how fast sizes come back after rows that others hold have halved them, per batch.
	recovery = 1.25
	// lockedShare and fewUnits cap the part of a leaf's rows that the batches of all workers may hold locked: one in so many,
	// but each not less than these units. A write to some row then hardly ever meets a batch.
	lockedShare = 500
	fewUnits    = 16
	// maxWAL caps what one transaction writes, which standbys and subscribers have to take at once.
	maxWAL = 16 << 20
	// paceBuckets tell passes apart: the first ones move rows, which takes several times as long as later ones.
	paceBuckets = 16
)

// What can decide the speed, besides what the gate waits for.
const (
	limitedByTarget     = "target_duration"
	limitedByWAL        = "wal"
	limitedByWindow     = "window_size"
	limitedByOverrun    = "overrun"
	limitedByContention = "contention"
	limitedByThrottle   = "throttle"
)

// pace decides the size of the next window. All workers share one, because they share the server. It counts in units of
// pages whose rows are all done; a pass over a share of the rows does that share of a unit in each page.
type pace struct {
	mu      sync.Mutex
	target  time.Duration
	workers int
	buckets [paceBuckets]rateMeter
	// held shrinks all sizes after rows were held by others; 1 is no shrinking.
	held float64
	by   string
}

// rateMeter is what is known of passes in a part of the hash range.
type rateMeter struct {
	units, spent, wal, rows float64 // decayed sums: units, seconds, bytes, rows
	size                    float64 // units of the next batch
	batches                 int
	by                      string
}

func newPace(target time.Duration, workers int) *pace {
	return &pace{target: target, workers: workers, held: 1, by: limitedByTarget}
}

// share is the part of each page's rows that the current pass of a segment does.
func share(s ledger.Segment) float64 { return float64(s.High-s.Low) / ledger.HashRange }

// meter returns what is known of the segment's current pass. A pass without past begins with the size of the one before.
func (p *pace) meter(s ledger.Segment) *rateMeter {
	bucket := int(s.Low) * paceBuckets / ledger.HashRange
	m := &p.buckets[bucket]
	if m.size == 0 {
		m.size, m.by = startUnits, limitedByTarget
		for i := bucket - 1; i >= 0; i-- {
			if p.buckets[i].batches > 0 {
				m.size = p.buckets[i].size
				break
			}
		}
	}
	return m
}

// mostUnits is the largest batch on a leaf of so many pages.
func (p *pace) mostUnits(leafPages int64) float64 {
	return float64(max(leafPages/int64(lockedShare*p.workers), fewUnits))
}

// next returns the number of pages for the next window of the segment, which is part of a leaf of leafPages. budget is the
// share of the usual size that the server can bear now; rowsAtOnce bounds the rows of the batch unless it is 0.
func (p *pace) next(s ledger.Segment, leafPages int64, budget, rowsAtOnce float64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.meter(s)
	p.by = m.by
	pages := m.size / share(s)
	if most := p.mostUnits(leafPages); m.size > most {
		pages, p.by = most/share(s), limitedByWindow
	}
	if p.held < 1 {
		pages *= p.held
		p.by = limitedByContention
	}
	if budget < 1 {
		pages *= budget
		p.by = limitedByThrottle
	}
	if rowsAtOnce > 0 && m.rows > 0 {
		pages = min(pages, rowsAtOnce*m.units/m.rows/share(s))
	}
	return clampPages(int64(pages))
}

// done learns from a batch that committed.
func (p *pace) done(s ledger.Segment, pages int64, b batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.meter(s)
	m.batches++
	p.held = min(p.held*recovery, 1)
	units := float64(pages) * share(s)
	if b.took > panicFactor*p.target {
		m.units, m.spent, m.wal, m.rows = 0, 0, 0, 0
		m.size, m.by = max(units/4, 1.0/ledger.HashRange), limitedByOverrun
		return
	}
	m.units = decay*m.units + units
	m.spent = decay*m.spent + b.took.Seconds()
	m.wal = decay*m.wal + float64(b.wal)
	m.rows = decay*m.rows + float64(b.rows)
	want, by := m.units/m.spent*p.target.Seconds(), limitedByTarget
	if perUnit := m.wal / m.units; perUnit*want > maxWAL {
		want, by = maxWAL/perUnit, limitedByWAL
	}
	if most := maxPages * share(s); want > most {
		want, by = most, limitedByWindow
	}
	growth := lateGrowth
	if m.batches < earlyBatches {
		growth = earlyGrowth
	}
	m.size, m.by = min(want, growth*m.size), by
}

// failed learns from a batch that hit a timeout: the next windows are half as large for a while.
func (p *pace) failed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = max(p.held/2, 1.0/64)
	p.by = limitedByContention
}

// limitedBy says what decided the size of the last window.
func (p *pace) limitedBy() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.by
}

func clampPages(pages int64) int64 { return min(max(pages, 1), maxPages) }
