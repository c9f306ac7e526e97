package load

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// primary is the one server of these tests, with what the signals need. Each test changes its settings back.
var primary struct {
	once   sync.Once
	server *pgtest.Server
	err    error
}

func TestMain(m *testing.M) {
	m.Run() // the testing package exits with its result after TestMain returns
	if primary.server != nil {
		_ = primary.server.Stop() // a leftover is reported by the tests of pgtest
	}
}

// newDatabase returns a database on the server. Its owner is a plain role.
func newDatabase(t *testing.T) *pgtest.Database {
	t.Helper()
	primary.once.Do(func() {
		major, _ := strconv.Atoi(os.Getenv(pgtest.MajorVariable)) // unset is 0, any major
		primary.server, primary.err = pgtest.Start(context.Background(), pgtest.Options{Major: major, Settings: map[string]string{
			"archive_mode":              "on",
			"archive_command":           "true",
			"max_prepared_transactions": "5",
			"checkpoint_timeout":        "1h",
		}})
	})
	if primary.err != nil {
		t.Fatalf("this test needs a PostgreSQL server: %v", primary.err)
	}
	return pgtest.NewDatabaseOn(t, primary.server)
}

func super(t *testing.T, db *pgtest.Database, sql string, args ...any) {
	t.Helper()
	if _, err := db.Super.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
}

// set changes a setting of the server for the length of a test.
func set(t *testing.T, db *pgtest.Database, name, value string) {
	t.Helper()
	super(t, db, "ALTER SYSTEM SET "+name+" = "+pg.Literal(value))
	super(t, db, "SELECT pg_reload_conf()")
	t.Cleanup(func() {
		for _, sql := range []string{"ALTER SYSTEM RESET " + name, "SELECT pg_reload_conf()"} {
			if _, err := db.Server.Superuser.Exec(context.Background(), sql); err != nil {
				t.Error(err)
			}
		}
	})
}

// seeing lets the owner of the database see what pg_monitor sees.
func seeing(t *testing.T, db *pgtest.Database) *pgtest.Database {
	t.Helper()
	super(t, db, "GRANT pg_monitor TO "+pg.Quote(db.OwnerRole))
	return db
}

// watched is a monitor that runs until the test ends.
type watched struct {
	*Monitor
	t   *testing.T
	log *logged
}

type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func open(t *testing.T, connString string) *pg.DB {
	t.Helper()
	opened := pg.Open(pg.Settings{ConnectionString: connString, ApplicationName: "monitor", ConnectTimeout: 5 * time.Second, MaxConnections: 4})
	t.Cleanup(opened.Close)
	return opened
}

// watch runs a monitor as the owner of the database.
func watch(t *testing.T, db *pgtest.Database, limits Limits, relations ...uint32) *watched {
	t.Helper()
	return watchOver(t, db.ConnString(), limits, relations...)
}

// watchAs runs one as another role.
func watchAs(t *testing.T, db *pgtest.Database, role string, limits Limits) *watched {
	t.Helper()
	return watchOver(t, db.Server.ConnString(db.Name, role), limits)
}

// watchOver runs a monitor until the test ends. It looks more often than usual.
func watchOver(t *testing.T, connString string, limits Limits, relations ...uint32) *watched {
	t.Helper()
	log := &logged{}
	w := &watched{t: t, log: log, Monitor: NewMonitor(open(t, connString), limits, relations, slog.New(slog.NewTextHandler(log, nil)))}
	w.every = 50 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the monitor ends with %v", err)
		}
	})
	w.awaitLook()
	return w
}

// awaitLook waits until a look that begins from now on has been taken in.
func (w *watched) awaitLook() {
	w.t.Helper()
	before := w.looks()
	eventually(w.t, "another look", func() bool { return w.looks() >= before+2 })
}

func (w *watched) looks() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.decider.looks
}

// await waits until the verdict is as it should be, and returns it.
func (w *watched) await(what string, holds func(v Verdict) bool) Verdict {
	w.t.Helper()
	var v Verdict
	defer func() {
		if w.t.Failed() {
			w.t.Logf("the last verdict: %+v\nlog: %s", v, w.log)
		}
	}()
	eventually(w.t, what, func() bool {
		v = w.Verdict(time.Now())
		return holds(v)
	})
	return v
}

// awaitPause waits for a pause whose reason has that in it.
func (w *watched) awaitPause(reason string) Verdict {
	w.t.Helper()
	return w.await("a pause because of "+reason, func(v Verdict) bool { return v.Pause && strings.Contains(v.Reason, reason) })
}

// awaitGo waits until nothing is in the way.
func (w *watched) awaitGo() {
	w.t.Helper()
	w.await("no pause and no reason", func(v Verdict) bool { return !v.Pause && v.Reason == "" && v.Budget == 1 })
}

// eventually fails the test when something does not come in a minute.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// writeWAL writes so many mebibytes of WAL.
func writeWAL(t *testing.T, db *pgtest.Database, mebibytes int) {
	t.Helper()
	super(t, db, `SELECT count(pg_logical_emit_message(true, 'test', repeat('x', 1 << 20))) FROM generate_series(1, $1)`, mebibytes)
}

func connect(t *testing.T, db *pgtest.Database) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.ConnString())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func exec(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
