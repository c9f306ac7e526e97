package pgtest

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

//go:embed watchdog.sh
var watchdogScript string

// startTimeout bounds initdb, start and crash recovery, each on its own. A loaded two-core machine needs a few seconds.
const startTimeout = 2 * time.Minute

func (s *Server) startWatchdog() error {
	s.watchdog = exec.Command("/bin/sh", "-c", watchdogScript, "pgtest-watchdog", s.BinDir, s.directory)
	s.watchdog.Dir = "/" // the account may not be allowed to enter ours
	s.watchdog.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"LC_ALL=C", // the log is in English, and we look for a message in it
		"TZ=UTC",
		"PGTEST_PASSWORD=" + s.Password,
	}
	if err := isolate(s.watchdog); err != nil {
		return err
	}
	commands, err := s.watchdog.StdinPipe()
	if err != nil {
		return err
	}
	output, err := s.watchdog.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.watchdog.Start(); err != nil {
		return err
	}
	answers := make(chan string, 1)
	go func() {
		defer close(answers)
		for lines := bufio.NewScanner(output); lines.Scan(); {
			answers <- lines.Text()
		}
	}()
	s.commands, s.answers = commands, answers
	return nil
}

// command has the watchdog do something and waits for its answer.
func (s *Server) command(ctx context.Context, line string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return s.broken
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("no answer in %s", startTimeout))
	defer cancel()
	if _, err := io.WriteString(s.commands, line+"\n"); err != nil {
		return fmt.Errorf("the watchdog is gone: %w", err)
	}
	select {
	case status, ok := <-s.answers:
		if !ok {
			return fmt.Errorf("the watchdog could not make %s", s.directory)
		}
		if status != "0" {
			return errors.New("its log ends with\n" + tail(s.Log(), 10))
		}
		return nil
	case <-ctx.Done():
		// The answer may still come, and would be taken for that of the next command.
		s.broken = fmt.Errorf("gave up waiting for %q: %w", line, context.Cause(ctx))
		return s.broken
	}
}
