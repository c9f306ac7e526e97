package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
)

// report is everything that was measured. What was not measured is nil.
type report struct {
	Machine  machine         `json:"machine"`
	Rows     int             `json:"rows"`
	Backfill backfillFigures `json:"backfill,omitempty"`
	Writers  writersFigures  `json:"writers,omitempty"`
	Stall    stallFigures    `json:"stall,omitempty"`
	Trigger  triggerFigures  `json:"trigger,omitempty"`
	Resume   *resumeFigures  `json:"resume,omitempty"`
	Memory   *memoryFigures  `json:"memory,omitempty"`
	Refresh  *refreshFigures `json:"refresh,omitempty"`
	Targets  []target        `json:"targets"`
}

// section is the part of a report that one scenario fills.
type section interface {
	print(to io.Writer) error
	targets() []target
}

func (r *report) sections() (sections []section) {
	if r.Backfill != nil {
		sections = append(sections, r.Backfill)
	}
	if r.Writers != nil {
		sections = append(sections, r.Writers)
	}
	if r.Stall != nil {
		sections = append(sections, r.Stall)
	}
	if r.Trigger != nil {
		sections = append(sections, r.Trigger)
	}
	if r.Resume != nil {
		sections = append(sections, r.Resume)
	}
	if r.Memory != nil {
		sections = append(sections, r.Memory)
	}
	if r.Refresh != nil {
		sections = append(sections, r.Refresh)
	}
	return sections
}

// write prints the tables and writes the files that were asked for.
func (r *report) write(o options, to io.Writer) error {
	fmt.Fprintln(to, r.Machine)
	var failed []error
	r.Targets = []target{}
	for _, s := range r.sections() {
		failed = append(failed, s.print(to))
		for _, t := range s.targets() {
			if !math.IsNaN(t.Figure) && !math.IsInf(t.Figure, 0) { // Of a tiny table, some things do not grow at all.
				r.Targets = append(r.Targets, t)
			}
		}
	}
	failed = append(failed, printTargets(to, r.Targets))
	if o.json != "" {
		document, err := json.MarshalIndent(r, "", "  ")
		if err == nil {
			err = os.WriteFile(o.json, append(document, '\n'), 0o644) //nolint:gosec // figures are no secret
		}
		failed = append(failed, err)
	}
	if o.svg != "" && r.Writers != nil {
		failed = append(failed, writeFile(o.svg, r.Writers.chart().render))
	}
	return errors.Join(failed...)
}

func writeFile(name string, render func(to io.Writer) error) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(render(file), file.Close())
}
