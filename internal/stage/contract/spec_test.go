package contract

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

func TestPreview(t *testing.T) {
	table := pg.TableName{Schema: "public", Name: "users"}
	for name, c := range map[string]struct {
		spec Spec
		want string
	}{
		"quarantine": {Spec{Mode: Quarantine, Columns: []string{"a", "B"}}, `
ALTER TABLE "public"."users"
  RENAME COLUMN "a" TO "a__quarantined"
ALTER TABLE "public"."users"
  ALTER COLUMN "a__quarantined" DROP NOT NULL
ALTER TABLE "public"."users"
  RENAME COLUMN "B" TO "B__quarantined"
ALTER TABLE "public"."users"
  ALTER COLUMN "B__quarantined" DROP NOT NULL`},
		"drop":                    {Spec{Mode: Drop, Columns: []string{"a"}}, "\nALTER TABLE \"public\".\"users\"\n  DROP COLUMN \"a\""},
		"drop after a quarantine": {Spec{Mode: Drop, Prior: Quarantine, Columns: []string{"a"}}, "\nALTER TABLE \"public\".\"users\"\n  DROP COLUMN \"a__quarantined\""},
	} {
		t.Run(name, func(t *testing.T) {
			c.spec.Table = table
			var got strings.Builder
			for _, s := range c.spec.Preview() {
				got.WriteString("\n" + s.SQL)
			}
			if got.String() != c.want {
				t.Errorf("got %s\nwant %s", got.String(), c.want)
			}
		})
	}
}

func TestNamesWithASuffixFitTheServersLimit(t *testing.T) {
	seen := make(map[string]string)
	for _, name := range []string{
		"a", strings.Repeat("a", 50), strings.Repeat("a", 51), strings.Repeat("a", 62) + "b", strings.Repeat("a", 62) + "c",
		strings.Repeat("ñ", 31), "x" + strings.Repeat("名", 20),
	} {
		got := quarantined(name)
		if len(got) > pg.MaxIdentifierBytes || !utf8.ValidString(got) || !strings.HasSuffix(got, "__quarantined") {
			t.Errorf("quarantined(%q) = %q of %d bytes", name, got, len(got))
		}
		if other, taken := seen[got]; taken {
			t.Errorf("%q and %q are both called %q", name, other, got)
		}
		seen[got] = name
	}
}
