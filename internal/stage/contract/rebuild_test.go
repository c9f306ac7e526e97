package contract_test

import (
	"strings"
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/contract"
)

// definition describes a table and all that belongs to it, as far as the catalogs tell. The order of the columns is left out,
// because a column that was dropped comes back as the last one.
func definition(t testing.TB, db *pgtest.Database, table string) string {
	t.Helper()
	return strings.Join(pgtest.Query[string](t, db, `
		WITH tree AS (SELECT relid AS oid FROM pg_partition_tree($1) UNION SELECT $1::regclass)
		SELECT format('column %s.%s %s not null: %s default: %s collation: %s storage: %s%s statistics: %s %s comment: %s acl: %s',
		              attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid), attcollation::regcollation,
		              attstorage, attcompression, coalesce(attstattarget, -1), attoptions, col_description(attrelid, attnum),
		              ARRAY(SELECT a::text FROM unnest(attacl) AS a ORDER BY 1))
		  FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
		 WHERE attrelid IN (SELECT oid FROM tree) AND attnum > 0 AND NOT attisdropped
		UNION ALL
		SELECT format('constraint %s %s on %s valid: %s comment: %s', conname, pg_get_constraintdef(oid), conrelid::regclass, convalidated, obj_description(oid, 'pg_constraint'))
		  FROM pg_constraint WHERE conrelid IN (SELECT oid FROM tree) AND contype <> 'n'
		UNION ALL
		SELECT format('index %s valid: %s comment: %s', pg_get_indexdef(indexrelid), indisvalid, obj_description(indexrelid, 'pg_class'))
		  FROM pg_index WHERE indrelid IN (SELECT oid FROM tree)
		UNION ALL
		SELECT format('statistics %s comment: %s', stxname, obj_description(oid, 'pg_statistic_ext'))
		  FROM pg_statistic_ext WHERE stxrelid IN (SELECT oid FROM tree)
		 ORDER BY 1`, table), "\n")
}

func TestDropBringsBackWhatBelongedToTheColumn(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	db.Exec(t, `
		CREATE TABLE codes (code varchar(20) PRIMARY KEY);
		INSERT INTO codes SELECT i::text FROM generate_series(0, 9) AS i;
		CREATE SEQUENCE numbers;
		CREATE TABLE users (
		  id bigint PRIMARY KEY,
		  code varchar(20) COLLATE "C" DEFAULT 'it''s' NOT NULL,
		  number bigint DEFAULT nextval('numbers') NOT NULL,
		  kind varchar(20) CONSTRAINT users_kind_fkey REFERENCES codes DEFERRABLE,
		  note text
		);
		ALTER SEQUENCE numbers OWNED BY users.number;
		INSERT INTO users (id, code, kind, note) SELECT i, 'c' || i, (i % 10)::text, 'x' FROM generate_series(1, 500) AS i;
		ALTER TABLE users ALTER code SET STORAGE EXTERNAL, ALTER code SET STATISTICS 500, ALTER code SET (n_distinct = -0.5),
		  ADD CONSTRAINT "Code is new" UNIQUE (code) DEFERRABLE INITIALLY DEFERRED,
		  ADD CONSTRAINT code_not_empty CHECK (code <> '' AND id > 0),
		  ADD CONSTRAINT code_short CHECK (length(code) < 3) NOT VALID;
		CREATE INDEX "users Code" ON users USING btree (lower(code), note DESC NULLS LAST) INCLUDE (id) WITH (fillfactor = 70) WHERE note IS NOT NULL;
		CREATE UNIQUE INDEX users_number ON users (number);
		CREATE INDEX users_where ON users (id) WHERE code > 'c1';
		CREATE STATISTICS users_stats (dependencies) ON code, note FROM users;
		COMMENT ON COLUMN users.code IS 'it''s a code';
		COMMENT ON INDEX "users Code" IS 'an index';
		COMMENT ON CONSTRAINT "Code is new" ON users IS 'unique';
		COMMENT ON CONSTRAINT code_not_empty ON users IS 'check';
		COMMENT ON STATISTICS users_stats IS 'statistics';
		GRANT SELECT (code), UPDATE (code) ON users TO pg_monitor;
		GRANT INSERT (code) ON users TO pg_read_all_stats WITH GRANT OPTION;
		GRANT REFERENCES (code) ON users TO PUBLIC;`)
	env := newEnv(t, db.ConnString())
	before, rows := definition(t, db, "users"), snapshot(t, db, "id, code, number, kind, note")
	drop := contractOf("users", contract.Drop, "code", "kind", "number")
	_, err := drop.Check(t.Context(), env)
	expectFinding(t, err, "Dropping columns of public.users (code, kind, number) would silently drop other objects", "index public.users_where")
	if strings.Contains(err.Error(), "sequence") {
		t.Errorf("the sequence is spared: %v", err)
	}
	drop.Drops = pgtest.Query[string](t, db, `
		SELECT 'table constraint ' || quote_ident(conname) || ' on public.users' FROM pg_constraint WHERE conrelid = 'users'::regclass AND contype IN ('u', 'c', 'f')
		UNION ALL SELECT 'index public.' || quote_ident(c.relname) FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE indrelid = 'users'::regclass AND NOT indisprimary
		UNION ALL SELECT 'statistics object public.users_stats'`)
	apply(t, env, drop)
	if after := definition(t, db, "users"); strings.Contains(after, "code") || strings.Contains(after, "number") {
		t.Errorf("after the drop there is\n%s", after)
	}
	f, err := drop.CheckRevert(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	expectText(t, f, `ADD COLUMN "code" character varying(20) COLLATE pg_catalog."C"`, "500 rows from the archive", `index "users Code" of public.users`, "foreign key users_kind_fkey")
	revertAll(t, env, drop)
	expectSame(t, "definition", definition(t, db, "users"), before)
	expectSame(t, "rows", snapshot(t, db, "id, code, number, kind, note"), rows)
	if owner := pgtest.QueryRow[string](t, db, `SELECT pg_get_serial_sequence('users', 'number')`); owner != "public.numbers" {
		t.Errorf("the column owns %s", owner)
	}
	db.Exec(t, `INSERT INTO users (id, code) VALUES (1000, 'z')`)
	expectNothingLeft(t, db)
}

func TestWhatCannotBeBroughtBackIsTold(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	db.Exec(t, `
		CREATE TABLE users (id bigint PRIMARY KEY, code text NOT NULL UNIQUE, size int4range, EXCLUDE USING gist (size WITH &&), CHECK (code <> 'bad'));
		INSERT INTO users VALUES (1, 'a', '[1,2)'), (2, 'b', '[3,4)');`)
	env := newEnv(t, db.ConnString())
	drop := contractOf("users", contract.Drop, "code", "size")
	drop.Drops = pgtest.Query[string](t, db, `
		SELECT 'table constraint ' || conname || ' on public.users' FROM pg_constraint WHERE conrelid = 'users'::regclass AND contype IN ('u', 'c', 'x')`)
	apply(t, env, contractOf("users", contract.Quarantine, "code", "size"))
	db.Exec(t, `CREATE INDEX late ON users (code__quarantined)`)
	drop.Drops = append(drop.Drops, "index public.late")
	apply(t, env, drop)
	db.Exec(t, `INSERT INTO users (id) VALUES (3)`)
	missing := revert(t, env, drop)
	var all strings.Builder
	for _, f := range missing {
		all.WriteString(f.Summary + "\n" + f.Detail + "\n")
	}
	for _, part := range []string{
		"Column public.users.code is back, but nullable",
		"The exclude users_size_excl of public.users was not made again", "ADD CONSTRAINT \"users_size_excl\" EXCLUDE USING gist",
		"The index late of public.users was not made again", `CREATE INDEX "late" ON "public"."users" USING btree (code__quarantined);`,
	} {
		if !strings.Contains(all.String(), part) {
			t.Errorf("the findings lack %q:\n%s", part, all.String())
		}
	}
	if len(missing) != 3 {
		t.Errorf("%d findings, want 3", len(missing))
	}
	expectNothingLeft(t, db)
}

func TestDuplicatesUnderAUniqueConstraint(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	db.Exec(t, `
		CREATE TABLE users (id bigint PRIMARY KEY, full_name text UNIQUE, first_name text, last_name text);
		INSERT INTO users (id, full_name) SELECT i, 'First' || i || ' Last' || i FROM generate_series(1, 100) AS i`)
	env := newEnv(t, db.ConnString())
	expand(t, env, nameSync())
	drop := contractOf("users", contract.Drop, "full_name")
	drop.Drops = []string{"table constraint users_full_name_key on public.users"}
	apply(t, env, drop)
	db.Exec(t, `UPDATE users SET first_name = 'same', last_name = 'same' WHERE id < 3`)
	missing := revert(t, env, drop)
	if len(missing) != 1 {
		t.Fatalf("findings: %v", missing)
	}
	expectText(t, missing[0], "users_full_name_key", "could not create unique index", `ADD CONSTRAINT "users_full_name_key" UNIQUE (full_name);`)
	if n := pgtest.QueryRow[int](t, db, `SELECT count(*) FROM pg_index WHERE indrelid = 'users'::regclass`); n != 1 {
		t.Errorf("%d indexes, want the primary key alone", n)
	}
	expectNothingLeft(t, db)
}
