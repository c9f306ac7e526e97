package contract

import (
	"fmt"
	"strings"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// Hazards returns what the reviewer should weigh.
func (s *Spec) Hazards() []ddl.Hazard {
	statements := s.Preview()
	hazards := ddl.LockHazards(s.Table.String(), statements)
	add := func(hazard ddl.HazardType, format string, args ...any) {
		hazards = append(hazards, ddl.Hazard{Type: hazard, Message: fmt.Sprintf(format, args...)})
	}
	columns := pg.QuoteAll(s.Columns)
	switch {
	case len(statements) == 0:
	case s.Mode != Drop:
		add(ddl.HidesColumns, "Statements that name %s fail from now on. Nothing is lost: the undo renames them back.", columns)
	case s.Prior == Drop:
		add(ddl.DeletesArchive, "The archive of %s goes: there is no way back to their values.", columns)
	case s.Archive:
		add(ddl.DeletesData, "The values of %s go. The undo brings them back from reverse and the archive.", columns)
	default:
		add(ddl.DeletesData, "The values of %s go, without an archive (archive = false).", columns)
	}
	if s.WritersMigrated {
		add(ddl.SkipsGate, "Only what was seen in the last 24 hours is checked for services that write the columns (writers_migrated = true).")
	}
	if s.QuietFor == 0 {
		add(ddl.SkipsGate, "Services that wrote the columns a moment ago do not count (quiet_for = \"0s\").")
	}
	if len(s.Ignore) > 0 {
		add(ddl.SkipsGate, "These writers do not count: %s (ignore).", strings.Join(s.Ignore, ", "))
	}
	if len(s.Drops) > 0 {
		add(ddl.DeletesData, "These objects go with the columns: %s (drops).", strings.Join(s.Drops, ", "))
	}
	return hazards
}
