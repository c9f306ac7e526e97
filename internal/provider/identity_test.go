package provider_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/tfcli"
)

var identityType = tftypes.Object{AttributeTypes: map[string]tftypes.Type{"id": tftypes.String}}

func (p *protocol) identity(id string) *tfprotov6.ResourceIdentityData {
	p.t.Helper()
	return &tfprotov6.ResourceIdentityData{IdentityData: p.value(identityType, map[string]string{"id": id})}
}

// text returns an attribute of an object, which must be a string. Null is "".
func (p *protocol) text(object *tfprotov6.DynamicValue, of tftypes.Type, name string) string {
	p.t.Helper()
	var attributes map[string]tftypes.Value
	var text *string
	value, err := object.Unmarshal(of)
	if err == nil {
		err = value.As(&attributes)
	}
	if err == nil {
		err = attributes[name].As(&text)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	if text == nil {
		return ""
	}
	return *text
}

func (p *protocol) resourceType(typeName string) tftypes.Type {
	return p.schemas.ResourceSchemas[typeName].ValueType()
}

// imported imports a stage as a Terraform does that gets an identity, and returns the state that it then reads, with its identity.
func (p *protocol) imported(typeName, id string) (*tfprotov6.DynamicValue, string) {
	p.t.Helper()
	result, err := p.server.ImportResourceState(p.t.Context(), &tfprotov6.ImportResourceStateRequest{TypeName: typeName, Identity: p.identity(id)})
	if err != nil || len(result.Diagnostics) > 0 {
		p.t.Fatalf("import %s %s: %v, %s", typeName, id, err, say(result.Diagnostics))
	}
	one := result.ImportedResources[0]
	asImported := p.text(one.Identity.IdentityData, identityType, "id")
	read := p.read(&tfprotov6.ReadResourceRequest{TypeName: typeName, CurrentState: one.State, CurrentIdentity: one.Identity, Private: one.Private})
	asRead := p.text(read.NewIdentity.IdentityData, identityType, "id")
	if asImported != asRead {
		p.t.Errorf("%s has the identity %s after the import and %s when it is read", typeName, asImported, asRead)
	}
	return read.NewState, asRead
}

func (p *protocol) read(req *tfprotov6.ReadResourceRequest) *tfprotov6.ReadResourceResponse {
	p.t.Helper()
	read, err := p.server.ReadResource(p.t.Context(), req)
	if err != nil || len(read.Diagnostics) > 0 {
		p.t.Fatalf("read %s: %v, %s", req.TypeName, err, say(read.Diagnostics))
	}
	return read
}

// refused imports by identity, which must fail, and returns why.
func (p *protocol) refused(typeName, id string) string {
	p.t.Helper()
	result, err := p.server.ImportResourceState(p.t.Context(), &tfprotov6.ImportResourceStateRequest{TypeName: typeName, Identity: p.identity(id)})
	if err != nil {
		p.t.Fatal(err)
	}
	if len(result.ImportedResources) > 0 || len(result.Diagnostics) == 0 {
		p.t.Fatalf("%s %s was imported", typeName, id)
	}
	return say(result.Diagnostics)
}

func say(diagnostics []*tfprotov6.Diagnostic) string {
	var lines []string
	for _, d := range diagnostics {
		lines = append(lines, d.Severity.String()+": "+d.Summary+"\n"+d.Detail)
	}
	return strings.Join(lines, "\n")
}

func expectAll(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in:\n%s", part, text)
		}
	}
}

// identities are those of allStages.
var identities = map[string]string{
	"postgres_column_expand":    nameID,
	"postgres_column_sync":      nameID,
	"postgres_batched_backfill": nameID,
	"postgres_column_contract":  "public.users/full_name",
}

// allStages is a finished change, in which the contract has retired the others.
var allStages = expandForce + syncName + backfillSynced + strings.Replace(contractName, "columns ", "quiet_for = \"0s\"\ncolumns ", 1)

func TestImportByIdentity(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 50)
	newCLIRun(t, db, allStages).apply()
	p := newProtocol(t, db.ConnString())
	for typeName, id := range identities {
		state, identity := p.imported(typeName, id)
		if identity != id || p.text(state, p.resourceType(typeName), "id") != id {
			t.Errorf("%s has the identity %s, want %s", typeName, identity, id)
		}
		// A state of a Terraform before 1.12 has none.
		read := p.read(&tfprotov6.ReadResourceRequest{TypeName: typeName, CurrentState: state})
		if got := p.text(read.NewIdentity.IdentityData, identityType, "id"); got != id {
			t.Errorf("%s without an identity reads as %q, want %s", typeName, got, id)
		}
	}
	if _, identity := p.imported("postgres_column_expand", `"public"."users"/"last_name",first_name`); identity != nameID {
		t.Errorf("an identity that was written in another way is %s, want %s", identity, nameID)
	}
}

func TestReadOfAStageThatIsGoneKeepsItsIdentity(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 5)
	r := newCLIRun(t, db, expandName+backfillName)
	r.apply()
	p := newProtocol(t, db.ConnString())
	state, _ := p.imported("postgres_batched_backfill", nameID)
	db.Exec(t, `DROP TABLE users`)
	read := p.read(&tfprotov6.ReadResourceRequest{TypeName: "postgres_batched_backfill", CurrentState: state})
	of := p.resourceType("postgres_batched_backfill")
	if value, err := read.NewState.Unmarshal(of); err != nil || !value.IsNull() {
		t.Errorf("the backfill of a table that was dropped is still there: %v %v", value, err)
	}
	nowhere := newProtocol(t, "postgres://nobody@127.0.0.1:1/none?sslmode=disable")
	kept, err := nowhere.server.ReadResource(t.Context(), &tfprotov6.ReadResourceRequest{TypeName: "postgres_batched_backfill", CurrentState: state})
	if err != nil {
		t.Fatal(err)
	}
	expectAll(t, say(kept.Diagnostics), "WARNING: The plan was made without the database")
	if got := p.text(kept.NewIdentity.IdentityData, identityType, "id"); got != nameID {
		t.Errorf("without the database the identity is %q", got)
	}
}

func TestMovedStagesStayAsTheyAre(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 5)
	r := newCLIRun(t, db, expandName+backfillName)
	r.apply()
	moved := func(from, to string) string { return fmt.Sprintf("moved {\n  from = %s\n  to   = %s\n}\n", from, to) }
	expectMoved := func(config string, count int) {
		t.Helper()
		r.write("main.tf", config)
		output := r.run(0, "apply", "-auto-approve")
		expectAll(t, output, "0 added, 0 changed, 0 destroyed")
		if got := strings.Count(output, "has moved to"); got != count {
			t.Errorf("%d stages have moved, want %d:\n%s", got, count, output)
		}
		r.run(0, "plan", "-detailed-exitcode")
	}
	renamed := strings.NewReplacer(`" "name"`, `" "split"`, "expand.name.", "expand.split.").Replace(expandName + backfillName)
	expectMoved(renamed+moved("postgres_column_expand.name", "postgres_column_expand.split")+
		moved("postgres_batched_backfill.name", "postgres_batched_backfill.split"), 2)
	each := strings.NewReplacer(`"split" {`, "\"split\" {\n  for_each = toset([\"users\"])", "expand.split.", "expand.split[each.key].").Replace(renamed)
	expectMoved(each+moved("postgres_column_expand.split", `postgres_column_expand.split["users"]`)+
		moved("postgres_batched_backfill.split", `postgres_batched_backfill.split["users"]`), 2)
}

// A change of what needs no work in the database is an update, after which a Terraform without identities must get one as well.
func TestUpdateKeepsTheIdentity(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 5)
	stages := expandForce + syncName + backfillSynced + strings.Replace(contractName, "columns ", "quiet_for = \"0s\"\ncolumns ", 1)
	r := newCLIRun(t, db, stages)
	r.apply()
	head := regexp.MustCompile(`(?m)^resource .*\{$`)
	r.write("main.tf", head.ReplaceAllString(stages, "$0\n  timeouts = { delete = \"2h\" }"))
	expectAll(t, r.run(0, "apply", "-auto-approve"), "0 added, 4 changed, 0 destroyed")
	r.run(0, "plan", "-detailed-exitcode")
}

// The examples of both ways to import are about the same stage, which a Terraform that has no identities cannot try.
func TestExamplesOfImportsAgree(t *testing.T) {
	t.Parallel()
	byID := regexp.MustCompile(`(?m)^  id = (".*")$`)
	byIdentity := regexp.MustCompile(`(?m)^  identity = \{\n    id = (".*")\n  \}$`)
	target := regexp.MustCompile(`(?m)^  to = (\S+)$`)
	for typeName := range identities {
		id, identity := read(t, "resources/"+typeName+"/import-by-string-id.tf"), read(t, "resources/"+typeName+"/import-by-identity.tf")
		for what, pair := range map[string][2][]string{
			"target":   {target.FindStringSubmatch(id), target.FindStringSubmatch(identity)},
			"identity": {byID.FindStringSubmatch(id), byIdentity.FindStringSubmatch(identity)},
		} {
			if len(pair[0]) != 2 || len(pair[1]) != 2 || pair[0][1] != pair[1][1] {
				t.Errorf("%s: %s by id is %q, by identity %q", typeName, what, pair[0], pair[1])
			}
		}
	}
}

// Terraform and OpenTofu have identities since 1.12. An older one must work with a provider that has them, which all the other
// tests show.
func TestImportByIdentityThroughTheCommand(t *testing.T) {
	t.Parallel()
	p, err := buildPlugin()
	if err != nil {
		t.Fatal(err)
	}
	if !hasIdentities(p.cli) {
		t.Logf("%s has no identities; what they do is tested without it", p.cli)
		return
	}
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 50)
	r := newCLIRun(t, db, allStages)
	r.apply()
	r.loseState()
	config := allStages
	for typeName, id := range identities {
		config += fmt.Sprintf("import {\n  to = %s.name\n  identity = {\n    id = %q\n  }\n}\n", typeName, id)
	}
	r.write("main.tf", config)
	expectAll(t, r.run(0, "apply", "-auto-approve"), "4 imported, 0 added, 0 changed, 0 destroyed")
	r.run(0, "plan", "-detailed-exitcode")
}

func hasIdentities(cli tfcli.CLI) bool { return cli.AtLeast("1.12.0") }

// A state that an older provider has written lacks attributes that came later, and may have some that went.
func TestStateOfAnOlderProviderIsRead(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 5)
	newCLIRun(t, db, expandName).apply()
	p := newProtocol(t, db.ConnString())
	const typeName = "postgres_column_expand"
	upgraded, err := p.server.UpgradeResourceState(t.Context(), &tfprotov6.UpgradeResourceStateRequest{
		TypeName: typeName, Version: 0, RawState: &tfprotov6.RawState{JSON: fmt.Appendf(nil, `{
			"id": %q, "schema": "public", "table": "users", "gone": true,
			"columns": {"first_name": {"type": "text"}, "last_name": {"type": "varchar(200)"}}
		}`, nameID)},
	})
	if err != nil || len(upgraded.Diagnostics) > 0 {
		t.Fatalf("upgrade: %v, %s", err, say(upgraded.Diagnostics))
	}
	read := p.read(&tfprotov6.ReadResourceRequest{TypeName: typeName, CurrentState: upgraded.UpgradedState})
	if got := p.text(read.NewState, p.resourceType(typeName), "id"); got != nameID {
		t.Errorf("its id is %q", got)
	}
}

// change plans and applies as a Terraform does that has identities. Nil is what is not there.
func (p *protocol) change(typeName string, prior, config *tfprotov6.DynamicValue, identity *tfprotov6.ResourceIdentityData) *tfprotov6.ApplyResourceChangeResponse {
	p.t.Helper()
	planned, err := p.server.PlanResourceChange(p.t.Context(), &tfprotov6.PlanResourceChangeRequest{
		TypeName: typeName, PriorState: prior, ProposedNewState: config, Config: config, PriorIdentity: identity,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	expectNoError(p.t, planned.Diagnostics)
	applied, err := p.server.ApplyResourceChange(p.t.Context(), &tfprotov6.ApplyResourceChangeRequest{
		TypeName: typeName, PriorState: prior, PlannedState: planned.PlannedState, Config: config, PlannedPrivate: planned.PlannedPrivate,
		PlannedIdentity: planned.PlannedIdentity,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	expectNoError(p.t, applied.Diagnostics)
	return applied
}

func expectNoError(t *testing.T, diagnostics []*tfprotov6.Diagnostic) {
	t.Helper()
	for _, d := range diagnostics {
		if d.Severity == tfprotov6.DiagnosticSeverityError {
			t.Fatal(say(diagnostics))
		}
	}
}

func TestIdentityStaysForALife(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 5)
	p := newProtocol(t, db.ConnString())
	const typeName, id = "postgres_column_expand", "public.users/locale"
	of := p.resourceType(typeName).(tftypes.Object)
	columnsType := of.AttributeTypes["columns"].(tftypes.Map)
	config := func(columns ...string) *tfprotov6.DynamicValue {
		attributes := make(map[string]tftypes.Value)
		for name, kind := range of.AttributeTypes {
			attributes[name] = tftypes.NewValue(kind, nil)
		}
		attributes["table"] = tftypes.NewValue(tftypes.String, "users")
		elements := make(map[string]tftypes.Value)
		for _, column := range columns {
			elements[column] = tftypes.NewValue(columnsType.ElementType, map[string]tftypes.Value{
				"type": tftypes.NewValue(tftypes.String, "text"), "default": tftypes.NewValue(tftypes.String, nil), "not_null": tftypes.NewValue(tftypes.Bool, nil),
			})
		}
		attributes["columns"] = tftypes.NewValue(columnsType, elements)
		value, err := tfprotov6.NewDynamicValue(of, tftypes.NewValue(of, attributes))
		if err != nil {
			t.Fatal(err)
		}
		return &value
	}
	nothing, err := tfprotov6.NewDynamicValue(of, tftypes.NewValue(of, nil))
	if err != nil {
		t.Fatal(err)
	}
	expect := func(what string, identity *tfprotov6.ResourceIdentityData) {
		t.Helper()
		if got := p.text(identity.IdentityData, identityType, "id"); got != id {
			t.Errorf("after %s the identity is %q, want %s", what, got, id)
		}
	}
	created := p.change(typeName, &nothing, config("locale"), nil)
	expect("the create", created.NewIdentity)
	updated := p.change(typeName, created.NewState, config("locale", "country"), created.NewIdentity)
	expect("an update that adds a column", updated.NewIdentity)
	updated = p.change(typeName, updated.NewState, config("country"), updated.NewIdentity)
	expect("an update that takes the first one away", updated.NewIdentity)
	expect("a read", p.read(&tfprotov6.ReadResourceRequest{TypeName: typeName, CurrentState: updated.NewState, CurrentIdentity: updated.NewIdentity}).NewIdentity)
	if state, _ := p.imported(typeName, id); p.text(state, of, "id") != id {
		t.Error("an expand that has lost the column it is named by is not imported")
	}
}
