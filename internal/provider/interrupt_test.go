package provider_test

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/tfcli"
)

// startBackfill applies the expand, starts the backfill and waits until it has updated more rows than before.
func startBackfill(t *testing.T, r *cliRun) *tfcli.Process {
	t.Helper()
	before := rowsUpdated(t, r.db)
	p := r.start("apply", "-auto-approve")
	eventually(t, "the backfill is under way", func() bool { return rowsUpdated(t, r.db) > before })
	return p
}

// TestInterruptedBackfillIsNeverTainted covers Ctrl-C and the SIGTERM of a scheduler.
func TestInterruptedBackfillIsNeverTainted(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]os.Signal{"SIGINT": os.Interrupt, "SIGTERM": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t)
			createUsers(t, db, 4000)
			r := newCLIRun(t, db, expandName+backfillName)
			slowUpdates(t, db, "users", "1 millisecond")
			countUpdates(t, db)

			// The first interrupt hits a create, the second an update.
			for _, operation := range []string{"create", "update"} {
				p := startBackfill(t, r)
				if err := p.Signal(signal); err != nil {
					t.Fatal(err)
				}
				ended := time.AfterFunc(time.Minute, func() {
					t.Errorf("the CLI did not end within a minute of the interrupted %s", operation)
					_ = p.KillAll() // The test has failed already.
				})
				result, err := p.Wait()
				ended.Stop()
				if err != nil {
					t.Fatal(err)
				}
				if result.ExitCode == 0 {
					t.Fatalf("the interrupted %s ended with success:\n%s", operation, result.Stdout)
				}
				status, tainted := backfillInState(t, r)
				if status != "running" || tainted {
					t.Errorf("after the interrupted %s: status %q, tainted %t\n%s%s", operation, status, tainted, result.Stdout, result.Stderr)
				}
				plan := r.run(2, "plan", "-detailed-exitcode")
				for _, want := range []string{"Backfill of public.users (first_name, last_name) resumes at", `= "running" -> "complete"`, "0 to add, 1 to change, 0 to destroy"} {
					if !strings.Contains(plan, want) {
						t.Errorf("the plan lacks %q:\n%s", want, plan)
					}
				}
			}
			r.apply()
			expectEachOnce(t, db)
		})
	}
}

// backfillInState reads the backfill from the state file.
func backfillInState(t *testing.T, r *cliRun) (status string, tainted bool) {
	t.Helper()
	var state struct {
		Values struct {
			RootModule struct {
				Resources []struct {
					Type    string
					Tainted bool
					Values  struct{ Status string }
				}
			} `json:"root_module"`
		}
	}
	result, err := r.Run(t.Context(), "show", "-json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(result.Stdout), &state); err != nil {
		t.Fatal(err)
	}
	for _, resource := range state.Values.RootModule.Resources {
		if resource.Type == "postgres_batched_backfill" {
			return resource.Values.Status, resource.Tainted
		}
	}
	return "", false
}

// TestBackfillSurvivesKills kills the provider, the CLI and the server's backend in turn, ten times in one backfill.
func TestBackfillSurvivesKills(t *testing.T) {
	t.Parallel()
	server := pgtest.StartServer(t, pgtest.Options{})
	db := pgtest.NewDatabaseOn(t, server)
	createUsers(t, db, 20000)
	r := newCLIRun(t, db, expandName)
	r.apply()
	slowUpdates(t, db, "users", "1 millisecond")
	countUpdates(t, db)
	r.write("main.tf", expandName+backfillName)

	const kills = 10
	var p *tfcli.Process
	for i := range kills {
		if p == nil {
			p = startBackfill(t, r)
		}
		time.Sleep(time.Duration(rand.IntN(150)) * time.Millisecond) // Not to win a race: to hit any moment of a batch.
		before := rowsUpdated(t, db)
		if i%3 == 2 {
			// The server ends all sessions when one of its processes dies, and starts anew. The apply survives it.
			crashes := strings.Count(server.Log(), "reinitializing")
			kill(t, backendOf(t, db))
			// Until the server has noticed, it still takes connections that it is going to end.
			eventually(t, "the server starts anew", func() bool { return strings.Count(server.Log(), "reinitializing") > crashes })
			db.Owner.Reset()
			db.Super.Reset()
			eventually(t, "the server takes connections", func() bool { return db.Owner.Ping(t.Context()) == nil })
			eventually(t, "the apply goes on", func() bool { return rowsUpdated(t, db) > before })
			continue
		}
		if i%3 == 0 {
			pid, err := p.ProviderPID()
			if err != nil {
				t.Fatal(err)
			}
			kill(t, pid)
		} else if err := p.KillAll(); err != nil {
			t.Fatal(err)
		}
		result, err := p.Wait()
		if err != nil {
			t.Fatal(err)
		}
		if result.ExitCode == 0 {
			t.Fatalf("kill %d came too late:\n%s", i, result.Stdout)
		}
		p = nil
	}
	if p != nil {
		if _, err := p.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	r.apply()
	expectEachOnce(t, db)
}

// TestProviderWhoseCLIWasKilledGivesTheLeaseBack kills the CLI alone, which leaves the provider running.
func TestProviderWhoseCLIWasKilledGivesTheLeaseBack(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t)
	createUsers(t, db, 4000)
	r := newCLIRun(t, db, expandName+backfillName)
	slowUpdates(t, db, "users", "1 millisecond")
	countUpdates(t, db)
	p := startBackfill(t, r)
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nobody holds the lease", func() bool {
		return pgtest.QueryRow[bool](t, db, `SELECT coalesce(lease_expires_at < clock_timestamp(), true) FROM terraform_postgres.backfill`)
	})
	if status := pgtest.QueryRow[string](t, db, `SELECT status FROM terraform_postgres.stage WHERE kind = 'batched_backfill'`); status != "running" {
		t.Errorf("the provider went on by itself: status %s", status)
	}
	r.apply()
	expectEachOnce(t, db)
	if _, err := p.Wait(); err != nil {
		t.Fatal(err)
	}
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("kill -9 %d: %v", pid, err)
	}
}

// backendOf returns the pid of a server process that is running a batch.
func backendOf(t *testing.T, db *pgtest.Database) (pid int) {
	t.Helper()
	eventually(t, "a batch is under way", func() bool {
		pid = pgtest.QueryRow[int](t, db, `
			SELECT coalesce(max(pid), 0) FROM pg_stat_activity
			 WHERE datname = current_database() AND state = 'active' AND query LIKE 'UPDATE ONLY%'`)
		return pid != 0
	})
	return pid
}
