package backfill

import (
	"sync"
	"time"
)

// The rules of the pace. Size follows the rate of the last batches; only statement_timeout bounds the first bad one.
const (
	// startPages is the window of the first batch.
	startPages = 4
	// maxPages caps a window: pages without work are passed fast, and those after them may be full of it.
	maxPages = 1024
	// decay is the weight of the past in the rate, per batch.
	decay = 0.75
	// maxGrowth is how much larger than the last window the next may be.
	maxGrowth = 2
	// panicFactor is how much longer than its target a batch may take before the past no longer counts.
	panicFactor = 3
)

// pace decides the size of the next window. All workers share one, because they share the server.
type pace struct {
	mu     sync.Mutex
	target time.Duration
	size   int64   // pages
	pages  float64 // decayed sum
	spent  float64 // decayed sum, seconds
}

func newPace(target time.Duration) *pace { return &pace{target: target, size: startPages} }

// next returns the number of pages for the next window.
func (p *pace) next() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.size
}

// done learns from a batch that committed.
func (p *pace) done(pages int64, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if took > panicFactor*p.target {
		p.pages, p.spent = 0, 0
		p.size = clampPages(pages / 4)
		return
	}
	p.pages = decay*p.pages + float64(pages)
	p.spent = decay*p.spent + took.Seconds()
	want := int64(p.pages / p.spent * p.target.Seconds())
	p.size = clampPages(min(want, maxGrowth*p.size))
}

// failed learns from a batch that hit a timeout: the next windows are at most half as large.
func (p *pace) failed(pages int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pages, p.spent = 0, 0
	p.size = clampPages(min(p.size, pages/2))
}

func clampPages(pages int64) int64 { return min(max(pages, 1), maxPages) }
