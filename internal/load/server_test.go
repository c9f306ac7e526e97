package load

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

func TestDefaultsDoNotHoldUpAnIdleServer(t *testing.T) {
	// PostgreSQL 14 asks for checkpoints when a database is created, so no other test may do that here. Its statistics tell of
	// them later.
	db := pgtest.NewDatabaseOn(t, pgtest.StartServer(t, pgtest.Options{}))
	db.Exec(t, `CREATE TABLE users (n int)`)
	before := int64(-1)
	eventually(t, "no checkpoint comes any more", func() bool {
		last := before
		before = requestedCheckpoints(t, db)
		time.Sleep(2 * time.Second)
		return last == before
	})
	limits := Defaults()
	limits.Queries = []Query{{Name: "never", SQL: "SELECT false"}}
	w := watch(t, db, limits, pgtest.QueryRow[uint32](t, db, `SELECT 'users'::regclass::oid`))
	w.awaitGo()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range limits.signals() {
		if _, read := w.decider.judgements[s]; !read || w.decider.failed[s] != nil {
			t.Errorf("%s was not read: %v", s, w.decider.failed[s])
		}
	}
	if len(w.decider.signals) != len(limits.signals()) {
		t.Errorf("signals = %v; log: %s", w.decider.signals, w.log)
	}
}

func requestedCheckpoints(t *testing.T, db *pgtest.Database) int64 {
	t.Helper()
	sql, _ := readCheckpoints(&look{major: db.Server.Major})
	return pgtest.QueryRow[int64](t, db, `SELECT requested FROM (`+sql+`) AS c(requested, timed)`)
}

func TestSlotThatRetains(t *testing.T) {
	db := newDatabase(t)
	super(t, db, `SELECT pg_create_physical_replication_slot('forgotten', true)`)
	dropped := false
	drop := func() {
		if !dropped {
			dropped = true
			super(t, db, `SELECT pg_drop_replication_slot('forgotten')`)
		}
	}
	defer drop()
	w := watch(t, db, Limits{SlotRetained: 24 * mebibyte})
	writeWAL(t, db, 26)
	w.awaitPause("slot_retained of forgotten (not in use): ")
	drop()
	w.awaitGo()
}

func TestSlotThatIsAboutToLoseWAL(t *testing.T) {
	db := newDatabase(t)
	set(t, db, "max_slot_wal_keep_size", "64MB")
	super(t, db, `SELECT pg_create_physical_replication_slot('tight', true)`)
	defer super(t, db, `SELECT pg_drop_replication_slot('tight')`)
	w := watch(t, db, Limits{SlotRetained: gibibyte})
	w.awaitGo()
	writeWAL(t, db, 64)
	w.awaitPause("slot_retained of tight (not in use): ")
}

func TestArchiveThatFails(t *testing.T) {
	db := newDatabase(t)
	w := watch(t, db, Limits{ArchiveBacklog: 2})
	w.awaitGo()
	set(t, db, "archive_command", "false")
	for range 4 {
		super(t, db, `SELECT pg_logical_emit_message(true, 'test', 'something to switch from')`)
		super(t, db, `SELECT pg_switch_wal()`)
	}
	w.awaitPause("archive_backlog: ")
	super(t, db, `ALTER SYSTEM RESET archive_command`)
	super(t, db, `SELECT pg_reload_conf()`)
	// A failed archiver waits for a minute, unless it is woken up; and it begins with what is oldest.
	super(t, db, `SELECT pg_logical_emit_message(true, 'test', 'something to switch from')`)
	super(t, db, `SELECT pg_switch_wal()`)
	w.awaitGo()
}

func TestOldSnapshot(t *testing.T) {
	db := newDatabase(t)
	// Another role, whose sessions a plain one cannot look into.
	holder, err := db.Super.Acquire(t.Context())
	must(t, err)
	defer holder.Release()
	exec(t, holder.Conn(), `BEGIN ISOLATION LEVEL REPEATABLE READ`)
	exec(t, holder.Conn(), `SET LOCAL application_name = 'report'`)
	exec(t, holder.Conn(), `SELECT 1`)
	db.Exec(t, `CREATE TABLE newer ()`) // a transaction number that the snapshot does not see

	limits := Limits{SnapshotAge: 2 * time.Second}
	plain, seer := watch(t, db, limits), watchAs(t, db, pgtest.SuperuserRole, limits)
	noting := watch(t, db, Limits{SnapshotAge: time.Hour, Queries: []Query{{Name: "never", SQL: "SELECT false"}}})
	for _, w := range []*watched{plain, seer} {
		w.await("a name", func(v Verdict) bool { return strings.Contains(v.Blockers, `application "report"`) })
		w.awaitPause("snapshot_age: ")
	}
	if v := noting.Verdict(time.Now()); v != (Verdict{Budget: 1}) {
		t.Errorf("a snapshot of some seconds counts: %+v", v)
	}
	exec(t, holder.Conn(), `COMMIT`)
	plain.awaitGo()
	seer.awaitGo()
}

func TestPreparedTransaction(t *testing.T) {
	db := newDatabase(t)
	conn := connect(t, db)
	exec(t, conn, `BEGIN`)
	exec(t, conn, `CREATE TABLE forgotten ()`)
	exec(t, conn, `PREPARE TRANSACTION 'forgotten one'`)
	w := watch(t, db, Limits{SnapshotAge: time.Second})
	if v := w.awaitPause("snapshot_age: "); !strings.Contains(v.Blockers, `prepared transaction "forgotten one"`) {
		t.Errorf("blockers = %q", v.Blockers)
	}
	exec(t, conn, `ROLLBACK PREPARED 'forgotten one'`)
	w.awaitGo()
}

func TestDeadRowsOfATable(t *testing.T) {
	db := newDatabase(t)
	db.Exec(t, `CREATE TABLE users AS SELECT n FROM generate_series(1, 1000) AS n`)
	oid := pgtest.QueryRow[uint32](t, db, `SELECT 'users'::regclass::oid`)
	w := watch(t, db, Limits{DeadRows: 500, DeadRowsShare: 0.2}, oid)
	w.awaitGo()
	// A session tells the statistics at its end at the latest.
	update := func() {
		conn := connect(t, db)
		exec(t, conn, `UPDATE users SET n = n + 1`)
		must(t, conn.Close(t.Context()))
	}
	// autovacuum could take the rows before anybody looks.
	set(t, db, "autovacuum_naptime", "1h")
	update()
	w.awaitPause("dead_rows: 1,000, limit 500")
	db.Exec(t, `VACUUM users`)
	w.awaitGo()

	db.Exec(t, `ALTER TABLE users SET (autovacuum_enabled = off)`)
	update()
	eventually(t, "a line in the log", func() bool { return strings.Contains(w.log.String(), "dead rows will stay") })
	w.awaitGo()
}

func TestBlockedSessionOfAPlainRole(t *testing.T) {
	db := newDatabase(t)
	db.Exec(t, `CREATE TABLE users AS SELECT 1 AS n`)
	w := watch(t, db, Limits{BlockedSessions: 500 * time.Millisecond})
	batch := connect(t, db)
	exec(t, batch, `BEGIN`)
	exec(t, batch, `UPDATE users SET n = 2`)
	ended := w.Track(batch.PgConn().PID())

	client := connect(t, db)
	exec(t, client, `SET application_name = 'checkout'`)
	waited := make(chan error, 1)
	go func() {
		_, err := client.Exec(context.Background(), `UPDATE users SET n = 3`)
		waited <- err
	}()
	v := w.await("a smaller budget", func(v Verdict) bool { return v.Budget < 1 })
	if v.Pause || !strings.Contains(v.Reason, "blocked_sessions: 1, up to ") || !strings.Contains(v.Blockers, `application "checkout"`) {
		t.Errorf("verdict = %+v", v)
	}
	exec(t, batch, `COMMIT`)
	ended()
	ended()
	must(t, <-waited)
	if pids := w.pids(); len(pids) != 0 {
		t.Errorf("sessions %v are still tracked", pids)
	}
	w.await("no blockers", func(v Verdict) bool { return v.Blockers == "" })
}

func TestOthersWhoBlockDoNotCount(t *testing.T) {
	db := newDatabase(t)
	db.Exec(t, `CREATE TABLE users AS SELECT 1 AS n`)
	w := watch(t, db, Limits{BlockedSessions: time.Millisecond})
	defer w.Track(connect(t, db).PgConn().PID())()
	other := connect(t, db)
	exec(t, other, `BEGIN`)
	exec(t, other, `UPDATE users SET n = 2`)
	waited := make(chan error, 1)
	go func() {
		_, err := db.Owner.Exec(context.Background(), `UPDATE users SET n = 3`)
		waited <- err
	}()
	eventually(t, "a session that waits", func() bool {
		return pgtest.QueryRow[bool](t, db, `SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND waitstart < clock_timestamp() - interval '10 ms')`)
	})
	w.awaitLook()
	if v := w.Verdict(time.Now()); v != (Verdict{Budget: 1}) {
		t.Errorf("verdict = %+v", v)
	}
	exec(t, other, `COMMIT`)
	must(t, <-waited)
}

func TestRequestedCheckpoints(t *testing.T) {
	db := newDatabase(t)
	w := watch(t, db, Limits{Checkpoints: 2})
	w.awaitGo()
	for range 2 {
		super(t, db, `CHECKPOINT`)
	}
	v := w.await("a smaller budget", func(v Verdict) bool { return v.Budget == 0.5 })
	if v.Pause || !strings.Contains(v.Reason, " were requested, not timed") {
		t.Errorf("verdict = %+v", v)
	}
}

func TestQueries(t *testing.T) {
	db := newDatabase(t)
	db.Exec(t, `CREATE TABLE queue (depth numeric)`)
	w := watch(t, db, Limits{Queries: []Query{
		{Name: "queue", SQL: "SELECT max(depth) FROM queue -- the whole of it\n;"},
		{Name: "night", SQL: "SELECT depth < 0 FROM queue"},
	}})
	db.Exec(t, `INSERT INTO queue VALUES (2.5)`)
	w.awaitPause("queue: 2.5 > 0")
	db.Exec(t, `UPDATE queue SET depth = -1`)
	w.awaitPause("night: true")
	db.Exec(t, `UPDATE queue SET depth = 0`)
	w.awaitGo()

	// A query that fails harms neither the others nor itself when it works again.
	db.Exec(t, `ALTER TABLE queue RENAME TO elsewhere`)
	eventually(t, "the queries to be unknown", func() bool { return w.failure("queue") != nil && w.failure("night") != nil })
	later := time.Now().Add(patience)
	if v := w.Verdict(later); !v.Pause || !strings.Contains(v.Reason, "unknown for ") || !strings.Contains(v.Reason, `relation "queue" does not exist`) {
		t.Errorf("verdict = %+v", v)
	}
	db.Exec(t, `ALTER TABLE elsewhere RENAME TO queue`)
	eventually(t, "the queries to be known", func() bool { return w.failure("queue") == nil && w.failure("night") == nil })
	db.Exec(t, `DELETE FROM queue`)
	eventually(t, "no value to be unknown", func() bool {
		return errors.Is(w.failure("queue"), errNoValue) && errors.Is(w.failure("night"), errNoValue)
	})
}

func (w *watched) failure(s Signal) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.decider.failed[s]
}

func TestQueriesCannotWrite(t *testing.T) {
	db := newDatabase(t)
	db.Exec(t, `CREATE TABLE written (n int)`)
	db.Exec(t, `CREATE FUNCTION writes() RETURNS boolean LANGUAGE sql AS 'INSERT INTO written VALUES (1) RETURNING true'`)
	w := watch(t, db, Limits{Queries: []Query{{Name: "sly", SQL: "SELECT writes()"}}})
	eventually(t, "a refusal", func() bool { return w.failure("sly") != nil })
	tx, err := db.Owner.Begin(t.Context())
	must(t, err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	if _, err := Probe(t.Context(), tx, w.limits); err == nil {
		t.Error("a probe in a transaction that may write lets a query write")
	}
	must(t, tx.Commit(t.Context()))
	if n := pgtest.QueryRow[int64](t, db, `SELECT count(*) FROM written`); n != 0 {
		t.Errorf("a query wrote %d rows", n)
	}
}

func TestServerThatRestarts(t *testing.T) {
	db := newDatabase(t)
	w := watch(t, db, Defaults())
	w.awaitGo()
	must(t, db.Server.Restart(t.Context()))
	db.Super.Reset()
	db.Owner.Reset()
	w.awaitLook()
	w.awaitGo()
}

func TestServerThatCannotBeReached(t *testing.T) {
	db := newDatabase(t)
	proxy, connString := pgtest.NewProxy(t, db)
	w := watchOver(t, connString, Defaults())
	w.awaitGo()
	proxy.Close()
	eventually(t, "a look that fails", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.decider.failure != nil
	})
	if v := w.Verdict(time.Now().Add(patience)); !v.Pause || !strings.Contains(v.Reason, "the load of the server unknown for ") {
		t.Errorf("verdict = %+v", v)
	}
}

func TestHiddenFunctionIsDropped(t *testing.T) {
	db := newDatabase(t)
	super(t, db, `REVOKE EXECUTE ON FUNCTION pg_current_wal_lsn() FROM PUBLIC`)
	limits := Limits{SlotRetained: gibibyte, ArchiveBacklog: 42, SnapshotAge: time.Hour}
	w := watch(t, db, limits)
	eventually(t, "a line in the log", func() bool {
		return strings.Contains(w.log.String(), "slot_retained") && strings.Contains(w.log.String(), "archive_backlog")
	})
	if v := w.Verdict(time.Now().Add(patience / 2)); v.Pause {
		t.Errorf("verdict = %+v", v)
	}
	w.awaitLook()
	if got := len(w.reader.parts); got != 1 {
		t.Errorf("%d statements are still sent", got)
	}
	warnings, err := probe(t, db, limits)
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 2 || !strings.HasSuffix(warnings[0].Summary, "cannot read the throttle signal slot_retained") {
		t.Errorf("warnings = %v", warnings)
	}
}

func TestProbeOfQueries(t *testing.T) {
	db := newDatabase(t)
	db.Exec(t, `CREATE TABLE queue (depth int)`)
	for name, c := range map[string]struct{ sql, summary, detail string }{
		"a number":           {sql: "SELECT count(*) FROM queue;"},
		"a boolean":          {sql: "SELECT true -- always"},
		"nothing yet":        {sql: "SELECT depth FROM queue"},
		"NULL yet":           {sql: "SELECT max(depth) FROM queue"},
		"a typo":             {sql: "SELECT 1,\n  dept\nFROM queue", summary: "Throttle query q does not run", detail: "  SELECT 1,\n    dept\n    ^\n  FROM queue"},
		"a text":             {sql: "SELECT 'yes'::text", summary: "Throttle query q gives no boolean and no number", detail: "neither a boolean nor a number"},
		"two columns":        {sql: "SELECT 1, 2", summary: "Throttle query q gives no boolean and no number", detail: "more than one value"},
		"two rows":           {sql: "VALUES (1), (2)", summary: "Throttle query q gives no boolean and no number", detail: "more than one value"},
		"no SELECT":          {sql: "DELETE FROM queue", summary: "Throttle query q does not run", detail: "It must be a SELECT"},
		"no query":           {sql: "COMMIT", summary: "Throttle query q does not run", detail: "It must be a SELECT"},
		"a slow one":         {sql: "SELECT pg_sleep(30) IS NULL", summary: "Throttle query q takes longer than 1 s", detail: "about once a second"},
		"one that breaks":    {sql: "SELECT 1/0", summary: "Throttle query q does not run", detail: "division by zero"},
		"one with parameter": {sql: "SELECT $1::int", summary: "Throttle query q does not run", detail: "without parameters"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := probe(t, db, Limits{Queries: []Query{{Name: "q", SQL: c.sql}, {Name: "other", SQL: "SELECT 0"}}})
			found := finding.All(err, "")
			if c.summary == "" {
				if err != nil {
					t.Errorf("error = %v", err)
				}
				return
			}
			if len(found) != 1 || found[0].Summary != c.summary || !strings.Contains(found[0].Detail, c.detail) {
				t.Errorf("error = %v, want %s with %q", err, c.summary, c.detail)
			}
		})
	}
	t.Run("names", func(t *testing.T) {
		_, err := probe(t, db, Limits{Queries: []Query{{Name: "", SQL: "SELECT 0"}, {Name: "replicas", SQL: "SELECT 0"}, {Name: "q", SQL: "SELECT 0"}, {Name: "q", SQL: "SELECT 0"}}})
		if found := finding.All(err, ""); len(found) != 3 {
			t.Errorf("error = %v, want three findings", err)
		}
	})
}

// probe runs Probe as the owner, and checks that the transaction can still be used.
func probe(t *testing.T, db *pgtest.Database, limits Limits) (warnings []*finding.Finding, err error) {
	t.Helper()
	looked := open(t, db.ConnString()).Look(t.Context(), func(tx pgx.Tx) error {
		warnings, err = Probe(t.Context(), tx, limits)
		var timeout string
		if err := tx.QueryRow(t.Context(), `SHOW statement_timeout`).Scan(&timeout); err != nil {
			return err
		}
		if timeout != "5s" {
			t.Errorf("statement_timeout after the probe = %s, want the caller's 5s", timeout)
		}
		return nil
	})
	if looked != nil {
		t.Fatal(looked)
	}
	return warnings, err
}
