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
		"drop": {Spec{Mode: Drop, Columns: []string{"a"}}, `
ALTER TABLE "public"."users"
  RENAME COLUMN "a" TO "a__quarantined"
ALTER TABLE "public"."users"
  ALTER COLUMN "a__quarantined" DROP NOT NULL
ALTER TABLE "public"."users"
  DROP COLUMN "a__quarantined"`},
		"drop after a quarantine": {Spec{Mode: Drop, Prior: Quarantine, Columns: []string{"a"}}, `
ALTER TABLE "public"."users"
  DROP COLUMN "a__quarantined"`},
		"drop with an archive": {Spec{Mode: Drop, Prior: Quarantine, Columns: []string{"a", "b"}, Archive: true, Schema: "ledger", ID: "public.users/a,b"}, `
CREATE TABLE "ledger"."archive_users_a_b_83ebe410" AS
SELECT /* the primary key, */ "a__quarantined" AS "a", "b__quarantined" AS "b"
  FROM "public"."users"
  WITH NO DATA
INSERT INTO "ledger"."archive_users_a_b_83ebe410"
SELECT /* the primary key, */ "a__quarantined" AS "a", "b__quarantined" AS "b"
  FROM "public"."users" AS "users"
 WHERE ctid >= $1::tid AND ctid < $2::tid /* and reverse does not give the value */
    ON CONFLICT DO NOTHING
ALTER TABLE "public"."users"
  DROP COLUMN "a__quarantined"
ALTER TABLE "public"."users"
  DROP COLUMN "b__quarantined"`},
		"the archive is discarded": {Spec{Mode: Drop, Prior: Drop, PriorArchive: true, Columns: []string{"a"}, Schema: "ledger", ID: "public.users/a"}, `
DROP TABLE IF EXISTS "ledger"."archive_users_a_7694be0a"`},
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
