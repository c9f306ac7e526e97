package watch

import (
	"io"
	"strings"
	"sync"
	"time"

	"github.com/mattn/go-runewidth"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
)

const (
	barLength = 16 // characters
	// refresh is how often the terminal is drawn again, which also follows a change of its size.
	refresh = 200 * time.Millisecond
)

// bars shows a bar for each backfill that is not complete, at the bottom of a terminal.
type bars struct {
	container *mpb.Progress
	shown     map[string]*bar
	first     bool
}

// bar is what the terminal shows of one backfill. The library draws it from a goroutine of its own.
type bar struct {
	*mpb.Bar
	mu    sync.Mutex
	lines []string
}

// NewBars returns a view for a terminal.
func NewBars(terminal io.Writer) View {
	return &bars{
		container: mpb.New(mpb.WithOutput(terminal), mpb.WithAutoRefresh(), mpb.WithRefreshRate(refresh)),
		shown:     make(map[string]*bar), first: true,
	}
}

func (v *bars) Show(now time.Time, all []ledger.Progress) {
	if line := idle(all); v.first && line != "" {
		v.Say(now, line)
	}
	running := make(map[string]bool)
	for _, p := range all {
		b, shown := v.shown[p.Backfill]
		switch {
		case !p.Complete():
			running[p.Backfill] = true
			if !shown {
				b = v.add()
				v.shown[p.Backfill] = b
			}
			b.set(barLines(p))
		case shown:
			v.Say(now, Line(p))
		}
	}
	for key, b := range v.shown {
		if !running[key] {
			b.Abort(true)
			delete(v.shown, key)
		}
	}
	v.first = false
}

// Say prints a line above the bars.
func (v *bars) Say(now time.Time, text string) {
	_, _ = io.WriteString(v.container, now.Format(time.TimeOnly)+"  "+text+"\n") // Only after Close it fails.
}

// Close draws the bars for the last time and leaves them.
func (v *bars) Close() {
	for _, b := range v.shown {
		b.Abort(false)
	}
	v.container.Wait()
}

// add adds a bar whose total is unknown to the library, so that it never takes it for complete by itself.
func (v *bars) add() *bar {
	b := &bar{}
	first := mpb.BarFillerFunc(func(w io.Writer, s decor.Statistics) error { return b.draw(w, s, 0, 1, "") })
	rest := mpb.BarFillerFunc(func(w io.Writer, s decor.Statistics) error { return b.draw(w, s, 1, maxLines, "\n") })
	b.Bar = v.container.MustAdd(0, first, mpb.BarFillerTrim(), mpb.BarExtender(rest, false))
	return b
}

func (b *bar) set(lines []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = lines
}

// draw writes lines of the bar. One that is longer than the terminal is cut: the library counts lines to find back to the top.
func (b *bar) draw(w io.Writer, s decor.Statistics, from, to int, end string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, line := range b.lines[min(from, len(b.lines)):min(to, len(b.lines))] {
		if _, err := io.WriteString(w, runewidth.Truncate(line, s.AvailableWidth, "…")+end); err != nil {
			return err
		}
	}
	return nil
}

// maxLines is how many lines a bar has at most.
const maxLines = 3

// barLines are what a terminal shows of a backfill: its name and state, its bar, and who is in its way.
func barLines(p ledger.Progress) []string {
	full := int(min(max(p.Percent, 0), 100) / 100 * barLength)
	lines := []string{
		clean(p.Backfill) + ": " + state(p),
		"  " + strings.Repeat("█", full) + strings.Repeat("░", barLength-full) + "  " + strings.Join(measures(p), "  "),
	}
	if p.Blockers != "" {
		lines = append(lines, "  blockers: "+clean(p.Blockers))
	}
	return lines
}
