package backfill

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/load"
)

// What batches can wait for.
const (
	limitedByPause   = "paused"
	limitedByWindows = "windows"
	limitedByRate    = "max_rows_per_second"
	limitedBySetRate = "set_rate"
	limitedByDuty    = "duty_cycle"
)

// gateLook is how often a batch that waits looks whether it may begin.
const gateLook = 200 * time.Millisecond

// errBudgetSpent ends an apply that has used up its apply_budget.
var errBudgetSpent = errors.New("the apply_budget is spent")

// gate is what every batch passes: it waits there while an operator, the clock or the server says so, and pays
// afterwards for what it has done.
type gate struct {
	options Options
	// judge says what the server can bear.
	judge func(now time.Time) load.Verdict
	// closes is when the apply_budget is spent; zero is never.
	closes  time.Time
	limiter *rate.Limiter

	mu      sync.Mutex
	control ledger.Control
	// waits is what a batch waited for last, why in words, and when.
	waits, why string
	waitedAt   time.Time
}

func newGate(o Options, judge func(time.Time) load.Verdict, now time.Time) *gate {
	g := &gate{options: o, judge: judge, limiter: rate.NewLimiter(rate.Inf, 1)}
	if o.ApplyBudget > 0 {
		g.closes = now.Add(o.ApplyBudget)
	}
	g.steer(ledger.Control{})
	return g
}

// steer takes what operators ask for.
func (g *gate) steer(c ledger.Control) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.control.Paused && !c.Paused && g.waits == limitedByPause {
		g.waits, g.why = "", ""
	}
	g.control = c
	limit := rate.Inf
	if perSecond := g.perSecond(); perSecond > 0 {
		limit = rate.Limit(perSecond)
	}
	if limit != g.limiter.Limit() {
		g.limiter.SetBurst(int(max(min(float64(limit), 1<<30)/10, 1))) // what was not used in the last tenth of a second
		g.limiter.SetLimit(limit)
	}
}

// perSecond is the bound of rows per second, or 0. An operator's word counts more than the configuration.
func (g *gate) perSecond() float64 {
	if g.control.MaxRowsPerSecond > 0 {
		return g.control.MaxRowsPerSecond
	}
	return g.options.MaxRowsPerSecond
}

// rowsAtOnce bounds the rows of one batch, so that a low rate does not come in gusts, or is 0.
func (g *gate) rowsAtOnce() float64 { return g.asked() / 4 }

// enter waits until a batch may begin. It returns the share of the usual size that the server can bear.
func (g *gate) enter(ctx context.Context) (budget float64, err error) {
	for {
		now := time.Now()
		if !g.closes.IsZero() && !now.Before(g.closes) {
			return 0, errBudgetSpent
		}
		waits, why, budget := g.look(now)
		if waits == "" {
			return budget, nil
		}
		g.note(waits, why)
		if err := sleep(ctx, gateLook); err != nil {
			return 0, err
		}
	}
}

// look says what a batch has to wait for now, or "", and why.
func (g *gate) look(now time.Time) (waits, why string, budget float64) {
	g.mu.Lock()
	control := g.control
	g.mu.Unlock()
	if control.Paused {
		return limitedByPause, "paused by " + control.PausedBy, 0
	}
	if wait := windows(g.options.Windows).wait(now); wait > 0 {
		return limitedByWindows, fmt.Sprintf("the next window opens in %s", wait.Round(time.Second)), 0
	}
	if v := g.judge(now); v.Pause {
		return limitedByThrottle, v.Reason, 0
	} else if v.Budget > 0 && v.Budget < 1 {
		return "", "", v.Budget
	}
	return "", "", 1
}

// leave waits as long as the batch has to pay for.
func (g *gate) leave(ctx context.Context, rows int64, took time.Duration) error {
	now := time.Now()
	g.mu.Lock()
	limiter, burst := g.limiter, int64(g.limiter.Burst())
	by := limitedByRate
	if g.control.MaxRowsPerSecond > 0 {
		by = limitedBySetRate
	}
	g.mu.Unlock()
	var wait time.Duration
	if limiter.Limit() != rate.Inf {
		for ; rows > 0; rows -= burst {
			wait = limiter.ReserveN(now, int(min(rows, burst))).DelayFrom(now)
		}
	}
	if duty := g.options.dutyCycle(); duty < 1 {
		if rest := time.Duration(float64(took) * (1 - duty) / duty); rest > wait {
			wait, by = rest, limitedByDuty
		}
	}
	if wait == 0 {
		return nil
	}
	return g.rest(ctx, wait, by)
}

// rest sleeps, but not past the end of the apply_budget, nor on when an operator asks for another rate.
func (g *gate) rest(ctx context.Context, wait time.Duration, by string) error {
	asked := g.asked()
	for end := time.Now().Add(wait); ; {
		now := time.Now()
		spent := !g.closes.IsZero() && !now.Before(g.closes)
		if !now.Before(end) || spent || g.asked() != asked {
			return nil
		}
		g.note(by, "")
		if err := sleep(ctx, min(end.Sub(now), gateLook)); err != nil {
			return err
		}
	}
}

// asked is the bound of rows per second, or 0.
func (g *gate) asked() float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.perSecond()
}

func (g *gate) note(waits, why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waits, g.why, g.waitedAt = waits, why, time.Now()
}

// state says what batches wait for, or have waited for within the last second, or "", and why in words.
func (g *gate) state(now time.Time) (waits, why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Sub(g.waitedAt) > time.Second {
		return "", ""
	}
	return g.waits, g.why
}
