package contract

import (
	"slices"
	"testing"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

func TestHazards(t *testing.T) {
	base := Spec{Table: pg.TableName{Schema: "public", Name: "users"}, Columns: []string{"full_name"}, Mode: Quarantine, QuietFor: 24 * time.Hour, Archive: true, Schema: "ledger"}
	tests := map[string]struct {
		change func(s *Spec)
		want   []ddl.HazardType
	}{
		"quarantine":                {func(*Spec) {}, []ddl.HazardType{ddl.TakesAccessExclusiveLock, ddl.HidesColumns}},
		"drop":                      {func(s *Spec) { s.Mode = Drop }, []ddl.HazardType{ddl.TakesAccessExclusiveLock, ddl.DeletesData}},
		"drop of an archive":        {func(s *Spec) { s.Mode, s.Prior, s.PriorArchive, s.Archive = Drop, Drop, true, false }, []ddl.HazardType{ddl.DeletesArchive}},
		"the user's word":           {func(s *Spec) { s.WritersMigrated = true }, []ddl.HazardType{ddl.TakesAccessExclusiveLock, ddl.HidesColumns, ddl.SkipsGate}},
		"no watch":                  {func(s *Spec) { s.QuietFor = 0 }, []ddl.HazardType{ddl.TakesAccessExclusiveLock, ddl.HidesColumns, ddl.SkipsGate}},
		"a writer that is ignored":  {func(s *Spec) { s.Ignore = []string{"report"} }, []ddl.HazardType{ddl.TakesAccessExclusiveLock, ddl.HidesColumns, ddl.SkipsGate}},
		"objects that go along too": {func(s *Spec) { s.Mode, s.Drops = Drop, []string{"index i"} }, []ddl.HazardType{ddl.TakesAccessExclusiveLock, ddl.DeletesData, ddl.DeletesData}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			spec := base
			test.change(&spec)
			var got []ddl.HazardType
			for _, h := range spec.Hazards() {
				got = append(got, h.Type)
				if h.Message == "" || !slices.Contains(ddl.HazardTypes, h.Type) {
					t.Errorf("hazard %+v", h)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("hazards %v, want %v", got, test.want)
			}
		})
	}
}
