package usage_test

import (
	"testing"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/stage/stagetest"
	"github.com/stagedpg/terraform-provider-postgres/internal/usage"
)

// TestQuiet has looks at different times, which it moves into the past.
func TestQuiet(t *testing.T) {
	t.Parallel()
	db := countingDatabase(t, counting(t, nil))
	db.Exec(t, tables)
	env := stagetest.NewEnv(t, db.ConnString())
	role := newRole(t, db)
	store := func() *usage.Report {
		t.Helper()
		report, err := usage.StoreLook(t.Context(), env, users, []string{"full_name"})
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	expect := func(report *usage.Report, busy int, enough bool) {
		t.Helper()
		if s := report.Quiet(time.Hour); len(s.Busy) != busy || s.Enough != enough {
			t.Errorf("%d are busy, watched long enough: %t; want %d, %t", len(s.Busy), s.Enough, busy, enough)
		}
	}
	age := func() {
		t.Helper()
		db.Exec(t, `UPDATE terraform_postgres.column_look SET first_looked_at = first_looked_at - interval '1 hour', looked_at = looked_at - interval '1 hour'`)
		db.Exec(t, `UPDATE terraform_postgres.statement_look SET changed_at = changed_at - interval '1 hour', looked_at = looked_at - interval '1 hour'`)
	}
	expect(look(t, db, "full_name"), 0, false) // The server counts since a moment ago.
	run(t, db, role, `SELECT full_name FROM users`)
	expect(look(t, db, "full_name"), 1, false)
	if first := store(); first.Statements[0].CallsSince != nil {
		t.Errorf("%d calls since a look that never was", *first.Statements[0].CallsSince)
	}
	age()
	report := look(t, db, "full_name")
	expect(report, 0, true)
	if s := report.Statements[0]; *s.CallsSince != 0 || s.Calls != 1 {
		t.Errorf("%d calls, %d since the last look", s.Calls, *s.CallsSince)
	}
	expect(store(), 0, true)
	run(t, db, role, `SELECT full_name FROM users`, `SELECT full_name, id FROM users`)
	report = look(t, db, "full_name")
	expect(report, 2, true)
	for _, s := range report.Statements {
		if *s.CallsSince != 1 {
			t.Errorf("%d calls of %q since the last look", *s.CallsSince, s.Query)
		}
	}
	store()
	expect(store(), 2, true)
	age()
	expect(look(t, db, "full_name"), 0, true)
	expect(look(t, db, "email"), 0, false) // Nobody has looked at that one.
}
