// Package watch shows how running backfills go, until they are complete or nobody wants to see it any more. It only reads the
// ledger's progress view, so that anybody who may read that can watch, from any machine.
package watch

import (
	"context"
	"errors"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
)

// Source returns how far each backfill is.
type Source func(ctx context.Context) ([]ledger.Progress, error)

// View is where the progress is shown.
type View interface {
	// Show shows how far the backfills are now.
	Show(now time.Time, all []ledger.Progress)
	// Say shows a sentence.
	Say(now time.Time, text string)
	// Close leaves what is shown.
	Close()
}

// Watcher reads a source again and again and shows what it finds.
type Watcher struct {
	Source   Source
	View     View
	Interval time.Duration
	// UntilComplete ends Run when no backfill is left that is not complete.
	UntilComplete bool
	// Transient reports whether an error goes by: a server that restarts, a network that was cut.
	Transient func(err error) bool
}

// Run watches until ctx ends, whose error it returns, or until the source fails for good. Only a connection that worked once
// is tried again: an address that never did is a mistake in the command.
func (w *Watcher) Run(ctx context.Context) error {
	defer w.View.Close()
	worked, lost := false, false
	for {
		all, err := w.Source(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			if lost {
				w.View.Say(time.Now(), "Connected again.")
			}
			worked, lost = true, false
			w.View.Show(time.Now(), all)
			if w.UntilComplete && allComplete(all) {
				return nil
			}
		case !worked || !w.Transient(err):
			return err
		case !lost:
			lost = true
			w.View.Say(time.Now(), "The connection is lost, trying again: "+clean(err.Error()))
		}
		wait(ctx, w.Interval)
	}
}

func allComplete(all []ledger.Progress) bool {
	for _, p := range all {
		if !p.Complete() {
			return false
		}
	}
	return true
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// interrupted reports whether the error only says that the context has ended.
func interrupted(err error) bool { return errors.Is(err, context.Canceled) }
