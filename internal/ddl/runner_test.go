package ddl_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// newRunner returns a runner for a fresh table t, and the change that adds a column to it.
func newRunner(t *testing.T, retryFor time.Duration) (*pgtest.Database, *ddl.Runner, ddl.Change) {
	t.Helper()
	database := pgtest.NewDatabase(t)
	database.Exec(t, `CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0)`)
	database.Exec(t, `INSERT INTO t SELECT i FROM generate_series(1, 1000) AS i`)
	db := pg.Open(pg.Settings{ConnectionString: database.ConnString(), ApplicationName: "runner", MaxConnections: 4})
	t.Cleanup(db.Close)
	var table *pg.Table
	err := db.Look(t.Context(), func(tx pgx.Tx) (err error) {
		table, err = pg.ReadTable(t.Context(), tx, pg.TableName{Schema: "public", Name: "t"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	runner := &ddl.Runner{DB: db, Log: slog.New(slog.DiscardHandler), LockTimeout: 200 * time.Millisecond, RetryFor: retryFor}
	return database, runner, ddl.Change{
		Title: "Adding a column to public.t", Table: table, Lock: ddl.AccessExclusive,
		Work: func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `ALTER TABLE t ADD COLUMN IF NOT EXISTS added int`)
			return err
		},
	}
}

func hasColumn(t *testing.T, db *pgtest.Database) bool {
	t.Helper()
	return pgtest.QueryRow[bool](t, db, `SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'added')`)
}

// startReader opens a transaction that has read the table, and returns the function that ends it.
func startReader(t *testing.T, db *pgtest.Database) (end func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.ConnString()+"&application_name=nightly-report")
	if err != nil {
		t.Fatal(err)
	}
	tx, err := conn.Begin(t.Context())
	if err == nil {
		_, err = tx.Exec(t.Context(), `SELECT count(*) FROM t`)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := errors.Join(tx.Rollback(context.Background()), conn.Close(context.Background())); err != nil {
			t.Error(err)
		}
	}
}

// startApplication runs short queries on the table until stopped.
func startApplication(t *testing.T, db *pgtest.Database) *pgtest.Writers {
	t.Helper()
	writers, err := pgtest.StartWriters(t.Context(), db.ConnString(), pgtest.WriterOptions{
		Writers: 4, Pause: 2 * time.Millisecond,
		Transaction: func(ctx context.Context, conn *pgx.Conn, random *rand.Rand) error {
			_, err := conn.Exec(ctx, `UPDATE t SET n = n + 1 WHERE id = $1`, 1+random.IntN(1000))
			return err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { writers.Stop() })
	return writers
}

// TestApplicationDoesNotQueueBehindTheChange holds the table with a reader, and compares the application's longest stall
// with that behind a statement that simply waits.
func TestApplicationDoesNotQueueBehindTheChange(t *testing.T) {
	const hold = 5 * time.Second
	db, runner, change := newRunner(t, time.Minute)
	application := startApplication(t, db)

	stall := func(alter func() error) time.Duration {
		t.Helper()
		end := startReader(t, db)
		application.ResetStats()
		done := make(chan error, 1)
		go func() { done <- alter() }()
		select {
		case err := <-done:
			t.Fatalf("the statement did not wait for the reader: %v", err)
		case <-time.After(hold):
		}
		longest := application.Stats().Max
		end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		return longest
	}
	ours := stall(func() error { return runner.Run(t.Context(), change) })
	if !hasColumn(t, db) {
		t.Error("the column was not added after the reader ended")
	}
	naive := stall(func() error {
		_, err := db.Owner.Exec(t.Context(), `ALTER TABLE t DROP COLUMN added`)
		return err
	})
	if naive < hold/2 {
		t.Errorf("the statement that waits stalled the application for %s only: the measurement shows nothing", naive)
	}
	if ours > naive/4 {
		t.Errorf("the application stalled for %s behind the change, and %s behind a statement that waits", ours, naive)
	}
	if stats := application.Stop(); stats.Errors > 0 {
		t.Errorf("%d transactions failed: %v", stats.Errors, stats.FirstErrors)
	}
	t.Logf("longest stall %s, %.3f of that behind a statement that waits", ours, ours.Seconds()/naive.Seconds())
}

func TestChangeThatIsBlockedNamesTheHolder(t *testing.T) {
	db, runner, change := newRunner(t, 2*time.Second)
	end := startReader(t, db)
	defer end()
	err := runner.Run(t.Context(), change)
	var f *finding.Finding
	if !errors.As(err, &f) {
		t.Fatalf("Run = %v, want a finding", err)
	}
	for _, want := range []string{
		"Adding a column to public.t: the table is locked by others", `application "nightly-report"`, "idle in transaction",
		"holds AccessShareLock", "SELECT pg_terminate_backend(",
	} {
		if !strings.Contains(f.Summary+f.Detail, want) {
			t.Errorf("the finding lacks %q:\n%s\n%s", want, f.Summary, f.Detail)
		}
	}
	if hasColumn(t, db) {
		t.Error("the column was added all the same")
	}
}

func TestChangeGetsThroughOnABusyTable(t *testing.T) {
	db, runner, change := newRunner(t, time.Minute)
	application := startApplication(t, db)
	if err := runner.Run(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	if stats := application.Stop(); stats.Errors > 0 || stats.Transactions == 0 {
		t.Errorf("%d of %d transactions failed: %v", stats.Errors, stats.Transactions, stats.FirstErrors)
	}
	if !hasColumn(t, db) {
		t.Error("the column was not added")
	}
}

func TestPreparedTransactionIsNamed(t *testing.T) {
	server := pgtest.StartServer(t, pgtest.Options{Settings: map[string]string{"max_prepared_transactions": "2"}})
	database := pgtest.NewDatabaseOn(t, server)
	database.Exec(t, `CREATE TABLE t (id int)`)
	db := pg.Open(pg.Settings{ConnectionString: database.ConnString()})
	t.Cleanup(db.Close)
	conn, err := pgx.Connect(t.Context(), database.ConnString())
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{`BEGIN`, `INSERT INTO t VALUES (1)`, `PREPARE TRANSACTION 'it''s forgotten'`} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var table *pg.Table
	err = db.Look(t.Context(), func(tx pgx.Tx) (err error) {
		table, err = pg.ReadTable(t.Context(), tx, pg.TableName{Schema: "public", Name: "t"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	runner := &ddl.Runner{DB: db, Log: slog.New(slog.DiscardHandler), LockTimeout: 100 * time.Millisecond, RetryFor: 1500 * time.Millisecond}
	err = runner.Run(t.Context(), ddl.Change{Title: "It", Table: table, Lock: ddl.AccessExclusive, Work: func(context.Context, pgx.Tx) error { return nil }})
	if err == nil || !strings.Contains(err.Error(), "ROLLBACK PREPARED 'it''s forgotten';") {
		t.Errorf("Run = %v, want the prepared transaction and its remedy", err)
	}
	database.Exec(t, `ROLLBACK PREPARED 'it''s forgotten'`)
}

func TestLostCommitIsFoundOut(t *testing.T) {
	db, runner, change := newRunner(t, time.Minute)
	proxy, connString := pgtest.NewProxy(t, db)
	runner.DB = pg.Open(pg.Settings{ConnectionString: connString})
	t.Cleanup(runner.DB.Close)
	runs := 0
	work := change.Work
	change.Work = func(ctx context.Context, tx pgx.Tx) error {
		runs++
		if runs == 1 {
			proxy.CutAfter(pgtest.Containing("commit"), 1)
		}
		return work(ctx, tx)
	}
	if err := runner.Run(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	if runs != 2 || !hasColumn(t, db) {
		t.Errorf("the work ran %d times, want twice: the second time to see that it is done", runs)
	}
}

func TestErrorOfTheWorkIsNotTriedAgain(t *testing.T) {
	_, runner, change := newRunner(t, time.Minute)
	runs, problem := 0, errors.New("no")
	change.Work = func(context.Context, pgx.Tx) error { runs++; return problem }
	if err := runner.Run(t.Context(), change); !errors.Is(err, problem) || runs != 1 {
		t.Errorf("Run = %v after %d runs, want the error of the first", err, runs)
	}
}

func TestInterruptEndsTheWait(t *testing.T) {
	db, runner, change := newRunner(t, time.Hour)
	end := startReader(t, db)
	defer end()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(500*time.Millisecond, cancel)
	if err := runner.Run(ctx, change); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want context.Canceled", err)
	}
	if hasColumn(t, db) {
		t.Error("the column was added all the same")
	}
}
