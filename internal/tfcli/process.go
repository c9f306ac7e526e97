package tfcli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"sync"
)

// Process is a running command. Its provider plugin is a child process in the same process group.
type Process struct {
	cmd            *exec.Cmd
	ctx            context.Context // ends the command; kept to tell in Wait why it ended
	stdout, stderr output
}

// Start runs the command in the background. Both of its output streams are also written to live as they come, unless it
// is nil. When ctx ends, the command is interrupted as by Ctrl-C and killed when it has not stopped after
// 20 seconds. Wait must be called.
func (w *Workspace) Start(ctx context.Context, live io.Writer, args ...string) (*Process, error) {
	p := &Process{cmd: exec.CommandContext(ctx, w.CLI.Path, args...), ctx: ctx}
	if live != nil {
		live = &lockedWriter{w: live}
	}
	p.stdout.live, p.stderr.live = live, live
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.cmd.Dir = w.Dir
	p.cmd.Env = environment(os.Environ(), w.cliConfig, w.Env)
	ownGroup(p.cmd)
	p.cmd.Cancel = func() error { return interrupt(p.cmd.Process) }
	p.cmd.WaitDelay = interruptGrace
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", w.CLI, err)
	}
	return p, nil
}

// PID is the process id of the command itself.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// ProviderPID is the process id of the provider plugin that the command has started. It fails while there is none. Ask
// once the work has visibly begun: Terraform starts and stops other instances before, to read schemas and to validate.
func (p *Process) ProviderPID() (int, error) {
	children, err := childrenOf(p.PID())
	if err != nil {
		return 0, err
	}
	// Process names are cut short (15 bytes on Linux), so childrenOf gives the path of the executable.
	name := path.Base(modulePath)
	for _, child := range children {
		if base := path.Base(child.executable); base == name {
			return child.pid, nil
		}
	}
	return 0, fmt.Errorf("process %d has no child %s", p.PID(), name)
}

// Signal sends a signal to the command alone. Terraform passes an interrupt on to the provider as a cancelled call.
func (p *Process) Signal(signal os.Signal) error { return p.cmd.Process.Signal(signal) }

// Kill ends the command at once, as `kill -9` does, and leaves the provider to find out by itself. Wait ends whatever
// is left of the process group.
func (p *Process) Kill() error { return p.cmd.Process.Kill() }

// KillAll ends the command and its provider at the same instant.
func (p *Process) KillAll() error { return killGroup(p.PID()) }

// Stdout is what the command has printed so far.
func (p *Process) Stdout() string { return p.stdout.String() }

// Wait waits for the command to end and then ends every process that it left behind. A context that ended is an
// error, with the result of what the command still did; an exit code is none.
func (p *Process) Wait() (Result, error) {
	err := p.cmd.Wait()
	// A provider outlives a killed command, holds its database sessions, and nobody else knows of it.
	groupErr := killGroup(p.PID())
	result := Result{
		Stdout:   p.stdout.String(),
		Stderr:   p.stderr.String(),
		ExitCode: p.cmd.ProcessState.ExitCode(),
	}
	if ctxErr := p.ctx.Err(); ctxErr != nil {
		return result, fmt.Errorf("%s was ended: %w", p.cmd.Path, context.Cause(p.ctx))
	}
	var exit *exec.ExitError
	// ErrWaitDelay: the command has ended, but something it started still held its output; that has been ended now.
	if errors.As(err, &exit) || errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return result, errors.Join(err, groupErr)
}

// output collects one stream and passes it on. The mutex lets it be read while the command runs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	live io.Writer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(b)
	if o.live != nil {
		// A reader that went away must not break the command's pipe in the middle of an apply.
		_, _ = o.live.Write(b)
	}
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// lockedWriter lets the two streams of one command share a writer.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// child is a process that another one started.
type child struct {
	pid        int
	executable string
}
