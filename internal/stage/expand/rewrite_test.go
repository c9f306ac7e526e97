package expand_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/expand"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/stagetest"
)

// expectRewrite checks and applies the expand, which must say that it rewrites the table, and do so.
func expectRewrite(t *testing.T, db *pgtest.Database, env *stage.Env, spec *expand.Spec, why string) {
	t.Helper()
	filenode := func() uint32 { return pgtest.QueryRow[uint32](t, db, `SELECT pg_relation_filenode('t')`) }
	before := filenode()
	expectWarning(t, env, spec, "rewrites the table under an ACCESS EXCLUSIVE lock", why, "~1,000 rows (", "wait for the whole rewrite", "maintenance window")
	if last := spec.Preview()[0]; last.Effect != ddl.Rewrites || last.Lock != ddl.AccessExclusive {
		t.Errorf("the plan shows %+v", last)
	}
	if hazards := spec.Hazards(); hazards[len(hazards)-1].Type != ddl.RewritesTable {
		t.Errorf("hazards %+v", hazards)
	}
	if _, err := spec.Apply(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	if filenode() == before {
		t.Error("the table was not rewritten, so that this proves nothing")
	}
	expectRead(t, env, spec)
}

// expectWarning looks for a single warning with all parts.
func expectWarning(t *testing.T, env *stage.Env, spec *expand.Spec, parts ...string) {
	t.Helper()
	warnings, err := spec.Check(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range warnings {
		text := f.Summary + "\n" + f.Detail
		missing := ""
		for _, part := range parts {
			if !strings.Contains(text, part) {
				missing = part
			}
		}
		if missing == "" {
			return
		}
		fmt.Fprintf(&all, "%s\n(lacks %q)\n", text, missing)
	}
	t.Errorf("no warning has %q:\n%s", parts, all.String())
}

// expectRead expects no drift.
func expectRead(t *testing.T, env *stage.Env, spec *expand.Spec) {
	t.Helper()
	state, err := spec.Read(t.Context(), env)
	if err != nil || state == nil {
		t.Fatalf("read: %v, %v", state, err)
	}
	for name, want := range spec.Columns {
		if got := state.Columns[name]; got != want {
			t.Errorf("column %s reads %+v, want %+v", name, got, want)
		}
	}
}

func newTable(t *testing.T) (*pgtest.Database, *stage.Env) {
	t.Helper()
	db := pgtest.NewDatabase(t)
	db.Exec(t, `
		CREATE DOMAIN d AS int CHECK (VALUE <> 0);
		CREATE TABLE t (id int PRIMARY KEY);
		INSERT INTO t SELECT i FROM generate_series(1, 1000) AS i;
		ANALYZE t;`)
	return db, stagetest.NewEnv(t, db.ConnString())
}

func TestAllowedRewrites(t *testing.T) {
	t.Parallel()
	t.Run("volatile default", func(t *testing.T) {
		db, env := newTable(t)
		spec := add("t", "x", expand.Column{Type: "uuid", Default: "gen_random_uuid()", NotNull: true}, expand.TableRewrite)
		expectRewrite(t, db, env, spec, "public.t.x: its default is volatile")
		if n := pgtest.QueryRow[int](t, db, `SELECT count(DISTINCT x) FROM t`); n != 1000 {
			t.Errorf("%d values, want one for each row", n)
		}
		expectWarning(t, env, spec, `does not need allow = ["table_rewrite"]`)
	})
	t.Run("domain with a constraint", func(t *testing.T) {
		db, env := newTable(t)
		expectRewrite(t, db, env, add("t", "x", expand.Column{Type: "d"}, expand.TableRewrite), "public.t.x: its type is the domain d")
	})
	t.Run("type", func(t *testing.T) {
		db, env := newTable(t)
		was := expand.Column{Type: "int", Default: "7", NotNull: true}
		if _, err := add("t", "x", was).Apply(t.Context(), env); err != nil {
			t.Fatal(err)
		}
		db.Exec(t, `CREATE INDEX ON t (x); CREATE INDEX ON t ((x + 1)) WHERE x > 0; ALTER TABLE t ADD CHECK (x < 10)`)
		spec := add("t", "x", expand.Column{Type: "bigint", Default: "8", NotNull: true}, expand.TableRewrite)
		spec.Was = map[string]expand.Column{"x": was}
		const want = `ALTER TABLE "public"."t"
  ALTER COLUMN "x" DROP DEFAULT,
  ALTER COLUMN "x" TYPE bigint,
  ALTER COLUMN "x" SET DEFAULT (8)`
		if got := spec.Preview()[0].SQL; got != want {
			t.Errorf("the plan shows %s\nwant %s", got, want)
		}
		expectRewrite(t, db, env, spec, "public.t.x: its type changes from integer to bigint")
		if sum := pgtest.QueryRow[int](t, db, `SELECT sum(x)::int FROM t`); sum != 7000 {
			t.Errorf("the sum of the values is %d, want 7000", sum)
		}
		spec.ForceDestroy = true // The rows have the former default.
		if _, err := spec.Revert(t.Context(), env); err != nil {
			t.Errorf("revert: %v", err)
		}
		if pgtest.QueryRow[bool](t, db, `SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'x')`) {
			t.Error("the column is still there")
		}
	})
}

func TestAllowThatNothingNeedsCanGo(t *testing.T) {
	t.Parallel()
	_, env := newTable(t)
	spec := add("t", "x", expand.Column{Type: "int", Default: "7"}, expand.TableRewrite)
	expectWarning(t, env, spec, `Expand of public.t (x) does not need allow = ["table_rewrite"]`)
	if s := spec.Preview()[0]; s.Effect != ddl.MetadataOnly {
		t.Errorf("the plan shows %+v", s)
	}
}

// TestTypesThatCannotChangeInPlace holds what the server, or another stage, needs as it is. Each must be found in the
// catalogs; the server's own answer comes from a change of the column by hand.
func TestTypesThatCannotChangeInPlace(t *testing.T) {
	t.Parallel()
	to := map[string]string{"int": "bigint", "text": "int"}
	for name, c := range map[string]struct{ from, sql, want string }{
		"view":               {"int", `CREATE VIEW v AS SELECT x FROM t`, "on view v"},
		"materialized view":  {"int", `CREATE MATERIALIZED VIEW v AS SELECT x FROM t`, "on materialized view v"},
		"trigger":            {"int", `CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER g BEFORE UPDATE OF x ON t FOR EACH ROW EXECUTE FUNCTION f()`, "trigger g on table t"},
		"policy":             {"int", `CREATE POLICY p ON t USING (x > 0)`, "policy p on table t"},
		"generated column":   {"int", `ALTER TABLE t ADD g int GENERATED ALWAYS AS (x + 1) STORED`, "column g of table t"},
		"publication":        {"int", `CREATE PUBLICATION p FOR TABLE t`, ""},
		"index expression":   {"text", `CREATE INDEX i ON t (lower(x))`, "index i, for whose lower(x) the server says"},
		"index predicate":    {"text", `CREATE INDEX i ON t (id) WHERE x ~ 'a'`, "index i, for whose (x ~ 'a'::text) the server says"},
		"operator class":     {"text", `CREATE INDEX i ON t (x text_pattern_ops)`, "index i, whose operators are not for integer"},
		"check":              {"text", `ALTER TABLE t ADD CONSTRAINT c CHECK (length(x) > 0)`, "constraint c on table t, for whose (length(x) > 0)"},
		"extended statistic": {"text", `CREATE STATISTICS s ON lower(x), id FROM t`, "statistics object s, for whose lower(x)"},
		"foreign key":        {"int", `CREATE TABLE other (id int PRIMARY KEY); ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (x) REFERENCES other`, "constraint c on table t"},
		"no cast":            {"text", `SELECT`, "Column public.t.x cannot be cast to integer automatically"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, env := newTable(t)
			if _, err := add("t", "x", expand.Column{Type: c.from}).Apply(t.Context(), env); err != nil {
				t.Fatal(err)
			}
			db.Exec(t, c.sql)
			spec := add("t", "x", expand.Column{Type: to[c.from]}, expand.TableRewrite)
			if c.want != "" {
				expectRefused(t, env, spec, "type", c.want, `{ x_new = { type = "`)
			} else if _, err := spec.Apply(t.Context(), env); err != nil {
				t.Error(err)
			}
			_, err := db.Owner.Exec(t.Context(), fmt.Sprintf(`ALTER TABLE t ALTER COLUMN x TYPE %s`, to[c.from]))
			if refused := err != nil; refused != (c.want != "") && name != "foreign key" {
				t.Errorf("the server says %v", err)
			}
		})
	}
	t.Run("publication with a column list", func(t *testing.T) {
		t.Parallel()
		db, env := newTable(t)
		if pgtest.QueryRow[int](t, db, `SELECT current_setting('server_version_num')::int`) < 150000 {
			return // It came with 15.
		}
		if _, err := add("t", "x", expand.Column{Type: "int"}).Apply(t.Context(), env); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Super.Exec(t.Context(), `CREATE PUBLICATION p FOR TABLE t (id, x)`); err != nil {
			t.Fatal(err)
		}
		expectRefused(t, env, add("t", "x", expand.Column{Type: "bigint"}, expand.TableRewrite), "type", "publication of table t in publication p")
		if _, err := db.Owner.Exec(t.Context(), `ALTER TABLE t ALTER COLUMN x TYPE bigint`); err == nil {
			t.Error("the server changes it")
		}
	})
	t.Run("backfill", func(t *testing.T) {
		t.Parallel()
		_, env := newTable(t)
		if _, err := add("t", "x", expand.Column{Type: "int"}).Apply(t.Context(), env); err != nil {
			t.Fatal(err)
		}
		name := pg.TableName{Schema: "public", Name: "t"}
		filled := &backfill.Spec{ID: "public.t/x", Table: name, Set: map[string]string{"x": "id"}}
		if _, err := filled.Apply(t.Context(), env); err != nil {
			t.Fatal(err)
		}
		spec := add("t", "x", expand.Column{Type: "bigint"}, expand.TableRewrite)
		expectRefused(t, env, spec, "type", "used by other stages", "postgres_batched_backfill public.t/x")
		if _, err := filled.Revert(t.Context(), env); err != nil {
			t.Fatal(err)
		}
		if _, err := spec.Apply(t.Context(), env); err != nil {
			t.Errorf("after the backfill was destroyed: %v", err)
		}
	})
}

// slowRewrite is an expand whose rewrite takes until the advisory lock, which the test holds, is free. The table is locked
// by then.
func slowRewrite(t *testing.T, db *pgtest.Database) (spec *expand.Spec, release func()) {
	t.Helper()
	db.Exec(t, `
		CREATE FUNCTION slow() RETURNS int LANGUAGE plpgsql VOLATILE AS $$
		BEGIN
		  PERFORM pg_advisory_xact_lock(4711);
		  RETURN 1;
		END $$`)
	conn, err := pgx.Connect(t.Context(), db.ConnString())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `SELECT pg_advisory_lock(4711)`); err != nil {
		t.Fatal(err)
	}
	release = func() {
		if err := conn.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
	return add("t", "x", expand.Column{Type: "int", Default: "slow()"}, expand.TableRewrite), release
}

// waitForRewrite waits until the rewrite is in its middle.
func waitForRewrite(t *testing.T, db *pgtest.Database) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if pgtest.QueryRow[bool](t, db, `
			SELECT EXISTS (SELECT FROM pg_locks w JOIN pg_locks h ON h.pid = w.pid AND h.relation = 't'::regclass AND h.mode = 'AccessExclusiveLock' AND h.granted
			                WHERE w.locktype = 'advisory' AND NOT w.granted AND w.database = (SELECT oid FROM pg_database WHERE datname = current_database()))`) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the rewrite does not begin")
		}
	}
}

func TestInterruptedRewriteLeavesEverythingAsItWas(t *testing.T) {
	t.Parallel()
	for name, interrupt := range map[string]func(t *testing.T, db *pgtest.Database, cancel context.CancelFunc){
		"cancelled": func(_ *testing.T, _ *pgtest.Database, cancel context.CancelFunc) { cancel() },
		"statement cancelled by an operator": func(t *testing.T, db *pgtest.Database, _ context.CancelFunc) {
			db.Exec(t, `SELECT pg_cancel_backend(pid) FROM pg_locks
				WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, env := newTable(t)
			spec, release := slowRewrite(t, db)
			filenode := pgtest.QueryRow[uint32](t, db, `SELECT pg_relation_filenode('t')`)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() {
				_, err := spec.Apply(ctx, env)
				done <- err
			}()
			waitForRewrite(t, db)
			interrupt(t, db, cancel)
			if err := <-done; err == nil {
				t.Fatal("the apply succeeded")
			}
			release()
			if now := pgtest.QueryRow[uint32](t, db, `SELECT pg_relation_filenode('t')`); now != filenode {
				t.Error("the table was rewritten")
			}
			if n := pgtest.QueryRow[int](t, db, `SELECT count(*) FROM t`); n != 1000 {
				t.Errorf("%d rows, want 1000", n)
			}
			err := env.DB.Look(t.Context(), func(tx pgx.Tx) error {
				record, err := env.Record(t.Context(), tx, ledger.ColumnExpand, spec.ID)
				if record != nil {
					t.Errorf("the ledger has %+v", record)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if state, err := spec.Read(t.Context(), env); state != nil || err != nil {
				t.Errorf("read: %v, %v", state, err)
			}
			if _, err := spec.Apply(t.Context(), env); err != nil {
				t.Fatalf("the next apply: %v", err)
			}
			expectRead(t, env, spec)
		})
	}
}

// TestRewriteTakesLongerThanOtherWorkMay holds it for longer than a change of metadata may take, and for longer than the
// database lets statements and, where it can, transactions go on.
func TestRewriteTakesLongerThanOtherWorkMay(t *testing.T) {
	t.Parallel()
	db, env := newTable(t)
	if _, err := add("t", "first", expand.Column{Type: "int"}).Apply(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	db.Exec(t, `
		DELETE FROM t WHERE id > 1;
		CREATE FUNCTION slow() RETURNS int LANGUAGE plpgsql VOLATILE AS $$
		BEGIN
		  PERFORM pg_sleep(6);
		  RETURN 1;
		END $$;
		DO $$
		BEGIN
		  EXECUTE format('ALTER DATABASE %I SET statement_timeout = ''5s''', current_database());
		  IF current_setting('server_version_num')::int >= 170000 THEN
		    EXECUTE format('ALTER DATABASE %I SET transaction_timeout = ''5s''', current_database());
		  END IF;
		END $$`)
	env = stagetest.NewEnv(t, db.ConnString()) // with sessions that have the settings
	spec := add("t", "x", expand.Column{Type: "int", Default: "slow()"}, expand.TableRewrite)
	if _, err := spec.Apply(t.Context(), env); err != nil {
		t.Errorf("a rewrite of 6 seconds: %v", err)
	}
}

// TestRewriteWaitsForReadersWithoutQueueing keeps a transaction open that has read the table, for longer than attempts go on.
func TestRewriteWaitsForReadersWithoutQueueing(t *testing.T) {
	t.Parallel()
	db, env := newTable(t)
	reader, err := pgx.Connect(t.Context(), db.ConnString()+"&application_name=nightly-report")
	if err != nil {
		t.Fatal(err)
	}
	tx, err := reader.Begin(t.Context())
	if err == nil {
		_, err = tx.Exec(t.Context(), `SELECT FROM t LIMIT 1`)
	}
	if err != nil {
		t.Fatal(err)
	}
	spec := add("t", "x", expand.Column{Type: "float8", Default: "random()"}, expand.TableRewrite)
	filenode := pgtest.QueryRow[uint32](t, db, `SELECT pg_relation_filenode('t')`)
	var f *finding.Finding
	if _, err := spec.Apply(t.Context(), env); !errors.As(err, &f) || !strings.Contains(f.Detail, "nightly-report") || !strings.Contains(f.Summary, "locked by others") {
		t.Errorf("the apply says %v", err)
	}
	if now := pgtest.QueryRow[uint32](t, db, `SELECT pg_relation_filenode('t')`); now != filenode {
		t.Error("the table was rewritten")
	}
	if err := errors.Join(tx.Rollback(t.Context()), reader.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	if _, err := spec.Apply(t.Context(), env); err != nil {
		t.Errorf("without the reader: %v", err)
	}
}
