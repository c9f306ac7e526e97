package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// snapshot is a table as the catalog describes it, with a few of its rows.
type snapshot struct {
	columns []column
	rows    [][]string // by row and column, as SQL literals
}

type column struct {
	Number int16 // attnum, which survives a rename
	Name   string
	Type   string
}

func readTable(ctx context.Context, conn pgtest.Querier) (*snapshot, error) {
	rows, err := conn.Query(ctx, `
SELECT attnum AS number, attname::text AS name, format_type(atttypid, atttypmod) AS type
FROM pg_attribute
WHERE attrelid = 'users'::regclass
  AND attnum > 0
  AND NOT attisdropped
ORDER BY attnum`)
	if err != nil {
		return nil, err
	}
	s := new(snapshot)
	if s.columns, err = pgx.CollectRows(rows, pgx.RowToStructByName[column]); err != nil {
		return nil, err
	}
	var values []string
	for i, column := range s.columns {
		values = append(values, literal(column))
		s.columns[i].Type = strings.Replace(column.Type, "timestamp with time zone", "timestamptz", 1)
	}
	// Three shapes of names, and other rows in place of those that a service has deleted.
	rows, err = conn.Query(ctx, fmt.Sprintf(`
SELECT ARRAY[%s]
FROM (SELECT * FROM users WHERE id <= 1000 ORDER BY id NOT IN (26, 27, 37), id LIMIT 3) AS sample
ORDER BY id`, strings.Join(values, ", ")))
	if err != nil {
		return nil, err
	}
	s.rows, err = pgx.CollectRows(rows, pgx.RowTo[[]string])
	return s, err
}

// literal is the expression that shows a value of the column: text in quotes, so that spaces and NULL can be told.
func literal(c column) string {
	name := pgx.Identifier{c.Name}.Sanitize()
	switch c.Type {
	case "text":
		return "quote_nullable(" + name + ")"
	case "timestamp with time zone":
		return "coalesce(to_char(" + name + ", 'HH24:MI:SS'), 'NULL')"
	default:
		return "coalesce(" + name + "::text, 'NULL')"
	}
}

// render turns the table on its side: a line for each column, marked + when it is new since before, ~ when it has another
// name, and - when it is gone.
func (s *snapshot) render(before *snapshot) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for i, c := range s.columns {
		line := []string{mark(c, before) + " " + c.Name, c.Type}
		for _, row := range s.rows {
			line = append(line, row[i])
		}
		// Errors would come from the strings.Builder, which takes everything.
		_, _ = io.WriteString(w, strings.Join(line, "\t")+"\n")
	}
	if before != nil {
		for _, was := range before.columns {
			if !slices.ContainsFunc(s.columns, func(c column) bool { return c.Number == was.Number }) {
				_, _ = io.WriteString(w, "- "+was.Name+"\t"+was.Type+strings.Repeat("\t", len(s.rows))+"\n")
			}
		}
	}
	_ = w.Flush()
	return text.String()
}

func mark(c column, before *snapshot) string {
	if before == nil {
		return " "
	}
	for _, was := range before.columns {
		if was.Number == c.Number && was.Name == c.Name {
			return " "
		}
		if was.Number == c.Number {
			return "~"
		}
	}
	return "+"
}

// showTable shows the table, with what is different from the last time.
func (d *demo) showTable(ctx context.Context, title string) error {
	now, err := readTable(ctx, d.database.Owner)
	if err != nil {
		return err
	}
	d.out.Line("", indent+d.out.bold(title), "")
	d.out.Text(now.render(d.table))
	d.table = now
	return nil
}
