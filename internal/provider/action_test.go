package provider_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/tfcli"
)

// outcome is what an action told, and how it ended.
type outcome struct {
	progress    []string
	diagnostics []string
	failed      bool
}

func (o outcome) String() string {
	return strings.Join(slices.Concat(o.progress, o.diagnostics), "\n")
}

func (p *protocol) invoke(name string, given map[string]string) outcome {
	p.t.Helper()
	return p.invokeWithin(p.t.Context(), name, given, func(string) {})
}

// invokeWithin hands each line of progress to tell as it comes.
func (p *protocol) invokeWithin(ctx context.Context, name string, given map[string]string, tell func(string)) (o outcome) {
	p.t.Helper()
	config := p.value(p.schemas.ActionSchemas[name].Schema.ValueType(), given)
	note := func(diagnostics []*tfprotov6.Diagnostic) {
		for _, d := range diagnostics {
			o.diagnostics = append(o.diagnostics, d.Summary+"\n"+d.Detail)
			o.failed = o.failed || d.Severity == tfprotov6.DiagnosticSeverityError
		}
	}
	valid, err := p.server.ValidateActionConfig(ctx, &tfprotov6.ValidateActionConfigRequest{ActionType: name, Config: config})
	if err != nil {
		p.t.Fatal(err)
	}
	if note(valid.Diagnostics); o.failed {
		return o
	}
	planned, err := p.server.PlanAction(ctx, &tfprotov6.PlanActionRequest{ActionType: name, Config: config})
	if err != nil {
		p.t.Fatal(err)
	}
	if note(planned.Diagnostics); o.failed {
		return o
	}
	stream, err := p.server.InvokeAction(ctx, &tfprotov6.InvokeActionRequest{ActionType: name, Config: config})
	if err != nil {
		p.t.Fatal(err)
	}
	for event := range stream.Events {
		switch event := event.Type.(type) {
		case tfprotov6.ProgressInvokeActionEventType:
			o.progress = append(o.progress, event.Message)
			tell(event.Message)
		case tfprotov6.CompletedInvokeActionEventType:
			note(event.Diagnostics)
		}
	}
	return o
}

func (p *protocol) expect(o outcome, failed bool, parts ...string) {
	p.t.Helper()
	if o.failed != failed {
		p.t.Fatalf("failed: %t, want %t\n%s", o.failed, failed, o)
	}
	for _, part := range parts {
		if !strings.Contains(o.String(), part) {
			p.t.Errorf("the action does not say %q:\n%s", part, o)
		}
	}
}

const nameID = "public.users/first_name,last_name"

// interrupted leaves a backfill of which an apply did a part, on a table whose updates take a while.
func interrupted(t *testing.T, rows int) (*pgtest.Database, *cliRun) {
	t.Helper()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, rows)
	countUpdates(t, db)
	slowUpdates(t, db, "users", "1 ms")
	r := newCLIRun(t, db, expandName+backfillWith(`apply_budget = "1s"`))
	r.run(0, "apply", "-auto-approve")
	if status := pgtest.QueryRow[string](t, db, `SELECT status FROM terraform_postgres.progress`); status != "interrupted" {
		t.Fatalf("the backfill is %s, so that there is nothing left to run", status)
	}
	return db, r
}

// Run goes on where an apply stopped, tells how it goes, and leaves nothing to the next apply but to see it.
func TestActionRunsABackfillToItsEnd(t *testing.T) {
	t.Parallel()
	db, r := interrupted(t, 6000)
	a := newProtocol(t, db.ConnString())
	a.expect(a.invoke("postgres_backfill_verify", map[string]string{"id": nameID}), true, "rows of public.users would need the backfill "+nameID, "postgres_backfill_run")
	ran := a.invoke("postgres_backfill_run", map[string]string{"id": nameID, "for": "1s"})
	a.expect(ran, false, "Backfill of public.users (first_name, last_name) stopped after the 1s that the action gave it at")
	ran = a.invoke("postgres_backfill_run", map[string]string{"id": nameID})
	a.expect(ran, false, nameID+", complete")
	if len(ran.progress) < 2 || !strings.Contains(ran.progress[0], "%") {
		t.Errorf("no progress was told:\n%s", ran)
	}
	a.expect(a.invoke("postgres_backfill_verify", map[string]string{"id": nameID}), false, "no row needs work")
	expectEachOnce(t, db)
	r.apply()
	expectEachOnce(t, db)
	db.Exec(t, `ALTER TABLE users DISABLE TRIGGER USER`)
	db.Exec(t, `INSERT INTO users (full_name) VALUES ('Ann Lee')`)
	a.expect(a.invoke("postgres_backfill_verify", map[string]string{"id": nameID}), true, "1 row of public.users")
	a.expect(a.invoke("postgres_backfill_run", map[string]string{"id": nameID}), false, "complete")
	a.expect(a.invoke("postgres_backfill_verify", map[string]string{"id": nameID}), false)
}

func TestActionsPauseAndResumeARunningBackfill(t *testing.T) {
	t.Parallel()
	db, _ := interrupted(t, 8000)
	a, operator := newProtocol(t, db.ConnString()), newProtocol(t, db.ConnString())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	lines := make(chan string, 1000)
	ended := make(chan outcome, 1)
	go func() {
		defer close(lines)
		ended <- a.invokeWithin(ctx, "postgres_backfill_run", map[string]string{"id": nameID}, func(line string) { lines <- line })
	}()
	before := rowsUpdated(t, db)
	eventually(t, "the backfill runs", func() bool { return rowsUpdated(t, db) > before })
	operator.expect(operator.invoke("postgres_backfill_pause", nil), false, "Backfill "+nameID+" is paused")
	told := false
	for line := range lines {
		if told = strings.Contains(line, "paused by "+db.OwnerRole); told {
			break
		}
	}
	if !told {
		t.Errorf("the run did not tell that it was paused:\n%s", <-ended)
		return
	}
	operator.expect(operator.invoke("postgres_backfill_resume", map[string]string{"id": nameID}), false, "Backfill "+nameID+" is resumed")
	a.expect(<-ended, false, nameID+", complete")
	expectEachOnce(t, db)
	operator.expect(operator.invoke("postgres_backfill_pause", nil), false, "No backfill is running: there is nothing to pause")
	operator.expect(operator.invoke("postgres_backfill_resume", map[string]string{"id": nameID}), true, "Backfill "+nameID+" is complete")
}

func TestActionThatIsCancelledIsNoSuccess(t *testing.T) {
	t.Parallel()
	db, r := interrupted(t, 6000)
	a := newProtocol(t, db.ConnString())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := a.invokeWithin(ctx, "postgres_backfill_run", map[string]string{"id": nameID}, func(string) { cancel() })
	a.expect(o, true, "Action postgres_backfill_run was interrupted")
	r.write("main.tf", expandName+backfillName)
	r.apply()
	expectEachOnce(t, db)
}

func TestActionsRefuseWhatThereIsNot(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	a := newProtocol(t, db.ConnString())
	for _, name := range []string{"run", "verify", "pause", "resume"} {
		a.expect(a.invoke("postgres_backfill_"+name, map[string]string{"id": "public.t/a"}), true, "No backfill has the id public.t/a", "The ledger has none")
	}
	a.expect(a.invoke("postgres_backfill_pause", nil), false, "No backfill is running")
	a.expect(a.invoke("postgres_backfill_run", map[string]string{"id": "public.t/a", "for": "10"}), true, "duration")
	a.expect(a.invoke("postgres_backfill_run", map[string]string{"id": "public.t/a", "for": "0s"}), true, "Attribute for is 0s")
	createUsers(t, db, 10)
	newCLIRun(t, db, expandName+backfillName).apply()
	a.expect(a.invoke("postgres_backfill_run", map[string]string{"id": "public.t/a"}), true, "No backfill has the id public.t/a", "  - "+nameID)

	nowhere := newProtocol(t, "postgres://nobody@127.0.0.1:1/none?sslmode=disable")
	nowhere.expect(nowhere.invoke("postgres_backfill_pause", nil), true, "The database cannot be reached")
}

// Terraform has actions since 1.14, OpenTofu has none. An older one must work with a provider that has them, which all the
// other tests show.
func TestActionsThroughTheCommand(t *testing.T) {
	t.Parallel()
	p, err := buildPlugin()
	if err != nil {
		t.Fatal(err)
	}
	if !hasActions(p.cli) {
		t.Logf("%s has no actions; what they do is tested without it", p.cli)
		return
	}
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 100)
	r := newCLIRun(t, db, expandName+backfillName)
	r.apply()
	db.Exec(t, `INSERT INTO users (full_name) VALUES ('Ann Lee')`)
	r.write("actions.tf", fmt.Sprintf("action \"postgres_backfill_run\" \"fill\" {\n  config {\n    id = %q\n  }\n}\n", nameID))
	output := r.run(0, "apply", "-auto-approve", "-invoke=action.postgres_backfill_run.fill")
	if !strings.Contains(output, nameID+", complete") {
		t.Errorf("the command shows no progress:\n%s", output)
	}
	expectRightNames(t, db, 101)
}

func hasActions(cli tfcli.CLI) bool { return cli.Product == tfcli.Terraform && cli.AtLeast("1.14.0") }
