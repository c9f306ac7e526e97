package pgtest_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

func TestWritersRecordWhatTheyDo(t *testing.T) {
	database := pgtest.NewDatabase(t)
	refused := errors.New("refused")
	turns := make(chan error)
	writers, err := pgtest.StartWriters(t.Context(), database.ConnString(), pgtest.WriterOptions{
		Writers: 1,
		Name:    "billing",
		Transaction: func(ctx context.Context, conn *pgx.Conn, _ *rand.Rand) error {
			if _, err := conn.Exec(ctx, "SELECT pg_sleep(0.002)"); err != nil {
				return err
			}
			return <-turns
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	turns <- nil
	turns <- refused
	turns <- nil
	inFlight := writers.Stats()
	names := pgtest.Query[string](t, database,
		"SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'billing-%'")
	close(turns)
	stats := writers.Stop()

	if !slices.Equal(names, []string{"billing-1"}) {
		t.Errorf("application names = %v", names)
	}
	if inFlight.Transactions > 2 || inFlight.Max == 0 {
		t.Errorf("snapshot while the fourth transaction runs: %+v", inFlight)
	}
	if stats.Errors != 1 || len(stats.FirstErrors) != 1 || !errors.Is(stats.FirstErrors[0], refused) {
		t.Errorf("errors = %d %v, want the one refusal", stats.Errors, stats.FirstErrors)
	}
	if stats.Transactions < 2 || stats.Writers[0].Transactions != stats.Transactions {
		t.Errorf("transactions = %d, of the one writer %d", stats.Transactions, stats.Writers[0].Transactions)
	}
	if stats.P50 < 2*time.Millisecond || stats.P99 < stats.P50 || stats.Max < 2*time.Millisecond || stats.Elapsed < stats.Max {
		t.Errorf("latencies = %s, %s, %s in %s", stats.P50, stats.P99, stats.Max, stats.Elapsed)
	}
	writers.ResetStats()
	if reset := writers.Stats(); reset.Transactions != 0 || reset.Errors != 0 || reset.Max != 0 {
		t.Errorf("after ResetStats: %+v", reset)
	}
}

func TestWriterConnectsAgain(t *testing.T) {
	database := pgtest.NewDatabase(t)
	pids := make(chan uint32, 2)
	writers, err := pgtest.StartWriters(t.Context(), database.ConnString(), pgtest.WriterOptions{
		Writers: 1,
		Transaction: func(ctx context.Context, conn *pgx.Conn, _ *rand.Rand) error {
			select {
			case pids <- conn.PgConn().PID():
			default:
				return nil
			}
			if len(pids) == 2 {
				return nil
			}
			_, err := conn.Exec(ctx, "SELECT pg_terminate_backend(pg_backend_pid())")
			return err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return len(pids) == 2 })
	stats := writers.Stop()
	if first, second := <-pids, <-pids; first == second {
		t.Error("the writer did not get another connection")
	}
	if stats.Errors != 1 {
		t.Errorf("errors = %d, want the terminated transaction: %v", stats.Errors, stats.FirstErrors)
	}
}

// dualWrite is the least that keeps both sides of users in step for writes that know of one side only. Like a real
// one, it fills the new side in passing, so that any update is a backfill.
const dualWrite = `
ALTER TABLE users ADD COLUMN first_name text, ADD COLUMN last_name text;
CREATE FUNCTION forward(full_name text, OUT first_name text, OUT last_name text) IMMUTABLE
RETURN (` + pgtest.FirstName + `, ` + pgtest.LastName + `);
CREATE FUNCTION sync_users() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  old_changed boolean := TG_OP = 'INSERT' OR NEW.full_name IS DISTINCT FROM OLD.full_name;
  new_changed boolean := NEW.first_name IS NOT NULL
    AND (TG_OP = 'INSERT' OR (NEW.first_name, NEW.last_name) IS DISTINCT FROM (OLD.first_name, OLD.last_name));
BEGIN
  IF NOT new_changed AND (old_changed OR NEW.first_name IS NULL) THEN
    SELECT * INTO NEW.first_name, NEW.last_name FROM forward(NEW.full_name);
  ELSIF new_changed AND (NOT old_changed OR NEW.full_name IS NULL) THEN
    NEW.full_name := NEW.first_name || ' ' || NEW.last_name;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER sync_users BEFORE INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION sync_users();`

func TestUsersLiveThroughAWholeMigration(t *testing.T) {
	database := pgtest.NewDatabase(t)
	if err := pgtest.CreateUsers(t.Context(), database.Owner, 500); err != nil {
		t.Fatal(err)
	}
	users, err := pgtest.NewUsers(t.Context(), database.Owner, pgtest.OldStyle)
	if err != nil {
		t.Fatal(err)
	}
	users.Differs = true
	writers, err := pgtest.StartWriters(t.Context(), database.ConnString(),
		pgtest.WriterOptions{Transaction: users.Transaction, Writers: 4})
	if err != nil {
		t.Fatal(err)
	}
	deploy := func(generation pgtest.Generation) {
		t.Helper()
		if err := users.SetGeneration(t.Context(), generation); err != nil {
			t.Fatal(err)
		}
	}
	work := func() {
		t.Helper()
		before := writers.Stats().Transactions
		eventually(t, func() bool { return writers.Stats().Transactions >= before+300 })
		assertUsersMatch(t, database)
	}

	work() // before expand: full_name alone
	database.Exec(t, dualWrite)
	database.Exec(t, "UPDATE users SET visits = visits") // the backfill
	work()
	deploy(pgtest.DualWrite)
	work()
	deploy(pgtest.NewStyle)
	work()
	database.Exec(t, "DROP TRIGGER sync_users ON users; ALTER TABLE users DROP COLUMN full_name")
	work() // after contract

	if stats := writers.Stop(); stats.Errors != 0 {
		t.Errorf("%d errors: %v", stats.Errors, stats.FirstErrors)
	}
	assertUsersMatch(t, database)
}

func TestCheckUsersFindsPlantedRows(t *testing.T) {
	tests := map[string]struct {
		plant string
		want  string
	}{
		"lost update": {
			"UPDATE users SET visits = visits + 1 WHERE id = 3",
			`id 3: users has {"id": 3, "visits": 1, `,
		},
		"wrong split": {
			"UPDATE users SET last_name = 'wrong' WHERE id = 3",
			`"last_name": "wrong"`,
		},
		"not backfilled": {
			"UPDATE users SET first_name = NULL, last_name = NULL WHERE id = 3",
			`"last_name": null`,
		},
		"a service's own value overwritten": {
			"UPDATE users_oracle SET first_name = 'FIRST', last_name = 'LAST' WHERE id = 3",
			`the oracle expects {"id": 3, "visits": 0, "full_name": "First3 Last3", "last_name": "LAST", "first_name": "FIRST"}`,
		},
		"deleted row": {
			"DELETE FROM users WHERE id = 3",
			"id 3: users has no such row, ",
		},
		"row come back": {
			"DELETE FROM users_oracle WHERE id = 3",
			"the oracle expects no such row",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			database := pgtest.NewDatabase(t)
			if err := pgtest.CreateUsers(t.Context(), database.Owner, 100); err != nil {
				t.Fatal(err)
			}
			database.Exec(t, "ALTER TABLE users ADD COLUMN first_name text, ADD COLUMN last_name text")
			database.Exec(t, "UPDATE users SET first_name = "+pgtest.FirstName+", last_name = "+pgtest.LastName)
			assertUsersMatch(t, database)

			database.Exec(t, test.plant)
			mismatches, err := pgtest.CheckUsers(t.Context(), database.Owner)
			if err != nil {
				t.Fatal(err)
			}
			if len(mismatches) != 1 || !strings.Contains(mismatches[0], test.want) {
				t.Errorf("mismatches = %q, want one with %q", mismatches, test.want)
			}
		})
	}
}

func TestSetGenerationWaitsForTransactionsInFlight(t *testing.T) {
	database := pgtest.NewDatabase(t)
	if err := pgtest.CreateUsers(t.Context(), database.Owner, 10); err != nil {
		t.Fatal(err)
	}
	users, err := pgtest.NewUsers(t.Context(), database.Owner, pgtest.OldStyle)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := database.Owner.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Exec(t.Context(), "LOCK TABLE users"); err != nil {
		t.Fatal(err)
	}
	writers, err := pgtest.StartWriters(t.Context(), database.ConnString(),
		pgtest.WriterOptions{Transaction: users.Transaction, Writers: 1})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		return pgtest.QueryRow[bool](t, database, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
	})

	ended, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := users.SetGeneration(ended, pgtest.DualWrite); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a transaction in flight: error = %v, want the context's", err)
	}
	if err := users.SetGeneration(t.Context(), pgtest.OldStyle); err != nil {
		t.Error(err)
	}
	if err := lock.Rollback(t.Context()); err != nil {
		t.Error(err)
	}
	if stats := writers.Stop(); stats.Errors != 0 || stats.Max < 50*time.Millisecond {
		t.Errorf("max = %s, errors = %v, want a stall and no error", stats.Max, stats.FirstErrors)
	}
}

func assertUsersMatch(t *testing.T, database *pgtest.Database) {
	t.Helper()
	mismatches, err := pgtest.CheckUsers(t.Context(), database.Owner)
	if err != nil {
		t.Fatal(err)
	}
	if len(mismatches) > 0 {
		t.Errorf("users and its oracle differ:\n%s", strings.Join(mismatches, "\n"))
	}
}
