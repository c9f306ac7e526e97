package backfill_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

func TestTwoAppliesNeverRunOneBackfill(t *testing.T) {
	t.Parallel()
	t.Run("the second one gives up while the first one works", func(t *testing.T) {
		t.Parallel()
		// Slower than the time that the second one waits.
		const rows = 40_000
		db := pgtest.NewDatabase(t)
		createPeople(t, db, rows)
		slow(t, db, "people")
		first, second, spec := newEnv(t, db.ConnString()), newEnv(t, db.ConnString()), peopleSpec()
		first.Holder, second.Holder = "first apply", "second apply"
		done := applying(t.Context(), first, spec)
		waitForRows(t, db, spec, 100, done)
		began := time.Now()
		_, err := spec.Apply(t.Context(), second)
		expectFinding(t, err, "Backfill of public.people (n) is already running", "first apply", "FROM \"terraform_postgres\".progress")
		if time.Since(began) < ledger.LeaseTTL/2 {
			t.Errorf("it gave up after %s, without waiting for a holder that may have died", time.Since(began))
		}
		select {
		case result := <-done:
			t.Fatalf("the first apply ended early: %v", result.err)
		default:
		}
		// The rows that are left need no more time.
		db.Exec(t, `ALTER TABLE people DISABLE TRIGGER slow`)
		if result := <-done; result.err != nil {
			t.Fatalf("first apply: %v", result.err)
		}
		expectNone(t, db, "wrong rows", wrongPeople)
	})
	t.Run("the second one finds it complete", func(t *testing.T) {
		t.Parallel()
		const rows = 3000
		db := pgtest.NewDatabase(t)
		createPeople(t, db, rows)
		countUpdates(t, db, "people")
		slow(t, db, "people")
		env, spec := newEnv(t, db.ConnString()), peopleSpec()
		first := applying(t.Context(), env, spec)
		waitForRows(t, db, spec, 100, first)
		second := applying(t.Context(), newEnv(t, db.ConnString()), spec)
		db.Exec(t, `ALTER TABLE people DISABLE TRIGGER slow`) // The second one waits for the length of a lease only.
		for name, done := range map[string]<-chan outcome{"first": first, "second": second} {
			if result := <-done; result.err != nil || result.state.Status != ledger.Complete || result.state.RowsUpdated != rows {
				t.Errorf("%s apply: %+v, %v", name, result.state, result.err)
			}
		}
		expectNone(t, db, "wrong rows", wrongPeople)
		expectEachOnce(t, db, spec, rows)
	})
}

func TestManyAppliesAtOnce(t *testing.T) {
	t.Parallel()
	const rows = 10_000
	db := pgtest.NewDatabase(t)
	createPeople(t, db, rows)
	countUpdates(t, db, "people")
	spec := peopleSpec()
	var all []<-chan outcome
	for range 6 {
		all = append(all, applying(t.Context(), newEnv(t, db.ConnString()), spec))
	}
	for _, done := range all {
		if result := <-done; result.err != nil {
			t.Errorf("apply: %v", result.err)
		}
	}
	expectNone(t, db, "wrong rows", wrongPeople)
	expectEachOnce(t, db, spec, rows)
}

// A run that stalled, not died, comes back after another one has taken over, and must not commit what it had begun.
func TestZombieCannotCommit(t *testing.T) {
	t.Parallel()
	const rows = 5000
	db := pgtest.NewDatabase(t)
	createPeople(t, db, rows)
	countUpdates(t, db, "people")
	slow(t, db, "people")
	proxy, connString := pgtest.NewProxy(t, db)
	zombie, heir, spec := newEnv(t, connString), newEnv(t, db.ConnString()), peopleSpec()
	zombie.Holder, heir.Holder = "zombie", "heir"
	done := applying(t.Context(), zombie, spec)
	waitForRows(t, db, spec, 500, done)
	proxy.Stall()
	apply(t, heir, spec)
	expectEachOnce(t, db, spec, rows)
	// New work shows whether it still does any.
	db.Exec(t, `UPDATE people SET n = NULL WHERE id > $1`, rows-100)
	db.Exec(t, `TRUNCATE touched`)
	proxy.Resume()
	result := <-done
	if !errors.Is(result.err, ledger.ErrLeaseLost) {
		t.Errorf("zombie: %v, want %v", result.err, ledger.ErrLeaseLost)
	} else {
		expectFinding(t, result.err, "Backfill of public.people (n) was taken over by another apply")
	}
	expectNone(t, db, "rows were updated by the zombie", `SELECT count(*) FROM touched`)
	if recorded := rowsInLedger(t, db, spec); recorded != rows {
		t.Errorf("the ledger counts %d rows, want %d", recorded, rows)
	}
}

// The host of a run loses its power before a commit: its session stays, and nothing comes from it any more.
func TestSessionOfAHostThatIsGoneIsWaitedOut(t *testing.T) {
	t.Parallel()
	const rows = 20_000
	db := pgtest.NewDatabase(t)
	createPeople(t, db, rows)
	countUpdates(t, db, "people")
	proxy, connString := pgtest.NewProxy(t, db)
	gone, heir, spec := newEnv(t, connString), newEnv(t, db.ConnString()), peopleSpec()
	spec.Options.Workers = 1
	stalled, resumed := make(chan struct{}), make(chan struct{})
	resume := sync.OnceFunc(func() { close(resumed) })
	defer resume()
	beforeCommit, commits := afterSeen("SET next_page", pgtest.Containing("commit")), 0
	// A proxy whose matcher does not return holds all traffic back.
	proxy.CutBefore(func(sql string) bool {
		if !beforeCommit(sql) {
			return false
		}
		if commits++; commits == 3 {
			close(stalled)
			<-resumed
		}
		return false
	}, 1)
	done := applying(t.Context(), gone, spec)
	<-stalled
	// The checkpoint is locked for longer than one attempt of the heir waits.
	db.Exec(t, `UPDATE terraform_postgres.backfill SET lease_expires_at = now()`)
	apply(t, heir, spec)
	resume()
	if result := <-done; !errors.Is(result.err, ledger.ErrLeaseLost) {
		t.Errorf("the one that comes back: %v, want %v", result.err, ledger.ErrLeaseLost)
	}
	expectNone(t, db, "wrong rows", wrongPeople)
	expectEachOnce(t, db, spec, rows)
}

// A process that slept, as a laptop does, goes on when nobody has taken its place.
func TestRunThatSleptGoesOn(t *testing.T) {
	t.Parallel()
	const rows = 3000
	db := pgtest.NewDatabase(t)
	createPeople(t, db, rows)
	countUpdates(t, db, "people")
	slow(t, db, "people")
	proxy, connString := pgtest.NewProxy(t, db)
	env, spec := newEnv(t, connString), peopleSpec()
	done := applying(t.Context(), env, spec)
	waitForRows(t, db, spec, 300, done)
	proxy.Stall()
	eventually(t, "the server ends the transactions that were left open", func() bool {
		return pgtest.QueryRow[int](t, db,
			`SELECT count(*)::int FROM pg_stat_activity WHERE application_name = 'backfill' AND state = 'idle in transaction'`) == 0 &&
			pgtest.QueryRow[bool](t, db, `SELECT lease_expires_at < clock_timestamp() FROM terraform_postgres.backfill`)
	})
	proxy.Resume()
	if result := <-done; result.err != nil {
		t.Fatalf("apply: %v", result.err)
	}
	expectNone(t, db, "wrong rows", wrongPeople)
	expectEachOnce(t, db, spec, rows)
}

// The takeover happens between a batch and its checkpoint.
func TestBatchWhoseLeaseIsGoneIsRolledBack(t *testing.T) {
	t.Parallel()
	const rows = 5000
	db := pgtest.NewDatabase(t)
	createPeople(t, db, rows)
	countUpdates(t, db, "people")
	env, spec := newEnv(t, db.ConnString()), peopleSpec()
	if err := env.Ledger.Ensure(t.Context(), env.DB); err != nil {
		t.Fatal(err)
	}
	// The first row of the second half takes the lease away, as another apply does.
	db.Exec(t, `
		CREATE FUNCTION steal() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
		  IF NEW.id = 2500 THEN
		    UPDATE terraform_postgres.backfill SET token = token + 1;
		    UPDATE terraform_postgres.segment SET token = token + 1;
		  END IF;
		  RETURN NEW;
		END $$`)
	db.Exec(t, `CREATE TRIGGER steal BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION steal()`)
	_, err := spec.Apply(t.Context(), env)
	if !errors.Is(err, ledger.ErrLeaseLost) {
		t.Fatalf("apply: %v, want %v", err, ledger.ErrLeaseLost)
	}
	expectNone(t, db, "rows of the batch that lost its lease", `SELECT count(*) FROM people WHERE id = 2500 AND n IS NOT NULL`)
	db.Exec(t, `DROP TRIGGER steal ON people`)
	apply(t, env, spec)
	expectNone(t, db, "wrong rows", wrongPeople)
	expectEachOnce(t, db, spec, rows)
}

func TestKilledHolderIsWaitedOut(t *testing.T) {
	t.Parallel()
	const rows = 4000
	db := pgtest.NewDatabase(t)
	createPeople(t, db, rows)
	countUpdates(t, db, "people")
	slow(t, db, "people")
	proxy, connString := pgtest.NewProxy(t, db)
	spec := peopleSpec()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := applying(ctx, newEnv(t, connString), spec)
	waitForRows(t, db, spec, 500, done)
	// Nothing of it comes back, not even to give the lease back.
	proxy.Close()
	if held := pgtest.QueryRow[bool](t, db, `SELECT lease_expires_at > clock_timestamp() FROM terraform_postgres.backfill`); !held {
		t.Fatal("no lease is left behind, so that there is nothing to wait for")
	}
	apply(t, newEnv(t, db.ConnString()), spec)
	expectNone(t, db, "wrong rows", wrongPeople)
	expectEachOnce(t, db, spec, rows)
	cancel()
	if result := <-done; result.err == nil {
		t.Error("the killed apply says that it is complete")
	}
}
