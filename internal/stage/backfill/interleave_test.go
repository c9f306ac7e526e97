package backfill

import (
	"testing"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
)

// Every row's turn comes exactly once, whatever the number of passes.
func TestPassesCoverAllHashes(t *testing.T) {
	for _, passes := range []int{1, 2, 3, 4, 7, 8, 12, 100, 2000} {
		low, count := int16(0), 0
		for low < ledger.HashRange {
			high := nextPass(low, passes)
			if high <= low || high > ledger.HashRange {
				t.Fatalf("%d passes: the one from %d ends at %d", passes, low, high)
			}
			low = high
			count++
		}
		if passes <= passCounts[len(passCounts)-1] && count != passes {
			t.Errorf("%d passes became %d", passes, count)
		}
	}
}

func TestInterleavingLearns(t *testing.T) {
	const most = 12
	now := time.Now()
	full, none := tally{1000, 1000}, tally{1000, 0}
	segment := func(i *interleaving, first, rest tally) int {
		passes := i.passes(most, now)
		i.learn(passes, most, first, rest, now)
		return i.passes(most, now)
	}
	t.Run("roomy pages need fewer passes", func(t *testing.T) {
		i := newInterleaving()
		for range 10 {
			segment(i, full, tally{9000, 9000})
		}
		if got := i.passes(most, now); got != 2 {
			t.Errorf("passes = %d, want 2", got)
		}
	})
	t.Run("full pages keep the most", func(t *testing.T) {
		i := newInterleaving()
		if got := segment(i, none, tally{11000, 9000}); got != most {
			t.Errorf("passes = %d, want %d", got, most)
		}
	})
	t.Run("what was too few is not tried again", func(t *testing.T) {
		i := newInterleaving()
		segment(i, full, tally{9000, 9000})
		if got := segment(i, none, tally{9000, 8000}); got != most {
			t.Errorf("passes = %d after too few, want %d", got, most)
		}
		if got := segment(i, full, tally{9000, 9000}); got != most {
			t.Errorf("passes = %d, want %d: fewer were too few before", got, most)
		}
	})
	t.Run("useless passes are left out for a while", func(t *testing.T) {
		i := newInterleaving()
		if got := segment(i, none, tally{9000, 100}); got != 1 || !i.isUseless(now) {
			t.Errorf("passes = %d, useless = %t", got, i.isUseless(now))
		}
		later := now.Add(plainFor)
		if got := i.passes(most, later); got != most || i.isUseless(later) {
			t.Errorf("passes = %d after %s, want %d", got, plainFor, most)
		}
	})
	t.Run("a few rows say nothing", func(t *testing.T) {
		i := newInterleaving()
		if got := segment(i, tally{10, 0}, tally{50, 0}); got != most {
			t.Errorf("passes = %d, want %d", got, most)
		}
	})
	t.Run("a leaf bounds the passes", func(t *testing.T) {
		if got := newInterleaving().passes(1, now); got != 1 {
			t.Errorf("passes = %d, want 1", got)
		}
	})
}
