package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

const (
	pollInterval = 250 * time.Millisecond
	// lineInterval is how often progress is printed where a line cannot be replaced by the next.
	lineInterval = 500 * time.Millisecond
	barLength    = 16 // characters, so that the line fits into 80
)

// progress is what anybody can see of a backfill in the database while it runs.
type progress struct {
	Status        string
	Percent       float64
	RowsUpdated   int64
	RowsEstimated int64
	Elapsed       float64 // seconds
}

// readProgress returns the zero value before there is a backfill.
func readProgress(ctx context.Context, conn pgtest.Querier) (progress, error) {
	rows, err := conn.Query(ctx, `
SELECT status, percent::float8, rows_updated, rows_estimated, extract(epoch FROM elapsed)::float8 AS elapsed
FROM `+pgx.Identifier{ledger.DefaultSchema}.Sanitize()+`.progress
WHERE table_name = 'public.users'
ORDER BY status = 'complete'
LIMIT 1`)
	if err != nil {
		return progress{}, err
	}
	p, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[progress])
	if errors.Is(err, pgx.ErrNoRows) {
		return progress{}, nil
	}
	return p, err
}

// watch shows the progress until ctx ends. What it cannot read, it does not show: the apply has the last word.
func watch(ctx context.Context, conn pgtest.Querier, out *console) {
	defer out.Status("")
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	before, shown := progress{}, time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		}
		since := time.Since(shown)
		// The first line comes with the first tick. A tick that comes a little early counts.
		if !out.terminal && before.Status != "" && since < lineInterval-pollInterval/2 {
			continue
		}
		now, err := readProgress(ctx, conn)
		if err != nil || now.Status == "" {
			continue
		}
		line := now.line(float64(now.RowsUpdated-before.RowsUpdated) / since.Seconds())
		if out.terminal {
			out.Status(indent + now.bar() + line)
		} else {
			out.Line(indent + line)
		}
		before, shown = now, time.Now()
	}
}

func (p progress) line(rate float64) string {
	if p.Status != "walk" {
		// All pages are walked: what services moved meanwhile is filled, and that no row is left is proven.
		return fmt.Sprintf("proving that no row is left, %s rows updated", humanize.Comma(p.RowsUpdated))
	}
	of := ""
	if p.RowsEstimated > 0 {
		of = " of about " + humanize.Comma(p.RowsEstimated)
	}
	return fmt.Sprintf("%5.1f %%  %9s%s rows  %7s rows/s", p.Percent, humanize.Comma(p.RowsUpdated), of, humanize.Comma(int64(rate)))
}

func (p progress) bar() string {
	full := int(min(max(p.Percent, 0), 100) / 100 * barLength)
	return strings.Repeat("█", full) + strings.Repeat("░", barLength-full) + " "
}

// result is how a backfill that has ended went.
func (p progress) result() string {
	elapsed := max(p.Elapsed, 1) // the view counts whole seconds
	return fmt.Sprintf("%s, %s rows updated in %.0f s, %s a second", p.Status, humanize.Comma(p.RowsUpdated), elapsed,
		humanize.Comma(int64(float64(p.RowsUpdated)/elapsed)))
}
