package expression

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// look runs fn in a read-only transaction on a fresh database with the table t.
func look(t *testing.T, fn func(tx pgx.Tx, scope Scope)) {
	t.Helper()
	db := pgtest.NewDatabase(t)
	db.Exec(t, `
		CREATE TABLE t (id int, a text, paid numeric(10,2), "Case" text, "sp ace" text, t text, addr int4range);
		CREATE TABLE other (id int, a text);`)
	err := pgx.BeginTxFunc(t.Context(), db.Owner, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		table, err := pg.ReadTable(t.Context(), tx, pg.TableName{Schema: "public", Name: "t"})
		if err != nil {
			return err
		}
		fn(tx, Scope{Table: table, Planned: map[string]string{"planned": "varchar(20)", "a": "int"}})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestReadsAreTheColumnsOnWhichTheValueDepends(t *testing.T) {
	look(t, func(tx pgx.Tx, scope Scope) {
		for sql, want := range map[string][]string{
			"a":                              {"a"},
			"upper(t.a)":                     {"a"},
			"paid * 2":                       {"paid"}, // id and a are in the text, but only inside another name
			"'a'":                            nil,
			"/* a */ paid":                   {"paid"},
			`"Case" || "sp ace"`:             {"Case", "sp ace"},
			"(SELECT max(o.a) FROM other o)": nil,
			"(SELECT o.a FROM other o WHERE o.id = t.id)": {"id"},
			"planned || a":                        {"a"},
			"CASE WHEN false THEN a ELSE 'x' END": nil,
			"row_to_json(t.*)":                    {"Case", "a", "addr", "id", "paid", "sp ace", "t"},
		} {
			v, err := Compile(t.Context(), tx, scope, "it", sql)
			if err != nil {
				t.Errorf("%s: %v", sql, err)
				continue
			}
			if !slices.Equal(v.Reads, want) {
				t.Errorf("%s reads %q, want %q", sql, v.Reads, want)
			}
		}
	})
}

func TestReadsOfAPartitionedTable(t *testing.T) {
	db := pgtest.NewDatabase(t)
	db.Exec(t, `
		CREATE TABLE t (id int, a text, paid text) PARTITION BY LIST (id);
		CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1);
		CREATE TABLE t2 PARTITION OF t FOR VALUES IN (2);`)
	err := pgx.BeginTxFunc(t.Context(), db.Owner, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		table, err := pg.ReadTable(t.Context(), tx, pg.TableName{Schema: "public", Name: "t"})
		if err != nil {
			return err
		}
		v, err := Compile(t.Context(), tx, Scope{Table: table}, "it", "upper(paid)")
		if err == nil && !slices.Equal(v.Reads, []string{"paid"}) {
			t.Errorf("upper(paid) reads %q", v.Reads)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestReadsOfATableWithoutRowsToSeeAreGuessed(t *testing.T) {
	db := pgtest.NewDatabase(t)
	db.Exec(t, `
		CREATE TABLE t (id int, a text) PARTITION BY LIST (id);
		CREATE TABLE hidden (id int, a text);
		ALTER TABLE hidden ENABLE ROW LEVEL SECURITY;
		ALTER TABLE hidden FORCE ROW LEVEL SECURITY;`)
	for _, name := range []string{"t", "hidden"} {
		err := pgx.BeginTxFunc(t.Context(), db.Owner, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			table, err := pg.ReadTable(t.Context(), tx, pg.TableName{Schema: "public", Name: name})
			if err != nil {
				return err
			}
			v, err := Compile(t.Context(), tx, Scope{Table: table}, "it", "upper(a)")
			if err == nil && !slices.Equal(v.Reads, []string{"a"}) {
				t.Errorf("upper(a) over %s reads %q", name, v.Reads)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestVolatileExpressionsAreFound(t *testing.T) {
	look(t, func(tx pgx.Tx, scope Scope) {
		for sql, want := range map[string]bool{
			"a": false, "upper(a)": false, "now()": false, "1": false, "(SELECT max(a) FROM other)": false,
			"random()": true, "gen_random_uuid()": true, "clock_timestamp()": true, "a || random()": true,
		} {
			got, err := IsVolatile(t.Context(), tx, scope, sql)
			if err != nil || got != want {
				t.Errorf("IsVolatile(%s) = %t, %v, want %t", sql, got, err, want)
			}
		}
	})
}

func TestTypesAreResolvedByTheServer(t *testing.T) {
	look(t, func(tx pgx.Tx, _ Scope) {
		for name, want := range map[string]string{
			"int": "integer", "int4": "integer", "varchar(20)": "character varying(20)", "numeric(10,2)[]": "numeric(10,2)[]",
			"timestamp with time zone": "timestamp with time zone", "timestamptz(3)": "timestamp(3) with time zone", "public.t": "t", `"char"`: `"char"`,
		} {
			got, err := ResolveType(t.Context(), tx, name)
			if err != nil || got.SQL != want {
				t.Errorf("ResolveType(%s) = %s, %v, want %s", name, got.SQL, err, want)
			}
		}
	})
}

func TestMarkPutsACaretUnderTheCharacter(t *testing.T) {
	for _, c := range []struct {
		sql      string
		position int
		want     string
	}{
		{"upper(aa)", 6, "upper(aa)\n      ^"},
		{"ñ || x", 5, "ñ || x\n     ^"},
		{"CASE\n  WHEN x\nEND", 12, "CASE\n  WHEN x\n       ^\nEND"},
		{"a", 5, "a"},
		{"a", -1, "a"},
	} {
		if got := mark(c.sql, c.position); got != c.want {
			t.Errorf("mark(%q, %d) = %q, want %q", c.sql, c.position, got, c.want)
		}
	}
}
