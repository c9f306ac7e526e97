package provider_test

import (
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// definition describes a table as far as a column change could leave traces in it.
func definition(t *testing.T, db *pgtest.Database, table string) string {
	t.Helper()
	return strings.Join(append(
		pgtest.Query[string](t, db, `
			SELECT format('%s %s not null: %s default: %s', attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid))
			  FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
			 WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`, table),
		pgtest.Query[string](t, db, `
			SELECT pg_get_constraintdef(oid) || conname FROM pg_constraint WHERE conrelid = $1::regclass
			UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = $1::regclass
			UNION ALL SELECT tgname FROM pg_trigger WHERE tgrelid = $1::regclass ORDER BY 1`, table)...), "\n")
}

func columnNames(t *testing.T, db *pgtest.Database, table string) string {
	t.Helper()
	return strings.Join(pgtest.Query[string](t, db, `
		SELECT attname::text FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`, table), ",")
}

func checkColumns(t *testing.T, db *pgtest.Database, table, want string) resource.TestCheckFunc {
	return func(*terraform.State) error {
		t.Helper()
		if got := columnNames(t, db, table); got != want {
			t.Errorf("columns of %s = %s, want %s", table, got, want)
		}
		return nil
	}
}

var emptyPlan = resource.ConfigPlanChecks{PostApplyPostRefresh: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()}}

func TestSplitIsAppliedAndUndone(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 5000)
	before := definition(t, db, "users")
	resource.UnitTest(t, resource.TestCase{
		ProtoV6ProviderFactories: factories,
		Steps: []resource.TestStep{{
			Config: providerBlock(db) + expandName + backfillName + contractName,
			ConfigStateChecks: []statecheck.StateCheck{
				statecheck.ExpectKnownValue("postgres_batched_backfill.name", tfjsonpath.New("status"), knownvalue.StringExact("complete")),
				statecheck.ExpectKnownValue("postgres_batched_backfill.name", tfjsonpath.New("rows_updated"), knownvalue.Int64Exact(5000)),
			},
			Check:            checkColumns(t, db, "users", "id,full_name__quarantined,email,visits,first_name,last_name"),
			ConfigPlanChecks: emptyPlan,
		}},
	})
	if after := definition(t, db, "users"); after != before {
		t.Errorf("the table after the destroy is\n%s\nwant\n%s", after, before)
	}
}

func TestSplitInThreePullRequests(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 500)
	config := providerBlock(db) + expandName
	steps := []resource.TestStep{
		{Config: config, ConfigPlanChecks: emptyPlan, Check: checkColumns(t, db, "users", "id,full_name,email,visits,first_name,last_name")},
		{Config: config + backfillName, ConfigPlanChecks: emptyPlan},
		{Config: config + backfillName + contractName, ConfigPlanChecks: emptyPlan},
		{
			Config:           config + backfillName + strings.Replace(contractName, "columns ", "mode = \"drop\"\ncolumns ", 1),
			ConfigPlanChecks: emptyPlan,
			Check:            checkColumns(t, db, "users", "id,email,visits,first_name,last_name"),
		},
		{ // The undo adds the column again, and refills it from the archive.
			Config:           config + backfillName,
			ConfigPlanChecks: emptyPlan,
			Check:            checkColumns(t, db, "users", "id,email,visits,first_name,last_name,full_name"),
		},
	}
	resource.UnitTest(t, resource.TestCase{ProtoV6ProviderFactories: factories, Steps: append(steps, forgetAll(db))})
	missing := pgtest.QueryRow[int](t, db, `SELECT count(*) FROM users WHERE first_name IS NULL OR last_name IS NULL`)
	if missing != 0 {
		t.Errorf("%d rows have no new names", missing)
	}
	if wrong := pgtest.QueryRow[int](t, db, `SELECT count(*) FROM users WHERE full_name IS DISTINCT FROM first_name || ' ' || last_name`); wrong != 0 {
		t.Errorf("%d rows do not have their full name back", wrong)
	}
}

// forgetAll leaves the table as it is.
func forgetAll(db *pgtest.Database) resource.TestStep {
	var config strings.Builder
	for _, r := range []string{"postgres_column_expand.name", "postgres_batched_backfill.name"} {
		config.WriteString("removed {\n  from = " + r + "\n  lifecycle {\n    destroy = false\n  }\n}\n")
	}
	return resource.TestStep{Config: providerBlock(db) + config.String()}
}

func TestStatementsAreKnownAtPlan(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 1)
	known := func(address string, index int, sql string) plancheck.PlanCheck {
		return plancheck.ExpectKnownValue(address, tfjsonpath.New("statements").AtSliceIndex(index).AtMapKey("sql"), knownvalue.StringExact(sql))
	}
	hazards := func(address string, types ...ddl.HazardType) plancheck.PlanCheck {
		var checks []knownvalue.Check
		for _, hazard := range types {
			checks = append(checks, knownvalue.ObjectPartial(map[string]knownvalue.Check{"type": knownvalue.StringExact(string(hazard))}))
		}
		return plancheck.ExpectKnownValue(address, tfjsonpath.New("hazards"), knownvalue.ListExact(checks))
	}
	resource.UnitTest(t, resource.TestCase{
		ProtoV6ProviderFactories: factories,
		Steps: []resource.TestStep{{
			Config: providerBlock(db) + expandName + backfillName + contractName,
			ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
				known("postgres_column_expand.name", 0, "ALTER TABLE \"public\".\"users\"\n  ADD COLUMN \"first_name\" text"),
				known("postgres_column_expand.name", 1, "ALTER TABLE \"public\".\"users\"\n  ADD COLUMN \"last_name\" varchar(200)"),
				known("postgres_batched_backfill.name", 0, `UPDATE ONLY "public"."users" AS "users"
   SET "first_name" = coalesce("first_name", (split_part(full_name, ' ', 1))),
       "last_name" = coalesce("last_name", (substr(full_name, strpos(full_name, ' ') + 1)))
 WHERE "users".ctid >= $1::tid AND "users".ctid < $2::tid
   AND pg_catalog.hashtid("users".ctid) & 1023 < $3
   AND (("first_name" IS NULL AND (split_part(full_name, ' ', 1)) IS NOT NULL)
        OR ("last_name" IS NULL AND (substr(full_name, strpos(full_name, ' ') + 1)) IS NOT NULL))`),
				known("postgres_column_contract.name", 0, "ALTER TABLE \"public\".\"users\"\n  RENAME COLUMN \"full_name\" TO \"full_name__quarantined\""),
				known("postgres_column_contract.name", 1, "ALTER TABLE \"public\".\"users\"\n  ALTER COLUMN \"full_name__quarantined\" DROP NOT NULL"),
				hazards("postgres_column_expand.name", ddl.TakesAccessExclusiveLock),
				hazards("postgres_batched_backfill.name", ddl.UpdatesRows),
				hazards("postgres_column_contract.name", ddl.TakesAccessExclusiveLock, ddl.HidesColumns, ddl.SkipsGate),
			}},
		}},
	})
}

func TestImportBringsTheStagesBack(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 50)
	verify := func(address, id string) resource.TestStep {
		return resource.TestStep{ResourceName: address, ImportState: true, ImportStateId: id, ImportStateVerify: true}
	}
	resource.UnitTest(t, resource.TestCase{
		ProtoV6ProviderFactories: factories,
		Steps: []resource.TestStep{
			{Config: providerBlock(db) + expandName + backfillName + contractName},
			verify("postgres_column_expand.name", "public.users/last_name,first_name"),
			verify("postgres_batched_backfill.name", "public.users/first_name,last_name"),
			verify("postgres_column_contract.name", "public.users/full_name"),
		},
	})
}

func TestDriftIsSeenAndRepaired(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 50)
	config := providerBlock(db) + expandName + backfillName
	action := func(address string, want plancheck.ResourceActionType) resource.ConfigPlanChecks {
		return resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectResourceAction(address, want)}}
	}
	resource.UnitTest(t, resource.TestCase{
		ProtoV6ProviderFactories: factories,
		Steps: []resource.TestStep{
			{Config: config},
			{
				PreConfig:        func() { db.Exec(t, `ALTER TABLE users DROP COLUMN last_name`) },
				Config:           config,
				ConfigPlanChecks: action("postgres_column_expand.name", plancheck.ResourceActionUpdate),
				Check:            checkColumns(t, db, "users", "id,full_name,email,visits,first_name,last_name"),
			},
			{
				PreConfig: func() {
					db.Exec(t, `DROP TABLE users`)
					createUsers(t, db, 70)
				},
				Config:           config,
				ConfigPlanChecks: action("postgres_batched_backfill.name", plancheck.ResourceActionCreate),
				ConfigStateChecks: []statecheck.StateCheck{
					statecheck.ExpectKnownValue("postgres_batched_backfill.name", tfjsonpath.New("rows_updated"), knownvalue.Int64Exact(70)),
				},
			},
		},
	})
}
