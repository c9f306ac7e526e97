package provider_test

import (
	"regexp"
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/tfcli"
)

// TestTwoWorkspacesApplyAtOnce runs the same change from two states that know nothing of each other.
func TestTwoWorkspacesApplyAtOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 300)
	db.Exec(t, `CREATE TABLE kept AS SELECT id, full_name FROM users`)
	rivals := []*cliRun{newCLIRun(t, db, ""), newCLIRun(t, db, "")}
	slowUpdates(t, db, "users", "1 millisecond")

	for _, c := range []struct{ name, config string }{
		{"expand to backfill", stageBackfill},
		{"quarantine", stageQuarantine},
		{"drop", stageDrop},
		{"undo", stageBackfill},
		{"destroy", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var running []*tfcli.Process
			for _, r := range rivals {
				r.write("main.tf", c.config)
				running = append(running, r.in(t).start("apply", "-auto-approve"))
			}
			lost := make(map[int]bool)
			for i, p := range running {
				result := rivals[i].in(t).await(p)
				output := result.Stdout + result.Stderr
				expectOutput(t, output)
				expectUntainted(t, rivals[i].in(t))
				lost[i] = result.ExitCode != 0
				// A check that reads the ledger before the other apply commits, and the table after it, takes the columns for somebody else's.
				if told := regexp.MustCompile(`is already running|was taken over by another apply`); lost[i] && !told.MatchString(output) {
					t.Errorf("the loser does not say that another apply works on it:\n%s", output)
				}
			}
			if lost[0] && lost[1] {
				t.Error("neither apply went through")
			}
			for i, r := range rivals {
				if lost[i] {
					r.in(t).run(0, "apply", "-auto-approve")
				}
				r.in(t).run(0, "plan", "-detailed-exitcode")
			}
			expectNothingLost(t, db)
		})
	}
	if got := columnNames(t, db, "users"); got != "id,email,visits,full_name" {
		t.Errorf("columns after the destroy = %s", got)
	}
}
