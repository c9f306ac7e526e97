package provider_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// TestSplitUnderLiveWriters runs the whole change while 8 services write, which move to the new columns in between.
func TestSplitUnderLiveWriters(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	if err := pgtest.CreateUsers(t.Context(), db.Owner, 30000); err != nil {
		t.Fatal(err)
	}
	before := definition(t, db, "users")
	users, err := pgtest.NewUsers(t.Context(), db.Owner, pgtest.OldStyle)
	if err != nil {
		t.Fatal(err)
	}
	users.Differs = true
	writers, err := pgtest.StartWriters(t.Context(), db.ConnString(), pgtest.WriterOptions{Transaction: users.Transaction, Pause: 2 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer writers.Stop()
	deploy := func(g pgtest.Generation) {
		t.Helper()
		if err := users.SetGeneration(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	expand := `
resource "postgres_column_expand" "name" {
  table         = "users"
  force_destroy = true
  columns = {
    first_name = { type = "text" }
    last_name  = { type = "text" }
  }
}
`
	backfill := fmt.Sprintf(`
resource "postgres_batched_backfill" "name" {
  table = postgres_column_expand.name.table
  set = {
    first_name = %q
    last_name  = %q
  }
}
`, pgtest.FirstName, pgtest.LastName)

	r := newCLIRun(t, db, expand)
	r.apply()
	deploy(pgtest.DualWrite)
	r.write("main.tf", expand+backfill)
	r.apply()
	expectRight(t, db)
	deploy(pgtest.NewStyle)
	db.Exec(t, `CREATE TABLE kept AS SELECT id, full_name FROM users`)
	r.write("main.tf", expand+backfill+contractName)
	r.apply()
	expectRight(t, db)

	// The undo, under the same load. Services that are new write no full names, so that the old ones come back as they were.
	r.write("main.tf", expand+backfill)
	r.apply()
	changed := pgtest.QueryRow[int](t, db, `SELECT count(*) FROM kept JOIN users USING (id) WHERE kept.full_name IS DISTINCT FROM users.full_name`)
	if changed != 0 {
		t.Errorf("%d full names are not as they were before the contract", changed)
	}
	deploy(pgtest.OldStyle)
	r.run(0, "destroy", "-auto-approve")
	stats := writers.Stop()
	if stats.Errors > 0 {
		t.Errorf("%d of %d transactions failed: %v", stats.Errors, stats.Transactions, stats.FirstErrors)
	}
	if stats.Transactions < 1000 {
		t.Errorf("only %d transactions were made, which proves little", stats.Transactions)
	}
	if after := definition(t, db, "users"); after != before {
		t.Errorf("the table after the destroy is\n%s\nwant\n%s", after, before)
	}
	t.Logf("%d transactions, longest %s", stats.Transactions, stats.Max)
}

func expectRight(t *testing.T, db *pgtest.Database) {
	t.Helper()
	wrong, err := pgtest.CheckUsers(t.Context(), db.Owner)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range wrong {
		t.Error(w)
	}
}
