package contract_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/contract"
)

// dropFixture is a table with something of every kind to bring back.
func dropFixture(t testing.TB) (db *pgtest.Database, drop *contract.Spec, rows, defined string) {
	t.Helper()
	db = pgtest.NewDatabase(t)
	db.Exec(t, `
		CREATE TABLE users (id bigint PRIMARY KEY, full_name text NOT NULL DEFAULT 'x y' UNIQUE CHECK (full_name <> ''), email text, first_name text, last_name text);
		CREATE INDEX users_lower ON users (lower(full_name));
		INSERT INTO users (id, full_name) SELECT i, 'First' || i || CASE WHEN i % 10 = 0 THEN '  ' ELSE ' ' END || 'Last' || i FROM generate_series(1, 3000) AS i`)
	env := newEnv(t, db.ConnString())
	expand(t, env, nameSync())
	drop = contractOf("users", contract.Drop, "full_name")
	drop.Drops = []string{
		"index public.users_lower", "table constraint users_full_name_key on public.users", "table constraint users_full_name_check on public.users",
	}
	return db, drop, snapshot(t, db, "id, full_name"), definition(t, db, "users")
}

// killed runs work through a proxy. Before, or after, the n-th statement that contains the text, the connection is lost, and the
// work is called off with it.
func killed(t testing.TB, db *pgtest.Database, text string, n int, after bool, work func(ctx context.Context, env *stage.Env) error) {
	t.Helper()
	proxy, connString := pgtest.NewProxy(t, db)
	env := newEnv(t, connString)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var struck <-chan struct{}
	if after {
		struck = proxy.CutAfter(pgtest.Containing(text), n)
	} else {
		struck = proxy.CutBefore(pgtest.Containing(text), n)
	}
	done := make(chan error, 1)
	go func() { done <- work(ctx, env) }()
	select {
	case <-struck:
		cancel()
		t.Logf("ended with: %v", <-done)
	case err := <-done:
		select {
		case <-struck: // It was the last statement.
		default:
			t.Errorf("no statement contains %q: %v", text, err)
		}
	}
}

type killing struct {
	text  string
	n     int
	after bool
}

func TestKilledWhileItDrops(t *testing.T) {
	t.Parallel()
	for name, k := range map[string]killing{
		"before the rename":     {"RENAME COLUMN", 1, false},
		"before it is recorded": {"INSERT INTO \"terraform_postgres\".\"stage\"", 1, false},
		"after the retirement":  {"SET retired_by = $1", 1, true},
		"before the archive":    {"WITH NO DATA", 1, false},
		"after the archive":     {"WITH NO DATA", 1, true},
		"before a window":       {"INSERT INTO \"terraform_postgres\".\"archive_users", 2, false},
		"after a window":        {"INSERT INTO \"terraform_postgres\".\"archive_users", 2, true},
		"before the sweep":      {"NOT EXISTS (SELECT FROM \"terraform_postgres\".\"archive_users", 1, false},
		"after the sweep":       {"NOT EXISTS (SELECT FROM \"terraform_postgres\".\"archive_users", 1, true},
		"before the drop":       {"DROP COLUMN", 1, false},
		"after the drop":        {"DROP COLUMN", 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, drop, rows, defined := dropFixture(t)
			env := newEnv(t, db.ConnString())
			apply := func(ctx context.Context, env *stage.Env) error {
				_, err := drop.Apply(ctx, env)
				return err
			}
			killed(t, db, k.text, k.n, k.after, apply)
			revertAll(t, env, drop)
			expectSame(t, "rows after an undo at once", snapshot(t, db, "id, full_name"), rows)
			expectSame(t, "definition after an undo at once", definition(t, db, "users"), defined)

			killed(t, db, k.text, k.n, k.after, apply)
			state, err := drop.Read(t.Context(), env)
			if err != nil || (state != nil && state.Spec.Mode != contract.Quarantine && state.Spec.Mode != contract.Drop) {
				t.Errorf("read: %+v, %v", state, err)
			}
			if err := apply(t.Context(), env); err != nil {
				t.Fatalf("apply: %v", err)
			}
			if n := pgtest.QueryRow[int](t, db, `SELECT count(*) FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname LIKE 'full_name%'`); n != 0 {
				t.Error("the column is still there")
			}
			revertAll(t, env, drop)
			expectSame(t, "rows", snapshot(t, db, "id, full_name"), rows)
			expectSame(t, "definition", definition(t, db, "users"), defined)
			expectNothingLeft(t, db)
		})
	}
}

func TestKilledWhileItUndoesADrop(t *testing.T) {
	t.Parallel()
	for name, k := range map[string]killing{
		"before the columns are added": {"ADD COLUMN", 1, false},
		"after the columns are added":  {"ADD COLUMN", 1, true},
		"after the syncs work":         {"retired_by = NULL", 1, true},
		"before a batch":               {"UPDATE ONLY", 2, false},
		"after a batch":                {"UPDATE ONLY", 2, true},
		"after the refill":             {"'complete', note", 1, true},
		"before an index":              {"CONCURRENTLY", 1, false},
		"after an index":               {"CONCURRENTLY", 1, true},
		"after the constraint of it":   {"USING INDEX", 1, true},
		"after a check":                {"NOT VALID", 1, true},
		"after its validation":         {"VALIDATE CONSTRAINT", 1, true},
		"before NOT NULL":              {"SET NOT NULL", 1, false},
		"after NOT NULL":               {"SET NOT NULL", 1, true},
		"before the archive goes":      {"DROP TABLE", 1, false},
		"after the archive went":       {"DROP TABLE", 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, drop, rows, defined := dropFixture(t)
			env := newEnv(t, db.ConnString())
			undo := func(ctx context.Context, env *stage.Env) error {
				_, err := drop.Revert(ctx, env)
				return err
			}
			apply(t, env, drop)
			killed(t, db, k.text, k.n, k.after, undo)
			state, err := drop.Read(t.Context(), env)
			if err != nil || (state != nil && state.Spec.Mode != contract.Undoing && state.Spec.Mode != contract.Drop) {
				t.Errorf("read: %+v, %v", state, err)
			}
			revertAll(t, env, drop)
			expectSame(t, "rows", snapshot(t, db, "id, full_name"), rows)
			expectSame(t, "definition", definition(t, db, "users"), defined)
			expectNothingLeft(t, db)

			apply(t, env, drop)
			killed(t, db, k.text, k.n, k.after, undo)
			apply(t, env, drop) // It ends the undo first.
			revertAll(t, env, drop)
			expectSame(t, "rows after one more contract", snapshot(t, db, "id, full_name"), rows)
			expectSame(t, "definition after one more contract", definition(t, db, "users"), defined)
			expectNothingLeft(t, db)
		})
	}
}

// While an undo waits to be gone on with, the plan says so.
func TestPlanDuringAnUndo(t *testing.T) {
	t.Parallel()
	db, drop, _, _ := dropFixture(t)
	env := newEnv(t, db.ConnString())
	apply(t, env, drop)
	killed(t, db, "UPDATE ONLY", 1, false, func(ctx context.Context, env *stage.Env) error {
		_, err := drop.Revert(ctx, env)
		return err
	})
	warnings, err := drop.Check(t.Context(), env)
	if err != nil || len(warnings) != 1 {
		t.Fatalf("check: %v, %v", warnings, err)
	}
	expectText(t, warnings[0], "An undo of the contract of public.users (full_name) was interrupted", "ends the undo first")
	f, err := drop.CheckRevert(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	expectText(t, f, "this one goes on with it")
	if strings.Contains(f.Detail, "ADD COLUMN") {
		t.Error("the columns are there already")
	}
}
