package backfill

import (
	"strings"
	"testing"
	"time"
)

func mustWindow(t *testing.T, days, start, end, zone string) Window {
	t.Helper()
	w, err := ParseWindow(strings.Fields(days), start, end, zone)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// The week of 2026-03-23 is that before summer time begins in Berlin (Sunday the 29th, 02:00 becomes 03:00); it ends on
// Sunday, 2026-10-25 (03:00 becomes 02:00). 2026-11-23 is a Monday.
func TestWaitForTheWindow(t *testing.T) {
	t.Parallel()
	type window struct{ days, start, end, zone string }
	const berlin = "Europe/Berlin"
	for name, c := range map[string]struct {
		windows []window
		now     string // RFC 3339
		want    time.Duration
	}{
		"without windows":                       {nil, "2026-11-23T12:00:00Z", 0},
		"in it":                                 {[]window{{"", "10:00", "14:00", ""}}, "2026-11-23T12:00:00Z", 0},
		"at its start":                          {[]window{{"", "12:00", "14:00", ""}}, "2026-11-23T12:00:00Z", 0},
		"at its end":                            {[]window{{"", "10:00", "12:00", ""}}, "2026-11-23T12:00:00Z", 22 * time.Hour},
		"a moment before its end":               {[]window{{"", "10:00", "12:00", ""}}, "2026-11-23T11:59:59.999Z", 0},
		"before it":                             {[]window{{"", "13:30", "14:00", ""}}, "2026-11-23T12:00:00Z", 90 * time.Minute},
		"parts of a second":                     {[]window{{"", "13:30", "14:00", ""}}, "2026-11-23T12:00:00.25Z", 90*time.Minute - 250*time.Millisecond},
		"the whole day":                         {[]window{{"", "00:00", "24:00", ""}}, "2026-11-23T23:59:59Z", 0},
		"until midnight":                        {[]window{{"", "22:00", "24:00", ""}}, "2026-11-23T00:00:00Z", 22 * time.Hour},
		"until midnight by 00:00":               {[]window{{"", "22:00", "00:00", ""}}, "2026-11-23T23:30:00Z", 0},
		"after midnight, until 00:00":           {[]window{{"", "22:00", "00:00", ""}}, "2026-11-23T00:00:00Z", 22 * time.Hour},
		"across midnight, before it":            {[]window{{"", "22:00", "06:00", ""}}, "2026-11-23T23:00:00Z", 0},
		"across midnight, after it":             {[]window{{"", "22:00", "06:00", ""}}, "2026-11-23T05:59:00Z", 0},
		"across midnight, during the day":       {[]window{{"", "22:00", "06:00", ""}}, "2026-11-23T06:00:00Z", 16 * time.Hour},
		"the night that began on its day":       {[]window{{"sun", "22:00", "06:00", ""}}, "2026-11-23T03:00:00Z", 0},
		"the night that begins on its day":      {[]window{{"mon", "22:00", "06:00", ""}}, "2026-11-23T03:00:00Z", 19 * time.Hour},
		"another day":                           {[]window{{"wed fri", "08:00", "09:00", ""}}, "2026-11-23T08:30:00Z", 2*day - 30*time.Minute},
		"the same day of next week":             {[]window{{"mon", "08:00", "09:00", ""}}, "2026-11-23T09:00:00Z", 7*day - time.Hour},
		"the day of the zone, not of UTC":       {[]window{{"mon", "00:00", "01:00", berlin}}, "2026-11-22T23:30:00Z", 0},
		"a zone far ahead":                      {[]window{{"tue", "00:00", "02:00", "Pacific/Kiritimati"}}, "2026-11-23T10:30:00Z", 0},
		"the one that opens first":              {[]window{{"", "20:00", "21:00", ""}, {"", "15:00", "16:00", ""}}, "2026-11-23T12:00:00Z", 3 * time.Hour},
		"overlapping, in both":                  {[]window{{"", "10:00", "13:00", ""}, {"", "11:00", "14:00", ""}}, "2026-11-23T12:00:00Z", 0},
		"overlapping, in the later one":         {[]window{{"", "10:00", "12:00", ""}, {"", "11:00", "14:00", ""}}, "2026-11-23T12:30:00Z", 0},
		"in one of two zones":                   {[]window{{"", "13:00", "14:00", ""}, {"", "13:00", "14:00", berlin}}, "2026-11-23T12:00:00Z", 0},
		"an hour earlier in summer":             {[]window{{"", "22:00", "23:00", berlin}}, "2026-07-01T19:00:00Z", time.Hour},
		"the night that is an hour shorter":     {[]window{{"", "06:00", "07:00", berlin}}, "2026-03-29T00:00:00Z", 4 * time.Hour},
		"the night that is an hour longer":      {[]window{{"", "06:00", "07:00", berlin}}, "2026-10-25T00:00:00Z", 5 * time.Hour},
		"a start that is skipped":               {[]window{{"", "02:30", "05:00", berlin}}, "2026-03-29T00:00:00Z", time.Hour},
		"an end that is skipped":                {[]window{{"", "01:00", "02:30", berlin}}, "2026-03-29T01:00:00Z", 22 * time.Hour},
		"a window that is skipped":              {[]window{{"", "02:15", "02:45", berlin}}, "2026-03-29T00:00:00Z", day + 15*time.Minute},
		"a window that is skipped for a week":   {[]window{{"sun", "02:15", "02:45", berlin}}, "2026-03-29T00:00:00Z", 7*day + 15*time.Minute},
		"a window that comes twice, first":      {[]window{{"", "02:15", "02:45", berlin}}, "2026-10-25T00:30:00Z", 0},
		"a window that comes twice, in between": {[]window{{"", "02:15", "02:45", berlin}}, "2026-10-25T00:50:00Z", 25 * time.Minute},
		"a window that comes twice, second":     {[]window{{"", "02:15", "02:45", berlin}}, "2026-10-25T01:20:00Z", 0},
		"a window that comes twice, over":       {[]window{{"", "02:15", "02:45", berlin}}, "2026-10-25T01:50:00Z", day - 35*time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var all windows
			for _, w := range c.windows {
				all = append(all, mustWindow(t, w.days, w.start, w.end, w.zone))
			}
			now, err := time.Parse(time.RFC3339Nano, c.now)
			if err != nil {
				t.Fatal(err)
			}
			if got := all.wait(now); got != c.want {
				t.Errorf("wait = %s, want %s", got, c.want)
			}
		})
	}
}

// A window opens after exactly the wait, and not a second earlier, at any time of a year with both changes of the clock.
func TestWaitEndsWhenTheWindowOpens(t *testing.T) {
	t.Parallel()
	all := windows{
		mustWindow(t, "mon tue wed thu fri", "22:30", "05:15", "Europe/Berlin"), mustWindow(t, "sat", "02:10", "02:50", "America/New_York"),
		mustWindow(t, "sun", "01:30", "02:30", "Australia/Lord_Howe"), // Its clock changes by half an hour.
	}
	for now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC); now.Year() == 2026; now = now.Add(37 * time.Minute) {
		wait := all.wait(now)
		if wait == 0 {
			continue
		}
		if left := all.wait(now.Add(wait)); left != 0 {
			t.Fatalf("at %s the wait is %s, after which another %s are left", now, wait, left)
		}
		if left := all.wait(now.Add(wait - time.Second)); left != time.Second {
			t.Fatalf("at %s the wait is %s, a second before its end it is %s", now, wait, left)
		}
	}
}

func TestWindowsThatAreNone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ days, start, end, zone, want string }{
		"empty":             {"", "22:00", "22:00", "", "Window from 22:00 to 22:00 is empty"},
		"unknown day":       {"mon tues", "22:00", "06:00", "", `Day "tues" is not known`},
		"one digit":         {"", "9:00", "17:00", "", `Time "9:00" is not a time of the day`},
		"after midnight":    {"", "09:00", "25:00", "", `Time "25:00" is not a time of the day`},
		"with seconds":      {"", "09:00:00", "17:00", "", `Time "09:00:00" is not a time of the day`},
		"start at 24:00":    {"", "24:00", "06:00", "", "Window begins at 24:00"},
		"unknown zone":      {"", "22:00", "06:00", "Europe/Atlantis", `Time zone "Europe/Atlantis" is not known`},
		"zone of a machine": {"", "22:00", "06:00", "Local", `Time zone "Local" is not known`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ParseWindow(strings.Fields(c.days), c.start, c.end, c.zone)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v, want %q", err, c.want)
			}
		})
	}
}
