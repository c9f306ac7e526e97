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

const (
	defaultWriters  = 8
	keptErrors      = 5                     // of each writer
	reconnectPause  = 10 * time.Millisecond // between a writer's attempts to get a new connection
	longestRecorded = time.Hour             // longer transactions count as this long
)

// Transaction is one unit of work of a writer: it begins and commits by itself. The writer rolls back what it leaves
// open.
type Transaction func(ctx context.Context, conn *pgx.Conn, random *rand.Rand) error

// WriterOptions say what writers do.
type WriterOptions struct {
	Transaction Transaction
	Writers     int           // 0 is 8
	Name        string        // application_name without the number; "" is "service", which gives service-1, service-2, …
	Names       []string      // application_name of each writer, in place of Writers and Name
	Pause       time.Duration // of each writer after each transaction
	Seed        uint64        // the random numbers of writer n are those of PCG(Seed, n)
}

// Writers stand for live services: each has a connection of its own and runs transactions until it is stopped. A writer
// whose connection breaks counts an error and connects again.
type Writers struct {
	stop     chan struct{}
	stopOnce sync.Once
	running  sync.WaitGroup
	writers  []*writer

	mu    sync.Mutex
	since time.Time
	until time.Time // zero while they run
}

// WriterStats are what one writer, or all of them, did and felt.
type WriterStats struct {
	Name         string // application_name; empty for the total
	Transactions int64  // that committed
	Errors       int64
	FirstErrors  []error       // of each writer at most five
	P50          time.Duration // of the time a transaction took, failed ones included
	P99          time.Duration
	Max          time.Duration // the longest stall, counting transactions that have not ended yet
}

// Stats are the totals over all writers, and each writer's own part.
type Stats struct {
	WriterStats
	Elapsed time.Duration // since the start or the last ResetStats, until Stop
	Writers []WriterStats
}

// StartWriters connects the writers and sets them to work. When ctx ends, transactions are cancelled and the writers
// end, without counting that as errors.
func StartWriters(ctx context.Context, connString string, options WriterOptions) (*Writers, error) {
	writers := &Writers{stop: make(chan struct{})}
	for number, name := range options.names() {
		config, err := pgx.ParseConfig(connString)
		if err != nil {
			return nil, err
		}
		config.RuntimeParams["application_name"] = name
		writers.writers = append(writers.writers, &writer{
			name:      name,
			config:    config,
			options:   options,
			random:    rand.New(rand.NewPCG(options.Seed, uint64(number))),
			latencies: hdrhistogram.New(1, longestRecorded.Microseconds(), 3),
		})
	}
	for i, writer := range writers.writers {
		var err error
		if writer.conn, err = pgx.ConnectConfig(ctx, writer.config); err != nil {
			for _, connected := range writers.writers[:i] {
				connected.close()
			}
			return nil, fmt.Errorf("connect %s: %w", writer.name, err)
		}
	}
	writers.since = time.Now()
	for _, writer := range writers.writers {
		writers.running.Go(func() { writer.run(ctx, writers.stop) })
	}
	return writers, nil
}

func (o WriterOptions) names() []string {
	if len(o.Names) > 0 {
		return o.Names
	}
	if o.Writers == 0 {
		o.Writers = defaultWriters
	}
	if o.Name == "" {
		o.Name = "service"
	}
	names := make([]string, o.Writers)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%d", o.Name, i+1)
	}
	return names
}

// Stop lets every transaction in flight end, closes the connections, and returns the final statistics.
func (w *Writers) Stop() Stats {
	w.stopOnce.Do(func() {
		close(w.stop)
		w.running.Wait()
		w.mu.Lock()
		w.until = time.Now()
		w.mu.Unlock()
	})
	return w.Stats()
}

// Stats is a snapshot of the statistics; the writers go on.
func (w *Writers) Stats() Stats {
	w.mu.Lock()
	stats := Stats{Elapsed: time.Since(w.since)}
	if !w.until.IsZero() {
		stats.Elapsed = w.until.Sub(w.since)
	}
	w.mu.Unlock()

	total := hdrhistogram.New(1, longestRecorded.Microseconds(), 3)
	for _, writer := range w.writers {
		own := writer.stats(total)
		stats.Transactions += own.Transactions
		stats.Errors += own.Errors
		stats.FirstErrors = append(stats.FirstErrors, own.FirstErrors...)
		stats.Max = max(stats.Max, own.Max)
		stats.Writers = append(stats.Writers, own)
	}
	stats.P50, stats.P99 = percentile(total, 50), percentile(total, 99)
	return stats
}

// ResetStats forgets what was recorded. A transaction in flight is recorded afterwards with its whole duration.
func (w *Writers) ResetStats() {
	w.mu.Lock()
	w.since = time.Now()
	w.mu.Unlock()
	for _, writer := range w.writers {
		writer.reset()
	}
}
