package load

import (
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// archive is how far the archiver is.
type archive struct {
	on      bool
	segment int64 // the number of the WAL segment that is being written
	// segmentSize is in bytes.
	segmentSize int64
	// last is the name of the file that was archived last, or "". Names of segments are 24 hexadecimal digits; backup labels
	// and parts of segments have more behind them, and histories of timelines have other names.
	last string
}

func readArchive(*look) (string, []any) {
	return `
		SELECT current_setting('archive_mode') <> 'off', (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint / s.size, s.size,
		       coalesce(a.last_archived_wal, '')
		  FROM (SELECT pg_size_bytes(current_setting('wal_segment_size')) AS size) AS s CROSS JOIN pg_stat_archiver a`, nil
}

func scanArchive(rows pgx.Rows, r *reading) error {
	var a archive
	for rows.Next() {
		if err := rows.Scan(&a.on, &a.segment, &a.segmentSize, &a.last); err != nil {
			return err
		}
		r.archive = &a
	}
	return rows.Err()
}

// archiveJudge decides about archive_backlog.
type archiveJudge struct {
	limits *Limits
	// done is the number of the newest segment that needs no archiver any more.
	done    int64
	seen    bool
	waiting bool
}

func (j *archiveJudge) judge(_ time.Time, a *archive) (result judgement) {
	if !a.on {
		*j = archiveJudge{limits: j.limits}
		return result
	}
	if newest, ok := segmentNumber(a.last, a.segmentSize); ok {
		if !j.seen || newest > j.done {
			j.done = newest
		}
	} else if !j.seen {
		// Nothing was archived since the statistics began: only what was written since the first look is known to wait.
		j.done = a.segment - 1
	}
	j.seen = true
	if j.done >= a.segment {
		j.done = a.segment - 1 // another server, after a failover
	}
	backlog, limit := a.segment-j.done-1, j.limits.ArchiveBacklog
	resume := max(limit*20/42, 1)
	switch {
	case backlog > limit:
		result.waitFor("%s: %s segments > %s", ArchiveBacklog, number(backlog), number(limit))
	case j.waiting && backlog >= resume:
		result.waitFor("%s: %s segments, until < %s", ArchiveBacklog, number(backlog), number(resume))
	}
	j.waiting = result.pause != ""
	return result
}

// segmentNumber returns the place of a WAL file in the sequence of all segments, whatever its timeline
// (src/include/access/xlog_internal.h, XLogFromFileName).
func segmentNumber(file string, segmentSize int64) (int64, bool) {
	const digits = 24
	if len(file) < digits || segmentSize <= 0 {
		return 0, false
	}
	high, highErr := strconv.ParseUint(file[8:16], 16, 32)
	low, lowErr := strconv.ParseUint(file[16:digits], 16, 32)
	if highErr != nil || lowErr != nil {
		return 0, false
	}
	return int64(high)*((1<<32)/segmentSize) + int64(low), true
}
