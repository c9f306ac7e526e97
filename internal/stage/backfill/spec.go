// Package backfill fills columns of old rows in small, paced, resumable batches, and proves at the end that no row is
// left. It walks the heap in page windows, so that it needs no primary key and reads each page while it is warm.
package backfill

import (
	"fmt"
	"strings"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/expression"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// Spec is a backfill as the user describes it.
type Spec struct {
	// ID is the identity in the ledger and in Terraform.
	ID    string
	Table pg.TableName
	// Set maps target columns to SQL expressions over the row.
	Set map[string]string
	// Overwrite recomputes targets that differ from their expression, instead of filling those that are NULL.
	Overwrite bool
	// Where narrows the rows; "" means all.
	Where string
	// Explained is a condition under which a row needs no work although a target is NULL, or "". The stage finds it out by
	// itself (dualwrite.Explained).
	Explained string `json:",omitempty"`
	// QuietTriggers keeps the table's own triggers from firing for the rows that are filled.
	QuietTriggers bool `json:",omitempty"`
	// Options say how fast it may go. They do not change what it does.
	Options Options
}

// ID returns the identity of a backfill of these columns.
func ID(table pg.TableName, set map[string]string) string {
	return pg.FormatID(table, stage.SortedKeys(set))
}

// Targets returns the columns that are written, sorted.
func (s *Spec) Targets() []string { return stage.SortedKeys(s.Set) }

// needsWork is the condition under which a row is not done. A target that is NULL because its expression is NULL is
// done: there is nothing to write. So is a row that a service has written new style with a NULL in it.
func (s *Spec) needsWork() string {
	var conditions []string
	for _, target := range s.Targets() {
		column, value := pg.Quote(target), expression.Parenthesize(s.Set[target])
		if s.Overwrite {
			conditions = append(conditions, fmt.Sprintf("%s IS DISTINCT FROM %s", column, value))
		} else {
			conditions = append(conditions, fmt.Sprintf("(%s IS NULL AND %s IS NOT NULL)", column, value))
		}
	}
	condition := "(" + strings.Join(conditions, "\n        OR ") + ")"
	if s.Explained != "" {
		condition += "\n   AND NOT (" + s.Explained + ")"
	}
	if s.Where != "" {
		condition = expression.Parenthesize(s.Where) + "\n   AND " + condition
	}
	return condition
}

// update renders the statement of a batch over one leaf. The value is computed in the UPDATE itself, so that a row that
// changed meanwhile is computed anew by the server; a filled target is kept even when another target of the row is
// NULL.
func (s *Spec) update(leaf pg.TableName, rows string) string {
	var assignments []string
	for _, target := range s.Targets() {
		column, value := pg.Quote(target), expression.Parenthesize(s.Set[target])
		if !s.Overwrite {
			value = fmt.Sprintf("coalesce(%s, %s)", column, value)
		}
		assignments = append(assignments, fmt.Sprintf("%s = %s", column, value))
	}
	return fmt.Sprintf("UPDATE ONLY %s AS %s\n   SET %s\n WHERE %s\n   AND %s", leaf.SQL(), pg.Quote(s.Table.Name),
		strings.Join(assignments, ",\n       "), rows, s.needsWork())
}

// updateWindow is the batch of the walk: the rows of pages $1 up to, but not including, $2.
func (s *Spec) updateWindow(leaf pg.TableName) string {
	alias := pg.Quote(s.Table.Name)
	return s.update(leaf, fmt.Sprintf("%s.ctid >= $1::tid AND %s.ctid < $2::tid", alias, alias))
}

// updateShare is the batch of a pass over a share of the rows: those of the window whose addresses hash below $3, of
// ledger.HashRange.
func (s *Spec) updateShare(leaf pg.TableName) string {
	alias := pg.Quote(s.Table.Name)
	return s.update(leaf, fmt.Sprintf("%s.ctid >= $1::tid AND %s.ctid < $2::tid\n   AND pg_catalog.hashtid(%s.ctid) & %d < $3", alias, alias, alias,
		ledger.HashRange-1))
}

// updateRows is the batch of the sweep: the rows whose keys are in the arrays $1, $2 and so on, one for each column of the
// key. Without a key they are the rows at the addresses $1.
func (s *Spec) updateRows(leaf pg.TableName, key []pg.Column) string {
	alias := pg.Quote(s.Table.Name)
	if len(key) == 0 {
		return s.update(leaf, alias+".ctid = ANY($1::tid[])")
	}
	var columns, values, arrays, names []string
	for i, c := range key {
		name := fmt.Sprintf("k%d", i+1)
		columns = append(columns, alias+"."+pg.Quote(c.Name))
		values = append(values, fmt.Sprintf("found.%s::%s", name, c.Type.SQL))
		arrays = append(arrays, fmt.Sprintf("$%d::text[]", i+1))
		names = append(names, name)
	}
	return s.update(leaf, fmt.Sprintf("(%s) IN (SELECT %s FROM unnest(%s) AS found(%s))", strings.Join(columns, ", "),
		strings.Join(values, ", "), strings.Join(arrays, ", "), strings.Join(names, ", ")))
}

// remaining is the query of the proof: the addresses and the keys of rows that need work, at most $1.
func (s *Spec) remaining(leaf pg.TableName, key []pg.Column) string {
	alias := pg.Quote(s.Table.Name)
	values := make([]string, len(key))
	for i, c := range key {
		values[i] = fmt.Sprintf("%s.%s::text", alias, pg.Quote(c.Name))
	}
	return fmt.Sprintf("SELECT %s.ctid::text, ARRAY[%s]::text[]\n  FROM ONLY %s AS %s\n WHERE %s\n LIMIT $1", alias,
		strings.Join(values, ", "), leaf.SQL(), alias, s.needsWork())
}

// keyOf returns the columns that tell the rows of every leaf apart, or none.
func keyOf(table *pg.Table) (key []pg.Column) {
	if !table.Partitioned && len(table.Leaves) > 1 {
		return nil // Inheritance children do not have the parent's primary key.
	}
	for _, number := range table.PrimaryKey {
		if c, exists := table.ColumnByNumber(number); exists {
			key = append(key, c)
		}
	}
	return key
}

// Preview returns the statement of a batch. On a partitioned table it runs for each partition. The last pass leaves the
// hash out.
func (s *Spec) Preview() []ddl.Statement {
	return []ddl.Statement{{SQL: s.updateShare(s.Table), Lock: ddl.RowExclusive, Effect: ddl.BatchedUpdate}}
}

// SameWork reports whether two backfills do the same to the same rows.
func (s *Spec) SameWork(other *Spec) bool {
	return s.Table == other.Table && s.updateWindow(s.Table) == other.updateWindow(other.Table)
}
