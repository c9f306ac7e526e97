package backfill_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
)

// createFull makes a table of full pages with four indexes, about 60 rows to a page, without autovacuum.
func createFull(t *testing.T, db *pgtest.Database, rows int, storage string) {
	t.Helper()
	db.Exec(t, `CREATE TABLE users (id bigint PRIMARY KEY, full_name text, email text, status text, created_at timestamptz,
		first_name text, last_name text) WITH (autovacuum_enabled = off`+storage+`)`)
	db.Exec(t, `INSERT INTO users SELECT i, 'First' || i || ' Last' || i % 100, md5(i::text), 'active', now() FROM generate_series(1, $1) AS i`, rows)
	for _, columns := range []string{"email", "created_at", "status, id"} {
		db.Exec(t, `CREATE INDEX ON users (`+columns+`)`)
	}
	db.Exec(t, `ANALYZE users`)
}

func fullSpec(options backfill.Options) *backfill.Spec {
	spec := specOf("users", map[string]string{
		"first_name": "split_part(full_name, ' ', 1)", "last_name": "substr(full_name, strpos(full_name, ' ') + 1)",
	})
	spec.Options = options
	return spec
}

const wrongUsers = `SELECT count(*) FROM users WHERE concat_ws(' ', first_name, last_name) IS DISTINCT FROM full_name`

// progress is what operators see of the only backfill.
func progress(t testing.TB, db *pgtest.Database) string {
	t.Helper()
	return pgtest.QueryRow[string](t, db, `SELECT row_to_json(p)::text FROM terraform_postgres.progress p`)
}

// hot is the share of HOT updates that the ledger tells, in percent.
func hot(t *testing.T, db *pgtest.Database) float64 {
	t.Helper()
	return pgtest.QueryRow[float64](t, db, `SELECT coalesce(hot_percent, -1)::float8 FROM terraform_postgres.backfill`)
}

// The share does not depend on how fast the machine is, only on the passes: a walk without them has next to none.
func TestFullPagesKeepMostNewVersions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		workers int
		storage string
		least   float64
	}{
		{"one worker", 1, "", 65},
		{"two workers", 2, "", 50},
		{"pages with room", 1, ", fillfactor = 70", 90},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			const rows = 60_000
			// On a server of its own nobody else's snapshot keeps old versions alive.
			db := pgtest.NewDatabaseOn(t, pgtest.StartServer(t, pgtest.Options{}))
			createFull(t, db, rows, test.storage)
			before := pgtest.QueryRow[int64](t, db, `SELECT pg_relation_size('users')`)
			state := apply(t, newEnv(t, db.ConnString()), fullSpec(backfill.Options{Workers: test.workers}))
			if state.RowsUpdated != rows {
				t.Errorf("%d rows updated, want %d", state.RowsUpdated, rows)
			}
			expectNone(t, db, "wrong rows", wrongUsers)
			if got := hot(t, db); got < test.least {
				t.Errorf("%.1f%% of the new versions stayed in their page, want %.0f%% at least", got, test.least)
			}
			if after := pgtest.QueryRow[int64](t, db, `SELECT pg_relation_size('users')`); after > before*3/2 {
				t.Errorf("the heap grew from %d to %d bytes", before, after)
			}
		})
	}
}

// While some transaction may still see all old versions, no room comes free, and the walk says so.
func TestOldSnapshotMakesPassesUseless(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabaseOn(t, pgtest.StartServer(t, pgtest.Options{}))
	createFull(t, db, 60_000, "")
	old, err := db.Owner.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = old.Rollback(t.Context()) }()
	if _, err := old.Exec(t.Context(), `SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM users`); err != nil {
		t.Fatal(err)
	}
	env, spec := newEnv(t, db.ConnString()), fullSpec(backfill.Options{Workers: 1})
	spec.Options.MaxRowsPerSecond = 20_000 // long enough to be looked at
	done := applying(t.Context(), env, spec)
	waitForRows(t, db, spec, 1, done)
	eventually(t, "the progress view says that old versions cannot be removed", func() bool {
		return strings.Contains(progress(t, db), "old row versions cannot be removed")
	})
	if result := <-done; result.err != nil {
		t.Fatal(result.err)
	}
	expectNone(t, db, "wrong rows", wrongUsers)
	if got := hot(t, db); got > 20 {
		t.Errorf("%.1f%% of the new versions stayed in their page: the test's snapshot had no effect", got)
	}
}

// A walk that is interrupted within a pass goes on within that pass.
func TestResumesWithinAPass(t *testing.T) {
	t.Parallel()
	const rows = 40_000
	db := pgtest.NewDatabase(t)
	createFull(t, db, rows, "")
	countUpdates(t, db, "users")
	env, spec := newEnv(t, db.ConnString()), fullSpec(backfill.Options{Workers: 2})
	within := false
	for _, at := range []int64{2000, 9000, 17_000, 30_000} {
		interrupt(t, db, env, spec, at)
		within = within || pgtest.QueryRow[bool](t, db, `SELECT bool_or(high < 1024 AND next_page > first_page) FROM terraform_postgres.segment`)
	}
	if !within {
		t.Error("no interruption came within a pass")
	}
	apply(t, env, spec)
	expectNone(t, db, "wrong rows", wrongUsers)
	expectEachOnce(t, db, spec, rows)
}

// A walk that an earlier version of the provider began, without passes, is ended as it was begun.
func TestResumesAWalkWithoutPasses(t *testing.T) {
	t.Parallel()
	const rows = 40_000
	db := pgtest.NewDatabase(t)
	createFull(t, db, rows, "")
	env, spec := newEnv(t, db.ConnString()), fullSpec(backfill.Options{Workers: 1})
	interrupt(t, db, env, spec, 500)
	db.Exec(t, `UPDATE terraform_postgres.segment SET low = 0, high = $1, next_page = first_page + 10`, ledger.HashRange)
	db.Exec(t, `UPDATE users SET first_name = 'done', last_name = 'done'
		FROM terraform_postgres.segment s WHERE users.ctid >= format('(%s,0)', s.first_page)::tid AND users.ctid < format('(%s,0)', s.first_page + 10)::tid`)
	countUpdates(t, db, "users")
	apply(t, env, spec)
	expectNone(t, db, "rows were left out", `SELECT count(*) FROM users WHERE first_name IS NULL`)
	expectNone(t, db, "rows were updated more than once", `SELECT count(*) FROM (SELECT FROM touched GROUP BY id HAVING count(*) > 1) AS twice`)
}

// Shapes of tables, each walked by one worker and by several.
func TestShapesOfTables(t *testing.T) {
	t.Parallel()
	shapes := map[string]struct {
		columns, values, storage, more string
		rows                           int
	}{
		"one page":             {columns: "a text", values: "'a'", rows: 5},
		"narrow rows":          {columns: "a boolean", values: "true", rows: 60_000},
		"wide rows":            {columns: "a text, filler text", values: "'a', repeat(md5(i::text), 60)", storage: "fillfactor = 100", more: "ALTER TABLE t ALTER filler SET STORAGE PLAIN", rows: 2000},
		"one row to a page":    {columns: "a text, filler text", values: "'a', repeat(md5(i::text), 230)", more: "ALTER TABLE t ALTER filler SET STORAGE PLAIN", rows: 700},
		"TOASTed values":       {columns: "a text, filler text", values: "'a', repeat(md5(i::text), 300)", more: "ALTER TABLE t ALTER filler SET STORAGE EXTERNAL", rows: 1000},
		"a TOASTed source":     {columns: "a text", values: "repeat(md5(i::text), 300)", more: "ALTER TABLE t ALTER a SET STORAGE EXTERNAL", rows: 500},
		"many indexes":         {columns: "a text, b int, c int, d int", values: "'a', i, i, i", more: "CREATE INDEX ON t (b); CREATE INDEX ON t (c); CREATE INDEX ON t (d, b)", rows: 20_000},
		"an indexed target":    {columns: "a text", values: "'a'", more: "CREATE INDEX ON t (target)", rows: 20_000},
		"an indexed predicate": {columns: "a text", values: "'a'", more: "CREATE INDEX ON t (id) WHERE target IS NULL", rows: 20_000},
		"a BRIN target":        {columns: "a text", values: "'a'", more: "CREATE INDEX ON t USING brin (target)", rows: 20_000},
		"room in the pages":    {columns: "a text", values: "'a'", storage: "fillfactor = 50", rows: 20_000},
		"half filled already":  {columns: "a text", values: "'a'", more: "UPDATE t SET target = 'a!' WHERE id % 2 = 0", rows: 20_000},
		"all filled already":   {columns: "a text", values: "'a'", more: "UPDATE t SET target = 'a!'", rows: 5000},
		"holes of deleted":     {columns: "a text", values: "'a'", more: "DELETE FROM t WHERE id % 3 > 0", rows: 30_000},
		"no statistics":        {columns: "a text", values: "'a'", more: "CREATE TABLE u (LIKE t); INSERT INTO u SELECT * FROM t; DROP TABLE t; ALTER TABLE u RENAME TO t", rows: 5000},
	}
	for name, shape := range shapes {
		for _, workers := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s, workers %d", name, workers), func(t *testing.T) {
				t.Parallel()
				db := pgtest.NewDatabase(t)
				storage := ""
				if shape.storage != "" {
					storage = "WITH (" + shape.storage + ")"
				}
				db.Exec(t, `CREATE TABLE t (id int, `+shape.columns+`, target text) `+storage)
				if strings.HasPrefix(shape.more, "ALTER") {
					db.Exec(t, shape.more)
				}
				db.Exec(t, `INSERT INTO t SELECT i, `+shape.values+` FROM generate_series(1, $1) AS i`, shape.rows)
				db.Exec(t, `ANALYZE t`)
				if !strings.HasPrefix(shape.more, "ALTER") {
					db.Exec(t, shape.more)
				}
				countUpdates(t, db, "t")
				want := pgtest.QueryRow[int64](t, db, `SELECT count(*) FROM t WHERE target IS NULL`)
				spec := specOf("t", map[string]string{"target": "a || '!'"})
				spec.Options.Workers = workers
				if state := apply(t, newEnv(t, db.ConnString()), spec); state.RowsUpdated != want {
					t.Errorf("%d rows updated, want %d", state.RowsUpdated, want)
				}
				expectNone(t, db, "wrong rows", `SELECT count(*) FROM t WHERE target IS DISTINCT FROM a || '!'`)
				expectEachOnce(t, db, spec, want)
			})
		}
	}
}
