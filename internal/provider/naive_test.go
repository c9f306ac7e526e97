package provider_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// naiveForms are columns of a table of the name of the form, each of which would block it, by what the error must say.
var naiveForms = map[string]struct{ column, lock, want string }{
	"volatile":    {`type = "uuid", default = "gen_random_uuid()"`, "rewrites the table", "Default of column public.volatile.x is volatile"},
	"random":      {`type = "numeric(9,4)", default = "random()", not_null = true`, "rewrites the table", "Default of column public.random.x is volatile"},
	"serial":      {`type = "bigserial"`, "rewrites the table", "more than a type"},
	"identity":    {`type = "int GENERATED ALWAYS AS IDENTITY"`, "rewrites the table", "more than a type"},
	"stored":      {`type = "text GENERATED ALWAYS AS (upper(name)) STORED"`, "rewrites the table", "more than a type"},
	"unique_text": {`type = "text UNIQUE"`, "builds an index", "more than a type"},
	"primary":     {`type = "int PRIMARY KEY"`, "builds an index", "more than a type"},
	"reference":   {`type = "int REFERENCES parent (id)"`, "SHARE ROW EXCLUSIVE", "more than a type"},
	"checked":     {`type = "int CHECK (x > 0)"`, "scans the table", "more than a type"},
	"required":    {`type = "text NOT NULL"`, "checks every row", "more than a type"},
	"fallback":    {`type = "text DEFAULT 'it' NOT NULL"`, "for a moment", "more than a type"},
	"collated":    {`type = "text COLLATE \"C\""`, "for a moment", "more than a type"},
	"domain":      {`type = "positive"`, "rewrites the table", "which has a constraint or a default"},
	"no_default":  {`type = "text", not_null = true`, "checks them all", "Column public.no_default.x is NOT NULL without a default"},
	"wider":       {`type = "bigint"`, "rewrites the table", "Column public.wider.x cannot change its type in place"},
	"not_null":    {`type = "int", default = "7", not_null = true`, "scans the table", "Column public.not_null.x cannot become NOT NULL in place"},
}

// expandForm is the expand of a form's table, as somebody writes it who does not know better.
func expandForm(form, column string) string {
	return fmt.Sprintf("resource \"postgres_column_expand\" %q {\n  table   = %q\n  columns = { x = { %s } }\n}\n", form, form, column)
}

// planErrors returns the errors of a plan that must be refused, by their resource.
func planErrors(t *testing.T, r *cliRun) map[string][]diagnostic {
	t.Helper()
	result, err := r.Run(t.Context(), "plan", "-json")
	if err != nil || result.ExitCode != 1 {
		t.Fatalf("plan ended with %d, %v:\n%s", result.ExitCode, err, result.Stdout)
	}
	all := make(map[string][]diagnostic)
	for lines := bufio.NewScanner(strings.NewReader(result.Stdout)); lines.Scan(); {
		var line struct {
			Diagnostic struct {
				diagnostic
				Address string
			}
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		if d := line.Diagnostic; d.Severity == "error" {
			all[d.Address] = append(all[d.Address], d.diagnostic)
		}
	}
	return all
}

// advice is what an error tells to do.
type advice struct {
	before, hcl, after string
}

var statement = regexp.MustCompile(`^  (CREATE|ALTER) .*;$`)

// readAdvice takes the configuration and the SQL out of an error.
func readAdvice(detail string) (a advice) {
	inBlock := false
	for line := range strings.Lines(detail) {
		if text := strings.TrimSuffix(line, "\n"); strings.HasPrefix(text, "  resource ") || strings.HasPrefix(text, "  import ") {
			inBlock = true
		} else if statement.MatchString(text) {
			if a.hcl == "" {
				a.before += text + "\n"
			} else {
				a.after += text + "\n"
			}
		}
		if inBlock {
			a.hcl += strings.TrimPrefix(line, "  ")
		}
		if line == "  }\n" || line == "  }" {
			inBlock = false
			a.hcl = strings.TrimSuffix(a.hcl, "\n") + "\n"
		}
	}
	return a
}

// TestWhatARefusalTellsToDoWorks plans all naive forms at once, and then does what the errors say.
func TestWhatARefusalTellsToDoWorks(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	db.Exec(t, `CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE TABLE parent (id int PRIMARY KEY);`)
	var naive, existing strings.Builder
	for form, c := range naiveForms {
		db.Exec(t, fmt.Sprintf(`CREATE TABLE "%[1]s" (name text); INSERT INTO "%[1]s" SELECT 'a' || i FROM generate_series(1, 300) AS i; ANALYZE "%[1]s"`, form))
		naive.WriteString(expandForm(form, c.column))
	}
	existing.WriteString(expandForm("wider", `type = "int"`))
	existing.WriteString(expandForm("not_null", `type = "int", default = "7"`))
	r := newCLIRun(t, db, existing.String())
	r.apply()
	filenodes := func() string {
		return pgtest.QueryRow[string](t, db, `SELECT string_agg(relname || relfilenode, ',' ORDER BY relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'`)
	}
	before := filenodes()

	r.write("main.tf", naive.String())
	errors := planErrors(t, r)
	var staged, sqlBefore, sqlAfter strings.Builder
	for form, c := range naiveForms {
		found := errors["postgres_column_expand."+form]
		if len(found) != 1 {
			t.Errorf("%s: %d errors, want one: %v", form, len(found), found)
			continue
		}
		text := found[0].Summary + "\n" + found[0].Detail
		for _, want := range []string{c.want, c.lock, "ACCESS EXCLUSIVE", "Table public." + form + " has ~300 rows (", "KiB)"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: the error lacks %q:\n%s", form, want, text)
			}
		}
		a := readAdvice(found[0].Detail)
		if a.hcl == "" {
			t.Errorf("%s: the error has no configuration:\n%s", form, text)
		}
		staged.WriteString(a.hcl)
		sqlBefore.WriteString(a.before)
		sqlAfter.WriteString(a.after)
	}
	if t.Failed() {
		t.FailNow()
	}

	// The configuration is as terraform fmt would write it.
	r.write("main.tf", existing.String())
	r.write("staged.tf", staged.String())
	r.run(0, "fmt", "-check", "-diff", "staged.tf")
	run := func(sql string) {
		for statement := range strings.Lines(sql) {
			db.Exec(t, statement) // each in its own transaction
		}
	}
	run(sqlBefore.String())
	r.apply()
	db.Exec(t, `UPDATE no_default SET x = name; UPDATE required SET x = name; UPDATE "primary" SET x = substr(name, 2)::int`)
	run(sqlAfter.String())
	if after := filenodes(); after != before {
		t.Errorf("a table was rewritten: %s, before %s", after, before)
	}
	invalid := pgtest.QueryRow[int](t, db, `SELECT count(*) FROM pg_constraint WHERE NOT convalidated`)
	if invalid != 0 {
		t.Errorf("%d constraints are not valid", invalid)
	}
	for _, form := range []string{"no_default", "required", "serial", "identity", "random", "primary", "not_null"} {
		if !pgtest.QueryRow[bool](t, db, `SELECT attnotnull FROM pg_attribute WHERE attrelid = to_regclass(format('%I', $1::text)) AND attname = 'x'`, form) {
			t.Errorf("column x of %s is nullable", form)
		}
	}
	if wrong := pgtest.QueryRow[int](t, db, `SELECT count(*) FROM stored WHERE x IS DISTINCT FROM upper(name)`); wrong != 0 {
		t.Errorf("%d rows of stored are wrong", wrong)
	}

	// What was refused before finds it done.
	r.write("main.tf", strings.ReplaceAll(existing.String(), `default = "7"`, `default = "7", not_null = true`))
	r.run(0, "apply", "-auto-approve", "-target=postgres_column_expand.not_null")
}

// TestAllowedRewritesInAPlan goes through a volatile default, a domain and a type, as a policy and a reviewer see them.
func TestAllowedRewritesInAPlan(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	db.Exec(t, `CREATE DOMAIN positive AS int CHECK (VALUE > 0)`)
	createUsers(t, db, 3000)
	db.Exec(t, `ANALYZE users`)
	config := func(columns, more string) string {
		return fmt.Sprintf("resource \"postgres_column_expand\" \"x\" {\n  table   = \"users\"\n  columns = { %s }\n  %s\n}\n", columns, more)
	}
	const allow = `allow = ["table_rewrite"]`
	r := newCLIRun(t, db, config(`token = { type = "uuid", default = "gen_random_uuid()" }, score = { type = "positive" }, n = { type = "int" }`, allow))
	expectRewrites := func(columns ...string) {
		t.Helper()
		expectWarning(t, planWarnings(t, r), "rewrites the table under an ACCESS EXCLUSIVE lock", "~3,000 rows (", "maintenance window")
		result, plan, err := r.Plan(t.Context())
		if err != nil || plan == nil {
			t.Fatalf("plan: %v\n%s", err, result.Stderr)
		}
		if got := rewritten(t, plan); !slices.Equal(got, columns) {
			t.Errorf("the plan rewrites for %q, want %q", got, columns)
		}
		r.apply()
	}
	expectRewrites("score", "token")

	r.write("main.tf", config(`token = { type = "uuid", default = "gen_random_uuid()" }, score = { type = "positive" }, n = { type = "bigint" }`, allow))
	expectRewrites("n")
	r.write("main.tf", config(`token = { type = "uuid", default = "gen_random_uuid()" }, score = { type = "positive" }, n = { type = "numeric" }`, ""))
	r.run(1, "plan")
	// Nothing needs it any more.
	r.write("main.tf", config(`token = { type = "uuid", default = "gen_random_uuid()" }, score = { type = "positive" }, n = { type = "int8" }, m = { type = "int" }`, allow))
	expectWarning(t, planWarnings(t, r), `does not need allow = ["table_rewrite"]`)
	r.write("main.tf", config(`token = { type = "uuid", default = "gen_random_uuid()" }, score = { type = "positive" }, n = { type = "int8" }, m = { type = "int" }`, ""))
	r.apply()

	r.write("main.tf", config(`n = { type = "int" }`, `allow = ["everything"]`))
	if output := r.run(1, "validate"); !phrase("table_rewrite", "everything").MatchString(output) {
		t.Errorf("validate says %s", output)
	}
}

var columnOfStatement = regexp.MustCompile(`(?:ADD|ALTER) COLUMN "(\w+)"`)

// rewritten returns the columns for which the plan shows a statement that rewrites, if it has the hazard as well.
func rewritten(t *testing.T, plan *tfjson.Plan) (columns []string) {
	t.Helper()
	document, err := json.Marshal(plan.ResourceChanges[0].Change.After)
	if err != nil {
		t.Fatal(err)
	}
	var after struct {
		Statements []struct{ SQL, Lock, Effect string }
		Hazards    []struct{ Type, Message string }
	}
	if err := json.Unmarshal(document, &after); err != nil {
		t.Fatal(err)
	}
	hazard := false
	for _, h := range after.Hazards {
		hazard = hazard || h.Type == "table_rewrite" && strings.Contains(h.Message, "reads and writes wait for the whole rewrite")
	}
	for _, s := range after.Statements {
		if s.Effect == "rewrites" && s.Lock == "ACCESS EXCLUSIVE" && hazard {
			columns = append(columns, columnOfStatement.FindStringSubmatch(s.SQL)[1])
		}
	}
	return columns
}

// TestInterruptedRewriteIsDoneByTheNextApply interrupts the CLI while the server writes the table anew.
func TestInterruptedRewriteIsDoneByTheNextApply(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 100)
	db.Exec(t, `
		CREATE FUNCTION slow() RETURNS int LANGUAGE plpgsql VOLATILE AS $$
		BEGIN
		  PERFORM pg_advisory_xact_lock(4711);
		  RETURN 1;
		END $$`)
	before := definition(t, db, "users")
	held, err := db.Super.Begin(t.Context())
	if err == nil {
		_, err = held.Exec(t.Context(), `SELECT pg_advisory_xact_lock(4711)`)
	}
	if err != nil {
		t.Fatal(err)
	}
	r := newCLIRun(t, db, `
resource "postgres_column_expand" "x" {
  table   = "users"
  columns = { x = { type = "int", default = "slow()" } }
  allow   = ["table_rewrite"]
}
`)
	p := r.start("apply", "-auto-approve")
	eventually(t, "the rewrite waits in its middle", func() bool {
		return pgtest.QueryRow[bool](t, db, `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`)
	})
	if err := p.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	result, err := p.Wait()
	if err != nil || result.ExitCode == 0 || !phrase("Expand of public.users was interrupted").MatchString(result.Stderr) {
		t.Errorf("apply ended with %d, %v:\n%s%s", result.ExitCode, err, result.Stdout, result.Stderr)
	}
	if err := held.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := definition(t, db, "users"); after != before {
		t.Errorf("the table is\n%s\nwant\n%s", after, before)
	}
	if state := r.run(0, "state", "list"); strings.Contains(state, "postgres_column_expand") {
		t.Errorf("the state has the expand, which would be tainted:\n%s", state)
	}
	r.apply()
	if n := pgtest.QueryRow[int](t, db, `SELECT count(*) FROM users WHERE x = 1`); n != 100 {
		t.Errorf("%d rows have the default, want 100", n)
	}
}
