//go:build unix

package tfcli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRunReturnsWhatTheCommandLeft(t *testing.T) {
	w := fakeWorkspace(t, `echo "ran $*"; echo "in $(ls)"; echo bad >&2; exit 3`)
	if err := w.Write("main.tf", ""); err != nil {
		t.Fatal(err)
	}
	got, err := w.Run(t.Context(), "plan", "-no-color")
	if err != nil {
		t.Fatal(err)
	}
	want := Result{Stdout: "ran plan -no-color\nin main.tf\n", Stderr: "bad\n", ExitCode: 3}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestCommandSeesOnlyItsOwnSettings(t *testing.T) {
	t.Setenv("TF_CLI_CONFIG_FILE", "/nowhere")
	t.Setenv("TF_LOG", "trace")
	t.Setenv("PGHOST", "db.example")
	w := fakeWorkspace(t, `env | grep -E '^(TF_|CHECKPOINT|PGHOST)' | sort`)
	w.Env = []string{"TF_VAR_database=app"}
	got, err := w.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("CHECKPOINT_DISABLE=1\nPGHOST=db.example\nTF_CLI_CONFIG_FILE=%s\nTF_IN_AUTOMATION=1\nTF_VAR_database=app\n", w.cliConfig)
	if got.Stdout != want {
		t.Errorf("got:\n%swant:\n%s", got.Stdout, want)
	}
}

func TestSignalReachesTheCommand(t *testing.T) {
	w := fakeWorkspace(t, `trap 'echo interrupted; exit 1' INT; sleep 600 >/dev/null 2>&1 & echo ready; wait`)
	p, lines := start(t, t.Context(), w)
	expectLine(t, lines, "ready")
	if err := p.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	got, err := p.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if got.ExitCode != 1 || got.Stdout != "ready\ninterrupted\n" {
		t.Errorf("got %+v", got)
	}
}

func TestKillIsAResult(t *testing.T) {
	w := fakeWorkspace(t, `trap '' INT; echo ready; exec sleep 600`)
	p, lines := start(t, t.Context(), w)
	expectLine(t, lines, "ready")
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	got, err := p.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if got.ExitCode != -1 {
		t.Errorf("exit code %d, want -1", got.ExitCode)
	}
}

func TestNoChildOutlivesTheCommand(t *testing.T) {
	// The script behaves as Terraform does when it is killed: its child, the provider, is left running.
	const script = `sleep 600 >/dev/null 2>&1 & echo $!; wait`

	for _, test := range []struct {
		name    string
		end     func(p *Process, cancel context.CancelFunc) error
		wantErr error
	}{
		{"context", func(_ *Process, cancel context.CancelFunc) error { cancel(); return nil }, context.Canceled},
		{"kill", func(p *Process, _ context.CancelFunc) error { return p.Kill() }, nil},
		{"kill all", func(p *Process, _ context.CancelFunc) error { return p.KillAll() }, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			p, lines := start(t, ctx, fakeWorkspace(t, script))
			var child int
			if _, err := fmt.Sscan(<-lines, &child); err != nil {
				t.Fatal(err)
			}
			if err := test.end(p, cancel); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Wait(); !errors.Is(err, test.wantErr) {
				t.Errorf("error %v, want %v", err, test.wantErr)
			}
			expectEnd(t, child)
		})
	}
}

func TestProviderPID(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems tell a copied sleep by its own rules")
	}
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	provider := filepath.Join(t.TempDir(), "terraform-provider-postgres")
	if err := os.WriteFile(provider, code, 0o755); err != nil {
		t.Fatal(err)
	}
	// BusyBox decides by its own name what to do, so the copy is only started where sleep is a program by itself.
	if err := exec.Command(provider, "0").Run(); err != nil {
		t.Skipf("%s does not run under another name: %v", sleep, err)
	}

	w := fakeWorkspace(t, `sleep 600 & "$PROVIDER" 600 & echo $!; wait`)
	w.Env = []string{"PROVIDER=" + provider}
	p, lines := start(t, t.Context(), w)
	var want int
	if _, err := fmt.Sscan(<-lines, &want); err != nil {
		t.Fatal(err)
	}
	// The shell prints the number of the child before the child has become the provider.
	eventually(t, "the provider to be found", func() bool {
		got, err := p.ProviderPID()
		return err == nil && got == want
	})
	if err := p.KillAll(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	if pid, err := p.ProviderPID(); err == nil {
		t.Errorf("found %d after the end", pid)
	}
}

func TestParentInStat(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has /proc/PID/stat")
	}
	children, err := childrenOf(os.Getppid())
	if err != nil {
		t.Fatal(err)
	}
	for _, child := range children {
		if child.pid == os.Getpid() {
			return
		}
	}
	t.Errorf("this process, %d, is not among the children of its parent: %v", os.Getpid(), children)
}

// start runs the workspace's command and returns its lines as they come.
func start(t *testing.T, ctx context.Context, w *Workspace) (*Process, <-chan string) {
	t.Helper()
	reader, writer := io.Pipe()
	p, err := w.Start(ctx, writer)
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(reader)
		for scanner.Scan() {
			lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		_ = p.KillAll() // a test that failed before Wait must not leave it behind
		_ = writer.Close()
	})
	return p, lines
}

func expectLine(t *testing.T, lines <-chan string, want string) {
	t.Helper()
	if got := <-lines; got != want {
		t.Fatalf("got line %q, want %q", got, want)
	}
}

// expectEnd fails when a process still runs. A zombie has ended: whoever adopted it has not asked for it yet.
func expectEnd(t *testing.T, pid int) {
	t.Helper()
	eventually(t, fmt.Sprintf("process %d to end", pid), func() bool {
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return true
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err == nil && strings.Contains(string(stat), ") Z ")
	})
}

// eventually waits for what the kernel does in its own time.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline.C:
			t.Fatalf("waited too long for %s", what)
		case <-tick.C:
		}
	}
}
