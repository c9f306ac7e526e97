package watch

import (
	"strings"
	"testing"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
)

func pointer[T any](value T) *T { return &value }

// walking is a backfill on its way.
func walking() ledger.Progress {
	return ledger.Progress{
		Table: "public.users", Schema: "public", Name: "users", Backfill: "public.users/first_name,last_name", Status: "walk", Running: true,
		Percent: 47.3, RowsUpdated: 946000, RowsEstimated: 2000000, PagesDone: 9700, PagesTotal: 20523, RowsPerSecond: 41230,
		LimitedBy: "target_duration", HOTPercent: pointer(91.6), Holder: "an apply", Elapsed: 23 * time.Second,
		Remaining: pointer(65 * time.Second), SinceCheckpoint: pointer(time.Second),
	}
}

func with(change func(p *ledger.Progress)) ledger.Progress {
	p := walking()
	change(&p)
	return p
}

func notRunning(p *ledger.Progress) {
	p.Running, p.RowsPerSecond, p.LimitedBy, p.Remaining = false, 0, "", nil
}

func TestLines(t *testing.T) {
	for name, c := range map[string]struct {
		progress ledger.Progress
		line     string
		bar      []string
	}{
		"walk": {
			walking(),
			"public.users/first_name,last_name, walk, limited by target_duration, 47.3%, 1m5s left, 41,230 rows/s, HOT 92%, 946,000 of ~2,000,000 rows",
			[]string{
				"public.users/first_name,last_name: walk, limited by target_duration",
				"  ███████░░░░░░░░░  47.3%  1m5s left  41,230 rows/s  HOT 92%  946,000 of ~2,000,000 rows",
			},
		},
		"throttled, with somebody in the way": {
			with(func(p *ledger.Progress) {
				p.Status, p.Throttled, p.RowsPerSecond, p.Remaining = "throttled", "replica_lag of s1: 12 s > 10 s", 0, nil
				p.Blockers = "pid 4610, application \"report\""
				p.MaxRowsPerSecond, p.SinceCheckpoint = 5000, pointer(time.Minute)
			}),
			"public.users/first_name,last_name, throttled: replica_lag of s1: 12 s > 10 s, asked for at most 5,000 rows/s, last batch 1m0s ago, 47.3%, " +
				"0 rows/s, HOT 92%, 946,000 of ~2,000,000 rows, blockers: pid 4610, application \"report\"",
			[]string{
				"public.users/first_name,last_name: throttled: replica_lag of s1: 12 s > 10 s, asked for at most 5,000 rows/s, last batch 1m0s ago",
				"  ███████░░░░░░░░░  47.3%  0 rows/s  HOT 92%  946,000 of ~2,000,000 rows",
				"  blockers: pid 4610, application \"report\"",
			},
		},
		"paused while an apply waits": {
			with(func(p *ledger.Progress) {
				p.Status, p.Throttled, p.RowsPerSecond, p.Remaining = "paused", "paused by alice at 2026-11-23 02:00:00+00", 0, nil
			}),
			"public.users/first_name,last_name, paused by alice at 2026-11-23 02:00:00+00, 47.3%, 0 rows/s, HOT 92%, 946,000 of ~2,000,000 rows",
			[]string{
				"public.users/first_name,last_name: paused by alice at 2026-11-23 02:00:00+00",
				"  ███████░░░░░░░░░  47.3%  0 rows/s  HOT 92%  946,000 of ~2,000,000 rows",
			},
		},
		"interrupted, never analyzed, no version written": {
			with(func(p *ledger.Progress) {
				notRunning(p)
				p.Status, p.RowsEstimated, p.HOTPercent, p.SinceCheckpoint = "interrupted", -1, nil, pointer(time.Hour)
			}),
			"public.users/first_name,last_name, interrupted, no apply is running, 47.3%, 946,000 rows",
			[]string{
				"public.users/first_name,last_name: interrupted, no apply is running",
				"  ███████░░░░░░░░░  47.3%  946,000 rows",
			},
		},
		"sweep, with an estimate that was too low": {
			with(func(p *ledger.Progress) {
				p.Status, p.Note, p.Percent, p.Remaining, p.LimitedBy, p.RowsEstimated = "sweep", "3 rows have come", 100, nil, "", 900000
			}),
			"public.users/first_name,last_name, sweep (3 rows have come), 100.0%, 41,230 rows/s, HOT 92%, 946,000 rows",
			[]string{
				"public.users/first_name,last_name: sweep (3 rows have come)",
				"  ████████████████  100.0%  41,230 rows/s  HOT 92%  946,000 rows",
			},
		},
		"complete": {
			with(func(p *ledger.Progress) {
				notRunning(p)
				p.Status, p.Percent, p.SinceCheckpoint = "complete", 100, nil
			}),
			"public.users/first_name,last_name, complete, 946,000 rows in 23s", nil,
		},
		"names that would play with the terminal": {
			with(func(p *ledger.Progress) {
				p.Backfill, p.LimitedBy, p.Blockers = "public.\"a\x1b[2J\nb\"/c", "", "pid 1, query: select\n\t\x07 'ü'"
			}),
			"public.\"a?[2J b\"/c, walk, 47.3%, 1m5s left, 41,230 rows/s, HOT 92%, 946,000 of ~2,000,000 rows, blockers: pid 1, query: select ? 'ü'",
			[]string{
				"public.\"a?[2J b\"/c: walk",
				"  ███████░░░░░░░░░  47.3%  1m5s left  41,230 rows/s  HOT 92%  946,000 of ~2,000,000 rows",
				"  blockers: pid 1, query: select ? 'ü'",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Line(c.progress); got != c.line {
				t.Errorf("line:\n     %s\nwant %s", got, c.line)
			}
			if c.bar == nil {
				return
			}
			if got, want := strings.Join(barLines(c.progress), "\n"), strings.Join(c.bar, "\n"); got != want {
				t.Errorf("bar:\n%s\nwant\n%s", got, want)
			}
		})
	}
}
