package ledger_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// beginBackfill records a backfill with 100 pages and takes its lease.
func beginBackfill(t *testing.T, db *pg.DB, key string) ledger.Lease {
	t.Helper()
	var lease ledger.Lease
	inTx(t, db, func(tx pgx.Tx) (err error) {
		stage := newStage(key)
		if err := theLedger.Put(t.Context(), tx, stage); err != nil {
			return err
		}
		if lease, err = theLedger.TakeLease(t.Context(), tx, stage.ID, "the apply"); err != nil {
			return err
		}
		if err := theLedger.Begin(t.Context(), tx, lease, 1000); err != nil {
			return err
		}
		segment := ledger.Segment{Relation: 7, Filenode: 8, End: 100, High: ledger.HashRange}
		if err := theLedger.AddSegments(t.Context(), tx, lease, []ledger.Segment{segment}); err != nil {
			return err
		}
		return theLedger.SetPages(t.Context(), tx, lease, 100)
	})
	return lease
}

// beat reports as a running backfill does, and returns what operators ask for.
func beat(t *testing.T, db *pg.DB, lease ledger.Lease, r ledger.Report) (c ledger.Control) {
	t.Helper()
	inTx(t, db, func(tx pgx.Tx) (err error) {
		c, err = theLedger.Heartbeat(t.Context(), tx, lease, r)
		return err
	})
	return c
}

func TestOperatorsAskAndTheHeartbeatHears(t *testing.T) {
	t.Parallel()
	database := pgtest.NewDatabase(t)
	db := open(t, database)
	ensure(t, db)
	// A key is any text: a table and columns may be called anything.
	a, b := `public.t/a`, `public."It's $1 \ \"T\""/"%s"`
	leases := map[string]ledger.Lease{a: beginBackfill(t, db, a), b: beginBackfill(t, db, b)}
	owner := database.OwnerRole
	for _, step := range []struct {
		sql      string
		argument any
		touched  []string
		want     map[string]ledger.Control
	}{
		{`SELECT terraform_postgres.pause($1)`, b, []string{b}, map[string]ledger.Control{a: {}, b: {Paused: true, PausedBy: owner}}},
		{`SELECT terraform_postgres.resume($1)`, b, []string{b}, map[string]ledger.Control{a: {}, b: {PausedBy: owner}}},
		{`SELECT terraform_postgres.set_rate($1, 500)`, a, []string{a}, map[string]ledger.Control{a: {MaxRowsPerSecond: 500}, b: {PausedBy: owner}}},
		{`SELECT terraform_postgres.set_rate($1, 0)`, a, []string{a}, map[string]ledger.Control{a: {}, b: {PausedBy: owner}}},
		{`SELECT terraform_postgres.pause($1)`, nil, []string{a, b}, map[string]ledger.Control{a: {Paused: true, PausedBy: owner}, b: {Paused: true, PausedBy: owner}}},
		{`SELECT terraform_postgres.set_rate($1, 2.5)`, nil, []string{a, b}, map[string]ledger.Control{
			a: {Paused: true, PausedBy: owner, MaxRowsPerSecond: 2.5}, b: {Paused: true, PausedBy: owner, MaxRowsPerSecond: 2.5},
		}},
		{`SELECT terraform_postgres.set_rate($1, NULL)`, nil, []string{a, b}, map[string]ledger.Control{
			a: {Paused: true, PausedBy: owner}, b: {Paused: true, PausedBy: owner},
		}},
		{`SELECT terraform_postgres.resume($1)`, nil, []string{a, b}, map[string]ledger.Control{a: {PausedBy: owner}, b: {PausedBy: owner}}},
	} {
		touched := pgtest.Query[string](t, database, `SELECT k FROM (`+step.sql+` AS k) AS f ORDER BY k = $2`, step.argument, b)
		if fmt.Sprint(touched) != fmt.Sprint(step.touched) {
			t.Errorf("%s with %v returned %q, want %q", step.sql, step.argument, touched, step.touched)
		}
		for key, want := range step.want {
			// A rate of its own that is reported must not be taken for the one that is asked for.
			if got := beat(t, db, leases[key], ledger.Report{RowsPerSecond: 123}); got != want {
				t.Errorf("after %s with %v, %s is asked for %+v, want %+v", step.sql, step.argument, key, got, want)
			}
		}
	}
}

func TestOperatorsAreToldWhatTheyDidWrong(t *testing.T) {
	t.Parallel()
	database := pgtest.NewDatabase(t)
	db := open(t, database)
	ensure(t, db)
	complete := beginBackfill(t, db, "public.t/complete")
	inTx(t, db, func(tx pgx.Tx) error { return theLedger.Finish(t.Context(), tx, complete, nil) })
	unknown := []string{"is running", `HINT: SELECT backfill, status FROM "terraform_postgres".progress;`, "P0002"}
	rate := []string{"rows_per_second cannot be", "HINT: It is at least 1, or 0", "22023"}
	for sql, wants := range map[string][]string{
		`pause('public.t/nobody''s')`:            append(unknown, `no backfill called 'public.t/nobody''s'`),
		`resume('public.t/b')`:                   unknown,
		`set_rate('public.t/b', 5)`:              unknown,
		`pause('public.t/complete')`:             unknown,
		`pause('')`:                              unknown,
		`set_rate('public.t/complete', 0.5)`:     rate,
		`set_rate(NULL, -1)`:                     rate,
		`set_rate(NULL, 'NaN')`:                  rate,
		`set_rate(NULL, 'Infinity')`:             rate,
		`set_rate(NULL, '-Infinity')`:            rate,
		`set_rate('public.t/complete', '1e300')`: rate,
	} {
		var pgErr string
		_, err := database.Owner.Exec(t.Context(), `SELECT terraform_postgres.`+sql)
		if err != nil {
			pgErr = errorText(err)
		}
		for _, want := range wants {
			if !strings.Contains(pgErr, want) {
				t.Errorf("%s: %q lacks %q", sql, pgErr, want)
			}
		}
	}
	// For all means for all that there are.
	if keys := pgtest.Query[string](t, database, `SELECT terraform_postgres.pause()`); len(keys) != 0 {
		t.Errorf("paused %q although nothing is running", keys)
	}
}

// asRole connects as a role that may log in and nothing else, which is dropped with the test.
func asRole(t *testing.T, database *pgtest.Database, role string) *pgx.Conn {
	t.Helper()
	exec := func(sql string) {
		if _, err := database.Super.Exec(context.Background(), sql); err != nil {
			t.Error(err)
		}
	}
	exec(fmt.Sprintf(`CREATE ROLE %s LOGIN PASSWORD '%s'`, pg.Quote(role), database.Server.Password))
	conn, err := pgx.Connect(t.Context(), database.Server.ConnString(database.Name, role))
	t.Cleanup(func() {
		if err == nil {
			_ = conn.Close(context.Background()) // The role goes with the session.
		}
		exec(fmt.Sprintf(`DROP OWNED BY %[1]s; DROP ROLE %[1]s`, pg.Quote(role)))
	})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestOperatorNeedsOnlyExecute(t *testing.T) {
	t.Parallel()
	database := pgtest.NewDatabase(t)
	db := open(t, database)
	ensure(t, db)
	lease := beginBackfill(t, db, "public.t/a")
	operator := "operator_of_" + database.Name
	conn := asRole(t, database, operator)
	calls := []string{`pause('public.t/a')`, `set_rate('public.t/a', 7)`, `resume()`}

	database.Exec(t, `GRANT USAGE ON SCHEMA terraform_postgres TO `+pg.Quote(operator))
	for _, call := range append(calls, `control(NULL)`) {
		if _, err := conn.Exec(t.Context(), `SELECT terraform_postgres.`+call); !pg.IsInsufficientPrivilege(err) {
			t.Errorf("%s without EXECUTE: %v", call, err)
		}
	}
	database.Exec(t, `GRANT EXECUTE ON FUNCTION terraform_postgres.pause, terraform_postgres.resume, terraform_postgres.set_rate TO `+pg.Quote(operator))
	for _, call := range calls[:2] {
		if _, err := conn.Exec(t.Context(), `SELECT terraform_postgres.`+call); err != nil {
			t.Errorf("%s with EXECUTE: %v", call, err)
		}
	}
	if got, want := beat(t, db, lease, ledger.Report{}), (ledger.Control{Paused: true, PausedBy: operator, MaxRowsPerSecond: 7}); got != want {
		t.Errorf("asked for %+v, want %+v", got, want)
	}
	if _, err := conn.Exec(t.Context(), `SELECT terraform_postgres.resume()`); err != nil {
		t.Error(err)
	}
	if got := beat(t, db, lease, ledger.Report{}); got.Paused {
		t.Error("still paused")
	}
	for _, sql := range []string{`SELECT terraform_postgres.control(NULL)`, `SELECT FROM terraform_postgres.backfill`, `UPDATE terraform_postgres.backfill SET note = 'x'`} {
		if _, err := conn.Exec(t.Context(), sql); !pg.IsInsufficientPrivilege(err) {
			t.Errorf("%s by the operator: %v", sql, err)
		}
	}
}

// What runs with the owner's rights must mean the owner's tables and the server's functions, whoever calls it.
func TestSearchPathOfTheCallerChangesNothing(t *testing.T) {
	t.Parallel()
	database := pgtest.NewDatabase(t)
	db := open(t, database)
	ensure(t, db)
	lease := beginBackfill(t, db, "public.t/a")
	operator := "hijacker_of_" + database.Name
	conn := asRole(t, database, operator)
	database.Exec(t, fmt.Sprintf(`
		GRANT USAGE ON SCHEMA terraform_postgres TO %[1]s;
		GRANT EXECUTE ON FUNCTION terraform_postgres.pause, terraform_postgres.resume, terraform_postgres.set_rate TO %[1]s;
		CREATE SCHEMA evil AUTHORIZATION CURRENT_USER; GRANT USAGE, CREATE ON SCHEMA evil TO %[1]s`, pg.Quote(operator)))
	for _, sql := range []string{
		`CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE 'hijacked as %', current_user; END $$`,
		`CREATE FUNCTION evil.quote_literal(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'hijacked as %', current_user; END $$`,
		`CREATE FUNCTION evil.is_evil(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'hijacked as %', current_user; END $$`,
		`CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.is_evil)`,
		`CREATE FUNCTION evil.nothing(float8, float8) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'hijacked as %', current_user; END $$`,
		`CREATE OPERATOR evil.= (LEFTARG = float8, RIGHTARG = float8, FUNCTION = evil.nothing)`,
		`CREATE TEMPORARY TABLE backfill (stage_id bigint, desired text); CREATE TEMPORARY TABLE stage (id bigint, kind text)`,
		`SET search_path = evil, pg_temp, pg_catalog, terraform_postgres`,
		`SELECT pause('public.t/a')`,
		`SELECT set_rate('public.t/a', 9)`,
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%v\n%s", err, sql)
		}
	}
	if _, err := conn.Exec(t.Context(), `SELECT pause('nobody')`); err == nil || !strings.Contains(err.Error(), "no backfill called 'nobody' is running") {
		t.Errorf("pause of an unknown one: %v", err)
	}
	want := ledger.Control{Paused: true, PausedBy: operator, MaxRowsPerSecond: 9}
	if got := beat(t, db, lease, ledger.Report{}); got != want {
		t.Errorf("asked for %+v, want %+v", got, want)
	}
}

// A heartbeat that commits while an operator waits for its row must not swallow what the operator asks for.
func TestPauseWhileTheHeartbeatWrites(t *testing.T) {
	t.Parallel()
	database := pgtest.NewDatabase(t)
	db := open(t, database)
	ensure(t, db)
	lease := beginBackfill(t, db, "public.t/a")
	type result struct {
		keys []string
		err  error
	}
	paused := make(chan result, 1)
	inTx(t, db, func(tx pgx.Tx) error {
		if _, err := theLedger.Heartbeat(t.Context(), tx, lease, ledger.Report{}); err != nil {
			return err
		}
		go func() {
			var r result
			rows, err := database.Owner.Query(t.Context(), `SELECT terraform_postgres.pause()`)
			if r.err = err; err == nil {
				r.keys, r.err = pgx.CollectRows(rows, pgx.RowTo[string])
			}
			paused <- r
		}()
		waitUntilBlocked(t, database, tx)
		return nil
	})
	if r := <-paused; r.err != nil || fmt.Sprint(r.keys) != "[public.t/a]" {
		t.Errorf("pause = %q, %v", r.keys, r.err)
	}
	if got := beat(t, db, lease, ledger.Report{}); !got.Paused {
		t.Error("the request to pause was lost")
	}
}
