// Package dualwrite keeps the old and the new columns of a change equal, by one trigger that fills whichever side a writer
// left out. It also notes who still writes one side only.
package dualwrite

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// Conflict is what happens to a row of which a writer changes both sides.
type Conflict string

// The policies for a writer that changes both sides.
const (
	// KeepBoth trusts the writer.
	KeepBoth Conflict = "keep_both"
	// OldWins computes the new side from the old one.
	OldWins Conflict = "old_wins"
	// NewWins computes the old side from the new one.
	NewWins Conflict = "new_wins"
	// Reject fails the statement unless one side follows from the other.
	Reject Conflict = "reject"
)

// Conflicts are all policies.
var Conflicts = []Conflict{KeepBoth, OldWins, NewWins, Reject}

// Spec is a sync as the user describes it.
type Spec struct {
	// ID is the identity in the ledger and in Terraform.
	ID    string
	Table pg.TableName
	// Forward maps the new columns to SQL expressions over the row, Reverse the old ones. Reverse may be empty.
	Forward map[string]string
	Reverse map[string]string
	// Conflict is the policy for writers that change both sides.
	Conflict Conflict
	// EnableAlways lets the trigger fire for changes that logical replication applies, too.
	EnableAlways bool
	// Schema is the ledger's schema, where the trigger's function lives.
	Schema string
}

// ID returns the identity of a sync that fills these columns.
func ID(table pg.TableName, forward map[string]string) string {
	return pg.FormatID(table, stage.SortedKeys(forward))
}

// New returns the new columns, sorted.
func (s *Spec) New() []string { return stage.SortedKeys(s.Forward) }

// Old returns the old columns that the sync writes, sorted.
func (s *Spec) Old() []string { return stage.SortedKeys(s.Reverse) }

// describe names the columns for people: public.users (first_name, last_name).
func (s *Spec) describe() string {
	return fmt.Sprintf("%s (%s)", s.Table, strings.Join(s.New(), ", "))
}

// label names the sync by the columns that it had when it was made, so that its trigger and function keep their names.
func (s *Spec) label() string {
	columns := s.New()
	if _, made, err := pg.ParseID(s.ID); err == nil {
		columns = made
	}
	return strings.Join(columns, "_")
}

// trigger is the name of the trigger. Triggers fire in the byte order of their names, and this one wants to see what the
// others have done.
func (s *Spec) trigger() string { return pg.FitName("zzz_sync_"+s.label(), "") }

// function is the name of the trigger's function. The hash keeps tables of one name in two schemas apart.
func (s *Spec) function() pg.TableName {
	return pg.TableName{Schema: s.Schema, Name: pg.FitName("sync_"+s.Table.Name+"_"+s.label(), s.hash())}
}

func (s *Spec) hash() string { return fmt.Sprintf("_%08x", pg.Hash(s.ID)) }

// Preview returns the statements of a sync that is made anew. They run in one transaction.
func (s *Spec) Preview() []ddl.Statement {
	statements := []ddl.Statement{
		{SQL: s.createFunction(s.body()), Lock: ddl.NoLock, Effect: ddl.MetadataOnly},
		{SQL: s.createTrigger(), Lock: ddl.ShareRowExclusive, Effect: ddl.MetadataOnly},
	}
	if s.EnableAlways {
		statements = append(statements, ddl.Statement{SQL: s.enableTrigger(), Lock: ddl.ShareRowExclusive, Effect: ddl.MetadataOnly})
	}
	return statements
}

func (s *Spec) createTrigger() string {
	return fmt.Sprintf("CREATE OR REPLACE TRIGGER %s\n  BEFORE INSERT OR UPDATE ON %s\n  FOR EACH ROW WHEN (%s)\n  EXECUTE FUNCTION %s()",
		pg.Quote(s.trigger()), s.Table.SQL(), s.notFilling(), s.function().SQL())
}

func (s *Spec) enableTrigger() string {
	mode := ""
	if s.EnableAlways {
		mode = "ALWAYS "
	}
	return fmt.Sprintf("ALTER TABLE %s\n  ENABLE %sTRIGGER %s", s.Table.SQL(), mode, pg.Quote(s.trigger()))
}

func (s *Spec) dropTrigger() string {
	return fmt.Sprintf("DROP TRIGGER IF EXISTS %s ON %s", pg.Quote(s.trigger()), s.Table.SQL())
}

func (s *Spec) dropFunction() string {
	return fmt.Sprintf("DROP FUNCTION IF EXISTS %s()", s.function().SQL())
}

// notFilling is the trigger's condition: it stays out of the way of a backfill that fills the new side, or that fills the
// old side from the new one, because what a backfill writes is no news to the other side. Any other backfill counts as
// a writer. The server computes all but the setting once for each statement.
func (s *Spec) notFilling() string {
	table := fmt.Sprintf("%s::regclass::oid::text", pg.Literal(s.Table.SQL()))
	var keys []string
	for _, column := range s.New() {
		keys = append(keys, pg.Literal(stage.Fills(column)))
		for _, old := range s.Old() {
			keys = append(keys, pg.Literal(stage.FillsFrom(old, column)))
		}
		if len(s.Reverse) == 0 { // Nobody has said which columns are the old side.
			keys = append(keys, pg.Literal(stage.FillsReading(column)))
		}
	}
	slices.Sort(keys)
	for i := range keys {
		keys[i] = table + " || " + keys[i]
	}
	return fmt.Sprintf("NOT coalesce(nullif(current_setting('%s', true), '')::text[]\n    && ARRAY[%s], false)", stage.FillingSetting,
		strings.Join(keys, ",\n             "))
}
