package dualwrite

import (
	"fmt"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
)

// Hazards returns what the reviewer should weigh.
func (s *Spec) Hazards() []ddl.Hazard {
	hazards := append(ddl.LockHazards(s.Table.String(), s.Preview()), ddl.Hazard{
		Type: ddl.AddsTrigger, Message: fmt.Sprintf("Every INSERT and UPDATE of %s computes the other side of the row from now on.", s.Table),
	})
	switch s.Conflict {
	case OldWins, NewWins:
		hazards = append(hazards, ddl.Hazard{Type: ddl.OverwritesData, Message: fmt.Sprintf("Of a row of which a writer changes both sides, one is "+
			"replaced (conflict = %q).", s.Conflict)})
	case Reject:
		hazards = append(hazards, ddl.Hazard{Type: ddl.RejectsWrites, Message: fmt.Sprintf("A statement that changes both sides of a row so that they "+
			"disagree fails (conflict = %q).", s.Conflict)})
	case KeepBoth:
	}
	return hazards
}
