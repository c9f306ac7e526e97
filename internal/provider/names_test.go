package provider_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// TestAnyNameGoesThroughTheWholeChange runs the split with names that need quotes, in every place where a name can be.
func TestAnyNameGoesThroughTheWholeChange(t *testing.T) {
	t.Parallel()
	for title, name := range map[string]string{
		"quotes and spaces": `we"ird na''me`,
		"upper case":        "UserTable",
		"keyword":           "select",
		"unicode":           "naïve_名前",
		"63 bytes":          strings.Repeat("n", 63),
		"63 bytes, unicode": strings.Repeat("ñ", 31) + "x",
		"separators":        "a.b/c,d",
		"format verbs":      "100%s %[1]d",
		"template":          "{column}",
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t)
			table := pgx.Identifier{name, name}.Sanitize()
			_, first := utf8.DecodeRuneInString(name)
			old, target := name, "2"+name[first:]
			db.Exec(t, "CREATE SCHEMA "+pg.Quote(name))
			db.Exec(t, fmt.Sprintf("CREATE TABLE %s (id int, %s text NOT NULL)", table, pg.Quote(old)))
			db.Exec(t, fmt.Sprintf("INSERT INTO %s SELECT i, i::text FROM generate_series(1, 300) AS i", table))
			config := providerBlock(db) + strings.NewReplacer("NAME", hcl(name), "TARGET", hcl(target), "OLD", hcl(old), "EXPRESSION", hcl(pg.Quote(old)+" || '!'")).Replace(`
				resource "postgres_column_expand" "x" {
				  schema  = NAME
				  table   = NAME
				  columns = { (TARGET) = { type = "text" } }
				}
				resource "postgres_batched_backfill" "x" {
				  schema = NAME
				  table  = postgres_column_expand.x.table
				  set    = { (TARGET) = EXPRESSION }
				}
				resource "postgres_column_contract" "x" {
				  schema           = NAME
				  table            = postgres_batched_backfill.x.table
				  columns          = [OLD]
				  writers_migrated = true
				}`)
			id := pg.FormatID(pg.TableName{Schema: name, Name: name}, []string{target})
			resource.UnitTest(t, resource.TestCase{
				ProtoV6ProviderFactories: factories,
				Steps: []resource.TestStep{
					{Config: config, ConfigPlanChecks: emptyPlan},
					{ResourceName: "postgres_batched_backfill.x", ImportState: true, ImportStateId: id, ImportStateVerify: true},
				},
			})
			want := fmt.Sprintf("id,%s", old)
			if got := columnNames(t, db, table); got != want {
				t.Errorf("columns after destroy = %s, want %s", got, want)
			}
		})
	}
}

// hcl renders a string literal; %{ and ${ would start a template.
func hcl(s string) string {
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(fmt.Sprintf("%q", s))
}
