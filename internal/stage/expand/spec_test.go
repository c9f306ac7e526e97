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
