package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// errorText is what psql would show of a server's error.
func errorText(err error) string {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return err.Error()
	}
	return fmt.Sprintf("%s: %s HINT: %s", e.Code, e.Message, e.Hint)
}

func progressOf(t *testing.T, db *pg.DB, key string) (p ledger.Progress) {
	t.Helper()
	inTx(t, db, func(tx pgx.Tx) (err error) {
		p, err = theLedger.Progress(t.Context(), tx, key)
		return err
	})
	return p
}

// described is all of the progress that does not depend on the clock.
func described(p ledger.Progress) string {
	hot := "-"
	if p.HOTPercent != nil {
		hot = fmt.Sprint(*p.HOTPercent)
	}
	remaining := "-"
	if p.Remaining != nil {
		remaining = p.Remaining.String()
	}
	throttled, _, _ := strings.Cut(p.Throttled, " at ")
	return fmt.Sprintf("%s running=%t %v%% rows=%d/%d pages=%d/%d %d/s max=%d limited=%q throttled=%q blockers=%q hot=%s remaining=%s", p.Status, p.Running,
		p.Percent, p.RowsUpdated, p.RowsEstimated, p.PagesDone, p.PagesTotal, p.RowsPerSecond, p.MaxRowsPerSecond, p.LimitedBy, throttled, p.Blockers, hot, remaining)
}

func TestProgressOfAJobThroughItsLife(t *testing.T) {
	t.Parallel()
	database := pgtest.NewDatabase(t)
	db := open(t, database)
	ensure(t, db)
	const key = "public.t/a"
	lease := beginBackfill(t, db, key)
	expect := func(when, want string) {
		t.Helper()
		if got := described(progressOf(t, db, key)); got != want {
			t.Errorf("%s:\n     %s\nwant %s", when, got, want)
		}
	}
	hot := 91.26
	walking := ledger.Report{RowsPerSecond: 10.4, HOTPercent: &hot, LimitedBy: "target_duration", Blockers: "pid 7"}

	expect("at the start", `walk running=true 0% rows=0/1000 pages=0/100 0/s max=0 limited="" throttled="" blockers="" hot=- remaining=-`)
	if p := progressOf(t, db, key); p.SinceCheckpoint == nil && p.StartedAt == nil || p.CompletedAt != nil || p.Schema != "public" || p.Name != "t" || p.Holder != "the apply" {
		t.Errorf("at the start: %+v", p)
	}
	// The second of eight passes, at its middle: 3/16 of the rows.
	segment := ledger.Segment{Relation: 7, Filenode: 8, End: 100, Next: 50, Low: 128, High: 256}
	inTx(t, db, func(tx pgx.Tx) error { return theLedger.Checkpoint(t.Context(), tx, lease, segment, 90) })
	beat(t, db, lease, walking)
	// 90 rows on 18 pages are 5 to a page, and 82 pages are left: 410 rows at 10.4 a second.
	expect("while it walks", `walk running=true 18% rows=90/1000 pages=18/100 10/s max=0 limited="target_duration" throttled="" blockers="pid 7" hot=91.3 remaining=39s`)

	throttled := ledger.Report{RowsPerSecond: 0.2, HOTPercent: &hot, Throttled: "replica_lag of s1: 12 s > 10 s"}
	beat(t, db, lease, throttled)
	expect("when throttled", `throttled running=true 18% rows=90/1000 pages=18/100 0/s max=0 limited="" throttled="replica_lag of s1: 12 s > 10 s" blockers="" hot=91.3 remaining=-`)

	database.Exec(t, `SELECT terraform_postgres.set_rate($1, 40.6)`, key)
	database.Exec(t, `SELECT terraform_postgres.pause($1)`, key)
	beat(t, db, lease, ledger.Report{RowsPerSecond: 0.2, HOTPercent: &hot}) // The speed decays.
	expect("when paused", fmt.Sprintf(`paused running=true 18%% rows=90/1000 pages=18/100 0/s max=41 limited="" throttled="paused by %s" blockers="" hot=91.3 remaining=-`, database.OwnerRole))

	beat(t, db, lease, walking)
	inTx(t, db, func(tx pgx.Tx) error { return theLedger.ReleaseLease(t.Context(), tx, lease) })
	expect("when paused without an apply", fmt.Sprintf(`paused running=false 18%% rows=90/1000 pages=18/100 0/s max=41 limited="" throttled="paused by %s" blockers="" hot=91.3 remaining=-`, database.OwnerRole))
	database.Exec(t, `SELECT terraform_postgres.resume(), terraform_postgres.set_rate(NULL, 0)`)
	expect("when interrupted", `interrupted running=false 18% rows=90/1000 pages=18/100 0/s max=0 limited="" throttled="" blockers="" hot=91.3 remaining=-`)

	database.Exec(t, `UPDATE terraform_postgres.backfill SET lease_expires_at = now() - interval '1 ms'`)
	expect("when the apply was killed", `interrupted running=false 18% rows=90/1000 pages=18/100 0/s max=0 limited="" throttled="" blockers="" hot=91.3 remaining=-`)

	beat(t, db, lease, walking)
	inTx(t, db, func(tx pgx.Tx) error {
		return theLedger.SetPhase(t.Context(), tx, lease, ledger.PhaseSweep, "proving")
	})
	expect("in the sweep", `sweep running=true 100% rows=90/1000 pages=18/100 10/s max=0 limited="target_duration" throttled="" blockers="pid 7" hot=91.3 remaining=-`)

	// A report that is no number must not take the view away from everybody.
	beat(t, db, lease, ledger.Report{RowsPerSecond: math.NaN(), HOTPercent: &hot})
	expect("with a rate of NaN", `sweep running=true 100% rows=90/1000 pages=18/100 0/s max=0 limited="" throttled="" blockers="" hot=91.3 remaining=-`)
	beat(t, db, lease, ledger.Report{RowsPerSecond: math.Inf(1), HOTPercent: &hot})

	inTx(t, db, func(tx pgx.Tx) error { return theLedger.Finish(t.Context(), tx, lease, nil) })
	database.Exec(t, `UPDATE terraform_postgres.backfill SET desired = 'pause', desired_by = 'somebody', throttled = 'x'`)
	expect("when complete", `complete running=false 100% rows=90/1000 pages=100/100 0/s max=0 limited="" throttled="" blockers="" hot=91.3 remaining=-`)
	if p := progressOf(t, db, key); p.SinceCheckpoint != nil || p.CompletedAt == nil || !p.Complete() {
		t.Errorf("when complete: %+v", p)
	}
}

func TestRemainingIsBounded(t *testing.T) {
	t.Parallel()
	database := pgtest.NewDatabase(t)
	db := open(t, database)
	ensure(t, db)
	lease := beginBackfill(t, db, "public.t/a")
	inTx(t, db, func(tx pgx.Tx) error {
		return theLedger.Checkpoint(t.Context(), tx, lease, ledger.Segment{Relation: 7, End: 100, Next: 1, High: ledger.HashRange}, math.MaxInt32)
	})
	beat(t, db, lease, ledger.Report{RowsPerSecond: 0.001})
	if p := progressOf(t, db, "public.t/a"); p.Remaining == nil || *p.Remaining < 365*24*time.Hour {
		t.Errorf("remaining: %v", p.Remaining)
	}
	beat(t, db, lease, ledger.Report{RowsPerSecond: math.SmallestNonzeroFloat64})
	if p := progressOf(t, db, "public.t/a"); p.Remaining != nil {
		t.Errorf("remaining: %v", p.Remaining)
	}
}

// applyMigrations is what an older provider has left: the first migrations, in a schema of any name.
func applyMigrations(t *testing.T, database *pgtest.Database, schema string, last int) {
	t.Helper()
	database.Exec(t, `CREATE SCHEMA `+pg.Quote(schema))
	files, err := filepath.Glob("migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files[:last] {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var sql bytes.Buffer
		data := map[string]string{"schema": pg.Quote(schema), "literal": pg.Literal(pg.Quote(schema))}
		if err := template.Must(template.New(name).Parse(string(text))).Execute(&sql, data); err != nil {
			t.Fatal(err)
		}
		database.Exec(t, sql.String())
	}
}

func TestFunctionsInASchemaOfAnyName(t *testing.T) {
	t.Parallel()
	database := pgtest.NewDatabase(t)
	const schema = `It's "The" $1 \Ledger$`
	applyMigrations(t, database, schema, 4)
	ours := pg.Quote(schema)
	database.Exec(t, `
		INSERT INTO `+ours+`.stage (kind, key, table_oid, table_schema, table_name, spec, status)
		VALUES ('batched_backfill', 'Key', 1, 'It''s', '"T".$1', '{}', 'running')`)
	database.Exec(t, `INSERT INTO `+ours+`.backfill (stage_id) SELECT id FROM `+ours+`.stage`)
	for _, call := range []string{"pause('Key')", "resume('Key')", "set_rate('Key', 3)"} {
		if key := pgtest.QueryRow[string](t, database, `SELECT `+ours+`.`+call); key != "Key" {
			t.Errorf("%s returned %q", call, key)
		}
	}
	_, err := database.Owner.Exec(t.Context(), `SELECT `+ours+`.pause('key')`)
	if err == nil || !strings.Contains(errorText(err), "FROM "+ours+".progress") {
		t.Errorf("pause of an unknown one: %v", err)
	}
	db := open(t, database)
	inTx(t, db, func(tx pgx.Tx) error {
		p, err := ledger.Ledger{Schema: schema}.Progress(t.Context(), tx, "Key")
		if err == nil && (p.Schema != `It's` || p.Name != `"T".$1` || p.Table != `"It's"."""T"".$1"` || p.MaxRowsPerSecond != 3) {
			t.Errorf("progress: %+v", p)
		}
		return err
	})
}

// A backfill that an older provider has walked half of the way goes on from there, and can be looked at before.
func TestUpgradeWithAHalfWalkedBackfill(t *testing.T) {
	t.Parallel()
	database := pgtest.NewDatabase(t)
	applyMigrations(t, database, ledger.DefaultSchema, 3)
	database.Exec(t, `CREATE TABLE terraform_postgres.version (version int4 NOT NULL)`)
	database.Exec(t, `INSERT INTO terraform_postgres.version VALUES (3)`)
	database.Exec(t, `
		INSERT INTO terraform_postgres.stage (kind, key, table_oid, table_schema, table_name, spec, status)
		VALUES ('batched_backfill', 'public.t/a', 1, 'public', 't', '{}', 'running');
		INSERT INTO terraform_postgres.backfill (stage_id, token, holder, lease_expires_at, pages_total, rows_estimated)
		SELECT id, 5, 'the older provider', now() + interval '1 hour', 100, -1 FROM terraform_postgres.stage;
		INSERT INTO terraform_postgres.segment (stage_id, relation, first_page, end_page, next_page, filenode, token, rows_updated)
		SELECT id, 7, 0, 60, 60, 8, 5, 600 FROM terraform_postgres.stage UNION ALL
		SELECT id, 7, 60, 100, 70, 8, 5, 30 FROM terraform_postgres.stage`)
	reader := "reader_of_" + database.Name
	asRole(t, database, reader)
	database.Exec(t, `GRANT SELECT ON terraform_postgres.progress TO `+pg.Quote(reader))
	db := open(t, database)
	const want = `walk running=true 70% rows=630/-1 pages=70/100 0/s max=0 limited="" throttled="" blockers="" hot=- remaining=`
	if got := described(progressOf(t, db, "public.t/a")); !strings.HasPrefix(got, want) {
		t.Errorf("before the upgrade:\n     %s\nwant %s", got, want)
	}
	ensure(t, db)
	if got := described(progressOf(t, db, "public.t/a")); got != want+"-" {
		t.Errorf("after the upgrade:\n     %s\nwant %s", got, want+"-")
	}
	inTx(t, db, func(tx pgx.Tx) error {
		segments, err := theLedger.Segments(t.Context(), tx, pgtest.QueryRow[int64](t, database, `SELECT id FROM terraform_postgres.stage`))
		if err == nil && (len(segments) != 2 || !segments[0].Done() || segments[1].Done() || segments[1].Next != 70 || segments[1].Low != 0) {
			t.Errorf("segments after the upgrade: %+v", segments)
		}
		return err
	})
	if keys := pgtest.Query[string](t, database, `SELECT terraform_postgres.pause()`); fmt.Sprint(keys) != "[public.t/a]" {
		t.Errorf("paused %q", keys)
	}
	if !pgtest.QueryRow[bool](t, database, `SELECT has_table_privilege($1, 'terraform_postgres.progress', 'SELECT')`, reader) {
		t.Error("the upgrade took a grant on the view away")
	}
}

func TestProgressNamesTheGrantThatItNeeds(t *testing.T) {
	t.Parallel()
	database := pgtest.NewDatabase(t)
	db := open(t, database)
	reader := "onlooker_of_" + database.Name
	asRole(t, database, reader)
	look := func() (n int, err error) {
		conn := pg.Open(pg.Settings{ConnectionString: database.Server.ConnString(database.Name, reader)})
		defer conn.Close()
		err = conn.Look(t.Context(), func(tx pgx.Tx) error {
			all, err := theLedger.AllProgress(t.Context(), tx)
			n = len(all)
			return err
		})
		return n, err
	}
	if _, err := look(); !errors.Is(err, ledger.ErrNoLedger) {
		t.Errorf("without a ledger: %v", err)
	}
	ensure(t, db)
	beginBackfill(t, db, "public.t/a")
	for _, grant := range []string{`GRANT USAGE ON SCHEMA "terraform_postgres" TO the_role;`, `GRANT SELECT ON "terraform_postgres"."progress" TO the_role;`} {
		if _, err := look(); err == nil || !strings.Contains(err.Error(), grant) {
			t.Errorf("without %s: %v", grant, err)
		}
		database.Exec(t, strings.Replace(grant, "the_role", pg.Quote(reader), 1))
	}
	if n, err := look(); n != 1 || err != nil {
		t.Errorf("with the grants: %d, %v", n, err)
	}
}
