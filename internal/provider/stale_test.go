package provider_test

import (
	"strings"
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// change is what somebody does to the database between a plan and the apply of that plan.
type change struct {
	sql string
	// undo takes it back; "" means that it cannot be taken back, so that it comes last.
	undo string
	// wants are phrases of the refusal.
	wants []string
}

const (
	renameTable   = `ALTER TABLE users RENAME TO people`
	unrenameTable = `ALTER TABLE people RENAME TO users`
	recreateTable = `DROP TABLE users; CREATE TABLE users (id bigint PRIMARY KEY, full_name text NOT NULL)`
)

// refusals are the changes after which an operation must not go on.
var refusals = map[string]map[string]change{
	"expand create": {
		"column added": {
			sql: `ALTER TABLE users ADD first_name int`, undo: `ALTER TABLE users DROP first_name`,
			wants: []string{"Column public.users.first_name already exists"},
		},
		"table renamed": {sql: renameTable, undo: unrenameTable, wants: []string{"Table public.users does not exist"}},
	},
	"expand update": {
		"type changed": {
			sql: `ALTER TABLE users ALTER first_name TYPE varchar(9)`, undo: `ALTER TABLE users ALTER first_name TYPE text`,
			wants: []string{"Column public.users.first_name", "character varying(9)"},
		},
		"table renamed": {sql: renameTable, undo: unrenameTable, wants: []string{"Table public.users is now called public.people"}},
		"column taken": {
			sql: `ALTER TABLE users ADD last_name int`, undo: `ALTER TABLE users DROP last_name`,
			wants: []string{"Column public.users.last_name already exists"},
		},
	},
	"expand delete": {
		"table renamed": {sql: renameTable, undo: unrenameTable, wants: []string{"Table public.users is now called public.people"}},
	},
	"sync create": {
		"source renamed": {
			sql: `ALTER TABLE users RENAME full_name TO name`, undo: `ALTER TABLE users RENAME name TO full_name`, wants: []string{"full_name", "does not exist"},
		},
		"target renamed": {
			sql: `ALTER TABLE users RENAME first_name TO given_name`, undo: `ALTER TABLE users RENAME given_name TO first_name`, wants: []string{"first_name", "does not exist"},
		},
		"target changed its type": {
			sql: `ALTER TABLE users ALTER first_name TYPE int USING NULL`, undo: `ALTER TABLE users ALTER first_name TYPE text`, wants: []string{"first_name", "integer"},
		},
		"table renamed":  {sql: renameTable, undo: unrenameTable, wants: []string{"Table public.users does not exist"}},
		"source dropped": {sql: `ALTER TABLE users DROP full_name`, wants: []string{"full_name", "does not exist"}},
	},
	"sync delete": {
		"table renamed": {sql: renameTable, undo: unrenameTable, wants: []string{"Table public.users is now called public.people"}},
	},
	"backfill create": {
		"source renamed": {
			sql: `ALTER TABLE users RENAME full_name TO name`, undo: `ALTER TABLE users RENAME name TO full_name`, wants: []string{"full_name", "does not exist"},
		},
		"target renamed": {
			sql: `ALTER TABLE users RENAME first_name TO given_name`, undo: `ALTER TABLE users RENAME given_name TO first_name`, wants: []string{"first_name", "does not exist"},
		},
		"target changed its type": {
			sql: `ALTER TABLE users ALTER first_name TYPE int USING NULL`, undo: `ALTER TABLE users ALTER first_name TYPE text`, wants: []string{"first_name", "integer"},
		},
		"table renamed":  {sql: renameTable, undo: unrenameTable, wants: []string{"Table public.users does not exist"}},
		"source dropped": {sql: `ALTER TABLE users DROP full_name`, wants: []string{"full_name", "does not exist"}},
	},
	"contract create quarantine": {
		"column renamed": {
			sql: `ALTER TABLE users RENAME full_name TO name`, undo: `ALTER TABLE users RENAME name TO full_name`,
			wants: []string{"Column public.users.full_name does not exist"},
		},
		"view made": {sql: `CREATE VIEW names AS SELECT full_name FROM users`, undo: `DROP VIEW names`, wants: []string{"names"}},
		"row left empty": {
			sql: `ALTER TABLE users DISABLE TRIGGER USER; INSERT INTO users (full_name) VALUES ('Legacy Writer')`, undo: `DELETE FROM users WHERE first_name IS NULL; ALTER TABLE users ENABLE TRIGGER USER`,
			wants: []string{"public.users"},
		},
		"name of the quarantine taken": {
			sql: `ALTER TABLE users ADD full_name__quarantined text`, undo: `ALTER TABLE users DROP full_name__quarantined`,
			wants: []string{"Column public.users.full_name__quarantined already exists"},
		},
		"table renamed":  {sql: renameTable, undo: unrenameTable, wants: []string{"Table public.users does not exist"}},
		"column dropped": {sql: `ALTER TABLE users DROP full_name`, wants: []string{"Column public.users.full_name does not exist"}},
	},
	"contract update to drop": {
		"column dropped": {
			sql:   `ALTER TABLE users DROP full_name__quarantined`,
			wants: []string{"Columns of public.users (full_name) were dropped without an archive"},
		},
		"view made":     {sql: `CREATE VIEW names AS SELECT full_name__quarantined FROM users`, undo: `DROP VIEW names`, wants: []string{"names"}},
		"table renamed": {sql: renameTable, undo: unrenameTable, wants: []string{"Table public.users is now called public.people"}},
	},
	"contract delete quarantine": {
		"name taken":    {sql: `ALTER TABLE users ADD full_name int`, undo: `ALTER TABLE users DROP full_name`, wants: []string{"Column public.users.full_name exists again"}},
		"table renamed": {sql: renameTable, undo: unrenameTable, wants: []string{"Table public.users is now called public.people"}},
	},
	"contract delete drop": {
		"name taken":    {sql: `ALTER TABLE users ADD full_name int`, undo: `ALTER TABLE users DROP full_name`, wants: []string{"Column public.users.full_name exists again"}},
		"table renamed": {sql: renameTable, undo: unrenameTable, wants: []string{"Table public.users is now called public.people"}},
	},
}

// TestSavedPlanIsRefusedWhenTheTableChanged applies plans to a table that is not as it was. Nothing may happen to it; when the
// change is taken back, the same plan can be applied.
func TestSavedPlanIsRefusedWhenTheTableChanged(t *testing.T) {
	t.Parallel()
	for name, changes := range refusals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := planned(t, operations[name])
			t.Run("table held", func(t *testing.T) {
				r := r.in(t)
				r.retryFor("1s")
				r.run(0, "plan", "-out=tfplan")
				blocker := hold(t, r.db, `LOCK TABLE users IN ACCESS EXCLUSIVE MODE`)
				defer blocker.release()
				expectOutput(t, r.run(1, "apply", "tfplan"), blockerName)
				expectUntainted(t, r)
			})
			last := ""
			for what, c := range changes {
				if c.undo == "" {
					last = what
					continue
				}
				r.refuses(t, what, c)
			}
			if last != "" {
				r.refuses(t, last, changes[last])
				return
			}
			r.apply()
			expectNothingLost(t, r.db)
		})
	}
}

// planned applies what comes before the operation, and saves the plan of the operation.
func planned(t *testing.T, op operation) *cliRun {
	t.Helper()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 300)
	db.Exec(t, `CREATE TABLE kept AS SELECT id, full_name FROM users`)
	r := newCLIRun(t, db, op.before)
	if op.before != "" {
		r.run(0, "apply", "-auto-approve")
	}
	r.write("main.tf", op.after)
	return r
}

func (r *cliRun) refuses(t *testing.T, what string, c change) {
	t.Run(what, func(t *testing.T) {
		r := r.in(t)
		r.run(0, "plan", "-out=tfplan") // A create that failed has moved the state, and the former plan is stale.
		r.db.Exec(t, c.sql)
		before := definitions(t, r.db)
		expectOutput(t, r.run(1, "apply", "tfplan"), c.wants...)
		expectUntainted(t, r)
		if after := definitions(t, r.db); after != before {
			t.Errorf("the table was changed from\n%s\nto\n%s", before, after)
		}
		if c.undo != "" {
			r.db.Exec(t, c.undo)
		}
	})
}

// definitions describes the table under whichever name it has.
func definitions(t *testing.T, db *pgtest.Database) string {
	t.Helper()
	tables := pgtest.Query[string](t, db, `SELECT relname::text FROM pg_class WHERE relname IN ('users', 'people') AND relkind = 'r'`)
	var all []string
	for _, table := range tables {
		all = append(all, table, definition(t, db, table))
	}
	return strings.Join(all, "\n")
}

// TestSavedPlanAdaptsToWhatIsDone applies plans after somebody has done what leaves the operation less to do, or other things.
func TestSavedPlanAdaptsToWhatIsDone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		operation, sql string
		// expect is a condition that must hold afterwards.
		expect string
	}{
		"expand of a table made anew":               {"expand update", recreateTable, `EXISTS (SELECT last_name, first_name FROM users) IS NOT NULL`},
		"expand of a column that was dropped":       {"expand update", `ALTER TABLE users DROP first_name`, `EXISTS (SELECT last_name, first_name FROM users)`},
		"undo of an expand without its columns":     {"expand delete", `ALTER TABLE users DROP first_name`, `NOT EXISTS (SELECT FROM pg_attribute WHERE attname IN ('first_name', 'last_name'))`},
		"undo of an expand whose column is renamed": {"expand delete", `ALTER TABLE users RENAME first_name TO given_name`, `EXISTS (SELECT given_name FROM users)`},
		"undo of an expand without its table":       {"expand delete", `DROP TABLE users`, `to_regclass('users') IS NULL`},
		"undo of an expand without the ledger":      {"expand delete", `DROP SCHEMA terraform_postgres CASCADE`, `NOT EXISTS (SELECT FROM pg_attribute WHERE attname IN ('first_name', 'last_name'))`},
		"sync of a table made anew":                 {"sync update", recreateTable + `; ALTER TABLE users ADD first_name text, ADD last_name text`, `EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'users'::regclass)`},
		"sync without its trigger":                  {"sync update", `DROP TRIGGER zzz_sync_first_name_last_name ON users`, `EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'users'::regclass AND tgenabled = 'A')`},
		"undo of a sync without its trigger":        {"sync delete", `DROP TRIGGER zzz_sync_first_name_last_name ON users`, `NOT EXISTS (SELECT FROM pg_proc WHERE pronamespace = 'terraform_postgres'::regnamespace AND proname LIKE '%first_name%')`},
		"undo of a sync without its table":          {"sync delete", `DROP TABLE users`, `NOT EXISTS (SELECT FROM pg_proc WHERE pronamespace = 'terraform_postgres'::regnamespace AND proname LIKE '%first_name%')`},
		"undo of a sync of a table made anew":       {"sync delete", recreateTable, `NOT EXISTS (SELECT FROM pg_proc WHERE pronamespace = 'terraform_postgres'::regnamespace AND proname LIKE '%first_name%')`},
		"undo of a sync without the ledger":         {"sync delete", `DROP SCHEMA terraform_postgres CASCADE`, `NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'users'::regclass AND NOT tgisinternal)`},
		"backfill of a table made anew":             {"backfill update", recreateTable + `; ALTER TABLE users ADD first_name text, ADD last_name text; INSERT INTO users VALUES (1, 'Ann Lee')`, `(SELECT first_name = 'Ann' FROM users)`},
		"undo of a backfill without its table":      {"backfill delete", `DROP TABLE users`, `true`},
		"undo of a backfill without the ledger":     {"backfill delete", `DROP SCHEMA terraform_postgres CASCADE`, `(SELECT bool_and(first_name IS NOT NULL) FROM users)`},
		"drop of a column that came back":           {"contract update to drop", `ALTER TABLE users RENAME full_name__quarantined TO full_name`, `NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname LIKE 'full_name%')`},
		"undo of a quarantine that came back":       {"contract delete quarantine", `ALTER TABLE users RENAME full_name__quarantined TO full_name`, `(SELECT bool_and(full_name = first_name || ' ' || last_name) FROM users)`},
		"undo of a quarantine that is gone":         {"contract delete quarantine", `ALTER TABLE users DROP full_name__quarantined`, `(SELECT bool_and(full_name = first_name || ' ' || last_name) FROM users)`},
		"undo of a quarantine without its table":    {"contract delete quarantine", `DROP TABLE users`, `true`},
		"undo of a quarantine of a table made anew": {"contract delete quarantine", recreateTable, `true`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := planned(t, operations[c.operation])
			r.run(0, "plan", "-out=tfplan")
			r.db.Exec(t, c.sql)
			expectOutput(t, r.run(0, "apply", "tfplan"))
			if !pgtest.QueryRow[bool](t, r.db, `SELECT `+c.expect) {
				t.Errorf("not so: %s", c.expect)
			}
		})
	}
}

// TestUndoOfAContractNeedsTheLedger covers a ledger that somebody dropped: without it nobody knows what to bring back.
func TestUndoOfAContractNeedsTheLedger(t *testing.T) {
	t.Parallel()
	r := planned(t, operations["contract delete quarantine"])
	r.run(0, "plan", "-out=tfplan")
	r.db.Exec(t, `DROP SCHEMA terraform_postgres CASCADE`)
	expectOutput(t, r.run(1, "apply", "tfplan"), "The ledger knows nothing of the contract of columns of public.users (full_name)",
		`ALTER TABLE "public"."users" RENAME COLUMN "full_name__quarantined" TO "full_name";`)
}

// TestStateThatMovedMakesASavedPlanStale relies on Terraform's own guard.
func TestStateThatMovedMakesASavedPlanStale(t *testing.T) {
	t.Parallel()
	r := planned(t, operations["sync create"])
	r.run(0, "plan", "-out=tfplan")
	r.run(0, "apply", "-auto-approve")
	expectOutput(t, r.run(1, "apply", "tfplan"), "Saved plan is stale")
	r.run(0, "plan", "-detailed-exitcode")
}
