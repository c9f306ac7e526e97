package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// slice is the width of a point of the chart.
const slice = 250 * time.Millisecond

// waits are the times that transactions took since a moment.
type waits struct {
	think time.Duration

	mu        sync.Mutex
	since     time.Time
	latencies *hdrhistogram.Histogram // microseconds
	max       time.Duration
	done      int
	slices    []time.Duration // the longest wait that somebody had behind them in each slice
}

func newWaits(think time.Duration) *waits {
	return &waits{think: think, since: time.Now(), latencies: hdrhistogram.New(1, time.Hour.Microseconds(), 3)}
}

// record counts a transaction. A writer that was kept waiting counts also for the transactions that it would have begun
// meanwhile: without them a stall of a minute would be one slow transaction among thousands.
func (w *waits) record(began, ended time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	took := ended.Sub(began)
	// An error would only say that the value is out of range, which min prevents.
	_ = w.latencies.RecordCorrectedValue(min(took, time.Hour).Microseconds(), max(w.think.Microseconds(), 1))
	w.max = max(w.max, took)
	w.done++
	for i := max(0, int(began.Sub(w.since)/slice)); i <= int(ended.Sub(w.since)/slice); i++ {
		for len(w.slices) <= i {
			w.slices = append(w.slices, 0)
		}
		end := w.since.Add(time.Duration(i+1) * slice)
		w.slices[i] = max(w.slices[i], min(took, end.Sub(began)))
	}
}

// reset forgets what was recorded. A transaction in flight is recorded afterwards with its whole duration.
func (w *waits) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since, w.max, w.done, w.slices = time.Now(), 0, 0, nil
	w.latencies.Reset()
}

// some waits until there is something to tell: a small table is filled before a single transaction has ended.
func (w *waits) some(ctx context.Context) error {
	for deadline := time.Now().Add(patience); ; {
		w.mu.Lock()
		done := w.done
		w.mu.Unlock()
		if done > 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no writer got through in %s", patience)
		}
		if err := sleep(ctx, time.Millisecond); err != nil {
			return err
		}
	}
}

// felt is what the writers felt in a stretch of time. Durations are in milliseconds.
type felt struct {
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"transactions_per_second"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	Longest   float64 `json:"longest_ms"`
	// Slices are the longest waits in each quarter of a second.
	Slices []float64 `json:"longest_ms_per_250ms,omitempty"`
}

func (w *waits) felt() felt {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := felt{
		Seconds: time.Since(w.since).Seconds(),
		P50:     float64(w.latencies.ValueAtPercentile(50)) / 1000,
		P99:     float64(w.latencies.ValueAtPercentile(99)) / 1000,
		Longest: milliseconds(w.max),
	}
	f.PerSecond = float64(w.done) / f.Seconds
	for _, s := range w.slices {
		f.Slices = append(f.Slices, milliseconds(s))
	}
	return f
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
