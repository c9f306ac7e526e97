package usage_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/stagetest"
	"github.com/stagedpg/terraform-provider-postgres/internal/usage"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

var users = pg.TableName{Schema: "public", Name: "users"}

// counting starts a server that counts statements.
func counting(t *testing.T, settings map[string]string) *pgtest.Server {
	t.Helper()
	all := map[string]string{"shared_preload_libraries": "pg_stat_statements"}
	for name, value := range settings {
		all[name] = value
	}
	return pgtest.StartServer(t, pgtest.Options{Settings: all})
}

// countingDatabase is a database whose owner sees the statements of all roles.
func countingDatabase(t *testing.T, server *pgtest.Server) *pgtest.Database {
	t.Helper()
	db := pgtest.NewDatabaseOn(t, server)
	super(t, db, `CREATE EXTENSION pg_stat_statements`)
	super(t, db, `GRANT pg_read_all_stats TO `+db.OwnerRole)
	return db
}

func super(t *testing.T, db *pgtest.Database, sql string) {
	t.Helper()
	if _, err := db.Super.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
}

// run runs statements one by one as another role, over the simple protocol, as a service does that knows no parameters.
func run(t *testing.T, db *pgtest.Database, user string, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.Server.ConnString(db.Name, user))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for _, sql := range statements {
		if strings.HasSuffix(sql, " FROM STDIN") {
			_, err = conn.PgConn().CopyFrom(t.Context(), strings.NewReader(""), sql)
		} else {
			_, err = conn.PgConn().Exec(t.Context(), sql).ReadAll()
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, sql)
		}
	}
}

var roleNumber struct {
	sync.Mutex
	n int
}

// newRole makes a role that may use the tables of the owner.
func newRole(t *testing.T, db *pgtest.Database) string {
	t.Helper()
	roleNumber.Lock()
	roleNumber.n++
	role := fmt.Sprintf("service_%d", roleNumber.n)
	roleNumber.Unlock()
	super(t, db, fmt.Sprintf(`CREATE ROLE %s LOGIN PASSWORD '%s'`, role, db.Server.Password))
	super(t, db, fmt.Sprintf(`GRANT ALL ON ALL TABLES IN SCHEMA public TO %s`, role))
	super(t, db, fmt.Sprintf(`GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO %s`, role))
	return role
}

// look asks about columns of users.
func look(t *testing.T, db *pgtest.Database, columns ...string) *usage.Report {
	t.Helper()
	report, err := usage.Look(t.Context(), stagetest.NewEnv(t, db.ConnString()), users, columns)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// uses spells what the report says of the statements of a role.
func uses(report *usage.Report, role string) string {
	var lines []string
	for _, s := range report.Statements {
		if s.Role != role {
			continue
		}
		line := "possible"
		if s.Certain {
			line = fmt.Sprintf("reads %v writes %v", s.Reads, s.Writes)
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "; ")
}
