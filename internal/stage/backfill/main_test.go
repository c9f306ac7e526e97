package backfill_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/stagetest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// patience is how long a test waits for what must come.
const patience = 60 * time.Second

// newEnv is what a configured provider hands to a stage.
func newEnv(t testing.TB, connString string) *stage.Env {
	t.Helper()
	return stagetest.NewEnv(t, connString)
}

// specOf is a backfill of a table in public.
func specOf(table string, set map[string]string) *backfill.Spec {
	return specIn(pg.TableName{Schema: "public", Name: table}, set)
}

func specIn(table pg.TableName, set map[string]string) *backfill.Spec {
	return &backfill.Spec{ID: backfill.ID(table, set), Table: table, Set: set}
}

// apply runs a backfill that must complete.
func apply(t testing.TB, env *stage.Env, spec *backfill.Spec) backfill.State {
	t.Helper()
	state, err := spec.Apply(t.Context(), env)
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	if state.Status != ledger.Complete {
		t.Fatalf("status = %s, want complete", state.Status)
	}
	return state
}

// applying runs a backfill in the background. The result comes on the channel.
func applying(ctx context.Context, env *stage.Env, spec *backfill.Spec) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		state, err := spec.Apply(ctx, env)
		done <- outcome{state, err}
	}()
	return done
}

type outcome struct {
	state backfill.State
	err   error
}

// interrupt cancels a backfill once it has updated at least so many rows, and returns what it did.
func interrupt(t testing.TB, db *pgtest.Database, env *stage.Env, spec *backfill.Spec, rows int64) backfill.State {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := applying(ctx, env, spec)
	waitForRows(t, db, spec, rows, done)
	cancel()
	result := <-done
	if !errors.Is(result.err, context.Canceled) {
		t.Fatalf("interrupted apply: %v, want context.Canceled", result.err)
	}
	if result.state.Status != ledger.Running {
		t.Fatalf("status of an interrupted apply = %q, want running", result.state.Status)
	}
	return result.state
}

// waitForRows waits until the progress view shows that many rows, and fails if the backfill ends before.
func waitForRows(t testing.TB, db *pgtest.Database, spec *backfill.Spec, rows int64, done <-chan outcome) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for rowsInLedger(t, db, spec) < rows {
		select {
		case result := <-done:
			t.Fatalf("the backfill ended before %d rows were updated: %v", rows, result.err)
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %d rows updated within %s", rows, patience)
		}
	}
}

// rowsInLedger is how many rows the progress view says were updated.
func rowsInLedger(t testing.TB, db *pgtest.Database, spec *backfill.Spec) int64 {
	t.Helper()
	if !pgtest.QueryRow[bool](t, db, `SELECT to_regclass('terraform_postgres.progress') IS NOT NULL`) {
		return 0
	}
	return pgtest.QueryRow[int64](t, db,
		`SELECT coalesce(sum(rows_updated), 0)::bigint FROM terraform_postgres.progress WHERE backfill = $1`, spec.ID)
}

// eventually polls a condition that must come true.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// expectFinding fails unless the error is a finding whose text has all the parts.
func expectFinding(t testing.TB, err error, parts ...string) {
	t.Helper()
	_ = findingIn(t, err, parts...)
}

// findingIn returns the finding that the error is, and fails unless it is one whose text has all the parts.
func findingIn(t testing.TB, err error, parts ...string) *finding.Finding {
	t.Helper()
	var f *finding.Finding
	if !errors.As(err, &f) {
		t.Fatalf("error = %v, want a finding with %q", err, parts)
	}
	for _, part := range parts {
		if !strings.Contains(f.Summary+"\n"+f.Detail, part) {
			t.Errorf("the finding lacks %q:\n%s\n%s", part, f.Summary, f.Detail)
		}
	}
	return f
}

// expectNone fails when the query, which counts what is wrong, counts anything.
func expectNone(t testing.TB, db *pgtest.Database, what, countWrong string, args ...any) {
	t.Helper()
	if wrong := pgtest.QueryRow[int64](t, db, countWrong, args...); wrong != 0 {
		t.Errorf("%d %s", wrong, what)
	}
}

// createPeople makes a table of that many rows, about 70 to a page, whose column n is to be filled with id * 2.
func createPeople(t testing.TB, db *pgtest.Database, rows int) {
	t.Helper()
	db.Exec(t, `CREATE TABLE people (id bigint PRIMARY KEY, body text NOT NULL, n bigint)`)
	db.Exec(t, `INSERT INTO people SELECT i, repeat('x', 70), NULL FROM generate_series(1, $1) AS i`, rows)
}

func peopleSpec() *backfill.Spec { return specOf("people", map[string]string{"n": "id * 2"}) }

const wrongPeople = `SELECT count(*) FROM people WHERE n IS DISTINCT FROM id * 2`

// slow makes every update of a row of the table take about half a millisecond.
func slow(t testing.TB, db *pgtest.Database, table string) {
	t.Helper()
	db.Exec(t, `
		CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
		  PERFORM pg_sleep(0.0005);
		  RETURN NEW;
		END $$`)
	db.Exec(t, `CREATE TRIGGER slow BEFORE UPDATE ON `+table+` FOR EACH ROW EXECUTE FUNCTION slow()`)
}

// countUpdates notes every update of a row of the table, by its id, in the table touched.
func countUpdates(t testing.TB, db *pgtest.Database, table string) {
	t.Helper()
	db.Exec(t, `CREATE TABLE IF NOT EXISTS touched (id bigint)`)
	db.Exec(t, `
		CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
		  INSERT INTO touched VALUES (NEW.id);
		  RETURN NULL;
		END $$`)
	db.Exec(t, `CREATE TRIGGER touch AFTER UPDATE ON `+table+` FOR EACH ROW EXECUTE FUNCTION touch()`)
}

// expectEachOnce fails unless exactly that many rows were updated, none of them twice, and the ledger says so too.
func expectEachOnce(t testing.TB, db *pgtest.Database, spec *backfill.Spec, rows int64) {
	t.Helper()
	expectNone(t, db, "rows were updated more than once",
		`SELECT count(*) FROM (SELECT FROM touched GROUP BY id HAVING count(*) > 1) AS twice`)
	if touched := pgtest.QueryRow[int64](t, db, `SELECT count(*) FROM touched`); touched != rows {
		t.Errorf("%d updates, want %d", touched, rows)
	}
	if recorded := rowsInLedger(t, db, spec); recorded != rows {
		t.Errorf("the ledger counts %d rows, want %d", recorded, rows)
	}
}
