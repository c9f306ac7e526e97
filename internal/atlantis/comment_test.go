package atlantis

import (
	"strings"
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/tfcli"
)

var project = &Project{Dir: "db", Workspace: "default", Checkout: &tfcli.Workspace{Dir: "/repos/db"}}

func TestShortOutputIsShown(t *testing.T) {
	got := project.PlanComment(Run{Output: "No changes. Your infrastructure matches the configuration.\n"}).Text
	want := "Ran Plan for dir: `db` workspace: `default`\n\n```diff\nNo changes. Your infrastructure matches the configuration.\n```\n\n"
	if got != want {
		t.Errorf("%q, want\n%q", got, want)
	}
}

func TestMoreThanTwelveLinesAreFolded(t *testing.T) {
	for lines, folded := range map[int]bool{12: false, 13: true} {
		output := strings.Repeat("line\n", lines-1) + "Plan: 1 to add, 0 to change, 0 to destroy.\n"
		got := project.PlanComment(Run{Output: output}).Text
		if strings.Contains(got, "<details>") != folded {
			t.Errorf("%d lines:\n%s", lines, got)
		}
		if strings.Contains(got, "</details>\nPlan: 1 to add, 0 to change, 0 to destroy.\n") != folded {
			t.Errorf("the summary of %d lines:\n%s", lines, got)
		}
	}
}

func TestNamedProjectIsAppliedByItsName(t *testing.T) {
	named := *project
	named.Name = "users"
	got := named.PlanComment(Run{Output: "Plan: 1 to add, 0 to change, 0 to destroy."}).Text
	for _, want := range []string{"Ran Plan for project: `users` dir: `db` workspace: `default`", "atlantis apply -p users"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	if got := named.PlanFile(); got != "/repos/db/users-default.tfplan" {
		t.Errorf("the plan is kept in %s", got)
	}
}

func TestFailureIsNoDiff(t *testing.T) {
	got := project.ApplyComment(Run{Output: "\x1b[31m╷\n│ Error: x\n╵\x1b[0m", ExitCode: 1}).Text
	if !strings.Contains(got, "**Apply Error**\n```\nexit status 1: ") || !strings.Contains(got, "\n╷\n│ Error: x\n╵\n```\n") {
		t.Errorf("got:\n%s", got)
	}
}
