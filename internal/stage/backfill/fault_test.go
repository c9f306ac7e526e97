package backfill_test

import (
	"os"
	"testing"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// Every fault strikes while the backfill is at work. The same Apply survives it, or the next one goes on, and no row is
// wrong, left out or updated twice.
func TestLostConnections(t *testing.T) {
	t.Parallel()
	const rows = 20_000
	batch, proof := pgtest.Containing(`UPDATE ONLY "public"."people"`), pgtest.Containing("SELECT \"people\".ctid::text")
	commit := pgtest.Containing("commit")
	tests := map[string]struct {
		cut func(p *pgtest.Proxy) <-chan struct{}
		// survives means that the Apply that meets the fault has to complete.
		survives bool
	}{
		"before the first batch":          {func(p *pgtest.Proxy) <-chan struct{} { return p.CutBefore(batch, 1) }, true},
		"before a batch":                  {func(p *pgtest.Proxy) <-chan struct{} { return p.CutBefore(batch, 5) }, true},
		"after a batch":                   {func(p *pgtest.Proxy) <-chan struct{} { return p.CutAfter(batch, 5) }, true},
		"before a checkpoint":             {func(p *pgtest.Proxy) <-chan struct{} { return p.CutBefore(pgtest.Containing("SET next_page"), 4) }, true},
		"after a checkpoint":              {func(p *pgtest.Proxy) <-chan struct{} { return p.CutAfter(pgtest.Containing("SET next_page"), 4) }, true},
		"before the commit of a batch":    {func(p *pgtest.Proxy) <-chan struct{} { return p.CutBefore(afterSeen("SET next_page", commit), 1) }, true},
		"after the commit of a batch":     {func(p *pgtest.Proxy) <-chan struct{} { return p.CutAfter(afterSeen("SET next_page", commit), 1) }, true},
		"before the proof":                {func(p *pgtest.Proxy) <-chan struct{} { return p.CutBefore(proof, 1) }, true},
		"after the proof":                 {func(p *pgtest.Proxy) <-chan struct{} { return p.CutAfter(proof, 1) }, true},
		"before the lease is taken":       {func(p *pgtest.Proxy) <-chan struct{} { return p.CutBefore(pgtest.Containing("SET token"), 1) }, false},
		"after the walk is planned":       {func(p *pgtest.Proxy) <-chan struct{} { return p.CutAfter(pgtest.Containing("SET pages_total"), 1) }, true},
		"before it is recorded as done":   {func(p *pgtest.Proxy) <-chan struct{} { return p.CutBefore(pgtest.Containing("'complete', note"), 1) }, true},
		"after it is recorded as done":    {func(p *pgtest.Proxy) <-chan struct{} { return p.CutAfter(pgtest.Containing("'complete', note"), 1) }, true},
		"before its commit of being done": {func(p *pgtest.Proxy) <-chan struct{} { return p.CutBefore(afterSeen("'complete', note", commit), 1) }, true},
		"after its commit of being done":  {func(p *pgtest.Proxy) <-chan struct{} { return p.CutAfter(afterSeen("'complete', note", commit), 1) }, true},
		"before the lease is given back": {func(p *pgtest.Proxy) <-chan struct{} {
			return p.CutBefore(pgtest.Containing("SET lease_expires_at = NULL"), 1)
		}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t)
			createPeople(t, db, rows)
			countUpdates(t, db, "people")
			proxy, connString := pgtest.NewProxy(t, db)
			env, spec := newEnv(t, connString), peopleSpec()
			if err := env.Ledger.Ensure(t.Context(), env.DB); err != nil {
				t.Fatal(err)
			}
			struck := test.cut(proxy)
			_, err := spec.Apply(t.Context(), env)
			select {
			case <-struck:
			case <-time.After(patience):
				t.Error("the fault never struck")
			}
			switch {
			case err != nil && test.survives:
				t.Errorf("apply: %v, want it to connect again", err)
			case err != nil:
				t.Logf("ended with: %v", err)
			}
			apply(t, env, spec)
			expectNone(t, db, "wrong rows", wrongPeople)
			expectEachOnce(t, db, spec, rows)
		})
	}
}

// afterSeen matches what match matches, once a statement with the text has run.
func afterSeen(text string, match func(string) bool) func(string) bool {
	seen, contains := false, pgtest.Containing(text)
	return func(sql string) bool {
		seen = seen || contains(sql)
		return seen && match(sql)
	}
}

func TestAllConnectionsLostAgainAndAgain(t *testing.T) {
	t.Parallel()
	const rows = 4000
	db := pgtest.NewDatabase(t)
	createPeople(t, db, rows)
	countUpdates(t, db, "people")
	slow(t, db, "people")
	proxy, connString := pgtest.NewProxy(t, db)
	env, spec := newEnv(t, connString), peopleSpec()
	done := applying(t.Context(), env, spec)
	for _, at := range []int64{200, 1000, 2000, 3000} {
		waitForRows(t, db, spec, at, done)
		proxy.CutAll()
	}
	if result := <-done; result.err != nil {
		t.Fatalf("apply: %v, want it to connect again", result.err)
	}
	expectNone(t, db, "wrong rows", wrongPeople)
	expectEachOnce(t, db, spec, rows)
}

func TestServerRestart(t *testing.T) {
	t.Parallel()
	const rows = 4000
	db := pgtest.NewDatabaseOn(t, pgtest.StartServer(t, pgtest.Options{}))
	createPeople(t, db, rows)
	countUpdates(t, db, "people")
	slow(t, db, "people")
	env, spec := newEnv(t, db.ConnString()), peopleSpec()
	done := applying(t.Context(), env, spec)
	for _, at := range []int64{500, 2500} {
		waitForRows(t, db, spec, at, done)
		if err := db.Server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		db.Owner.Reset()
		db.Super.Reset()
	}
	if result := <-done; result.err != nil {
		t.Fatalf("apply: %v, want it to connect again", result.err)
	}
	expectNone(t, db, "wrong rows", wrongPeople)
	expectEachOnce(t, db, spec, rows)
}

// A batch does not wait for the disk, so that a crash of the server may lose the last ones, each with its checkpoint.
func TestServerCrash(t *testing.T) {
	t.Parallel()
	const rows = 8000
	db := pgtest.NewDatabaseOn(t, pgtest.StartServer(t, pgtest.Options{Settings: map[string]string{
		"wal_writer_delay": "10s", "restart_after_crash": "on",
	}}))
	createPeople(t, db, rows)
	countUpdates(t, db, "people")
	slow(t, db, "people")
	env, spec := newEnv(t, db.ConnString()), peopleSpec()
	done := applying(t.Context(), env, spec)
	for _, at := range []int64{1000, 4000} {
		waitForRows(t, db, spec, at, done)
		var pid int
		eventually(t, "a batch runs", func() bool {
			pid = pgtest.QueryRow[int](t, db, `
				SELECT coalesce(max(pid), 0) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE '%backfill%'`)
			return pid != 0
		})
		backend, err := os.FindProcess(pid)
		if err == nil {
			err = backend.Kill() // upon which the server starts all over, as after a crash
		}
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the server is back", func() bool {
			var gone bool // The list of sessions begins anew as well.
			err := db.Owner.QueryRow(t.Context(), `SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)`, pid).Scan(&gone)
			return err == nil && gone
		})
		db.Owner.Reset()
		db.Super.Reset()
	}
	if result := <-done; result.err != nil {
		t.Fatalf("apply: %v, want it to connect again", result.err)
	}
	expectNone(t, db, "wrong rows", wrongPeople)
	expectEachOnce(t, db, spec, rows)
}
