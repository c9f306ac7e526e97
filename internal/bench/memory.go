package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
)

// memoryFigures are of a process that runs the backfill.
type memoryFigures struct {
	Rows    int     `json:"rows"`
	PeakMiB float64 `json:"peak_resident_mib"` // 0 if the system does not tell
}

func runMemory(ctx context.Context, b *bench) (err error) {
	t, err := b.trial(ctx, "memory")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.drop(ctx)) }()
	c, err := startChild(ctx, t, backfill.Options{Workers: backfill.DefaultWorkers})
	if err != nil {
		return err
	}
	peak, err := c.wait()
	if err != nil {
		return err
	}
	b.report.Memory = &memoryFigures{Rows: t.rows, PeakMiB: float64(peak) / 1024}
	b.say("memory: %.1f MiB", b.report.Memory.PeakMiB)
	return t.verify(ctx)
}

func (m *memoryFigures) print(to io.Writer) error {
	told := fmt.Sprintf("%.1f MiB", m.PeakMiB)
	if m.PeakMiB == 0 {
		told = "the system does not tell"
	}
	_, err := fmt.Fprintf(to, "\nPeak of the resident memory of a process that runs the backfill of %s rows: %s\n", count(int64(m.Rows)), told)
	return err
}

func (m *memoryFigures) targets() []target {
	if m.PeakMiB == 0 {
		return nil
	}
	return []target{atMost("resident memory of a process that runs the backfill", m.PeakMiB, 64).in("MiB")}
}
