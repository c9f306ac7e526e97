package watch

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
)

// stalled is how long after the last batch it is news that none has come since.
const stalled = 15 * time.Second

// Line tells in one line how far a backfill is, how fast it goes and what it waits for.
func Line(p ledger.Progress) string {
	parts := []string{clean(p.Backfill), state(p)}
	if p.Complete() {
		return strings.Join(append(parts, rows(p)+" in "+p.Elapsed.String()), ", ")
	}
	parts = append(parts, measures(p)...)
	if p.Blockers != "" {
		parts = append(parts, "blockers: "+clean(p.Blockers))
	}
	return strings.Join(parts, ", ")
}

// state is what the backfill is doing, and why it goes no faster.
func state(p ledger.Progress) string {
	parts := []string{clean(p.Status)}
	switch {
	case p.Complete():
		return parts[0]
	case p.Status == "paused" && p.Throttled != "":
		parts[0] = clean(p.Throttled) // who paused it and when
	case p.Throttled != "":
		parts[0] += ": " + clean(p.Throttled)
	}
	if p.Note != "" {
		parts[0] += " (" + clean(p.Note) + ")"
	}
	if !p.Running {
		return strings.Join(append(parts, "no apply is running"), ", ")
	}
	if p.LimitedBy != "" && p.Throttled == "" {
		parts = append(parts, "limited by "+clean(p.LimitedBy))
	}
	if p.MaxRowsPerSecond > 0 {
		parts = append(parts, fmt.Sprintf("asked for at most %s rows/s", humanize.Comma(p.MaxRowsPerSecond)))
	}
	if p.SinceCheckpoint != nil && *p.SinceCheckpoint >= stalled {
		parts = append(parts, fmt.Sprintf("last batch %s ago", *p.SinceCheckpoint))
	}
	return strings.Join(parts, ", ")
}

// measures are the numbers, the most telling first: a narrow terminal cuts the rest off.
func measures(p ledger.Progress) []string {
	parts := []string{fmt.Sprintf("%.1f%%", p.Percent)}
	if p.Remaining != nil {
		parts = append(parts, p.Remaining.String()+" left")
	}
	if p.Running {
		parts = append(parts, humanize.Comma(p.RowsPerSecond)+" rows/s")
	}
	if p.HOTPercent != nil {
		parts = append(parts, fmt.Sprintf("HOT %.0f%%", *p.HOTPercent))
	}
	return append(parts, rows(p))
}

// rows leaves out an estimate that was too low, and that of a table that was never analyzed.
func rows(p ledger.Progress) string {
	if p.Complete() || p.RowsEstimated < p.RowsUpdated || p.RowsEstimated <= 0 {
		if p.RowsUpdated == 1 {
			return "1 row"
		}
		return humanize.Comma(p.RowsUpdated) + " rows"
	}
	return humanize.Comma(p.RowsUpdated) + " of ~" + humanize.Comma(p.RowsEstimated) + " rows"
}

// clean makes a text that came from the database harmless to a terminal: names and queries may hold control sequences.
func clean(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}
