package backfill_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// slowPeople is a backfill that takes long enough to be operated.
func slowPeople(t *testing.T, db *pgtest.Database) <-chan outcome {
	t.Helper()
	createPeople(t, db, 40_000)
	spec := peopleSpec()
	spec.Options.MaxRowsPerSecond = 4000
	done := applying(t.Context(), newEnv(t, db.ConnString()), spec)
	waitForRows(t, db, spec, 1, done)
	return done
}

// ask calls one of the functions for operators, which must name the backfill.
func ask(t *testing.T, db *pgtest.Database, call string) {
	t.Helper()
	got := pgtest.Query[string](t, db, `SELECT terraform_postgres.`+call)
	if len(got) != 1 || got[0] != peopleSpec().ID {
		t.Fatalf("%s = %v, want %s", call, got, peopleSpec().ID)
	}
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	done := slowPeople(t, db)
	ask(t, db, `pause()`)
	eventually(t, "the progress view says that it waits because it is paused", func() bool {
		p := progress(t, db)
		return strings.Contains(p, `"status":"paused"`) && strings.Contains(p, `"limited_by":"paused"`)
	})
	// The batches that were under way have ended.
	eventually(t, "no batch runs", func() bool {
		return pgtest.QueryRow[int64](t, db, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'UPDATE ONLY%' AND state <> 'idle'`) == 0
	})
	before := rowsInLedger(t, db, peopleSpec())
	for range 10 {
		time.Sleep(100 * time.Millisecond)
		if now := rowsInLedger(t, db, peopleSpec()); now != before {
			t.Fatalf("%d rows were updated during the pause", now-before)
		}
	}
	select {
	case result := <-done:
		t.Fatalf("the apply ended in the pause: %v", result.err)
	default:
	}
	ask(t, db, `resume('`+peopleSpec().ID+`')`)
	ask(t, db, `set_rate('`+peopleSpec().ID+`', 1e9)`)
	if result := <-done; result.err != nil {
		t.Fatal(result.err)
	}
	expectNone(t, db, "wrong rows", wrongPeople)
}

func TestSetRate(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	done := slowPeople(t, db)
	ask(t, db, `set_rate('`+peopleSpec().ID+`', 50)`)
	eventually(t, "the progress view says that the rate was set", func() bool {
		p := progress(t, db)
		return strings.Contains(p, `"limited_by":"set_rate"`) && strings.Contains(p, `"max_rows_per_second":50`)
	})
	// From above only: a rate is a bound.
	started, before := time.Now(), rowsInLedger(t, db, peopleSpec())
	time.Sleep(2 * time.Second)
	if rows, most := rowsInLedger(t, db, peopleSpec())-before, 50*time.Since(started).Seconds()+250; float64(rows) > most {
		t.Errorf("%d rows in %s at 50 rows a second", rows, time.Since(started))
	}
	// 40,000 rows at 50 a second take 13 minutes, at the configured rate 10 seconds.
	ask(t, db, `set_rate('`+peopleSpec().ID+`', 0)`)
	select {
	case result := <-done:
		if result.err != nil {
			t.Fatal(result.err)
		}
	case <-time.After(patience):
		t.Fatal("it did not go back to the configured rate")
	}
	expectNone(t, db, "wrong rows", wrongPeople)
}

// An apply whose budget is spent ends without an error, and the next one goes on.
func TestApplyBudget(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createPeople(t, db, 40_000)
	countUpdates(t, db, "people")
	env, spec := newEnv(t, db.ConnString()), peopleSpec()
	spec.Options.ApplyBudget, spec.Options.MaxRowsPerSecond = time.Second, 10_000
	state, err := spec.Apply(t.Context(), env)
	if err != nil || state.Status != ledger.Running || state.RowsUpdated == 0 || state.RowsUpdated == 40_000 {
		t.Fatalf("the apply ended with %+v, %v", state, err)
	}
	if got := progress(t, db); !strings.Contains(got, `"status":"interrupted"`) {
		t.Errorf("progress after the budget was spent: %s", got)
	}
	for range 30 {
		if state, err = spec.Apply(t.Context(), env); err != nil {
			t.Fatal(err)
		}
		if state.Status == ledger.Complete {
			break
		}
	}
	if state.Status != ledger.Complete {
		t.Errorf("still %s after 30 applies of one second", state.Status)
	}
	expectNone(t, db, "wrong rows", wrongPeople)
	expectEachOnce(t, db, spec, 40_000)
}

// A pause outlives the apply: the next one waits as well.
func TestPauseOutlivesTheApply(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createPeople(t, db, 20_000)
	env, spec := newEnv(t, db.ConnString()), peopleSpec()
	spec.Options.MaxRowsPerSecond = 5000
	interrupt(t, db, env, spec, 1)
	ask(t, db, `pause()`)
	before := rowsInLedger(t, db, spec)
	spec.Options.ApplyBudget = 2 * time.Second
	state, err := spec.Apply(t.Context(), env)
	if err != nil || state.Status != ledger.Running {
		t.Fatalf("the apply ended with %+v, %v", state, err)
	}
	if rows := state.RowsUpdated - before; rows != 0 {
		t.Errorf("%d rows were updated during the pause", rows)
	}
	ask(t, db, `resume()`)
	spec.Options.ApplyBudget = 0
	apply(t, env, spec)
	expectNone(t, db, "wrong rows", wrongPeople)
}

// Whoever looks at the sessions of the server sees what they do.
func TestSessionsSayWhatTheyDo(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	done := slowPeople(t, db)
	eventually(t, "a session that says what it does", func() bool {
		return pgtest.QueryRow[int64](t, db, `SELECT count(*) FROM pg_stat_activity WHERE application_name ~ '^provider: backfill \d+% of public.people$'`) > 0
	})
	ask(t, db, `set_rate('`+peopleSpec().ID+`', 1e9)`)
	if result := <-done; result.err != nil {
		t.Fatal(result.err)
	}
}
