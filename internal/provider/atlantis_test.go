package provider_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/stagedpg/terraform-provider-postgres/internal/atlantis"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/provider"
	"github.com/stagedpg/terraform-provider-postgres/internal/tfcli"
)

var update = flag.Bool("update", false, "write the comments in examples/guides/atlantis anew")

// pullRequests are a repository whose pull requests are planned and applied as Atlantis does.
type pullRequests struct {
	*exampleRun
	project *atlantis.Project
	merged  configuration
}

// newPullRequests gives the guide's table to the pull requests.
func newPullRequests(t *testing.T) *pullRequests {
	t.Helper()
	p, err := buildPlugin()
	if err != nil {
		t.Fatal(err)
	}
	r := &pullRequests{exampleRun: newExampleRun(t, p, "atlantis", nil), merged: configuration{}}
	r.createTables("guides/split-a-column")
	r.db.Exec(t, `ANALYZE users`)
	r.project = &atlantis.Project{Dir: ".", Workspace: "default", Checkout: r.ws, DiffMarkdown: true}
	return r
}

// open checks the repository with more files out into a folder of its own, as for each pull request. The state, which the
// backend would have, comes along.
func (r *pullRequests) open(files configuration) {
	r.t.Helper()
	const stateFile = "terraform.tfstate"
	state, err := os.ReadFile(filepath.Join(r.ws.Dir, stateFile))
	if err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
	checkout, err := tfcli.NewWorkspace(r.ws.CLI, provider.Address, pluginDir)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := checkout.Close(); err != nil {
			r.t.Error(err)
		}
	})
	checkout.Env = r.ws.Env
	r.ws, r.project.Checkout = checkout, checkout
	maps.Copy(r.merged, files)
	for name, content := range r.merged {
		r.put(name, content)
	}
	if state != nil {
		r.put(stateFile, string(state))
	}
}

func (r *pullRequests) put(name, content string) {
	r.t.Helper()
	if err := r.ws.Write(name, content); err != nil {
		r.t.Fatal(err)
	}
}

// plan plans until two plans in a row give the same comment. The first two do, unless the server is so busy that the sample of a
// backfill's forecast is cut short; with a time or an address in it, none ever would.
func (r *pullRequests) plan() (c atlantis.Comment) {
	r.t.Helper()
	const attempts = 5
	before := ""
	for i := range attempts {
		run, err := r.project.Plan(r.t.Context())
		if err != nil || run.ExitCode != 0 {
			r.t.Fatalf("plan ended with %d, %v:\n%s", run.ExitCode, err, run.Output)
		}
		if c = r.project.PlanComment(run); c.Text == before {
			break
		}
		if i == attempts-1 {
			r.t.Errorf("each plan of the same thing says something else. The last:\n%s\nthe one before:\n%s", c.Text, before)
		}
		before = c.Text
	}
	r.expectReadable(c)
	r.expectPreview(c)
	return c
}

func (r *pullRequests) apply(wantCode int) atlantis.Comment {
	r.t.Helper()
	run, err := r.project.Apply(r.t.Context())
	if err != nil || run.ExitCode != wantCode {
		r.t.Fatalf("apply ended with %d, want %d, %v:\n%s", run.ExitCode, wantCode, err, run.Output)
	}
	c := r.project.ApplyComment(run)
	r.expectReadable(c)
	return c
}

// How wide lines may be: those that Terraform wraps, and all, such as titles, SQL and attributes.
const (
	widestProse = 80
	widestLine  = 200
)

// expectReadable checks what holds of every comment.
func (r *pullRequests) expectReadable(c atlantis.Comment) {
	r.t.Helper()
	if strings.Contains(c.Output, "```") || strings.Count(c.Text, "```")%2 != 0 {
		r.t.Errorf("a code block is broken:\n%s", c.Text)
	}
	if strings.Contains(c.Text, "\x1b") {
		r.t.Errorf("colours are left:\n%q", c.Text)
	}
	for _, limit := range []int{atlantis.GitHubLimit, atlantis.BitbucketServerLimit} {
		if parts := atlantis.Split(c.Text, limit); len(parts) != 1 {
			r.t.Errorf("%d bytes become %d comments", len(c.Text), len(parts))
		}
	}
	if titles, err := atlantis.Diagnostics(c.Output); err != nil || len(slices.Compact(slices.Sorted(slices.Values(titles)))) != len(titles) {
		r.t.Errorf("the diagnostics are %q, %v:\n%s", titles, err, c.Output)
	}
	for line := range strings.SplitSeq(c.Output, "\n") {
		width := len([]rune(line))
		wrapped := strings.HasPrefix(line, "│ ") && !strings.HasPrefix(line, "│  ") &&
			!strings.HasPrefix(line, "│ Warning: ") && !strings.HasPrefix(line, "│ Error: ")
		if width > widestLine || wrapped && width > widestProse {
			r.t.Errorf("a line of %d characters: %s", width, line)
		}
	}
}

// knownAfterApply are the attributes that only the apply can know.
var knownAfterApply = regexp.MustCompile(`^[+!] +(status|rows_updated) +=`)

// expectPreview compares the comment with the plan that policies see: whatever is in it has to be seen by the reviewer.
func (r *pullRequests) expectPreview(c atlantis.Comment) {
	r.t.Helper()
	lines := strings.Split(c.Output, "\n")
	count := func(pattern string) (n int) {
		re := regexp.MustCompile(pattern)
		for _, line := range lines {
			if re.MatchString(line) {
				n++
			}
		}
		return n
	}
	for _, line := range lines {
		if strings.Contains(line, "(known after apply)") && !knownAfterApply.MatchString(line) {
			r.t.Errorf("the plan does not know: %s", line)
		}
	}
	statements, hazards := 0, make(map[string]int)
	for _, change := range r.shownPlan().ResourceChanges {
		if !change.Change.Actions.Create() {
			continue // What an update leaves as it is stays hidden.
		}
		if count(`^\+ resource "`+change.Type+`" "`+change.Name+`"`) != 1 {
			r.t.Errorf("%s is no line of the diff", change.Address)
		}
		for _, s := range previewOf(r.t, change).Statements {
			statements++
			for line := range strings.Lines(s.SQL) {
				if line = strings.TrimSpace(line); !strings.Contains(c.Output, line) {
					r.t.Errorf("the comment lacks the line %q of a statement", line)
				}
			}
		}
		for _, h := range previewOf(r.t, change).Hazards {
			hazards[h.Type]++
		}
	}
	if n := count(`^\+ +sql +=`); n != statements {
		r.t.Errorf("%d statements are lines of the diff, want %d", n, statements)
	}
	for hazard, want := range hazards {
		if n := count(`^\+ +type +="?.*"` + hazard + `"`); n != want {
			r.t.Errorf("%d lines of the diff are hazards %s, want %d", n, hazard, want)
		}
	}
}

func (r *pullRequests) shownPlan() *tfjson.Plan {
	r.t.Helper()
	shown, err := r.project.ShowPlan(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	plan := new(tfjson.Plan)
	if err := json.Unmarshal(shown, plan); err != nil {
		r.t.Fatal(err)
	}
	return plan
}

type preview struct {
	Statements []struct{ SQL string }
	Hazards    []struct{ Type string }
}

func previewOf(t *testing.T, change *tfjson.ResourceChange) (p preview) {
	t.Helper()
	after, err := json.Marshal(change.Change.After)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(after, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// splitPullRequests are the files of the guide on splitting a column, with the backfill of the guide on Atlantis.
func splitPullRequests(t *testing.T) (expand, sync, backfill, contract configuration) {
	t.Helper()
	files := readDir(t, "guides/split-a-column")
	const second = "\nresource \"postgres_column_sync\""
	first, rest, found := strings.Cut(files["1-expand.tf"], second)
	if !found {
		t.Fatal("the guide's 1-expand.tf has no sync")
	}
	return configuration{"provider.tf": files["provider.tf"], "expand.tf": first},
		configuration{"sync.tf": strings.TrimPrefix(second, "\n") + rest},
		configuration{"backfill.tf": read(t, "guides/atlantis/backfill.hcl")},
		configuration{"contract.tf": files["3-contract.tf"]}
}

func TestPullRequestsOfASplit(t *testing.T) {
	t.Parallel()
	r := newPullRequests(t)
	expand, sync, backfill, contract := splitPullRequests(t)
	oneToAdd := atlantis.Summary{Add: 1, Matches: 1}

	for _, pull := range []struct {
		name  string
		files configuration
	}{{"expand", expand}, {"sync", sync}} {
		r.open(pull.files)
		c := r.plan()
		expectSummary(t, c, oneToAdd)
		expectGolden(t, pull.name, c)
		r.put("pushed-later.tf", contract["contract.tf"]) // The apply runs the plan, whatever the folder has by now.
		expectApplied(t, r.apply(0), "1 added, 0 changed, 0 destroyed")
	}

	r.open(backfill)
	c := r.plan()
	expectSummary(t, c, oneToAdd)
	expectGolden(t, "backfill", c)
	r.open(configuration{"backfill.tf": strings.Replace(backfill["backfill.tf"], `"50m"`, `"1s"`, 1)})
	expectSummary(t, r.plan(), oneToAdd)
	slowUpdates(t, r.db, "users", "2 ms")
	applied := r.apply(0)
	if !strings.Contains(applied.Output, "stopped after its apply_budget of 1s at") {
		t.Errorf("the comment does not say that the budget is spent:\n%s", applied.Text)
	}
	for applies := 0; r.backfillStatus() != "complete"; applies++ {
		if applies == 50 {
			t.Fatal("50 applies were not enough")
		}
		c = r.plan()
		expectSummary(t, c, atlantis.Summary{Change: 1, Matches: 1})
		if !regexp.MustCompile(`(?m)^! +status +=.*"running" ->`).MatchString(c.Output) {
			t.Errorf("the comment does not show that the backfill goes on:\n%s", c.Text)
		}
		expectApplied(t, r.apply(0), "0 added, 1 changed, 0 destroyed")
	}
	r.db.Exec(t, `DROP TRIGGER slow ON users`)

	r.open(contract)
	c = r.plan()
	expectSummary(t, c, oneToAdd)
	expectGolden(t, "contract", c)
	expectApplied(t, r.apply(0), "1 added, 0 changed, 0 destroyed")
	if c = r.plan(); !c.Summary.NoChanges {
		t.Errorf("a plan after all is done says:\n%s", c.Text)
	}
}

func (r *pullRequests) backfillStatus() string {
	r.t.Helper()
	return pgtest.QueryRow[string](r.t, r.db, `SELECT status FROM terraform_postgres.progress`)
}

func expectSummary(t *testing.T, c atlantis.Comment, want atlantis.Summary) {
	t.Helper()
	if c.Summary != want {
		t.Errorf("the summary is %q (%+v), want %q:\n%s", c.Summary, c.Summary, want, c.Text)
	}
}

func expectApplied(t *testing.T, c atlantis.Comment, want string) {
	t.Helper()
	if !strings.Contains(c.Output, "Apply complete! Resources: "+want+".") {
		t.Errorf("the apply does not say %q:\n%s", want, c.Text)
	}
}

var (
	// figures are what differs between servers and machines in a comment that is right.
	figures = regexp.MustCompile(`(about )?\b[0-9][0-9,.]*( to [0-9][0-9,.]*)? ?(KiB|MiB|GiB|pages|ms|s|seconds|minutes|hours)\b|less than a minute|\bpid [0-9]+`)
	// preamble differs between Terraform and OpenTofu, and between their versions.
	preamble = regexp.MustCompile(`(?s)\A.*?\n\n  # `)
	// lineBreak is one that Terraform made, which figures of another length move.
	lineBreak = regexp.MustCompile(`\n│ ([^ \n])`)
	// forecast is cut short on a busy server.
	forecast = regexp.MustCompile(`(?m)^│ (It takes|How long it takes) .*$`)
)

func normalized(comment string) string {
	comment = lineBreak.ReplaceAllString(preamble.ReplaceAllString(comment, "  # "), " $1")
	comment = forecast.ReplaceAllString(comment, "│ forecast")
	return figures.ReplaceAllString(strings.ReplaceAll(comment, "updates up to ~", "updates ~"), "N")
}

// expectGolden compares the code block of a comment with the one that the guide shows.
func expectGolden(t *testing.T, name string, c atlantis.Comment) {
	t.Helper()
	file := "guides/atlantis/" + name + ".diff"
	if *update {
		if err := os.WriteFile(filepath.Join("..", "..", "examples", filepath.FromSlash(file)), []byte(trimLines(c.Output)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := normalized(trimLines(c.Output)), normalized(read(t, file)); got != want {
		t.Errorf("the comment differs from examples/%s, which -update writes anew. It is:\n%s", file, got)
	}
}

// trimLines takes spaces away from the ends of lines, as editors do.
func trimLines(text string) string {
	return regexp.MustCompile(`(?m) +$`).ReplaceAllString(text, "") + "\n"
}

// TestFailedApplyNamesTheBlocker keeps a reader open until Terraform has told that it waits.
func TestFailedApplyNamesTheBlocker(t *testing.T) {
	t.Parallel()
	r := newPullRequests(t)
	expand, _, _, _ := splitPullRequests(t)
	expand["provider.tf"] = strings.Replace(expand["provider.tf"], `provider "postgres" {}`, "provider \"postgres\" {\n  lock_retry_for = \"15s\"\n}", 1)
	r.open(expand)
	r.plan()
	expectApplied(t, r.apply(0), "1 added, 0 changed, 0 destroyed")

	r.open(configuration{"more.tf": strings.NewReplacer(`"name"`, `"more"`, "first_name", "nickname", "last_name ", "title ").Replace(expand["expand.tf"])})
	r.plan()
	reader, pid := readUsers(t, r.db)
	c := r.apply(1)
	if !strings.Contains(c.Text, "**Apply Error**") {
		t.Errorf("the comment does not say that the apply failed:\n%s", c.Text)
	}
	for _, want := range []string{"the table is locked by others", "nightly-report", fmt.Sprintf("SELECT pg_terminate_backend(%d);", pid)} {
		if !strings.Contains(c.Output, want) {
			t.Errorf("the comment lacks %q:\n%s", want, c.Text)
		}
	}
	expectRoomForWaiting(t, c)

	// Nothing was done, so that the plan still holds.
	if err := reader.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	expectApplied(t, r.apply(0), "1 added, 0 changed, 0 destroyed")
}

// expectRoomForWaiting takes the line that Terraform prints every 10 seconds from a comment, and computes what comes of it when
// a backfill goes on for the 50 minutes of the guide's apply_budget. Such a line has the id of the backfill as well.
func expectRoomForWaiting(t *testing.T, c atlantis.Comment) {
	t.Helper()
	waiting := regexp.MustCompile(`(?m)^postgres_column_expand\.more: Still creating\.\.\. \[.*elapsed\]$`).FindString(c.Output)
	if waiting == "" {
		t.Fatalf("Terraform did not tell that it waits:\n%s", c.Text)
	}
	line := strings.NewReplacer("postgres_column_expand.more", "postgres_batched_backfill.name", "creating", "modifying",
		"[", "[id=public.users/first_name,last_name, ").Replace(waiting) + "\n"
	const lines = 50 * 60 / 10
	if size := len(c.Text) + lines*len(line); size > atlantis.GitHubLimit*3/4 {
		t.Errorf("50 minutes fill %d bytes of a comment with %q", size, line)
	}
}

// TestTwentyStagesInOnePlan splits a column of five tables at once.
func TestTwentyStagesInOnePlan(t *testing.T) {
	t.Parallel()
	r := newPullRequests(t)
	expand, sync, backfill, contract := splitPullRequests(t)
	stages := strings.Join([]string{expand["expand.tf"], sync["sync.tf"], backfill["backfill.tf"], contract["contract.tf"]}, "\n")
	stages = strings.ReplaceAll(stages, ".name.", ".users.")
	files := configuration{"provider.tf": expand["provider.tf"]}
	for i := range 5 {
		table := fmt.Sprintf("users_%d", i)
		r.db.Exec(t, fmt.Sprintf(`CREATE TABLE %s (LIKE users INCLUDING ALL)`, table))
		r.db.Exec(t, fmt.Sprintf(`INSERT INTO %s (full_name, email) SELECT full_name, email FROM users; ANALYZE %[1]s`, table))
		files[table+".tf"] = strings.NewReplacer(`table = "users"`, fmt.Sprintf("table = %q", table), `" "name"`, `" "`+table+`"`, ".users.", "."+table+".").
			Replace(stages)
	}
	r.open(files)
	run, err := r.project.Plan(t.Context())
	if err != nil || run.ExitCode != 0 {
		t.Fatalf("plan ended with %d, %v:\n%s", run.ExitCode, err, run.Output)
	}
	c := r.project.PlanComment(run)
	expectSummary(t, c, atlantis.Summary{Add: 20, Matches: 1})
	r.expectPreview(c)
	t.Logf("%d bytes", len(c.Text))
	for limit, want := range map[int]int{atlantis.GitHubLimit: 1, atlantis.BitbucketServerLimit: 2} {
		parts := atlantis.Split(c.Text, limit)
		if len(parts) > want {
			t.Errorf("%d bytes become %d comments of %d, want %d", len(c.Text), len(parts), limit, want)
		}
		for _, part := range parts {
			if len(part) > limit || strings.Count(part, "```")%2 != 0 {
				t.Errorf("a comment of %d bytes, with a broken code block:\n%s", len(part), part)
			}
		}
	}
}
