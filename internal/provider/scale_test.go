package provider_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// wholeChange is every stage of a change, once for each table.
const wholeChange = `
variable "tables" {
  type = set(string)
}

resource "postgres_column_expand" "name" {
  for_each = var.tables
  table    = each.value
  columns = {
    first_name = { type = "text" }
    last_name  = { type = "varchar(200)", default = "'?'" }
  }
}

resource "postgres_column_sync" "name" {
  for_each = postgres_column_expand.name
  table    = each.value.table
  forward = {
    first_name = "split_part(full_name, ' ', 1)"
    last_name  = "split_part(full_name, ' ', 2)"
  }
  reverse = { full_name = "concat_ws(' ', first_name, last_name)" }
}

resource "postgres_batched_backfill" "name" {
  for_each = postgres_column_sync.name
  table    = each.value.table
  set      = each.value.forward
}
`

const wholeContract = `
resource "postgres_column_contract" "name" {
  for_each  = postgres_batched_backfill.name
  table     = each.value.table
  columns   = ["full_name"]
  quiet_for = "0s"
}
`

// newTables makes that many tables and a variable that names them.
func newTables(t *testing.T, r *cliRun, count int) {
	t.Helper()
	var names []string
	for i := range count {
		name := fmt.Sprintf("people_%d", i)
		names = append(names, fmt.Sprintf("%q", name))
		r.db.Exec(t, fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s (id int PRIMARY KEY, full_name text); INSERT INTO %[1]s VALUES (1, 'Ada Lovelace') ON CONFLICT DO NOTHING`, name))
	}
	r.write("tables.auto.tfvars", "tables = ["+strings.Join(names, ", ")+"]\n")
}

// TestUnchangedPlanLeavesTheTablesAlone plans while somebody holds the strongest lock on each table: a refresh that touched one
// would wait.
func TestUnchangedPlanLeavesTheTablesAlone(t *testing.T) {
	t.Parallel()
	server := pgtest.StartServer(t, pgtest.Options{Settings: map[string]string{"autovacuum": "off"}})
	db := pgtest.NewDatabaseOn(t, server)
	r := newCLIRun(t, db, wholeChange)
	newTables(t, r, 1)
	for _, config := range []string{wholeChange, wholeChange + wholeContract} {
		r.write("main.tf", config)
		r.apply()
		planBesideLock(t, r)
	}
}

// planBesideLock makes a plan that must find no changes while the first table is locked, and must write nothing.
func planBesideLock(t *testing.T, r *cliRun) {
	t.Helper()
	blocker, err := r.db.Owner.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = blocker.Rollback(t.Context()) }() // It has changed nothing.
	if _, err := blocker.Exec(t.Context(), `LOCK TABLE people_0 IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	const nextTransaction = `SELECT pg_snapshot_xmax(pg_current_snapshot())::text`
	before := pgtest.QueryRow[string](t, r.db, nextTransaction)
	if plan := r.run(0, "plan", "-detailed-exitcode"); strings.Contains(plan, "Warning") {
		t.Errorf("a plan without changes warns:\n%s", plan)
	}
	if after := pgtest.QueryRow[string](t, r.db, nextTransaction); after != before {
		t.Errorf("a plan without changes has written: the next transaction was %s and is %s", before, after)
	}
}

var (
	// The pool asks a session that was idle for a while whether it is still there, with a comment.
	ranStatement = regexp.MustCompile(`app=terraform-provider-postgres LOG:  (statement: [^-]|execute [^:]*:)`)
	authorized   = regexp.MustCompile(`connection authorized: .*application_name=terraform-provider-postgres`)
)

// TestRefreshGrowsWithTheConfigurationOnly counts what the server is asked by a plan without changes.
func TestRefreshGrowsWithTheConfigurationOnly(t *testing.T) {
	t.Parallel()
	server := pgtest.StartServer(t, pgtest.Options{Settings: map[string]string{"log_statement": "all", "log_connections": "on"}})
	db := pgtest.NewDatabaseOn(t, server)
	r := newCLIRun(t, db, wholeChange+wholeContract)
	asked := func(wantCode int, tables int) (statements, connections int) {
		newTables(t, r, tables)
		before := len(server.Log())
		r.run(wantCode, "plan", "-detailed-exitcode")
		log := server.Log()[before:]
		return len(ranStatement.FindAllString(log, -1)), len(authorized.FindAllString(log, -1))
	}
	expectSteady := func(what string, wantCode int, prepare func()) {
		t.Helper()
		var statements, connections [3]int
		for i, tables := range []int{1, 2, 4} {
			newTables(t, r, tables)
			prepare()
			statements[i], connections[i] = asked(wantCode, tables)
			if connections[i] < 1 || connections[i] > 4 {
				t.Errorf("%s: %d connections for %d tables, want one to four", what, connections[i], tables)
			}
		}
		t.Logf("%s: %v statements for 1, 2 and 4 tables, in %v connections", what, statements, connections)
		if statements[0] == 0 || statements[2]-statements[1] != 2*(statements[1]-statements[0]) {
			t.Errorf("%s: %v statements for 1, 2 and 4 tables: not the same number for each", what, statements)
		}
	}
	expectSteady("plan of new stages", 2, func() {})
	expectSteady("plan without changes", 0, func() { r.run(0, "apply", "-auto-approve") })
}
