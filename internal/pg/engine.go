package pg

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
)

// MinVersion is the oldest server_version_num supported: TID range scans, which the backfill walks by, came with 14.
const MinVersion = 140000

// engines are databases that speak PostgreSQL's protocol but not its storage, locks or DDL. CockroachDB reports
// a current server_version, so the text of version() decides.
var engines = []struct{ mark, name, reason string }{
	{"CockroachDB", "CockroachDB", "its DDL runs as background jobs and is not transactional, and its rows have no physical order to walk"},
	{"-YB-", "YugabyteDB", "its DDL is not transactional and its rows have no physical order to walk"},
	{"Redshift", "Amazon Redshift", "it has neither row triggers nor row locks"},
	{"Greenplum", "Greenplum", "its rows are distributed over segments"},
}

// checkEngine refuses servers on which the stages would not keep their promises.
func checkEngine(ctx context.Context, tx pgx.Tx) error {
	var version string
	var num int
	err := tx.QueryRow(ctx, `SELECT version(), current_setting('server_version_num')::int`).Scan(&version, &num)
	if err != nil {
		return fmt.Errorf("read the server's version: %w", err)
	}
	return engineProblem(version, num)
}

func engineProblem(version string, num int) error {
	for _, e := range engines {
		if strings.Contains(version, e.mark) {
			return finding.New(e.name+" is not supported",
				fmt.Sprintf("The server says it is %q. The stages of this provider rest on PostgreSQL's own locks, "+
					"transactional DDL and heap storage; %s differs: %s.\n\nUse PostgreSQL 14 or later.", version, e.name, e.reason))
		}
	}
	if num < MinVersion {
		return finding.New(fmt.Sprintf("PostgreSQL %d is not supported", num/10000),
			fmt.Sprintf("The server says it is %q. The backfill walks a table by TID range scans, which the server has "+
				"since version 14.\n\nUse PostgreSQL 14 or later.", version))
	}
	return nil
}
