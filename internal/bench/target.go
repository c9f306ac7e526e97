package main

import (
	"fmt"
	"io"
	"math"
)

// target is what a figure should be. A figure that misses it is no error: it is for people to judge.
type target struct {
	What   string  `json:"what"`
	Figure float64 `json:"figure"`
	Limit  float64 `json:"limit"`
	Most   bool    `json:"at_most"` // the limit is the largest value that is good, and not the smallest
	Met    bool    `json:"met"`
	unit   string
}

// atMost and atLeast round as the table does, so that no "0.60" misses "0.60".
func atMost(what string, figure, limit float64) target {
	return target{What: what, Figure: figure, Limit: limit, Most: true, Met: math.Round(figure*100) <= math.Round(limit*100)}
}

func atLeast(what string, figure, limit float64) target {
	return target{What: what, Figure: figure, Limit: limit, Met: math.Round(figure*100) >= math.Round(limit*100)}
}

// in returns the target with the unit of its figure, with a space before it.
func (t target) in(unit string) target {
	t.unit = " " + unit
	return t
}

func printTargets(to io.Writer, targets []target) error {
	if len(targets) == 0 {
		return nil
	}
	fmt.Fprintln(to, "\nTargets:")
	fmt.Fprintln(to)
	table := newTable(to, "", "figure", "target", "")
	for _, t := range targets {
		sign, verdict := "≥", "missed"
		if t.Most {
			sign = "≤"
		}
		if t.Met {
			verdict = "met"
		}
		table.row(t.What, fmt.Sprintf("%.2f%s", t.Figure, t.unit), fmt.Sprintf("%s %.2f%s", sign, t.Limit, t.unit), verdict)
	}
	return table.flush()
}
