package load

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

// holder is what keeps vacuum from removing rows that died after it began: a session, a prepared transaction or a slot.
type holder struct {
	pg.Session
	slot string
	// xid and xmin are transaction numbers of 32 bits; nil when it has none.
	xid, xmin *int64
}

func (h holder) String() string {
	if h.slot != "" {
		return "replication slot " + pg.Quote(h.slot)
	}
	return h.Session.String()
}

// horizon is what may hold it back, oldest first.
type horizon struct {
	next int64 // the transaction number that no snapshot can see as ended yet
	all  []holder
}

// readHorizon follows the server's own rule (src/backend/storage/ipc/procarray.c, ComputeXidHorizons): sessions of this
// database count, and of others only the senders of WAL, whose standbys may have snapshots; running vacuums do not. A slot's
// catalog_xmin keeps only rows of catalogs.
func readHorizon(l *look) (string, []any) {
	return `
		SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint, h.*
		  FROM (SELECT) AS always
		  LEFT JOIN (
		    (SELECT a.pid, coalesce(a.usename, '')::text, coalesce(a.application_name, ''), coalesce(a.backend_type, ''),
		            coalesce(a.state, ''), coalesce(left(a.query, 200), ''),
		            coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), -1)::float8, '' AS slot,
		            a.backend_xid::text::bigint, a.backend_xmin::text::bigint
		       FROM pg_stat_activity a
		      WHERE (a.backend_xid IS NOT NULL OR a.backend_xmin IS NOT NULL)
		        AND (a.datname = current_database() OR a.pid IN (SELECT w.pid FROM pg_stat_get_wal_senders() w))
		        AND a.pid <> pg_backend_pid() AND a.pid <> ALL ($1::int8[]::int4[])
		        AND a.pid NOT IN (SELECT v.pid FROM pg_stat_get_progress_info('VACUUM') v)
		      ORDER BY greatest(age(a.backend_xid), age(a.backend_xmin)) DESC
		      LIMIT 20)
		    UNION ALL
		    (SELECT 0, p.owner::text, p.gid, '', '', '', extract(epoch FROM clock_timestamp() - p.prepared)::float8, '',
		            p.transaction::text::bigint, NULL
		       FROM pg_prepared_xacts p
		      WHERE p.database = current_database()
		      ORDER BY p.prepared
		      LIMIT 20)
		    UNION ALL
		    (SELECT 0, '', '', '', '', '', -1, s.slot_name::text, NULL, s.xmin::text::bigint
		       FROM pg_replication_slots s
		      WHERE s.xmin IS NOT NULL
		      ORDER BY age(s.xmin) DESC
		      LIMIT 20)
		  ) AS h(pid, usename, application_name, backend_type, state, query, age, slot, xid, xmin) ON true`, []any{l.tracked}
}

func scanHorizon(rows pgx.Rows, r *reading) error {
	found := &horizon{}
	for rows.Next() {
		var h holder
		var pid *int32
		var text [5]*string
		var age *float64
		var slot *string
		if err := rows.Scan(&found.next, &pid, &text[0], &text[1], &text[2], &text[3], &text[4], &age, &slot, &h.xid, &h.xmin); err != nil {
			return err
		}
		if pid == nil {
			continue // nobody
		}
		h.Session = pg.Session{
			PID: *pid, User: *text[0], Application: *text[1], Backend: *text[2], State: *text[3], Query: *text[4], Age: pg.Seconds(*age),
		}
		h.slot = *slot
		found.all = append(found.all, h)
	}
	r.horizon = found
	return rows.Err()
}

// fullXID returns the transaction number of 64 bits for one of 32 that is not far from next.
func fullXID(next, xid int64) int64 {
	return next - int64(int32(uint32(next)-uint32(xid))) //nolint:gosec // the difference is meant to wrap
}

// oldest returns the transaction number from which on nothing can be removed because of h.
func (h holder) oldest(next int64) int64 {
	result := next
	for _, xid := range []*int64{h.xid, h.xmin} {
		if xid != nil {
			result = min(result, fullXID(next, *xid))
		}
	}
	return result
}

// horizonJudge decides about snapshot_age.
type horizonJudge struct {
	limits *Limits
	xids   timeline
}

func newHorizonJudge(limits *Limits) *horizonJudge {
	return &horizonJudge{limits: limits, xids: timeline{keep: limits.SnapshotAge + time.Minute}}
}

// age returns for how long h has held back the horizon. Slots have no age, and the role may not see that of a
// transaction: then it is as long as was seen. A long transaction may have a new snapshot for each statement.
func (j *horizonJudge) age(now time.Time, next int64, h holder) time.Duration {
	oldest := h.oldest(next)
	if h.Age < 0 {
		return j.xids.atLeast(now, oldest)
	}
	age := h.Age.Duration()
	if bound, ok := j.xids.atMost(now, oldest); ok && h.PID != 0 {
		age = min(age, bound)
	}
	return age
}

func (j *horizonJudge) judge(now time.Time, found *horizon) (result judgement) {
	j.xids.add(now, found.next)
	type aged struct {
		holder
		age time.Duration
	}
	var old []aged
	for _, h := range found.all {
		if age := j.age(now, found.next, h); age > j.limits.SnapshotAge/4 {
			old = append(old, aged{h, age})
		}
	}
	slices.SortStableFunc(old, func(a, b aged) int { return cmp.Compare(b.age, a.age) })
	var names []string
	for i, h := range old {
		if h.age > j.limits.SnapshotAge && i == 0 {
			result.waitFor("%s: %s > %s", SnapshotAge, seconds(h.age), seconds(j.limits.SnapshotAge))
		}
		names = append(names, h.String())
	}
	const named = 5
	if len(names) > named {
		names = append(names[:named], fmt.Sprintf("and %d more", len(names)-named))
	}
	if len(names) > 0 {
		result.blockers = "vacuum is held back by " + strings.Join(names, "; ")
	}
	return result
}
