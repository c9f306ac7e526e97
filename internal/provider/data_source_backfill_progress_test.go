package provider_test

import (
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

const progressOfUsers = `
data "postgres_backfill_progress" "users" {
  table = "users"
}
`

// halfWalked makes a backfill of users look as if an apply had filled 30 of its rows so far, at 10 a second.
const halfWalked = `
	WITH s AS (
	  INSERT INTO terraform_postgres.stage (kind, key, table_oid, table_schema, table_name, spec, status)
	  VALUES ('batched_backfill', 'public.users/visits', 'users'::regclass, 'public', 'users', '{}', 'running') RETURNING id
	), b AS (
	  INSERT INTO terraform_postgres.backfill (stage_id, holder, lease_expires_at, pages_total, rows_estimated, max_rows_per_second, rows_per_second,
	                                           hot_percent, limited_by, blockers)
	  SELECT id, 'an apply', 'infinity', 10, -1, 50, 10, 87.5, 'set_rate', 'pid 7' FROM s
	)
	INSERT INTO terraform_postgres.segment (stage_id, relation, first_page, end_page, next_page, filenode, token, rows_updated)
	SELECT id, 7, 0, 10, 3, 8, 0, 30 FROM s`

func TestBackfillProgress(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 10)
	const address = "data.postgres_backfill_progress.users"
	expect := func(attribute string, value knownvalue.Check) statecheck.StateCheck {
		return statecheck.ExpectKnownValue(address, tfjsonpath.New(attribute), value)
	}
	text := knownvalue.StringExact
	number := knownvalue.Int64Exact
	complete := knownvalue.ObjectPartial(map[string]knownvalue.Check{
		"id": text("public.users/first_name,last_name"), "schema": text("public"), "table": text("users"), "status": text("complete"),
		"running": knownvalue.Bool(false), "percent": knownvalue.Float64Exact(100), "rows_updated": number(10),
		"pages_done": number(1), "pages_total": number(1), "rows_per_second": number(0), "max_rows_per_second": knownvalue.Null(),
		"limited_by": text(""), "throttled": text(""), "blockers": text(""), "holder": knownvalue.NotNull(),
		"note": text(""), "elapsed": knownvalue.NotNull(), "remaining": knownvalue.Null(), "since_checkpoint": knownvalue.Null(),
		"started_at": knownvalue.NotNull(), "completed_at": knownvalue.NotNull(),
	})
	running := knownvalue.ObjectExact(map[string]knownvalue.Check{
		"id": text("public.users/visits"), "schema": text("public"), "table": text("users"), "status": text("walk"),
		"running": knownvalue.Bool(true), "percent": knownvalue.Float64Exact(30), "rows_updated": number(30), "rows_estimated": knownvalue.Null(),
		"pages_done": number(3), "pages_total": number(10), "rows_per_second": number(10), "max_rows_per_second": number(50),
		"limited_by": text("set_rate"), "throttled": text(""), "blockers": text("pid 7"), "hot_percent": knownvalue.Float64Exact(87.5),
		"holder": text("an apply"), "note": text(""), "elapsed": knownvalue.NotNull(), "remaining": text("7s"), "since_checkpoint": knownvalue.NotNull(),
		"started_at": knownvalue.NotNull(), "completed_at": knownvalue.Null(),
	})
	stages := providerBlock(db) + expandName + backfillName
	other := func(arguments string) string {
		return stages + "data \"postgres_backfill_progress\" \"users\" {\n" + arguments + "\n}\n"
	}
	resource.UnitTest(t, resource.TestCase{
		ProtoV6ProviderFactories: factories,
		Steps: []resource.TestStep{
			{
				Config: providerBlock(db) + progressOfUsers,
				ConfigStateChecks: []statecheck.StateCheck{
					expect("schema", text("public")), expect("backfills", knownvalue.ListSizeExact(0)), expect("all_complete", knownvalue.Bool(true)),
					expect("summary", text("No such backfill has begun.")),
				},
				ConfigPlanChecks: emptyPlan,
			},
			{
				PreConfig: func() {
					if pgtest.QueryRow[bool](t, db, `SELECT to_regclass('terraform_postgres.stage') IS NOT NULL`) {
						t.Error("a data source has created the ledger")
					}
				},
				Config: stages,
			},
			{
				Config: stages + progressOfUsers,
				ConfigStateChecks: []statecheck.StateCheck{
					expect("backfills", knownvalue.ListExact([]knownvalue.Check{complete})), expect("all_complete", knownvalue.Bool(true)),
				},
				ConfigPlanChecks: emptyPlan,
			},
			{
				PreConfig: func() { db.Exec(t, halfWalked) },
				Config:    other(""), // all tables of the schema
				ConfigStateChecks: []statecheck.StateCheck{
					expect("backfills", knownvalue.ListExact([]knownvalue.Check{complete, running})), expect("all_complete", knownvalue.Bool(false)),
				},
			},
			{
				Config: other(`id = "\"public\".users/first_name,\"last_name\""`), // as SQL would take it
				ConfigStateChecks: []statecheck.StateCheck{
					expect("backfills", knownvalue.ListExact([]knownvalue.Check{complete})), expect("all_complete", knownvalue.Bool(true)),
				},
			},
			{
				Config: other(`id = "public.users/visits"`),
				ConfigStateChecks: []statecheck.StateCheck{
					expect("backfills", knownvalue.ListExact([]knownvalue.Check{running})), expect("all_complete", knownvalue.Bool(false)),
				},
			},
			{
				Config: other(`id = "public.users/nobody"`),
				ConfigStateChecks: []statecheck.StateCheck{
					expect("backfills", knownvalue.ListSizeExact(0)), expect("all_complete", knownvalue.Bool(false)),
				},
			},
			{Config: other(`id = "users"`), ExpectError: phrase(`"users" is not the identity of a backfill`)},
			{Config: other("id = \"public.users/visits\"\ntable = \"users\""), ExpectError: phrase("cannot be specified when")},
			{
				Config: other(`schema = "Users"`),
				ConfigStateChecks: []statecheck.StateCheck{
					expect("backfills", knownvalue.ListSizeExact(0)), expect("all_complete", knownvalue.Bool(true)),
				},
			},
		},
	})
}

// TestBackfillProgressInCheck shows a backfill that is not complete where people read it: as the warning of a check block.
func TestBackfillProgressInCheck(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 10)
	r := newCLIRun(t, db, expandName+backfillName)
	r.apply()
	r.write("check.tf", progressOfUsers+`
check "backfills_are_complete" {
  assert {
    condition     = data.postgres_backfill_progress.users.all_complete
    error_message = data.postgres_backfill_progress.users.summary
  }
}
`)
	if output := r.run(0, "plan", "-detailed-exitcode"); strings.Contains(output, "Check block assertion failed") {
		t.Errorf("the check fails although all is complete:\n%s", output)
	}
	db.Exec(t, halfWalked)
	output := r.run(0, "plan", "-detailed-exitcode")
	want := "public.users/visits, walk, limited by set_rate, asked for at most 50 rows/s, 30.0%, 7s left, 10 rows/s, HOT 88%, 30 rows, blockers: pid 7"
	if !phrase(want).MatchString(output) {
		t.Errorf("the plan lacks %q:\n%s", want, output)
	}
}

// TestBackfillProgressWithoutDatabase plans before the server is there.
func TestBackfillProgressWithoutDatabase(t *testing.T) {
	t.Parallel()
	r := newCLIRun(t, pgtest.NewDatabase(t), progressOfUsers+`
output "known" {
  value = [length(data.postgres_backfill_progress.users.backfills), data.postgres_backfill_progress.users.all_complete, data.postgres_backfill_progress.users.summary]
}
`)
	r.write("terraform.tf", requiredProviders+"provider \"postgres\" {\n  connection_string = \"postgres://nobody@127.0.0.1:1/nothing?sslmode=disable\"\n}\n")
	output := strings.Join(strings.Fields(r.run(0, "plan")), " ")
	for _, want := range []string{"The plan was made without the database", "+ 0, + false, + \"The database was not asked.\","} {
		if !strings.Contains(output, want) {
			t.Errorf("the plan lacks %q:\n%s", want, output)
		}
	}
}
