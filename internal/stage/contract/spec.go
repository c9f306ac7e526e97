// Package contract takes the old columns away at the end of a column change: renamed out of sight, from where they can
// come back at once, or dropped. It goes ahead only when nothing needs them any more.
package contract

import (
	"fmt"
	"strings"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// Mode is how the columns are taken away.
type Mode string

// The modes of a contract.
const (
	// Quarantine renames the columns; nothing is lost.
	Quarantine Mode = "quarantine"
	// Drop drops them.
	Drop Mode = "drop"
)

// Spec is a contract as the user describes it.
type Spec struct {
	// ID is the identity in the ledger and in Terraform.
	ID      string
	Table   pg.TableName
	Columns []string
	Mode    Mode
	// Drops names the objects that a drop takes along silently, as "index public.users_full_name_idx".
	Drops []string
	// IgnoreFunctions names functions whose text mentions a column but that do not need it, as "public.f(integer)".
	IgnoreFunctions []string
	// WritersMigrated is the user's word that no service writes or reads the columns any more.
	WritersMigrated bool
	// Prior is the mode that Terraform's state has, or "" before the first apply.
	Prior Mode `json:"-"`
}

// Preview returns the statements. They run in one transaction.
func (s *Spec) Preview() []ddl.Statement {
	var statements []ddl.Statement
	add := func(format string, args ...any) {
		sql := fmt.Sprintf("ALTER TABLE %s\n  ", s.Table.SQL()) + fmt.Sprintf(format, args...)
		statements = append(statements, ddl.Statement{SQL: sql, Lock: ddl.AccessExclusive, Effect: ddl.MetadataOnly})
	}
	for _, column := range s.Columns {
		away := quarantined(column)
		switch {
		case s.Mode == Quarantine:
			add("RENAME COLUMN %s TO %s", pg.Quote(column), pg.Quote(away))
			// Writers that no longer know the column insert NULL into it.
			add("ALTER COLUMN %s DROP NOT NULL", pg.Quote(away))
		case s.Prior == Quarantine:
			add("DROP COLUMN %s", pg.Quote(away))
		default:
			add("DROP COLUMN %s", pg.Quote(column))
		}
	}
	return statements
}

// describe names the columns for people: public.users (full_name).
func (s *Spec) describe() string {
	return fmt.Sprintf("%s (%s)", s.Table, strings.Join(s.Columns, ", "))
}

// quarantined returns the name under which a column waits. It is a function of the name alone.
func quarantined(column string) string { return pg.FitName(column, "__quarantined") }
