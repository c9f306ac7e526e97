package provider_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"
	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

const usageOfFullName = `
data "postgres_column_usage" "name" {
  table   = "users"
  columns = ["full_name"]
}
`

const syncFirstName = `
resource "postgres_column_expand" "name" {
  table         = "users"
  columns       = { first_name = { type = "text" } }
  force_destroy = true
}
resource "postgres_column_sync" "name" {
  table   = postgres_column_expand.name.table
  forward = { first_name = "split_part(full_name, ' ', 1)" }
  reverse = { full_name = "first_name" }
}
`

// countingDatabase is a database of a server that counts statements. Its owner sees those of all roles.
func countingDatabase(t *testing.T) *pgtest.Database {
	t.Helper()
	server := pgtest.StartServer(t, pgtest.Options{Settings: map[string]string{"shared_preload_libraries": "pg_stat_statements"}})
	db := pgtest.NewDatabaseOn(t, server)
	for _, sql := range []string{"CREATE EXTENSION pg_stat_statements", "GRANT pg_read_all_stats TO " + db.OwnerRole} {
		if _, err := db.Super.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

// asApplication runs a statement as the owner, under another name.
func asApplication(t *testing.T, db *pgtest.Database, name, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.ConnString()+"&application_name="+name)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func TestColumnUsage(t *testing.T) {
	t.Parallel()
	db := countingDatabase(t)
	db.Exec(t, `CREATE TABLE users (id bigint PRIMARY KEY, full_name text); CREATE VIEW people AS SELECT full_name FROM users`)
	const address = "data.postgres_column_usage.name"
	expect := func(attribute string, value knownvalue.Check) statecheck.StateCheck {
		return statecheck.ExpectKnownValue(address, tfjsonpath.New(attribute), value)
	}
	resource.UnitTest(t, resource.TestCase{
		ProtoV6ProviderFactories: factories,
		Steps: []resource.TestStep{
			{
				Config: providerBlock(db) + usageOfFullName,
				ConfigStateChecks: []statecheck.StateCheck{
					expect("schema", knownvalue.StringExact("public")),
					expect("writers", knownvalue.ListSizeExact(0)),
					expect("legacy_writers", knownvalue.ListSizeExact(0)),
					expect("watched_since", knownvalue.Null()),
					expect("statements", knownvalue.ListSizeExact(0)),
					expect("statements_since", knownvalue.NotNull()),
					expect("statements_complete", knownvalue.Bool(true)),
					expect("privileges", knownvalue.ListSizeExact(0)),
					expect("dependants", knownvalue.ListExact([]knownvalue.Check{knownvalue.ObjectExact(map[string]knownvalue.Check{
						"type": knownvalue.StringExact("view"), "identity": knownvalue.StringExact("public.people"), "effect": knownvalue.StringExact("blocks"),
					})})),
				},
				ConfigPlanChecks: resource.ConfigPlanChecks{PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()}},
			},
			{
				PreConfig: func() {
					if pgtest.QueryRow[bool](t, db, `SELECT to_regclass('terraform_postgres.stage') IS NOT NULL`) {
						t.Error("a data source has created the ledger")
					}
				},
				Config: providerBlock(db) + syncFirstName,
			},
			{
				PreConfig: func() { asApplication(t, db, "billing", `INSERT INTO users (id, full_name) VALUES (1, 'Mary Smith')`) },
				Config:    providerBlock(db) + syncFirstName + usageOfFullName,
				ConfigStateChecks: []statecheck.StateCheck{
					expect("watched_since", knownvalue.NotNull()),
					statecheck.ExpectKnownValue(address, tfjsonpath.New("legacy_writers").AtSliceIndex(0).AtMapKey("application_name"), knownvalue.StringExact("billing")),
					statecheck.ExpectKnownValue(address, tfjsonpath.New("legacy_writers").AtSliceIndex(0).AtMapKey("side"), knownvalue.StringExact("old")),
					expect("statements", knownvalue.ListExact([]knownvalue.Check{knownvalue.ObjectExact(map[string]knownvalue.Check{
						"query": knownvalue.StringExact("INSERT INTO users (id, full_name) VALUES ($1, $2)"), "query_id": knownvalue.NotNull(),
						"role": knownvalue.StringExact(db.OwnerRole), "certain": knownvalue.Bool(true), "calls": knownvalue.Int64Exact(1),
						"reads": knownvalue.ListSizeExact(0), "writes": knownvalue.ListExact([]knownvalue.Check{knownvalue.StringExact("full_name")}),
						// The apply of the sync has looked, before there was such a statement.
						"calls_since": knownvalue.Int64Exact(1), "since": knownvalue.NotNull(),
					})})),
				},
				ConfigPlanChecks: resource.ConfigPlanChecks{PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()}},
			},
			{
				Config:      providerBlock(db) + strings.Replace(usageOfFullName, "full_name", "fullname", 1),
				ExpectError: phrase("Column public.users.fullname does not exist"),
			},
		},
	})
}

// TestColumnUsageInCheck shows the summary where people read it: as the warning of a check block.
func TestColumnUsageInCheck(t *testing.T) {
	t.Parallel()
	db := countingDatabase(t)
	db.Exec(t, `CREATE TABLE users (id bigint PRIMARY KEY, full_name text)`)
	r := newCLIRun(t, db, syncFirstName)
	r.apply()
	asApplication(t, db, "billing", `INSERT INTO users (id, full_name) VALUES (1, 'Mary Smith')`)
	// Inside the check, every plan would say that the data source will be read during apply.
	r.write("check.tf", usageOfFullName+`
check "nobody_uses_full_name" {
  assert {
    condition     = length(data.postgres_column_usage.name.legacy_writers) == 0
    error_message = data.postgres_column_usage.name.summary
  }
}
`)
	written := func() (rows string) { // Rows that were only updated in place show by their place and transaction.
		for _, table := range []string{"stage", "writer_note", "column_look", "statement_look"} {
			rows += table + ":" + pgtest.QueryRow[string](t, db, `SELECT coalesce(string_agg(t.ctid || ' ' || t.xmin || ' ' || t::text, ' '), '') FROM terraform_postgres.`+table+` AS t`) + "\n"
		}
		return rows
	}
	before := written()
	for range 2 {
		output := r.run(0, "plan", "-detailed-exitcode")
		for _, want := range []string{"Use of public.users (full_name):", "  - billing, role " + db.OwnerRole, "INSERT INTO users (id, full_name) VALUES ($1, $2)"} {
			if !strings.Contains(output, want) {
				t.Errorf("the plan lacks %q:\n%s", want, output)
			}
		}
	}
	if after := written(); after != before {
		t.Errorf("a plan has written to the ledger:\n%s\nbefore:\n%s", after, before)
	}
}

// TestColumnUsageWithoutDatabase plans before the server is there.
func TestColumnUsageWithoutDatabase(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	r := newCLIRun(t, db, usageOfFullName+`
output "known" {
  value = [length(data.postgres_column_usage.name.statements), data.postgres_column_usage.name.statements_complete, data.postgres_column_usage.name.summary]
}
`)
	r.write("terraform.tf", fmt.Sprintf("terraform {\n  required_providers {\n    postgres = {\n      source = \"stagedpg/postgres\"\n    }\n  }\n}\n"+
		"provider \"postgres\" {\n  connection_string = %q\n}\n", "postgres://nobody@127.0.0.1:1/nothing?sslmode=disable"))
	output := r.run(0, "plan")
	for _, want := range []string{"The plan was made without the database", "the database was not asked", "0,"} {
		if !strings.Contains(strings.Join(strings.Fields(output), " "), want) {
			t.Errorf("the plan lacks %q:\n%s", want, output)
		}
	}
}
