package backfill

import (
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // Windows and many containers have no time zone database.

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
)

// Window is a time of the day at which batches may run.
type Window struct {
	// Days are the days of the week on which it begins; none means all.
	Days []time.Weekday `json:",omitempty"`
	// Start and End are times of the day as time since midnight on the clock of the time zone; an End before Start is on the next day.
	Start, End time.Duration
	// TimeZone is a name of the IANA database, such as Europe/Berlin.
	TimeZone string
}

// day is the length of a day on the clock, whatever the sun and summer time make of it.
const day = 24 * time.Hour

// dayNames are the days of the week as users write them, by time.Weekday.
var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// DayNames returns the days of the week as users write them, Monday first.
func DayNames() []string { return slices.Concat(dayNames[1:], dayNames[:1]) }

// ParseWindow reads a window as users write it: days such as mon (none means all), times such as 22:00, a time zone such as
// Europe/Berlin ("" means UTC).
func ParseWindow(days []string, start, end, zone string) (w Window, err error) {
	for _, name := range days {
		weekday := slices.Index(dayNames, name)
		if weekday < 0 {
			return w, finding.New(fmt.Sprintf("Day %q is not known", name), "Days are "+strings.Join(DayNames(), ", ")+".")
		}
		w.Days = append(w.Days, time.Weekday(weekday))
	}
	slices.Sort(w.Days)
	w.Days = slices.Compact(w.Days)
	if w.Start, err = parseTimeOfDay(start); err != nil {
		return w, err
	}
	if w.End, err = parseTimeOfDay(end); err != nil {
		return w, err
	}
	switch w.Start {
	case w.End:
		return w, finding.New(fmt.Sprintf("Window from %s to %s is empty", start, end),
			"It begins when it ends, so no batch could ever run. A window of the whole day is\n\n  start = \"00:00\"\n  end   = \"24:00\"")
	case day:
		return w, finding.New("Window begins at 24:00", "That is the end of a day. Midnight, as a beginning, is 00:00.")
	}
	if w.TimeZone = zone; zone == "" {
		w.TimeZone = "UTC"
	}
	// Local would be that of whichever machine runs the apply.
	if _, err := time.LoadLocation(w.TimeZone); err != nil || w.TimeZone == "Local" {
		return w, finding.New(fmt.Sprintf("Time zone %q is not known", zone), "Give its name in the IANA time zone database, such as Europe/Berlin, "+
			"America/New_York or UTC. Upper and lower case count.")
	}
	return w, nil
}

func parseTimeOfDay(text string) (time.Duration, error) {
	if text == "24:00" {
		return day, nil
	}
	clock, err := time.Parse("15:04", text)
	if err != nil || len(text) != len("15:04") {
		return 0, finding.New(fmt.Sprintf("Time %q is not a time of the day", text), "Write hours and minutes, each with two digits, from 00:00 to 24:00.")
	}
	return time.Duration(clock.Hour())*time.Hour + time.Duration(clock.Minute())*time.Minute, nil
}

// windows are the times at which batches may run; none means always.
type windows []Window

// unreadable is how long batches wait because of a time zone that this machine does not know. The plan has refused those
// that nobody knows.
const unreadable = time.Hour

// wait returns how long it is until batches may run, or 0. What counts is the clock on the wall: a time that it skips in
// spring does not come, and one that it shows twice in autumn is there twice.
func (w windows) wait(now time.Time) time.Duration {
	if len(w) == 0 {
		return 0
	}
	shortest := time.Duration(-1)
	for _, window := range w {
		wait := unreadable
		if location, err := time.LoadLocation(window.TimeZone); err == nil {
			wait = window.opens(now.In(location)).Sub(now)
		}
		if shortest < 0 || wait < shortest {
			shortest = wait
		}
	}
	return shortest
}

// opens returns the first time from now on that is in the window.
func (w Window) opens(now time.Time) time.Time {
	// Between two changes of the clock it runs evenly. A window that begins on one day of the week, at an hour that is
	// skipped that week, opens a week later.
	for {
		if w.isOpen(now) {
			return now
		}
		_, change := now.ZoneBounds()
		_, offset := now.Zone()
		steady := time.FixedZone("", offset)
		today := now.In(steady)
		for n := range 8 {
			start := time.Date(today.Year(), today.Month(), today.Day()+n, 0, 0, 0, 0, steady).Add(w.Start)
			if !start.Before(now) && w.begins(start.Weekday()) && (change.IsZero() || start.Before(change)) {
				return start
			}
		}
		if change.IsZero() {
			return now.Add(unreadable) // It cannot be: one of 8 days is one of its days.
		}
		now = change
	}
}

// isOpen reports whether the clock of now's location shows a time in the window.
func (w Window) isOpen(now time.Time) bool {
	clock := time.Duration(now.Hour())*time.Hour + time.Duration(now.Minute())*time.Minute + time.Duration(now.Second())*time.Second
	today, yesterday := now.Weekday(), (now.Weekday()+6)%7
	if w.End > w.Start {
		return w.begins(today) && w.Start <= clock && clock < w.End
	}
	return w.begins(today) && w.Start <= clock || w.begins(yesterday) && clock < w.End
}

func (w Window) begins(weekday time.Weekday) bool {
	return len(w.Days) == 0 || slices.Contains(w.Days, weekday)
}
