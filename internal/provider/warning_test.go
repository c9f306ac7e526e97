package provider_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// diagnostic is a line of terraform plan -json, in which warnings are not merged.
type diagnostic struct {
	Severity, Summary, Detail string
}

// planWarnings returns the warnings of a plan that must succeed, without that of the development override.
func planWarnings(t *testing.T, r *cliRun, args ...string) (warnings []diagnostic) {
	t.Helper()
	result, err := r.Run(t.Context(), append([]string{"plan", "-json"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	if result.ExitCode != 0 {
		t.Fatalf("plan ended with %d:\n%s", result.ExitCode, result.Stdout)
	}
	lines := bufio.NewScanner(strings.NewReader(result.Stdout))
	for lines.Scan() {
		var line struct {
			Type       string
			Diagnostic diagnostic
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		if line.Type == "diagnostic" && !strings.Contains(line.Diagnostic.Summary, "development overrides") {
			warnings = append(warnings, line.Diagnostic)
		}
	}
	for _, w := range warnings {
		for _, forbidden := range []string{"```", "Refreshing state...", "Plan: ", "No changes."} {
			if strings.Contains(w.Summary+w.Detail, forbidden) {
				t.Errorf("a warning contains %q, which breaks a pull-request comment:\n%s\n%s", forbidden, w.Summary, w.Detail)
			}
		}
	}
	return warnings
}

func expectWarning(t *testing.T, warnings []diagnostic, parts ...string) {
	t.Helper()
	if !slices.ContainsFunc(warnings, func(w diagnostic) bool {
		return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(w.Summary+"\n"+w.Detail, p) })
	}) {
		t.Errorf("no warning has %q:\n%v", parts, warnings)
	}
}

// linesOf is how many lines of 78 columns a warning takes in a pull request, blank ones aside. Terraform wraps all but those that
// begin with a space.
func linesOf(w diagnostic) (n int) {
	for line := range strings.Lines(w.Detail) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		n++
		if strings.HasPrefix(line, " ") {
			continue
		}
		column := 0
		for _, word := range strings.Fields(line) {
			if column > 0 && column+1+len(word) > 78 {
				n++
				column = 0
			}
			column += 1 + len(word)
		}
	}
	return n
}

// expectShort fails when a warning is more than a reviewer reads.
func expectShort(t *testing.T, warnings []diagnostic) {
	t.Helper()
	const most = 13 // A dozen is the aim, with the statement for a trigger one more.
	for _, w := range warnings {
		if n := linesOf(w); n > most {
			t.Errorf("a warning has %d lines:\n%s\n%s", n, w.Summary, w.Detail)
		}
	}
}

func TestPlanTellsTheReviewerLiveFacts(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 3000)
	db.Exec(t, `
		ANALYZE users;
		CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
		CREATE TRIGGER audit BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION note();`)
	r := newCLIRun(t, db, expandName+backfillName+contractName)
	warnings := planWarnings(t, r)
	if len(warnings) != 3 {
		t.Errorf("%d warnings, want one for each stage", len(warnings))
	}
	expectWarning(t, warnings, "Adding columns to public.users (first_name, last_name) takes an ACCESS EXCLUSIVE lock for a moment", "~3,000 rows")
	expectWarning(t, warnings, "Backfill of public.users (first_name, last_name) updates ~3,000 rows", "audit, which calls note()",
		"takes less than a minute and writes about", "estimated from a sample")
	expectWarning(t, warnings, "Quarantine of columns of public.users (full_name)", "renames them back")
	expectShort(t, warnings)
	// Terraform plans some of them side by side.
	again, bySummary := planWarnings(t, r), func(a, b diagnostic) int { return strings.Compare(a.Summary, b.Summary) }
	slices.SortFunc(warnings, bySummary)
	slices.SortFunc(again, bySummary)
	if !slices.Equal(again, warnings) {
		t.Errorf("two plans say:\n%v\n%v", warnings, again)
	}

	r.apply()
	if warnings := planWarnings(t, r); len(warnings) != 0 {
		t.Errorf("a plan without changes warns: %v", warnings)
	}
	warnings = planWarnings(t, r, "-destroy")
	expectShort(t, warnings)
	expectWarning(t, warnings, "Destroying the contract brings columns of public.users (full_name) back",
		`ALTER TABLE "public"."users" RENAME COLUMN "full_name__quarantined" TO "full_name";`)
	expectWarning(t, warnings, "Destroying the expand drops columns of public.users (first_name, last_name)", `DROP COLUMN "first_name";`)
	expectWarning(t, warnings, "Destroying the backfill of public.users (first_name, last_name) only forgets it")
}

func TestPlanWithoutADatabaseWarnsOnce(t *testing.T) {
	t.Parallel()
	r := newCLIRun(t, pgtest.NewDatabase(t), expandName+backfillName+contractName)
	r.write("override.tf", "provider \"postgres\" {\n  connection_string = \"postgres://nobody@127.0.0.1:1/none?sslmode=disable\"\n}\n")
	warnings := planWarnings(t, r)
	if len(warnings) != 1 {
		t.Errorf("%d warnings, want one", len(warnings))
	}
	expectWarning(t, warnings, "The plan was made without the database", "the database is created in the same apply")

	r.write("override.tf", "provider \"postgres\" {\n  connection_string = null\n  host = \""+r.db.Server.Host+"\"\n  port = "+fmt.Sprint(r.db.Server.Port)+
		"\n  username = \"nobody\"\n  password = \"wrong\"\n  sslmode = \"disable\"\n}\n")
	warnings = planWarnings(t, r)
	expectWarning(t, warnings, "The plan was made without the database", "check username, password and password_command")
}
