package pgtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/jackc/pgx/v5"
)

// writer is one of the Writers.
type writer struct {
	name    string
	config  *pgx.ConnConfig
	options WriterOptions
	conn    *pgx.Conn
	random  *rand.Rand

	mu           sync.Mutex
	latencies    *hdrhistogram.Histogram // microseconds
	longest      time.Duration
	transactions int64
	errors       int64
	firstErrors  []error
	began        time.Time // of the transaction in flight; zero between two
}

func (w *writer) run(ctx context.Context, stop <-chan struct{}) {
	defer func() { w.close() }()
	for {
		pause := w.options.Pause
		if w.conn.IsClosed() && !w.connect(ctx) {
			pause = reconnectPause
		} else {
			w.transact(ctx)
		}
		if !wait(ctx, stop, pause) {
			return
		}
	}
}

// wait returns false when the writer has to end.
func wait(ctx context.Context, stop <-chan struct{}, pause time.Duration) bool {
	select {
	case <-stop:
		return false
	case <-ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}

func (w *writer) connect(ctx context.Context) bool {
	conn, err := pgx.ConnectConfig(ctx, w.config)
	if err != nil {
		w.failed(ctx, err)
		return false
	}
	w.conn = conn
	return true
}

func (w *writer) transact(ctx context.Context) {
	began := time.Now()
	w.mu.Lock()
	w.began = began
	w.mu.Unlock()

	err := w.options.Transaction(ctx, w.conn, w.random)
	if status := w.conn.PgConn().TxStatus(); status != 'I' && !w.conn.IsClosed() {
		if _, rollbackErr := w.conn.Exec(ctx, "ROLLBACK"); err == nil {
			err = rollbackErr
		}
	}

	took := time.Since(began)
	w.mu.Lock()
	w.began = time.Time{}
	w.longest = max(w.longest, took)
	// An error would only say that the value is out of range, which min prevents.
	_ = w.latencies.RecordValue(min(took, longestRecorded).Microseconds())
	if err == nil {
		w.transactions++
	}
	w.mu.Unlock()
	if err != nil {
		w.failed(ctx, err)
	}
}

func (w *writer) failed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return // told to end: not the server's doing
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errors++
	if len(w.firstErrors) < keptErrors {
		w.firstErrors = append(w.firstErrors, fmt.Errorf("%s: %w", w.name, err))
	}
}

// stats returns the writer's own statistics and adds its latencies to the total.
func (w *writer) stats(total *hdrhistogram.Histogram) WriterStats {
	w.mu.Lock()
	defer w.mu.Unlock()
	total.Merge(w.latencies)
	stats := WriterStats{
		Name:         w.name,
		Transactions: w.transactions,
		Errors:       w.errors,
		FirstErrors:  append([]error(nil), w.firstErrors...),
		P50:          percentile(w.latencies, 50),
		P99:          percentile(w.latencies, 99),
		Max:          w.longest,
	}
	if !w.began.IsZero() {
		stats.Max = max(stats.Max, time.Since(w.began))
	}
	return stats
}

func (w *writer) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.latencies.Reset()
	w.longest, w.transactions, w.errors, w.firstErrors = 0, 0, 0, nil
}

// close ends the connection. Its error is of no use: the connection is given up either way.
func (w *writer) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = w.conn.Close(ctx)
}

func percentile(latencies *hdrhistogram.Histogram, percent float64) time.Duration {
	return time.Duration(latencies.ValueAtPercentile(percent)) * time.Microsecond
}
