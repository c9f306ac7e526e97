package load

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// lagLimits are small enough for a test.
var lagLimits = Limits{ReplicaLag: time.Second, ReplicaLagBytes: 8 * mebibyte}

func TestStandby(t *testing.T) {
	newDatabase(t) // starts the server
	standby := pgtest.StartReplica(t, primary.server, pgtest.ReplicaOptions{Name: "standby1", Settings: map[string]string{"hot_standby_feedback": "on"}})

	t.Run("that is paused", func(t *testing.T) {
		db := seeing(t, newDatabase(t))
		w := watch(t, db, lagLimits)
		w.awaitGo()
		must(t, standby.PauseReplay(t.Context()))
		writeWAL(t, db, 20)
		if v := w.awaitPause("replica_lag of standby1: "); !strings.Contains(v.Reason, " MiB > 1 s and 8 MiB") {
			t.Errorf("reason = %q", v.Reason)
		}
		// Nothing is written from here on: the server's own replay_lag stays as it is for long.
		must(t, standby.ResumeReplay(t.Context()))
		w.awaitGo()
	})
	t.Run("that is frozen", func(t *testing.T) {
		db := seeing(t, newDatabase(t))
		w := watch(t, db, lagLimits)
		w.awaitGo()
		must(t, standby.Freeze(t.Context()))
		// The standby says nothing any more, so that the server's own replay_lag never grows.
		writeWAL(t, db, 20)
		w.awaitPause("replica_lag of standby1: ")
		must(t, standby.Thaw(t.Context()))
		w.awaitGo()
	})
	t.Run("that a plain role cannot see", func(t *testing.T) {
		db := newDatabase(t)
		limits := lagLimits
		limits.LostReplica, limits.SyncLag = time.Hour, time.Second
		w := watch(t, db, limits)
		seer := watch(t, seeing(t, newDatabase(t)), lagLimits)
		must(t, standby.PauseReplay(t.Context()))
		writeWAL(t, db, 20)
		seer.awaitPause("replica_lag of standby1")
		w.awaitLook()
		// In particular, figures that cannot be seen are not unknown.
		if v := w.Verdict(time.Now()); v.Pause {
			t.Errorf("verdict of a role that sees no lag = %+v", v)
		}
		must(t, standby.ResumeReplay(t.Context()))
		seer.awaitGo()

		warnings, err := probe(t, db, limits)
		if err != nil || len(warnings) != 1 {
			t.Fatalf("warnings = %v, %v, want one", warnings, err)
		}
		if want := "Role " + db.OwnerRole + " cannot see how far standby1 is behind"; warnings[0].Summary != want {
			t.Errorf("summary = %q, want %q", warnings[0].Summary, want)
		}
		for _, want := range []string{"replica_lag, sync_lag", `  GRANT pg_monitor TO "` + db.OwnerRole + `";`} {
			if !strings.Contains(warnings[0].Detail, want) {
				t.Errorf("detail lacks %q:\n%s", want, warnings[0].Detail)
			}
		}
		if warnings, err := probe(t, seeing(t, newDatabase(t)), limits); len(warnings) != 0 || err != nil {
			t.Errorf("a role that sees all needs no warning: %v, %v", warnings, err)
		}
	})
	t.Run("that holds back vacuum", func(t *testing.T) {
		holdsBackVacuum(t, standby, `application "standby1"`)
	})
	t.Run("that is killed", func(t *testing.T) {
		db := newDatabase(t) // a plain role sees that one is missing
		w := watch(t, db, Limits{LostReplica: time.Hour})
		impatient := watch(t, seeing(t, newDatabase(t)), Limits{LostReplica: time.Second})
		must(t, standby.Kill(t.Context()))
		w.awaitPause("replicas: 0 streaming, 1 before")
		eventually(t, "the other monitor to go on with a line in the log", func() bool {
			return strings.Contains(impatient.log.String(), "1 of 1 standbys have not come back in 1 s")
		})
		impatient.awaitGo()
		if warnings, err := probe(t, db, Defaults()); len(warnings) != 0 || err != nil {
			t.Errorf("with no standby there is nothing to warn of: %v, %v", warnings, err)
		}
	})
}

func TestSynchronousStandbyWithSlot(t *testing.T) {
	db := seeing(t, newDatabase(t))
	standby := pgtest.StartReplica(t, db.Server, pgtest.ReplicaOptions{
		Name: "quorum 1", Synchronous: true, Slot: "held", Settings: map[string]string{"hot_standby_feedback": "on"},
	})
	t.Run("that is frozen", func(t *testing.T) {
		w := watch(t, db, Limits{SyncLag: time.Second})
		w.awaitGo()
		must(t, standby.Freeze(t.Context()))
		committed := make(chan error, 1)
		go func() {
			_, err := db.Super.Exec(context.Background(), `CREATE TABLE late ()`)
			committed <- err
		}()
		w.awaitPause("sync_lag of quorum 1: ")
		must(t, standby.Thaw(t.Context()))
		w.awaitGo()
		must(t, <-committed)
	})
	t.Run("that holds back vacuum", func(t *testing.T) {
		holdsBackVacuum(t, standby, `replication slot "held"`)
	})
}

// holdsBackVacuum has a session of the standby hold a snapshot.
func holdsBackVacuum(t *testing.T, standby *pgtest.Replica, name string) {
	t.Helper()
	db := newDatabase(t)
	reader, err := standby.Superuser.Acquire(t.Context())
	must(t, err)
	defer reader.Release()
	exec(t, reader.Conn(), `BEGIN ISOLATION LEVEL REPEATABLE READ`)
	exec(t, reader.Conn(), `SELECT 1`)
	db.Exec(t, `CREATE TABLE newer ()`)
	w := watch(t, db, Limits{SnapshotAge: time.Second})
	// The primary learns of it with the standby's next status.
	v := w.await("a pause with the standby's name", func(v Verdict) bool { return v.Pause && strings.Contains(v.Blockers, name) })
	if !strings.Contains(v.Reason, "snapshot_age: ") {
		t.Errorf("reason = %q", v.Reason)
	}
	exec(t, reader.Conn(), `COMMIT`)
	w.awaitGo()
}

func TestDelayedStandby(t *testing.T) {
	db := seeing(t, newDatabase(t))
	pgtest.StartReplica(t, db.Server, pgtest.ReplicaOptions{Name: "late", Settings: map[string]string{"recovery_min_apply_delay": "1h"}})
	limits := lagLimits
	w := watch(t, db, limits)
	limits.IgnoreReplicas = []string{"late"}
	other := watch(t, db, limits)
	super(t, db, `CREATE TABLE seen ()`) // the standby waits with its commit, and with all that comes later
	writeWAL(t, db, 20)
	w.awaitPause("replica_lag of late: ")
	other.awaitLook()
	if v := other.Verdict(time.Now()); v.Pause {
		t.Errorf("verdict in spite of IgnoreReplicas = %+v", v)
	}
}
