package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// backfillFigures are of the ways to fill the columns while nothing else goes on.
type backfillFigures []filled

// filled is what one way did.
type filled struct {
	Way  string `json:"way"`
	Note string `json:"note,omitempty"` // why there are no figures

	usage
	Rows          int     `json:"rows"`
	RowsPerSecond float64 `json:"rows_per_second"`
	// Filling is without the proof at the end; 0 if there is none.
	Filling float64 `json:"filling_seconds,omitempty"`
}

// runBackfill takes turns, so that a busy moment of the machine does not hit one way only, and keeps the fastest.
func runBackfill(ctx context.Context, b *bench) error {
	ways := []way{oneUpdate, keyBatches}
	for _, workers := range b.workers {
		ways = append(ways, backfillWith(workers))
	}
	ways = append(ways, pgroll)
	figures := make(backfillFigures, len(ways))
	for range b.rounds {
		for i, w := range ways {
			f, err := fillWith(ctx, b, w)
			if errors.Is(err, errNotOnPath) {
				f = filled{Way: w.Name, Note: err.Error()}
			} else if err != nil {
				return fmt.Errorf("%s: %w", w.Name, err)
			}
			if figures[i].Seconds == 0 || f.Seconds < figures[i].Seconds {
				figures[i] = f
			}
		}
	}
	b.report.Backfill = figures
	return nil
}

// fillWith measures one way on a copy of the table, and checks what it did.
func fillWith(ctx context.Context, b *bench, w way) (f filled, err error) {
	t, err := b.trial(ctx, "backfill")
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, t.drop(ctx)) }()
	if w.prepare != nil {
		if err := w.prepare(ctx, t); err != nil {
			return f, err
		}
	}
	m, err := startMeter(ctx, t)
	if err != nil {
		return f, err
	}
	filling, err := w.run(ctx, b, t)
	if err != nil {
		_, stopErr := m.longest.stop()
		return f, errors.Join(err, stopErr)
	}
	u, err := m.stop(ctx, t.rows)
	if err != nil {
		return f, err
	}
	f = filled{
		Way: w.Name, usage: u, Rows: t.rows, RowsPerSecond: float64(t.rows) / u.Seconds, Filling: filling.Seconds(),
	}
	b.say("%s: %.1f s, %.0f rows/s, %.1f s of the server's processes", w.Name, f.Seconds, f.RowsPerSecond, f.Processor)
	if w.finish != nil {
		err = w.finish(ctx, t)
	}
	return f, errors.Join(err, t.verify(ctx))
}

// of returns the figures of a way, if it was measured.
func (figures backfillFigures) of(name string) (filled, bool) {
	i := slices.IndexFunc(figures, func(f filled) bool { return f.Way == name && f.Note == "" })
	if i < 0 {
		return filled{}, false
	}
	return figures[i], true
}

func (figures backfillFigures) print(to io.Writer) error {
	fmt.Fprintf(to, "\nFilling two columns of %s rows, with nothing else going on:\n\n", count(int64(figures[0].Rows)))
	table := newTable(to, "", "rows/s", "without proof", "server s", "WAL MB", "heap +MB", "indexes +MB", "HOT", "updates/row", "longest transaction")
	for _, f := range figures {
		if f.Note != "" {
			table.row(f.Way + " (" + f.Note + ")")
			continue
		}
		without := "-"
		if f.Filling > 0 {
			without = count(int64(float64(f.Rows) / f.Filling))
		}
		table.row(f.Way, count(int64(f.RowsPerSecond)), without, fmt.Sprintf("%.1f", f.Processor), megabytes(f.WAL), megabytes(f.Heap),
			megabytes(f.Indexes), fmt.Sprintf("%.0f%%", 100*f.HOT), fmt.Sprintf("%.2f", float64(f.Updates)/float64(f.Rows)),
			seconds(f.Longest))
	}
	if err := table.flush(); err != nil {
		return err
	}
	base, ok := figures.of(oneUpdate.Name)
	if !ok {
		return nil
	}
	fmt.Fprintf(to, "\nThe same, divided by that of %s:\n\n", base.Way)
	table = newTable(to, "", "rows/s", "rows/s ÷ key batches", "server s", "WAL", "heap", "indexes")
	keys, _ := figures.of(keyBatches.Name)
	for _, f := range figures {
		if f.Note == "" {
			table.row(f.Way, ratio(f.RowsPerSecond, base.RowsPerSecond), ratio(f.RowsPerSecond, keys.RowsPerSecond),
				ratio(f.Processor, base.Processor), ratio(float64(f.WAL), float64(base.WAL)),
				ratio(float64(f.Heap), float64(base.Heap)), ratio(float64(f.Indexes), float64(base.Indexes)))
		}
	}
	return table.flush()
}

func (figures backfillFigures) targets() (targets []target) {
	base, ok := figures.of(oneUpdate.Name)
	if !ok {
		return nil
	}
	for _, f := range figures {
		if f.Note != "" || !strings.HasPrefix(f.Way, "backfill") {
			continue
		}
		fastEnough := 1.5
		if f.Way != backfillWith(1).Name {
			fastEnough = 2
		}
		over := " ÷ " + base.Way
		targets = append(targets,
			atLeast(f.Way+": rows/s"+over, f.RowsPerSecond/base.RowsPerSecond, fastEnough),
			atMost(f.Way+": WAL"+over, float64(f.WAL)/float64(base.WAL), 0.6),
			atMost(f.Way+": heap growth"+over, float64(f.Heap)/float64(base.Heap), 0.3),
			atMost(f.Way+": index growth"+over, float64(f.Indexes)/float64(base.Indexes), 0.45))
		if f.Way == backfillWith(1).Name {
			continue
		}
		if keys, ok := figures.of(keyBatches.Name); ok {
			targets = append(targets, atLeast(f.Way+": rows/s ÷ "+keys.Way, f.RowsPerSecond/keys.RowsPerSecond, 2.5))
		}
		if other, ok := figures.of(pgroll.Name); ok {
			targets = append(targets, atLeast(f.Way+": rows/s ÷ "+other.Way, f.RowsPerSecond/other.RowsPerSecond, 5))
		}
	}
	return targets
}
