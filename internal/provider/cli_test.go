package provider_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/provider"
	"github.com/stagedpg/terraform-provider-postgres/internal/tfcli"
)

// plugin is the provider's binary and the CLI that runs it, for tests that need real processes.
type plugin struct {
	cli tfcli.CLI
	dir string
}

// pluginDir is where the provider is built, which TestMain removes at the end.
var pluginDir string

// buildPlugin builds the provider once for all tests.
var buildPlugin = sync.OnceValues(func() (p plugin, err error) {
	ctx := context.Background()
	if p.cli, err = tfcli.Find(ctx); err != nil {
		return p, err
	}
	p.dir = pluginDir
	_, err = tfcli.BuildProvider(ctx, p.dir)
	return p, err
})

// cliRun is a folder with a configuration for the test's database, in which the real CLI works.
type cliRun struct {
	*tfcli.Workspace
	t  *testing.T
	db *pgtest.Database
}

func newCLIRun(t *testing.T, db *pgtest.Database, config string) *cliRun {
	t.Helper()
	p, err := buildPlugin()
	if err != nil {
		t.Fatal(err)
	}
	w, err := tfcli.NewWorkspace(p.cli, provider.Address, p.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &cliRun{Workspace: w, t: t, db: db}
	r.write("terraform.tf", "terraform {\n  required_providers {\n    postgres = {\n      source = \"stagedpg/postgres\"\n    }\n  }\n}\n"+providerBlock(db))
	r.write("main.tf", config)
	return r
}

func (r *cliRun) write(name, content string) {
	r.t.Helper()
	if err := r.Write(name, content); err != nil {
		r.t.Fatal(err)
	}
}

// run runs the CLI, which must end with that exit code, and returns what it wrote.
func (r *cliRun) run(wantCode int, args ...string) string {
	r.t.Helper()
	result, err := r.Run(r.t.Context(), append(args, "-no-color")...)
	if err != nil {
		r.t.Fatal(err)
	}
	output := tfcli.StripOverrideWarning(result.Stdout) + result.Stderr
	if result.ExitCode != wantCode {
		r.t.Fatalf("terraform %s ended with %d, want %d:\n%s", strings.Join(args, " "), result.ExitCode, wantCode, output)
	}
	return output
}

// apply applies the configuration, after which a plan must be empty.
func (r *cliRun) apply() {
	r.t.Helper()
	r.run(0, "apply", "-auto-approve")
	r.run(0, "plan", "-detailed-exitcode")
}

// start starts the CLI in the background.
func (r *cliRun) start(args ...string) *tfcli.Process {
	r.t.Helper()
	p, err := r.Start(r.t.Context(), nil, append(args, "-no-color")...)
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// eventually polls a condition that must come true.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	const patience = 90 * time.Second
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// rowsUpdated is how many rows the progress view says that backfills have updated.
func rowsUpdated(t *testing.T, db *pgtest.Database) int64 {
	t.Helper()
	if !pgtest.QueryRow[bool](t, db, `SELECT to_regclass('terraform_postgres.progress') IS NOT NULL`) {
		return 0
	}
	return pgtest.QueryRow[int64](t, db, `SELECT coalesce(sum(rows_updated), 0)::bigint FROM terraform_postgres.progress`)
}

// slowUpdates makes every update of the table take about as long as the given interval.
func slowUpdates(t *testing.T, db *pgtest.Database, table, interval string) {
	t.Helper()
	db.Exec(t, fmt.Sprintf(`
		CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
		  PERFORM pg_sleep_for(%s);
		  RETURN NEW;
		END $$;
		CREATE TRIGGER slow BEFORE UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION slow();`, "'"+interval+"'", table))
}

// countUpdates notes every update of a row of users in the table touched.
func countUpdates(t *testing.T, db *pgtest.Database) {
	t.Helper()
	db.Exec(t, `
		CREATE TABLE touched (id bigint);
		CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
		  INSERT INTO touched VALUES (NEW.id);
		  RETURN NULL;
		END $$;
		CREATE TRIGGER touch AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch();`)
}

// expectEachOnce fails unless every row was updated exactly once and is right, and the ledger counted it once.
func expectEachOnce(t *testing.T, db *pgtest.Database) {
	t.Helper()
	rows := pgtest.QueryRow[int64](t, db, `SELECT count(*) FROM users`)
	for what, count := range map[string]string{
		"rows are right":         `SELECT count(*) FROM users WHERE full_name = first_name || ' ' || last_name`,
		"updates were made":      `SELECT count(*) FROM touched`,
		"rows were updated":      `SELECT count(DISTINCT id) FROM touched`,
		"rows are in the ledger": `SELECT rows_updated FROM terraform_postgres.progress`,
	} {
		if got := pgtest.QueryRow[int64](t, db, count); got != rows {
			t.Errorf("%d %s, want %d", got, what, rows)
		}
	}
}
