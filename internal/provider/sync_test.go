package provider_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// syncName is the dual write of the split, with the expressions that the workload of pgtest agrees on.
var syncName = fmt.Sprintf(`
resource "postgres_column_sync" "name" {
  table = postgres_column_expand.name.table
  forward = {
    first_name = %q
    last_name  = %q
  }
  reverse = { full_name = %q }
}
`, pgtest.FirstName, pgtest.LastName, pgtest.FullName)

const (
	expandForce = `
resource "postgres_column_expand" "name" {
  table         = "users"
  force_destroy = true
  columns = {
    first_name = { type = "text" }
    last_name  = { type = "text" }
  }
}
`
	backfillSynced = `
resource "postgres_batched_backfill" "name" {
  table = postgres_column_sync.name.table
  set   = postgres_column_sync.name.forward
}
`
)

// services are three releases of a service that write at the same time.
type services struct {
	t       *testing.T
	db      *pgtest.Database
	running map[pgtest.Generation]*pgtest.Writers
	total   int64
	longest time.Duration
	deploys uint64
}

func startServices(t *testing.T, db *pgtest.Database) *services {
	t.Helper()
	s := &services{t: t, db: db, running: make(map[pgtest.Generation]*pgtest.Writers)}
	t.Cleanup(func() {
		for _, w := range s.running {
			w.Stop()
		}
	})
	return s
}

// deploy sets how many sessions of that generation write.
func (s *services) deploy(g pgtest.Generation, sessions int) {
	s.t.Helper()
	if w := s.running[g]; w != nil {
		stats := w.Stop()
		delete(s.running, g)
		s.total += stats.Transactions
		s.longest = max(s.longest, stats.Max)
		if stats.Errors > 0 {
			s.t.Errorf("%d of %d transactions of generation %d failed: %v", stats.Errors, stats.Transactions, g, stats.FirstErrors)
		}
	}
	if sessions == 0 {
		return
	}
	users, err := pgtest.NewUsers(s.t.Context(), s.db.Owner, g)
	if err != nil {
		s.t.Fatal(err)
	}
	users.Differs = true
	s.deploys++
	s.running[g], err = pgtest.StartWriters(context.WithoutCancel(s.t.Context()), s.db.ConnString(), pgtest.WriterOptions{
		Transaction: users.Transaction, Writers: sessions, Pause: 2 * time.Millisecond,
		Seed: s.deploys, // A name that two services chose would leave open which of them wrote a row.
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// TestSyncUnderServicesOfAllGenerations runs the change while old, dual and new services write at the same time.
func TestSyncUnderServicesOfAllGenerations(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	if err := pgtest.CreateUsers(t.Context(), db.Owner, 20000); err != nil {
		t.Fatal(err)
	}
	before := definition(t, db, "users")
	s := startServices(t, db)
	s.deploy(pgtest.OldStyle, 8)
	r := newCLIRun(t, db, expandForce+syncName)
	r.apply()
	s.deploy(pgtest.OldStyle, 4)
	s.deploy(pgtest.DualWrite, 2)
	s.deploy(pgtest.NewStyle, 2)
	r.write("main.tf", expandForce+syncName+backfillSynced)
	r.apply()
	expectRight(t, db)

	s.deploy(pgtest.OldStyle, 0)
	s.deploy(pgtest.DualWrite, 0)
	s.deploy(pgtest.NewStyle, 8)
	contract := strings.Replace(contractName, "columns ", "quiet_for = \"0s\"\ncolumns ", 1)
	r.write("main.tf", expandForce+syncName+backfillSynced+contract)
	r.apply()

	// The undo brings back what the old services would have found, had the columns never been away.
	r.write("main.tf", expandForce+syncName+backfillSynced)
	r.apply()
	expectRight(t, db)
	s.deploy(pgtest.NewStyle, 4)
	s.deploy(pgtest.OldStyle, 4)
	expectRight(t, db)
	s.deploy(pgtest.NewStyle, 0)
	r.run(0, "destroy", "-auto-approve")
	s.deploy(pgtest.OldStyle, 0)
	if s.total < 1000 {
		t.Errorf("only %d transactions were made, which proves little", s.total)
	}
	if after := definition(t, db, "users"); after != before {
		t.Errorf("the table after the destroy is\n%s\nwant\n%s", after, before)
	}
	t.Logf("%d transactions, longest %s", s.total, s.longest)
}

func TestSyncChangesInPlaceAndComesBack(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 50)
	config := providerBlock(db) + expandForce + syncName
	changed := strings.Replace(config, pgtest.FullName, "concat_ws(' ', first_name, last_name)", 1)
	expect := func(action plancheck.ResourceActionType) resource.ConfigPlanChecks {
		return resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectResourceAction("postgres_column_sync.name", action)}}
	}
	resource.UnitTest(t, resource.TestCase{
		ProtoV6ProviderFactories: factories,
		Steps: []resource.TestStep{
			{Config: config},
			{
				ResourceName: "postgres_column_sync.name", ImportState: true, ImportStateId: "public.users/first_name,last_name", ImportStateVerify: true,
			},
			{Config: changed, ConfigPlanChecks: expect(plancheck.ResourceActionUpdate)},
			{
				PreConfig:        func() { db.Exec(t, `DROP TRIGGER zzz_sync_first_name_last_name ON users`) },
				Config:           changed,
				ConfigPlanChecks: expect(plancheck.ResourceActionCreate),
			},
		},
	})
}

// A contract retires the sync, which then neither drifts nor is in the way.
func TestContractRetiresTheSync(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 500)
	stages := expandForce + syncName + backfillSynced
	contract := strings.Replace(contractName, "columns ", "quiet_for = \"0s\"\ncolumns ", 1)
	// All at once, because nobody else writes.
	r := newCLIRun(t, db, stages+contract)
	r.apply()
	db.Exec(t, `INSERT INTO users (first_name, last_name, email) VALUES ('Ann', 'Lee', 'a@x')`)
	r.write("main.tf", stages)
	r.apply()
	if got := pgtest.QueryRow[string](t, db, `SELECT full_name FROM users WHERE first_name = 'Ann'`); got != "Ann Lee" {
		t.Errorf("a row that was written meanwhile has the full name %q", got)
	}
	db.Exec(t, `INSERT INTO users (full_name, email) VALUES ('Mary Smith', 'm@x')`)
	if got := pgtest.QueryRow[string](t, db, `SELECT first_name FROM users WHERE full_name = 'Mary Smith'`); got != "Mary" {
		t.Errorf("the trigger does not work after the undo: first_name is %q", got)
	}
}
