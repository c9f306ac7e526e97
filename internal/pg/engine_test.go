package pg

import (
	"strings"
	"testing"
)

func TestOtherEnginesAreRefusedByName(t *testing.T) {
	for _, c := range []struct {
		version string
		num     int
		want    string
	}{
		{"PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64-pc-linux-gnu, compiled by gcc", 150018, ""},
		{"PostgreSQL 19.0 on aarch64-unknown-linux-gnu", 190000, ""},
		{"PostgreSQL 13.23 on x86_64-pc-linux-gnu", 130023, "PostgreSQL 13 is not supported"},
		{"CockroachDB CCL v26.1.0 (x86_64-pc-linux-gnu, built 2026/02/02)", 180000, "CockroachDB is not supported"},
		{"PostgreSQL 15.2-YB-2.25.0.0-b0 on x86_64-pc-linux-gnu", 150002, "YugabyteDB is not supported"},
		{"PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC, Redshift 1.0.77467", 80002, "Amazon Redshift is not supported"},
		{"PostgreSQL 12.12 (Greenplum Database 7.1.0 build commit:0) on x86_64-pc-linux-gnu", 120012, "Greenplum is not supported"},
	} {
		err := engineProblem(c.version, c.num)
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.version, err, c.want)
		}
	}
}
