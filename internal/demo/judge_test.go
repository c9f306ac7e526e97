package main

import (
	"strings"
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestCheckFindsAWrongRow(t *testing.T) {
	database := pgtest.NewDatabase(t)
	if err := pgtest.CreateUsers(t.Context(), database.Owner, 100); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		sql   string
		shown string
		wrong bool
	}{
		{"SELECT 1", "100 rows checked, 0 wrong", false},
		{"UPDATE users SET full_name = 'Somebody Else' WHERE id = 26", "100 rows checked, 1 wrong", true},
		{"DELETE FROM users WHERE id = 27", "99 rows checked, 2 wrong", true},
	} {
		database.Exec(t, test.sql)
		page := new(page)
		d := &demo{database: database, out: &console{w: page}}
		if err := d.check(t.Context()); err != nil {
			t.Fatal(err)
		}
		if shown := page.text.String(); !strings.Contains(shown, test.shown) {
			t.Errorf("after %s the check shows %q, want %q", test.sql, shown, test.shown)
		}
		if (len(d.wrong) > 0) != test.wrong {
			t.Errorf("after %s the demo holds against it: %v", test.sql, d.wrong)
		}
	}
}
