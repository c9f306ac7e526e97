package provider_test

import (
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// alone is the contract without the backfill in the configuration.
var alone = strings.ReplaceAll(contractName, "postgres_batched_backfill.name.table", "postgres_column_expand.name.table")

// applyAfter is a step that applies a configuration after somebody did something to the database.
func applyAfter(t *testing.T, db *pgtest.Database, sql, config string, wantError ...string) resource.TestStep {
	t.Helper()
	step := resource.TestStep{Config: providerBlock(db) + config, PreConfig: func() { db.Exec(t, sql) }}
	if len(wantError) > 0 {
		step.ExpectError = phrase(wantError...)
	}
	return step
}

func TestContractNeedsTheBackfillToHoldStill(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 100)
	resource.UnitTest(t, resource.TestCase{
		ProtoV6ProviderFactories: factories,
		Steps: []resource.TestStep{
			{Config: providerBlock(db) + expandName + backfillName},
			applyAfter(t, db, `INSERT INTO users (full_name) VALUES ('Legacy Writer'), ('Another One')`, expandName+backfillName+contractName,
				"2 rows of public.users would need the backfill public.users/first_name,last_name again", "still writes only the old columns"),
			applyAfter(t, db, `DELETE FROM users WHERE first_name IS NULL`, expandName+backfillName+contractName),
		},
	})
}

func TestContractWaitsForTheBackfillToComplete(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 100)
	interrupted := `UPDATE terraform_postgres.stage SET status = 'running' WHERE kind = 'batched_backfill'`
	forget := "removed {\n  from = postgres_batched_backfill.name\n  lifecycle {\n    destroy = false\n  }\n}\n"
	resource.UnitTest(t, resource.TestCase{
		ProtoV6ProviderFactories: factories,
		Steps: []resource.TestStep{
			{Config: providerBlock(db) + expandName + backfillName},
			applyAfter(t, db, interrupted, expandName+forget+alone,
				"Backfill public.users/first_name,last_name still reads columns of public.users (full_name)", "It is running"),
			applyAfter(t, db, `UPDATE terraform_postgres.stage SET status = 'complete'`, expandName+alone),
		},
	})
}

func TestUndoOfAQuarantineWithRowsWrittenMeanwhile(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 10)
	resource.UnitTest(t, resource.TestCase{
		ProtoV6ProviderFactories: factories,
		Steps: []resource.TestStep{
			{Config: providerBlock(db) + expandName + backfillName + contractName},
			applyAfter(t, db, `INSERT INTO users (first_name, last_name) VALUES ('New', 'Service')`, expandName+backfillName),
			forgetAll(db),
		},
	})
	if n := pgtest.QueryRow[int](t, db, `SELECT count(*) FROM users WHERE full_name LIKE 'First% Last%'`); n != 10 {
		t.Errorf("%d rows have their full name back, want 10", n)
	}
	if pgtest.QueryRow[bool](t, db, `SELECT attnotnull FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname = 'full_name'`) {
		t.Error("full_name is NOT NULL although a row has none")
	}
}

func TestExpandIsNotUndoneWhileItHoldsTheOnlyCopy(t *testing.T) {
	t.Parallel()
	const forced = `
resource "postgres_column_expand" "name" {
  table         = "users"
  force_destroy = true
  columns = {
    first_name = { type = "text" }
    last_name  = { type = "varchar(200)" }
  }
}
`
	t.Run("of what a service wrote", func(t *testing.T) {
		db := pgtest.NewDatabase(t)
		createUsers(t, db, 10)
		resource.UnitTest(t, resource.TestCase{
			ProtoV6ProviderFactories: factories,
			Steps: []resource.TestStep{
				{Config: providerBlock(db) + expandName},
				applyAfter(t, db, `UPDATE users SET first_name = 'Ada' WHERE id = 3`, ``,
					"Column public.users.first_name holds the only copy of data", "force_destroy = true"),
				{Config: providerBlock(db) + forced},
			},
		})
	})
	t.Run("of what differs from the backfill", func(t *testing.T) {
		db := pgtest.NewDatabase(t)
		createUsers(t, db, 10)
		resource.UnitTest(t, resource.TestCase{
			ProtoV6ProviderFactories: factories,
			Steps: []resource.TestStep{
				{Config: providerBlock(db) + expandName + backfillName},
				applyAfter(t, db, `UPDATE users SET first_name = 'Ada' WHERE id = 3`, ``, "values that are not what the backfill computed"),
				applyAfter(t, db, `UPDATE users SET first_name = 'First3' WHERE id = 3`, ``),
			},
		})
		if got := columnNames(t, db, "users"); got != "id,full_name,email,visits" {
			t.Errorf("columns = %s", got)
		}
	})
	t.Run("of a column that was contracted", func(t *testing.T) {
		db := pgtest.NewDatabase(t)
		createUsers(t, db, 10)
		forget := "removed {\n  from = postgres_batched_backfill.name\n  lifecycle {\n    destroy = false\n  }\n}\n"
		resource.UnitTest(t, resource.TestCase{
			ProtoV6ProviderFactories: factories,
			Steps: []resource.TestStep{
				{Config: providerBlock(db) + expandName + backfillName + contractName},
				{Config: providerBlock(db) + forget + strings.ReplaceAll(alone, "postgres_column_expand.name.table", `"users"`), ExpectError: phrase("Column public.users.first_name holds the only copy of data",
					"Destroy that contract first")},
				{Config: providerBlock(db) + expandName + alone},
			},
		})
	})
}

func TestColumnsAreAddedAndRemovedInPlace(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 10)
	config := func(columns string) string { return providerBlock(db) + expandOf("users", columns) }
	resource.UnitTest(t, resource.TestCase{
		ProtoV6ProviderFactories: factories,
		Steps: []resource.TestStep{
			{Config: config(`a = { type = "int" }`), ConfigPlanChecks: emptyPlan},
			{
				Config: config("a = { type = \"int4\" }\n b = { type = \"text\", default = \"'x'\", not_null = true }"), ConfigPlanChecks: emptyPlan,
				Check: checkColumns(t, db, "users", "id,full_name,email,visits,a,b"),
			},
			{Config: config(`a = { type = "bigint" }`), ExpectError: phrase("Column public.users.a cannot change its type in place")},
			{
				Config: config(`a = { type = "int", default = "7" }`), ConfigPlanChecks: emptyPlan,
				Check: checkColumns(t, db, "users", "id,full_name,email,visits,a"),
			},
			{PreConfig: func() { db.Exec(t, `ALTER TABLE users ALTER a SET DEFAULT 8`) }, Config: config(`a = { type = "int", default = "7" }`), ConfigPlanChecks: emptyPlan},
		},
	})
}

func TestPlanShowsTheColumnThatGoes(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 10)
	r := newCLIRun(t, db, expandOf("users", "a = { type = \"int\" }\n b = { type = \"int\" }"))
	r.apply()
	r.write("main.tf", expandOf("users", `a = { type = "int" }`))
	expectAll(t, r.run(2, "plan", "-detailed-exitcode"), `DROP COLUMN "b"`, `"deletes_data"`)
	r.apply()
}

func TestTableThatWasRenamedIsNamed(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 10)
	resource.UnitTest(t, resource.TestCase{
		ProtoV6ProviderFactories: factories,
		Steps: []resource.TestStep{
			{Config: providerBlock(db) + expandName},
			applyAfter(t, db, `ALTER TABLE users RENAME TO people`, expandName, "Table public.users is now called public.people"),
			applyAfter(t, db, `ALTER TABLE people RENAME TO users`, expandName),
		},
	})
}

func TestMissingPrivilegesAreNamedWithTheGrant(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	owner := pg.Quote(db.OwnerRole)
	createUsers(t, db, 10)
	if _, err := db.Super.Exec(t.Context(), `
		CREATE ROLE "stranger `+db.Name+`" ADMIN `+owner+`;
		GRANT USAGE ON SCHEMA public TO "stranger `+db.Name+`";`); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := db.Super.Exec(t.Context(), `DROP OWNED BY "stranger `+db.Name+`"; DROP ROLE "stranger `+db.Name+`"`); err != nil {
			t.Log(err)
		}
	})
	as := strings.Replace(providerBlock(db), "{\n", "{\n  role = \"stranger "+db.Name+"\"\n", 1)
	plan := func(config string, want ...string) resource.TestStep {
		return resource.TestStep{Config: as + config, PlanOnly: true, ExpectError: phrase(want...)}
	}
	grant := func(sql string) func() {
		return func() {
			if _, err := db.Super.Exec(t.Context(), sql+` TO "stranger `+db.Name+`"`); err != nil {
				t.Error(err)
			}
		}
	}
	backfill := backfillOf("users", `email = "upper(full_name)"`)
	needsUpdate := plan(backfill, `lacks UPDATE on public.users`, `GRANT UPDATE ("email") ON "public"."users" TO "stranger`)
	needsUpdate.PreConfig = grant(`GRANT SELECT ON users`)
	resource.UnitTest(t, resource.TestCase{
		ProtoV6ProviderFactories: factories,
		Steps: []resource.TestStep{
			plan(expandName, "may not create the ledger's schema", "GRANT CREATE ON DATABASE"),
			{
				PreConfig: grant(`GRANT CREATE ON DATABASE ` + pg.Quote(db.Name)), Config: as + expandName, PlanOnly: true,
				ExpectError: phrase("does not own table public.users", "GRANT "+owner+` TO "stranger`),
			},
			plan(backfill, `lacks SELECT on public.users`, `GRANT SELECT ("full_name", "email") ON "public"."users" TO "stranger`),
			needsUpdate,
		},
	})
}
