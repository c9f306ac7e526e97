package provider_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// readUsers opens a transaction of an application called nightly-report that has read the table users.
func readUsers(t *testing.T, db *pgtest.Database) (tx pgx.Tx, pid uint32) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.ConnString()+"&application_name=nightly-report")
	if err != nil {
		t.Fatal(err)
	}
	if tx, err = conn.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT FROM users LIMIT 1`); err != nil {
		t.Fatal(err)
	}
	return tx, conn.PgConn().PID()
}

// TestExpandThatCannotGetTheLockChangesNothing keeps a reader open for longer than lock_retry_for.
func TestExpandThatCannotGetTheLockChangesNothing(t *testing.T) {
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 100)
	before := definition(t, db, "users")
	r := newCLIRun(t, db, expandName)
	reader, pid := readUsers(t, db)
	// Words, because the CLI breaks lines.
	output := strings.Join(strings.Fields(strings.ReplaceAll(r.run(1, "apply", "-auto-approve"), "│", " ")), " ")
	for _, want := range []string{
		"Adding columns to public.users (first_name, last_name): the table is locked by others", fmt.Sprintf("pid %d", pid),
		"nightly-report", "idle in transaction", fmt.Sprintf("SELECT pg_terminate_backend(%d);", pid),
	} {
		if !strings.Contains(output, want) {
			t.Errorf("the output lacks %q:\n%s", want, output)
		}
	}
	if after := definition(t, db, "users"); after != before {
		t.Errorf("the table is\n%s\nwant\n%s", after, before)
	}
	if state := r.run(0, "state", "list"); strings.Contains(state, "postgres_column_expand") {
		t.Errorf("the state has the expand, which would be tainted:\n%s", state)
	}
	if err := reader.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.apply()
	if got, want := columnNames(t, db, "users"), "id,full_name,email,visits,first_name,last_name"; got != want {
		t.Errorf("columns = %s, want %s", got, want)
	}
}

// TestExpandWaitsForAReaderWithoutMakingOthersWait ends the reader while the apply tries.
func TestExpandWaitsForAReaderWithoutMakingOthersWait(t *testing.T) {
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 100)
	r := newCLIRun(t, db, expandName)
	reader, _ := readUsers(t, db)
	p := r.start("apply", "-auto-approve")
	eventually(t, "the apply has created its ledger, and looks at the lock", func() bool {
		return pgtest.QueryRow[bool](t, db, `
			SELECT to_regclass('terraform_postgres.stage') IS NOT NULL
			   AND EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'terraform-provider-postgres' AND query LIKE '%pg_locks%')`)
	})
	for range 20 {
		if _, err := db.Owner.Exec(t.Context(), `SET statement_timeout = '4s'; SELECT FROM users LIMIT 1; RESET statement_timeout`); err != nil {
			t.Fatalf("a query of the application: %v", err)
		}
	}
	if err := reader.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	result, err := p.Wait()
	if err != nil || result.ExitCode != 0 {
		t.Fatalf("apply ended with %d, %v:\n%s%s", result.ExitCode, err, result.Stdout, result.Stderr)
	}
	r.run(0, "plan", "-detailed-exitcode")
}
