package backfill

import (
	"time"
)

// Window is a time of the day at which batches may run.
type Window struct {
	// Days are the days of the week on which it begins; none means all.
	Days []time.Weekday `json:",omitempty"`
	// Start and End are times of the day as time since midnight on the clock of the time zone; an End at or before Start is on the next day.
	Start, End time.Duration
	// TimeZone is a name of the IANA database, such as Europe/Berlin.
	TimeZone string
}

// windows are the times at which batches may run; none means always.
type windows []Window

// wait returns how long it is until batches may run, or 0.
func (w windows) wait(now time.Time) time.Duration { return 0 }
