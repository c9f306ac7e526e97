package main

import (
	"context"
	"fmt"
	"time"
)

// usage is what filling the columns cost.
type usage struct {
	Seconds   float64 `json:"seconds"`
	Processor float64 `json:"server_processor_seconds"` // of all processes of the server; 0 if the system does not tell
	WAL       int64   `json:"wal_bytes"`
	Heap      int64   `json:"heap_growth_bytes"`
	Indexes   int64   `json:"index_growth_bytes"`
	Updates   int64   `json:"row_updates"` // more than there are rows if some were updated twice
	HOT       float64 `json:"hot_ratio"`
	Longest   float64 `json:"longest_transaction_seconds"`
}

// patience is how long the server has for what it does by itself in a moment, such as ending a session.
const patience = 60 * time.Second

// meter reads the counters of a trial before and after.
type meter struct {
	trial     *trial
	before    counters
	began     time.Time
	longest   *longestTransaction
	processes processes
}

type counters struct {
	wal, heap, indexes, updates, hot int64
	processor                        time.Duration
}

func startMeter(ctx context.Context, t *trial) (*meter, error) {
	m := &meter{trial: t}
	var err error
	if m.processes, err = processesOf(ctx, t.Server); err != nil {
		return nil, err
	}
	if m.before, err = m.read(ctx); err != nil {
		return nil, err
	}
	if m.longest, err = watchLongest(ctx, t); err != nil {
		return nil, err
	}
	m.began = time.Now()
	return m, nil
}

// stop returns the difference. atLeast is how many updates there were: the server's statistics come a moment later.
func (m *meter) stop(ctx context.Context, atLeast int) (usage, error) {
	took := time.Since(m.began)
	longest, err := m.longest.stop()
	if err != nil {
		return usage{}, err
	}
	if err := m.trial.alone(ctx); err != nil {
		return usage{}, err
	}
	if _, err := m.trial.updates(ctx, m.before.updates+int64(atLeast)); err != nil {
		return usage{}, err
	}
	after, err := m.read(ctx)
	if err != nil {
		return usage{}, err
	}
	u := usage{
		Seconds: took.Seconds(), Longest: longest.Seconds(), Processor: (after.processor - m.before.processor).Seconds(),
		WAL: after.wal - m.before.wal, Heap: after.heap - m.before.heap, Indexes: after.indexes - m.before.indexes,
		Updates: after.updates - m.before.updates,
	}
	if u.Updates > 0 {
		u.HOT = float64(after.hot-m.before.hot) / float64(u.Updates)
	}
	return u, nil
}

func (m *meter) read(ctx context.Context) (c counters, err error) {
	err = m.trial.Super.QueryRow(ctx, `
SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint, pg_relation_size(oid), pg_indexes_size(oid),
       pg_stat_get_tuples_updated(oid), pg_stat_get_tuples_hot_updated(oid)
  FROM pg_class WHERE oid = 'users'::regclass`).Scan(&c.wal, &c.heap, &c.indexes, &c.updates, &c.hot)
	c.processor = m.processes.time()
	return c, err
}

// alone waits until nobody but the bench itself is connected to the trial: a session hands in what it counted when it ends.
func (t *trial) alone(ctx context.Context) error {
	t.Owner.Reset()
	for deadline := time.Now().Add(patience); ; {
		var others int
		err := t.Server.Superuser.QueryRow(ctx, `
SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend' AND usename = $2`,
			t.Name, t.OwnerRole).Scan(&others)
		if err != nil || others == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d sessions are still there", others)
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// updates returns how many updates of rows the server has counted, those that were undone included. Its statistics come a
// moment later than the updates: at least so many must come.
func (t *trial) updates(ctx context.Context, atLeast int64) (updates int64, err error) {
	for deadline := time.Now().Add(patience); ; {
		err := t.Super.QueryRow(ctx, "SELECT pg_stat_get_tuples_updated('users'::regclass)").Scan(&updates)
		if err != nil || updates >= atLeast {
			return updates, err
		}
		if time.Now().After(deadline) {
			return updates, fmt.Errorf("the server counts %d updates of %d rows", updates, atLeast)
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return updates, err
		}
	}
}

// sleep waits between two looks at something.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
