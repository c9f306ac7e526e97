package provider_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// Environment of the process that a local-exec of a test starts: this binary, which then makes a database instead of testing.
const (
	makeDatabaseAs = "MAKE_DATABASE_AS" // a URL of the superuser
	makeDatabase   = "MAKE_DATABASE"    // statements
	makeTableAs    = "MAKE_TABLE_AS"    // a URL of the new database
)

func init() {
	if os.Getenv(makeDatabaseAs) == "" {
		return
	}
	for _, step := range [][2]string{
		{os.Getenv(makeDatabaseAs), os.Getenv(makeDatabase)},
		{os.Getenv(makeTableAs), `CREATE TABLE users AS SELECT i AS id, 'First' || i || ' Last' || i AS full_name FROM generate_series(1, 100) AS i`},
	} {
		conn, err := pgx.Connect(context.Background(), step[0])
		if err == nil {
			_, err = conn.Exec(context.Background(), step[1])
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(0)
}

// TestDatabaseIsMadeInTheSameApply plans all stages of a change before there is a database.
func TestDatabaseIsMadeInTheSameApply(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	name := db.Name + "_made"
	made := db.Server.ConnString(name, db.OwnerRole)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := db.Super.Exec(context.WithoutCancel(t.Context()), `DROP DATABASE IF EXISTS `+pg.Quote(name)+` WITH (FORCE)`); err != nil {
			t.Error(err)
		}
	})
	database := fmt.Sprintf(`
resource "terraform_data" "database" {
  input = %q
  provisioner "local-exec" {
    command = %q
    environment = {
      %s = %q
      %s = %q
      %s = %q
    }
  }
}
provider "postgres" {
  connection_string = terraform_data.database.output
}
`, made, exe, makeDatabaseAs, db.Server.ConnString(db.Name, pgtest.SuperuserRole),
		makeDatabase, `CREATE DATABASE `+pg.Quote(name)+` OWNER `+pg.Quote(db.OwnerRole), makeTableAs, made)
	r := newCLIRun(t, db, stageQuarantine)
	r.write("terraform.tf", requiredProviders+database)

	warnings := planWarnings(t, r)
	if len(warnings) != 1 {
		t.Errorf("%d warnings, want one: %v", len(warnings), warnings)
	}
	expectWarning(t, warnings, "The plan was made without the database", "values that are not known yet")
	expectOutput(t, r.run(0, "apply", "-auto-approve"), "5 added")
	r.run(0, "plan", "-detailed-exitcode")

	// Now that the stages are there, the provider block becomes unknown once more.
	r.write("terraform.tf", requiredProviders+strings.Replace(database, made, made+"&application_name=moved", 1))
	expectWarning(t, planWarnings(t, r), "The plan was made without the database")
	r.apply()
	expectOutput(t, r.run(0, "destroy", "-auto-approve"), "5 destroyed")
	conn, err := pgx.Connect(t.Context(), made)
	if err != nil {
		t.Fatal(err)
	}
	var columns string
	err = conn.QueryRow(t.Context(), `SELECT string_agg(column_name, ',' ORDER BY ordinal_position) FROM information_schema.columns WHERE table_name = 'users'`).Scan(&columns)
	if err != nil || columns != "id,full_name" {
		t.Errorf("columns = %s (%v)", columns, err)
	}
	_ = conn.Close(t.Context()) // The database is dropped in any case.
}

// rotating is a role whose password a file holds, for password_command.
type rotating struct {
	*cliRun
	role, file string
}

func newRotating(t *testing.T, config string) *rotating {
	t.Helper()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 2000)
	u, err := url.Parse(db.ConnString())
	if err != nil {
		t.Fatal(err)
	}
	r := &rotating{cliRun: newCLIRun(t, db, config), role: db.Name + "_rotating", file: filepath.Join(t.TempDir(), "password")}
	r.super(`CREATE ROLE ` + pg.Quote(r.role) + ` LOGIN IN ROLE ` + pg.Quote(db.OwnerRole))
	t.Cleanup(func() {
		if _, err := db.Super.Exec(context.WithoutCancel(t.Context()), `DROP ROLE `+pg.Quote(r.role)); err != nil {
			t.Error(err)
		}
	})
	r.write("terraform.tf", requiredProviders+fmt.Sprintf(`
provider "postgres" {
  host             = %q
  port             = %s
  database         = %q
  username         = %q
  role             = %q
  sslmode          = "disable"
  password_command = ["cat", %q]
}
`, u.Hostname(), u.Port(), db.Name, r.role, db.OwnerRole, r.file))
	r.rotate("first secret")
	r.deliver("first secret")
	return r
}

func (r *rotating) super(sql string) {
	r.t.Helper()
	if _, err := r.db.Super.Exec(r.t.Context(), sql); err != nil {
		r.t.Fatal(err)
	}
}

// rotate changes the password and ends the sessions that came with the former one.
func (r *rotating) rotate(password string) {
	r.t.Helper()
	r.super(fmt.Sprintf(`ALTER ROLE %s PASSWORD %s; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s`,
		pg.Quote(r.role), pg.Literal(password), pg.Literal(r.role)))
}

// deliver makes the command print the password.
func (r *rotating) deliver(password string) {
	r.t.Helper()
	if err := os.WriteFile(r.file, []byte(password+"\n"), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// expectRefused fails unless the output has one error, which names who could not log in where, and no password.
func (r *rotating) expectRefused(output string) {
	r.t.Helper()
	expectOutput(r.t, output, "password authentication failed", r.role, "127.0.0.1")
	if n := strings.Count(output, "Error: "); n > 1 {
		r.t.Errorf("%d errors, want one:\n%s", n, output)
	}
	if strings.Contains(output, "secret") {
		r.t.Errorf("the output has a password in it:\n%s", output)
	}
}

// TestPasswordChangesBetweenPlanAndApply has the command run again for the apply.
func TestPasswordChangesBetweenPlanAndApply(t *testing.T) {
	t.Parallel()
	r := newRotating(t, stageBackfill)
	r.run(0, "plan", "-out=tfplan")
	r.rotate("second secret")
	r.expectRefused(r.run(1, "apply", "tfplan"))
	r.expectRefused(r.run(0, "plan", "-out=tfplan")) // a warning
	r.deliver("second secret")
	r.run(0, "apply", "tfplan")
	r.run(0, "plan", "-detailed-exitcode")
}

// TestPasswordChangesDuringABackfill ends the sessions of a backfill whose password is no longer good.
func TestPasswordChangesDuringABackfill(t *testing.T) {
	t.Parallel()
	r := newRotating(t, expandName)
	r.apply()
	slowUpdates(t, r.db, "users", "2 milliseconds")
	countUpdates(t, r.db)
	r.write("main.tf", expandName+backfillName)

	p := startBackfill(t, r.cliRun)
	r.deliver("second secret")
	r.rotate("second secret")
	before := rowsUpdated(t, r.db)
	eventually(t, "the backfill goes on with the new password", func() bool { return rowsUpdated(t, r.db) > before })
	r.rotate("third secret")
	result := r.await(p)
	if result.ExitCode == 0 {
		t.Error("the apply did without a password")
	}
	r.expectRefused(result.Stdout + result.Stderr)
	expectUntainted(t, r.cliRun)
	r.deliver("third secret")
	r.apply()
	expectEachOnce(t, r.db)
}
