package modeltest

import (
	"fmt"
	"testing"
)

const (
	defaultSeeds = 12
	// operations are the writes of one seed.
	operations = 250
	// between is how many writes come between two steps of a stage, on average.
	between = 8
)

// TestEveryRowIsAsTheModelSays is one service after the other: sessions of several styles write in turns, and after
// every statement all rows are compared.
func TestEveryRowIsAsTheModelSays(t *testing.T) {
	for _, seed := range seeds(t, defaultSeeds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w := newTable(t, seed, drawTable)
			w.openSessions()
			for range operations {
				if w.random.IntN(between) == 0 {
					w.step()
				}
				w.perform()
			}
			w.compareTwin()
			w.checkNotes()
		})
	}
}
