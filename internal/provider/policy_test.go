package provider_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/atlantis"
	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// verdict is what conftest says of a plan.
type verdict struct{ Failures, Warnings []string }

// judge is a command that prints its verdict on a plan, as conftest test --output json does. The last arguments are the
// folder of the policies and the plan.
type judge struct {
	name string
	args func(policies, plan string) []string
}

// judges are the engine of conftest, which is always there, and conftest itself where it is on PATH.
var judges = sync.OnceValues(func() ([]judge, error) {
	engine := filepath.Join(pluginDir, "policycheck")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", engine, ".")
	build.Dir = filepath.Join("..", "..", "tools", "policycheck")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, errors.New("tools/policycheck cannot be built: " + string(out))
	}
	all := []judge{{"tools/policycheck", func(policies, plan string) []string { return []string{engine, policies, plan} }}}
	if conftest, err := exec.LookPath("conftest"); err == nil {
		all = append(all, judge{"conftest", func(policies, plan string) []string {
			return []string{conftest, "test", "--output", "json", "--policy", policies, plan}
		}})
	}
	return all, nil
})

func (j judge) judge(t *testing.T, policies, plan string) (v verdict) {
	t.Helper()
	args := j.args(policies, plan)
	out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).Output()
	var results []struct {
		Failures, Warnings []struct{ Msg string }
	}
	if parseErr := json.Unmarshal(out, &results); parseErr != nil || len(results) != 1 {
		t.Fatalf("%s: %v, %v\n%s", j.name, err, parseErr, out)
	}
	for _, m := range results[0].Failures {
		v.Failures = append(v.Failures, m.Msg)
	}
	for _, m := range results[0].Warnings {
		v.Warnings = append(v.Warnings, m.Msg)
	}
	slices.Sort(v.Failures)
	slices.Sort(v.Warnings)
	if (err != nil) != (len(v.Failures) > 0) {
		t.Errorf("%s: %v with the failures %q", j.name, err, v.Failures)
	}
	return v
}

// policyDir copies the guide's policy, with other approvals.
func policyDir(t *testing.T, approvals string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"hazards.rego":  read(t, "guides/atlantis/policy/hazards.rego"),
		"approved.rego": "package approved\n\n" + approvals + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// expectVerdict plans the configuration in r and has the plan judged. Each failure has to contain the words of its entry, in
// the order of their addresses.
func expectVerdict(t *testing.T, r *cliRun, policies string, failures [][]string, planArgs ...string) {
	t.Helper()
	all, err := judges()
	if err != nil {
		t.Fatal(err)
	}
	project := &atlantis.Project{Dir: ".", Workspace: "default", Checkout: r.Workspace}
	if run, err := project.Plan(t.Context(), planArgs...); err != nil || run.ExitCode != 0 {
		t.Fatalf("plan ended with %d, %v:\n%s", run.ExitCode, err, run.Output)
	}
	plan, err := project.ShowPlan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "plan.json")
	if err := os.WriteFile(file, plan, 0o600); err != nil {
		t.Fatal(err)
	}
	first := all[0].judge(t, policies, file)
	for _, other := range all[1:] {
		if v := other.judge(t, policies, file); !slices.Equal(v.Failures, first.Failures) || !slices.Equal(v.Warnings, first.Warnings) {
			t.Errorf("%s says\n%+v\n%s says\n%+v", other.name, v, all[0].name, first)
		}
	}
	if len(first.Failures) != len(failures) {
		t.Errorf("%d failures, want %d:\n%s", len(first.Failures), len(failures), strings.Join(first.Failures, "\n"))
		return
	}
	for i, words := range failures {
		for _, word := range words {
			if !strings.Contains(first.Failures[i], word) {
				t.Errorf("a failure lacks %q:\n%s", word, first.Failures[i])
			}
		}
	}
}

func TestPolicyOfTheGuide(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 100)
	nothingApproved, asInTheGuide := policyDir(t, ""), filepath.Join("..", "..", "examples", "guides", "atlantis", "policy")
	drop := strings.Replace(contractName, "columns ", "mode = \"drop\"\n  columns ", 1)
	const contract, rename = "postgres_column_contract.name: ", `RENAME COLUMN "full_name" TO "full_name__quarantined"`
	lock := []string{contract, "access_exclusive_lock is not approved", rename}

	r := newCLIRun(t, db, expandName)
	expectVerdict(t, r, nothingApproved, nil)
	r.write("main.tf", expandName+backfillName+contractName)
	expectVerdict(t, r, nothingApproved, [][]string{lock})
	expectVerdict(t, r, asInTheGuide, nil)
	r.write("main.tf", expandName+backfillName+drop)
	expectVerdict(t, r, asInTheGuide, [][]string{{contract, "deletes_data is not approved", `DROP COLUMN "full_name`}})

	r.write("main.tf", expandName+backfillName+contractName)
	r.apply()
	expectVerdict(t, r, nothingApproved, nil)
	r.write("main.tf", expandName+backfillName+strings.Replace(contractName, "columns ", "timeouts = { delete = \"2h\" }\n  columns ", 1))
	expectVerdict(t, r, nothingApproved, nil) // It runs nothing.
	r.write("main.tf", expandName+backfillName+drop)
	expectVerdict(t, r, nothingApproved, [][]string{{contract, "access_exclusive_lock"}, {contract, "deletes_data"}})

	rewriting := strings.Replace(expandName, "}\n  }", "}\n    token      = { type = \"uuid\", default = \"gen_random_uuid()\" }\n  }\n  allow = [\"table_rewrite\"]", 1)
	r.write("main.tf", rewriting+backfillName+contractName)
	expectVerdict(t, r, nothingApproved, [][]string{{"postgres_column_expand.name: table_rewrite is not approved", `ADD COLUMN "token" uuid`}})

	destroy := [][]string{{"postgres_column_expand.name: destroying it is not approved", "columns of users: first_name, last_name"}}
	r.write("main.tf", expandName+backfillName+contractName)
	expectVerdict(t, r, asInTheGuide, destroy, "-destroy")
	expectVerdict(t, r, policyDir(t, `changes["postgres_column_expand.name"] := {"destroy"}`), nil, "-destroy")
}

func TestPolicyRefusesWhatIsNotKnown(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 1)
	r := newCLIRun(t, db, "resource \"terraform_data\" \"table\" {\n  input = \"users\"\n}\n"+
		strings.Replace(expandName, `"users"`, "terraform_data.table.output", 1))
	expectVerdict(t, r, policyDir(t, ""), [][]string{{"postgres_column_expand.name: its hazards are not known at plan time"}})
}

// TestPolicyNamesHazardsThatExist compares the sets in the policy with the provider's hazards.
func TestPolicyNamesHazardsThatExist(t *testing.T) {
	sets := regexp.MustCompile(`(?m)^(?:needs_approval|deserves_a_warning|contract_needs_approval) := \{(.*)\}$`).
		FindAllStringSubmatch(read(t, "guides/atlantis/policy/hazards.rego"), -1)
	if len(sets) != 3 {
		t.Fatalf("%d sets of hazards, want 3", len(sets))
	}
	for _, set := range sets {
		for _, name := range strings.Split(set[1], ", ") {
			if !slices.Contains(ddl.HazardTypes, ddl.HazardType(strings.Trim(name, `"`))) {
				t.Errorf("no stage has the hazard %s", name)
			}
		}
	}
}
