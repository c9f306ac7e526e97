package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"

	"github.com/stagedpg/terraform-provider-postgres/internal/stage/backfill"
)

// childVariable makes this program a process that runs the backfill and nothing else, so that its memory can be measured and
// it can be killed. It holds an order as JSON.
const childVariable = "BENCH_CHILD"

type order struct {
	ConnString string
	Options    backfill.Options
}

// childMain is main of such a process.
func childMain() int {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends when the parent does
		os.Exit(1)
	}()
	var o order
	err := json.Unmarshal([]byte(os.Getenv(childVariable)), &o)
	if err == nil {
		log := slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})
		_, err = runBackfillEngine(context.Background(), log, o.ConnString, o.Options)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var kibibytes int64
	if peak, ok := lineOf("/proc/self/status", "VmHWM"); ok {
		_, _ = fmt.Sscan(peak, &kibibytes) // stays 0
	}
	fmt.Println(kibibytes)
	return 0
}

// child is a running process that runs the backfill.
type child struct {
	command *exec.Cmd
	stdin   io.Closer
	stdout  strings.Builder
	stderr  strings.Builder
	ended   chan struct{}
	err     error
}

// startChild starts one. It ends with ctx, and with this process.
func startChild(ctx context.Context, t *trial, options backfill.Options) (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	document, err := json.Marshal(order{t.ConnString(), options})
	if err != nil {
		return nil, err
	}
	c := &child{command: exec.CommandContext(ctx, program), ended: make(chan struct{})}
	c.command.Env = append(os.Environ(), childVariable+"="+string(document))
	c.command.Stdout, c.command.Stderr = &c.stdout, &c.stderr
	if c.stdin, err = c.command.StdinPipe(); err != nil {
		return nil, err
	}
	if err := c.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(c.ended)
		c.err = c.command.Wait()
	}()
	return c, nil
}

// wait returns the peak of the child's resident memory in kibibytes, or 0 if the system does not tell.
func (c *child) wait() (kibibytes int64, err error) {
	<-c.ended
	if c.err != nil {
		return 0, fmt.Errorf("the process that runs the backfill: %w\n%s", c.err, strings.TrimSpace(c.stderr.String()))
	}
	_, err = fmt.Sscan(c.stdout.String(), &kibibytes)
	return kibibytes, err
}

// kill is a kill -9. It reports whether the child was still at work.
func (c *child) kill() bool {
	err := c.command.Process.Kill()
	<-c.ended
	return err == nil && c.err != nil
}
