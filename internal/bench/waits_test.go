package main

import (
	"slices"
	"testing"
	"time"
)

func TestWaits(t *testing.T) {
	w := newWaits(100 * time.Millisecond)
	at := func(d time.Duration) time.Time { return w.since.Add(d) }
	w.record(at(-500*time.Millisecond), at(100*time.Millisecond)) // began before the reset
	w.record(at(260*time.Millisecond), at(262*time.Millisecond))
	w.record(at(300*time.Millisecond), at(800*time.Millisecond))

	f := w.felt()
	// A wait grows from slice to slice while it lasts.
	want := []float64{600, 200, 450, 500}
	if !slices.Equal(f.Slices, want) {
		t.Errorf("slices = %v, want %v", f.Slices, want)
	}
	if f.Longest != 600 {
		t.Errorf("longest = %v ms, want 600", f.Longest)
	}
	// Whoever waits 600 ms would have begun five more transactions.
	if n := w.latencies.TotalCount(); n != 6+1+5 {
		t.Errorf("%d transactions count, want 12", n)
	}
	w.reset()
	if f := w.felt(); f.Longest != 0 || f.Slices != nil || f.P99 != 0 {
		t.Errorf("after a reset: %+v", f)
	}
}
