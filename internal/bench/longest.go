package main

import (
	"context"
	"time"
)

// lookEvery is the time between two looks at the open transactions. A look takes a fraction of a millisecond.
const lookEvery = 25 * time.Millisecond

// longestTransaction watches for how long transactions that write stay open: for so long others wait for their rows. It sees
// a transaction's last moments only to within lookEvery.
type longestTransaction struct {
	cancel  context.CancelFunc
	done    chan struct{}
	longest time.Duration
	err     error
}

func watchLongest(ctx context.Context, t *trial) (*longestTransaction, error) {
	conn, err := t.Server.Superuser.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	l := &longestTransaction{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		defer conn.Release()
		for ctx.Err() == nil {
			var seconds float64
			err := conn.QueryRow(ctx, `
SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8
  FROM pg_stat_activity WHERE datname = $1 AND backend_xid IS NOT NULL`, t.Name).Scan(&seconds)
			if err != nil {
				if ctx.Err() == nil {
					l.err = err
				}
				return
			}
			l.longest = max(l.longest, time.Duration(seconds*float64(time.Second)))
			if sleep(ctx, lookEvery) != nil {
				return
			}
		}
	}()
	return l, nil
}

func (l *longestTransaction) stop() (time.Duration, error) {
	l.cancel()
	<-l.done
	return l.longest, l.err
}
