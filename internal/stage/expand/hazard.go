package expand

import "github.com/stagedpg/terraform-provider-postgres/internal/ddl"

// Hazards returns what the reviewer should weigh.
func (s *Spec) Hazards() []ddl.Hazard { return ddl.LockHazards(s.Table.String(), s.Preview()) }
