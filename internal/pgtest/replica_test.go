package pgtest_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

// serveReplicaVariable makes the test binary a process that starts a server with a standby, says where the standby is,
// and waits to be killed.
const serveReplicaVariable = "PGTEST_SERVE_REPLICA_UNTIL_KILLED"

func init() {
	if os.Getenv(serveReplicaVariable) != "" {
		serveReplicaUntilKilled()
	}
}

func serveReplicaUntilKilled() {
	ctx := context.Background()
	var directory string
	server, err := pgtest.Start(ctx, options(nil))
	var replica *pgtest.Replica
	if err == nil {
		replica, err = server.StartReplica(ctx, pgtest.ReplicaOptions{})
	}
	if err == nil {
		err = replica.Superuser.QueryRow(ctx, "SHOW data_directory").Scan(&directory)
	}
	if err == nil {
		err = replica.Freeze(ctx) // a frozen process must not outlive the others
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(directory, replica.Address(), server.Address())
	select {}
}

func TestKilledProcessLeavesNoStandbyBehind(t *testing.T) {
	helper := exec.CommandContext(t.Context(), os.Args[0])
	helper.Env = append(os.Environ(), serveReplicaVariable+"=1")
	helper.Stderr = os.Stderr
	output, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	var directory, address, primary string
	_, scanErr := fmt.Fscan(output, &directory, &address, &primary)
	if err := helper.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = helper.Wait() // "signal: killed"
	if scanErr != nil {
		t.Fatalf("the helper process did not say what it started: %v", scanErr)
	}
	eventually(t, func() bool {
		return gone(filepath.Dir(directory), address) == nil && gone(filepath.Dir(directory), primary) == nil
	})
	assertGone(t, filepath.Dir(directory), address)
	assertGone(t, filepath.Dir(directory), primary)
}

func TestReplica(t *testing.T) {
	primary := pgtest.StartServer(t, pgtest.Options{Settings: map[string]string{"max_connections": "320"}})
	execute(t, primary.Superuser, `CREATE TABLE copied AS SELECT 1 AS n`)
	replica, err := primary.StartReplica(t.Context(), pgtest.ReplicaOptions{Name: "it's one", Slot: "one"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = replica.Stop() }()
	var directory string
	if err := replica.Superuser.QueryRow(t.Context(), `SHOW data_directory`).Scan(&directory); err != nil {
		t.Fatal(err)
	}
	value := func() (n int) {
		if err := replica.Superuser.QueryRow(t.Context(), `SELECT n FROM copied`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	increment := func() { execute(t, primary.Superuser, `UPDATE copied SET n = n + 1`) }
	want := func(what string, n int) {
		t.Helper()
		eventually(t, func() bool { return value() == n })
		if got := value(); got != n {
			t.Errorf("%s: the standby has %d, want %d", what, got, n)
		}
	}

	want("after the copy", 1)
	increment()
	want("while it streams", 2)

	if err := replica.PauseReplay(t.Context()); err != nil {
		t.Fatal(err)
	}
	increment()
	received(t, primary, "it's one")
	if got := value(); got != 2 {
		t.Errorf("a standby that does not replay has %d, want 2", got)
	}
	if err := replica.ResumeReplay(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("after the pause", 3)

	if err := replica.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	increment()
	if err := replica.Thaw(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("after the frost", 4)

	if err := replica.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return standbys(t, primary) == 0 })
	increment()
	if err := replica.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("after its death", 5)

	if err := replica.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	assertGone(t, filepath.Dir(directory), replica.Address())
	var slots int
	if err := primary.Superuser.QueryRow(t.Context(), `SELECT count(*) FROM pg_replication_slots`).Scan(&slots); err != nil {
		t.Fatal(err)
	}
	if slots != 0 {
		t.Errorf("%d slots are left on the primary", slots)
	}
}

func TestFrozenSynchronousStandbyHoldsUpCommits(t *testing.T) {
	primary := pgtest.StartServer(t, pgtest.Options{})
	replica := pgtest.StartReplica(t, primary, pgtest.ReplicaOptions{Synchronous: true})
	if err := replica.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	committed := make(chan error, 1)
	go func() {
		_, err := primary.Superuser.Exec(context.Background(), `CREATE TABLE late ()`)
		committed <- err
	}()
	waiting := func() (holds bool) {
		err := primary.Superuser.QueryRow(t.Context(),
			`SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')`).Scan(&holds)
		if err != nil {
			t.Fatal(err)
		}
		return holds
	}
	eventually(t, waiting)
	if !waiting() {
		t.Error("no commit waits for the frozen standby")
	}
	// The commit needs no thaw once the standby is gone.
	if err := replica.Stop(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-committed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the commit still waits for a standby that is gone")
	}
}

// received waits until the standby has written down all WAL.
func received(t *testing.T, primary *pgtest.Server, name string) {
	t.Helper()
	all := func() (holds bool) {
		err := primary.Superuser.QueryRow(t.Context(), `
			SELECT EXISTS (SELECT FROM pg_stat_replication WHERE application_name = $1 AND flush_lsn >= pg_current_wal_flush_lsn())`,
			name).Scan(&holds)
		if err != nil {
			t.Fatal(err)
		}
		return holds
	}
	eventually(t, all)
	if !all() {
		t.Error("the standby has not received all WAL")
	}
}

func standbys(t *testing.T, primary *pgtest.Server) (count int) {
	t.Helper()
	if err := primary.Superuser.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_replication`).Scan(&count); err != nil {
		t.Fatal(err)
	}
	return count
}

func execute(t *testing.T, pool *pgxpool.Pool, sql string) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
}
