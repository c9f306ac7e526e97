// Command bench measures what a column change costs: how fast and how clean the backfill is beside the ways that people use
// without it, and what the application feels meanwhile. It brings its own throwaway server. Everything is compared with
// something else in the same run, because only ratios mean anything on a machine that others use too.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

func main() {
	if os.Getenv(childVariable) != "" {
		os.Exit(childMain())
	}
	chosen, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		os.Exit(2) // the flag package has said why
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, chosen, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // the server ends with the process
	}
}

// run measures the chosen scenarios. What one of them could not finish is an error, but the figures of the others are
// still told.
func run(ctx context.Context, o options, to, progress io.Writer) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.limit, fmt.Errorf("not done within %s (-limit)", o.limit))
	defer cancel()
	b, err := begin(ctx, o, progress)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.end()) }()
	var failed []error
	for _, s := range scenarios {
		if !slices.Contains(o.only, s.name) {
			continue
		}
		err := s.run(ctx, b)
		if ctx.Err() != nil {
			err = context.Cause(ctx) // whatever failed, failed because of this
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", s.name, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(append(failed, b.report.write(o, to))...)
}

// scenario is a group of measurements that can be asked for by name. It puts its figures into the report.
type scenario struct {
	name, measures string
	run            func(ctx context.Context, b *bench) error
}

var scenarios = []scenario{
	{"backfill", "speed and cost of filling two columns, with nothing else going on", runBackfill},
	{"writers", "what writers feel while the columns are filled", runWriters},
	{"stall", "what writers feel when a column is added behind a long reader", runStall},
	{"trigger", "what keeping two columns equal adds to a write", runTrigger},
	{"resume", "what is done twice after a kill -9", runResume},
	{"memory", "the memory of a process that runs the backfill", runMemory},
	{"refresh", "what a plan asks of the database when nothing has changed", runRefresh},
}
