package provider_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

const preflightOfUsers = `
data "postgres_table_preflight" "users" {
  table = "users"
}
`

func TestTablePreflight(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 10)
	for _, sql := range []string{
		`CREATE TABLE teams (id int PRIMARY KEY, founder bigint CONSTRAINT founded REFERENCES users)`,
		`ALTER TABLE users ADD COLUMN team_id int CONSTRAINT belongs REFERENCES teams`,
		`CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'`,
		`CREATE TRIGGER touch BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch()`,
		`CREATE POLICY mine ON users USING (visits >= 0)`,
		`CREATE VIEW people AS SELECT full_name FROM users`,
		`CREATE PUBLICATION feed FOR TABLE users`,
		`ANALYZE users`,
	} {
		db.Exec(t, sql)
	}
	const address = "data.postgres_table_preflight.users"
	expect := func(attribute string, value knownvalue.Check) statecheck.StateCheck {
		return statecheck.ExpectKnownValue(address, tfjsonpath.New(attribute), value)
	}
	text, number, yes, no, null := knownvalue.StringExact, knownvalue.Int64Exact, knownvalue.Bool(true), knownvalue.Bool(false), knownvalue.Null()
	object := func(of map[string]knownvalue.Check) knownvalue.Check { return knownvalue.ObjectExact(of) }
	list := func(of ...knownvalue.Check) knownvalue.Check { return knownvalue.ListExact(of) }
	texts := func(of ...string) knownvalue.Check {
		all := make([]knownvalue.Check, len(of))
		for i, one := range of {
			all[i] = text(one)
		}
		return list(all...)
	}
	hazard := func(name string) knownvalue.Check {
		return object(map[string]knownvalue.Check{"type": text(name), "message": knownvalue.NotNull()})
	}
	stages := providerBlock(db) + expandName + backfillName
	resource.UnitTest(t, resource.TestCase{
		ProtoV6ProviderFactories: factories,
		Steps: []resource.TestStep{
			{
				Config: providerBlock(db) + preflightOfUsers,
				ConfigStateChecks: []statecheck.StateCheck{
					expect("schema", text("public")), expect("ready", yes), expect("blockers", list()), expect("summary", knownvalue.NotNull()),
					expect("hazards", list(hazard("user_triggers"), hazard("logical_replication"))), expect("unseen", knownvalue.ListSizeExact(1)),
					expect("owner", text(db.OwnerRole)), expect("kind", text("table")), expect("partition_of", null), expect("partitions", number(0)),
					expect("inherits", list()), expect("children", number(0)), expect("unlogged", no), expect("column_slots_left", number(1595)),
					expect("primary_key", texts("id")), expect("replica_identity", text("default")), expect("row_security", text("off")),
					expect("server", knownvalue.ObjectPartial(map[string]knownvalue.Check{"wal_level": text("replica"), "standby": no})),
					expect("role", knownvalue.ObjectPartial(map[string]knownvalue.Check{"name": text(db.OwnerRole), "owns_table": yes, "monitors": no})),
					expect("size", knownvalue.ObjectPartial(map[string]knownvalue.Check{
						"estimated_rows": number(10), "fillfactor": number(100), "autovacuum": yes, "stale": no, "last_vacuum": null,
					})),
					expect("columns", knownvalue.ListPartial(map[int]knownvalue.Check{
						1: object(map[string]knownvalue.Check{
							"name": text("full_name"), "type": text("text"), "not_null": yes, "default": null, "identity": text(""), "generated": text(""),
							"average_bytes": knownvalue.NotNull(), "null_fraction": knownvalue.Float64Exact(0), "indexed": no,
						}),
					})),
					expect("indexes", knownvalue.ListPartial(map[int]knownvalue.Check{
						0: knownvalue.ObjectPartial(map[string]knownvalue.Check{"name": text("users_email_key"), "unique": yes, "primary": no, "valid": yes}),
					})),
					expect("constraints", knownvalue.ListSizeExact(2)),
					expect("foreign_keys", list(object(map[string]knownvalue.Check{
						"name": text("belongs"), "table": text("public.teams"), "validated": yes, "definition": text("FOREIGN KEY (team_id) REFERENCES teams(id)"),
					}))),
					expect("referenced_by", list(knownvalue.ObjectPartial(map[string]knownvalue.Check{"name": text("founded"), "table": text("public.teams")}))),
					expect("triggers", list(knownvalue.ObjectPartial(map[string]knownvalue.Check{"name": text("touch"), "enabled": text("origin"), "managed": no}))),
					expect("policies", list(object(map[string]knownvalue.Check{
						"name": text("mine"), "command": text("ALL"), "permissive": yes, "roles": texts("PUBLIC"), "using": text("(visits >= 0)"), "check": null,
					}))),
					expect("dependants", list(object(map[string]knownvalue.Check{"type": text("view"), "identity": text("public.people")}))),
					expect("publications", list(object(map[string]knownvalue.Check{"name": text("feed"), "updates": yes}))),
					expect("replication_slots", list()), expect("standbys", list()), expect("locks", list()), expect("prepared_transactions", list()),
					expect("vacuums", list()), expect("index_builds", list()), expect("stages", list()), expect("oldest_snapshot", knownvalue.NotNull()),
				},
				ConfigPlanChecks: emptyPlan,
			},
			{Config: stages},
			{
				Config: stages + preflightOfUsers,
				ConfigStateChecks: []statecheck.StateCheck{expect("stages", list(
					object(map[string]knownvalue.Check{
						"type": text("postgres_column_expand"), "id": text("public.users/first_name,last_name"), "status": text("complete"), "retired": no,
					}),
					knownvalue.ObjectPartial(map[string]knownvalue.Check{"type": text("postgres_batched_backfill")}),
				))},
				ConfigPlanChecks: emptyPlan,
			},
			{Config: providerBlock(db) + strings.ReplaceAll(preflightOfUsers, `"users"`+"\n}", `"nobody"`+"\n}"), ExpectError: phrase("Table public.nobody does not exist")},
			{
				Config:      providerBlock(db) + strings.ReplaceAll(preflightOfUsers, `table = "users"`, `table = "people"`),
				ExpectError: phrase("public.people is a view, not a table"),
			},
		},
	})
}

// TestTablePreflightInConditions shows a blocker where people read it: as the warning of a check block, and as what refuses a plan.
func TestTablePreflightInConditions(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 10)
	db.Exec(t, `ANALYZE users`)
	r := newCLIRun(t, db, preflightOfUsers+`
check "users_is_ready" {
  assert {
    condition     = data.postgres_table_preflight.users.ready
    error_message = data.postgres_table_preflight.users.summary
  }
}
`)
	if output := r.run(0, "plan", "-detailed-exitcode"); strings.Contains(output, "Check block assertion failed") {
		t.Errorf("the check fails although nobody is in the way:\n%s", output)
	}

	tx, err := db.Owner.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	var pid int
	if err := tx.QueryRow(t.Context(), `SELECT pg_backend_pid() FROM users LIMIT 1`).Scan(&pid); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("pid %d, user %s, idle in transaction, open for", pid, db.OwnerRole)
	eventually(t, "the transaction counts as long", func() bool {
		output := r.run(0, "plan", "-detailed-exitcode")
		return strings.Contains(output, "Check block assertion failed") && phrase(want).MatchString(output)
	})
	r.write("stage.tf", strings.Replace(expandName, "table = \"users\"", `table = "users"
  lifecycle {
    precondition {
      condition     = data.postgres_table_preflight.users.ready
      error_message = join("\n", data.postgres_table_preflight.users.blockers)
    }
  }`, 1))
	if output := r.run(1, "plan"); !strings.Contains(output, "Resource precondition failed") || !phrase(want).MatchString(output) {
		t.Errorf("the plan is not refused for %q:\n%s", want, output)
	}
}

// TestTablePreflightWithoutDatabase plans before the server is there.
func TestTablePreflightWithoutDatabase(t *testing.T) {
	t.Parallel()
	r := newCLIRun(t, pgtest.NewDatabase(t), preflightOfUsers+`
output "known" {
  value = [data.postgres_table_preflight.users.ready, length(data.postgres_table_preflight.users.columns), data.postgres_table_preflight.users.summary]
}
`)
	r.write("terraform.tf", requiredProviders+"provider \"postgres\" {\n  connection_string = \"postgres://nobody@127.0.0.1:1/nothing?sslmode=disable\"\n}\n")
	output := strings.Join(strings.Fields(r.run(0, "plan")), " ")
	for _, want := range []string{
		"The plan was made without the database", `+ false, + 0, + "The state of public.users is not known: the database was not asked.",`,
	} {
		if !strings.Contains(output, want) {
			t.Errorf("the plan lacks %q:\n%s", want, output)
		}
	}
}
