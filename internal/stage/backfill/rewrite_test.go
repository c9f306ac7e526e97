package backfill_test

import (
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

func TestRewrittenTableIsWalkedAgain(t *testing.T) {
	t.Parallel()
	const rows = 3000
	t.Run("between two applies", func(t *testing.T) {
		t.Parallel()
		db := pgtest.NewDatabase(t)
		createPeople(t, db, rows)
		slow(t, db, "people")
		countUpdates(t, db, "people")
		env, spec := newEnv(t, db.ConnString()), peopleSpec()
		interrupt(t, db, env, spec, 1000)
		// The rows that were not reached come first in the new file, in pages that are recorded as done.
		db.Exec(t, `CREATE INDEX people_order ON people ((n IS NULL) DESC, id)`)
		db.Exec(t, `CLUSTER people USING people_order`)
		apply(t, env, spec)
		expectNone(t, db, "wrong rows", wrongPeople)
		expectEachOnce(t, db, spec, rows)
	})
	t.Run("during an apply", func(t *testing.T) {
		t.Parallel()
		db := pgtest.NewDatabase(t)
		createPeople(t, db, rows)
		slow(t, db, "people")
		countUpdates(t, db, "people")
		db.Exec(t, `CREATE INDEX people_order ON people ((n IS NULL) DESC, id DESC)`)
		env, spec := newEnv(t, db.ConnString()), peopleSpec()
		done := applying(t.Context(), env, spec)
		waitForRows(t, db, spec, 1000, done)
		db.Exec(t, `CLUSTER people USING people_order`)
		if result := <-done; result.err != nil {
			t.Fatalf("apply: %v", result.err)
		}
		expectNone(t, db, "wrong rows", wrongPeople)
		expectEachOnce(t, db, spec, rows)
	})
}

func TestRecreatedTableIsAnotherTable(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createPeople(t, db, 4000)
	slow(t, db, "people")
	env, spec := newEnv(t, db.ConnString()), peopleSpec()
	interrupt(t, db, env, spec, 1000)
	db.Exec(t, `DROP TABLE people`)
	createPeople(t, db, 3000)
	if state := apply(t, env, spec); state.RowsUpdated != 3000 {
		t.Errorf("%d rows updated, want the 3000 of the new table", state.RowsUpdated)
	}
	expectNone(t, db, "wrong rows", wrongPeople)
	observed, err := spec.Read(t.Context(), env)
	if err != nil || observed == nil {
		t.Errorf("the ledger does not know the backfill of the new table: %v", err)
	}
}

func TestDroppedTable(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createPeople(t, db, 4000)
	slow(t, db, "people")
	env, spec := newEnv(t, db.ConnString()), peopleSpec()
	done := applying(t.Context(), env, spec)
	waitForRows(t, db, spec, 500, done)
	db.Exec(t, `DROP TABLE people`)
	result := <-done
	expectFinding(t, result.err, "public.people")
	_, err := spec.Apply(t.Context(), env)
	expectFinding(t, err, "Table public.people does not exist")
	if observed, err := spec.Read(t.Context(), env); err != nil || observed != nil {
		t.Errorf("a dropped table still has its backfill: %v, %v", observed, err)
	}
}

func TestTruncatedTable(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"between two applies", "during an apply"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t)
			createPeople(t, db, 3000)
			slow(t, db, "people")
			env, spec := newEnv(t, db.ConnString()), peopleSpec()
			refill := func() {
				// In one transaction: after the TRUNCATE alone the backfill is complete.
				db.Exec(t, `TRUNCATE people; INSERT INTO people SELECT i, repeat('y', 70) FROM generate_series(1, 2000) AS i`)
			}
			if when == "during an apply" {
				done := applying(t.Context(), env, spec)
				waitForRows(t, db, spec, 1000, done)
				refill()
				if result := <-done; result.err != nil {
					t.Fatalf("apply: %v", result.err)
				}
			} else {
				interrupt(t, db, env, spec, 1000)
				refill()
				apply(t, env, spec)
			}
			expectNone(t, db, "wrong rows", wrongPeople)
		})
	}
}
