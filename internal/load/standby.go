package load

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// standby is one receiver of physical replication.
type standby struct {
	pid         int32
	name        string // application_name
	streaming   bool
	synchronous bool
	// hidden means that the role sees that it is there, and no more.
	hidden bool
	// replayed and flushed are positions in the WAL; nil when the receiver does not tell, as pg_receivewal, which does not
	// replay.
	replayed, flushed *int64
	// replayLag and flushLag are what the server last measured, however long ago; 0 when it does not tell.
	replayLag, flushLag time.Duration
}

type standbys struct {
	wal int64 // the primary's position
	all []standby
}

// readStandbys leaves out receivers of logical replication, which confirm when they like; their slots are watched.
// Those who copy the server come and go.
func readStandbys(*look) (string, []any) {
	return `
		SELECT (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint, coalesce(r.pid, 0), coalesce(r.application_name, ''),
		       coalesce(r.state, ''), coalesce(r.sync_state IN ('sync', 'quorum'), false),
		       (r.replay_lsn - '0/0'::pg_lsn)::bigint, (r.flush_lsn - '0/0'::pg_lsn)::bigint,
		       coalesce(extract(epoch FROM r.replay_lag), 0)::float8, coalesce(extract(epoch FROM r.flush_lag), 0)::float8
		  FROM (SELECT) AS always
		  LEFT JOIN pg_stat_replication r
		    ON r.state IS DISTINCT FROM 'backup'
		   AND NOT EXISTS (SELECT FROM pg_replication_slots s WHERE s.active_pid = r.pid AND s.slot_type = 'logical')`, nil
}

func scanStandbys(rows pgx.Rows, r *reading) error {
	found := &standbys{}
	for rows.Next() {
		var s standby
		var state string
		var replayLag, flushLag pg.Seconds
		if err := rows.Scan(&found.wal, &s.pid, &s.name, &state, &s.synchronous, &s.replayed, &s.flushed,
			(*float64)(&replayLag), (*float64)(&flushLag)); err != nil {
			return err
		}
		if s.pid == 0 {
			continue
		}
		s.hidden, s.streaming = state == "", state == "streaming"
		s.replayLag, s.flushLag = replayLag.Duration(), flushLag.Duration()
		if s.name == "" || slices.ContainsFunc(found.all, func(other standby) bool { return other.name == s.name }) {
			s.name = strings.TrimSpace(fmt.Sprintf("%s pid %d", s.name, s.pid))
		}
		found.all = append(found.all, s)
	}
	r.standbys = found
	return rows.Err()
}

// lagJudge decides about replica_lag and sync_lag.
type lagJudge struct {
	limits *Limits
	wal    timeline
	// slow and slowToFlush are the standbys that batches wait for.
	slow, slowToFlush map[int32]bool
}

func newLagJudge(limits *Limits) *lagJudge {
	return &lagJudge{limits: limits, wal: timeline{keep: max(limits.ReplicaLag, limits.SyncLag) + time.Minute}}
}

// observe remembers where the primary is. It comes before the judgements.
func (j *lagJudge) observe(now time.Time, s *standbys) { j.wal.add(now, s.wal) }

// age returns for how long a standby has been at its position, and 0 when there is nothing more for it to do: the
// server's own figure stays what it was when WAL no longer flows.
func (j *lagJudge) age(now time.Time, s *standbys, position int64, measured time.Duration) time.Duration {
	if position >= s.wal {
		return 0
	}
	return max(measured, j.wal.atLeast(now, position))
}

func (j *lagJudge) replicaLag(now time.Time, s *standbys) (result judgement) {
	limit, limitBytes := j.limits.ReplicaLag, j.limits.ReplicaLagBytes
	slow := map[int32]bool{}
	for _, one := range s.all {
		if one.replayed == nil || slices.Contains(j.limits.IgnoreReplicas, one.name) {
			continue
		}
		age, gap := j.age(now, s, *one.replayed, one.replayLag), max(s.wal-*one.replayed, 0)
		over := (limit == 0 || age > limit) && (limitBytes == 0 || gap > limitBytes)
		resumed := (limit > 0 && age < limit/2) || (limitBytes > 0 && gap <= limitBytes/16)
		if !over && (!j.slow[one.pid] || resumed) {
			continue
		}
		slow[one.pid] = true
		have := seconds(age) + " and " + size(gap)
		if over {
			result.waitFor("%s of %s: %s > %s", ReplicaLag, one.name, have, both(" and ", limit, limitBytes))
		} else {
			result.waitFor("%s of %s: %s, until < %s", ReplicaLag, one.name, have, both(" or ", limit/2, limitBytes/16))
		}
	}
	j.slow = slow
	return result
}

// both renders those of the two thresholds that are set.
func both(separator string, limit time.Duration, limitBytes int64) string {
	var parts [2]string
	if limit > 0 {
		parts[0] = seconds(limit)
	}
	if limitBytes > 0 {
		parts[1] = size(limitBytes)
	}
	return join(separator, parts[:]...)
}

func (j *lagJudge) syncLag(now time.Time, s *standbys) (result judgement) {
	limit := j.limits.SyncLag
	slow := map[int32]bool{}
	for _, one := range s.all {
		if one.flushed == nil || !one.synchronous {
			continue
		}
		age, resume := j.age(now, s, *one.flushed, one.flushLag), scale(limit, 0.3)
		switch {
		case age > limit:
			result.waitFor("%s of %s: %s > %s", SyncLag, one.name, seconds(age), seconds(limit))
		case j.slowToFlush[one.pid] && age >= resume:
			result.waitFor("%s of %s: %s, until < %s", SyncLag, one.name, seconds(age), seconds(resume))
		default:
			continue
		}
		slow[one.pid] = true
	}
	j.slowToFlush = slow
	return result
}

// countJudge decides about replicas: one that vanished has no lag any more, and may be down because of us.
type countJudge struct {
	limits  *Limits
	log     *slog.Logger
	known   int
	missing time.Time // since when, or zero
}

func (j *countJudge) judge(now time.Time, s *standbys) (result judgement) {
	streaming := 0
	for _, one := range s.all {
		if one.streaming || one.hidden {
			streaming++
		}
	}
	if streaming >= j.known {
		j.known, j.missing = streaming, time.Time{}
		return result
	}
	if j.missing.IsZero() {
		j.missing = now
	}
	left := j.limits.LostReplica - now.Sub(j.missing)
	if left <= 0 {
		j.log.Warn(fmt.Sprintf("%d of %d standbys have not come back in %s: the backfill goes on without them", j.known-streaming, j.known,
			seconds(j.limits.LostReplica)))
		j.known, j.missing = streaming, time.Time{}
		return result
	}
	result.waitFor("%s: %d streaming, %d before, waits for at most %s more", Replicas, streaming, j.known, seconds(left))
	return result
}

// hiddenStandbys returns the names of standbys whose figures the role cannot see.
func hiddenStandbys(s *standbys) (names []string) {
	for _, one := range s.all {
		if one.hidden {
			names = append(names, one.name)
		}
	}
	return names
}
