package backfill_test

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/dustin/go-humanize"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
)

// planned returns what a plan says of a backfill.
func planned(t *testing.T, env *stage.Env, spec *backfill.Spec) *finding.Finding {
	t.Helper()
	warnings, err := spec.Check(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) == 0 || !strings.HasPrefix(warnings[0].Summary, "Backfill of "+spec.Table.String()) {
		t.Fatalf("the forecast is not the first of %v", warnings)
	}
	return warnings[0]
}

// rowsPlanned returns how many rows a forecast says are updated.
func rowsPlanned(t *testing.T, f *finding.Finding) float64 {
	t.Helper()
	match := regexp.MustCompile(`updates ~([0-9,]+) rows?$`).FindStringSubmatch(f.Summary)
	if match == nil {
		t.Fatalf("no number of rows in %q", f.Summary)
	}
	n, err := strconv.ParseFloat(strings.ReplaceAll(match[1], ",", ""), 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// walPlanned returns how many bytes of WAL a forecast speaks of.
func walPlanned(t *testing.T, f *finding.Finding) float64 {
	t.Helper()
	match := regexp.MustCompile(`about ([0-9.]+ [A-Za-z]+) of WAL`).FindStringSubmatch(f.Detail)
	if match == nil {
		t.Fatalf("no WAL in\n%s", f.Detail)
	}
	n, err := humanize.ParseBytes(match[1])
	if err != nil {
		t.Fatal(err)
	}
	return float64(n)
}

func says(t *testing.T, f *finding.Finding, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(f.Summary+"\n"+f.Detail, part) {
			t.Errorf("the forecast lacks %q:\n%s\n%s", part, f.Summary, f.Detail)
		}
	}
}

const walPosition = `SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::float8`

// The WAL is that of the whole server, so that nothing else may run: no t.Parallel.
func TestForecastOfWAL(t *testing.T) {
	for _, indexes := range []int{0, 4} {
		for _, target := range []string{"plain", "indexed"} {
			t.Run(fmt.Sprintf("%d indexes, target %s", indexes, target), func(t *testing.T) {
				db := pgtest.NewDatabase(t)
				db.Exec(t, `CREATE TABLE people (id bigint, body text, a bigint, b int, n bigint) WITH (autovacuum_enabled = off)`)
				db.Exec(t, `INSERT INTO people SELECT i, repeat('x', 70), hashint8(i), i / 10 FROM generate_series(1, 40000) AS i`)
				for i, column := range []string{"id", "body", "a", "b"}[:indexes] {
					db.Exec(t, fmt.Sprintf(`CREATE INDEX people_%d ON people (%s)`, i, column))
				}
				if target == "indexed" {
					db.Exec(t, `CREATE INDEX people_n ON people (n)`)
				}
				db.Exec(t, `ANALYZE people`)
				if _, err := db.Super.Exec(t.Context(), `CHECKPOINT`); err != nil {
					t.Fatal(err)
				}
				env := newEnv(t, db.ConnString())
				f := planned(t, env, peopleSpec())
				before := pgtest.QueryRow[float64](t, db, walPosition)
				apply(t, env, peopleSpec())
				written, foretold := pgtest.QueryRow[float64](t, db, walPosition)-before, walPlanned(t, f)
				const factor = 3
				if foretold > factor*written || foretold < written/factor {
					t.Errorf("%s of WAL were foretold and %s written", humanize.IBytes(uint64(foretold)), humanize.IBytes(uint64(written)))
				}
			})
		}
	}
}

func TestForecastOfRows(t *testing.T) {
	t.Parallel()
	const rows = 60000 // twice what a sample looks at
	for name, c := range map[string]struct {
		setup string
		where string
		want  float64
	}{
		"all":                   {setup: `ANALYZE people`, want: rows},
		"never analyzed":        {want: rows},
		"a quarter, scattered":  {setup: `UPDATE people SET n = id * 2 WHERE hashint8(id) % 4 <> 0`, want: rows / 4},
		"narrowed by condition": {where: "id <= 30000", want: rows / 2},
		"bloated":               {setup: `DELETE FROM people WHERE id % 2 = 0; VACUUM people`, want: rows / 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t)
			db.Exec(t, `CREATE TABLE people (id bigint PRIMARY KEY, body text NOT NULL, n bigint) WITH (autovacuum_enabled = off)`)
			db.Exec(t, `INSERT INTO people SELECT i, repeat('x', 70), NULL FROM generate_series(1, $1::int) AS i`, rows)
			for _, sql := range strings.Split(c.setup, "; ") {
				db.Exec(t, sql)
			}
			spec := peopleSpec()
			spec.Where = c.where
			f := planned(t, newEnv(t, db.ConnString()), spec)
			if got := rowsPlanned(t, f); math.Abs(got-c.want) > 0.1*c.want {
				t.Errorf("%v rows are foretold, want about %v\n%s\n%s", got, c.want, f.Summary, f.Detail)
			}
			says(t, f, "if nothing makes it wait (estimated from a sample of up to 400 pages)")
		})
	}
}

func TestForecastOfFewRows(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		setup string
		want  []string
	}{
		"an empty table":  {want: []string{"updates no row", "The table has ~0 rows (8.0 KiB) and 1 index."}},
		"nothing to do":   {setup: `INSERT INTO people SELECT i, '', i * 2 FROM generate_series(1, 100) AS i`, want: []string{"updates no row", "No row that was looked at needs work"}},
		"one row":         {setup: `INSERT INTO people VALUES (1, '', NULL)`, want: []string{"updates ~1 row", "less than a minute"}},
		"all pages known": {setup: `INSERT INTO people SELECT i, '', NULLIF(i, 7) FROM generate_series(1, 1000) AS i; ANALYZE people`, want: []string{"updates ~1 row"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t)
			createPeople(t, db, 0)
			db.Exec(t, c.setup)
			says(t, planned(t, newEnv(t, db.ConnString()), peopleSpec()), c.want...)
		})
	}
}

// A plan that finds no estimate says why, and goes on.
func TestForecastWithoutASample(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set, setup string
		want       []string
	}{
		"an expression that fails": {set: "1 / (id - id)", want: []string{"up to ~1,000 rows", "cannot be estimated: a sample of its rows failed: division by zero."}},
		"a slow one":               {set: "slowly(id)", want: []string{"cannot be estimated: a sample of its rows takes too long."}},
		"one with side effects":    {set: "nextval('numbers')", want: []string{"updates up to ~1,000 rows", "estimated from a sample of"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t)
			createPeople(t, db, 1000)
			db.Exec(t, `
				CREATE FUNCTION slowly(n bigint) RETURNS bigint LANGUAGE plpgsql STABLE AS $$ BEGIN PERFORM pg_sleep(0.05); RETURN n; END $$;
				CREATE SEQUENCE numbers;
				ANALYZE people`)
			says(t, planned(t, newEnv(t, db.ConnString()), specOf("people", map[string]string{"n": c.set})), c.want...)
			if pgtest.QueryRow[bool](t, db, `SELECT is_called FROM numbers`) {
				t.Error("the plan took a number of the sequence")
			}
		})
	}
}

// The sample looks with columns that an expand of the same plan is going to add.
func TestForecastBeforeTheColumnsAreThere(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createPeople(t, db, 3000)
	db.Exec(t, `ANALYZE people`)
	env, spec := newEnv(t, db.ConnString()), specOf("people", map[string]string{"later": "body || n"})
	env.Planned.Add(spec.Table, map[string]string{"later": "text"})
	says(t, planned(t, env, spec), "updates no row") // n is NULL, and so is what is made of it
	spec.Set["later"] = "body || people.id"
	says(t, planned(t, env, spec), "updates ~3,000 rows", "estimated from a sample")
}

func TestForecastOfPartitions(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createOrders(t, db, 20000)
	f := planned(t, newEnv(t, db.ConnString()), ordersSpec())
	if got := rowsPlanned(t, f); got < 40000 || got > 100000 {
		t.Errorf("%v rows are foretold:\n%s", got, f.Summary)
	}
	says(t, f, "estimated from a sample of")
}

// A function of the expression looks at what the transaction of the sample has.
func TestSampleLeavesNoTrace(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createPeople(t, db, 1000)
	db.Exec(t, `
		CREATE FUNCTION witness(n bigint) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
		DECLARE strongest text;
		BEGIN
		  IF pg_current_xact_id_if_assigned() IS NOT NULL THEN
		    RAISE EXCEPTION 'the transaction has a number';
		  END IF;
		  SELECT string_agg(mode, ', ') INTO strongest FROM pg_locks
		   WHERE pid = pg_backend_pid() AND locktype = 'relation' AND mode <> 'AccessShareLock';
		  IF strongest IS NOT NULL THEN
		    RAISE EXCEPTION 'it holds %', strongest;
		  END IF;
		  IF n = -1 OR NOT EXISTS (SELECT FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'people'::regclass) THEN
		    RAISE EXCEPTION 'nobody looks at people';
		  END IF;
		  RETURN n;
		END $$`)
	env := newEnv(t, db.ConnString())
	says(t, planned(t, env, specOf("people", map[string]string{"n": "CASE WHEN id <= 3 THEN witness(id) ELSE id END"})), "estimated from a sample of")
	says(t, planned(t, env, specOf("people", map[string]string{"n": "CASE WHEN id <= 3 THEN witness(-1) ELSE id END"})), "nobody looks at people") // It does look.
}

func TestTwoPlansSayTheSame(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createPeople(t, db, 50000)
	_, err := db.Super.Exec(t.Context(), `VACUUM ANALYZE people`)
	if err != nil {
		t.Fatal(err)
	}
	first := planned(t, newEnv(t, db.ConnString()), peopleSpec())
	for range 3 {
		if again := planned(t, newEnv(t, db.ConnString()), peopleSpec()); again.Summary != first.Summary || again.Detail != first.Detail {
			t.Fatalf("two plans:\n%s\n%s\n\n%s\n%s", first.Summary, first.Detail, again.Summary, again.Detail)
		}
	}
}

// What the ledger says of earlier backfills is preferred: of the same, of the table, of any table.
func TestForecastFromHistory(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createPeople(t, db, 3000)
	db.Exec(t, `
		ALTER TABLE people ADD m bigint;
		CREATE TABLE others (id bigint PRIMARY KEY, body text NOT NULL, n bigint);
		INSERT INTO others SELECT i, repeat('x', 70) FROM generate_series(1, 3000) AS i;
		ANALYZE people; ANALYZE others`)
	env := newEnv(t, db.ConnString())
	apply(t, env, specOf("others", map[string]string{"n": "id"}))
	slowly := func(key string, hours float64, gib int) {
		db.Exec(t, `
			UPDATE terraform_postgres.backfill b SET busy_seconds = 3600 * $2::float8, wal_bytes = $3::bigint << 30
			  FROM terraform_postgres.stage s WHERE s.id = b.stage_id AND s.key = $1`, key, hours, gib)
	}
	slowly("public.others/n", 10, 1)
	f := planned(t, env, peopleSpec())
	says(t, f, "(as the backfill public.others/n went here, scaled to this table)", "hours")
	if wal := walPlanned(t, f); wal < 1<<29 || wal > 1<<31 {
		t.Errorf("%s of WAL are foretold from 1 GiB", humanize.IBytes(uint64(wal)))
	}

	apply(t, env, specOf("people", map[string]string{"m": "id"}))
	slowly("public.people/m", 1, 5)
	says(t, planned(t, env, peopleSpec()), "It takes 45 minutes to 1.5 hours and writes about 5.0 GiB of WAL", "(as the backfill public.people/m went here)")

	bounded := peopleSpec()
	bounded.Options.MaxRowsPerSecond = 0.1
	says(t, planned(t, env, bounded), "It takes 8 to 12 hours", "max_rows_per_second is taken into account")
	half := peopleSpec()
	half.Options.DutyCycle = 0.5
	says(t, planned(t, env, half), "It takes 1.5 to 3 hours")
	nightly := peopleSpec()
	window, err := backfill.ParseWindow(nil, "23:00", "23:30", "")
	if err != nil {
		t.Fatal(err)
	}
	nightly.Options.Windows = []backfill.Window{window}
	says(t, planned(t, env, nightly), "Its windows are open for 30m0s each: it takes 2 to 3 of them.")

	db.Exec(t, `UPDATE terraform_postgres.stage SET spec = jsonb_set(spec, '{Options,MaxRowsPerSecond}', '1')`)
	says(t, planned(t, env, peopleSpec()), "less than a minute and writes about 5.0 GiB of WAL") // It tells nothing of speed.
}

// An interrupted backfill tells of itself.
func TestForecastOfTheRest(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createPeople(t, db, 30000)
	slow(t, db, "people")
	env, spec := newEnv(t, db.ConnString()), peopleSpec()
	interrupt(t, db, env, spec, 3000)
	db.Exec(t, `UPDATE terraform_postgres.backfill SET busy_seconds = 60`)
	says(t, planned(t, env, spec), "resumes at", "(as it went so far)", "minutes")
}

// Somebody's lock on another table is none of this plan's business.
func TestForecastFromHistoryOfALockedTable(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createPeople(t, db, 3000)
	db.Exec(t, `
		CREATE TABLE others (id bigint PRIMARY KEY, n bigint);
		INSERT INTO others SELECT generate_series(1, 3000);
		ANALYZE people; ANALYZE others`)
	env := newEnv(t, db.ConnString())
	apply(t, env, specOf("others", map[string]string{"n": "id"}))
	db.Exec(t, `UPDATE terraform_postgres.backfill SET busy_seconds = 3600`)
	locker, err := db.Owner.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = locker.Rollback(context.Background()) }()
	if _, err := locker.Exec(t.Context(), `LOCK TABLE others`); err != nil {
		t.Fatal(err)
	}
	says(t, planned(t, env, peopleSpec()), "scaled to this table")
}
