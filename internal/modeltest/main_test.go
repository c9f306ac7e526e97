// Package modeltest writes to tables at random while the stages of column changes come and go, and compares every row with
// a model of what DESIGN §3 says. A failing run is replayed by its seed.
package modeltest

import (
	"flag"
	"os"
	"strconv"
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// Variables of the environment that choose what is run; the flag -seed is the same as the first.
const (
	// seedVariable replays one seed.
	seedVariable = "MODELTEST_SEED"
	// seedsVariable is how many seeds to run.
	seedsVariable = "MODELTEST_SEEDS"
	// firstVariable is the first of them: 1 unless set.
	firstVariable = "MODELTEST_FIRST"
)

var seedFlag = flag.Uint64("seed", 0, "replay one seed of the model test")

// seeds are those that this run is asked for, or so many by default.
func seeds(t *testing.T, byDefault uint64) (all []uint64) {
	t.Helper()
	if *seedFlag > 0 {
		return []uint64{*seedFlag}
	}
	if one := variable(t, seedVariable, 0); one > 0 {
		return []uint64{one}
	}
	first := variable(t, firstVariable, 1)
	for i := range variable(t, seedsVariable, byDefault) {
		all = append(all, first+i)
	}
	return all
}

func variable(t *testing.T, name string, byDefault uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return byDefault
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
