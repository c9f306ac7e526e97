package watch

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
)

// script is a source that answers with one step after the other, and stays with the last.
func script(steps ...any) Source {
	return func(context.Context) ([]ledger.Progress, error) {
		step := steps[0]
		if len(steps) > 1 {
			steps = steps[1:]
		}
		if err, failed := step.(error); failed {
			return nil, err
		}
		return step.([]ledger.Progress), nil
	}
}

func TestWatcher(t *testing.T) {
	lost, final := errors.New("the network\nis down"), errors.New("no such table")
	running, done := []ledger.Progress{named("a", nil)}, []ledger.Progress{named("a", complete)}
	for name, c := range map[string]struct {
		source Source
		want   error
		shown  []string
	}{
		"runs until complete":                     {script(running, done), nil, []string{"a, walk", "a, complete"}},
		"ends at once when nothing is to be done": {script(done), nil, []string{"The only backfill is complete."}},
		"survives a lost connection": {script(running, lost, lost, running, lost, done), nil, []string{
			"a, walk", "The connection is lost, trying again: the network is down", "Connected again.",
			"The connection is lost, trying again: the network is down", "Connected again.", "a, complete",
		}},
		"does not insist on a connection that never worked": {script(lost, done), lost, nil},
		"gives up on an error that stays":                   {script(running, final), final, []string{"a, walk"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			w := Watcher{
				Source: c.source, View: NewPlain(&out), Interval: time.Microsecond, UntilComplete: true,
				Transient: func(err error) bool { return errors.Is(err, lost) },
			}
			if err := w.Run(t.Context()); !errors.Is(err, c.want) {
				t.Errorf("Run = %v, want %v", err, c.want)
			}
			lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			if out.Len() == 0 {
				lines = nil
			}
			if len(lines) != len(c.shown) {
				t.Fatalf("printed\n%s\nwant\n%s", out.String(), strings.Join(c.shown, "\n"))
			}
			for i, want := range c.shown {
				if !strings.Contains(lines[i], "  "+want) {
					t.Errorf("line %d is %q, want %q", i, lines[i], want)
				}
			}
		})
	}
}

func TestWatcherRunsOnWhenComplete(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	looks := 0
	source := func(context.Context) ([]ledger.Progress, error) {
		if looks++; looks == 5 {
			cancel()
		}
		return []ledger.Progress{named("a", complete)}, nil
	}
	w := Watcher{Source: source, View: NewPlain(&bytes.Buffer{}), Interval: time.Microsecond, Transient: transient}
	if err := w.Run(ctx); !interrupted(err) || looks != 5 {
		t.Errorf("Run = %v after %d looks", err, looks)
	}
}
