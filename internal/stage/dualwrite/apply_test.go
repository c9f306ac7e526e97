package dualwrite_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/dualwrite"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/stagetest"
)

// The plan refuses what cannot work, and says why.
func TestRefusals(t *testing.T) {
	forward := func(sql string) *dualwrite.Spec { return newSpec("users", map[string]string{"first_name": sql}, nil) }
	for name, c := range map[string]struct {
		setup string
		spec  *dualwrite.Spec
		want  string
	}{
		"unknown column":             {spec: forward("upper(fullname)"), want: "column \"fullname\" does not exist"},
		"unknown function":           {setup: `CREATE FUNCTION norm(text) RETURNS text LANGUAGE sql AS 'SELECT $1'`, spec: forward("norm(full_name)"), want: "needs its schema"},
		"wrong type":                 {spec: forward("id"), want: "Write the cast"},
		"volatile":                   {spec: forward("full_name || random()"), want: "is volatile"},
		"own side":                   {spec: forward("coalesce(first_name, full_name)"), want: "reads column \"first_name\" of its own side"},
		"generated source":           {setup: `ALTER TABLE users ADD g text GENERATED ALWAYS AS (upper(full_name)) STORED`, spec: forward("g"), want: "reads the generated column"},
		"generated target":           {setup: `ALTER TABLE users ADD g text GENERATED ALWAYS AS (upper(full_name)) STORED`, spec: newSpec("users", map[string]string{"g": "full_name"}, nil), want: "is a generated column"},
		"missing target":             {spec: newSpec("users", map[string]string{"nick": "full_name"}, nil), want: "Column public.users.nick does not exist"},
		"on both sides":              {spec: newSpec("users", map[string]string{"first_name": "full_name"}, map[string]string{"first_name": "full_name"}), want: "is on both sides"},
		"reverse of something else":  {spec: newSpec("users", map[string]string{"first_name": "full_name"}, map[string]string{"email": "first_name"}), want: "Column public.users.email is not on the old side"},
		"partition":                  {setup: `CREATE TABLE p (a text, b text) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF p DEFAULT`, spec: newSpec("p1", map[string]string{"b": "a"}, nil), want: "is a partition of p"},
		"inheritance":                {setup: `CREATE TABLE child () INHERITS (users)`, spec: forward("full_name"), want: "has inheritance children"},
		"fails on a row":             {setup: `INSERT INTO users VALUES (1, 'none')`, spec: forward("(full_name::int)::text"), want: "fails on a row"},
		"a second sync of a column":  {spec: newSpec("users", map[string]string{"last_name": "email"}, nil), want: "is part of two syncs"},
		"a sync of a written column": {spec: newSpec("users", map[string]string{"email": "full_name"}, nil), want: "is part of two syncs"},
	} {
		t.Run(name, func(t *testing.T) {
			db := pgtest.NewDatabase(t)
			db.Exec(t, usersTable)
			env := stagetest.NewEnv(t, db.ConnString())
			if strings.Contains(name, "sync of a") {
				apply(t, env, splitNames())
			}
			if c.setup != "" {
				db.Exec(t, c.setup)
			}
			_, err := c.spec.Check(t.Context(), env)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("check says %v, want %q", err, c.want)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	db := pgtest.NewDatabase(t)
	db.Exec(t, usersTable)
	db.Exec(t, `INSERT INTO users SELECT n, 'First Last' FROM generate_series(1, 90) n; INSERT INTO users SELECT n, 'Plato' FROM generate_series(91, 100) n`)
	db.Exec(t, `ALTER TABLE users ALTER full_name SET DEFAULT '', ADD locale text`)
	db.Exec(t, `CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'`)
	db.Exec(t, `CREATE TRIGGER zzzz BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION f(); CREATE TRIGGER "Zed" BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION f();
		CREATE TRIGGER zzzz_after AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION f()`)
	spec := splitNames()
	spec.Forward["last_name"] = "coalesce(locale, '') || substr(full_name, strpos(full_name, ' ') + 1)"
	warnings, err := spec.Check(t.Context(), stagetest.NewEnv(t, db.ConnString()))
	if err != nil {
		t.Fatal(err)
	}
	var summaries []string
	for _, w := range warnings {
		summaries = append(summaries, w.Summary)
		if strings.Contains(w.Summary, "run after") && (!strings.Contains(w.Detail, "zzzz, which") || strings.Contains(w.Detail, "Zed") || strings.Contains(w.Detail, "zzzz_after")) {
			t.Errorf("the wrong triggers are named:\n%s", w.Detail)
		}
	}
	want := `Sync of public.users (first_name, last_name) takes a SHARE ROW EXCLUSIVE lock for a moment
Column public.users.full_name has a default
Triggers of public.users run after that of the sync of first_name, last_name
Sync of public.users (first_name, last_name) also reads "locale"
Sync of public.users (first_name, last_name) loses something: 10 of 100 rows do not come back the same`
	if got := strings.Join(summaries, "\n"); got != want {
		t.Errorf("warnings:\n%s\nwant:\n%s", got, want)
	}
	for _, w := range warnings {
		if i := strings.Index(w.Detail, "SELECT "); strings.Contains(w.Summary, "loses") && i >= 0 {
			query := strings.TrimSuffix(strings.TrimSpace(w.Detail[i:]), ";")
			if rows := pgtest.Query[string](t, db, "SELECT full_name FROM ("+query+") q"); len(rows) != 10 {
				t.Errorf("the query that is shown finds %d rows, want 10", len(rows))
			}
		}
	}
}

// A changed expression needs no lock that the application could notice.
func TestExpressionsChangeUnderAReader(t *testing.T) {
	db, env := newSynced(t)
	writer := connect(t, db.ConnString())
	exec(t, writer, `BEGIN; INSERT INTO users (id, full_name) VALUES (1, 'Mary Smith')`) // its lock conflicts with that of CREATE TRIGGER
	spec := splitNames()
	spec.Forward["first_name"] = "upper(split_part(full_name, ' ', 1))"
	apply(t, env, spec)
	exec(t, writer, `INSERT INTO users (id, full_name) VALUES (2, 'Ann Lee'); COMMIT`)
	expectRow(t, db, "Mary Smith|-|Mary|Smith Ann Lee|-|ANN|Lee")
	// Other columns keep the trigger and its name.
	spec.Forward = map[string]string{"first_name": "full_name", "last_name": "full_name", "email": "full_name"}
	apply(t, env, spec)
	db.Exec(t, `INSERT INTO users (id, full_name) VALUES (3, 'x')`)
	if got := pgtest.QueryRow[string](t, db, `SELECT concat_ws('|', first_name, last_name, email) FROM users WHERE id = 3`); got != "x|x|x" {
		t.Error(got)
	}
	if got := pgtest.QueryRow[int64](t, db, `SELECT count(*) FROM pg_trigger WHERE tgrelid = 'users'::regclass`); got != 1 {
		t.Errorf("%d triggers, want 1", got)
	}
}

// What somebody did to the trigger is drift, and the next apply repairs it.
func TestDrift(t *testing.T) {
	for name, sql := range map[string]string{
		"dropped":  `DROP TRIGGER zzz_sync_first_name_last_name ON users`,
		"disabled": `ALTER TABLE users DISABLE TRIGGER zzz_sync_first_name_last_name`,
		"replica":  `ALTER TABLE users ENABLE REPLICA TRIGGER zzz_sync_first_name_last_name`,
		"changed": `DO $$ BEGIN EXECUTE (SELECT format('CREATE OR REPLACE FUNCTION %s RETURNS trigger LANGUAGE plpgsql AS %L', tgfoid::regprocedure, 'BEGIN RETURN NEW; END')
			FROM pg_trigger WHERE tgname = 'zzz_sync_first_name_last_name'); END $$`,
	} {
		t.Run(name, func(t *testing.T) {
			db, env := newSynced(t)
			spec := splitNames()
			state, err := spec.Read(t.Context(), env)
			if err != nil || state == nil {
				t.Fatalf("read = %v, %v", state, err)
			}
			db.Exec(t, sql)
			if state, err := spec.Read(t.Context(), env); err != nil || state != nil {
				t.Errorf("read = %v, %v, want nothing", state, err)
			}
			apply(t, env, spec)
			db.Exec(t, `INSERT INTO users (id, full_name) VALUES (1, 'Mary Smith')`)
			expectRow(t, db, "Mary Smith|-|Mary|Smith")
			if state, err := spec.Read(t.Context(), env); err != nil || state == nil {
				t.Errorf("read = %v, %v", state, err)
			}
		})
	}
}

// Several changes of one table do not know of each other.
func TestSideBySide(t *testing.T) {
	db, env := newSynced(t, `ALTER TABLE users ADD price numeric, ADD price_cents bigint`)
	prices := newSpec("users", map[string]string{"price_cents": "(price * 100)::bigint"}, map[string]string{"price": "price_cents / 100.0"})
	apply(t, env, prices)
	db.Exec(t, `INSERT INTO users (id, full_name, price_cents) VALUES (1, 'Mary Smith', 150)`)
	db.Exec(t, `UPDATE users SET first_name = 'Ann', price = 3`)
	got := pgtest.QueryRow[string](t, db, `SELECT concat_ws('|', full_name, first_name, last_name, price, price_cents) FROM users`)
	if want := "Ann Smith|Ann|Smith|3|300"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if _, err := prices.Revert(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	db.Exec(t, `UPDATE users SET full_name = 'Eva Bo', price = 4`)
	if got := pgtest.QueryRow[string](t, db, `SELECT concat_ws('|', full_name, first_name, last_name, price, price_cents) FROM users`); got != "Eva Bo|Eva|Bo|4|300" {
		t.Error(got)
	}
}

func TestRevertLeavesNothing(t *testing.T) {
	db, env := newSynced(t)
	spec := splitNames()
	for range 2 { // The second time there is nothing to do.
		if _, err := spec.Revert(t.Context(), env); err != nil {
			t.Fatal(err)
		}
	}
	if got := pgtest.QueryRow[int64](t, db, `SELECT (SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal) + (SELECT count(*) FROM pg_proc WHERE proname LIKE 'sync\_%')
		+ (SELECT count(*) FROM terraform_postgres.stage)`); got != 0 {
		t.Errorf("%d objects are left", got)
	}
}

// A table that is in use is waited for without stalling anybody, and the error names who holds it.
func TestAWriterThatNeverEnds(t *testing.T) {
	db := pgtest.NewDatabase(t)
	db.Exec(t, usersTable)
	env := stagetest.NewEnv(t, db.ConnString())
	writer := connect(t, db.ConnString())
	exec(t, writer, `SET application_name = 'the writer'; BEGIN; INSERT INTO users (id) VALUES (1)`)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := splitNames().Apply(ctx, env)
	found := finding.All(err, "")
	if len(found) != 1 || !strings.Contains(found[0].Summary, "locked by others") || !strings.Contains(found[0].Detail, "the writer") {
		t.Errorf("apply says %v", err)
	}
	exec(t, writer, `COMMIT`)
	apply(t, env, splitNames())
}

// The session that was there before the trigger takes part in it at once, and a prepared statement too.
func TestSessionsThatWereThereBefore(t *testing.T) {
	db := pgtest.NewDatabase(t)
	db.Exec(t, usersTable)
	conn := connect(t, db.ConnString())
	insert := func(id int) {
		t.Helper()
		exec(t, conn, `INSERT INTO users (id, full_name) VALUES ($1, $2)`, id, fmt.Sprintf("First%d Last", id))
	}
	insert(1)
	env := stagetest.NewEnv(t, db.ConnString())
	apply(t, env, splitNames())
	insert(2)
	db.Exec(t, `ALTER TABLE users ADD more int; ALTER TABLE users DROP email`)
	insert(3)
	db.Exec(t, `ALTER TABLE users ADD email text`)
	exec(t, conn, `UPDATE users SET email = 'x' WHERE id = 2`)
	insert(4)
	expectRow(t, db, "First1 Last|-|-|- First2 Last|x|First2|Last First3 Last|-|First3|Last First4 Last|-|First4|Last")
}

// The owner of a table who may use the ledger of another role, and make nothing in it, hears so in the plan.
func TestRightsInTheLedgersSchema(t *testing.T) {
	db := pgtest.NewDatabase(t)
	db.Exec(t, usersTable)
	env := stagetest.NewEnv(t, db.ConnString())
	apply(t, env, splitNames())
	for _, sql := range []string{
		`ALTER SCHEMA terraform_postgres OWNER TO CURRENT_USER`, `GRANT USAGE ON SCHEMA terraform_postgres TO ` + db.OwnerRole,
	} {
		if _, err := db.Super.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	_, err := splitNames().Check(t.Context(), env)
	if err == nil || !strings.Contains(err.Error(), "GRANT CREATE ON SCHEMA") {
		t.Errorf("check says %v", err)
	}
}
