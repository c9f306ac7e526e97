// Package expand adds columns to a live table in ways that only change metadata, and takes them away again unless they
// hold the only copy of data.
package expand

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/expression"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// Spec is an expand as the user describes it.
type Spec struct {
	// ID is the identity in the ledger and in Terraform.
	ID      string
	Table   pg.TableName
	Columns map[string]Column
	// ForceDestroy lets the undo drop columns that hold the only copy of data.
	ForceDestroy bool
	// Allow names what the user accepts, of Allowable.
	Allow []string `json:",omitempty"`
	// Known names the columns that Terraform's state has already, whether the ledger knows them or they were imported.
	Known []string `json:"-"`
	// Was holds the columns as Terraform's state has them, so that a plan can tell what is new from what changes.
	Was map[string]Column `json:"-"`
}

// TableRewrite is what a user accepts who lets the server write the whole table anew under its lock. It is named like the hazard.
const TableRewrite = string(ddl.RewritesTable)

// Allowable are the names for Spec.Allow.
var Allowable = []string{TableRewrite}

func (s *Spec) allowsRewrite() bool { return slices.Contains(s.Allow, TableRewrite) }

// Column is a column to add.
type Column struct {
	Type string
	// Default is an SQL expression that is not volatile, or "". The server computes it once, when the column is added.
	Default string
	// NotNull needs a Default, so that the rows that exist have a value.
	NotNull bool
}

// Names returns the names of the columns, sorted.
func (s *Spec) Names() []string { return stage.SortedKeys(s.Columns) }

// types returns the types of the columns by name.
func (s *Spec) types() map[string]string {
	types := make(map[string]string, len(s.Columns))
	for name, c := range s.Columns {
		types[name] = c.Type
	}
	return types
}

// Preview returns one statement for each column, and for each that goes. They run in one transaction. Terraform shows text of several lines as it
// is, and a single line with every quote escaped.
func (s *Spec) Preview() []ddl.Statement {
	statements := make([]ddl.Statement, 0, len(s.Columns))
	for _, name := range s.Names() {
		statement := ddl.Statement{SQL: s.add(name), Lock: ddl.AccessExclusive, Effect: ddl.MetadataOnly}
		was, known := s.Was[name]
		switch {
		case known && !sameTypeName(was.Type, s.Columns[name].Type):
			statement.SQL, statement.Effect = s.retype(name, was.Default != ""), ddl.Rewrites
		case !known && s.allowsRewrite() && !s.Columns[name].isPlain():
			statement.Effect = ddl.Rewrites
		}
		statements = append(statements, statement)
	}
	for _, name := range s.leaving() {
		statements = append(statements, ddl.Statement{SQL: s.drop(name), Lock: ddl.AccessExclusive, Effect: ddl.MetadataOnly})
	}
	return statements
}

// leaving returns the columns that the user no longer wants, sorted.
func (s *Spec) leaving() []string {
	return slices.DeleteFunc(stage.SortedKeys(s.Was), func(name string) bool { _, wanted := s.Columns[name]; return wanted })
}

// retype renders the change of a column's type. A default of the former type might have no cast; within one statement it is
// dropped first and set last, whatever their order.
func (s *Spec) retype(name string, hadDefault bool) string {
	column := s.Columns[name]
	alter := "\n  ALTER COLUMN " + pg.Quote(name)
	actions := []string{fmt.Sprintf("%s TYPE %s", alter, column.Type)}
	if hadDefault {
		actions = append([]string{alter + " DROP DEFAULT"}, actions...)
	}
	if column.Default != "" {
		actions = append(actions, alter+" SET DEFAULT "+expression.Parenthesize(column.Default))
	}
	return "ALTER TABLE " + s.Table.SQL() + strings.Join(actions, ",")
}

func (s *Spec) add(name string) string {
	column := s.Columns[name]
	sql := fmt.Sprintf("ALTER TABLE %s\n  ADD COLUMN %s %s", s.Table.SQL(), pg.Quote(name), column.Type)
	if column.Default != "" {
		sql += " DEFAULT " + expression.Parenthesize(column.Default)
	}
	if column.NotNull {
		sql += " NOT NULL"
	}
	return sql
}

func (s *Spec) drop(name string) string {
	return fmt.Sprintf("ALTER TABLE %s\n  DROP COLUMN %s", s.Table.SQL(), pg.Quote(name))
}

// describe names the columns for people: public.users (first_name, last_name).
func (s *Spec) describe(names []string) string {
	return fmt.Sprintf("%s (%s)", s.Table, strings.Join(names, ", "))
}
