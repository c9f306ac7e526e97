// Package load reads how much a server has to do, decides whether a backfill must wait, and says why.
package load

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// Verdict is what follows from the last readings.
type Verdict struct {
	// Pause means that no batch may begin.
	Pause bool
	// Budget is the share of the usual size that batches may have, above 0 and up to 1.
	Budget float64
	// Reason says what makes batches wait or shrink, as in "replica_lag of standby1: 12 s and 40 MiB > 10 s and 16 MiB", or "".
	Reason string
	// Blockers are sessions that are in the way, or that wait for the backfill, or "".
	Blockers string
}

// lookEvery is how often the signals are read. A look costs the server a few milliseconds.
const lookEvery = time.Second

// Monitor reads the signals of one backfill.
type Monitor struct {
	reader    *reader
	limits    Limits
	relations []int64
	every     time.Duration

	mu      sync.Mutex
	decider *decider
	tracked map[uint32]int // how many batches the session works for
}

// NewMonitor returns a monitor that reads over db. relations are the tables, or partitions, that the backfill writes.
func NewMonitor(db *pg.DB, limits Limits, relations []uint32, log *slog.Logger) *Monitor {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	m := &Monitor{limits: limits, every: lookEvery, tracked: map[uint32]int{}}
	for _, oid := range relations {
		m.relations = append(m.relations, int64(oid))
	}
	m.reader = newReader(db, &m.limits)
	m.decider = newDecider(time.Now(), &m.limits, log)
	return m
}

// Run reads the signals about once a second until ctx ends, and then returns nil. What it cannot read is unknown, which
// the verdict tells; it is no error.
func (m *Monitor) Run(ctx context.Context) error {
	if len(m.reader.parts) == 0 {
		<-ctx.Done()
		return nil
	}
	ticker := time.NewTicker(m.every)
	defer ticker.Stop()
	for {
		m.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// look reads the signals once.
func (m *Monitor) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	found, err := m.reader.read(ctx, look{limits: &m.limits, relations: m.relations, tracked: m.pids()})

	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.decider.observeFailure(err)
		return
	}
	m.decider.observe(time.Now(), found)
	for _, p := range slices.Clone(m.reader.parts) {
		if why := found.failed[p.signals[0]]; p.query == nil && isHidden(why) {
			m.reader.drop(p)
			m.decider.forget(p.signals, why)
		}
	}
}

// Verdict returns what follows from the last readings. It does not wait for the server.
func (m *Monitor) Verdict(now time.Time) Verdict {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.decider.verdict(now)
}

// Track tells the monitor that a session works for the backfill, so that it can see who waits for it. The caller calls
// the result when the session's batch has ended. pid is what pg_backend_pid() returns: a pooler tells another number when the
// session begins.
func (m *Monitor) Track(pid uint32) (ended func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tracked[pid]++
	return sync.OnceFunc(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.tracked[pid]--; m.tracked[pid] == 0 {
			delete(m.tracked, pid)
		}
	})
}

// pids returns the sessions that work for the backfill now.
func (m *Monitor) pids() []int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	pids := make([]int64, 0, len(m.tracked))
	for pid := range maps.Keys(m.tracked) {
		pids = append(pids, int64(pid))
	}
	return pids
}
