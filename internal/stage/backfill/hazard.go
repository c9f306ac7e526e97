package backfill

import (
	"fmt"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
)

// Hazards returns what the reviewer should weigh.
func (s *Spec) Hazards() []ddl.Hazard {
	hazards := []ddl.Hazard{{
		Type:    ddl.UpdatesRows,
		Message: fmt.Sprintf("Rows of %s are updated in short transactions: standbys, archive and vacuum have as much to do as after any update.", s.Table),
	}}
	if s.Overwrite {
		hazards = append(hazards, ddl.Hazard{Type: ddl.OverwritesData, Message: "Values that differ from the expression are replaced (overwrite = true)."})
	}
	if s.QuietTriggers {
		hazards = append(hazards, ddl.Hazard{Type: ddl.SkipsTriggers, Message: fmt.Sprintf("Triggers of %s do not fire for these rows (fire_triggers = false).", s.Table)})
	}
	return hazards
}
