package load

import (
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// waiter is a session that waits for a lock of the backfill.
type waiter struct {
	pg.Session
	waited pg.Seconds
}

type blocked struct{ waiters []waiter }

// readBlocked begins with pg_locks, which every role sees whole, and asks only for those who wait for long who they wait
// for: pg_blocking_pids holds up all other lock traffic.
func readBlocked(l *look) (string, []any) {
	return `
		WITH waiting AS MATERIALIZED (
		  SELECT l.pid, min(l.waitstart) AS since
		    FROM pg_locks l
		   WHERE NOT l.granted AND l.waitstart < clock_timestamp() - make_interval(secs => $2::float8)
		     AND l.pid <> ALL ($1::int8[]::int4[]) AND cardinality($1::int8[]) > 0
		   GROUP BY l.pid
		   ORDER BY since
		   LIMIT 10
		)
		SELECT w.pid, coalesce(a.usename, '')::text, coalesce(a.application_name, ''), coalesce(a.backend_type, ''),
		       coalesce(a.state, ''), coalesce(left(a.query, 200), ''),
		       coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), -1)::float8,
		       extract(epoch FROM clock_timestamp() - w.since)::float8
		  FROM waiting w LEFT JOIN pg_stat_activity a ON a.pid = w.pid
		 WHERE pg_blocking_pids(w.pid) && $1::int8[]::int4[] AND coalesce(a.backend_type, 'client backend') = 'client backend'`,
		[]any{l.tracked, l.limits.BlockedSessions.Seconds()}
}

func scanBlocked(rows pgx.Rows, r *reading) error {
	found := &blocked{}
	for rows.Next() {
		var w waiter
		if err := rows.Scan(append(w.Targets(), (*float64)(&w.waited))...); err != nil {
			return err
		}
		found.waiters = append(found.waiters, w)
	}
	r.blocked = found
	return rows.Err()
}

// Bounds of the budget, and how long nobody must have waited until it doubles.
const (
	leastBudget    = 1.0 / 16
	budgetRecovery = 5 * time.Second
)

// blockedJudge decides about blocked_sessions.
type blockedJudge struct {
	limits  *Limits
	budget  float64
	changed time.Time
}

func (j *blockedJudge) judge(now time.Time, b *blocked) (result judgement) {
	if j.budget == 0 {
		j.budget = 1
	}
	switch {
	case len(b.waiters) > 0:
		j.budget, j.changed = max(j.budget/2, leastBudget), now
	case j.budget < 1 && now.Sub(j.changed) >= budgetRecovery:
		j.budget, j.changed = min(j.budget*2, 1), now
	}
	if j.budget == 1 {
		return result
	}
	var names []string
	longest := time.Duration(0)
	for _, w := range b.waiters {
		longest = max(longest, w.waited.Duration())
		names = append(names, fmt.Sprintf("%s, waits %s for the backfill", w.Session, seconds(w.waited.Duration())))
	}
	result.blockers = strings.Join(names, "; ")
	if len(names) > 0 {
		result.shrinkTo(j.budget, "%s: %d, up to %s > %s", BlockedSessions, len(names), seconds(longest), seconds(j.limits.BlockedSessions))
	} else {
		result.shrinkTo(j.budget, "%s: none any more, batches grow again", BlockedSessions)
	}
	return result
}
