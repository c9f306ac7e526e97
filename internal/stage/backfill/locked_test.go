package backfill_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// hold begins a transaction of an application called nightly-report, runs the statement in it and leaves it idle.
func hold(t *testing.T, db *pgtest.Database, sql string) (tx pgx.Tx, pid int32) {
	t.Helper()
	config, err := pgx.ParseConfig(db.ConnString())
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["application_name"] = "nightly-report"
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) }) // The database is dropped with force.
	if tx, err = conn.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
	return tx, int32(conn.PgConn().PID()) //nolint:gosec // pids are small
}

func end(t *testing.T, tx pgx.Tx) {
	t.Helper()
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestLockedRowIsNamedWithItsHolder(t *testing.T) {
	t.Parallel()
	const rows = 10_000
	db := pgtest.NewDatabase(t)
	createPeople(t, db, rows)
	countUpdates(t, db, "people")
	held, pid := hold(t, db, `SELECT FROM people WHERE id IN (17, 5000) FOR UPDATE`)
	env, spec := newEnv(t, db.ConnString()), peopleSpec()
	state, err := spec.Apply(t.Context(), env)
	expectFinding(t, err, "Backfill of public.people (n) cannot get rows that others hold", fmt.Sprintf("pid %d", pid), "nightly-report",
		"idle in transaction", fmt.Sprintf("SELECT pg_terminate_backend(%d);", pid))
	if state.RowsUpdated != rows-2 {
		t.Errorf("%d rows updated beside the locked ones, want %d", state.RowsUpdated, rows-2)
	}
	end(t, held)
	apply(t, env, spec)
	expectNone(t, db, "wrong rows", wrongPeople)
	expectEachOnce(t, db, spec, rows)
}

func TestLockedRowIsTriedAgainUntilItsHolderEnds(t *testing.T) {
	t.Parallel()
	for name, lock := range map[string]string{
		"row":   `UPDATE people SET body = 'y' WHERE id = 5000`,
		"table": `LOCK TABLE people IN SHARE MODE`,
		"all":   `LOCK TABLE people IN ACCESS EXCLUSIVE MODE`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const rows = 6000
			db := pgtest.NewDatabase(t)
			createPeople(t, db, rows)
			countUpdates(t, db, "people")
			held, pid := hold(t, db, lock)
			env, spec := newEnv(t, db.ConnString()), peopleSpec()
			env.RetryFor = patience
			done := applying(t.Context(), env, spec)
			// It has to be in the way several times before it ends.
			met := 0
			eventually(t, "the backfill meets the lock several times", func() bool {
				if pgtest.QueryRow[bool](t, db, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid)))`, pid) {
					met++
				}
				return met >= 3
			})
			end(t, held)
			result := <-done
			if result.err != nil {
				t.Fatalf("apply: %v", result.err)
			}
			expectNone(t, db, "wrong rows", wrongPeople)
			expectEachOnce(t, db, spec, rows)
		})
	}
}

func TestLockedTableIsNamedWithItsHolder(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"SHARE", "ACCESS EXCLUSIVE"} {
		t.Run(strings.ToLower(mode), func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t)
			createPeople(t, db, 1000)
			_, pid := hold(t, db, `LOCK TABLE people IN `+mode+` MODE`)
			env, spec := newEnv(t, db.ConnString()), peopleSpec()
			done := applying(t.Context(), env, spec)
			select {
			case result := <-done:
				expectFinding(t, result.err, "public.people", fmt.Sprintf("pid %d", pid), "nightly-report")
			case <-time.After(patience):
				t.Error("the backfill waits on and on")
			}
			// Pages that were passed over meanwhile would all be left to the sweep.
			expectNone(t, db, "pages were passed over", `SELECT coalesce(sum(next_page - first_page), 0)::bigint FROM terraform_postgres.segment`)
		})
	}
}

// A transaction that holds many rows is given up as soon as one that holds a single row.
func TestManyLockedRowsAreNotTriedOneByOneForEver(t *testing.T) {
	t.Parallel()
	const rows = 5000
	db := pgtest.NewDatabase(t)
	createPeople(t, db, rows)
	_, pid := hold(t, db, `SELECT FROM people WHERE id > 1000 FOR UPDATE`)
	env, spec := newEnv(t, db.ConnString()), peopleSpec()
	done := applying(t.Context(), env, spec)
	select {
	case result := <-done:
		expectFinding(t, result.err, "public.people", fmt.Sprintf("pid %d", pid), "nightly-report")
	case <-time.After(patience):
		t.Error("the backfill tries on and on")
	}
	expectNone(t, db, "wrong rows among those that were free", wrongPeople+` AND id <= 1000`)
}

// An application that locks rows against the walk meets a batch that waits for one of its rows. The batch has to give way
// before the server looks for deadlocks, because it might pick the application.
func TestApplicationIsNeverTheVictimOfADeadlock(t *testing.T) {
	t.Parallel()
	const rows = 1000
	const deadlockTimeout = 300 * time.Millisecond
	db := pgtest.NewDatabase(t)
	if _, err := db.Super.Exec(t.Context(), fmt.Sprintf(`ALTER DATABASE %s SET deadlock_timeout = '%s'`, db.Name, deadlockTimeout)); err != nil {
		t.Fatal(err)
	}
	createPeople(t, db, rows)
	held, _ := hold(t, db, fmt.Sprintf(`SELECT FROM people WHERE id = %d FOR UPDATE`, rows))
	env, spec := newEnv(t, db.ConnString()), peopleSpec()
	env.RetryFor = patience
	done := applying(t.Context(), env, spec)
	for id := rows - 1; id > rows-15; id-- {
		// A batch that waits longer than this has had its own look for deadlocks, and found none.
		time.Sleep(3 * deadlockTimeout / 2)
		if _, err := held.Exec(t.Context(), `SELECT FROM people WHERE id = $1 FOR UPDATE`, id); err != nil {
			t.Fatalf("the application's statement on row %d: %v", id, err)
		}
	}
	end(t, held)
	if result := <-done; result.err != nil {
		t.Fatalf("apply: %v", result.err)
	}
	expectNone(t, db, "wrong rows", wrongPeople)
}
