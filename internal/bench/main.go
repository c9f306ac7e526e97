// Command bench measures what the provider costs the application, on a throwaway server of its own. Everything is compared
// with something else in the same run, because only ratios mean anything on a machine that others use too.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

type options struct {
	rows   int
	rounds int
	major  int
	json   string // a file for the figures, or ""
}

func main() {
	chosen, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		os.Exit(2) // the flag package has said why
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, chosen); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // the server ends with the process
	}
}

func parse(arguments []string) (options, error) {
	var chosen options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&chosen.rows, "rows", 100_000, "rows of each statement")
	flags.IntVar(&chosen.rounds, "rounds", 3, "how often everything is measured; the fastest counts")
	flags.StringVar(&chosen.json, "json", "", "file for the figures as JSON")
	major, _ := strconv.Atoi(os.Getenv(pgtest.MajorVariable)) // what is not a number counts as not set
	flags.IntVar(&chosen.major, "major", major, "PostgreSQL major, 14 to 18, or 0 for any; "+pgtest.MajorVariable+" does the same")
	if err := flags.Parse(arguments); err != nil {
		return chosen, err
	}
	if chosen.rows < 1 || chosen.rounds < 1 || flags.NArg() > 0 {
		err := errors.New("-rows and -rounds are at least 1, and there are no arguments beside the flags")
		fmt.Fprintln(flags.Output(), err)
		return chosen, err
	}
	return chosen, nil
}

func run(ctx context.Context, o options) (err error) {
	server, err := pgtest.Start(ctx, pgtest.Options{Major: o.major, Settings: map[string]string{
		// The statements are large, and nothing but the triggers should make a difference between them.
		"shared_buffers": "256MB", "max_wal_size": "4GB", "autovacuum": "off",
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	database, err := server.CreateDatabase(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Drop(context.WithoutCancel(ctx))) }()
	figures, err := measureTriggers(ctx, database, o)
	if err != nil {
		return err
	}
	if err := figures.print(os.Stdout); err != nil || o.json == "" {
		return err
	}
	document, err := json.MarshalIndent(figures, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.json, append(document, '\n'), 0o644) //nolint:gosec // figures are no secret
}
