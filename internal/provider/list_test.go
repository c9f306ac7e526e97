package provider_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// found is what a list block shows of a stage.
type found struct {
	name, identity string
	resource       *tfprotov6.DynamicValue
	diagnostics    string
}

// list runs a list block with these arguments. A limit of 0 is none.
func (p *protocol) list(typeName string, arguments map[string]string, withResource bool, limit int64) (all []found) {
	p.t.Helper()
	config := p.value(p.schemas.ListResourceSchemas[typeName].ValueType(), arguments)
	valid, err := p.server.ValidateListResourceConfig(p.t.Context(), &tfprotov6.ValidateListResourceConfigRequest{TypeName: typeName, Config: config})
	if err != nil || len(valid.Diagnostics) > 0 {
		p.t.Fatalf("list %s: %v, %s", typeName, err, say(valid.Diagnostics))
	}
	stream, err := p.server.ListResource(p.t.Context(), &tfprotov6.ListResourceRequest{
		TypeName: typeName, Config: config, IncludeResource: withResource, Limit: limit,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	for result := range stream.Results {
		f := found{name: result.DisplayName, resource: result.Resource, diagnostics: say(result.Diagnostics)}
		if result.Identity != nil {
			f.identity = p.text(result.Identity.IdentityData, identityType, "id")
		}
		all = append(all, f)
	}
	return all
}

// expectList compares the names and identities of what is found.
func expectList(t *testing.T, what string, got []found, want ...string) {
	t.Helper()
	var lines []string
	for _, f := range got {
		line := f.name + " = " + f.identity
		if f.diagnostics != "" {
			line = f.diagnostics
		}
		lines = append(lines, line)
	}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s: found\n%s\nwant\n%s", what, strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

func TestListFindsWhatTheLedgerKnows(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 50)
	db.Exec(t, `CREATE SCHEMA "Odd One"; CREATE TABLE "Odd One".users (id int)`)
	p := newProtocol(t, db.ConnString())
	for typeName := range identities {
		expectList(t, "before the first apply: "+typeName, p.list(typeName, nil, true, 0))
	}
	odd := `
resource "postgres_column_expand" "odd" {
  schema  = "Odd One"
  table   = "users"
  columns = { "B, c" = { type = "int" } }
}
`
	r := newCLIRun(t, db, allStages+odd)
	r.apply()
	const oddID = `"Odd One".users/"B, c"`
	oddLine, nameLine := `"Odd One".users ("B, c"): complete = `+oddID, "public.users (first_name, last_name): complete = "+nameID
	const retired = "public.users (first_name, last_name): retired = " + nameID
	expectList(t, "expands", p.list("postgres_column_expand", nil, false, 0), oddLine, nameLine)
	expectList(t, "expands of a schema", p.list("postgres_column_expand", map[string]string{"schema": "Odd One"}, false, 0), oddLine)
	expectList(t, "expands of a table", p.list("postgres_column_expand", map[string]string{"table": "users"}, false, 0), oddLine, nameLine)
	expectList(t, "expands of a table in a schema", p.list("postgres_column_expand", map[string]string{"schema": "public", "table": "users"}, false, 0), nameLine)
	expectList(t, "expands of no table", p.list("postgres_column_expand", map[string]string{"table": "orders"}, false, 0))
	expectList(t, "one expand", p.list("postgres_column_expand", nil, false, 1), oddLine)
	expectList(t, "syncs", p.list("postgres_column_sync", nil, false, 0), retired)
	expectList(t, "backfills", p.list("postgres_batched_backfill", nil, false, 0), retired)
	expectList(t, "contracts", p.list("postgres_column_contract", nil, false, 0), "public.users (full_name): complete = public.users/full_name")
}

// The resource of a result is what an import reads, from which Terraform generates a configuration.
func TestListIncludesWhatAnImportReads(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 50)
	newCLIRun(t, db, allStages).apply()
	p := newProtocol(t, db.ConnString())
	for typeName, id := range identities {
		for _, f := range p.list(typeName, nil, true, 0) {
			state, identity := p.imported(typeName, id)
			of := p.resourceType(typeName)
			listed, err := f.resource.Unmarshal(of)
			if err != nil {
				t.Fatal(err)
			}
			imported, err := state.Unmarshal(of)
			if err != nil {
				t.Fatal(err)
			}
			if !listed.Equal(imported) || f.identity != identity {
				t.Errorf("%s is listed as %s\n%s\nand imported as %s\n%s", typeName, f.identity, listed, identity, imported)
			}
		}
		if without := p.list(typeName, nil, false, 0); len(without) != 1 || without[0].resource != nil {
			t.Errorf("%s: %+v, want one without its resource", typeName, without)
		}
	}
}

func TestListLeavesOutWhatDoesNotStand(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 50)
	r := newCLIRun(t, db, expandForce+syncName+backfillSynced)
	r.apply()
	p := newProtocol(t, db.ConnString())
	db.Exec(t, `DROP TRIGGER zzz_sync_first_name_last_name ON users`)
	expectList(t, "a sync without its trigger", p.list("postgres_column_sync", nil, false, 0))
	r.write("main.tf", expandForce+syncName)
	r.apply()
	expectList(t, "a sync that was repaired", p.list("postgres_column_sync", nil, false, 0), "public.users (first_name, last_name): complete = "+nameID)
	expectList(t, "a backfill that was destroyed", p.list("postgres_batched_backfill", nil, false, 0))
	db.Exec(t, `ALTER TABLE users RENAME TO people`)
	renamed := p.list("postgres_column_expand", nil, false, 0)
	if len(renamed) != 1 || renamed[0].identity != "" {
		t.Fatalf("a table that was renamed: %+v, want a warning", renamed)
	}
	expectAll(t, renamed[0].diagnostics, "WARNING: postgres_column_expand "+nameID+" is not listed", "Table public.users is now called public.people")
}

func TestListOfABackfillThatIsNotDone(t *testing.T) {
	t.Parallel()
	db, _ := interrupted(t, 6000)
	p := newProtocol(t, db.ConnString())
	all := p.list("postgres_batched_backfill", nil, true, 0)
	expectList(t, "a backfill that was interrupted", all, "public.users (first_name, last_name): running = "+nameID)
	if status := p.text(all[0].resource, p.resourceType("postgres_batched_backfill"), "status"); status != "running" {
		t.Errorf("its status is %q", status)
	}
}

func TestListNeedsTheDatabase(t *testing.T) {
	t.Parallel()
	p := newProtocol(t, "postgres://nobody@127.0.0.1:1/none?sslmode=disable")
	all := p.list("postgres_column_expand", nil, false, 0)
	if len(all) != 1 {
		t.Fatalf("%+v, want an error", all)
	}
	expectAll(t, all[0].diagnostics, "ERROR: The database cannot be reached", "List of postgres_column_expand needs it")
}

// Only Terraform from 1.14 on can run them. Their arguments are tried without it.
func TestExamplesOfListsAreValid(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	p := newProtocol(t, db.ConnString())
	block := regexp.MustCompile(`(?s)^list "(\w+)" "\w+" \{\n  provider = postgres\n\n(?:  include_resource = true\n\n)?  config \{\n(.*?)  \}\n\}\n$`)
	argument := regexp.MustCompile(`(?m)^    (\w+) += "(\w+)"$`)
	for typeName := range identities {
		for _, file := range matching(t, "list-resources/"+typeName+"/list-resource*.tfquery.hcl") {
			match := block.FindStringSubmatch(read(t, file))
			if match == nil || match[1] != typeName {
				t.Errorf("%s is no list of %s:\n%s", file, typeName, read(t, file))
				continue
			}
			arguments := make(map[string]string)
			for _, a := range argument.FindAllStringSubmatch(match[2], -1) {
				arguments[a[1]] = a[2]
			}
			if lines := strings.Count(match[2], "\n"); lines != len(arguments) {
				t.Errorf("%s: %d arguments in %d lines", file, len(arguments), lines)
			}
			of := p.schemas.ListResourceSchemas[typeName].ValueType().(tftypes.Object)
			for name := range arguments {
				if _, known := of.AttributeTypes[name]; !known {
					t.Errorf("%s: there is no argument %s", file, name)
				}
			}
			expectList(t, file, p.list(typeName, arguments, false, 0))
		}
		if len(matching(t, "list-resources/"+typeName+"/list-resource.tfquery.hcl")) != 1 {
			t.Errorf("the list of %s has no example", typeName)
		}
	}
}

// TestQueryThroughTheCommand runs the examples, and adopts what they find.
func TestQueryThroughTheCommand(t *testing.T) {
	t.Parallel()
	p, err := buildPlugin()
	if err != nil {
		t.Fatal(err)
	}
	if !hasActions(p.cli) { // Lists came with them.
		t.Logf("%s has no lists; what they do is tested without it", p.cli)
		return
	}
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 50)
	r := newCLIRun(t, db, allStages)
	r.apply()
	r.loseState()
	if err := r.Remove("main.tf"); err != nil {
		t.Fatal(err)
	}
	for typeName := range identities {
		r.write(typeName+".tfquery.hcl", read(t, "list-resources/"+typeName+"/list-resource.tfquery.hcl"))
	}
	found := r.run(0, "query", "-generate-config-out=found.tf")
	for typeName, id := range identities {
		if !strings.Contains(found, "list."+typeName+".users") || !strings.Contains(found, "id="+id) {
			t.Errorf("no %s with id=%s was found:\n%s", typeName, id, found)
		}
	}
	expectAll(t, r.run(0, "apply", "-auto-approve"), "4 imported, 0 added, 0 changed, 0 destroyed")
	r.run(0, "plan", "-detailed-exitcode")
}
