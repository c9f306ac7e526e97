package pgtest_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

func TestStopLeavesNothingBehind(t *testing.T) {
	server, err := pgtest.Start(t.Context(), options(map[string]string{"work_mem": "5MB"}))
	if err != nil {
		t.Fatal(err)
	}
	if want := os.Getenv(pgtest.MajorVariable); want != "" && want != strconv.Itoa(server.Major) {
		t.Errorf("major = %d, want %s", server.Major, want)
	}
	var directory, workMem string
	err = server.Superuser.QueryRow(t.Context(),
		"SELECT current_setting('data_directory'), current_setting('work_mem')").Scan(&directory, &workMem)
	if err != nil {
		t.Error(err)
	}
	if workMem != "5MB" {
		t.Errorf("work_mem = %s, want the caller's 5MB", workMem)
	}
	for range 2 {
		if err := server.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	}
	assertGone(t, filepath.Dir(directory), server.Address())
}

func TestKilledProcessLeavesNothingBehind(t *testing.T) {
	helper := exec.CommandContext(t.Context(), os.Args[0])
	helper.Env = append(os.Environ(), serveVariable+"=1")
	helper.Stderr = os.Stderr
	output, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	var directory, address string
	_, scanErr := fmt.Fscan(output, &directory, &address)
	if err := helper.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = helper.Wait() // "signal: killed"
	if scanErr != nil {
		t.Fatalf("the helper process did not say what it started: %v", scanErr)
	}
	// The watchdog is no child of this process that could be waited for.
	eventually(t, func() bool { return gone(filepath.Dir(directory), address) == nil })
	assertGone(t, filepath.Dir(directory), address)
}

func TestRestartKeepsCommittedDataAndBreaksConnections(t *testing.T) {
	server := pgtest.StartServer(t, pgtest.Options{})
	database := pgtest.NewDatabaseOn(t, server)
	database.Exec(t, "CREATE TABLE kept AS SELECT 1 AS n")
	before, err := pgx.Connect(t.Context(), database.ConnString())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = before.Close(t.Context()) }()

	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := before.Ping(t.Context()); err == nil {
		t.Error("a connection from before the restart still works")
	}
	after, err := pgx.Connect(t.Context(), database.ConnString())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = after.Close(t.Context()) }()
	var n int
	if err := after.QueryRow(t.Context(), "SELECT n FROM kept").Scan(&n); err != nil {
		t.Errorf("committed row after the restart: %v", err)
	}
	if log := server.Log(); !strings.Contains(log, "automatic recovery in progress") {
		t.Errorf("the restart was no crash; the log:\n%s", log)
	}
}

func TestStartReportsTheServersOwnError(t *testing.T) {
	_, err := pgtest.Start(t.Context(), options(map[string]string{"shared_buffers": "lots"}))
	if err == nil || !strings.Contains(err.Error(), `invalid value for parameter "shared_buffers"`) {
		t.Errorf("error = %v, want the server's complaint about shared_buffers", err)
	}
}

func TestFindRefusesUnsupportedMajor(t *testing.T) {
	_, err := pgtest.Find(t.Context(), 13)
	if err == nil || err.Error() != "PostgreSQL 13 is not one of the supported majors 14 to 18" {
		t.Errorf("error = %v", err)
	}
}

func TestDatabasesAreApartAndOwnedByPlainRoles(t *testing.T) {
	one, other := pgtest.NewDatabase(t), pgtest.NewDatabase(t)
	one.Exec(t, "CREATE TABLE mine (n int)")
	if found := pgtest.QueryRow[bool](t, other, "SELECT to_regclass('mine') IS NOT NULL"); found {
		t.Error("a table of one database is visible in another")
	}
	rights := pgtest.QueryRow[bool](t, one, `
SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
FROM pg_roles
WHERE rolname = current_user`)
	if rights {
		t.Error("the owner has more rights than a plain role")
	}
}

func TestWrongPasswordIsRefused(t *testing.T) {
	database := pgtest.NewDatabase(t)
	config, err := pgx.ParseConfig(database.ConnString())
	if err != nil {
		t.Fatal(err)
	}
	config.Password = "wrong"
	_, err = pgx.ConnectConfig(t.Context(), config)
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != "28P01" {
		t.Errorf("error = %v, want SQLSTATE 28P01", err)
	}
}

func assertGone(t *testing.T, directory, address string) {
	t.Helper()
	if err := gone(directory, address); err != nil {
		t.Error(err)
	}
}

// gone returns what is left of a server.
func gone(directory, address string) error {
	if _, err := os.Stat(directory); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("the directory %s is still there", directory), err)
	}
	if conn, err := net.Dial("tcp", address); err == nil {
		_ = conn.Close()
		return fmt.Errorf("something still listens on %s", address)
	}
	return nil
}

// eventually looks until a condition holds, for at most half a minute.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !holds() && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
}
