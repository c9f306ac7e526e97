package watch

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func named(key string, change func(p *ledger.Progress)) ledger.Progress {
	p := with(func(p *ledger.Progress) {
		p.Backfill, p.LimitedBy, p.HOTPercent, p.RowsEstimated, p.Remaining = key, "", nil, -1, nil
	})
	if change != nil {
		change(&p)
	}
	return p
}

func complete(p *ledger.Progress) {
	notRunning(p)
	p.Status, p.Percent = "complete", 100
}

func TestPlainPrintsWhatChangesAndEveryTenSeconds(t *testing.T) {
	var out bytes.Buffer
	v := NewPlain(&out)
	interrupted := func(p *ledger.Progress) {
		notRunning(p)
		p.Status = "interrupted"
	}
	rows := func(n int64) func(p *ledger.Progress) {
		return func(p *ledger.Progress) {
			p.RowsUpdated, p.LimitedBy, p.Blockers = n, strings.Repeat("x", int(n)), "somebody"
		}
	}
	old, gone := named("old", complete), named("gone", interrupted)
	for _, look := range []struct {
		after time.Duration
		all   []ledger.Progress
	}{
		{0, []ledger.Progress{named("a", rows(1)), named("b", interrupted), old, gone}},
		{1 * time.Second, []ledger.Progress{named("a", rows(2)), named("b", interrupted), old}},
		{9 * time.Second, []ledger.Progress{named("a", rows(3)), named("b", interrupted), old}},
		{10 * time.Second, []ledger.Progress{named("a", rows(4)), named("b", interrupted), old}},
		{11 * time.Second, []ledger.Progress{named("a", complete), named("b", rows(5)), old}},
		{60 * time.Second, []ledger.Progress{named("a", complete), named("b", complete), old, named("quick", complete)}},
		{99 * time.Second, []ledger.Progress{named("a", complete), named("b", complete), old, named("quick", complete)}},
	} {
		v.Show(noon.Add(look.after), look.all)
	}
	v.Close()
	want := `12:00:00  a, walk, limited by x, 47.3%, 41,230 rows/s, 1 row, blockers: somebody
12:00:00  b, interrupted, no apply is running, 47.3%, 946,000 rows
12:00:00  gone, interrupted, no apply is running, 47.3%, 946,000 rows
12:00:01  gone, forgotten
12:00:10  a, walk, limited by xxxx, 47.3%, 41,230 rows/s, 4 rows, blockers: somebody
12:00:11  a, complete, 946,000 rows in 23s
12:00:11  b, walk, limited by xxxxx, 47.3%, 41,230 rows/s, 5 rows, blockers: somebody
12:01:00  b, complete, 946,000 rows in 23s
12:01:00  quick, complete, 946,000 rows in 23s
`
	if out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", out.String(), want)
	}
}

func TestViewsSayWhenThereIsNothingToWaitFor(t *testing.T) {
	for want, all := range map[string][]ledger.Progress{
		"No backfill is recorded.":       nil,
		"The only backfill is complete.": {named("a", complete)},
		"All 2 backfills are complete.":  {named("a", complete), named("b", complete)},
	} {
		for name, open := range map[string]func(*bytes.Buffer) View{
			"plain": func(b *bytes.Buffer) View { return NewPlain(b) },
			"bars":  func(b *bytes.Buffer) View { return NewBars(b) },
		} {
			var out bytes.Buffer
			v := open(&out)
			v.Show(noon, all)
			v.Show(noon, all)
			v.Close()
			if got := out.String(); got != "12:00:00  "+want+"\n" {
				t.Errorf("%s: %q, want %q once", name, got, want)
			}
		}
	}
}

// lastFrame is what the terminal shows in the end: below the last place from which it was erased.
func lastFrame(output string) string {
	if i := strings.LastIndex(output, "\x1b[J"); i >= 0 {
		output = output[i+len("\x1b[J"):]
	}
	return output
}

func TestBarsOfSeveralBackfills(t *testing.T) {
	var out bytes.Buffer // 80 characters wide, as far as the library knows
	v := NewBars(&out)
	blocked := func(p *ledger.Progress) { p.Blockers = "pid 4610, " + strings.Repeat("long ", 20) }
	v.Show(noon, []ledger.Progress{named("a", nil), named("b", blocked), named("old", complete)})
	v.Show(noon, []ledger.Progress{named("a", complete), named("b", blocked), named("c", nil), named("old", complete)})
	v.Close()
	want := `  ███████░░░░░░░░░  47.3%  41,230 rows/s  946,000 rows
`
	wantFrame := "b: walk\n" + want + "  blockers: pid 4610, long long long long long long long long long long long lo…\n" + "c: walk\n" + want
	if got := lastFrame(out.String()); !strings.HasSuffix(got, wantFrame) {
		t.Errorf("the last frame is\n%s\nwant\n%s", got, wantFrame)
	}
	if got := strings.Count(out.String(), "12:00:00  a, complete, 946,000 rows in 23s\n"); got != 1 {
		t.Errorf("the end of a was told %d times:\n%q", got, out.String())
	}
	if strings.Contains(out.String(), "old") {
		t.Errorf("a backfill shows that was complete before anybody looked:\n%s", out.String())
	}
}
