package load

import (
	"sort"
	"time"
)

// timeline remembers when the server was where: in its WAL, or in its transaction numbers, which both only grow. With it
// the age of an old position is known even when the server does not tell: replay_lag stays as it was when a standby falls
// silent, and when the primary does.
type timeline struct {
	// keep is how far back ages matter.
	keep    time.Duration
	samples []sample
}

type sample struct {
	at       time.Time
	position int64
}

func (t *timeline) add(now time.Time, position int64) {
	last := len(t.samples) - 1
	switch {
	case last >= 0 && position < t.samples[last].position:
		t.samples = t.samples[:0] // another server, after a failover
	case last >= 1 && position == t.samples[last].position && position == t.samples[last-1].position:
		t.samples = t.samples[:last] // when it was first there and when it was last there is enough
	}
	t.samples = append(t.samples, sample{now, position})
	for len(t.samples) > 1 && now.Sub(t.samples[1].at) > t.keep {
		t.samples = t.samples[1:]
	}
}

// atLeast returns for how long the server has been past the position, as far as was seen.
func (t *timeline) atLeast(now time.Time, position int64) time.Duration {
	i := sort.Search(len(t.samples), func(i int) bool { return t.samples[i].position > position })
	if i == len(t.samples) {
		return 0
	}
	return now.Sub(t.samples[i].at)
}

// atMost returns how long ago the server had surely not come to the position; ok is false when that was not seen.
func (t *timeline) atMost(now time.Time, position int64) (age time.Duration, ok bool) {
	i := sort.Search(len(t.samples), func(i int) bool { return t.samples[i].position >= position })
	if i == 0 {
		return 0, false
	}
	return now.Sub(t.samples[i-1].at), true
}
