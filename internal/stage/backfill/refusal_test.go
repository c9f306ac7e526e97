package backfill_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

func TestRowThatFailsIsNamedAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	const rows, bad = 20_000, 13_000
	tests := map[string]struct {
		column, spoil, expression, code, repair string
	}{
		"division by zero": {
			"divisor int NOT NULL DEFAULT 1", `UPDATE people SET divisor = 0 WHERE id = $1`, "id * 2 / divisor", "22012",
			`UPDATE people SET divisor = 1 WHERE id = $1`,
		},
		"invalid text": {
			"word text NOT NULL DEFAULT '2'", `UPDATE people SET word = 'two' WHERE id = $1`, "id * word::bigint", "22P02",
			`UPDATE people SET word = '2' WHERE id = $1`,
		},
		"a check that the value violates": {
			"most bigint NOT NULL DEFAULT 100000, ADD CHECK (n <= most)", `UPDATE people SET most = 1 WHERE id = $1`, "id * 2", "23514",
			`UPDATE people SET most = 100000 WHERE id = $1`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t)
			createPeople(t, db, rows)
			db.Exec(t, `ALTER TABLE people ADD `+test.column)
			db.Exec(t, test.spoil, bad)
			countUpdates(t, db, "people")
			env, spec := newEnv(t, db.ConnString()), peopleSpec()
			spec.Set = map[string]string{"n": test.expression}
			state, err := spec.Apply(t.Context(), env)
			f := findingIn(t, err, "Backfill of public.people (n) failed on rows of public.people", "SQLSTATE "+test.code)
			if state.RowsUpdated == 0 {
				t.Error("no row was done before the one that fails")
			}
			// The query in the text finds the row.
			query := regexp.MustCompile(`SELECT \* (FROM ONLY .* AND ctid < '.*');`).FindStringSubmatch(f.Detail)
			if query == nil {
				t.Fatalf("no query in the text:\n%s", f.Detail)
			}
			found := pgtest.QueryRow[int64](t, db, `SELECT count(*) `+query[1])
			if has := pgtest.QueryRow[int64](t, db, `SELECT count(*) `+query[1]+fmt.Sprintf(` AND id = %d`, bad)); has != 1 || found > 200 {
				t.Errorf("the query in the text gives %d rows, the one that fails %d times:\n%s", found, has, query[0])
			}
			if again, err := spec.Apply(t.Context(), env); err == nil || again.RowsUpdated < state.RowsUpdated {
				t.Errorf("without a repair: %v, %d rows", err, again.RowsUpdated)
			}
			db.Exec(t, `ALTER TABLE people DISABLE TRIGGER touch`)
			db.Exec(t, test.repair, bad)
			db.Exec(t, `ALTER TABLE people ENABLE TRIGGER touch`)
			apply(t, env, spec)
			expectNone(t, db, "wrong rows", wrongPeople)
			expectEachOnce(t, db, spec, rows)
		})
	}
}

func TestTriggerThatRefusesARow(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createPeople(t, db, 5000)
	db.Exec(t, `
		CREATE FUNCTION frozen() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
		  IF NEW.id = 3000 THEN RAISE EXCEPTION 'account % is frozen', NEW.id; END IF;
		  RETURN NEW;
		END $$`)
	db.Exec(t, `CREATE TRIGGER frozen BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION frozen()`)
	env, spec := newEnv(t, db.ConnString()), peopleSpec()
	_, err := spec.Apply(t.Context(), env)
	expectFinding(t, err, "account 3000 is frozen", "frozen()", "SQLSTATE P0001")
	db.Exec(t, `DROP TRIGGER frozen ON people`)
	apply(t, env, spec)
	expectNone(t, db, "wrong rows", wrongPeople)
}

func TestTriggerThatUndoesTheValueIsNoSuccess(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{"by NULL": `NEW.n := NULL; RETURN NEW;`, "by skipping the row": `RETURN NULL;`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t)
			createPeople(t, db, 300)
			db.Exec(t, `CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN `+body+` END $$`)
			db.Exec(t, `CREATE TRIGGER undo BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION undo()`)
			_, err := peopleSpec().Apply(t.Context(), newEnv(t, db.ConnString()))
			expectFinding(t, err, "public.people")
		})
	}
}

func TestRowSecurityIsAnErrorAndNoSilentSubset(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createPeople(t, db, 300)
	db.Exec(t, `ALTER TABLE people ENABLE ROW LEVEL SECURITY`)
	db.Exec(t, `ALTER TABLE people FORCE ROW LEVEL SECURITY`)
	db.Exec(t, `CREATE POLICY few ON people USING (id <= 10)`)
	env, spec := newEnv(t, db.ConnString()), peopleSpec()
	_, err := spec.Apply(t.Context(), env)
	expectFinding(t, err, "public.people", "ow-level security")
	if done := pgtest.QueryRow[int](t, &pgtest.Database{Owner: db.Super}, `SELECT count(*)::int FROM people WHERE n IS NOT NULL`); done != 0 {
		t.Errorf("%d rows were changed", done)
	}
	db.Exec(t, `ALTER TABLE people NO FORCE ROW LEVEL SECURITY`)
	apply(t, env, spec)
	expectNone(t, db, "wrong rows", wrongPeople)
}

func TestRowSecurityOfAPartitionIsAnErrorToo(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createOrders(t, db, 300)
	db.Exec(t, `ALTER TABLE orders_2026 ENABLE ROW LEVEL SECURITY`)
	db.Exec(t, `ALTER TABLE orders_2026 FORCE ROW LEVEL SECURITY`)
	_, err := ordersSpec().Apply(t.Context(), newEnv(t, db.ConnString()))
	expectFinding(t, err, "orders_2026", "row-level security")
}

func TestProofSeesRowsThatAPolicyHides(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createOrders(t, db, 300)
	env, spec := newEnv(t, db.ConnString()), ordersSpec()
	apply(t, env, spec)
	db.Exec(t, `INSERT INTO orders VALUES (301, 2026)`)
	db.Exec(t, `ALTER TABLE orders_2026 ENABLE ROW LEVEL SECURITY`)
	db.Exec(t, `ALTER TABLE orders_2026 FORCE ROW LEVEL SECURITY`)
	if _, err := spec.Apply(t.Context(), env); err == nil {
		t.Error("the backfill is complete although a policy hides a row that needs work")
	}
}

// A writer that never pauses: as soon as a row is filled, there is another one that is not.
func TestLegacyWriterThatKeepsAddingRowsIsFoundOut(t *testing.T) {
	t.Parallel()
	const rows = 100
	db := pgtest.NewDatabase(t)
	createPeople(t, db, rows)
	db.Exec(t, `
		CREATE FUNCTION another() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
		  INSERT INTO people (id, body) VALUES (NEW.id + 1000, '');
		  RETURN NULL;
		END $$`)
	db.Exec(t, `CREATE TRIGGER another AFTER UPDATE ON people FOR EACH ROW EXECUTE FUNCTION another()`)
	env, spec := newEnv(t, db.ConnString()), peopleSpec()
	_, err := spec.Apply(t.Context(), env)
	expectFinding(t, err, "Rows of public.people keep coming that need work", `without filling "n"`)
	db.Exec(t, `DROP TRIGGER another ON people`)
	apply(t, env, spec)
	expectNone(t, db, "wrong rows", wrongPeople)
}

// Services that write both shapes also update other columns of rows that nobody has filled yet. Such a row moves, and is
// not a new one.
func TestRowsThatAreUpdatedAllTheTimeAreFilled(t *testing.T) {
	t.Parallel()
	const rows, hot = 100_000, 40
	db := pgtest.NewDatabase(t)
	db.Exec(t, `CREATE TABLE people (id bigint PRIMARY KEY, body text NOT NULL, n bigint, visits int NOT NULL DEFAULT 0)`)
	db.Exec(t, `INSERT INTO people SELECT i, repeat('x', 70), NULL FROM generate_series(1, $1) AS i`, rows)
	// Every version goes to another page.
	db.Exec(t, `CREATE INDEX people_visits ON people (visits)`)
	writers := startWriters(t, db, pgtest.WriterOptions{Writers: 4, Transaction: func(ctx context.Context, conn *pgx.Conn, random *rand.Rand) error {
		_, err := conn.Exec(ctx, `UPDATE people SET visits = visits + 1 WHERE id = $1`, rows-random.Int64N(hot))
		return err
	}})
	apply(t, newEnv(t, db.ConnString()), peopleSpec())
	stats := writers.Stop()
	if stats.Errors != 0 || stats.Transactions == 0 {
		t.Errorf("%d updates, %d errors: %v", stats.Transactions, stats.Errors, stats.FirstErrors)
	}
	expectNone(t, db, "wrong rows", wrongPeople)
}

func startWriters(t *testing.T, db *pgtest.Database, options pgtest.WriterOptions) *pgtest.Writers {
	t.Helper()
	writers, err := pgtest.StartWriters(t.Context(), db.ConnString(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { writers.Stop() })
	eventually(t, "the writers work", func() bool { return writers.Stats().Transactions > 10 })
	return writers
}
