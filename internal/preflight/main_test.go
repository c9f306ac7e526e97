package preflight_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/preflight"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/stagetest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

var users = pg.TableName{Schema: "public", Name: "users"}

// sensitive are limits that take as little as a test makes.
func sensitive() preflight.Limits {
	limits := preflight.DefaultLimits
	limits.HeldFor = time.Millisecond
	limits.LongTransaction = time.Millisecond
	return limits
}

// createUsers makes a table in which nothing is wrong.
func createUsers(t *testing.T, db *pgtest.Database) {
	t.Helper()
	db.Exec(t, `CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, full_name text NOT NULL, email text, visits int DEFAULT 0)`)
	db.Exec(t, `INSERT INTO users (full_name, email) SELECT 'Name ' || i, CASE WHEN i % 2 = 0 THEN i || '@example.com' END FROM generate_series(1, 20) AS i`)
	db.Exec(t, `VACUUM ANALYZE users`)
}

// look looks at users as the owner of the database.
func look(t *testing.T, db *pgtest.Database, limits preflight.Limits) *preflight.Report {
	t.Helper()
	return lookAs(t, db.ConnString(), limits)
}

func lookAs(t *testing.T, connString string, limits preflight.Limits) *preflight.Report {
	t.Helper()
	env := stagetest.NewEnv(t, connString)
	defer env.DB.Close() // A test that looks often must not keep all the sessions.
	report, err := preflight.Look(t.Context(), env, users, limits)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func hazards(report *preflight.Report) []preflight.HazardType {
	types := []preflight.HazardType{}
	for _, h := range report.Hazards {
		types = append(types, h.Type)
	}
	return types
}

func message(report *preflight.Report, hazard preflight.HazardType) string {
	for _, h := range report.Hazards {
		if h.Type == hazard {
			return h.Message
		}
	}
	return ""
}

// eventually looks until the hazard is there, for what the server reports a moment later.
func eventually(t *testing.T, db *pgtest.Database, limits preflight.Limits, hazard preflight.HazardType) *preflight.Report {
	t.Helper()
	const patience = time.Minute
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		report := look(t, db, limits)
		if slices.Contains(hazards(report), hazard) {
			return report
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %s within %s: %v", hazard, patience, report.Hazards)
		}
	}
}

// session opens a session that ends with the test, whatever it does then.
func session(t *testing.T, connString string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), connString)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func exec(t *testing.T, conn *pgx.Conn, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%v\n%s", err, sql)
		}
	}
}

// background runs a statement that takes longer than the test, which cancels it at its end.
func background(t *testing.T, connString string, settings []string, sql string) {
	t.Helper()
	conn := session(t, connString)
	exec(t, conn, settings...)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = conn.Exec(ctx, sql) // It fails when it is cancelled.
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

func super(t *testing.T, db *pgtest.Database, sql string) {
	t.Helper()
	if _, err := db.Super.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
}

// newRole makes a role that may do nothing.
func newRole(t *testing.T, db *pgtest.Database) (role, connString string) {
	t.Helper()
	role = db.Name + "_guest"
	super(t, db, "CREATE ROLE "+role+" LOGIN PASSWORD '"+db.Server.Password+"'")
	t.Cleanup(func() {
		if _, err := db.Super.Exec(context.Background(), "DROP OWNED BY "+role+"; DROP ROLE "+role); err != nil {
			t.Error(err)
		}
	})
	return role, db.Server.ConnString(db.Name, role)
}

func contains(lines []string, part string) bool {
	return slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, part) })
}
