package finding_test

import (
	"testing"
	"time"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
)

func TestDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0:                              "0s",
		100 * time.Millisecond:         "100ms",
		10 * time.Second:               "10s",
		50 * time.Minute:               "50m",
		time.Hour:                      "1h",
		90 * time.Minute:               "1h30m",
		time.Hour + 10*time.Second:     "1h0m10s",
		20*time.Hour + 100*time.Minute: "21h40m",
	} {
		if got := finding.Duration(d); got != want {
			t.Errorf("%d is %q, want %q", d, got, want)
		}
	}
}
