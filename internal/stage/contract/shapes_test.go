package contract_test

import (
	"fmt"
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/contract"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/dualwrite"
)

// Every kind of table goes through a drop and its undo, with a sync whose reverse loses upper case.
func TestDropOfEveryShapeOfTable(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		table, old, fresh string
		setup             string
	}{
		"composite key": {"users", "old", "fresh", `
			CREATE TABLE users (region text, id uuid, old text NOT NULL, fresh text, PRIMARY KEY (id, region));
			INSERT INTO users (region, id, old) SELECT r, gen_random_uuid(), CASE WHEN i % 5 = 0 THEN 'X' ELSE 'x' END || i FROM generate_series(1, 50) AS i, unnest('{a,b}'::text[]) AS r`},
		"quoted names": {`The "kept" Table'`, `old "Column"`, `new Column's`, `
			CREATE TABLE "The ""kept"" Table'" ("the Id" bigint PRIMARY KEY, "old ""Column""" text NOT NULL, "new Column's" text);
			CREATE INDEX "an ""Index""" ON "The ""kept"" Table'" ("old ""Column""");
			INSERT INTO "The ""kept"" Table'" SELECT i, CASE WHEN i % 5 = 0 THEN 'X' ELSE 'x' END || i FROM generate_series(1, 100) AS i`},
		"a table named like ours": {"kept", "old", "fresh", `
			CREATE TABLE kept (id bigint PRIMARY KEY, old text NOT NULL, fresh text);
			INSERT INTO kept SELECT i, CASE WHEN i % 5 = 0 THEN 'X' ELSE 'x' END || i FROM generate_series(1, 100) AS i`},
		"partitions": {"users", "old", "fresh", `
			CREATE TABLE users (id bigint, day date, old text NOT NULL, fresh text, PRIMARY KEY (id, day), CONSTRAINT old_unique UNIQUE (old, day)) PARTITION BY RANGE (day);
			CREATE TABLE users_1 PARTITION OF users FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
			CREATE TABLE users_2 (gone int, fresh text, old text NOT NULL, id bigint NOT NULL, day date NOT NULL);
			ALTER TABLE users_2 DROP COLUMN gone;
			ALTER TABLE users ATTACH PARTITION users_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
			CREATE TABLE users_3 PARTITION OF users FOR VALUES FROM ('2026-03-01') TO ('2026-05-01') PARTITION BY RANGE (day);
			CREATE TABLE users_3_1 PARTITION OF users_3 FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
			CREATE INDEX users_old ON users (old);
			CREATE INDEX users_2_alone ON users_2 (old, fresh);
			COMMENT ON INDEX users_old IS 'on all';
			INSERT INTO users (id, day, old) SELECT i, '2026-01-01'::date + i % 80, CASE WHEN i % 5 = 0 THEN 'X' ELSE 'x' END || i FROM generate_series(1, 100) AS i`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t)
			db.Exec(t, c.setup)
			env := newEnv(t, db.ConnString())
			table := tableName(c.table)
			forward := map[string]string{c.fresh: "lower(" + pg.Quote(c.old) + ")"}
			sync := &dualwrite.Spec{
				ID: dualwrite.ID(table, forward), Table: table, Forward: forward, Reverse: map[string]string{c.old: pg.Quote(c.fresh)},
				Conflict: dualwrite.KeepBoth, Schema: ledger.DefaultSchema,
			}
			apply(t, env, sync)
			db.Exec(t, fmt.Sprintf(`UPDATE %s SET %s = %s`, table.SQL(), pg.Quote(c.old), pg.Quote(c.old))) // It fills the new side.
			rows := func() []string {
				return pgtest.Query[string](t, db, fmt.Sprintf(`SELECT %s FROM %s ORDER BY 1`, pg.Quote(c.old), table.SQL()))
			}
			before, defined := fmt.Sprint(rows()), definition(t, db, table.SQL())
			drop := contractOf(c.table, contract.Drop, c.old)
			drop.Drops = pgtest.Query[string](t, db, `
				SELECT 'table constraint ' || quote_ident(conname) || ' on ' || format('%I.%I', 'public', relname) FROM pg_constraint JOIN pg_class c ON c.oid = conrelid
				 WHERE contype = 'u' AND relnamespace = 'public'::regnamespace
				UNION ALL SELECT 'index public.' || quote_ident(c.relname) FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE relnamespace = 'public'::regnamespace`)
			state := apply(t, env, drop)
			if state.ArchiveRows != 20 {
				t.Errorf("%d rows are archived, want the 20 of upper case", state.ArchiveRows)
			}
			revertAll(t, env, drop)
			expectSame(t, "values", fmt.Sprint(rows()), before)
			expectSame(t, "definition", definition(t, db, table.SQL()), defined)
			expectNothingLeft(t, db)
		})
	}
}

// What an expression is compared with must be read as it was stored, whatever its type can compare.
func TestDropOfTypesThatCompareOddly(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	db.Exec(t, `
		CREATE TYPE pair AS (a int, b text);
		CREATE DOMAIN short AS varchar(5) CHECK (VALUE <> 'bad');
		CREATE TABLE users (id int PRIMARY KEY, price numeric, document json, place point, pairs pair, label short, tags text[], fresh text);
		INSERT INTO users VALUES (1, 1.00, '{"a": 1}', '(1,2)', '(1,x)', 'abc', '{a,NULL}', '1.0'), (2, 1.0, NULL, NULL, '(,)', NULL, '{}', '1.0'), (3, NULL, 'null', NULL, NULL, '', NULL, NULL)`)
	env := newEnv(t, db.ConnString())
	apply(t, env, syncOf("users", map[string]string{"fresh": "price::text"}, map[string]string{"price": "fresh::numeric"}))
	const columns = "id, price, document, place, pairs, label, tags"
	before := snapshot(t, db, columns)
	drop := contractOf("users", contract.Drop, "document", "label", "pairs", "place", "price", "tags")
	apply(t, env, drop)
	revertAll(t, env, drop)
	expectSame(t, "rows", snapshot(t, db, columns), before)
	if got := pgtest.QueryRow[string](t, db, `SELECT string_agg((pairs IS NOT DISTINCT FROM NULL)::text, ' ' ORDER BY id) FROM users`); got != "false false true" {
		t.Errorf("composite values that are NULL: %s", got)
	}
}
