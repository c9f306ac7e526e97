package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// options say what is measured, and how large.
type options struct {
	only    []string
	rows    int
	workers []int
	rounds  int
	major   int

	writers int
	think   time.Duration // of a writer between two transactions
	idle    time.Duration // how long writers are measured before anything else happens
	reader  time.Duration // how long the reader keeps its transaction open
	kills   int

	triggerRows int
	tables      int

	json    string // a file for the figures, or ""
	svg     string // a file for the chart of the writers' waits, or ""
	verbose bool
	limit   time.Duration
}

func parse(arguments []string) (options, error) {
	var chosen options
	var only, workers string
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&only, "only", "", "comma-separated scenarios; empty is all of them:\n"+describeScenarios())
	flags.IntVar(&chosen.rows, "rows", 1_000_000, "rows of the table")
	flags.StringVar(&workers, "workers", "1,2", "comma-separated numbers of workers with which the backfill is measured")
	flags.IntVar(&chosen.rounds, "rounds", 1, "how often the scenario backfill is measured; the fastest round of each way counts")
	major, _ := strconv.Atoi(os.Getenv(pgtest.MajorVariable)) // what is not a number counts as not set
	flags.IntVar(&chosen.major, "major", major, "PostgreSQL major, 14 to 18, or 0 for any; "+pgtest.MajorVariable+" does the same")
	flags.IntVar(&chosen.writers, "writers", 8, "writers that stand for the application")
	flags.DurationVar(&chosen.think, "think", 8*time.Millisecond, "pause of a writer between two transactions: a machine that is full already shows nothing")
	flags.DurationVar(&chosen.idle, "idle", 10*time.Second, "how long writers are measured alone, before each way")
	flags.DurationVar(&chosen.reader, "reader", 30*time.Second, "how long the reader of the scenario stall stays in its transaction")
	flags.IntVar(&chosen.kills, "kills", 4, "how often the scenario resume kills the backfill")
	flags.IntVar(&chosen.triggerRows, "trigger-rows", 100_000, "rows of each statement of the scenario trigger")
	flags.IntVar(&chosen.tables, "tables", 67, "tables of the scenario refresh, each with three resources")
	flags.StringVar(&chosen.json, "json", "", "file for the figures as JSON")
	flags.StringVar(&chosen.svg, "svg", "", "file for the chart of the writers' waits")
	flags.BoolVar(&chosen.verbose, "v", false, "show what the backfill logs")
	flags.DurationVar(&chosen.limit, "limit", time.Hour, "give up after that time")
	if err := flags.Parse(arguments); err != nil {
		return chosen, err
	}
	err := chosen.read(only, workers)
	switch {
	case err != nil:
	case flags.NArg() > 0:
		err = errors.New("there are no arguments beside the flags")
	case min(chosen.rows, chosen.rounds, chosen.writers, chosen.kills, chosen.triggerRows, chosen.tables) < 1,
		min(chosen.think, chosen.idle, chosen.reader, chosen.limit) <= 0:
		err = errors.New("all numbers and durations must be above 0")
	}
	if err != nil {
		fmt.Fprintln(flags.Output(), err)
	}
	return chosen, err
}

// read takes the flags that are lists.
func (o *options) read(only, workers string) error {
	known := make([]string, len(scenarios))
	for i, s := range scenarios {
		known[i] = s.name
	}
	o.only = known
	if only != "" {
		o.only = strings.Split(only, ",")
	}
	for _, name := range o.only {
		if !slices.Contains(known, name) {
			return fmt.Errorf("-only %s: there is no such scenario", name)
		}
	}
	for number := range strings.SplitSeq(workers, ",") {
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 {
			return fmt.Errorf("-workers %s: not a list of numbers above 0", workers)
		}
		o.workers = append(o.workers, n)
	}
	return nil
}

func describeScenarios() string {
	var b strings.Builder
	for _, s := range scenarios {
		fmt.Fprintf(&b, "  %-9s %s\n", s.name, s.measures)
	}
	return strings.TrimRight(b.String(), "\n")
}
