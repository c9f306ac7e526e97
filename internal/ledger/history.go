package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// History is what a backfill of this database has done and what it cost, whether it is complete, running or forgotten.
type History struct {
	Key      string
	TableOID uint32
	Spec     json.RawMessage
	Rows     int64
	// Busy is the time in which batches ran or could have run: neither what they waited, nor what lay between two applies.
	Busy time.Duration
	// WAL is what the server wrote in that time, in bytes; 0 when the ledger did not count yet.
	WAL int64
}

// mostHistory bounds what is read for a forecast.
const mostHistory = 50

// History returns the backfills that have updated rows, newest first. It works before the ledger exists, and on one of an
// older provider, which knows no more than when a backfill began and ended.
func (l Ledger) History(ctx context.Context, tx pgx.Tx) ([]History, error) {
	var exists, counts bool
	err := tx.QueryRow(ctx, `
		SELECT to_regclass($1) IS NOT NULL,
		       EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = to_regclass($1) AND a.attname = 'busy_seconds')`,
		l.table("backfill")).Scan(&exists, &counts)
	if err != nil || !exists {
		return nil, err
	}
	cost := `0::float8, 0::bigint`
	if counts {
		cost = `b.busy_seconds, b.wal_bytes`
	}
	rows, err := tx.Query(ctx, `
		SELECT s.key, s.table_oid, s.spec, b.rows_updated + walked.rows, `+cost+`,
		       coalesce(extract(epoch FROM b.completed_at - b.started_at), 0)::float8
		  FROM `+l.table("backfill")+` b
		  JOIN `+l.table("stage")+` s ON s.id = b.stage_id
		 CROSS JOIN LATERAL (SELECT coalesce(sum(g.rows_updated), 0)::bigint AS rows FROM `+l.table("segment")+` g WHERE g.stage_id = s.id) walked
		 WHERE s.kind = 'batched_backfill' AND b.rows_updated + walked.rows > 0
		 ORDER BY coalesce(b.completed_at, b.started_at) DESC
		 LIMIT $1`, mostHistory)
	if err != nil {
		return nil, l.explain(fmt.Errorf("read the ledger: %w", err))
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (h History, err error) {
		var busy, elapsed float64
		err = row.Scan(&h.Key, &h.TableOID, &h.Spec, &h.Rows, &busy, &h.WAL, &elapsed)
		if busy <= 0 {
			busy = elapsed
		}
		h.Busy = time.Duration(busy * float64(time.Second))
		return h, err
	})
}
