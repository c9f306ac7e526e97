package backfill

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// facts are what a plan has found of a backfill when it writes its forecast.
type facts struct {
	table *pg.Table
	outlook
	// progress is that of an apply that did not end, or nil.
	progress *ledger.Progress
	// obstacles and triggers are paragraphs.
	obstacles, triggers []string
}

// gather reads what the forecast needs, the sample aside.
func (s *Spec) gather(ctx context.Context, tx pgx.Tx, env *stage.Env, table *pg.Table, record *ledger.Stage) (f facts, err error) {
	f.table = table
	if record != nil && record.Status == ledger.Running && s.continues(record, table) {
		p, err := env.Ledger.Progress(ctx, tx, s.ID)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return f, err
		}
		f.progress = &p
	}
	if f.outlook, err = s.readOutlook(ctx, tx, env, table); err != nil {
		return f, err
	}
	if f.obstacles, err = ddl.Obstacles(ctx, tx, table, ddl.RowExclusive); err != nil {
		return f, err
	}
	f.triggers, err = s.triggerForecast(ctx, tx, env, table)
	return f, err
}

// forecast tells the reviewer what the backfill is going to do.
func (s *Spec) forecast(env *stage.Env, f facts, e estimate) *finding.Finding {
	rows := "no row"
	switch {
	case e.rows < 0:
		rows = "an unknown number of rows (the table was never analyzed)"
	case e.rows > 0 && e.atMost:
		rows = "up to " + ddl.Rows(e.rows)
	case e.rows > 0:
		rows = ddl.Rows(e.rows)
	}
	summary := fmt.Sprintf("Backfill of %s updates %s", s.describe(), rows)
	lines := []string{fmt.Sprintf("The table has %s (%s) and %s. Each batch is a transaction of its own of about %s under ROW EXCLUSIVE: no "+
		"read waits for it, and no write but to its rows. It can be interrupted at any time and goes on where it stopped.",
		ddl.Rows(e.total), ddl.Bytes(float64(f.table.Bytes)), indexes(f.shape.indexes),
		s.Options.targetDuration())}
	if p := f.progress; p != nil {
		summary = fmt.Sprintf("Backfill of %s resumes at %.0f%%", s.describe(), p.Percent)
		lines = append(lines, fmt.Sprintf("An earlier apply did %s of %s pages and updated %s rows. %s are left.",
			humanize.Comma(p.PagesDone), humanize.Comma(p.PagesTotal), humanize.Comma(p.RowsUpdated), finding.Capitalize(rows)))
	}
	lines = append(lines, e.text(s.Options))
	lines = append(lines, f.obstacles...)
	if most := env.DB.MaxConnections(); s.Options.workers()+ownSessions > most {
		lines = append(lines, fmt.Sprintf("It has %d workers, but max_connections = %d of the provider leaves room for %d at the same time: a backfill "+
			"takes %d connections besides.", s.Options.workers(), most, max(most-ownSessions, 1), ownSessions))
	}
	return finding.New(summary, finding.Paragraphs(append(lines, f.triggers...)...))
}

// indexes says how many indexes each leaf has.
func indexes(n float64) string {
	switch n = math.Round(n); n {
	case 0:
		return "no index"
	case 1:
		return "1 index"
	}
	return fmt.Sprintf("%.0f indexes", n)
}

// spans are the times that a plan speaks of.
var spans = []time.Duration{
	time.Minute, 2 * time.Minute, 3 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 20 * time.Minute, 30 * time.Minute,
	45 * time.Minute, time.Hour, 90 * time.Minute, 2 * time.Hour, 3 * time.Hour, 4 * time.Hour, 6 * time.Hour, 8 * time.Hour, 12 * time.Hour,
	18 * time.Hour, day, 36 * time.Hour, 2 * day, 3 * day, 4 * day, 5 * day, 7 * day, 10 * day, 14 * day, 21 * day, 30 * day,
}

// Span says how long something takes about.
func Span(low, high time.Duration) string {
	last := spans[len(spans)-1]
	switch {
	case high < 50*time.Second:
		return "less than a minute"
	case low > last:
		return "more than 30 days"
	}
	// The nearest, but never the same for both.
	nearest := func(d time.Duration) int {
		best := 0
		for i, s := range spans {
			if math.Abs(math.Log(float64(s)/float64(d))) < math.Abs(math.Log(float64(spans[best])/float64(d))) {
				best = i
			}
		}
		return best
	}
	to := nearest(high)
	n, unit := inUnits(spans[to])
	if low < 40*time.Second {
		return fmt.Sprintf("up to %g %s", n, unit)
	}
	from := nearest(low)
	if from == to {
		from, to = max(from-1, 0), from+1
		to = min(to, len(spans)-1)
		n, unit = inUnits(spans[to])
	}
	before, beforeUnit := inUnits(spans[from])
	if beforeUnit == unit || before == 1 && beforeUnit+"s" == unit {
		return fmt.Sprintf("%g to %g %s", before, n, unit)
	}
	return fmt.Sprintf("%g %s to %g %s", before, beforeUnit, n, unit)
}

// inUnits returns a span in the unit that people would use.
func inUnits(d time.Duration) (n float64, unit string) {
	switch {
	case d < time.Hour:
		n, unit = d.Minutes(), "minute"
	case d < 2*day:
		n, unit = d.Hours(), "hour"
	default:
		n, unit = float64(d/day), "day"
	}
	if n != 1 {
		unit += "s"
	}
	return n, unit
}

// text says it in a paragraph.
func (e estimate) text(o Options) string {
	if e.basis == "" {
		switch {
		case e.rows == 0:
			return "No row that was looked at needs work. The table is read all the same, to prove it."
		case e.why != "":
			return "How long it takes cannot be estimated: " + e.why + "."
		}
		return ""
	}
	text := fmt.Sprintf("It takes %s and writes about %s of WAL if nothing makes it wait (%s).", Span(e.low, e.high), ddl.Bytes(e.wal), e.basis)
	if o.MaxRowsPerSecond > 0 {
		text += " max_rows_per_second is taken into account."
	}
	if openings, open := windows(o.Windows).perWeek(); openings > 0 {
		each := open / time.Duration(openings)
		text += fmt.Sprintf(" Its windows are open for %s each: it takes %s.", each, counted(e.low, e.high, each, "of them", "of them"))
	}
	if o.ApplyBudget > 0 {
		text += fmt.Sprintf(" With apply_budget = %q, that is %s.", finding.Duration(o.ApplyBudget), counted(e.low, e.high, o.ApplyBudget, "apply", "applies"))
	}
	return text
}

// counted says how many times something of a length has to be there.
func counted(low, high, each time.Duration, one, many string) string {
	from, to := max(math.Ceil(float64(low)/float64(each)), 1), max(math.Ceil(float64(high)/float64(each)), 1)
	switch {
	case to == 1:
		return "1 " + one
	case from == to:
		return fmt.Sprintf("%.0f %s", to, many)
	}
	return fmt.Sprintf("%.0f to %.0f %s", ddl.Rounded(from), ddl.Rounded(to), many)
}

// perWeek returns how many times a week the windows open, and for how long in all; none when they never close. Summer time is
// left out of it.
func (w windows) perWeek() (openings int, open time.Duration) {
	const step = 5 * time.Minute
	monday := time.Date(2026, time.January, 5, 0, 0, 0, 0, time.UTC)
	was := len(w) > 0 && w.wait(monday.Add(-step)) == 0
	for at := monday; at.Before(monday.Add(7*day)) && len(w) > 0; at = at.Add(step) {
		is := w.wait(at) == 0
		if is {
			open += step
		}
		if is && !was {
			openings++
		}
		was = is
	}
	return openings, open
}
