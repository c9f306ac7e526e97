package provider_test

import (
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// keepNames keeps both shapes equal, and keptBackfill fills the rows that were there before.
const keepNames = `
resource "postgres_column_sync" "name" {
  table = postgres_column_expand.name.table
  forward = {
    first_name = "split_part(full_name, ' ', 1)"
    last_name  = "substr(full_name, strpos(full_name, ' ') + 1)"
  }
  reverse = { full_name = "concat_ws(' ', first_name, last_name)" }
}
resource "postgres_batched_backfill" "name" {
  table = postgres_column_sync.name.table
  set   = postgres_column_sync.name.forward
}
`

// contractBy is a contract with further attributes.
func contractBy(attributes string) string {
	return "resource \"postgres_column_contract\" \"name\" {\n  table = postgres_batched_backfill.name.table\n  columns = [\"full_name\"]\n" + attributes + "\n}\n"
}

func contractState(attribute string, want knownvalue.Check) statecheck.StateCheck {
	return statecheck.ExpectKnownValue("postgres_column_contract.name", tfjsonpath.New(attribute), want)
}

// A contract without the user's word goes by what the sync has noted.
func TestContractGoesByTheSync(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 100)
	config := expandName + keepNames
	olden := `UPDATE terraform_postgres.stage SET updated_at = updated_at - interval '2 days'`
	resource.UnitTest(t, resource.TestCase{
		ProtoV6ProviderFactories: factories,
		Steps: []resource.TestStep{
			{Config: providerBlock(db) + config, ConfigPlanChecks: emptyPlan},
			applyAfter(t, db, `SELECT 1`, config+contractBy(""), "Writers of public.users (full_name) were watched for", "of 24h0m0s only"),
			applyAfter(t, db, olden+`; UPDATE users SET full_name = 'Old Style' WHERE id = 1`, config+contractBy(""),
				"Columns of public.users (full_name) are still written by 1 service", `ignore = ["`+db.OwnerRole+`"]`),
			{
				Config: providerBlock(db) + config + contractBy(`ignore = ["`+db.OwnerRole+`"]`), ConfigPlanChecks: emptyPlan,
				ConfigStateChecks: []statecheck.StateCheck{contractState("quiet_for", knownvalue.StringExact("24h")), contractState("archive_table", knownvalue.Null())},
			},
			{ // While the column is away, its sync is retired, and shows no drift.
				PreConfig: func() { db.Exec(t, `INSERT INTO users (first_name, last_name) VALUES ('Written', 'Meanwhile')`) },
				Config:    providerBlock(db) + config,
			},
		},
	})
	// Everything is destroyed. The row of meanwhile has its full name, so that nothing is NULL.
	if got := columnNames(t, db, "users"); got != "id,full_name,email,visits" {
		t.Errorf("columns = %s", got)
	}
	if got := pgtest.QueryRow[string](t, db, `SELECT full_name FROM users ORDER BY id DESC LIMIT 1`); got != "Written Meanwhile" {
		t.Errorf("full name = %q", got)
	}
	if !pgtest.QueryRow[bool](t, db, `SELECT attnotnull FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname = 'full_name'`) {
		t.Error("full_name is not NOT NULL again")
	}
}

func TestDropIsUndone(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 200)
	db.Exec(t, `UPDATE users SET full_name = replace(full_name, ' ', '   ') WHERE id % 20 = 0`)
	db.Exec(t, `CREATE INDEX users_full_name ON users (full_name)`)
	before := pgtest.QueryRow[string](t, db, `SELECT string_agg(full_name, ',' ORDER BY id) FROM users`)
	config := expandName + strings.Replace(keepNames, "substr(full_name, strpos(full_name, ' ') + 1)", "ltrim(substr(full_name, strpos(full_name, ' ') + 1))", 1)
	drop := contractBy(`mode = "drop"
		writers_migrated = true
		drops = ["index public.users_full_name"]`)
	resource.UnitTest(t, resource.TestCase{
		ProtoV6ProviderFactories: factories,
		Steps: []resource.TestStep{
			{Config: providerBlock(db) + config},
			{
				Config: providerBlock(db) + config + drop,
				ConfigPlanChecks: resource.ConfigPlanChecks{
					PreApply: []plancheck.PlanCheck{
						plancheck.ExpectUnknownValue("postgres_column_contract.name", tfjsonpath.New("archive_rows")),
						plancheck.ExpectKnownValue("postgres_column_contract.name", tfjsonpath.New("statements").AtSliceIndex(3).AtMapKey("effect"), knownvalue.StringExact("batched copy")),
					},
					PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
				},
				ConfigStateChecks: []statecheck.StateCheck{contractState("archive_rows", knownvalue.Int64Exact(10))},
				Check:             checkColumns(t, db, "users", "id,email,visits,first_name,last_name"),
			},
			{
				ResourceName: "postgres_column_contract.name", ImportState: true, ImportStateId: "public.users/full_name", ImportStateVerify: true,
			},
			{
				Config: providerBlock(db) + config, ConfigPlanChecks: emptyPlan,
				Check: checkColumns(t, db, "users", "id,email,visits,first_name,last_name,full_name"),
			},
		},
	})
	if after := pgtest.QueryRow[string](t, db, `SELECT string_agg(full_name, ',' ORDER BY id) FROM users`); after != before {
		t.Errorf("full names are\n%s\nwant\n%s", after, before)
	}
	if !strings.Contains(definition(t, db, "users"), "CREATE INDEX users_full_name ON public.users USING btree (full_name)") {
		t.Error("the index is not there again")
	}
}

// A contract whose first apply ended after the quarantine is gone on with, also when Terraform does not know of it.
func TestDropGoesOnFromAQuarantine(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 50)
	config := expandName + backfillName
	forget := "removed {\n  from = postgres_column_contract.name\n  lifecycle {\n    destroy = false\n  }\n}\n"
	drop := strings.Replace(contractName, "columns ", "mode = \"drop\"\ncolumns ", 1)
	resource.UnitTest(t, resource.TestCase{
		ProtoV6ProviderFactories: factories,
		Steps: []resource.TestStep{
			{Config: providerBlock(db) + config + contractName},
			{Config: providerBlock(db) + config + forget},
			{
				Config: providerBlock(db) + config + drop, ConfigPlanChecks: emptyPlan, Check: checkColumns(t, db, "users", "id,email,visits,first_name,last_name"),
				ConfigStateChecks: []statecheck.StateCheck{contractState("archive_rows", knownvalue.Int64Exact(50))},
			},
			{ // The archive is discarded in place.
				Config: providerBlock(db) + config + strings.Replace(drop, "mode ", "archive = false\nmode ", 1),
				ConfigPlanChecks: resource.ConfigPlanChecks{
					PreApply: []plancheck.PlanCheck{
						plancheck.ExpectResourceAction("postgres_column_contract.name", plancheck.ResourceActionUpdate),
						plancheck.ExpectKnownValue("postgres_column_contract.name", tfjsonpath.New("archive_rows"), knownvalue.Null()),
					},
					PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()},
				},
				ConfigStateChecks: []statecheck.StateCheck{contractState("archive_table", knownvalue.Null())},
			},
			{Config: providerBlock(db) + config + drop, ExpectError: phrase("Columns of public.users (full_name) were dropped without an archive")},
			{Config: providerBlock(db) + config + forget},
			forgetAll(db),
		},
	})
	if n := pgtest.QueryRow[int](t, db, `SELECT count(*) FROM pg_class WHERE relname LIKE 'archive%'`); n != 0 {
		t.Errorf("%d relations of the archive are left", n)
	}
}

// An undo that was interrupted stays in the state, so that the next destroy goes on with it.
func TestInterruptedUndoStaysInTheState(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 50)
	config := expandName + backfillName
	drop := strings.Replace(contractName, "columns ", "mode = \"drop\"\ncolumns ", 1)
	// A batch of the refill meets this trigger.
	failing := `
		CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$;
		CREATE TRIGGER fail BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION fail()`
	resource.UnitTest(t, resource.TestCase{
		ProtoV6ProviderFactories: factories,
		Steps: []resource.TestStep{
			{Config: providerBlock(db) + config + drop},
			applyAfter(t, db, failing, config, "not now", "It goes on when the contract is destroyed again"),
			{
				Config: providerBlock(db) + config + drop, PlanOnly: true, ExpectNonEmptyPlan: true,
				ConfigPlanChecks: resource.ConfigPlanChecks{PostApplyPostRefresh: []plancheck.PlanCheck{
					plancheck.ExpectResourceAction("postgres_column_contract.name", plancheck.ResourceActionUpdate),
				}},
			},
			applyAfter(t, db, `DROP FUNCTION fail() CASCADE`, config),
		},
	})
	if n := pgtest.QueryRow[int](t, db, `SELECT count(*) FROM users WHERE full_name LIKE 'First% Last%'`); n != 50 {
		t.Errorf("%d rows have their full name back, want 50", n)
	}
}
