package ddl

import (
	"testing"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

func TestOnlyStandbysThatAreBehindAreNamed(t *testing.T) {
	t.Parallel()
	bytes, seconds := func(n int64) *int64 { return &n }, func(n float64) *float64 { return &n }
	for name, c := range map[string]struct {
		standby pg.Standby
		want    string
	}{
		"hidden":     {pg.Standby{Name: "s"}, ""},
		"up to date": {pg.Standby{Name: "s", LagBytes: bytes(0), LagSeconds: seconds(0)}, ""},
		"breathing":  {pg.Standby{Name: "s", LagBytes: bytes(8192), LagSeconds: seconds(0.2)}, ""},
		"by time":    {pg.Standby{Name: "s", LagBytes: bytes(8192), LagSeconds: seconds(63.7)}, "s by 8.0 KiB of WAL (1m4s)"},
		"by bytes":   {pg.Standby{Name: "s", LagBytes: bytes(3 << 30)}, "s by 3.0 GiB of WAL (0s)"},
	} {
		if got := lag(c.standby); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
