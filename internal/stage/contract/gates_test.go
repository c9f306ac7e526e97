package contract_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/contract"
)

// unsworn is a contract whose user gives no word.
func unsworn(quietFor time.Duration) *contract.Spec {
	spec := contractOf("users", contract.Quarantine, "full_name")
	spec.WritersMigrated, spec.QuietFor = false, quietFor
	return spec
}

// refused fails unless plan and apply both refuse the contract for the same reason.
func refused(t testing.TB, env *stage.Env, spec *contract.Spec, parts ...string) {
	t.Helper()
	_, err := spec.Check(t.Context(), env)
	expectFinding(t, err, parts...)
	_, err = spec.Apply(t.Context(), env)
	expectFinding(t, err, parts...)
}

// olden moves what the ledger knows into the past.
func olden(t testing.TB, db *pgtest.Database, by string) {
	t.Helper()
	db.Exec(t, `UPDATE terraform_postgres.stage SET created_at = created_at - $1::interval, updated_at = updated_at - $1::interval`, by)
	db.Exec(t, `UPDATE terraform_postgres.writer_note SET first_seen_at = first_seen_at - $1::interval, last_seen_at = last_seen_at - $1::interval`, by)
}

// writeAs writes a row old style in a session of that application name.
func writeAs(t testing.TB, db *pgtest.Database, application string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.ConnString()+"&application_name="+application)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `UPDATE users SET full_name = 'Old Style' WHERE id = 1`); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func newUsers(t testing.TB) (*pgtest.Database, *stage.Env) {
	t.Helper()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 10)
	return db, newEnv(t, db.ConnString())
}

func TestContractNeedsAWordOrASync(t *testing.T) {
	t.Parallel()
	_, env := newUsers(t)
	expand(t, env, nil)
	refused(t, env, unsworn(0), "Nothing says that columns of public.users (full_name) are no longer used", "writers_migrated = true", "postgres_column_sync")
}

func TestContractNeedsASyncThatHasWatchedLongEnough(t *testing.T) {
	t.Parallel()
	db, env := newUsers(t)
	expand(t, env, nameSync())
	refused(t, env, unsworn(24*time.Hour), "Writers of public.users (full_name) were watched for", "of 24h0m0s only", "An apply can go ahead from")
	olden(t, db, "25 hours")
	apply(t, env, unsworn(24*time.Hour))
}

func TestContractWithoutWaiting(t *testing.T) {
	t.Parallel()
	db, env := newUsers(t)
	expand(t, env, nameSync())
	writeAs(t, db, "billing")
	apply(t, env, unsworn(0))
}

func TestContractWaitsForWritersToBeQuiet(t *testing.T) {
	t.Parallel()
	db, env := newUsers(t)
	expand(t, env, nameSync())
	writeAs(t, db, "billing")
	olden(t, db, "3 minutes")
	sworn := contractOf("users", contract.Quarantine, "full_name")
	sworn.QuietFor = time.Hour
	parts := []string{"Columns of public.users (full_name) are still written by 1 service", `application "billing", role ` + db.OwnerRole, "last seen 3m ago", `ignore = ["billing"]`}
	refused(t, env, sworn, parts...)
	refused(t, env, unsworn(time.Hour), parts...)
	for _, ignored := range []string{"billing", db.OwnerRole} {
		sworn.Ignore = []string{ignored}
		if _, err := sworn.Check(t.Context(), env); err != nil {
			t.Errorf("with %s ignored: %v", ignored, err)
		}
	}
	sworn.Ignore = nil
	olden(t, db, "1 hour")
	apply(t, env, sworn)
}

func TestContractNeedsASyncThatWorks(t *testing.T) {
	t.Parallel()
	for name, breakIt := range map[string]string{
		"dropped":  `DROP TRIGGER zzz_sync_first_name_last_name ON users`,
		"disabled": `ALTER TABLE users DISABLE TRIGGER zzz_sync_first_name_last_name`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, env := newUsers(t)
			expand(t, env, nameSync())
			db.Exec(t, breakIt)
			sworn := contractOf("users", contract.Quarantine, "full_name")
			refused(t, env, sworn, "Sync public.users/first_name,last_name does not keep both sides equal", "Apply the sync again")
			apply(t, env, nameSync())
			apply(t, env, sworn)
		})
	}
}

func TestContractTakesTheWholeOldSideOfASync(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	db.Exec(t, `CREATE TABLE points (id int PRIMARY KEY, x int, y int, place text)`)
	env := newEnv(t, db.ConnString())
	apply(t, env, syncOf("points", map[string]string{"place": "x || ',' || y"},
		map[string]string{"x": "split_part(place, ',', 1)::int", "y": "split_part(place, ',', 2)::int"}))
	refused(t, env, contractOf("points", contract.Quarantine, "x"), "only a part of the old side of the sync public.points/place", `columns = ["x", "y"]`)
	both := contractOf("points", contract.Drop, "x", "y")
	db.Exec(t, `INSERT INTO points (id, place) VALUES (1, '3,4')`)
	apply(t, env, both)
	db.Exec(t, `INSERT INTO points (id, place) VALUES (2, '5,6')`)
	revertAll(t, env, both)
	if got := pgtest.QueryRow[string](t, db, `SELECT string_agg(x || '/' || y, ' ' ORDER BY id) FROM points`); got != "3/4 5/6" {
		t.Errorf("points = %s", got)
	}
}

// A transaction that began before the end of the backfill sees NULL in the new columns, and after the contract it would find
// nothing at all.
func TestContractWaitsForOldSnapshots(t *testing.T) {
	t.Parallel()
	db, env := newUsers(t)
	expand(t, env, nil)
	reader, err := db.Owner.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Rollback(context.Background()) }()
	if _, err := reader.Exec(t.Context(), `SELECT count(*) FROM pg_class`); err != nil {
		t.Fatal(err)
	}
	sworn := contractOf("users", contract.Quarantine, "full_name")
	warnings, err := sworn.Check(t.Context(), env)
	if err != nil || len(warnings) != 1 {
		t.Errorf("a snapshot that is newer than the backfill: %v, %v", warnings, err)
	}
	apply(t, env, nameSync()) // It writes the ledger, so that the next backfill has other numbers.
	again := nameBackfill()
	again.Where = "id > 0"
	apply(t, env, again)
	warnings, err = sworn.Check(t.Context(), env)
	if err != nil || len(warnings) != 2 {
		t.Fatalf("check: %v, %v", warnings, err)
	}
	expectText(t, warnings[1], "1 session may still see public.users (full_name) as it was before the backfill", "An apply would wait", "pg_terminate_backend")
	env.RetryFor = 300 * time.Millisecond
	_, err = sworn.Apply(t.Context(), env)
	expectFinding(t, err, "may still see public.users (full_name) as it was before the backfill", "idle in transaction", "Apply again when they have ended")
	done := make(chan error, 1)
	env.RetryFor = patience
	go func() {
		_, err := sworn.Apply(t.Context(), env)
		done <- err
	}()
	if err := reader.Rollback(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Errorf("apply after the snapshot is gone: %v", err)
	}
}

// A role without pg_read_all_stats sees which snapshot another role has, and not since when.
func TestOldSnapshotOfAnotherRole(t *testing.T) {
	t.Parallel()
	db, env := newUsers(t)
	reader, err := db.Super.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Rollback(context.Background()) }()
	if _, err := reader.Exec(t.Context(), `SELECT count(*) FROM pg_class`); err != nil {
		t.Fatal(err)
	}
	expand(t, env, nil)
	sworn := contractOf("users", contract.Quarantine, "full_name")
	warnings, err := sworn.Check(t.Context(), env)
	if err != nil || len(warnings) != 2 {
		t.Fatalf("check: %v, %v", warnings, err)
	}
	expectText(t, warnings[1], "1 session may still see", "GRANT pg_read_all_stats TO")
}

func TestPlanSizesTheArchive(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sync bool
		want string
	}{"with a reverse": {true, "keeps ~23 rows"}, "without": {false, "keeps ~86 rows"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t)
			createUsers(t, db, 100)
			env := newEnv(t, db.ConnString())
			if c.sync {
				expand(t, env, nameSync())
			} else {
				expand(t, env, nil)
			}
			db.Exec(t, `ANALYZE users`)
			drop := contractOf("users", contract.Drop, "full_name")
			warnings, err := drop.Check(t.Context(), env)
			if err != nil {
				t.Fatal(err)
			}
			if len(warnings) != 1 {
				t.Errorf("%d warnings, want one for the stage", len(warnings))
			}
			var all strings.Builder
			for _, w := range warnings {
				all.WriteString(w.Summary + "\n" + w.Detail + "\n\n")
			}
			for _, part := range []string{"The archive terraform_postgres.archive_users_full_name", c.want, "archive = false"} {
				if !strings.Contains(all.String(), part) {
					t.Errorf("the warnings lack %q:\n%s", part, all.String())
				}
			}
		})
	}
}

func TestInterruptedWaitForSnapshots(t *testing.T) {
	t.Parallel()
	db, env := newUsers(t)
	reader, err := db.Super.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Rollback(context.Background()) }()
	if _, err := reader.Exec(t.Context(), `SELECT 1 FROM pg_class LIMIT 1`); err != nil {
		t.Fatal(err)
	}
	expand(t, env, nil)
	env.RetryFor = patience
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := contractOf("users", contract.Quarantine, "full_name").Apply(ctx, env); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("apply: %v", err)
	}
}

func TestUndoForetellsWhatTheRefillTakes(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 1000)
	env := newEnv(t, db.ConnString())
	expand(t, env, nameSync())
	drop := contractOf("users", contract.Drop, "full_name")
	apply(t, env, drop)
	db.Exec(t, `ANALYZE users`)
	f, err := drop.CheckRevert(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	expectText(t, f, "refills up to ~1,000 rows in batches, beside the application, in less than a minute and with about", "of WAL (")
}
