package provider_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/tfcli"
)

// Configurations of the split, of which each adds a stage to the former one.
const (
	stageExpand   = expandForce
	stageSync     = stageExpand + syncSplit
	stageBackfill = stageSync + backfillSynced
)

// syncSplit is a sync whose two sides follow from each other.
const syncSplit = `
resource "postgres_column_sync" "name" {
  table = postgres_column_expand.name.table
  forward = {
    first_name = "split_part(full_name, ' ', 1)"
    last_name  = "substr(full_name, strpos(full_name, ' ') + 1)"
  }
  reverse = { full_name = "concat_ws(' ', first_name, last_name)" }
}
`

var (
	stageQuarantine = stageBackfill + contractBy(`writers_migrated = true`)
	stageDrop       = stageBackfill + contractBy("writers_migrated = true\n  mode = \"drop\"")
)

// operation is one change of one resource, which a session of the test can hold up.
type operation struct {
	// before is applied first, after by the operation.
	before, after string
	// meanwhile runs between the two.
	meanwhile string
	// hold is what the test's session does in a transaction that it leaves open.
	hold string
	// resource is the address of what changes. Only a create that was interrupted may go on as an update.
	resource string
}

// Locks that hold an operation up. Whoever changes a table waits for its writers.
const (
	holdTable  = `LOCK TABLE users IN ROW EXCLUSIVE MODE`
	holdRow    = `SELECT FROM users WHERE id = 1 FOR UPDATE`
	holdLedger = `SELECT FROM terraform_postgres.stage WHERE kind = 'batched_backfill' FOR UPDATE`
)

var operations = map[string]operation{
	"expand create": {after: stageExpand, hold: holdTable, resource: "postgres_column_expand.name"},
	"expand update": {
		before: strings.Replace(stageExpand, "    last_name  = { type = \"text\" }\n", "", 1), after: stageExpand,
		hold: holdTable, resource: "postgres_column_expand.name",
	},
	"expand delete": {before: stageExpand, hold: holdTable, resource: "postgres_column_expand.name"},
	"sync create":   {before: stageExpand, after: stageSync, hold: holdTable, resource: "postgres_column_sync.name"},
	"sync update": {
		before: stageSync, after: strings.Replace(stageSync, "  reverse =", "  enable_always = true\n  reverse =", 1),
		hold: holdTable, resource: "postgres_column_sync.name",
	},
	"sync delete":     {before: stageSync, after: stageExpand, hold: holdTable, resource: "postgres_column_sync.name"},
	"backfill create": {before: stageSync, after: stageBackfill, hold: holdRow, resource: "postgres_batched_backfill.name"},
	"backfill update": {
		before:    stageBackfill,
		after:     strings.Replace(stageBackfill, "  set   =", "  where = \"id > 0\"\n  set   =", 1),
		meanwhile: emptied, hold: holdRow, resource: "postgres_batched_backfill.name",
	},
	"backfill delete":            {before: stageBackfill, after: stageSync, hold: holdLedger, resource: "postgres_batched_backfill.name"},
	"contract create quarantine": {before: stageBackfill, after: stageQuarantine, hold: holdTable, resource: "postgres_column_contract.name"},
	"contract create drop":       {before: stageBackfill, after: stageDrop, hold: holdTable, resource: "postgres_column_contract.name"},
	"contract update to drop":    {before: stageQuarantine, after: stageDrop, hold: holdTable, resource: "postgres_column_contract.name"},
	"contract delete quarantine": {before: stageQuarantine, after: stageBackfill, hold: holdTable, resource: "postgres_column_contract.name"},
	"contract delete drop":       {before: stageDrop, after: stageBackfill, hold: holdTable, resource: "postgres_column_contract.name"},
	"contract delete refill":     {before: stageDrop, after: stageBackfill, hold: holdRow, resource: "postgres_column_contract.name"},
}

// emptied is what rows look like that came before the sync.
const emptied = `
	ALTER TABLE users DISABLE TRIGGER USER;
	UPDATE users SET first_name = NULL, last_name = NULL;
	ALTER TABLE users ENABLE TRIGGER USER;`

// TestOperationsSurviveAborts ends every operation of every stage in every way while it is under way. None may leave a tainted
// resource or a lost row behind, and the next apply goes on.
func TestOperationsSurviveAborts(t *testing.T) {
	t.Parallel()
	for name, op := range operations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t)
			createUsers(t, db, 300)
			db.Exec(t, `CREATE TABLE kept AS SELECT id, full_name FROM users`)
			r := newCLIRun(t, db, op.before)
			if op.before != "" {
				r.run(0, "apply", "-auto-approve")
			}
			if op.meanwhile != "" {
				db.Exec(t, op.meanwhile)
			}
			r.write("main.tf", op.after)
			r.retryFor("10m")
			blocker := hold(t, db, op.hold)
			for _, a := range aborts {
				t.Run(a.name, func(t *testing.T) {
					r := r.in(t)
					p := r.startHeld(op.resource)
					a.end(t, p)
					result := r.await(p)
					if result.ExitCode == 0 {
						t.Errorf("the aborted %s ended with success", name)
					}
					expectOutput(t, result.Stdout+result.Stderr, a.says...)
					expectUntainted(t, r)
				})
			}
			t.Run("blocker stays", func(t *testing.T) {
				r := r.in(t)
				r.retryFor("1s")
				expectOutput(t, r.run(1, "apply", "-auto-approve"), blockerName)
				expectUntainted(t, r)
			})
			t.Run("sessions end", func(t *testing.T) {
				r := r.in(t)
				r.retryFor("10m")
				p := r.startHeld(op.resource)
				db.Exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'terraform-provider-postgres%'`)
				time.AfterFunc(time.Second, blocker.release)
				result := r.await(p)
				expectOutput(t, result.Stdout+result.Stderr)
				expectUntainted(t, r)
				if result.ExitCode != 0 { // What had begun goes on in a new session; what only looks does not.
					expectOutput(t, result.Stdout+result.Stderr, "lost its session", "Apply again to go on")
				}
			})
			r.apply()
			expectNothingLost(t, db)
		})
	}
}

// abort ends an operation from outside.
type abort struct {
	name string
	end  func(t *testing.T, p *tfcli.Process)
	says []string
}

var aborts = []abort{
	{name: "SIGINT", end: signalled(os.Interrupt), says: []string{"was interrupted", "pply again to go on"}},
	{name: "SIGTERM", end: signalled(syscall.SIGTERM), says: []string{"was interrupted", "pply again to go on"}},
	{name: "provider killed", end: func(t *testing.T, p *tfcli.Process) {
		t.Helper()
		pid, err := p.ProviderPID()
		if err != nil {
			t.Fatal(err)
		}
		kill(t, pid)
	}},
	{name: "provider and CLI killed", end: func(t *testing.T, p *tfcli.Process) {
		t.Helper()
		if err := p.KillAll(); err != nil {
			t.Fatal(err)
		}
	}},
}

func signalled(signal os.Signal) func(*testing.T, *tfcli.Process) {
	return func(t *testing.T, p *tfcli.Process) {
		t.Helper()
		if err := p.Signal(signal); err != nil {
			t.Fatal(err)
		}
	}
}

// in is the same run for a subtest.
func (r *cliRun) in(t *testing.T) *cliRun {
	sub := *r
	sub.t = t
	return &sub
}

// retryFor sets how long the provider tries to get a lock.
func (r *cliRun) retryFor(limit string) {
	r.t.Helper()
	r.write("override.tf", "provider \"postgres\" {\n  lock_retry_for = \""+limit+"\"\n}\n")
}

// startHeld starts an apply and waits until its operation meets the lock that holds it up.
func (r *cliRun) startHeld(resource string) *tfcli.Process {
	r.t.Helper()
	p := r.start("apply", "-auto-approve")
	held := false
	defer func() {
		if !held { // The test has failed; the apply would wait for the lock for long.
			_ = p.KillAll()
			_, _ = p.Wait()
		}
	}()
	begun := regexp.MustCompile(regexp.QuoteMeta(resource) + `: (Creating|Modifying|Destroying)\.\.\.`)
	eventually(r.t, resource+" is held up", func() bool {
		return begun.MatchString(p.Stdout()) && pgtest.QueryRow[bool](r.t, r.db, `
			SELECT EXISTS (SELECT FROM pg_stat_activity
			                WHERE datname = current_database() AND application_name LIKE 'terraform-provider-postgres%' AND state = 'active'
			                  AND (wait_event_type = 'Lock' OR query LIKE '%pg_locks%'))`)
	})
	held = true
	return p
}

// await waits for an apply that must end within a minute.
func (r *cliRun) await(p *tfcli.Process) tfcli.Result {
	r.t.Helper()
	late := time.AfterFunc(time.Minute, func() {
		r.t.Error("the CLI did not end within a minute")
		_ = p.KillAll() // The test has failed already.
	})
	defer late.Stop()
	result, err := p.Wait()
	if err != nil {
		r.t.Fatal(err)
	}
	return result
}

// blockerName is the application name of the session that holds operations up.
const blockerName = "report of the test"

// blocker is a session with an open transaction.
type blocker struct {
	t    *testing.T
	conn *pgx.Conn
}

// hold runs the statement in a transaction that stays open until release or the end of the test.
func hold(t *testing.T, db *pgtest.Database, sql string) *blocker {
	t.Helper()
	config, err := pgx.ParseConfig(db.ConnString())
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["application_name"] = blockerName
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	b := &blocker{t: t, conn: conn}
	t.Cleanup(b.release)
	for _, s := range []string{"BEGIN", sql} {
		if _, err := conn.Exec(t.Context(), s); err != nil {
			t.Fatalf("%v\n%s", err, s)
		}
	}
	return b
}

func (b *blocker) release() {
	_ = b.conn.Close(context.WithoutCancel(b.t.Context())) // Closing it again is no error, and the session ends either way.
}

// frame is what Terraform draws around what it has to say, and the blanks at which it wraps.
var frame = strings.NewReplacer("│", " ", "╷", " ", "╵", " ")

// expectOutput fails when the output blames the provider, or lacks a phrase, wherever it is wrapped.
func expectOutput(t *testing.T, output string, wants ...string) {
	t.Helper()
	output = tfcli.StripOverrideWarning(output)
	flat := strings.Join(strings.Fields(frame.Replace(output)), " ")
	for _, forbidden := range []string{"bug in the provider", "inconsistent", "panic", "Provider produced"} {
		if strings.Contains(flat, forbidden) {
			t.Errorf("the output contains %q:\n%s", forbidden, output)
		}
	}
	for _, want := range wants {
		if !strings.Contains(flat, want) {
			t.Errorf("the output lacks %q:\n%s", want, output)
		}
	}
}

// expectUntainted reads the state file, which is there even while the CLI could not run.
func expectUntainted(t *testing.T, r *cliRun) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(r.Dir, "terraform.tfstate"))
	if os.IsNotExist(err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	var state struct {
		Resources []struct {
			Type      string
			Instances []struct{ Status string }
		}
	}
	if err := json.Unmarshal(content, &state); err != nil {
		t.Fatal(err)
	}
	for _, resource := range state.Resources {
		for _, instance := range resource.Instances {
			if instance.Status != "" {
				t.Errorf("%s is %s", resource.Type, instance.Status)
			}
		}
	}
}

// expectNothingLost compares the names with those of the table kept, wherever they are now.
func expectNothingLost(t *testing.T, db *pgtest.Database) {
	t.Helper()
	columns := columnNames(t, db, "users")
	where := []string{"first_name || ' ' || last_name"}
	switch {
	case strings.Contains(columns, "full_name__quarantined"):
		where = append(where, "full_name__quarantined")
	case strings.Contains(columns, "full_name"):
		where[0] = "full_name"
	}
	for _, name := range where {
		if lost := pgtest.QueryRow[int](t, db, `SELECT count(*) FROM kept LEFT JOIN users USING (id) WHERE kept.full_name IS DISTINCT FROM `+
			strings.Replace(name, "full_name", "users.full_name", 1)); lost != 0 {
			t.Errorf("%d rows do not have their name any more in %s (%s)", lost, name, columns)
		}
	}
}
