package expand

import (
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// What may rewrite the table follows from the text where that can be, and is assumed where it cannot.
func TestEffectFollowsFromTheConfiguration(t *testing.T) {
	was := func(c Column) map[string]Column { return map[string]Column{"x": c} }
	allow := []string{TableRewrite}
	for name, c := range map[string]struct {
		column Column
		was    map[string]Column
		allow  []string
		want   ddl.Effect
	}{
		"plain":                            {Column{Type: "text"}, nil, nil, ddl.MetadataOnly},
		"default without allow":            {Column{Type: "text", Default: "f()"}, nil, nil, ddl.MetadataOnly},
		"plain with allow":                 {Column{Type: "varchar(20)"}, nil, allow, ddl.MetadataOnly},
		"constant with allow":              {Column{Type: "timestamptz(3)[]", Default: "'it''s'"}, nil, allow, ddl.MetadataOnly},
		"other default with allow":         {Column{Type: "text", Default: "f()"}, nil, allow, ddl.Rewrites},
		"two constants":                    {Column{Type: "text", Default: "'a' || 'b'"}, nil, allow, ddl.Rewrites},
		"unknown type with allow":          {Column{Type: "mood"}, nil, allow, ddl.Rewrites},
		"quoted type":                      {Column{Type: `"text"`}, nil, allow, ddl.Rewrites},
		"column that exists":               {Column{Type: "mood", Default: "f()"}, was(Column{Type: "mood"}), allow, ddl.MetadataOnly},
		"another type":                     {Column{Type: "bigint"}, was(Column{Type: "int"}), allow, ddl.Rewrites},
		"another length":                   {Column{Type: "varchar(9)"}, was(Column{Type: "varchar(8)"}), allow, ddl.Rewrites},
		"another array":                    {Column{Type: "int[]"}, was(Column{Type: "int"}), allow, ddl.Rewrites},
		"the same type by another name":    {Column{Type: "int4"}, was(Column{Type: "INTEGER"}), allow, ddl.MetadataOnly},
		"the same type with other spacing": {Column{Type: "numeric(10, 2)"}, was(Column{Type: "decimal(10,2)"}), allow, ddl.MetadataOnly},
	} {
		spec := Spec{Table: pg.TableName{Schema: "public", Name: "t"}, Columns: map[string]Column{"x": c.column}, Was: c.was, Allow: c.allow}
		if got := spec.Preview()[0]; got.Effect != c.want {
			t.Errorf("%s: %s\n%s", name, got.Effect, got.SQL)
		}
	}
}
