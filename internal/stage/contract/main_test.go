package contract_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/contract"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/dualwrite"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/stagetest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// newEnv is what a configured provider hands to a stage.
func newEnv(t testing.TB, connString string) *stage.Env {
	t.Helper()
	return stagetest.NewEnv(t, connString)
}

func tableName(table string) pg.TableName { return pg.TableName{Schema: "public", Name: table} }

// contractOf takes columns of a table in public away. The user gives their word, so that no test has to wait.
func contractOf(table string, mode contract.Mode, columns ...string) *contract.Spec {
	name := tableName(table)
	return &contract.Spec{
		ID: pg.FormatID(name, columns), Table: name, Columns: columns, Mode: mode, WritersMigrated: true, Archive: true, Schema: ledger.DefaultSchema,
	}
}

func syncOf(table string, forward, reverse map[string]string) *dualwrite.Spec {
	name := tableName(table)
	return &dualwrite.Spec{
		ID: dualwrite.ID(name, forward), Table: name, Forward: forward, Reverse: reverse, Conflict: dualwrite.KeepBoth, Schema: ledger.DefaultSchema,
	}
}

// nameSync splits full_name. Its reverse does not give back double spaces, and gives an empty name for none.
func nameSync() *dualwrite.Spec {
	return syncOf("users",
		map[string]string{"first_name": "split_part(full_name, ' ', 1)", "last_name": "split_part(full_name, ' ', 2)"},
		map[string]string{"full_name": "concat_ws(' ', first_name, last_name)"})
}

// oneWaySync is nameSync without reverse.
func oneWaySync() *dualwrite.Spec {
	sync := nameSync()
	sync.Reverse = nil
	return sync
}

func nameBackfill() *backfill.Spec {
	set := nameSync().Forward
	return &backfill.Spec{ID: backfill.ID(tableName("users"), set), Table: tableName("users"), Set: set, Options: backfill.Options{Workers: 1}}
}

// createUsers makes a table of names of which one in ten has two spaces, and one in seven is NULL.
func createUsers(t testing.TB, db *pgtest.Database, rows int) {
	t.Helper()
	db.Exec(t, `CREATE TABLE users (id bigint PRIMARY KEY, full_name text, email text, first_name text, last_name text)`)
	insertUsers(t, db, rows)
}

func insertUsers(t testing.TB, db *pgtest.Database, rows int) {
	t.Helper()
	db.Exec(t, `
		INSERT INTO users (id, full_name, email)
		SELECT i, CASE WHEN i % 7 = 0 THEN NULL WHEN i % 10 = 0 THEN 'First' || i || '  Last' || i ELSE 'First' || i || ' Last' || i END, i || '@x'
		  FROM generate_series(1, $1) AS i`, rows)
}

// expand brings sync and backfill about, after which the columns can be contracted.
func expand(t testing.TB, env *stage.Env, sync *dualwrite.Spec) {
	t.Helper()
	if sync != nil {
		apply(t, env, sync)
	}
	apply(t, env, nameBackfill())
}

// apply brings a stage about that must succeed.
func apply[S any](t testing.TB, env *stage.Env, spec stage.Stage[S]) S {
	t.Helper()
	state, err := spec.Apply(t.Context(), env)
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	return state
}

// revert undoes a stage, which must succeed, and returns what it could not bring back.
func revert[S any](t testing.TB, env *stage.Env, spec stage.Stage[S]) []*finding.Finding {
	t.Helper()
	missing, err := spec.Revert(t.Context(), env)
	if err != nil {
		t.Fatalf("revert: %v", err)
	}
	return missing
}

// revertAll undoes a stage of which nothing may be missing.
func revertAll[S any](t testing.TB, env *stage.Env, spec stage.Stage[S]) {
	t.Helper()
	for _, f := range revert(t, env, spec) {
		t.Errorf("not brought back: %s\n%s", f.Summary, f.Detail)
	}
}

// snapshot is what is in users, by id.
func snapshot(t testing.TB, db *pgtest.Database, columns string) string {
	t.Helper()
	return strings.Join(pgtest.Query[string](t, db, `SELECT row_to_json(u)::text FROM (SELECT `+columns+` FROM users ORDER BY id) AS u`), "\n")
}

func expectSame(t testing.TB, what, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range wantLines {
		if i >= len(gotLines) || gotLines[i] != wantLines[i] {
			line := "nothing"
			if i < len(gotLines) {
				line = gotLines[i]
			}
			t.Fatalf("%s: line %d is\n%s\nwant\n%s", what, i+1, line, wantLines[i])
		}
	}
	t.Fatalf("%s: %d lines, want %d", what, len(gotLines), len(wantLines))
}

// expectFinding fails unless the error is a finding whose text has all the parts.
func expectFinding(t testing.TB, err error, parts ...string) {
	t.Helper()
	var f *finding.Finding
	if !errors.As(err, &f) {
		t.Fatalf("error = %v, want a finding with %q", err, parts)
	}
	expectText(t, f, parts...)
}

func expectText(t testing.TB, f *finding.Finding, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(f.Summary+"\n"+f.Detail, part) {
			t.Errorf("the finding lacks %q:\n%s\n%s", part, f.Summary, f.Detail)
		}
	}
}

// expectNothingLeft fails when a contract's undo has left anything behind.
func expectNothingLeft(t testing.TB, db *pgtest.Database) {
	t.Helper()
	left := pgtest.Query[string](t, db, `
		SELECT kind || ' ' || key FROM terraform_postgres.stage WHERE kind = 'column_contract' OR retired_by IS NOT NULL OR key LIKE '%(undo)'
		UNION ALL SELECT relname FROM pg_class WHERE relnamespace = 'terraform_postgres'::regnamespace AND relname LIKE 'archive%' AND relkind = 'r'`)
	if len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// patience is how long a test waits for what must come.
const patience = 60 * time.Second
