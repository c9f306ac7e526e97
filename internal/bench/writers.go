package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"
)

// writersFigures are of the ways to fill the columns while writers work.
type writersFigures []filledLive

// filledLive is what one way did to the writers.
type filledLive struct {
	Way           string  `json:"way"`
	RowsPerSecond float64 `json:"rows_per_second"`
	// Alone is what the writers felt just before, on the same copy of the table.
	Alone felt `json:"alone"`
	// Busy is the share of the machine's processors that was busy then, and Own the writers' part of it, the server's work for
	// them included. They are 0 if the system does not tell.
	Busy   float64 `json:"machine_busy_alone"`
	Own    float64 `json:"machine_busy_with_writers_alone"`
	During felt    `json:"during"`
	Errors int64   `json:"errors"`
}

// slowdown is how much longer the writers' slow transactions took than when they were alone.
func (f filledLive) slowdown() float64 { return f.During.P99 / f.Alone.P99 }

// liveWays are what the writers are exposed to.
var liveWays = []way{oneUpdate, keyBatches, backfillWith(2), gentle, busyLoop}

func runWriters(ctx context.Context, b *bench) error {
	for _, w := range liveWays {
		f, err := fillLive(ctx, b, w)
		if f.Way != "" {
			b.report.Writers = append(b.report.Writers, f)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", w.Name, err)
		}
	}
	return nil
}

// fillLive measures the writers alone, and then while the columns are filled. The sync is there all the time: without it
// none of the ways would come to an end, because new rows keep coming.
func fillLive(ctx context.Context, b *bench, w way) (f filledLive, err error) {
	t, err := b.trial(ctx, "writers")
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, t.drop(ctx)) }()
	if err := applySync(ctx, t.ConnString(), usersTable, forward, map[string]string{"full_name": fullName}); err != nil {
		return f, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the writers, also when something fails
	tr, writers, err := startTraffic(ctx, b, t)
	if err != nil {
		return f, err
	}
	defer writers.Stop()
	if err := settle(ctx, b, tr); err != nil {
		return f, err
	}
	f, err = measureAlone(ctx, b, t, tr)
	if err != nil {
		return filledLive{}, err
	}

	tr.waits.reset()
	started := time.Now()
	if _, err := w.run(ctx, b, t); err != nil {
		return filledLive{}, err
	}
	if !w.control {
		f.RowsPerSecond = float64(t.rows) / time.Since(started).Seconds()
	}
	if err := tr.waits.some(ctx); err != nil {
		return filledLive{}, err
	}
	stats := writers.Stop() // transactions that are still waiting are part of what was felt
	f.Way, f.During, f.Errors = w.Name, tr.waits.felt(), stats.Errors
	b.say("%s: %.0f rows/s, the slowest of 100 transactions took %.2f × as long", w.Name, f.RowsPerSecond, f.slowdown())
	if w.control {
		return f, trafficError(stats)
	}
	return f, errors.Join(trafficError(stats), t.verify(ctx))
}

// measureAlone fills in what writers feel when nothing else goes on.
func measureAlone(ctx context.Context, b *bench, t *trial, tr *traffic) (f filledLive, err error) {
	server, err := processesOf(ctx, t.Server)
	if err != nil {
		return f, err
	}
	machine, own := machineTime(), server.time()+ownTime()
	if err := errors.Join(sleep(ctx, b.idle), tr.waits.some(ctx)); err != nil {
		return f, err
	}
	f.Alone = tr.waits.felt()
	f.Busy = machineTime().busySince(machine)
	f.Own = (server.time() + ownTime() - own).Seconds() / f.Alone.Seconds / float64(runtime.NumCPU())
	return f, nil
}

// settle lets the writers' first statements pass, for which the server makes plans and the caches fill.
func settle(ctx context.Context, b *bench, tr *traffic) error {
	if err := sleep(ctx, min(2*time.Second, b.idle)); err != nil {
		return err
	}
	tr.waits.reset()
	return nil
}

func (figures writersFigures) print(to io.Writer) error {
	fmt.Fprintf(to, "\nWhat writers feel while the columns are filled (alone %.0f transactions/s, which keep %.0f%% of the machine busy;\n"+
		"together with what else ran on it, %.0f%%):\n\n", figures[0].Alone.PerSecond, 100*figures[0].Own, 100*figures[0].Busy)
	table := newTable(to, "", "rows/s", "transactions ÷ alone", "p50 alone", "p50", "p99 alone", "p99", "p99 ÷ alone", "longest alone", "longest", "errors")
	for _, f := range figures {
		table.row(f.Way, count(int64(f.RowsPerSecond)), ratio(f.During.PerSecond, f.Alone.PerSecond), seconds(f.Alone.P50/1000),
			seconds(f.During.P50/1000), seconds(f.Alone.P99/1000), seconds(f.During.P99/1000), fmt.Sprintf("%.2f", f.slowdown()),
			seconds(f.Alone.Longest/1000), seconds(f.During.Longest/1000), count(f.Errors))
	}
	return table.flush()
}

func (figures writersFigures) targets() (targets []target) {
	for _, f := range figures {
		if strings.HasPrefix(f.Way, "backfill") {
			targets = append(targets,
				atMost("writers during "+f.Way+": p99 ÷ alone", f.slowdown(), 1.5),
				atMost("writers during "+f.Way+": longest stall", f.During.Longest, 250).in("ms"),
				atMost("writers during "+f.Way+": errors", float64(f.Errors), 0))
		}
	}
	return targets
}

// chart shows the longest wait over time, one line for each way.
func (figures writersFigures) chart() chart {
	c := chart{
		Title: "Longest wait of a writer while two columns are filled", XLabel: "seconds since the fill began",
		Step: slice.Seconds(),
	}
	var alone []float64
	for _, f := range figures {
		alone = append(alone, f.Alone.Slices...)
		c.Lines = append(c.Lines, line{Name: f.Way, Values: f.During.Slices})
	}
	if len(alone) > 0 {
		slices.Sort(alone)
		c.Reference, c.ReferenceName = alone[len(alone)/2], "typical when alone"
	}
	return c
}
