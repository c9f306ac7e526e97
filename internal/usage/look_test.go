package usage_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/stagetest"
	"github.com/stagedpg/terraform-provider-postgres/internal/usage"
)

// expectGap fails unless exactly one sentence of the coverage has the text, or none where it is empty.
func expectGap(t *testing.T, report *usage.Report, text string) {
	t.Helper()
	switch {
	case text == "" && len(report.Coverage) > 0:
		t.Errorf("the coverage has gaps: %q", report.Coverage)
	case text != "" && (len(report.Coverage) != 1 || !strings.Contains(report.Coverage[0], text)):
		t.Errorf("%q, want one sentence with %q", report.Coverage, text)
	}
}

func TestLookLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	server := counting(t, nil)
	db := countingDatabase(t, server)
	db.Exec(t, tables)
	role := newRole(t, db)
	run(t, db, role, `SELECT * FROM users`, `SELECT full_name FROM users u`, `UPDATE users SET full_name = 'x'`, `SELECT 1 FROM users`)
	const catalogs = `SELECT (SELECT count(*) FROM pg_proc) || '/' || (SELECT count(*) FROM pg_depend) || '/' || (SELECT count(*) FROM pg_namespace)`
	before := pgtest.QueryRow[string](t, db, catalogs)
	statements := func() int64 {
		return pgtest.QueryRow[int64](t, db, `SELECT count(*) FROM pg_stat_statements
			WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND query NOT LIKE '%pg_stat_statements%'`)
	}
	look(t, db, "full_name")
	counted := statements()
	report := look(t, db, "email")
	if len(report.Statements) == 0 {
		t.Error("nothing was found")
	}
	if after := pgtest.QueryRow[string](t, db, catalogs); after != before {
		t.Errorf("functions/dependencies/schemas: %s before, %s after", before, after)
	}
	if schema := pgtest.QueryRow[bool](t, db, `SELECT to_regclass('terraform_postgres.stage') IS NOT NULL`); schema {
		t.Error("the look has created the ledger")
	}
	if locks := pgtest.QueryRow[int64](t, db, `SELECT count(*) FROM pg_locks WHERE relation = 'users'::regclass`); locks > 0 {
		t.Errorf("%d locks on users stay", locks)
	}
	if now := statements(); now > counted+2 { // What runs through another column's report is the same but for its own reads.
		t.Errorf("a second look added %d statements to those that the server counts", now-counted)
	}
}

func TestOtherRoles(t *testing.T) {
	t.Parallel()
	server := counting(t, nil)
	db := pgtest.NewDatabaseOn(t, server)
	super(t, db, `CREATE EXTENSION pg_stat_statements`)
	db.Exec(t, tables)
	role := newRole(t, db)
	run(t, db, role, `SELECT full_name FROM users`)
	run(t, db, db.OwnerRole, `SELECT lower(full_name) FROM users`)
	report := look(t, db, "full_name")
	if got := uses(report, role); got != "" {
		t.Errorf("another role's: %q", got)
	}
	if got := uses(report, db.OwnerRole); got != "reads [full_name] writes []" {
		t.Errorf("its own: %q", got)
	}
	expectGap(t, report, "GRANT pg_read_all_stats TO")
	super(t, db, `GRANT pg_read_all_stats TO `+db.OwnerRole)
	report = look(t, db, "full_name")
	if got := uses(report, role); got != "reads [full_name] writes []" {
		t.Errorf("another role's, with the privilege: %q", got)
	}
	expectGap(t, report, "")
}

func TestStatementsInFunctions(t *testing.T) {
	t.Parallel()
	const function = `CREATE FUNCTION find(n text) RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT id FROM users WHERE full_name = n); END'`
	for track, want := range map[string]string{"top": "", "all": "possible"} { // n is a variable of the function
		t.Run(track, func(t *testing.T) {
			t.Parallel()
			db := countingDatabase(t, counting(t, map[string]string{"pg_stat_statements.track": track}))
			db.Exec(t, tables)
			db.Exec(t, function)
			role := newRole(t, db)
			run(t, db, role, `SELECT find('x')`)
			report := look(t, db, "full_name")
			if got := uses(report, role); got != want {
				t.Errorf("%q, want %q", got, want)
			}
			gap := ""
			if track == "top" {
				gap = "find(text)"
			}
			expectGap(t, report, gap)
			if !slices.Contains(report.Objects, usage.Object{Type: "function", Identity: "find(text)", Effect: usage.Mentions}) {
				t.Errorf("the function is not among %v", report.Objects)
			}
		})
	}
}

func TestServersThatDoNotCount(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	db.Exec(t, tables)
	expectGap(t, look(t, db, "full_name"), "shared_preload_libraries = 'pg_stat_statements'")

	server := counting(t, nil)
	db = pgtest.NewDatabaseOn(t, server)
	db.Exec(t, tables)
	expectGap(t, look(t, db, "full_name"), "To let it: CREATE EXTENSION pg_stat_statements;")
	super(t, db, `CREATE SCHEMA "My Stats"; CREATE EXTENSION pg_stat_statements SCHEMA "My Stats"; GRANT pg_read_all_stats TO `+db.OwnerRole)
	super(t, db, `GRANT USAGE ON SCHEMA "My Stats" TO `+db.OwnerRole)
	run(t, db, db.OwnerRole, `SELECT full_name FROM users`)
	report := look(t, db, "full_name")
	expectGap(t, report, "")
	if got := uses(report, db.OwnerRole); got != "reads [full_name] writes []" {
		t.Errorf("with the extension in a schema of its own: %q", got)
	}
}

func TestEvictedStatements(t *testing.T) {
	t.Parallel()
	db := countingDatabase(t, counting(t, map[string]string{"pg_stat_statements.max": "100"}))
	db.Exec(t, tables)
	for i := range 150 {
		db.Exec(t, `SELECT 1`+strings.Repeat(", 1", i))
	}
	expectGap(t, look(t, db, "full_name"), "pg_stat_statements.max")
}

// TestWhereNamesCannotBeResolved has statements that are possible uses, because no temporary function can be made.
func TestWhereNamesCannotBeResolved(t *testing.T) {
	t.Parallel()
	server := counting(t, nil)
	for name, c := range map[string]struct{ setup, gap string }{
		"no temporary objects": {`REVOKE TEMPORARY ON DATABASE %d FROM PUBLIC, %o; ALTER DATABASE %d OWNER TO postgres; GRANT CREATE ON SCHEMA public TO %o`, "GRANT TEMPORARY ON DATABASE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := countingDatabase(t, server)
			db.Exec(t, tables)
			for _, sql := range strings.Split(strings.NewReplacer("%d", db.Name, "%o", db.OwnerRole).Replace(c.setup), ";") {
				super(t, db, sql)
			}
			role := newRole(t, db)
			run(t, db, role, `SELECT full_name FROM users`, `SELECT u.* FROM users u`, `SELECT email FROM users`, `SELECT count(*) FROM users`, `COPY users TO STDOUT`,
				`INSERT INTO users VALUES (9)`)
			report := look(t, db, "full_name")
			if got, want := uses(report, role), "possible; possible; possible; possible"; got != want {
				t.Errorf("%q, want %q", got, want)
			}
			expectGap(t, report, c.gap)
		})
	}
}

func TestSearchPaths(t *testing.T) {
	t.Parallel()
	db := countingDatabase(t, counting(t, nil))
	db.Exec(t, tables)
	db.Exec(t, `CREATE SCHEMA app; CREATE TABLE app.users (id bigint, full_name text); CREATE TABLE app."Odd ""One" ("Full Name" text, full_name text)`)
	role := newRole(t, db)
	super(t, db, `GRANT USAGE ON SCHEMA app TO `+role+`; GRANT ALL ON ALL TABLES IN SCHEMA app TO `+role)
	super(t, db, `ALTER ROLE `+role+` SET search_path = app, public`)
	run(t, db, role, `SELECT full_name FROM users`, `SELECT "Full Name" FROM "Odd ""One"`, `SELECT full_name FROM "Odd ""One"`)
	env := stagetest.NewEnv(t, db.ConnString())
	for _, c := range []struct {
		table  pg.TableName
		column string
		want   string
	}{
		{users, "full_name", ""},
		{pg.TableName{Schema: "app", Name: "users"}, "full_name", "reads [full_name] writes []"},
		{pg.TableName{Schema: "app", Name: `Odd "One`}, "Full Name", "reads [Full Name] writes []"},
	} {
		report, err := usage.Look(t.Context(), env, c.table, []string{c.column})
		if err != nil {
			t.Fatal(err)
		}
		if got := uses(report, role); got != c.want {
			t.Errorf("%s: %q, want %q", c.table, got, c.want)
		}
	}
}

func TestPartitions(t *testing.T) {
	t.Parallel()
	db := countingDatabase(t, counting(t, nil))
	db.Exec(t, `CREATE TABLE users (id int, full_name text) PARTITION BY LIST (id); CREATE TABLE one (gone int, full_name text, id int);
		ALTER TABLE one DROP COLUMN gone; ALTER TABLE users ATTACH PARTITION one FOR VALUES IN (1)`)
	role := newRole(t, db)
	run(t, db, role, `SELECT full_name FROM one`, `SELECT id FROM one`)
	if got, want := uses(look(t, db, "full_name"), role), "reads [full_name] writes []"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
