package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// stallFigures are of the ways to add a column while a long reader is in the way.
type stallFigures []stalled

// stalled is what one way did to the writers.
type stalled struct {
	Way    string  `json:"way"`
	Took   float64 `json:"took_seconds"` // until the column was there; the reader is most of it
	Felt   felt    `json:"felt"`
	Errors int64   `json:"errors"`
}

// addition is one way to add a column. $1 of the column's name makes each its own.
type addition struct {
	Name string
	run  func(ctx context.Context, t *trial, sql string) error
}

const patientWay = "lock discipline"

var additions = []addition{
	{"plain ALTER TABLE", func(ctx context.Context, t *trial, sql string) error {
		_, err := t.Owner.Exec(ctx, sql)
		return err
	}},
	{"lock_timeout 2s, again after 1s", alterWithTimeout},
	{patientWay, alterWithRunner},
}

func runStall(ctx context.Context, b *bench) (err error) {
	t, err := b.trial(ctx, "stall")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.drop(ctx)) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for i, a := range additions {
		s, err := addBehindReader(ctx, b, t, a, fmt.Sprintf("ALTER TABLE users ADD COLUMN added_%d text", i))
		if s.Way != "" {
			b.report.Stall = append(b.report.Stall, s)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", a.Name, err)
		}
	}
	return nil
}

// addBehindReader adds a column while a transaction that only reads holds its lock on the table.
func addBehindReader(ctx context.Context, b *bench, t *trial, a addition, sql string) (s stalled, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tr, writers, err := startTraffic(ctx, b, t)
	if err != nil {
		return s, err
	}
	defer writers.Stop()
	if err := settle(ctx, b, tr); err != nil {
		return s, err
	}
	reading, read := make(chan struct{}), make(chan error, 1)
	go func() { read <- readFor(ctx, t, b.reader, reading) }()
	select {
	case <-reading:
	case err := <-read:
		return s, err
	}
	tr.waits.reset()
	started := time.Now()
	err = a.run(ctx, t, sql)
	took := time.Since(started)
	if err != nil {
		cancel() // the reader need not stay
	}
	if err := errors.Join(err, <-read, tr.waits.some(ctx)); err != nil {
		return s, err
	}
	stats := writers.Stop()
	s = stalled{Way: a.Name, Took: took.Seconds(), Felt: tr.waits.felt(), Errors: stats.Errors}
	s.Felt.Slices = nil
	b.say("%s: writers waited for up to %s", a.Name, seconds(s.Felt.Longest/1000))
	return s, trafficError(stats)
}

// readFor is a report that keeps its transaction open. It closes the channel once it holds its lock.
func readFor(ctx context.Context, t *trial, duration time.Duration, reading chan<- struct{}) error {
	return pgx.BeginFunc(ctx, t.Super, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT FROM users LIMIT 1"); err != nil {
			return err
		}
		close(reading)
		return sleep(ctx, duration)
	})
}

// alterWithTimeout is what most guides say.
func alterWithTimeout(ctx context.Context, t *trial, sql string) error {
	for {
		err := pgx.BeginFunc(ctx, t.Owner, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '2s'"); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, sql)
			return err
		})
		if err == nil || !pg.IsContention(err) {
			return err
		}
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
	}
}

// alterWithRunner is the product.
func alterWithRunner(ctx context.Context, t *trial, sql string) error {
	env := newEnv(t.ConnString(), slog.New(slog.DiscardHandler))
	defer env.DB.Close()
	var table *pg.Table
	err := env.DB.Look(ctx, func(tx pgx.Tx) (err error) {
		table, err = pg.ReadTable(ctx, tx, usersTable)
		return err
	})
	if err != nil {
		return err
	}
	return env.Runner.Run(ctx, ddl.Change{
		Title: "Add a column to " + usersTable.String(), Table: table, Lock: ddl.AccessExclusive,
		Work: func(ctx context.Context, tx pgx.Tx) error { return ddl.Exec(ctx, tx, usersTable.String(), sql) },
	})
}

func (figures stallFigures) print(to io.Writer) error {
	fmt.Fprint(to, "\nWhat writers feel while a column is added behind a long reader:\n\n")
	table := newTable(to, "", "took", "p99", "longest", "errors")
	for _, s := range figures {
		table.row(s.Way, seconds(s.Took), seconds(s.Felt.P99/1000), seconds(s.Felt.Longest/1000), count(s.Errors))
	}
	return table.flush()
}

func (figures stallFigures) targets() (targets []target) {
	for _, s := range figures {
		if s.Way == patientWay {
			targets = append(targets, atMost("column added with "+s.Way+": longest stall", s.Felt.Longest, 150).in("ms"))
		}
	}
	return targets
}
