package expand

import (
	"strings"
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

func TestPreview(t *testing.T) {
	spec := Spec{Table: pg.TableName{Schema: "App", Name: `we"ird`}, Columns: map[string]Column{
		"plain":    {Type: "varchar(20)"},
		"constant": {Type: "int", Default: "7", NotNull: true},
		"comment":  {Type: "text", Default: "'x' -- why"},
	}}
	want := `
ALTER TABLE "App"."we""ird"
  ADD COLUMN "comment" text DEFAULT ('x' -- why
)
ALTER TABLE "App"."we""ird"
  ADD COLUMN "constant" int DEFAULT (7) NOT NULL
ALTER TABLE "App"."we""ird"
  ADD COLUMN "plain" varchar(20)`
	var got strings.Builder
	for _, s := range spec.Preview() {
		got.WriteString("\n" + s.SQL)
		if s.Lock != ddl.AccessExclusive || s.Effect != ddl.MetadataOnly {
			t.Errorf("%s takes %s and is %s", s.SQL, s.Lock, s.Effect)
		}
	}
	if got.String() != want {
		t.Errorf("got %s\nwant %s", got.String(), want)
	}
}

// A column that is taken out of the configuration is dropped, which a reviewer and a policy have to see.
func TestPreviewOfAColumnThatGoes(t *testing.T) {
	spec := Spec{
		Table: pg.TableName{Schema: "public", Name: "users"}, Columns: map[string]Column{"a": {Type: "text"}},
		Was: map[string]Column{"a": {Type: "text"}, "b": {Type: "text"}},
	}
	statements := spec.Preview()
	if last := statements[len(statements)-1]; len(statements) != 2 || last.SQL != "ALTER TABLE \"public\".\"users\"\n  DROP COLUMN \"b\"" || last.Lock != ddl.AccessExclusive {
		t.Errorf("the statements are %+v", statements)
	}
	hazards := spec.Hazards()
	if last := hazards[len(hazards)-1]; last.Type != ddl.DeletesData || !strings.Contains(last.Message, `The values of "b" go. The apply refuses`) {
		t.Errorf("the hazards are %+v", hazards)
	}
	spec.Was = spec.Columns
	if statements, hazards := spec.Preview(), spec.Hazards(); len(statements) != 1 || len(hazards) != 1 {
		t.Errorf("without one that goes: %+v, %+v", statements, hazards)
	}
}
