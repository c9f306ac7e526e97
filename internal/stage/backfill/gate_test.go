package backfill

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/load"
)

func idle(time.Time) load.Verdict { return load.Verdict{Budget: 1} }

// closed reports what a gate holds batches up for.
func closed(t *testing.T, g *gate) string {
	t.Helper()
	waits, _, _ := g.look(time.Now())
	return waits
}

func TestGateWaitsForOperators(t *testing.T) {
	g := newGate(Options{}, idle, time.Now())
	if got := closed(t, g); got != "" {
		t.Errorf("a new gate waits for %q", got)
	}
	g.steer(ledger.Control{Paused: true, PausedBy: "ops"})
	if got := closed(t, g); got != limitedByPause {
		t.Errorf("after pause it waits for %q", got)
	}
	entered := make(chan error, 1)
	go func() {
		_, err := g.enter(t.Context())
		entered <- err
	}()
	g.steer(ledger.Control{})
	if err := <-entered; err != nil {
		t.Errorf("after resume: %v", err)
	}
}

func TestGateWaitsForTheServer(t *testing.T) {
	verdict := load.Verdict{Pause: true, Reason: "replica_lag: 12 s > 10 s"}
	g := newGate(Options{}, func(time.Time) load.Verdict { return verdict }, time.Now())
	ctx, cancel := context.WithCancel(t.Context())
	entered := make(chan error, 1)
	go func() {
		_, err := g.enter(ctx)
		entered <- err
	}()
	for {
		if waits, why := g.state(time.Now()); waits == limitedByThrottle && why == verdict.Reason {
			break
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-entered; !errors.Is(err, context.Canceled) {
		t.Errorf("enter = %v after the apply was cancelled", err)
	}
	verdict = load.Verdict{Budget: 0.5, Reason: "checkpoints"}
	if budget, err := g.enter(t.Context()); err != nil || budget != 0.5 {
		t.Errorf("budget = %v, %v", budget, err)
	}
}

func TestGateEndsTheApplyWhenItsBudgetIsSpent(t *testing.T) {
	g := newGate(Options{ApplyBudget: time.Minute}, idle, time.Now().Add(-time.Hour))
	g.steer(ledger.Control{Paused: true}) // It ends also while it waits.
	if _, err := g.enter(t.Context()); !errors.Is(err, errBudgetSpent) {
		t.Errorf("enter = %v", err)
	}
}

// What a batch has to pay is bounded here from below only: a busy machine sleeps longer.
func TestGateMakesBatchesPay(t *testing.T) {
	for name, test := range map[string]struct {
		options Options
		control ledger.Control
		by      string
	}{
		"rate":       {Options{MaxRowsPerSecond: 1000}, ledger.Control{}, limitedByRate},
		"set_rate":   {Options{MaxRowsPerSecond: 1e9}, ledger.Control{MaxRowsPerSecond: 1000}, limitedBySetRate},
		"duty cycle": {Options{DutyCycle: 0.2}, ledger.Control{}, limitedByDuty},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGate(test.options, idle, time.Now())
			g.steer(test.control)
			started := time.Now()
			if err := g.leave(t.Context(), 300, 50*time.Millisecond); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(started); took < 190*time.Millisecond {
				t.Errorf("it waited %s, want 200 ms at least", took)
			}
			if waits, _ := g.state(started.Add(time.Millisecond)); waits != test.by {
				t.Errorf("limited by %q, want %q", waits, test.by)
			}
		})
	}
}

func TestGateForgetsADebtWhenTheRateIsLifted(t *testing.T) {
	g := newGate(Options{}, idle, time.Now())
	g.steer(ledger.Control{MaxRowsPerSecond: 1})
	left := make(chan error, 1)
	go func() { left <- g.leave(t.Context(), 100_000, time.Millisecond) }() // more than a day
	for {
		if waits, _ := g.state(time.Now()); waits == limitedBySetRate {
			break
		}
		time.Sleep(time.Millisecond)
	}
	g.steer(ledger.Control{})
	if err := <-left; err != nil {
		t.Fatal(err)
	}
}
