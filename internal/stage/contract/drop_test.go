package contract_test

import (
	"context"
	"slices"
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/contract"
)

// archived returns the ids of the rows in the archive.
func archived(t testing.TB, db *pgtest.Database, state contract.State) []int {
	t.Helper()
	return pgtest.Query[int](t, db, `SELECT id::int FROM `+state.ArchiveTable+` ORDER BY id`)
}

// A reverse gives most values back, so that the archive holds the others only: those with two spaces, and those that are NULL
// where reverse gives an empty name.
func TestDropWithAReverse(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 100)
	env := newEnv(t, db.ConnString())
	expand(t, env, nameSync())
	before := snapshot(t, db, "id, full_name")

	drop := contractOf("users", contract.Drop, "full_name")
	state := apply(t, env, drop)
	var want []int
	for i := 1; i <= 100; i++ {
		if i%7 == 0 || i%10 == 0 {
			want = append(want, i)
		}
	}
	if got := archived(t, db, state); !slices.Equal(got, want) {
		t.Errorf("archived are %v, want %v", got, want)
	}
	if state.ArchiveRows != int64(len(want)) {
		t.Errorf("archive_rows = %d, want %d", state.ArchiveRows, len(want))
	}
	if n := pgtest.QueryRow[int](t, db, `SELECT count(*) FROM pg_trigger WHERE tgrelid = 'users'::regclass`); n != 0 {
		t.Errorf("%d triggers are left", n)
	}
	again := apply(t, env, drop)
	if again.ArchiveRows != state.ArchiveRows || again.ArchiveTable != state.ArchiveTable {
		t.Errorf("a second apply gives %+v", again)
	}
	revertAll(t, env, drop)
	expectSame(t, "full names", snapshot(t, db, "id, full_name"), before)
	expectNothingLeft(t, db)

	// What is written while the column is gone follows from the new side.
	apply(t, env, drop)
	db.Exec(t, `INSERT INTO users (id, first_name, last_name) VALUES (200, 'New', 'Row')`)
	db.Exec(t, `UPDATE users SET last_name = 'Changed' WHERE id IN (1, 10, 14)`)
	db.Exec(t, `UPDATE users SET email = 'x' WHERE id = 20`)
	db.Exec(t, `DELETE FROM users WHERE id = 30`)
	revertAll(t, env, drop)
	for id, want := range map[int]string{
		200: "New Row", 1: "First1 Changed", 10: "First10 Changed", 14: "Changed", 20: "First20  Last20", 7: "NULL", 2: "First2 Last2",
	} {
		if got := pgtest.QueryRow[string](t, db, `SELECT coalesce(full_name, 'NULL') FROM users WHERE id = $1`, id); got != want {
			t.Errorf("full name of %d = %q, want %q", id, got, want)
		}
	}
	db.Exec(t, `UPDATE users SET full_name = 'Sync Works' WHERE id = 3`)
	if got := pgtest.QueryRow[string](t, db, `SELECT first_name || '/' || last_name FROM users WHERE id = 3`); got != "Sync/Works" {
		t.Errorf("after the undo the sync gives %s", got)
	}
}

// Without reverse nothing gives a value back, so that all of them are kept.
func TestDropWithoutAReverse(t *testing.T) {
	t.Parallel()
	for name, synced := range map[string]bool{"sync": true, "no sync": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t)
			createUsers(t, db, 100)
			env := newEnv(t, db.ConnString())
			if synced {
				expand(t, env, oneWaySync())
			} else {
				expand(t, env, nil)
			}
			before := snapshot(t, db, "id, full_name")
			drop := contractOf("users", contract.Drop, "full_name")
			if state := apply(t, env, drop); state.ArchiveRows != 86 {
				t.Errorf("%d rows are archived, want those that are not NULL", state.ArchiveRows)
			}
			db.Exec(t, `INSERT INTO users (id, first_name, last_name) VALUES (200, 'New', 'Row')`)
			db.Exec(t, `UPDATE users SET first_name = 'Kept' WHERE id = 1`)
			after := snapshot(t, db, "id, first_name, last_name")
			revertAll(t, env, drop)
			expectSame(t, "new names, which an old value must not replace", snapshot(t, db, "id, first_name, last_name"), after)
			db.Exec(t, `DELETE FROM users WHERE id = 200`)
			expectSame(t, "full names", snapshot(t, db, "id, full_name"), before)
			expectNothingLeft(t, db)
		})
	}
}

func TestDropAfterAQuarantine(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 100)
	env := newEnv(t, db.ConnString())
	expand(t, env, nameSync())
	apply(t, env, contractOf("users", contract.Quarantine, "full_name"))
	// The mirror has made this row follow from the new side.
	db.Exec(t, `UPDATE users SET last_name = 'Changed' WHERE id = 10`)
	drop := contractOf("users", contract.Drop, "full_name")
	state := apply(t, env, drop)
	if slices.Contains(archived(t, db, state), 10) {
		t.Error("a row is archived that reverse gives back")
	}
	_, err := contractOf("users", contract.Quarantine, "full_name").Apply(t.Context(), env)
	expectFinding(t, err, "Column public.users.full_name was dropped already")
	revertAll(t, env, drop)
	if got := pgtest.QueryRow[string](t, db, `SELECT full_name FROM users WHERE id = 10`); got != "First10 Changed" {
		t.Errorf("full name = %q", got)
	}
}

func TestArchiveCanBeDoneWithout(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 100)
	env := newEnv(t, db.ConnString())
	expand(t, env, nameSync())
	drop := contractOf("users", contract.Drop, "full_name")
	drop.Archive = false
	if state := apply(t, env, drop); state.ArchiveTable != "" || state.ArchiveRows != 0 {
		t.Errorf("state = %+v", state)
	}
	drop.Archive = true
	_, err := drop.Check(t.Context(), env)
	expectFinding(t, err, "Columns of public.users (full_name) were dropped without an archive", "Leave archive at false")
	drop.Archive = false
	revertAll(t, env, drop)
	if got := pgtest.QueryRow[string](t, db, `SELECT full_name FROM users WHERE id = 10`); got != "First10 " {
		t.Errorf("full name = %q, want what reverse gives", got)
	}
	if got := pgtest.QueryRow[string](t, db, `SELECT full_name FROM users WHERE id = 7`); got != "" {
		t.Errorf("full name = %q, want what reverse gives", got)
	}
}

func TestArchiveIsDiscarded(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 100)
	env := newEnv(t, db.ConnString())
	drop := contractOf("users", contract.Drop, "full_name")
	apply(t, env, drop)
	drop.Archive = false
	warnings, err := drop.Check(t.Context(), env)
	if err != nil || len(warnings) != 1 {
		t.Fatalf("check: %v, %v", warnings, err)
	}
	expectText(t, warnings[0], "Archive of the dropped columns of public.users (full_name) is discarded", "86 rows", "DROP TABLE")
	if state := apply(t, env, drop); state.ArchiveTable != "" {
		t.Errorf("state = %+v", state)
	}
	f, err := drop.CheckRevert(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	expectText(t, f, `The values of "full_name" cannot come back`)
	missing := revert(t, env, drop)
	if len(missing) != 1 {
		t.Fatalf("findings: %v", missing)
	}
	expectText(t, missing[0], "Column public.users.full_name is back, but empty")
	expectNothingLeft(t, db)
}

func TestDropNeedsAPrimaryKeyToArchiveBy(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	db.Exec(t, `CREATE TABLE users (id bigint, full_name text)`)
	env := newEnv(t, db.ConnString())
	drop := contractOf("users", contract.Drop, "full_name")
	_, err := drop.Check(t.Context(), env)
	expectFinding(t, err, "Table public.users has no primary key to archive by", "archive = false")
	drop.Archive = false
	apply(t, env, drop)
	if n := pgtest.QueryRow[int](t, db, `SELECT count(*) FROM pg_attribute WHERE attrelid = 'users'::regclass AND attnum > 0 AND NOT attisdropped`); n != 1 {
		t.Errorf("%d columns are left", n)
	}
}

// A row whose new side is written while the archive is made follows from it from then on, also when it ends as it was.
func TestArchiveForgetsRowsThatTheMirrorHasWritten(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 100)
	env := newEnv(t, db.ConnString())
	expand(t, env, nameSync())
	drop := contractOf("users", contract.Drop, "full_name")
	killed(t, db, `DELETE FROM "terraform_postgres"."archive_users`, 1, false, func(ctx context.Context, env *stage.Env) error {
		_, err := drop.Apply(ctx, env)
		return err
	})
	db.Exec(t, `UPDATE users SET last_name = 'x' WHERE id = 10`)
	db.Exec(t, `UPDATE users SET last_name = '' WHERE id = 10`)
	if state := apply(t, env, drop); slices.Contains(archived(t, db, state), 10) {
		t.Error("the archive still has the row")
	}
	revertAll(t, env, drop)
	if got := pgtest.QueryRow[string](t, db, `SELECT full_name FROM users WHERE id = 10`); got != "First10 " {
		t.Errorf("full name = %q, want what reverse gives", got)
	}
}

func TestArchiveNeedsThePrivilege(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 10)
	if _, err := db.Super.Exec(t.Context(), `CREATE SCHEMA terraform_postgres; GRANT USAGE ON SCHEMA terraform_postgres TO `+db.OwnerRole); err != nil {
		t.Fatal(err)
	}
	_, err := contractOf("users", contract.Drop, "full_name").Check(t.Context(), newEnv(t, db.ConnString()))
	expectFinding(t, err, "may not create anything in schema terraform_postgres", `GRANT CREATE ON SCHEMA "terraform_postgres" TO "`+db.OwnerRole+`"`)
}
