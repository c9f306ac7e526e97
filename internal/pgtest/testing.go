package pgtest

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// MajorVariable is the environment variable that chooses the server major of a test run; unset or empty is any.
const MajorVariable = "PGTEST_MAJOR"

// shared is the one server of a test process, started by the first test that needs it.
var shared struct {
	once   sync.Once
	server *Server
	err    error
}

// Main runs the tests of a package and then stops the server they shared:
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
//
// Without it the server ends with the process all the same.
func Main(m *testing.M) {
	m.Run() // the testing package exits with its result after TestMain returns
	if shared.server != nil {
		if err := shared.server.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop the shared PostgreSQL server:", err)
		}
	}
}

// NewDatabase gives a test its own database on the server that the tests of a process share. It fails the test when
// there is no server to be had: a test that needs PostgreSQL never passes without it.
func NewDatabase(t testing.TB) *Database {
	t.Helper()
	shared.once.Do(func() {
		// Not the test's context: the server outlives the test that happens to come first.
		options := Options{inMemory: true}
		if options.Major, shared.err = majorOfTests(); shared.err == nil {
			shared.server, shared.err = Start(context.Background(), options)
		}
	})
	if shared.err != nil {
		t.Fatalf("this test needs a PostgreSQL server: %v", shared.err)
	}
	return newDatabase(t, shared.server)
}

// NewDatabaseOn is NewDatabase on a server of the test's own.
func NewDatabaseOn(t testing.TB, server *Server) *Database {
	t.Helper()
	return newDatabase(t, server)
}

func newDatabase(t testing.TB, server *Server) *Database {
	t.Helper()
	database, err := server.CreateDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("server log of %s:\n%s", database.Name, database.log())
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // t.Context() has ended
		defer cancel()
		if err := database.Drop(ctx); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return database
}

// log is the end of what the server logged about this database.
func (d *Database) log() string {
	var own []string
	for line := range strings.Lines(d.Server.Log()) {
		if strings.Contains(line, "db="+d.Name+" ") {
			own = append(own, strings.TrimRight(line, "\n"))
		}
	}
	return tail(strings.Join(own, "\n"), 50)
}

// StartServer starts a server for one test alone, for tests that restart it or need settings of their own.
func StartServer(t testing.TB, options Options) *Server {
	t.Helper()
	if options.Major == 0 {
		var err error
		if options.Major, err = majorOfTests(); err != nil {
			t.Fatal(err)
		}
	}
	options.inMemory = true
	server, err := Start(t.Context(), options)
	if err != nil {
		t.Fatalf("this test needs a PostgreSQL server: %v", err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Errorf("stop the test's server: %v", err)
		}
	})
	return server
}

func majorOfTests() (int, error) {
	value := os.Getenv(MajorVariable)
	if value == "" {
		return 0, nil
	}
	major, err := strconv.Atoi(value)
	if err != nil {
		return 0, fmt.Errorf("%s must be a PostgreSQL major such as 17, not %q", MajorVariable, value)
	}
	return major, nil
}

// Exec runs a statement as the owner and fails the test when it fails.
func (d *Database) Exec(t testing.TB, sql string, arguments ...any) {
	t.Helper()
	if _, err := d.Owner.Exec(t.Context(), sql, arguments...); err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
}

// Query returns the rows of a one-column query run as the owner.
func Query[T any](t testing.TB, database *Database, sql string, arguments ...any) []T {
	t.Helper()
	rows, err := database.Owner.Query(t.Context(), sql, arguments...)
	if err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
	return values
}

// QueryRow returns the only value of a query run as the owner. It fails the test unless there is exactly one row.
func QueryRow[T any](t testing.TB, database *Database, sql string, arguments ...any) T {
	t.Helper()
	values := Query[T](t, database, sql, arguments...)
	if len(values) != 1 {
		t.Fatalf("want one row, have %d\n%s", len(values), sql)
	}
	return values[0]
}

// NewProxy starts a proxy in front of a database's server for one test, and returns it with the URL of the database,
// for its owner, through the proxy.
func NewProxy(t testing.TB, database *Database) (*Proxy, string) {
	t.Helper()
	proxy, err := StartProxy(t.Context(), database.Server.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	connString, err := proxy.ConnString(database.ConnString())
	if err != nil {
		t.Fatal(err)
	}
	return proxy, connString
}
