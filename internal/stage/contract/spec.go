// Package contract takes the old columns away at the end of a column change: renamed out of sight, from where they can
// come back at once, or dropped, with an archive from which they can come back as well. It goes ahead only when nothing
// needs them any more.
package contract

import (
	"fmt"
	"strings"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// Mode is how the columns are taken away.
type Mode string

// The modes of a contract.
const (
	// Quarantine renames the columns; nothing is lost.
	Quarantine Mode = "quarantine"
	// Drop drops them, after it has put them in quarantine and archived them.
	Drop Mode = "drop"
	// Undoing is what Read says of a contract whose undo was interrupted. Nobody can ask for it.
	Undoing Mode = "undoing"
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
	// QuietFor is how long the syncs of the columns must have seen nobody write the old side alone.
	QuietFor time.Duration
	// Ignore names writers that do not count, by their application name or role.
	Ignore []string
	// Archive keeps what a drop would lose in a table of the ledger.
	Archive bool
	// Schema is the ledger's schema, where the archive lives.
	Schema string
	// Prior is the mode that Terraform's state has, or "" before the first apply, and PriorArchive its archive.
	Prior        Mode `json:"-"`
	PriorArchive bool `json:"-"`
}

// Preview returns the statements. Those that rename the columns run in one transaction, those that drop them in another.
func (s *Spec) Preview() []ddl.Statement {
	if s.Mode == Drop && s.Prior == Drop && s.PriorArchive && !s.Archive {
		return []ddl.Statement{{SQL: s.dropArchive(), Lock: ddl.NoLock, Effect: ddl.MetadataOnly}}
	}
	var statements []ddl.Statement
	if s.Prior != Quarantine || s.Mode == Quarantine {
		statements = append(statements, s.quarantine()...)
	}
	if s.Mode != Drop {
		return statements
	}
	if s.Archive {
		statements = append(statements, s.previewArchive()...)
	}
	return append(statements, s.drop()...)
}

// quarantine renders how the columns are renamed.
func (s *Spec) quarantine() (statements []ddl.Statement) {
	for _, column := range s.Columns {
		away := pg.Quote(quarantined(column))
		statements = append(statements, s.alter("RENAME COLUMN %s TO %s", pg.Quote(column), away),
			// Writers that no longer know the column insert NULL into it.
			s.alter("ALTER COLUMN %s DROP NOT NULL", away))
	}
	return statements
}

// drop renders how the columns go, out of quarantine.
func (s *Spec) drop() (statements []ddl.Statement) {
	for _, column := range s.Columns {
		statements = append(statements, s.alter("DROP COLUMN %s", pg.Quote(quarantined(column))))
	}
	return statements
}

func (s *Spec) alter(format string, args ...any) ddl.Statement {
	sql := fmt.Sprintf("ALTER TABLE %s\n  ", s.Table.SQL()) + fmt.Sprintf(format, args...)
	return ddl.Statement{SQL: sql, Lock: ddl.AccessExclusive, Effect: ddl.MetadataOnly}
}

// describe names the columns for people: public.users (full_name).
func (s *Spec) describe() string {
	return fmt.Sprintf("%s (%s)", s.Table, strings.Join(s.Columns, ", "))
}

// noun names what the contract does.
func (s *Spec) noun() string {
	if s.Mode == Drop {
		return "Drop"
	}
	return "Quarantine"
}

// quarantined returns the name under which a column waits. It is a function of the name alone.
func quarantined(column string) string { return pg.FitName(column, "__quarantined") }
