package ddl_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

func TestFiguresHaveTwoDigits(t *testing.T) {
	t.Parallel()
	for n, want := range map[float64]string{
		-1: "an unknown number of rows", 0: "~0 rows", 1: "~1 row", 99: "~99 rows", 123: "~120 rows", 39_912_345: "~40,000,000 rows",
	} {
		if got := ddl.Rows(n); got != want {
			t.Errorf("Rows(%v) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[float64]string{-5: "0 B", 100: "100 B", 1_234_567: "1.2 MiB", 168 << 20: "170 MiB", 9.34 * (1 << 30): "9.3 GiB"} {
		if got := ddl.Bytes(n); got != want {
			t.Errorf("Bytes(%v) = %q, want %q", n, got, want)
		}
	}
}

// obstacles returns what a plan says of a lock on the table t.
func obstacles(t *testing.T, db *pg.DB, lock ddl.Lock) string {
	t.Helper()
	var paragraphs []string
	err := db.Look(t.Context(), func(tx pgx.Tx) error {
		table, err := pg.ReadTable(t.Context(), tx, pg.TableName{Schema: "public", Name: "t"})
		if err == nil {
			paragraphs, err = ddl.Obstacles(t.Context(), tx, table, lock)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return finding.Paragraphs(paragraphs...)
}

func TestForecastNamesWhoIsInTheWay(t *testing.T) {
	t.Parallel()
	server := pgtest.StartServer(t, pgtest.Options{Settings: map[string]string{"max_prepared_transactions": "2"}})
	database := pgtest.NewDatabaseOn(t, server)
	database.Exec(t, `CREATE TABLE t (id int)`)
	db := pg.Open(pg.Settings{ConnectionString: database.ConnString(), MaxConnections: 2})
	t.Cleanup(db.Close)
	if text := obstacles(t, db, ddl.AccessExclusive); text != "" {
		t.Errorf("nobody is in the way: %s", text)
	}
	end := startReader(t, database)
	defer end()
	writer, err := pgx.Connect(t.Context(), database.ConnString())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = writer.Close(context.Background()) }()
	for _, sql := range []string{`BEGIN`, `INSERT INTO t VALUES (1)`, `PREPARE TRANSACTION 'left over'`} {
		if _, err := writer.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		if _, err := writer.Exec(context.Background(), `ROLLBACK PREPARED 'left over'`); err != nil {
			t.Error(err)
		}
	}()
	var text string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if text = obstacles(t, db, ddl.AccessExclusive); strings.Contains(text, "nightly-report") && strings.Contains(text, "left over") {
			break
		}
	}
	for _, want := range []string{
		"An apply would wait now for:", `application "nightly-report"`, "user " + database.OwnerRole, "open for", "holds AccessShareLock; last query: ",
		`prepared transaction "left over"`, "holds RowExclusiveLock",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the forecast lacks %q:\n%s", want, text)
		}
	}
	// Neither a reader nor a writer keeps a batch from its table lock.
	if text := obstacles(t, db, ddl.RowExclusive); text != "" {
		t.Errorf("nobody is in the way of a batch: %s", text)
	}
}
