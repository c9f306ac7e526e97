package dualwrite_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/dualwrite"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/stagetest"
)

// newSynced makes users with the sync that most tests use.
func newSynced(t *testing.T, before ...string) (*pgtest.Database, *stage.Env) {
	t.Helper()
	db := pgtest.NewDatabase(t)
	db.Exec(t, usersTable)
	for _, sql := range before {
		db.Exec(t, sql)
	}
	env := stagetest.NewEnv(t, db.ConnString())
	apply(t, env, splitNames())
	return db, env
}

// connect opens a session of its own.
func connect(t *testing.T, connString string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), connString)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return conn
}

func exec(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func expectRow(t *testing.T, db *pgtest.Database, want string) {
	t.Helper()
	if got := row(t, db); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestCopy(t *testing.T) {
	db, _ := newSynced(t)
	conn := connect(t, db.ConnString())
	_, err := conn.CopyFrom(t.Context(), pgx.Identifier{"users"}, []string{"id", "full_name"}, pgx.CopyFromRows([][]any{{1, "Mary Smith"}}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = conn.CopyFrom(t.Context(), pgx.Identifier{"users"}, []string{"id", "first_name", "last_name"}, pgx.CopyFromRows([][]any{{2, "Ann", "Lee"}}))
	if err != nil {
		t.Fatal(err)
	}
	expectRow(t, db, "Mary Smith|-|Mary|Smith Ann Lee|-|Ann|Lee")
}

func TestMerge(t *testing.T) {
	db, _ := newSynced(t)
	if pgtest.QueryRow[bool](t, db, `SELECT current_setting('server_version_num')::int < 150000`) {
		t.Skip("MERGE came with version 15")
	}
	for _, name := range []string{"Mary Smith", "Ann Lee"} {
		db.Exec(t, fmt.Sprintf(`MERGE INTO users u USING (VALUES (1, '%s')) AS v(id, name) ON u.id = v.id
			WHEN MATCHED THEN UPDATE SET full_name = v.name WHEN NOT MATCHED THEN INSERT (id, full_name) VALUES (v.id, v.name)`, name))
	}
	expectRow(t, db, "Ann Lee|-|Ann|Lee")
}

func TestRowsThatMoveBetweenPartitions(t *testing.T) {
	db := pgtest.NewDatabase(t)
	db.Exec(t, `CREATE TABLE users (id bigint, full_name text, email text, first_name text, last_name text) PARTITION BY RANGE (id)`)
	db.Exec(t, `CREATE TABLE low PARTITION OF users FOR VALUES FROM (0) TO (10)`)
	apply(t, stagetest.NewEnv(t, db.ConnString()), splitNames())
	// A partition that comes later has the trigger too.
	db.Exec(t, `CREATE TABLE high (last_name text, first_name text, email text, full_name text, id bigint)`)
	db.Exec(t, `ALTER TABLE users ATTACH PARTITION high FOR VALUES FROM (10) TO (20)`)
	db.Exec(t, `INSERT INTO users (id, full_name) VALUES (1, 'Mary Smith'), (2, 'Zoe Bo'), (3, 'Pia Pi')`)
	db.Exec(t, `UPDATE users SET id = 11 WHERE id = 1`)
	db.Exec(t, `UPDATE users SET id = 12, full_name = 'Ann Lee' WHERE id = 2`)
	db.Exec(t, `UPDATE users SET id = 13, first_name = 'Eva' WHERE id = 3`)
	expectRow(t, db, "Mary Smith|-|Mary|Smith Ann Lee|-|Ann|Lee Eva Pi|-|Eva|Pi")
}

// A writer needs no rights but its own, and its search path changes nothing.
func TestForeignSessions(t *testing.T) {
	db, _ := newSynced(t)
	role := db.OwnerRole + "_app"
	super := func(sql string, args ...any) {
		t.Helper()
		if _, err := db.Super.Exec(context.WithoutCancel(t.Context()), fmt.Sprintf(sql, args...)); err != nil {
			t.Fatal(err)
		}
	}
	super(`CREATE ROLE %s LOGIN PASSWORD '%s'`, role, db.Server.Password)
	t.Cleanup(func() { super(`DROP OWNED BY %[1]s; DROP ROLE %[1]s`, role) })
	super(`CREATE SCHEMA evil AUTHORIZATION %s`, role)
	super(`GRANT INSERT (id, full_name), UPDATE (full_name), SELECT (id) ON users TO %s`, role)
	conn := connect(t, db.Server.ConnString(db.Name, role))
	exec(t, conn, `CREATE FUNCTION evil.split_part(text, text, int) RETURNS text LANGUAGE sql AS $$ SELECT 'evil' $$`)
	exec(t, conn, `CREATE FUNCTION evil.concat_ws(text, text, text) RETURNS text LANGUAGE sql AS $$ SELECT 'evil' $$`)
	exec(t, conn, `SET search_path = evil, pg_catalog, public`)
	exec(t, conn, `INSERT INTO users (id, full_name) VALUES (1, 'Mary Smith')`)
	exec(t, conn, `UPDATE users SET full_name = 'Ann Lee' WHERE id = 1`)
	expectRow(t, db, "Ann Lee|-|Ann|Lee")
	var who string
	if err := db.Super.QueryRow(t.Context(), `SELECT role FROM terraform_postgres.writer`).Scan(&who); err != nil || who != role {
		t.Errorf("the writer was noted as %q (%v), want %s", who, err, role)
	}
}

func TestRowLevelSecurityOfWriters(t *testing.T) {
	db, _ := newSynced(t, `ALTER TABLE users ENABLE ROW LEVEL SECURITY`, `CREATE POLICY p ON users USING (email = current_user) WITH CHECK (first_name <> 'Eve')`,
		`ALTER TABLE users FORCE ROW LEVEL SECURITY`)
	conn := connect(t, db.ConnString())
	exec(t, conn, `INSERT INTO users (id, full_name, email) VALUES (1, 'Mary Smith', current_user)`)
	// The policy sees what the trigger has filled in.
	if _, err := conn.Exec(t.Context(), `INSERT INTO users (id, full_name, email) VALUES (2, 'Eve Smith', current_user)`); err == nil {
		t.Error("the policy let a row in that the trigger had filled against it")
	}
	if got := pgtest.QueryRow[string](t, db, `SELECT first_name FROM users`); got != "Mary" {
		t.Errorf("first_name = %s, want Mary", got)
	}
}

func TestReplication(t *testing.T) {
	for _, always := range []bool{false, true} {
		t.Run(fmt.Sprint(always), func(t *testing.T) {
			db := pgtest.NewDatabase(t)
			db.Exec(t, usersTable)
			spec := splitNames()
			env := stagetest.NewEnv(t, db.ConnString())
			apply(t, env, spec) // An update of the attribute changes the trigger that is there.
			spec.EnableAlways = always
			apply(t, env, spec)
			conn := connect(t, db.Server.ConnString(db.Name, pgtest.SuperuserRole))
			exec(t, conn, `SET session_replication_role = replica`)
			exec(t, conn, `INSERT INTO users (id, full_name) VALUES (1, 'Mary Smith')`)
			want := "Mary Smith|-|-|-"
			if always {
				want = "Mary Smith|-|Mary|Smith"
			}
			expectRow(t, db, want)
		})
	}
}

// Names that would mean something else inside a PL/pgSQL function are columns all the same.
func TestNamesOfColumns(t *testing.T) {
	db := pgtest.NewDatabase(t)
	db.Exec(t, `CREATE TABLE "Old" (id int, "new" text, "old" text, tg_op text, "a""b\c" text, given text)`)
	spec := newSpec("Old", map[string]string{
		"new": `"old" || tg_op || coalesce("a""b\c", '') || "Old".id`, "given": `'$sync$' || "Old".id -- a comment`,
	}, map[string]string{"old": `"new" || given`})
	spec.Conflict = dualwrite.Reject
	apply(t, stagetest.NewEnv(t, db.ConnString()), spec)
	db.Exec(t, `INSERT INTO "Old" (id, "old", tg_op, "a""b\c") VALUES (1, 'o', 't', 'x')`)
	db.Exec(t, `INSERT INTO "Old" (id, "new", given, tg_op) VALUES (2, 'n', 'g', 't')`)
	db.Exec(t, `UPDATE "Old" SET "new" = 'N', given = 'G', "old" = 'NG' WHERE id = 2`)
	got := pgtest.QueryRow[string](t, db, `SELECT string_agg(concat_ws('|', "old", "new", given), ' ' ORDER BY id) FROM "Old"`)
	if want := `o|otx1|$sync$1 NG|N|G`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if _, err := db.Owner.Exec(t.Context(), `UPDATE "Old" SET "new" = 'N', given = 'X', "old" = 'Y' WHERE id = 2`); err == nil || !strings.Contains(err.Error(), "disagree") {
		t.Errorf("sides that disagree were not rejected: %v", err)
	}
}

func TestTypesOfAllKinds(t *testing.T) {
	db := pgtest.NewDatabase(t)
	db.Exec(t, `CREATE TABLE t (id int, doc json, price numeric, doc2 json, price2 numeric, note text)`)
	apply(t, stagetest.NewEnv(t, db.ConnString()), newSpec("t", map[string]string{"doc2": "doc", "price2": "price"}, map[string]string{"doc": "doc2", "price": "price2"}))
	db.Exec(t, `INSERT INTO t (id, doc, price) VALUES (1, '{"a": 1}', 1.0)`)
	db.Exec(t, `UPDATE t SET price = 1.00`) // equal, but not the same
	db.Exec(t, `UPDATE t SET doc2 = '{"a":2}'`)
	db.Exec(t, `UPDATE t SET note = 'x'`)
	if got := pgtest.QueryRow[string](t, db, `SELECT concat_ws('|', doc, doc2, price, price2) FROM t`); got != `{"a":2}|{"a":2}|1.00|1.00` {
		t.Error(got)
	}
}

// What a backfill writes is no news to the other side, in either direction; to a further sync it is.
func TestBackfillsPassBy(t *testing.T) {
	db := pgtest.NewDatabase(t)
	db.Exec(t, usersTable)
	db.Exec(t, `INSERT INTO users VALUES (1, 'Mary Ann Smith', NULL, NULL, NULL), (2, NULL, NULL, 'Bo Bo', 'Lee'), (3, 'Pia Pi', NULL, 'Pia', NULL)`)
	env := stagetest.NewEnv(t, db.ConnString())
	spec := splitNames()
	spec.Forward["last_name"] = "nullif(substr(full_name, strpos(full_name, ' ') + 1), '')"
	spec.Reverse["full_name"] = "first_name || '+' || last_name"
	apply(t, env, spec)
	fill := func(set map[string]string) {
		t.Helper()
		job := &backfill.Spec{ID: backfill.ID(spec.Table, set), Table: spec.Table, Set: set, Options: backfill.Options{Workers: 1}}
		if _, err := job.Apply(t.Context(), env); err != nil {
			t.Fatal(err)
		}
	}
	fill(spec.Forward)
	expectRow(t, db, "Mary Ann Smith|-|Mary|Ann Smith -|-|Bo Bo|Lee Pia Pi|-|Pia|Pi")
	fill(spec.Reverse)
	expectRow(t, db, "Mary Ann Smith|-|Mary|Ann Smith Bo Bo+Lee|-|Bo Bo|Lee Pia Pi|-|Pia|Pi")
	// One that fills the old side from elsewhere is a writer like any other.
	db.Exec(t, `ALTER TABLE users DISABLE TRIGGER USER; INSERT INTO users VALUES (4, NULL, 'Eva Mail'); ALTER TABLE users ENABLE TRIGGER USER`)
	fill(map[string]string{"full_name": "email"})
	expectRow(t, db, "Mary Ann Smith|-|Mary|Ann Smith Bo Bo+Lee|-|Bo Bo|Lee Pia Pi|-|Pia|Pi Eva Mail|Eva Mail|Eva|Mail")
}

func TestNotesOfWriters(t *testing.T) {
	db, env := newSynced(t, `INSERT INTO users SELECT n, 'Mary Smith' FROM generate_series(1, 100) n`)
	writers := func() string {
		t.Helper()
		return pgtest.QueryRow[string](t, db, `SELECT coalesce(string_agg(side || ' by ' || application_name, ', ' ORDER BY side, application_name), '') FROM terraform_postgres.writer`)
	}
	notes := func() int64 {
		return pgtest.QueryRow[int64](t, db, `SELECT count(*) FROM terraform_postgres.writer_note`)
	}
	legacy, modern, dual := connect(t, db.ConnString()), connect(t, db.ConnString()), connect(t, db.ConnString())
	exec(t, dual, `SET application_name = 'dual'`)
	exec(t, dual, `INSERT INTO users VALUES (101, 'Ann Lee', NULL, 'Ann', 'Lee')`)
	exec(t, dual, `UPDATE users SET email = 'x' WHERE id = 1`)
	if got := writers(); got != "" {
		t.Errorf("noted %q, want nobody: a dual writer, an unrelated update and a row that heals say nothing", got)
	}
	exec(t, legacy, `SET application_name = 'legacy'`)
	exec(t, modern, `SET application_name = 'modern'`)
	exec(t, legacy, `UPDATE users SET full_name = 'Bo Bo' WHERE id < 50`)
	exec(t, modern, `UPDATE users SET first_name = 'Eva' WHERE id > 50`)
	if got := writers(); got != "new by modern, old by legacy" {
		t.Errorf("noted %q", got)
	}
	if got := notes(); got != 2 {
		t.Errorf("%d notes, want one for each session", got)
	}
	// A session that serves several applications, as those of a pooler do, notes each.
	exec(t, legacy, `SET application_name = 'other'`)
	exec(t, legacy, `UPDATE users SET full_name = 'Cy Cy' WHERE id < 50`)
	// What is rolled back was not written.
	exec(t, modern, `BEGIN; SET LOCAL application_name = 'undecided'; UPDATE users SET full_name = 'X Y'; ROLLBACK`)
	if got := writers(); got != "new by modern, old by legacy, old by other" {
		t.Errorf("noted %q", got)
	}
	if _, err := splitNames().Revert(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	if got := notes(); got != 0 {
		t.Errorf("%d notes are left of a sync that is gone", got)
	}
}

// Whatever somebody does to the notes, a writer neither waits nor fails.
func TestNotesNeverStopAWriter(t *testing.T) {
	db, _ := newSynced(t, `INSERT INTO users VALUES (1, 'Mary Smith'), (2, 'Mary Smith'), (3, 'Mary Smith'), (4, 'Mary Smith')`)
	write := func(id int, isolation string) {
		t.Helper()
		conn := connect(t, db.ConnString())
		exec(t, conn, `SET lock_timeout = 1`) // the shortest there is
		exec(t, conn, `BEGIN ISOLATION LEVEL `+isolation)
		exec(t, conn, `UPDATE users SET full_name = 'Ann Lee' WHERE id = $1`, id)
		exec(t, conn, `COMMIT`)
	}
	noted := func() int64 {
		return pgtest.QueryRow[int64](t, db, `SELECT count(*) FROM terraform_postgres.writer_note`)
	}
	write(1, "READ COMMITTED")
	holder := connect(t, db.ConnString())
	exec(t, holder, `UPDATE terraform_postgres.writer_note SET last_seen_at = '2000-01-01'`)
	exec(t, holder, `BEGIN; SELECT FROM terraform_postgres.writer_note FOR UPDATE`)
	write(2, "READ COMMITTED")
	write(3, "SERIALIZABLE")
	if got := noted(); got != 3 {
		t.Errorf("%d notes, want another one for each that could not use the locked one", got)
	}
	exec(t, holder, `ROLLBACK; BEGIN; LOCK TABLE terraform_postgres.writer_note`)
	write(4, "READ COMMITTED")
	exec(t, holder, `ROLLBACK; DROP TABLE terraform_postgres.writer_note CASCADE`)
	write(1, "READ COMMITTED")
	if got := pgtest.QueryRow[int64](t, db, `SELECT count(*) FROM users WHERE last_name = 'Lee'`); got != 4 {
		t.Errorf("%d rows are right, want 4", got)
	}
}

func TestLedgerKnowsTheWriters(t *testing.T) {
	db, env := newSynced(t)
	db.Exec(t, `INSERT INTO users (id, full_name) VALUES (1, 'Mary Smith')`)
	var writers []ledger.Writer
	err := env.DB.Look(t.Context(), func(tx pgx.Tx) (err error) {
		writers, err = env.Ledger.Writers(t.Context(), tx, []string{splitNames().ID})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(writers) != 1 || writers[0].Side != "old" || writers[0].Role != db.OwnerRole || writers[0].Address == nil || writers[0].LastSeen.IsZero() {
		t.Errorf("writers = %+v", writers)
	}
}
