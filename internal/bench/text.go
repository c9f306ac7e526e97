package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
)

// textTable is a table for a terminal, its first column to the left and the others to the right.
type textTable struct {
	rows [][]string
	to   io.Writer
}

func newTable(to io.Writer, header ...string) *textTable {
	return &textTable{rows: [][]string{header}, to: to}
}

func (t *textTable) row(cells ...string) { t.rows = append(t.rows, cells) }

func (t *textTable) flush() error {
	width := 0
	for _, row := range t.rows {
		width = max(width, len([]rune(row[0])))
	}
	var aligned bytes.Buffer
	writer := tabwriter.NewWriter(&aligned, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range t.rows {
		row[0] += strings.Repeat(" ", width-len([]rune(row[0])))
		for len(row) < len(t.rows[0]) {
			row = append(row, "")
		}
		fmt.Fprintln(writer, strings.Join(row, "\t")+"\t")
	}
	if err := writer.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(aligned.String()) {
		if _, err := fmt.Fprintln(t.to, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

func count(n int64) string         { return humanize.Comma(n) }
func megabytes(bytes int64) string { return fmt.Sprintf("%.1f", float64(bytes)/1e6) }

// seconds renders a duration with as many digits as are of use.
func seconds(s float64) string {
	if s < 1 {
		return fmt.Sprintf("%.1f ms", s*1000)
	}
	return fmt.Sprintf("%.1f s", s)
}

// ratio is "-" when there is nothing to divide by.
func ratio(figure, by float64) string {
	if by == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", figure/by)
}
