package load

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// seconds returns a duration for people: 0.3 s, 12 s, 4 min, 3 h 5 min.
func seconds(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Seconds()), ".0") + " s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	default:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	}
}

// size returns a number of bytes for people.
func size(n int64) string {
	return strings.Replace(humanize.IBytes(uint64(max(n, 0))), ".0 ", " ", 1)
}

// number returns a count for people.
func number(n int64) string { return humanize.Comma(n) }

// join puts the parts that say something on one line.
func join(separator string, parts ...string) string {
	var kept []string
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, separator)
}

// scale returns a part of a duration.
func scale(d time.Duration, by float64) time.Duration { return time.Duration(float64(d) * by) }
