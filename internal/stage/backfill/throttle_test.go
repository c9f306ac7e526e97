package backfill_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/load"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// A backfill waits for a standby that falls behind, without a write on the primary, and goes on when it has caught up.
func TestWaitsForAStandby(t *testing.T) {
	t.Parallel()
	const rows = 60_000
	db := pgtest.NewDatabaseOn(t, pgtest.StartServer(t, pgtest.Options{}))
	createPeople(t, db, rows)
	standby := pgtest.StartReplica(t, db.Server, pgtest.ReplicaOptions{Name: "standby1"})
	if _, err := db.Super.Exec(t.Context(), `GRANT pg_monitor TO `+pgtest.QueryRow[string](t, db, `SELECT quote_ident(current_user)`)); err != nil {
		t.Fatal(err)
	}
	env, spec := newEnv(t, db.ConnString()), peopleSpec()
	limits := load.Defaults()
	limits.ReplicaLag, limits.ReplicaLagBytes = time.Second, 64<<10
	spec.Options.Throttle, spec.Options.MaxRowsPerSecond = &limits, 10_000
	done := applying(t.Context(), env, spec)
	waitForRows(t, db, spec, 1, done)
	if err := standby.PauseReplay(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the progress view names the standby that is behind", func() bool {
		p := progress(t, db)
		return strings.Contains(p, `"status":"throttled"`) && strings.Contains(p, `"limited_by":"throttle"`) && strings.Contains(p, "replica_lag of standby1")
	})
	select {
	case result := <-done:
		t.Fatalf("it did not wait: %v", result.err)
	default:
	}
	if err := standby.ResumeReplay(t.Context()); err != nil {
		t.Fatal(err)
	}
	if result := <-done; result.err != nil {
		t.Fatal(result.err)
	}
	expectNone(t, db, "wrong rows", wrongPeople)
}

// A condition of the user's own pauses the backfill.
func TestWaitsForTheUsersQuery(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createPeople(t, db, 20_000)
	db.Exec(t, `CREATE TABLE rush_hour (yes boolean NOT NULL)`)
	db.Exec(t, `INSERT INTO rush_hour VALUES (true)`)
	env, spec := newEnv(t, db.ConnString()), peopleSpec()
	limits := load.Defaults()
	limits.Queries = []load.Query{{Name: "rush_hour", SQL: `SELECT yes FROM rush_hour`}}
	spec.Options.Throttle, spec.Options.MaxRowsPerSecond = &limits, 5000
	done := applying(t.Context(), env, spec)
	eventually(t, "the progress view names the query", func() bool {
		return rowsInLedger(t, db, spec) >= 0 && pgtest.QueryRow[bool](t, db, `SELECT to_regclass('terraform_postgres.progress') IS NOT NULL`) &&
			strings.Contains(pgtest.QueryRow[string](t, db, `SELECT coalesce(max(throttled), '') FROM terraform_postgres.progress`), "rush_hour")
	})
	db.Exec(t, `UPDATE rush_hour SET yes = false`)
	if result := <-done; result.err != nil {
		t.Fatal(result.err)
	}
	expectNone(t, db, "wrong rows", wrongPeople)
}
