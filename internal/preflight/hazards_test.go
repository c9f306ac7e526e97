package preflight_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/preflight"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage/stagetest"
)

func TestNothingIsWrongWithAnOrdinaryTable(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db)
	super(t, db, "GRANT pg_monitor TO "+pg.Quote(db.OwnerRole))
	report := look(t, db, preflight.DefaultLimits)
	if len(report.Hazards)+len(report.Unseen)+len(report.Blockers) > 0 || !report.Ready() {
		t.Errorf("ready %v, hazards %v, blockers %v, unseen %v", report.Ready(), report.Hazards, report.Blockers, report.Unseen)
	}
}

// hazardTest provokes a hazard in a table that did not have it.
type hazardTest struct {
	hazard  preflight.HazardType
	provoke func(t *testing.T, db *pgtest.Database)
	limits  func(l *preflight.Limits)
	// says is part of the message.
	says     string
	notReady bool
}

func sql(statements ...string) func(*testing.T, *pgtest.Database) {
	return func(t *testing.T, db *pgtest.Database) {
		t.Helper()
		for _, s := range statements {
			db.Exec(t, s)
		}
	}
}

// open leaves a transaction open.
func open(statements ...string) func(*testing.T, *pgtest.Database) {
	return func(t *testing.T, db *pgtest.Database) {
		t.Helper()
		exec(t, session(t, db.ConnString()), append([]string{"SET application_name = 'the report'", "BEGIN"}, statements...)...)
	}
}

func TestHazards(t *testing.T) {
	t.Parallel()
	columns := make([]string, 1550)
	for i := range columns {
		columns[i] = fmt.Sprintf("c%d int", i)
	}
	for _, test := range []hazardTest{
		{
			hazard: preflight.BlockedNow, provoke: open("SELECT FROM users"), notReady: true,
			says: `application "the report", user `,
		},
		{hazard: preflight.LongTransaction, provoke: open("SELECT 1"), says: `application "the report"`},
		{hazard: preflight.VacuumRunning, says: "Somebody runs VACUUM on public.users", provoke: func(t *testing.T, db *pgtest.Database) {
			db.Exec(t, `INSERT INTO users (full_name) SELECT repeat('x', 500) FROM generate_series(1, 20000)`)
			background(t, db.ConnString(), []string{"SET vacuum_cost_delay = 100", "SET vacuum_cost_limit = 1"}, "VACUUM users")
		}, notReady: true},
		{hazard: preflight.IndexBuildRunning, says: "is being built", provoke: func(t *testing.T, db *pgtest.Database) {
			open("UPDATE users SET visits = 1")(t, db) // The build waits for it.
			background(t, db.ConnString(), nil, "CREATE INDEX CONCURRENTLY slow ON users (email)")
		}, notReady: true},
		{hazard: preflight.StageRunning, says: "postgres_batched_backfill public.users/visits", provoke: func(t *testing.T, db *pgtest.Database) {
			env := stagetest.NewEnv(t, db.ConnString())
			if err := env.Ledger.Ensure(t.Context(), env.DB); err != nil {
				t.Fatal(err)
			}
			db.Exec(t, `INSERT INTO `+pg.Quote(ledger.DefaultSchema)+`.stage (kind, key, table_oid, table_schema, table_name, spec, status)
				VALUES ('batched_backfill', 'public.users/visits', 'users'::regclass, 'public', 'users', '{}', 'running')`)
		}},
		{hazard: preflight.NoPrimaryKey, provoke: sql(`ALTER TABLE users DROP CONSTRAINT users_pkey`), says: "no primary key"},
		{hazard: preflight.InvalidIndex, says: "Index twice is not valid", provoke: func(t *testing.T, db *pgtest.Database) {
			if _, err := db.Owner.Exec(t.Context(), `CREATE UNIQUE INDEX CONCURRENTLY twice ON users (visits)`); pg.SQLState(err) != "23505" {
				t.Fatalf("a unique index over equal values: %v", err)
			}
		}},
		{hazard: preflight.UnvalidatedConstraint, provoke: sql(`ALTER TABLE users ADD CONSTRAINT positive CHECK (visits >= 0) NOT VALID`), says: "Constraint positive"},
		{hazard: preflight.UnvalidatedConstraint, says: "Constraint friend", provoke: sql(`ALTER TABLE users ADD COLUMN friend_id bigint`,
			`ALTER TABLE users ADD CONSTRAINT friend FOREIGN KEY (friend_id) REFERENCES users NOT VALID`)},
		{hazard: preflight.FewColumnSlots, says: "Only 49 more columns", provoke: sql(`DROP TABLE users`,
			`CREATE TABLE users (id int PRIMARY KEY, `+strings.Join(columns, ", ")+`)`)},
		{hazard: preflight.RowSecurityForced, provoke: sql(`ALTER TABLE users ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY`), says: "apply to the owner"},
		{hazard: preflight.RowSecurityApplies, provoke: sql(`ALTER TABLE users ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY`), says: "may hide rows"},
		{hazard: preflight.UserTriggers, says: "touch", provoke: sql(`CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'`,
			`CREATE TRIGGER touch BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch()`)},
		{hazard: preflight.LogicalReplication, provoke: sql(`CREATE PUBLICATION feed FOR TABLE users`), says: "Publications: feed"},
		{hazard: preflight.NoReplicaIdentity, says: "every UPDATE", provoke: sql(`CREATE PUBLICATION feed FOR TABLE users`, `ALTER TABLE users REPLICA IDENTITY NOTHING`)},
		{hazard: preflight.LargeTable, provoke: sql(), limits: func(l *preflight.Limits) { l.LargeRows = 20 }, says: "~20 rows"},
		{hazard: preflight.NoStatistics, provoke: sql(`DROP TABLE users`, `CREATE TABLE users (id int PRIMARY KEY)`), says: `ANALYZE "public"."users";`},
		{hazard: preflight.AutovacuumOff, provoke: sql(`ALTER TABLE users SET (autovacuum_enabled = off)`), says: "Autovacuum is off"},
		{
			hazard: preflight.ManyDeadRows, limits: func(l *preflight.Limits) { l.DeadRows = 15 }, says: "15 dead rows",
			provoke: func(t *testing.T, db *pgtest.Database) {
				conn := session(t, db.ConnString())
				exec(t, conn, `DELETE FROM users WHERE id > 5`)
				// Before version 15, an idle session keeps what it counted.
				if err := conn.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
			},
		},
		{
			hazard: preflight.TooFullForHOT, limits: func(l *preflight.Limits) { l.FullPages = 5 }, says: "fillfactor 100",
			provoke: sql(`INSERT INTO users (full_name) SELECT repeat('x', 100) FROM generate_series(1, 5000)`, `VACUUM ANALYZE users`),
		},
	} {
		t.Run(string(test.hazard)+" "+test.says, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t)
			createUsers(t, db)
			super(t, db, "GRANT pg_monitor TO "+pg.Quote(db.OwnerRole))
			test.run(t, db)
		})
	}
}

func (test hazardTest) run(t *testing.T, db *pgtest.Database) {
	t.Helper()
	limits := sensitive()
	if got := hazards(look(t, db, limits)); slices.Contains(got, test.hazard) {
		t.Fatalf("the hazard is there before it is provoked: %v", got)
	}
	if test.limits != nil {
		test.limits(&limits)
	}
	test.provoke(t, db)
	report := eventually(t, db, limits, test.hazard)
	if got := message(report, test.hazard); !strings.Contains(got, test.says) {
		t.Errorf("the message is %q, want %q in it", got, test.says)
	}
	if !strings.Contains(report.Summary(), string(test.hazard)) {
		t.Errorf("the summary has no %s:\n%s", test.hazard, report.Summary())
	}
	if report.Ready() == test.notReady && test.notReady {
		t.Errorf("it is ready, although: %v", report.Hazards)
	}
	if !test.notReady && !report.Ready() {
		t.Errorf("it is not ready: %v", report.Blockers)
	}
}

// special is a server with what the hazards of the following test need, and which others would notice.
func special(t *testing.T) *pgtest.Server {
	t.Helper()
	return pgtest.StartServer(t, pgtest.Options{Settings: map[string]string{
		"max_prepared_transactions": "5", "wal_level": "logical", "autovacuum_naptime": "1s", "autovacuum_freeze_max_age": "100000",
	}})
}

func TestPreparedTransactionIsAHazard(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabaseOn(t, special(t))
	createUsers(t, db)
	conn := session(t, db.ConnString())
	exec(t, conn, "BEGIN", "UPDATE users SET visits = 1", "PREPARE TRANSACTION 'left over'")
	report := look(t, db, preflight.DefaultLimits)
	exec(t, conn, "ROLLBACK PREPARED 'left over'")
	if got := message(report, preflight.PreparedTransaction); !strings.Contains(got, `"left over"`) {
		t.Errorf("the hazards are %v", report.Hazards)
	}
	if report.Ready() || !contains(report.Blockers, `prepared transaction "left over"`) || len(report.Prepared) != 1 || report.Prepared[0].GID != "left over" {
		t.Errorf("ready %v, blockers %v, prepared %v", report.Ready(), report.Blockers, report.Prepared)
	}
	if report = look(t, db, preflight.DefaultLimits); slices.Contains(hazards(report), preflight.PreparedTransaction) {
		t.Errorf("it is still there after it ended: %v", report.Hazards)
	}
}

// TestWraparoundVacuumIsAHazard burns enough transaction numbers for one. It looks as a role that may see sessions, and as one that
// may not.
func TestWraparoundVacuumIsAHazard(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabaseOn(t, special(t))
	createUsers(t, db)
	db.Exec(t, `INSERT INTO users (full_name) SELECT repeat('x', 500) FROM generate_series(1, 20000)`)
	db.Exec(t, `ALTER TABLE users SET (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)`)
	_, guest := newRole(t, db)
	if got := hazards(look(t, db, preflight.DefaultLimits)); slices.Contains(got, preflight.WraparoundVacuum) {
		t.Fatalf("the hazard is there before it is provoked: %v", got)
	}
	db.Exec(t, `CREATE PROCEDURE burn() LANGUAGE plpgsql AS $$
		BEGIN
		  FOR i IN 1 .. 120000 LOOP
		    PERFORM pg_current_xact_id();
		    COMMIT;
		  END LOOP;
		END $$`)
	db.Exec(t, `CALL burn()`)
	report := eventually(t, db, preflight.DefaultLimits, preflight.WraparoundVacuum)
	if v := report.Vacuums; len(v) != 1 || !v[0].Auto || !v[0].Wraparound || v[0].Command != "vacuum" || v[0].Relation != "public.users" {
		t.Errorf("the vacuums are %+v", v)
	}
	super(t, db, "GRANT pg_monitor TO "+pg.Quote(db.OwnerRole))
	for who, connString := range map[string]string{"a role that sees sessions": db.ConnString(), "one that does not": guest} {
		report := lookAs(t, connString, sensitive())
		if !slices.Contains(hazards(report), preflight.WraparoundVacuum) || report.Ready() {
			t.Errorf("%s: ready %v, hazards %v", who, report.Ready(), report.Hazards)
		}
	}
}

// TestAutovacuumThatYieldsIsNotInTheWay has one that takes long.
func TestAutovacuumThatYieldsIsNotInTheWay(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabaseOn(t, special(t))
	createUsers(t, db)
	_, guest := newRole(t, db)
	db.Exec(t, `INSERT INTO users (full_name) SELECT repeat('x', 500) FROM generate_series(1, 20000)`)
	db.Exec(t, `ALTER TABLE users SET (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)`)
	conn := session(t, db.ConnString())
	exec(t, conn, `UPDATE users SET visits = 1`)
	if err := conn.Close(t.Context()); err != nil { // Before version 15, an idle session keeps what it counted.
		t.Fatal(err)
	}
	report := eventually(t, db, sensitive(), preflight.VacuumRunning)
	if got := message(report, preflight.VacuumRunning); !report.Ready() || !strings.Contains(got, "Autovacuum runs VACUUM on public.users") {
		t.Errorf("ready %v, blockers %v, message %q", report.Ready(), report.Blockers, got)
	}
	super(t, db, "GRANT pg_monitor TO "+pg.Quote(db.OwnerRole))
	for who, connString := range map[string]string{"a role that sees sessions": db.ConnString(), "one that does not": guest} {
		report := lookAs(t, connString, sensitive())
		if !slices.Contains(hazards(report), preflight.VacuumRunning) || !report.Ready() {
			t.Errorf("%s: ready %v, blockers %v, hazards %v", who, report.Ready(), report.Blockers, report.Hazards)
		}
	}
}

func TestReplicationHazards(t *testing.T) {
	t.Parallel()
	server := special(t)
	db := pgtest.NewDatabaseOn(t, server)
	createUsers(t, db)
	super(t, db, "GRANT pg_monitor TO "+pg.Quote(db.OwnerRole))
	replica := pgtest.StartReplica(t, server, pgtest.ReplicaOptions{Name: "reader"})
	limits := preflight.DefaultLimits
	limits.StandbyLag, limits.StandbyLagBytes, limits.RetainedBytes = 0, 1, 1<<40
	super(t, db, `SELECT pg_create_logical_replication_slot('feed', 'pgoutput')`)

	report := lookAs(t, replica.ConnString(db.Name, db.OwnerRole), preflight.DefaultLimits)
	if report.Ready() || !slices.Contains(hazards(report), preflight.ReadOnlyServer) {
		t.Errorf("on a standby: ready %v, hazards %v", report.Ready(), report.Hazards)
	}
	if got := hazards(look(t, db, limits)); slices.Contains(got, preflight.SlotRetainsWAL) || slices.Contains(got, preflight.ReadOnlyServer) {
		t.Errorf("hazards %v", got)
	}
	if err := replica.PauseReplay(t.Context()); err != nil {
		t.Fatal(err)
	}
	background(t, db.ConnString(), nil, `DO $$ BEGIN LOOP UPDATE users SET visits = visits + 1; COMMIT; PERFORM pg_sleep(0.05); END LOOP; END $$`)
	report = eventually(t, db, limits, preflight.StandbyBehind)
	if len(report.Standbys) != 1 || report.Standbys[0].Name != "reader" || *report.Standbys[0].LagBytes == 0 {
		t.Errorf("the standbys are %+v", report.Standbys)
	}
	if err := replica.ResumeReplay(t.Context()); err != nil {
		t.Fatal(err)
	}
	limits.RetainedBytes = 1
	report = eventually(t, db, limits, preflight.SlotRetainsWAL)
	if i := slices.IndexFunc(report.Slots, func(s preflight.Slot) bool { return s.Name == "feed" }); i < 0 || report.Slots[i].Type != "logical" ||
		report.Slots[i].Active || *report.Slots[i].Database != db.Name {
		t.Errorf("the slots are %+v", report.Slots)
	}
	super(t, db, `SELECT pg_drop_replication_slot('feed')`)
}

// TestLocksOfStrangers looks as a role that sees no ages: what stays is in the way, what comes and goes is not.
func TestLocksOfStrangers(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db)
	_, guest := newRole(t, db)
	limits := preflight.DefaultLimits
	limits.HeldFor = 100 * time.Millisecond
	if report := lookAs(t, guest, limits); !report.Ready() {
		t.Errorf("not ready: %v", report.Blockers)
	}
	open("SELECT FROM users")(t, db)
	if report := lookAs(t, guest, limits); report.Ready() || !contains(report.Blockers, `application "the report"`) {
		t.Errorf("ready %v, blockers %v", report.Ready(), report.Blockers)
	}
}
