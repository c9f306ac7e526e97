package contract_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// A service that only reads leaves no note. The server counts its statements.
func TestStatementsThatStillRun(t *testing.T) {
	server := pgtest.StartServer(t, pgtest.Options{Settings: map[string]string{"shared_preload_libraries": "pg_stat_statements"}})
	db := pgtest.NewDatabaseOn(t, server)
	reader := db.OwnerRole + "_reader"
	for _, sql := range []string{
		`CREATE EXTENSION pg_stat_statements`, `GRANT pg_read_all_stats TO ` + db.OwnerRole,
		`CREATE ROLE ` + reader + ` LOGIN PASSWORD '` + server.Password + `'`,
	} {
		if _, err := db.Super.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	createUsers(t, db, 10)
	db.Exec(t, `GRANT SELECT ON users TO `+reader)
	env := newEnv(t, db.ConnString())
	read := func() {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), server.ConnString(db.Name, reader))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), `SELECT upper(u.full_name) FROM users u WHERE id = $1`, 1); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	pass := func(by string) {
		t.Helper()
		olden(t, db, by)
		db.Exec(t, `UPDATE terraform_postgres.statement_look SET changed_at = changed_at - $1::interval, looked_at = looked_at - $1::interval`, by)
		db.Exec(t, `UPDATE terraform_postgres.column_look SET first_looked_at = first_looked_at - $1::interval, looked_at = looked_at - $1::interval`, by)
	}
	read()
	expand(t, env, nameSync()) // It begins to watch.
	read()
	pass("2 hours")
	spec := unsworn(time.Hour)
	spec.IgnoreFunctions = nil
	refused(t, env, spec, "1 statement use", "upper(u.full_name)", reader)

	sworn := *spec
	sworn.WritersMigrated = true
	warnings, err := sworn.Check(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	told := false
	for _, w := range warnings {
		told = told || strings.Contains(w.Detail, "upper(u.full_name)")
	}
	if !told {
		t.Error("the plan does not warn of the statement when the user gives their word")
	}
	ignored := *spec
	ignored.Ignore = []string{reader}
	if _, err := ignored.Check(t.Context(), env); err != nil {
		t.Errorf("an ignored role is in the way: %v", err)
	}
	pass("30 minutes")
	refused(t, env, spec, "upper(u.full_name)") // not quiet for long enough
	pass("2 hours")
	if _, err := spec.Apply(t.Context(), env); err != nil {
		t.Errorf("the statement has been quiet, and still: %v", err)
	}
}
