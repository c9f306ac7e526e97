package provider_test

import (
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// onSyncFunction runs a command on the function of the sync, whose name has a hash in it.
func onSyncFunction(command string) string {
	return `
		DO $$ DECLARE name text := (SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = 'terraform_postgres'::regnamespace AND proname LIKE 'sync\_users\_%');
		BEGIN EXECUTE format($c$` + command + `$c$, name); END $$`
}

// TestDriftIsShownAndRepaired changes things behind Terraform's back. The plan says what is going to be done about it, and the apply
// does it.
func TestDriftIsShownAndRepaired(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config, sql string
		// shows are phrases of the plan.
		shows []string
		// refuses are phrases of the plan when nothing can be done; undo takes the change back then.
		refuses []string
		undo    string
		// expect is a condition that must hold after the apply.
		expect string
	}{
		"function dropped": {
			config: stageBackfill, sql: onSyncFunction(`DROP FUNCTION %s CASCADE`),
			shows: []string{"postgres_column_sync.name will be created"}, expect: `EXISTS (SELECT FROM pg_trigger WHERE tgname LIKE 'zzz_sync%')`,
		},
		"function changed": {
			config: stageBackfill, sql: onSyncFunction(`CREATE OR REPLACE FUNCTION %s RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'`),
			shows: []string{"postgres_column_sync.name will be created"}, expect: `(SELECT prosrc LIKE '%split_part%' FROM pg_proc WHERE proname LIKE 'sync\_users\_%')`,
		},
		"trigger disabled": {
			config: stageBackfill, sql: `ALTER TABLE users DISABLE TRIGGER zzz_sync_first_name_last_name`,
			shows: []string{"postgres_column_sync.name will be created"}, expect: `(SELECT tgenabled = 'O' FROM pg_trigger WHERE tgname LIKE 'zzz_sync%')`,
		},
		"target dropped": {
			config: stageBackfill, sql: `ALTER TABLE users DROP last_name`,
			shows: []string{"postgres_column_expand.name will be updated in-place", "last_name", `"running" -> "complete"`}, expect: `true`,
		},
		"target renamed": {
			config: stageBackfill, sql: `ALTER TABLE users RENAME last_name TO surname`,
			shows: []string{"postgres_column_expand.name will be updated in-place", "last_name", `"running" -> "complete"`}, expect: `true`,
		},
		"source renamed": {
			config: stageBackfill, sql: `ALTER TABLE users RENAME full_name TO name`,
			refuses: []string{"full_name", "does not exist"}, undo: `ALTER TABLE users RENAME name TO full_name`, expect: `true`,
		},
		"ledger dropped": {
			config: stageBackfill, sql: `DROP SCHEMA terraform_postgres CASCADE`,
			shows: []string{"postgres_column_sync.name will be created", "postgres_batched_backfill.name will be created"}, expect: `true`,
		},
		"ledger dropped under a contract": {
			config: stageQuarantine, sql: `DROP SCHEMA terraform_postgres CASCADE`,
			refuses: []string{"Column public.users.full_name does not exist"}, undo: `ALTER TABLE users RENAME full_name__quarantined TO full_name`, expect: `true`,
		},
		"quarantined column came back": {
			config: stageQuarantine, sql: `ALTER TABLE users RENAME full_name__quarantined TO full_name`,
			shows: []string{"postgres_column_contract.name will be created"}, expect: `EXISTS (SELECT full_name__quarantined FROM users)`,
		},
		"contracted column made anew": {
			config: stageQuarantine, sql: `ALTER TABLE users ADD full_name text`,
			refuses: []string{"Column public.users.full_name exists again"}, undo: `ALTER TABLE users DROP full_name`, expect: `true`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t)
			createUsers(t, db, 300)
			db.Exec(t, `CREATE TABLE kept AS SELECT id, full_name FROM users`)
			r := newCLIRun(t, db, c.config)
			r.run(0, "apply", "-auto-approve")
			db.Exec(t, c.sql)
			if c.refuses != nil {
				expectOutput(t, r.run(1, "plan"), c.refuses...)
				db.Exec(t, c.undo)
			} else {
				expectOutput(t, r.run(2, "plan", "-detailed-exitcode"), c.shows...)
			}
			r.apply()
			if !pgtest.QueryRow[bool](t, db, `SELECT `+c.expect) {
				t.Errorf("not so: %s", c.expect)
			}
			expectNothingLost(t, db)
			if lost := pgtest.QueryRow[int](t, db, `SELECT count(*) FROM users JOIN kept USING (id) WHERE kept.full_name IS DISTINCT FROM first_name || ' ' || last_name`); lost != 0 {
				t.Errorf("%d rows are not filled", lost)
			}
		})
	}
}
