package provider_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// phrase matches a text in Terraform's output, which breaks lines and draws a frame.
func phrase(texts ...string) *regexp.Regexp {
	patterns := make([]string, len(texts))
	for i, text := range texts {
		words := strings.Fields(text)
		for j := range words {
			words[j] = regexp.QuoteMeta(words[j])
		}
		patterns[i] = strings.Join(words, `[\s│╷╵]+`)
	}
	return regexp.MustCompile(`(?s)` + strings.Join(patterns, ".*"))
}

// expandOf and backfillOf render a stage of table t.
func expandOf(table, column string) string {
	return `resource "postgres_column_expand" "bad" {
  table   = "` + table + `"
  columns = { ` + column + ` }
}`
}

func backfillOf(table, set string) string {
	return `resource "postgres_batched_backfill" "bad" {
  table = "` + table + `"
  set   = { ` + set + ` }
}`
}

func syncOf(table, forward, more string) string {
	return `resource "postgres_column_sync" "bad" {
  table   = "` + table + `"
  forward = { ` + forward + ` }
  ` + more + `
}`
}

func contractOf(table, column, more string) string {
	return `resource "postgres_column_contract" "bad" {
  table            = "` + table + `"
  columns          = ["` + column + `"]
  writers_migrated = true
  ` + more + `
}`
}

// TestBadInputIsRefusedByThePlan holds the mistakes that a reviewer must not have to find. Each error names the object and
// the fix.
func TestBadInputIsRefusedByThePlan(t *testing.T) {
	t.Parallel()
	const users = `CREATE TABLE t (id int PRIMARY KEY, a text, b text, n int, price numeric(10,2), g text GENERATED ALWAYS AS (a) STORED,
		seq int GENERATED ALWAYS AS IDENTITY); INSERT INTO t (id, a) VALUES (1, 'x');`
	for name, c := range map[string]struct {
		setup  string
		config string
		want   []string
	}{
		"unknown table":                 {"CREATE SCHEMA app; CREATE TABLE app.\"T\" ()", backfillOf("t", `a = "b"`), []string{"Table public.t does not exist", `app."T"`}},
		"view":                          {users + "CREATE VIEW v AS SELECT * FROM t", expandOf("v", `x = { type = "text" }`), []string{"public.v is a view, not a table"}},
		"materialized view":             {users + "CREATE MATERIALIZED VIEW v AS SELECT * FROM t", expandOf("v", `x = { type = "text" }`), []string{"public.v is a materialized view, not a table"}},
		"partition":                     {"CREATE TABLE t (id int) PARTITION BY LIST (id); CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1)", expandOf("t1", `x = { type = "text" }`), []string{"Table public.t1 is a partition of t"}},
		"unknown type":                  {users, expandOf("t", `x = { type = "txet" }`), []string{`Type "txet" is unknown`}},
		"type with a default":           {users, expandOf("t", `x = { type = "text DEFAULT 'x'" }`), []string{"is unknown", "Set default in the column's block instead"}},
		"type that ends the statement":  {users, expandOf("t", `x = { type = "text, DROP COLUMN a" }`), []string{"is unknown"}},
		"serial":                        {users, expandOf("t", `x = { type = "bigserial" }`), []string{"is unknown", "rewrites the table"}},
		"identity":                      {users, expandOf("t", `x = { type = "int GENERATED ALWAYS AS IDENTITY" }`), []string{"rewrites the table"}},
		"inline reference":              {users, expandOf("t", `x = { type = "int REFERENCES t" }`), []string{"An inline constraint"}},
		"volatile default":              {users, expandOf("t", `x = { type = "uuid", default = "gen_random_uuid()" }`), []string{"Default of column public.t.x is volatile"}},
		"default that does not compile": {users, expandOf("t", `x = { type = "int", default = "nope()" }`), []string{"Default of column public.t.x does not compile", "nope()"}},
		"NOT NULL without a default":    {users, expandOf("t", `x = { type = "int", not_null = true }`), []string{"Column public.t.x is NOT NULL without a default"}},
		"domain with a check":           {users + "CREATE DOMAIN d AS text CHECK (value <> '')", expandOf("t", `x = { type = "d" }`), []string{"of the domain d, which has a constraint"}},
		"column that exists":            {users, expandOf("t", `a = { type = "text" }`), []string{"Column public.t.a already exists", "terraform import postgres_column_expand.NAME 'public.t/a'"}},
		"name of 64 bytes":              {users, expandOf("t", strings.Repeat("x", 64)+` = { type = "text" }`), []string{"between 1 and 63"}},
		"no columns":                    {users, expandOf("t", ``), []string{"at least 1"}},

		"typo in the expression":        {users, backfillOf("t", `b = "upper(aa)"`), []string{"Expression for column public.t.b does not compile", "upper(aa)", "^", "42703"}},
		"syntax error":                  {users, backfillOf("t", `b = "upper(a"`), []string{"Expression for column public.t.b does not compile"}},
		"two expressions":               {users, backfillOf("t", `b = "a, n"`), []string{"Expression for column public.t.b"}},
		"parameter":                     {users, backfillOf("t", `b = "$1"`), []string{"Expression for column public.t.b"}},
		"wrong type":                    {users, backfillOf("t", `n = "a"`), []string{"Expression for column public.t.n does not compile", "(a)::integer"}},
		"lossy type":                    {users, backfillOf("t", `price = "1.5::float8"`), []string{"is of type double precision, the column of type numeric(10,2)", "(1.5::float8)::numeric(10,2)"}},
		"aggregate":                     {users, backfillOf("t", `b = "max(a)"`), []string{"does not compile", "one row at a time"}},
		"window function":               {users, backfillOf("t", `b = "lag(a) OVER (ORDER BY id)"`), []string{"does not compile", "one row at a time"}},
		"set-returning function":        {users, backfillOf("t", `b = "regexp_split_to_table(a, ' ')"`), []string{"does not compile", "one row at a time"}},
		"unknown target":                {users, backfillOf("t", `nope = "a"`), []string{"Column public.t.nope does not exist", "postgres_column_expand"}},
		"generated target":              {users, backfillOf("t", `g = "a"`), []string{"Column public.t.g is a generated column"}},
		"identity target":               {users, backfillOf("t", `seq = "1"`), []string{"Column public.t.seq is an identity column"}},
		"condition that is not boolean": {users, strings.Replace(backfillOf("t", `b = "a"`), "set ", "where = \"n\"\n  set ", 1), []string{"is of type integer, not boolean"}},
		"volatile overwrite":            {users, strings.Replace(backfillOf("t", `b = "random()::text"`), "set ", "overwrite = true\n  set ", 1), []string{"is volatile"}},
		"overwrite of what it reads":    {users, strings.Replace(backfillOf("t", `n = "n + 1"`), "set ", "overwrite = true\n  set ", 1), []string{`reads column "n", which the backfill overwrites`}},

		"sync with a typo":           {users, syncOf("t", `b = "upper(aa)"`, ""), []string{"Expression for column public.t.b does not compile", "upper(aa)", "^"}},
		"sync without a schema":      {users + "CREATE FUNCTION f(text) RETURNS text LANGUAGE sql AS 'SELECT $1'", syncOf("t", `b = "f(a)"`, ""), []string{"does not compile", "needs its schema"}},
		"sync that reads itself":     {users, syncOf("t", `b = "a || b"`, ""), []string{`reads column "b" of its own side`}},
		"sync that is volatile":      {users, syncOf("t", `b = "a || random()"`, ""), []string{"is volatile"}},
		"sync that fails on a row":   {users, syncOf("t", `n = "a::int"`, ""), []string{"fails on a row of the table", "invalid input syntax"}},
		"new_wins without a reverse": {users, syncOf("t", `b = "a"`, `conflict = "new_wins"`), []string{"Conflict policy new_wins needs reverse"}},
		"policy that there is not":   {users, syncOf("t", `b = "a"`, `conflict = "last_wins"`), []string{"keep_both", "last_wins"}},
		"reverse of another column":  {users, syncOf("t", `b = "a"`, `reverse = { n = "length(b)" }`), []string{"Column public.t.n is not on the old side"}},
		"quiet_for without a unit":   {users, contractOf("t", "b", `quiet_for = "24"`), []string{"24"}},
		"drop without a primary key": {"CREATE TABLE t (a text, b text)", contractOf("t", "b", `mode = "drop"`), []string{"has no primary key to archive by", "archive = false"}},
		"usage of an unknown column": {users, `data "postgres_column_usage" "bad" { 
  table   = "t"
  columns = ["nope"]
}`, []string{"Column public.t.nope does not exist"}},

		"contract of an unknown column":  {users, contractOf("t", "nope", ""), []string{"Column public.t.nope does not exist"}},
		"contract of the primary key":    {users, contractOf("t", "id", ""), []string{"Column public.t.id is part of the primary key"}},
		"contract of the partition key":  {"CREATE TABLE t (id int, k int) PARTITION BY LIST (k)", contractOf("t", "k", ""), []string{"Column public.t.k is part of the partition key"}},
		"contract under a view":          {users + "CREATE VIEW v AS SELECT b FROM t", contractOf("t", "b", ""), []string{"Other objects depend on columns", "view public.v"}},
		"contract under a generated one": {users, contractOf("t", "a", ""), []string{"Other objects depend on columns"}},
		"contract under a foreign key": {
			users + "ALTER TABLE t ADD UNIQUE (n); CREATE TABLE child (n int REFERENCES t (n))", contractOf("t", "n", ""),
			[]string{"Other objects depend on columns", "child_n_fkey on public.child"},
		},
		"contract under a function": {
			users + "CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT max(b) FROM t); END'", contractOf("t", "b", ""),
			[]string{"Functions mention columns", `ignore_functions = ["f()"]`},
		},
		"drop that takes an index along": {
			users + "CREATE INDEX t_a_b ON t (n, b)", contractOf("t", "b", `mode = "drop"`),
			[]string{"would silently drop other objects", `"index public.t_a_b"`},
		},
		"contract while services use it": {users, strings.Replace(contractOf("t", "b", ""), "= true", "= false", 1), []string{"Nothing says that columns of public.t (b) are no longer used", "writers_migrated = true"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t)
			db.Exec(t, c.setup)
			resource.UnitTest(t, resource.TestCase{
				ProtoV6ProviderFactories: factories,
				Steps:                    []resource.TestStep{{Config: providerBlock(db) + c.config, PlanOnly: true, ExpectError: phrase(c.want...)}},
			})
		})
	}
}
