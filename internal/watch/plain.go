package watch

import (
	"fmt"
	"io"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
)

// repeatAfter is how often a line is printed of a backfill that just goes on.
const repeatAfter = 10 * time.Second

// plain prints a line when a backfill's state changes, and every 10 seconds while it runs: the output of a job that runs for
// hours stays readable.
type plain struct {
	w     io.Writer
	shown map[string]shownLine
	first bool
}

// shownLine is what was printed last of a backfill.
type shownLine struct {
	state string
	at    time.Time
}

// NewPlain returns a view for pipes and files.
func NewPlain(w io.Writer) View { return &plain{w: w, shown: make(map[string]shownLine), first: true} }

func (v *plain) Show(now time.Time, all []ledger.Progress) {
	if v.first {
		if line := idle(all); line != "" {
			v.Say(now, line)
		}
	}
	there := make(map[string]bool)
	for _, p := range all {
		there[p.Backfill] = true
		last, known := v.shown[p.Backfill]
		state := coarse(p)
		switch {
		case known && last.state == state && (!p.Running || now.Sub(last.at) < repeatAfter):
			continue
		case !known && p.Complete() && v.first: // It was long before anybody looked.
		default:
			v.Say(now, Line(p))
		}
		v.shown[p.Backfill] = shownLine{state, now}
	}
	for key := range v.shown {
		if !there[key] {
			delete(v.shown, key)
			v.Say(now, clean(key)+", forgotten")
		}
	}
	v.first = false
}

// coarse is the state without what changes all the time.
func coarse(p ledger.Progress) string {
	return fmt.Sprint(p.Status, p.Running, p.Note, p.MaxRowsPerSecond, p.Holder)
}

// Say prints a line. A reader that goes away ends the command with SIGPIPE, so that errors need no care.
func (v *plain) Say(now time.Time, text string) {
	_, _ = fmt.Fprintf(v.w, "%s  %s\n", now.Format(time.TimeOnly), text)
}

func (v *plain) Close() {}

// idle says that there is nothing to wait for, or "".
func idle(all []ledger.Progress) string {
	switch {
	case len(all) == 0:
		return "No backfill is recorded."
	case !allComplete(all):
		return ""
	case len(all) == 1:
		return "The only backfill is complete."
	}
	return fmt.Sprintf("All %d backfills are complete.", len(all))
}
