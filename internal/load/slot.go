package load

import (
	"time"

	"github.com/jackc/pgx/v5"
)

// slot is a replication slot. What it retains is on the server's own disk.
type slot struct {
	name     string
	active   bool
	status   string // wal_status
	retained int64  // bytes
	// headroom is how much more WAL may be written until the slot loses what it needs; nil is without a limit.
	headroom *int64
}

type slots struct {
	// keep is how much WAL the server keeps for slots at most, in bytes; negative is no limit.
	keep int64
	all  []slot
}

// readSlots leaves out lost slots: they keep nothing, and nobody can be hurt through them any more.
func readSlots(*look) (string, []any) {
	return `
		SELECT CASE WHEN k.slots < 0 THEN -1 ELSE greatest(k.slots, k.everyone) END,
		       coalesce(s.slot_name, '')::text, coalesce(s.active, false), coalesce(s.wal_status, ''),
		       coalesce(pg_current_wal_lsn() - s.restart_lsn, 0)::bigint, s.safe_wal_size
		  FROM (SELECT pg_size_bytes(current_setting('max_slot_wal_keep_size')) AS slots,
		               pg_size_bytes(current_setting('wal_keep_size')) AS everyone) AS k
		  LEFT JOIN pg_replication_slots s ON s.restart_lsn IS NOT NULL AND s.wal_status IS DISTINCT FROM 'lost'`, nil
}

func scanSlots(rows pgx.Rows, r *reading) error {
	found := &slots{}
	for rows.Next() {
		var s slot
		if err := rows.Scan(&found.keep, &s.name, &s.active, &s.status, &s.retained, &s.headroom); err != nil {
			return err
		}
		if s.name != "" {
			found.all = append(found.all, s)
		}
	}
	r.slots = found
	return rows.Err()
}

// enoughHeadroom is what a consumer should have left, unless the server keeps less in the first place.
const enoughHeadroom = gibibyte

// slotJudge decides about slot_retained.
type slotJudge struct {
	limits *Limits
	// full and tight are the slots that batches wait for.
	full, tight map[string]bool
}

func (j *slotJudge) judge(_ time.Time, s *slots) (result judgement) {
	least := int64(enoughHeadroom)
	if s.keep >= 0 {
		least = min(least, s.keep/4)
	}
	limit := j.limits.SlotRetained
	full, tight := map[string]bool{}, map[string]bool{}
	for _, one := range s.all {
		name := one.name
		if !one.active {
			name += " (not in use)"
		}
		if one.retained > limit || (j.full[one.name] && one.retained >= limit/2) {
			full[one.name] = true
			if one.retained > limit {
				result.waitFor("%s of %s: %s > %s", SlotRetained, name, size(one.retained), size(limit))
			} else {
				result.waitFor("%s of %s: %s, until < %s", SlotRetained, name, size(one.retained), size(limit/2))
			}
		}
		switch {
		case one.status == "unreserved":
			result.waitFor("%s of %s: it loses the WAL that it needs at the next checkpoint (wal_status unreserved)", SlotRetained, name)
		case one.headroom == nil:
			continue
		case *one.headroom < least:
			result.waitFor("%s of %s: %s until it loses the WAL that it needs, < %s", SlotRetained, name, size(*one.headroom), size(least))
		case j.tight[one.name] && *one.headroom < 2*least:
			result.waitFor("%s of %s: %s until it loses the WAL that it needs, until > %s", SlotRetained, name, size(*one.headroom), size(2*least))
		default:
			continue
		}
		tight[one.name] = true
	}
	j.full, j.tight = full, tight
	return result
}
