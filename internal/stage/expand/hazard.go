package expand

import (
	"fmt"
	"strings"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// Hazards returns what the reviewer should weigh.
func (s *Spec) Hazards() []ddl.Hazard {
	hazards := ddl.LockHazards(s.Table.String(), s.Preview())
	if leaving := s.leaving(); len(leaving) > 0 {
		refused := "The apply refuses that where they are nowhere else."
		if s.ForceDestroy {
			refused = "Nothing keeps those that are nowhere else (force_destroy = true)."
		}
		for i, name := range leaving {
			leaving[i] = pg.Quote(name)
		}
		hazards = append(hazards, ddl.Hazard{Type: ddl.DeletesData, Message: fmt.Sprintf("The values of %s go. %s", strings.Join(leaving, ", "), refused)})
	}
	return hazards
}
