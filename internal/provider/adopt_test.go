package provider_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

func TestImportOfWhatTheLedgerDoesNotKnow(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 5)
	p := newProtocol(t, db.ConnString())
	for _, typeName := range []string{"postgres_column_sync", "postgres_batched_backfill", "postgres_column_contract"} {
		expectAll(t, p.refused(typeName, "public.users/visits"), "The ledger knows no "+typeName+" public.users/visits", "It knows none of this type")
	}
	r := newCLIRun(t, db, expandName+backfillName)
	r.apply()
	expectAll(t, p.refused("postgres_batched_backfill", "public.users/visits"), "Of this type it knows:\n\n  - "+nameID)
	r.write("main.tf", expandName)
	r.apply()
	expectAll(t, p.refused("postgres_batched_backfill", nameID), "not what was destroyed since", "It knows none of this type")
	expectAll(t, p.refused("postgres_batched_backfill", "users"), "Import identifier is malformed", "schema.table/column,column")
	nowhere := newProtocol(t, "postgres://nobody@127.0.0.1:1/none?sslmode=disable")
	expectAll(t, nowhere.refused("postgres_column_expand", nameID), "The database cannot be reached", "Import of "+nameID+" needs it")
	if state, _ := p.imported("postgres_column_expand", "public.users/visits"); p.text(state, p.resourceType("postgres_column_expand"), "id") != "public.users/visits" {
		t.Error("a column that nobody has expanded is not imported")
	}
}

// loseState takes the state away, as a bucket that is lost does.
func (r *cliRun) loseState() {
	r.t.Helper()
	if err := r.Remove("terraform.tfstate"); err != nil {
		r.t.Fatal(err)
	}
}

func importBlock(typeName, name, id string) string {
	return fmt.Sprintf("import {\n  to = %s.%s\n  id = %q\n}\n", typeName, name, id)
}

// adoptAll loses the state and the configuration, and takes both from the database. The order of generated resources is that of
// their names, so it does not matter here.
func (r *cliRun) adoptAll(ids map[string]string) (generated string) {
	r.t.Helper()
	r.loseState()
	var blocks strings.Builder
	for typeName, id := range ids {
		blocks.WriteString(importBlock(typeName, "adopted", id))
	}
	r.write("main.tf", blocks.String())
	output := r.run(0, "plan", "-generate-config-out=generated.tf", "-out=plan")
	want := fmt.Sprintf("Plan: %d to import, 0 to add, 0 to change, 0 to destroy.", len(ids))
	if !strings.Contains(output, want) {
		r.t.Errorf("%q is missing in:\n%s", want, output)
	}
	r.run(0, "apply", "plan")
	r.run(0, "plan", "-detailed-exitcode")
	written, err := os.ReadFile(filepath.Join(r.Dir, "generated.tf"))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(written)
}

// A whole change comes back from the ledger, configuration included, without anything being done: while it is under way, and
// after its end, when the contract has retired the others.
func TestLostStateAndConfigurationComeBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config string
		types  []string
		want   []string
	}{
		"under way": {
			expandForce + syncName + backfillWith(`fire_triggers = null`),
			[]string{"postgres_column_expand", "postgres_column_sync", "postgres_batched_backfill"},
			[]string{`split_part(full_name, ' ', 1)`, `force_destroy = true`, `"keep_both"`},
		},
		"finished": {
			allStages,
			[]string{"postgres_column_expand", "postgres_column_sync", "postgres_batched_backfill", "postgres_column_contract"},
			[]string{`"quarantine"`, `["full_name"]`, `"text"`},
		},
		"dropped": {
			expandName + backfillName + contractBy("mode = \"drop\"\nwriters_migrated = true\ndrops = [\"index public.users_full_name\"]\nignore = [\"nightly\"]"),
			[]string{"postgres_column_expand", "postgres_batched_backfill", "postgres_column_contract"},
			[]string{`"drop"`, `["index public.users_full_name"]`, `["nightly"]`, `"varchar(200)"`},
		},
		"columns that came and went": {
			expandName + strings.Replace(strings.Replace(contractName, "full_name", "last_name", 1), "postgres_batched_backfill", "postgres_column_expand", 1),
			[]string{"postgres_column_expand", "postgres_column_contract"},
			[]string{`"varchar(200)"`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t)
			createUsers(t, db, 50)
			db.Exec(t, `CREATE INDEX users_full_name ON users (full_name)`)
			r := newCLIRun(t, db, expandName)
			if strings.HasPrefix(c.config, expandName) { // A contract takes no columns that are only planned.
				r.apply()
			}
			r.write("main.tf", c.config)
			r.apply()
			ids := make(map[string]string)
			for _, typeName := range c.types {
				ids[typeName] = pgtest.QueryRow[string](t, db, `SELECT key FROM terraform_postgres.stage WHERE 'postgres_' || kind = '`+typeName+`'`)
			}
			before := definition(t, db, "users")
			expectAll(t, r.adoptAll(ids), c.want...)
			if after := definition(t, db, "users"); after != before {
				t.Errorf("the table after the import is\n%s\nwant\n%s", after, before)
			}
		})
	}
}

// The configuration that is still there fits an import as it is, whatever it says.
func TestImportFitsTheConfiguration(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 50)
	config := expandName + backfillName + contractBy("writers_migrated = true\nquiet_for = \"30m\"\nignore = [\"nightly\"]")
	r := newCLIRun(t, db, config)
	r.apply()
	r.loseState()
	for _, typeName := range []string{"postgres_column_expand", "postgres_batched_backfill", "postgres_column_contract"} {
		r.run(0, "import", typeName+".name", identities[typeName])
	}
	r.run(0, "plan", "-detailed-exitcode")
}

// Columns that were added to an expand later come along, although its identity does not name them.
func TestImportOfAnExpandThatHasGrown(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 5)
	r := newCLIRun(t, db, expandName)
	r.apply()
	grown := strings.Replace(expandName, "columns = {", "columns = {\n    locale = { type = \"text\", default = \"'en'\", not_null = true }", 1)
	r.write("main.tf", grown)
	r.apply()
	r.loseState()
	r.run(0, "import", "postgres_column_expand.name", nameID)
	r.run(0, "plan", "-detailed-exitcode")
}

// An import of a backfill that was interrupted shows that it runs, and the next apply goes on.
func TestImportOfABackfillThatIsNotDone(t *testing.T) {
	t.Parallel()
	db, r := interrupted(t, 6000)
	r.loseState()
	r.write("main.tf", expandName+backfillName)
	r.run(0, "import", "postgres_column_expand.name", nameID)
	r.run(0, "import", "postgres_batched_backfill.name", nameID)
	before := rowsUpdated(t, db)
	expectAll(t, r.run(2, "plan", "-detailed-exitcode"), `~ status       = "running" -> "complete"`, "0 to add, 1 to change, 0 to destroy")
	if after := rowsUpdated(t, db); after != before {
		t.Errorf("the import or the plan has filled %d rows", after-before)
	}
	r.apply()
	expectEachOnce(t, db)
}

// The guide has a statement that writes an import block for everything that the ledger knows.
func TestGuideAdoptsAll(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile(filepath.Join("..", "..", "templates", "guides", "adopt.md.tmpl"))
	if err != nil {
		t.Fatal(err)
	}
	statement := regexp.MustCompile("(?s)```sql\n(SELECT format.*?);\n```").FindSubmatch(guide)
	if statement == nil {
		t.Fatal("the guide has no such statement")
	}
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 50)
	db.Exec(t, `CREATE TABLE "Odd ""One""${x}" (id int)`)
	r := newCLIRun(t, db, allStages+`
resource "postgres_column_expand" "odd" {
  table   = "Odd \"One\"$${x}"
  columns = { c = { type = "int" } }
}
`)
	r.apply()
	r.loseState()
	r.write("main.tf", pgtest.QueryRow[string](t, db, fmt.Sprintf(`SELECT string_agg(block, E'\n') FROM (%s) AS imports(block)`, statement[1])))
	expectAll(t, r.run(0, "plan", "-generate-config-out=generated.tf"), "Plan: 5 to import, 0 to add, 0 to change, 0 to destroy.")
}

// Without an import, a create takes over what the ledger has.
func TestCreateTakesOverWhatTheLedgerHas(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 50)
	countUpdates(t, db)
	r := newCLIRun(t, db, expandForce+syncName+backfillSynced)
	r.apply()
	before := definition(t, db, "users")
	r.loseState()
	r.apply()
	if after := definition(t, db, "users"); after != before {
		t.Errorf("the table after the second create is\n%s\nwant\n%s", after, before)
	}
	expectEachOnce(t, db)
}
