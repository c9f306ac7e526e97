package load

import (
	"time"

	"github.com/jackc/pgx/v5"
)

// checkpoints are counted since the server's statistics began.
type checkpoints struct{ requested, timed int64 }

func readCheckpoints(l *look) (string, []any) {
	if l.major >= 17 {
		return `SELECT num_requested, num_timed FROM pg_stat_checkpointer`, nil
	}
	return `SELECT checkpoints_req, checkpoints_timed FROM pg_stat_bgwriter`, nil
}

func scanCheckpoints(rows pgx.Rows, r *reading) error {
	var c checkpoints
	for rows.Next() {
		if err := rows.Scan(&c.requested, &c.timed); err != nil {
			return err
		}
		r.checkpoints = &c
	}
	return rows.Err()
}

// checkpointPeriod is the time in which checkpoints are counted: twice the usual checkpoint_timeout.
const checkpointPeriod = 10 * time.Minute

// checkpointJudge decides about checkpoints. Each is followed by full images of the pages that change next, so that more of them
// make more WAL, and that more of them.
type checkpointJudge struct {
	limits *Limits
	// past are the counts of the last period, whenever one changed; the first may be older.
	past []checkpointSample
}

type checkpointSample struct {
	at time.Time
	checkpoints
}

func (j *checkpointJudge) judge(now time.Time, c *checkpoints) (result judgement) {
	if n := len(j.past); n > 0 && (c.requested < j.past[n-1].requested || c.timed < j.past[n-1].timed) {
		j.past = nil // the statistics were reset
	}
	if n := len(j.past); n == 0 || *c != j.past[n-1].checkpoints {
		j.past = append(j.past, checkpointSample{now, *c})
	}
	for len(j.past) > 1 && now.Sub(j.past[1].at) >= checkpointPeriod {
		j.past = j.past[1:]
	}
	requested, timed := c.requested-j.past[0].requested, c.timed-j.past[0].timed
	if requested >= j.limits.Checkpoints && requested >= timed {
		result.shrinkTo(0.5, "%s: %d of %d in %s were requested, not timed", Checkpoints, requested, requested+timed, seconds(checkpointPeriod))
	}
	return result
}
