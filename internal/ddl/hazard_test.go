package ddl_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
)

func TestLockHazards(t *testing.T) {
	hazards := ddl.LockHazards("public.users", []ddl.Statement{
		{Lock: ddl.AccessExclusive}, {Lock: ddl.NoLock}, {Lock: ddl.RowExclusive}, {Lock: ddl.AccessExclusive}, {Lock: ddl.ShareRowExclusive},
	})
	if len(hazards) != 2 || hazards[0].Type != ddl.TakesAccessExclusiveLock || hazards[1].Type != ddl.TakesShareRowExclusiveLock {
		t.Fatalf("hazards %+v", hazards)
	}
	for i, want := range []string{
		"An ACCESS EXCLUSIVE lock on public.users for 2 statements: reads and writes wait", "A SHARE ROW EXCLUSIVE lock on public.users for 1 statement: writes wait",
	} {
		if !strings.HasPrefix(hazards[i].Message, want) {
			t.Errorf("%q, want it to begin with %q", hazards[i].Message, want)
		}
	}
}

func TestHazardsOfARewrite(t *testing.T) {
	hazards := ddl.LockHazards("public.users", []ddl.Statement{
		{Lock: ddl.AccessExclusive, Effect: ddl.MetadataOnly}, {Lock: ddl.AccessExclusive, Effect: ddl.Rewrites},
	})
	if len(hazards) != 2 || hazards[0].Type != ddl.TakesAccessExclusiveLock || hazards[1].Type != "table_rewrite" {
		t.Fatalf("hazards %+v", hazards)
	}
	if strings.Contains(hazards[0].Message, "milliseconds") || !strings.Contains(hazards[1].Message, "reads and writes wait for the whole rewrite") {
		t.Errorf("hazards %+v", hazards)
	}
	if !slices.Contains(ddl.HazardTypes, ddl.RewritesTable) {
		t.Error("the type is not among those that are documented")
	}
}
