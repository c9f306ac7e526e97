package watch_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
	"github.com/stagedpg/terraform-provider-postgres/internal/tfcli"
)

var binDir string

func TestMain(m *testing.M) {
	var err error
	if binDir, err = os.MkdirTemp("", "watch-"); err != nil {
		panic(err)
	}
	pgtest.Main(m)
	if err := os.RemoveAll(binDir); err != nil {
		panic(err)
	}
}

var build = sync.OnceValues(func() (string, error) { return tfcli.BuildProvider(context.Background(), binDir) })

// command is the built binary, with no setting of the developer's own.
func command(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, args...)
	home := t.TempDir()
	cmd.Env = append([]string{"HOME=" + home, "PGSERVICEFILE=" + filepath.Join(home, "none"), "PGPASSFILE=" + filepath.Join(home, "none"), "PGSSLMODE=disable"}, env...)
	return cmd
}

// run runs the command to its end and returns what it printed.
func run(t *testing.T, wantCode int, env []string, args ...string) (stdout, stderr string) {
	t.Helper()
	cmd := command(t, env, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if code := cmd.ProcessState.ExitCode(); code != wantCode {
		t.Fatalf("%v ended with %d, want %d:\n%s%s", args, code, wantCode, out.String(), errOut.String())
	}
	return out.String(), errOut.String()
}

// backfill is a job in the ledger that looks as if an apply ran it.
type backfill struct {
	t     *testing.T
	db    *pg.DB
	l     ledger.Ledger
	lease ledger.Lease
}

func begin(t *testing.T, database *pgtest.Database, l ledger.Ledger) *backfill {
	t.Helper()
	db := pg.Open(pg.Settings{ConnectionString: database.ConnString(), MaxConnections: 1})
	t.Cleanup(db.Close)
	if err := l.Ensure(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	b := &backfill{t: t, db: db, l: l}
	b.do(func(tx pgx.Tx) (err error) {
		stage := &ledger.Stage{
			Kind: ledger.BatchedBackfill, Key: "public.users/name", TableOID: 1, Table: pg.TableName{Schema: "public", Name: "users"},
			Spec: json.RawMessage(`{}`), Status: ledger.Running,
		}
		if err := l.Put(t.Context(), tx, stage); err != nil {
			return err
		}
		if b.lease, err = l.TakeLease(t.Context(), tx, stage.ID, "a test"); err != nil {
			return err
		}
		segment := ledger.Segment{Relation: 7, Filenode: 8, End: 100, High: ledger.HashRange}
		if err := l.AddSegments(t.Context(), tx, b.lease, []ledger.Segment{segment}); err != nil {
			return err
		}
		segment.Next = 40
		return errors.Join(l.SetPages(t.Context(), tx, b.lease, 100), l.Checkpoint(t.Context(), tx, b.lease, segment, 400))
	})
	// The lease of a test that is slow must not run out between two heartbeats.
	database.Exec(t, `UPDATE `+pg.TableName{Schema: l.Schema, Name: "backfill"}.SQL()+` SET rows_per_second = 60, limited_by = 'target_duration', lease_expires_at = 'infinity'`)
	return b
}

func (b *backfill) do(fn func(tx pgx.Tx) error) {
	b.t.Helper()
	if err := b.db.Tx(b.t.Context(), pgx.TxOptions{}, nil, fn); err != nil {
		b.t.Fatal(err)
	}
}

func (b *backfill) finish() {
	b.t.Helper()
	b.do(func(tx pgx.Tx) error { return b.l.Finish(b.t.Context(), tx, b.lease, nil) })
}

// tail is the output of a command that runs.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *tail) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *tail) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// waitFor polls until the output has all the texts.
func (o *tail) waitFor(t *testing.T, texts ...string) {
	t.Helper()
	const patience = time.Minute
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		missing := ""
		for _, text := range texts {
			if !strings.Contains(o.String(), text) {
				missing = text
			}
		}
		switch {
		case missing == "":
			return
		case time.Now().After(deadline):
			t.Fatalf("not within %s: %q in\n%s", patience, missing, o.String())
		}
	}
}

// start starts the command with a short interval.
func start(t *testing.T, env []string, args ...string) (*exec.Cmd, *tail) {
	t.Helper()
	cmd, out := command(t, env, append([]string{"watch", "-interval", "100ms"}, args...)...), &tail{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

const line = "public.users/name, walk, limited by target_duration, 40.0%, 10s left, 60 rows/s, 400 rows"

var theLedger = ledger.Ledger{Schema: ledger.DefaultSchema}

func TestWatchFollowsABackfillToItsEnd(t *testing.T) {
	t.Parallel()
	database := pgtest.NewDatabase(t)
	b := begin(t, database, theLedger)
	cmd, out := start(t, nil, "-until-complete", database.ConnString())
	out.waitFor(t, "  "+line+"\n")
	database.Exec(t, `SELECT terraform_postgres.pause()`)
	out.waitFor(t, "public.users/name, paused by "+database.OwnerRole+" at ")
	database.Exec(t, `SELECT terraform_postgres.resume()`)
	b.finish()
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if !strings.Contains(out.String(), "public.users/name, complete, 400 rows in ") {
		t.Errorf("the end is missing:\n%s", out)
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("control sequences in a pipe: %q", out)
	}
}

func TestWatchSurvivesALostConnection(t *testing.T) {
	t.Parallel()
	database := pgtest.NewDatabase(t)
	b := begin(t, database, theLedger)
	proxy, through := pgtest.NewProxy(t, database)
	cmd, out := start(t, nil, "-until-complete", through)
	out.waitFor(t, line)
	cut := proxy.CutBefore(pgtest.Containing("progress"), 1)
	<-cut
	out.waitFor(t, "The connection is lost, trying again: ", "Connected again.")
	b.finish()
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestWatchEndsWhenInterrupted(t *testing.T) {
	t.Parallel()
	database := pgtest.NewDatabase(t)
	begin(t, database, theLedger)
	for want, args := range map[int][]string{0: {database.ConnString()}, 130: {"-until-complete", database.ConnString()}} {
		cmd, out := start(t, nil, args...)
		out.waitFor(t, line)
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // The exit code tells.
		if code := cmd.ProcessState.ExitCode(); code != want {
			t.Errorf("%v ended with %d, want %d:\n%s", args, code, want, out)
		}
	}
}

func TestWatchOnceConnectsAsLibpqWould(t *testing.T) {
	t.Parallel()
	database := pgtest.NewDatabase(t)
	other := ledger.Ledger{Schema: "other_ledger"}
	b := begin(t, database, other)
	u, err := url.Parse(database.ConnString())
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	service := filepath.Join(t.TempDir(), "services")
	text := fmt.Sprintf("[shop]\nhost=%s\nport=%s\nuser=%s\ndbname=%s\n", u.Hostname(), u.Port(), u.User.Username(), database.Name)
	if err := os.WriteFile(service, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"PGHOST=" + u.Hostname(), "PGPORT=" + u.Port(), "PGUSER=" + u.User.Username(), "PGPASSWORD=" + password}
	for name, c := range map[string]struct {
		env  []string
		args []string
	}{
		"URI":                {nil, []string{database.ConnString()}},
		"environment":        {append(env, "PGDATABASE="+database.Name), nil},
		"name of a database": {env, []string{database.Name}},
		"key=value":          {env, []string{"dbname=" + database.Name}},
		"service file":       {[]string{"PGSERVICEFILE=" + service, "PGSERVICE=shop", "PGPASSWORD=" + password}, nil},
	} {
		stdout, _ := run(t, 0, c.env, append([]string{"watch", "-once", "-ledger-schema", "other_ledger"}, c.args...)...)
		if stdout != line+"\n" {
			t.Errorf("%s: printed %q, want %q", name, stdout, line)
		}
	}
	b.finish()
	stdout, _ := run(t, 0, nil, "watch", "-once", "-ledger-schema", "other_ledger", database.ConnString())
	if !strings.HasPrefix(stdout, "public.users/name, complete, 400 rows in ") {
		t.Errorf("complete: printed %q", stdout)
	}
	database.Exec(t, `DELETE FROM other_ledger.stage`)
	if stdout, _ = run(t, 0, nil, "watch", "-once", "-ledger-schema", "other_ledger", database.ConnString()); stdout != "No backfill is recorded.\n" {
		t.Errorf("empty: printed %q", stdout)
	}
}

func TestWatchSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	database := pgtest.NewDatabase(t)
	for name, c := range map[string]struct {
		code int
		args []string
		want string
	}{
		"no ledger":             {1, []string{database.ConnString()}, "There is no ledger in schema terraform_postgres"},
		"nobody answers":        {1, []string{"postgres://nobody@127.0.0.1:1/nothing"}, "The progress of backfills cannot be read"},
		"unknown flag":          {2, []string{"-nope"}, "flag provided but not defined: -nope"},
		"two strings":           {2, []string{"a", "b"}, "one connection string is enough"},
		"interval of nothing":   {2, []string{"-interval", "0s"}, "-interval must be at least 100ms"},
		"flags that contradict": {2, []string{"-once", "-until-complete"}, "exclude each other"},
	} {
		stdout, stderr := run(t, c.code, nil, append([]string{"watch"}, c.args...)...)
		if stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: stdout %q, stderr %q, want %q", name, stdout, stderr, c.want)
		}
	}
	if exists := pgtest.QueryRow[bool](t, database, `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'terraform_postgres')`); exists {
		t.Error("watch has created the ledger")
	}
}

func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	stdout, _ := run(t, 0, nil, "watch", "-h")
	for _, want := range []string{"Usage: terraform-provider-postgres watch", "-until-complete", "PGSERVICE", "(default 1s)"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the help lacks %q:\n%s", want, stdout)
		}
	}
	if stdout, _ = run(t, 0, nil, "-version"); !strings.HasPrefix(stdout, "terraform-provider-postgres dev") {
		t.Errorf("-version prints %q", stdout)
	}
	if _, stderr := run(t, 0, nil, "-h"); !strings.Contains(stderr, "watch -h") || !strings.Contains(stderr, "-debug") {
		t.Errorf("-h prints %q", stderr)
	}
}
