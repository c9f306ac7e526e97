package provider_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"
	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/provider"
	"github.com/stagedpg/terraform-provider-postgres/internal/tfcli"
)

// exampleRun runs one example in a workspace and a database of its own.
type exampleRun struct {
	t     *testing.T
	name  string
	steps []configuration
	db    *pgtest.Database
	ws    *tfcli.Workspace
	// lastWritten holds the configuration in the workspace.
	lastWritten configuration
}

func newExampleRun(t *testing.T, p plugin, name string, steps []configuration) *exampleRun {
	t.Helper()
	ws, err := tfcli.NewWorkspace(p.cli, provider.Address, p.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ws.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &exampleRun{t: t, name: name, steps: steps, db: pgtest.NewDatabase(t), ws: ws}
	server, err := pgx.ParseConfig(r.db.ConnString())
	if err != nil {
		t.Fatal(err)
	}
	ws.Env = []string{
		"PGHOST=" + server.Host, fmt.Sprintf("PGPORT=%d", server.Port), "PGDATABASE=" + server.Database,
		"PGUSER=" + server.User, "PGPASSWORD=" + server.Password,
	}
	return r
}

// createTables runs the setup.sql of an example as the owner of the database. One that has roles comes with what an
// administrator has to grant, and both are run as a superuser.
func (r *exampleRun) createTables(dir string) {
	r.t.Helper()
	setup, grants := matching(r.t, dir+"/setup.sql"), matching(r.t, dir+"/grants.sql")
	switch {
	case len(setup) == 0 && dir == "demo": // It works on the table of the tests.
		if err := pgtest.CreateUsers(r.t.Context(), r.db.Owner, 1000); err != nil {
			r.t.Fatal(err)
		}
	case len(setup) == 0:
		r.t.Fatalf("examples/%s has no setup.sql to create its tables", dir)
	case len(grants) == 0:
		r.db.Exec(r.t, read(r.t, setup[0]))
	default:
		r.createAsSuperuser(read(r.t, setup[0]) + "\nRESET ROLE;\n" + read(r.t, grants[0]))
	}
}

var createRole = regexp.MustCompile(`CREATE ROLE (\w+)`)

func (r *exampleRun) createAsSuperuser(sql string) {
	r.t.Helper()
	exec := func(sql string) {
		r.t.Helper()
		if _, err := r.db.Super.Exec(r.t.Context(), sql); err != nil {
			r.t.Fatalf("%v\n%s", err, sql)
		}
	}
	exec(sql)
	for _, match := range createRole.FindAllStringSubmatch(sql, -1) {
		role := match[1]
		exec(fmt.Sprintf("ALTER ROLE %s PASSWORD '%s'", role, r.db.Server.Password))
		r.t.Cleanup(func() { // Roles are shared by all databases of the server; the test's own context has ended.
			if _, err := r.db.Super.Exec(context.Background(), fmt.Sprintf("DROP OWNED BY %[1]s; DROP ROLE %[1]s", role)); err != nil {
				r.t.Error(err)
			}
		})
	}
}

// columns lists all columns of the tables that are not the ledger's.
func (r *exampleRun) columns() []string {
	r.t.Helper()
	rows, err := r.db.Super.Query(r.t.Context(), `
		SELECT format('%s.%s %s', c.oid::regclass, attname, format_type(atttypid, atttypmod))
		  FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
		 WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped
		 ORDER BY attrelid, attnum`)
	if err != nil {
		r.t.Fatal(err)
	}
	columns, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		r.t.Fatal(err)
	}
	return columns
}

// expectColumns compares the columns without their order: one that was dropped comes back as the last.
func (r *exampleRun) expectColumns(want []string) {
	r.t.Helper()
	got := r.columns()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		r.t.Errorf("columns after everything was destroyed:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

const requiredProviders = `
terraform {
  required_providers {
    postgres = {
      source = "stagedpg/postgres"
    }
  }
}
`

// destroyFalse came to OpenTofu's removed block with 1.10; before, the block alone does the same.
var destroyFalse = regexp.MustCompile(`  lifecycle \{\n    destroy = false\n  \}\n`)

// write makes a configuration the one in the workspace.
func (r *exampleRun) write(config configuration) {
	r.t.Helper()
	for name := range r.lastWritten {
		if err := r.ws.Remove(name); err != nil {
			r.t.Fatal(err)
		}
	}
	files := maps.Clone(config)
	if !strings.Contains(strings.Join(slices.Collect(maps.Values(files)), ""), "required_providers") {
		files["required_providers.tf"] = requiredProviders
	}
	delete(files, "meanwhile.sql")
	for name, content := range files {
		if r.ws.CLI.Product == tfcli.OpenTofu && !r.ws.CLI.AtLeast("1.10.0") {
			content = destroyFalse.ReplaceAllString(content, "")
		}
		if err := r.ws.Write(name, content); err != nil {
			r.t.Fatal(err)
		}
	}
	r.lastWritten = files
}

// apply applies a configuration, after which nothing is left to do.
func (r *exampleRun) apply(config configuration) {
	r.t.Helper()
	r.write(config)
	if sql := config["meanwhile.sql"]; sql != "" {
		r.db.Exec(r.t, sql)
	}
	r.succeed("apply", "-auto-approve", "-input=false", "-no-color")
	if result := r.run("plan", "-detailed-exitcode", "-input=false", "-no-color"); result.ExitCode != 0 {
		r.t.Fatalf("the second plan is not empty (exit code %d)\n%s%s", result.ExitCode, result.Stdout, result.Stderr)
	}
}

// expectAdopted plans a configuration after an import: nothing is made anew or taken away.
func (r *exampleRun) expectAdopted(config configuration) {
	r.t.Helper()
	r.write(config)
	result, plan, err := r.ws.Plan(r.t.Context())
	if err != nil || plan == nil {
		r.t.Fatalf("plan: %v\n%s", err, result.Stderr)
	}
	for _, change := range plan.ResourceChanges {
		if actions := change.Change.Actions; !actions.NoOp() && !actions.Update() {
			r.t.Errorf("after the import the plan for %s is %v", change.Address, actions)
		}
	}
}

// destroy destroys everything that is left. It reports whether the tables should be as they were.
func (r *exampleRun) destroy() (restored bool) {
	r.t.Helper()
	if slices.ContainsFunc(slices.Collect(maps.Values(r.lastWritten)), destroyFalse.MatchString) {
		if left := r.resources(); len(left) > 0 {
			r.t.Errorf("%d resources are not forgotten", len(left))
		}
		return false
	}
	result := r.run("destroy", "-auto-approve", "-input=false", "-no-color")
	if left := r.resources(); result.ExitCode != 0 || len(left) > 0 {
		r.t.Fatalf("destroy exited with %d and left %d resources\n%s%s", result.ExitCode, len(left), result.Stdout, result.Stderr)
	}
	return true
}

// resources returns what the state holds.
func (r *exampleRun) resources() []*tfjson.StateResource {
	r.t.Helper()
	result := r.succeed("show", "-json")
	var state tfjson.State
	if err := json.Unmarshal([]byte(result.Stdout), &state); err != nil {
		r.t.Fatal(err)
	}
	if state.Values == nil || state.Values.RootModule == nil {
		return nil
	}
	return state.Values.RootModule.Resources
}

func (r *exampleRun) run(args ...string) tfcli.Result {
	r.t.Helper()
	result, err := r.ws.Run(r.t.Context(), args...)
	if err != nil {
		r.t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	return result
}

func (r *exampleRun) succeed(args ...string) tfcli.Result {
	r.t.Helper()
	result := r.run(args...)
	if result.ExitCode != 0 {
		r.t.Fatalf("%s exited with %d\n%s%s", strings.Join(args, " "), result.ExitCode, result.Stdout, result.Stderr)
	}
	return result
}
