package contract_test

import (
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/contract"
)

// Rows are written in quarantine by services that know the new columns only. After the undo the old side is what it would be if
// the columns had never been away.
func TestQuarantineMirrorsWhatIsWrittenMeanwhile(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 100)
	env := newEnv(t, db.ConnString())
	sync := nameSync()
	expand(t, env, sync)
	want := snapshot(t, db, "id, full_name")

	quarantine := contractOf("users", contract.Quarantine, "full_name")
	apply(t, env, quarantine)
	if live := pgtest.QueryRow[bool](t, db, `SELECT prosrc LIKE '%full_name__quarantined%' FROM pg_proc WHERE proname LIKE 'sync_users%'`); !live {
		t.Error("the sync does not mirror")
	}
	db.Exec(t, `UPDATE users SET email = 'other' WHERE id = 20`)
	revertAll(t, env, quarantine)
	expectSame(t, "full names after an undo at once", snapshot(t, db, "id, full_name"), want)

	apply(t, env, quarantine)
	db.Exec(t, `INSERT INTO users (id, first_name, last_name) VALUES (200, 'New', 'Row')`)
	db.Exec(t, `UPDATE users SET last_name = 'Changed' WHERE id IN (1, 10)`)
	revertAll(t, env, quarantine)
	for id, want := range map[int]string{200: "New Row", 1: "First1 Changed", 10: "First10 Changed", 20: "First20  Last20"} {
		if got := pgtest.QueryRow[string](t, db, `SELECT full_name FROM users WHERE id = $1`, id); got != want {
			t.Errorf("full name of %d = %q, want %q", id, got, want)
		}
	}
	db.Exec(t, `UPDATE users SET full_name = 'Sync Works' WHERE id = 3`)
	if got := pgtest.QueryRow[string](t, db, `SELECT first_name || '/' || last_name FROM users WHERE id = 3`); got != "Sync/Works" {
		t.Errorf("after the undo the sync gives %s", got)
	}
	expectNothingLeft(t, db)
}

func TestQuarantineEndsASyncThatCannotMirror(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 10)
	env := newEnv(t, db.ConnString())
	expand(t, env, oneWaySync())
	quarantine := contractOf("users", contract.Quarantine, "full_name")
	apply(t, env, quarantine)
	if n := pgtest.QueryRow[int](t, db, `SELECT count(*) FROM pg_trigger WHERE tgrelid = 'users'::regclass`); n != 0 {
		t.Errorf("%d triggers are left", n)
	}
	db.Exec(t, `INSERT INTO users (id, first_name) VALUES (200, 'New')`)
	db.Exec(t, `UPDATE users SET first_name = 'X' WHERE id = 1`)
	revertAll(t, env, quarantine)
	db.Exec(t, `INSERT INTO users (id, full_name) VALUES (300, 'Sync Works')`)
	if got := pgtest.QueryRow[string](t, db, `SELECT first_name || '/' || last_name FROM users WHERE id = 300`); got != "Sync/Works" {
		t.Errorf("after the undo the sync gives %s", got)
	}
}

func TestSyncThatWasDestroyedDoesNotComeBack(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 10)
	env := newEnv(t, db.ConnString())
	sync := nameSync()
	expand(t, env, sync)
	quarantine := contractOf("users", contract.Quarantine, "full_name")
	apply(t, env, quarantine)
	revertAll(t, env, sync)
	db.Exec(t, `INSERT INTO users (id, first_name, last_name) VALUES (200, 'New', 'Row')`)
	revertAll(t, env, quarantine)
	if got := pgtest.QueryRow[string](t, db, `SELECT full_name FROM users WHERE id = 200`); got != "New Row" {
		t.Errorf("full name = %q", got)
	}
	if n := pgtest.QueryRow[int](t, db, `SELECT count(*) FROM pg_trigger WHERE tgrelid = 'users'::regclass`); n != 0 {
		t.Errorf("%d triggers are left", n)
	}
	if n := pgtest.QueryRow[int](t, db, `SELECT count(*) FROM terraform_postgres.stage WHERE kind = $1`, ledger.ColumnSync); n != 0 {
		t.Errorf("%d syncs are recorded", n)
	}
}

// Without a sync nothing keeps the column, and a row may have come that has no value in it.
func TestQuarantineOfANotNullColumn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		meanwhile string
		notNull   bool
	}{
		"nothing written":    {"", true},
		"row without a name": {`INSERT INTO users (id) VALUES (200)`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t)
			db.Exec(t, `CREATE TABLE users (id bigint PRIMARY KEY, full_name text NOT NULL)`)
			db.Exec(t, `INSERT INTO users VALUES (1, 'x')`)
			env := newEnv(t, db.ConnString())
			quarantine := contractOf("users", contract.Quarantine, "full_name")
			apply(t, env, quarantine)
			if c.meanwhile != "" {
				db.Exec(t, c.meanwhile)
			}
			missing := revert(t, env, quarantine)
			if (len(missing) == 0) != c.notNull {
				t.Errorf("findings: %v", missing)
			}
			if got := pgtest.QueryRow[bool](t, db, `SELECT attnotnull FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname = 'full_name'`); got != c.notNull {
				t.Errorf("NOT NULL = %t, want %t", got, c.notNull)
			}
			expectNothingLeft(t, db)
			if n := pgtest.QueryRow[int](t, db, `SELECT count(*) FROM pg_constraint WHERE conrelid = 'users'::regclass AND contype = 'c'`); n != 0 {
				t.Errorf("%d constraints are left", n)
			}
		})
	}
}

// A default would look like a value that somebody gave.
func TestQuarantineKeepsADefaultForLater(t *testing.T) {
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 10)
	db.Exec(t, `UPDATE users SET full_name = '' WHERE full_name IS NULL; ALTER TABLE users ALTER full_name SET DEFAULT '', ALTER full_name SET NOT NULL`)
	env := newEnv(t, db.ConnString())
	expand(t, env, nameSync())
	spec := contractOf("users", contract.Quarantine, "full_name")
	do(t, spec.Apply, env)
	db.Exec(t, `INSERT INTO users (id, first_name, last_name) VALUES (11, 'Ann', 'Lee')`)
	undo(t, spec.Revert, env)
	if got := pgtest.QueryRow[string](t, db, `SELECT full_name FROM users WHERE id = 11`); got != "Ann Lee" {
		t.Errorf("a row that was written meanwhile has the full name %q", got)
	}
	got := pgtest.QueryRow[string](t, db, `SELECT format('%s, not null: %s', pg_get_expr(adbin, adrelid), attnotnull) FROM pg_attribute JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
		WHERE attrelid = 'users'::regclass AND attname = 'full_name'`)
	if want := "''::text, not null: t"; got != want {
		t.Errorf("the column is back with default %s, want %s", got, want)
	}
}
