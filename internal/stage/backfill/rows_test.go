package backfill_test

import (
	"strings"
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
)

// long is a name of 63 bytes, the longest there is, with characters of one, two and three bytes.
var long = "Ünïcödé €" + strings.Repeat("x", 63-len("Ünïcödé €"))

func TestRows(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		setup   string
		spec    *backfill.Spec
		wrong   string // counts rows that are not as they have to be
		updated int64
	}{
		"every NULL is filled": {
			`CREATE TABLE t (id int PRIMARY KEY, a text, b text);
			 INSERT INTO t SELECT i, 'a' || i FROM generate_series(1, 20000) AS i`,
			specOf("t", map[string]string{"b": "upper(a)"}),
			`SELECT count(*) FROM t WHERE b IS DISTINCT FROM 'A' || id`, 20000,
		},
		"what a service wrote is kept": {
			`CREATE TABLE t (id int PRIMARY KEY, a text, b text, c text);
			 INSERT INTO t SELECT i, 'a', CASE WHEN i % 2 = 0 THEN 'kept' END, CASE WHEN i % 3 = 0 THEN '' END FROM generate_series(1, 6000) AS i`,
			specOf("t", map[string]string{"b": "'filled'", "c": "'filled'"}),
			`SELECT count(*) FROM t WHERE b <> CASE WHEN id % 2 = 0 THEN 'kept' ELSE 'filled' END
			                           OR c <> CASE WHEN id % 3 = 0 THEN '' ELSE 'filled' END OR b IS NULL OR c IS NULL`, 5000,
		},
		"an expression that is NULL needs no work": {
			`CREATE TABLE t (id int PRIMARY KEY, a text, b text);
			 INSERT INTO t SELECT i, CASE WHEN i % 2 = 0 THEN 'a' END FROM generate_series(1, 1000) AS i`,
			specOf("t", map[string]string{"b": "a"}),
			`SELECT count(*) FROM t WHERE b IS DISTINCT FROM a`, 500,
		},
		"overwrite changes what differs and nothing else": {
			`CREATE TABLE t (id int PRIMARY KEY, a int, b int);
			 INSERT INTO t SELECT i, i, CASE i % 4 WHEN 0 THEN i WHEN 1 THEN -i END FROM generate_series(1, 4000) AS i;
			 UPDATE t SET a = NULL WHERE id % 4 = 3`,
			&backfill.Spec{
				ID: "t", Table: pg.TableName{Schema: "public", Name: "t"}, Set: map[string]string{"b": "a"}, Overwrite: true,
			},
			`SELECT count(*) FROM t WHERE b IS DISTINCT FROM a`, 2000,
		},
		"where narrows, whatever operators it has": {
			`CREATE TABLE t (id int PRIMARY KEY, a text, b text);
			 INSERT INTO t SELECT i, 'a' FROM generate_series(1, 1000) AS i`,
			&backfill.Spec{
				ID: "t", Table: pg.TableName{Schema: "public", Name: "t"}, Set: map[string]string{"b": "a"},
				Where: "id <= 10 OR id > 990 -- both ends",
			},
			`SELECT count(*) FROM t WHERE (b IS NOT NULL) <> (id <= 10 OR id > 990)`, 20,
		},
		"an empty table is complete": {
			`CREATE TABLE t (a text, b text)`,
			specOf("t", map[string]string{"b": "a"}), `SELECT count(*) FROM t`, 0,
		},
		"one row": {
			`CREATE TABLE t (a text, b text);
			 INSERT INTO t VALUES ('a')`,
			specOf("t", map[string]string{"b": "a"}), `SELECT count(*) FROM t WHERE b IS DISTINCT FROM a`, 1,
		},
		"no primary key, and all rows alike": {
			`CREATE TABLE t (a text, b text);
			 INSERT INTO t SELECT 'same' FROM generate_series(1, 5000)`,
			specOf("t", map[string]string{"b": "a"}), `SELECT count(*) FROM t WHERE b IS DISTINCT FROM a`, 5000,
		},
		"composite primary key": {
			`CREATE TABLE t (a uuid DEFAULT gen_random_uuid(), b text, c text, PRIMARY KEY (b, a));
			 INSERT INTO t (b) SELECT 'b' || i % 7 FROM generate_series(1, 5000) AS i`,
			specOf("t", map[string]string{"c": "b || a::text"}), `SELECT count(*) FROM t WHERE c IS DISTINCT FROM b || a::text`, 5000,
		},
		"identity and generated columns": {
			`CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED, b int);
			 INSERT INTO t (a) SELECT i FROM generate_series(1, 3000) AS i`,
			specOf("t", map[string]string{"b": "twice + 1"}), `SELECT count(*) FROM t WHERE b IS DISTINCT FROM a * 2 + 1`, 3000,
		},
		"values that are stored out of line": {
			`CREATE TABLE t (id int PRIMARY KEY, body text, b text);
			 ALTER TABLE t ALTER body SET STORAGE EXTERNAL;
			 INSERT INTO t SELECT i, repeat(md5(i::text), 4000) FROM generate_series(1, 150) AS i`,
			specOf("t", map[string]string{"b": "md5(body)"}),
			`SELECT count(*) FROM t WHERE b IS DISTINCT FROM md5(body) OR length(body) <> 128000`, 150,
		},
		"wide values that do not fit their page twice": {
			`CREATE TABLE t (id int PRIMARY KEY, body text, b text);
			 ALTER TABLE t ALTER body SET STORAGE PLAIN;
			 INSERT INTO t SELECT i, repeat('x', 5000) FROM generate_series(1, 500) AS i`,
			specOf("t", map[string]string{"b": "left(body, 1000)"}), `SELECT count(*) FROM t WHERE b IS DISTINCT FROM left(body, 1000)`, 500,
		},
		"dropped columns and other types": {
			`CREATE TYPE mood AS ENUM ('sad', 'happy');
			 CREATE DOMAIN tags AS text[];
			 CREATE TABLE t (id int, gone text, a text, b mood, c tags, d jsonb);
			 ALTER TABLE t DROP gone;
			 INSERT INTO t SELECT i, 'happy' FROM generate_series(1, 500) AS i`,
			specOf("t", map[string]string{"b": "a::mood", "c": "ARRAY[a, '%d ? $1']", "d": "jsonb_build_object('a', a, 'id', t.id)"}),
			`SELECT count(*) FROM t WHERE b IS DISTINCT FROM 'happy' OR c IS DISTINCT FROM ARRAY['happy', '%d ? $1'] OR d->>'id' IS DISTINCT FROM id::text`, 500,
		},
		"names that need quotes": {
			`CREATE SCHEMA "Über ""Alles""";
			 CREATE TABLE "Über ""Alles"""."` + long + `" ("Select" int, "a%s'b" text, "` + long + `" text);
			 INSERT INTO "Über ""Alles"""."` + long + `" SELECT i, 'a' FROM generate_series(1, 500) AS i`,
			specIn(pg.TableName{Schema: `Über "Alles"`, Name: long}, map[string]string{long: `"a%s'b" || "` + long + `"."Select"`}),
			`SELECT count(*) FROM "Über ""Alles"""."` + long + `" WHERE "` + long + `" IS DISTINCT FROM 'a' || "Select"`, 500,
		},
		"a table called as the parts of a statement": {
			`CREATE TABLE "update" (ctid_ int, "set" text, "where" text);
			 INSERT INTO "update" SELECT i, 'a' FROM generate_series(1, 500) AS i`,
			specOf("update", map[string]string{"where": `"set" /* -- */ || "update".ctid_`}),
			`SELECT count(*) FROM "update" WHERE "where" IS DISTINCT FROM 'a' || ctid_`, 500,
		},
		"a trigger that writes the row too": {
			`CREATE TABLE t (id int, a text, b text, writes int NOT NULL DEFAULT 0);
			 INSERT INTO t SELECT i, 'a' FROM generate_series(1, 2000) AS i;
			 CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.writes := OLD.writes + 1; RETURN NEW; END $$;
			 CREATE TRIGGER note BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION note()`,
			specOf("t", map[string]string{"b": "a"}), `SELECT count(*) FROM t WHERE b IS DISTINCT FROM 'a' OR writes <> 1`, 2000,
		},
		"inheritance children, also with columns in another order": {
			`CREATE TABLE t (id int, a text, b text);
			 CREATE TABLE child (own text) INHERITS (t);
			 CREATE TABLE grandchild () INHERITS (child);
			 CREATE TABLE other (b text, a text, id int);
			 ALTER TABLE other INHERIT t;
			 INSERT INTO t SELECT i, 't' FROM generate_series(1, 300) AS i;
			 INSERT INTO child SELECT i, 'child' FROM generate_series(1, 300) AS i;
			 INSERT INTO grandchild SELECT i, 'grandchild' FROM generate_series(1, 300) AS i;
			 INSERT INTO other SELECT NULL, 'other', i FROM generate_series(1, 300) AS i`,
			specOf("t", map[string]string{"b": "a || t.id"}), `SELECT count(*) FROM t WHERE b IS DISTINCT FROM a || id`, 1200,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t)
			db.Exec(t, test.setup)
			env := newEnv(t, db.ConnString())
			for _, which := range []string{"first", "second"} {
				state := apply(t, env, test.spec)
				if state.RowsUpdated != test.updated {
					t.Errorf("%s apply: %d rows updated, want %d", which, state.RowsUpdated, test.updated)
				}
				expectNone(t, db, "wrong rows", test.wrong)
			}
		})
	}
}

func TestVolatileExpressionFillsEachRowOnce(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	db.Exec(t, `CREATE TABLE t (id int PRIMARY KEY, b uuid)`)
	db.Exec(t, `INSERT INTO t SELECT i FROM generate_series(1, 5000) AS i`)
	countUpdates(t, db, "t")
	env, spec := newEnv(t, db.ConnString()), specOf("t", map[string]string{"b": "gen_random_uuid()"})
	apply(t, env, spec)
	before := pgtest.QueryRow[string](t, db, `SELECT md5(string_agg(b::text, ',' ORDER BY id)) FROM t`)
	expectNone(t, db, "values that are missing or not unique", `SELECT 5000 - count(DISTINCT b) FROM t`)
	apply(t, env, spec)
	if after := pgtest.QueryRow[string](t, db, `SELECT md5(string_agg(b::text, ',' ORDER BY id)) FROM t`); after != before {
		t.Error("the second apply gave rows another value")
	}
	expectEachOnce(t, db, spec, 5000)
}

func TestCompleteBackfillFillsRowsThatCameLater(t *testing.T) {
	t.Parallel()
	for name, rows := range map[string]int{"few": 30, "more than a sweep takes": 60_000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t)
			createPeople(t, db, 1000)
			env, spec := newEnv(t, db.ConnString()), peopleSpec()
			apply(t, env, spec)
			db.Exec(t, `INSERT INTO people SELECT 1000 + i, '' FROM generate_series(1, $1) AS i`, rows)
			if state := apply(t, env, spec); state.RowsUpdated != int64(1000+rows) {
				t.Errorf("%d rows updated in all, want %d", state.RowsUpdated, 1000+rows)
			}
			expectNone(t, db, "wrong rows", wrongPeople)
		})
	}
}

func TestChangedExpressionIsAnotherBackfill(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createPeople(t, db, 3000)
	slow(t, db, "people")
	env, spec := newEnv(t, db.ConnString()), peopleSpec()
	interrupt(t, db, env, spec, 500)
	changed := peopleSpec()
	changed.Set = map[string]string{"n": "-id"}
	apply(t, env, changed)
	expectNone(t, db, "rows without a value", `SELECT count(*) FROM people WHERE n IS NULL OR n NOT IN (id * 2, -id)`)
}
