package provider_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/provider"
	"github.com/stagedpg/terraform-provider-postgres/internal/tfcli"
)

// actions is a provider that is configured for the test's database, as Terraform 1.14 speaks to it.
type actions struct {
	t      *testing.T
	server tfprotov6.ProviderServerWithActions //nolint:staticcheck // until its methods are those of ProviderServer
	types  map[string]tftypes.Type
}

func newActions(t *testing.T, connString string) *actions {
	t.Helper()
	server := providerserver.NewProtocol6(provider.New("test")())().(tfprotov6.ProviderServerWithActions) //nolint:staticcheck // as above
	schemas, err := server.GetProviderSchema(t.Context(), &tfprotov6.GetProviderSchemaRequest{})
	if err != nil {
		t.Fatal(err)
	}
	a := &actions{t: t, server: server, types: make(map[string]tftypes.Type)}
	for name, s := range schemas.ActionSchemas {
		a.types[name] = s.Schema.ValueType()
	}
	config := a.value(schemas.Provider.ValueType(), map[string]string{"connection_string": connString, "lock_retry_for": "5s"})
	configured, err := server.ConfigureProvider(t.Context(), &tfprotov6.ConfigureProviderRequest{Config: config})
	if err != nil || len(configured.Diagnostics) > 0 {
		t.Fatalf("configure: %v, %v", err, configured)
	}
	return a
}

// value is a configuration of that type, in which what is left out is null.
func (a *actions) value(of tftypes.Type, given map[string]string) *tfprotov6.DynamicValue {
	a.t.Helper()
	attributes := make(map[string]tftypes.Value)
	for name, kind := range of.(tftypes.Object).AttributeTypes {
		attributes[name] = tftypes.NewValue(kind, nil)
		if text, ok := given[name]; ok {
			attributes[name] = tftypes.NewValue(kind, text)
		}
	}
	value, err := tfprotov6.NewDynamicValue(of, tftypes.NewValue(of, attributes))
	if err != nil {
		a.t.Fatal(err)
	}
	return &value
}

// outcome is what an action told, and how it ended.
type outcome struct {
	progress    []string
	diagnostics []string
	failed      bool
}

func (o outcome) String() string {
	return strings.Join(slices.Concat(o.progress, o.diagnostics), "\n")
}

func (a *actions) invoke(name string, given map[string]string) outcome {
	a.t.Helper()
	return a.invokeWithin(a.t.Context(), name, given, func(string) {})
}

// invokeWithin hands each line of progress to tell as it comes.
func (a *actions) invokeWithin(ctx context.Context, name string, given map[string]string, tell func(string)) (o outcome) {
	a.t.Helper()
	config := a.value(a.types[name], given)
	note := func(diagnostics []*tfprotov6.Diagnostic) {
		for _, d := range diagnostics {
			o.diagnostics = append(o.diagnostics, d.Summary+"\n"+d.Detail)
			o.failed = o.failed || d.Severity == tfprotov6.DiagnosticSeverityError
		}
	}
	valid, err := a.server.ValidateActionConfig(ctx, &tfprotov6.ValidateActionConfigRequest{ActionType: name, Config: config})
	if err != nil {
		a.t.Fatal(err)
	}
	if note(valid.Diagnostics); o.failed {
		return o
	}
	planned, err := a.server.PlanAction(ctx, &tfprotov6.PlanActionRequest{ActionType: name, Config: config})
	if err != nil {
		a.t.Fatal(err)
	}
	if note(planned.Diagnostics); o.failed {
		return o
	}
	stream, err := a.server.InvokeAction(ctx, &tfprotov6.InvokeActionRequest{ActionType: name, Config: config})
	if err != nil {
		a.t.Fatal(err)
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

func (a *actions) expect(o outcome, failed bool, parts ...string) {
	a.t.Helper()
	if o.failed != failed {
		a.t.Fatalf("failed: %t, want %t\n%s", o.failed, failed, o)
	}
	for _, part := range parts {
		if !strings.Contains(o.String(), part) {
			a.t.Errorf("the action does not say %q:\n%s", part, o)
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
	a := newActions(t, db.ConnString())
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
	a, operator := newActions(t, db.ConnString()), newActions(t, db.ConnString())
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
	a := newActions(t, db.ConnString())
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
	a := newActions(t, db.ConnString())
	for _, name := range []string{"run", "verify", "pause", "resume"} {
		a.expect(a.invoke("postgres_backfill_"+name, map[string]string{"id": "public.t/a"}), true, "No backfill has the id public.t/a", "The ledger has none")
	}
	a.expect(a.invoke("postgres_backfill_pause", nil), false, "No backfill is running")
	a.expect(a.invoke("postgres_backfill_run", map[string]string{"id": "public.t/a", "for": "10"}), true, "duration")
	a.expect(a.invoke("postgres_backfill_run", map[string]string{"id": "public.t/a", "for": "0s"}), true, "Attribute for is 0s")
	createUsers(t, db, 10)
	newCLIRun(t, db, expandName+backfillName).apply()
	a.expect(a.invoke("postgres_backfill_run", map[string]string{"id": "public.t/a"}), true, "No backfill has the id public.t/a", "  - "+nameID)

	nowhere := newActions(t, "postgres://nobody@127.0.0.1:1/none?sslmode=disable")
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
